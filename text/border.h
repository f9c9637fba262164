/* Borders: places where a long text may be cut in parts whose tokens, one after another, are those of the
 * whole, so that only a part is ever there in its normalized form, with its way back. */
#ifndef TEXT_BORDER_H
#define TEXT_BORDER_H

#include "text/bpe.h"
#include "text/normalize.h"
#include "text/pretokenize.h"

enum { BORDER_PART = 1 << 16 }; /* bytes of a part, at least */

/* The first border of the text at `from` or after it, from > 0; len: there is none. */
typedef size_t (*border_fn)(const char *text, size_t len, size_t from);

/* For a BertNormalizer and words between white space. */
border_fn border_of_bert(const struct normalizer *n, const struct pretokenizer *p);
/* For SentencePiece's way: spaces become ▁, and words begin with it. NULL, as above: it is another way. */
border_fn border_of_marks(const struct normalizer *n, const struct pretokenizer *p, const struct bpe *m);

#endif
