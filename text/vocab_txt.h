/* BERT's older files: vocab.txt (a token a line, its id the line's number from 0) with, beside it,
 * tokenizer_config.json; read as the tokenizer.json that says the same. */
#ifndef TEXT_VOCAB_TXT_H
#define TEXT_VOCAB_TXT_H

#include "graph/json.h"

/* *out: a whole tokenizer.json; json_free it. path: the vocab.txt; config: may be missing (then lower case,
 * as the reference has it). Errors: THEA_ENOINPUT, THEA_EIO, THEA_EDATA. */
THEA_CHECK thea_rc vocab_txt_read(struct json_node **out, const char *path, const char *config,
                                  struct thea_err *err);

#endif
