/* What a tokenizer is made of: shared by tokenizer_open.c, which puts it together, and tokenizer.c, which
 * runs it. */
#ifndef TEXT_TOKENIZER_PARTS_H
#define TEXT_TOKENIZER_PARTS_H

#include "text/added.h"
#include "text/border.h"
#include "text/bpe.h"
#include "text/decode.h"
#include "text/normalize.h"
#include "text/postprocess.h"
#include "text/pretokenize.h"
#include "text/wordpiece.h"

struct tokenizer {
    struct vocab vocab;
    struct normalizer *normalizer;
    struct pretokenizer *pretokenizer;
    struct bpe *bpe; /* the model: one of the two */
    struct wordpiece *wordpiece;
    struct added_set raw, normalized; /* added tokens looked for before and after normalizing */
    struct template_ids template;
    struct decoder *decoder;
    scan_fn scan;
    border_fn border; /* NULL: pieces of text are not cut in parts */
    size_t part;      /* bytes of one, at least */
    bool skip_gaps;   /* pieces of the scanner that begin with a space are no words */
};

#endif
