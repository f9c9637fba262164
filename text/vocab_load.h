/* Reading the "vocab" of a model in tokenizer.json. */
#ifndef TEXT_VOCAB_LOAD_H
#define TEXT_VOCAB_LOAD_H

#include "text/reader.h"
#include "text/vocab.h"

/* model: the map that has "vocab". v: initialised and empty. */
THEA_CHECK thea_rc vocab_load(struct vocab *v, const struct place *model, struct thea_err *err);
/* Ids may have holes, but not many: a stray id would make every table of this size. */
THEA_CHECK thea_rc vocab_check_id(const struct place *at, const char *token, int64_t id, size_t tokens,
                                  struct thea_err *err);

#endif
