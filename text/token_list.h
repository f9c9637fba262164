/* Filling a list of tokens: what the models have in common. */
#ifndef TEXT_TOKEN_LIST_H
#define TEXT_TOKEN_LIST_H

#include "text/tokenizer.h"

/* Room for n more tokens. */
void token_list_reserve(struct token_list *list, size_t n);
void token_list_add(struct token_list *list, int32_t id,
                    int64_t end); /* end is raised to the one before, if that is further */

#endif
