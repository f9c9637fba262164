/* The WordPiece model: a word to token ids, the longest token first; what continues a word is spelled with a
 * prefix
 * ("##"). A word that cannot be spelled to its end is one unknown token, whole. */
#ifndef TEXT_WORDPIECE_H
#define TEXT_WORDPIECE_H

#include "text/mapped.h"
#include "text/reader.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

struct wordpiece;

/* p: the "model" of type WordPiece; its vocabulary is read into v (initialised and empty), which must outlive
 * the model. */
THEA_CHECK thea_rc wordpiece_new(struct wordpiece **out, const struct place *p, struct vocab *v,
                                 struct thea_err *err);
void wordpiece_free(struct wordpiece *m);
/* Append the tokens of the word [start, end) of the view. */
void wordpiece_append(struct wordpiece *m, const struct mapped_view *v, size_t start, size_t end,
                      struct token_list *out);
void wordpiece_forget(struct wordpiece *m); /* empty the cache of words (benches: a cold start) */

#endif
