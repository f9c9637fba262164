/* The tokenizer of the model that -m names: what tokenize and detokenize have in common. */
#ifndef STAGES_SUPPORT_MODEL_TOKENIZER_H
#define STAGES_SUPPORT_MODEL_TOKENIZER_H

#include "graph/wire/stage.h"
#include "text/tokenizer.h"

/* In describe(): say where the model is. Without a model the table alone is asked for; open says what is
 * missing. */
THEA_CHECK thea_rc model_tokenizer_describe(struct stage_describe *d, const char *model,
                                            struct thea_err *err);
/* What it wants in front of a text; free() it. Errors: those of model_find and prompt_read (nn/prompts.h). */
THEA_CHECK thea_rc model_tokenizer_prompt(char **out, const char *model, const char *wanted,
                                          struct thea_err *err);
/* Errors: those of model_find and tokenizer_open. */
THEA_CHECK thea_rc model_tokenizer_open(struct tokenizer **out, const char *model, struct thea_err *err);

/* tokenizer_closing of the model in `dir`; false: it has no tokenizer, or none that can be read. */
bool model_tokenizer_closing(int32_t *out, const char *dir);

#endif
