/* The BPE model: a word to token ids. Byte-level (a word is bytes) or over characters, with byte fallback and
 * an unknown token. */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include "text/mapped.h"
#include "text/reader.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

struct bpe;

/* p: the "model" of type BPE; its vocabulary is read into v (empty before), which must outlive the model.
 * bytelevel: words come as raw bytes. */
THEA_CHECK thea_rc bpe_new(struct bpe **out, const struct place *p, struct vocab *v, bool bytelevel,
                           struct thea_err *err);
void bpe_free(struct bpe *m);
/* Append the tokens of the word [start, end) of the view. */
void bpe_append(struct bpe *m, const struct mapped_view *v, size_t start, size_t end, struct token_list *out);
/* A word that begins with ▁ after another character is cut there: what is before does not matter to it. */
bool bpe_cuts_at_marks(const struct bpe *m);
void bpe_forget(struct bpe *m); /* empty the cache of words (benches: a cold start) */

#endif
