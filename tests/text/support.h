/* What the tests of text/ share: opening, reading lines of goldens, encoding and decoding without ceremony.
 */
#ifndef TESTS_TEXT_SUPPORT_H
#define TESTS_TEXT_SUPPORT_H

#include "graph/json.h"
#include "text/tokenizer_internal.h"

#include <criterion/criterion.h>

/* Directories of goldens, under tests/goldens. */
extern const char *const golden_tokenizers[];
enum { GOLDEN_TOKENIZERS = 10 };

struct tokenizer *open_golden(const char *name);
struct tokenizer *open_text(const char *json); /* must succeed */
/* Each line of tests/goldens/NAME/FILE, parsed, to visit(context, node); returns how many. */
size_t each_line(const char *name, const char *file,
                 void (*visit)(void *context, const struct json_node *line), void *context);

char *read_file(const char *path, size_t *len); /* free it */
struct token_list encode(struct tokenizer *t, const char *text, size_t len, bool special);
struct buf decode(struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special);
int32_t *ids_of(const struct json_node *list, size_t *n); /* free it */
char *ids_text(const int32_t *ids, size_t n);             /* for messages; free it */

#endif
