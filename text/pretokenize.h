/* The "pre_tokenizer" of a tokenizer.json: cuts a piece of text into the words that the model sees. */
#ifndef TEXT_PRETOKENIZE_H
#define TEXT_PRETOKENIZE_H

#include "text/mapped.h"
#include "text/reader.h"
#include "text/scan.h"

struct pretokenizer;

/* p may be null: the whole piece is one word. */
THEA_CHECK thea_rc pretokenizer_new(struct pretokenizer **out, const struct place *p, struct thea_err *err);
void pretokenizer_free(struct pretokenizer *p);
bool pretokenizer_is_bytelevel(const struct pretokenizer *p); /* words are bytes in ByteLevel's alphabet */
/* The words are just those of bert_scan, over the unchanged text. */
bool pretokenizer_is_bert(const struct pretokenizer *p);
/* The words are just those of this scanner, over the unchanged text: the fast way. NULL otherwise. */
scan_fn pretokenizer_scan(const struct pretokenizer *p);
/* It changes nothing and cuts nowhere. */
bool pretokenizer_is_nothing(const struct pretokenizer *p);
/* It puts `mark` in the place of each space; *cuts: and cuts the text before each of them. */
bool pretokenizer_marks_spaces(const struct pretokenizer *p, const char *mark, bool *cuts);
/* Use PCRE2 even where a hand-written scanner exists (for tests and benches). */
void pretokenizer_use_regex(struct pretokenizer *p);

struct word_span {
    size_t start, end;
};
/* *text (borrowed until the next call, or *in itself) is the piece as changed (▁, a space before); *words are
 * its parts, none empty. Errors: THEA_EDOC (a regex's limits). */
THEA_CHECK thea_rc pretokenizer_apply(struct pretokenizer *p, const struct mapped_view *in,
                                      struct mapped_view *text, const struct word_span **words, size_t *count,
                                      struct thea_err *err);

#endif
