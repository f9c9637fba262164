/* For tests, fuzzing and benches: the tokenizer's other doors. */
#ifndef TEXT_TOKENIZER_INTERNAL_H
#define TEXT_TOKENIZER_INTERNAL_H

#include "text/tokenizer.h"

/* As tokenizer_open, from memory; what: the name in messages. */
THEA_CHECK thea_rc tokenizer_parse(struct tokenizer **out, const char *json, size_t len, const char *what,
                                   struct thea_err *err);
void tokenizer_forget_words(struct tokenizer *t); /* empty the cache of words: a cold start */
void tokenizer_use_regex(
    struct tokenizer *t); /* PCRE2 even where a hand-written scanner is made for the pattern */
/* Cut long texts in parts of so many bytes, as soon after them as can be; 0: never. */
void tokenizer_use_parts(struct tokenizer *t, size_t bytes);

#endif
