/* The "normalizer" of a tokenizer.json: a list of steps that change the text of a piece, keeping the way
 * back. */
#ifndef TEXT_NORMALIZE_H
#define TEXT_NORMALIZE_H

#include "text/mapped.h"
#include "text/reader.h"

struct normalizer;

/* *out is NULL when the node is null: nothing changes. */
THEA_CHECK thea_rc normalizer_new(struct normalizer **out, const struct place *p, struct thea_err *err);
void normalizer_free(struct normalizer *n);
bool normalizer_is_cased_bert(
    const struct normalizer *n); /* a BertNormalizer without lower case; n may be NULL */
/* It is NULL, or a BertNormalizer alone. */
bool normalizer_is_bert(const struct normalizer *n);
/* It puts `mark` in the place of each space, and what it prepends in front: nothing else. */
bool normalizer_marks_spaces(const struct normalizer *n, const char *mark);
/* *out borrows from n until its next call, or is *in itself. n may be NULL. goes_on: the part before was done
 * by the last call, so nothing is put in front. Errors: THEA_EDOC (a regex's limits). */
THEA_CHECK thea_rc normalizer_apply(struct normalizer *n, const struct mapped_view *in, bool goes_on,
                                    struct mapped_view *out, struct thea_err *err);

#endif
