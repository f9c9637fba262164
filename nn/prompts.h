/* Prompts: what some sentence encoders want in front of a text, another for queries than for documents
 * ("query: ", "passage: "). config_sentence_transformers.json has them by name. */
#ifndef NN_PROMPTS_H
#define NN_PROMPTS_H

#include "graph/err.h"

/* The prompt that `wanted` means, for the model in directory dir; "" is none; free() it.
 *   NULL         the one that default_prompt_name names, if it names one
 *   "query"      the prompt of that name, else as NULL
 *   "document"   the first of document, passage, corpus, else as NULL
 *   a name       of the model's prompts
 *   "" or text   itself; one that is letters, digits, '-' and '_' alone would be a name
 * Errors: THEA_EUSAGE (no such name: with those that there are), THEA_EDATA (a file that is not as it should
 * be), THEA_EIO. */
THEA_CHECK thea_rc prompt_read(char **out, const char *dir, const char *wanted, struct thea_err *err);

#endif
