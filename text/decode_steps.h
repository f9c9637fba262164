/* The steps of a "decoder", as read from tokenizer.json. */
#ifndef TEXT_DECODE_STEPS_H
#define TEXT_DECODE_STEPS_H

#include "text/reader.h"
#include "text/regex.h"

enum { DECODE_STEPS_MAX = 16 };

typedef enum {
    DECODE_JOIN,
    DECODE_BYTELEVEL,
    DECODE_BYTE_FALLBACK,
    DECODE_FUSE,
    DECODE_STRIP,
    DECODE_REPLACE,
    DECODE_REPLACE_REGEX,
    DECODE_METASPACE,
    DECODE_WORDPIECE,
} decode_kind;

struct decode_step {
    decode_kind kind;
    struct buf text, content; /* Replace: pattern and content; Strip, Metaspace: text is the character;
                                WordPiece: text is the prefix */
    struct regex *regex;
    size_t start, stop; /* Strip */
    bool drop_first;    /* Metaspace: the first token's ▁ were put there by us */
    bool cleanup;       /* WordPiece: no space before punctuation and contractions */
};

THEA_CHECK thea_rc decode_steps_read(struct decode_step *steps, size_t *count, const struct place *p,
                                     struct thea_err *err);
void decode_step_fini(struct decode_step *step);

#endif
