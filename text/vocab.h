/* The vocabulary: token texts and their ids, both ways. Texts lie in one arena; ids may have holes, but few.
 */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include "graph/buf.h"
#include <stdbool.h>
#include <stdint.h>

enum { VOCAB_ID_MAX = (1 << 24) - 1 };

/* text: arena[at, at + len); said, said_len: what decoding makes of it. model: the model may produce it;
 * others are only added tokens. */
struct vocab_entry {
    uint32_t at, len, said, said_len;
    bool used, model, special;
};

struct vocab {
    struct buf arena;
    struct vocab_entry *entries; /* by id */
    size_t size, cap;            /* size: highest id + 1 */
    int32_t *slots;              /* open addressing, -1 free */
    size_t slot_count, used;
};

void vocab_init(struct vocab *v, size_t expected);
void vocab_fini(struct vocab *v);
/* False if that id or that text is there already. id in [0, VOCAB_ID_MAX]. */
bool vocab_add(struct vocab *v, const char *text, size_t len, int32_t id);
/* Decode id as this text (an added token that is looked for in normalized text decodes to its normalized
 * form). */
void vocab_say(struct vocab *v, int32_t id, const char *text, size_t len);
int32_t vocab_find(const struct vocab *v, const char *text, size_t len); /* -1 if none */
/* NULL if no token has that id. */
const char *vocab_text(const struct vocab *v, int32_t id, size_t *len);
const char *vocab_said(const struct vocab *v, int32_t id, size_t *len);

#endif
