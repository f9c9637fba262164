/* What families that grew out of BERT have in common with it: keys of config.json, tensors around the blocks,
 * and the prefixes that tools put in front of their names. */
#ifndef NN_FAMILIES_BERT_H
#define NN_FAMILIES_BERT_H

#include "nn/families/family.h"

/* Sizes, with BERT's where the config has none, eps, and names of tensors; the blocks are the family's own.
 */
void bert_read_common(struct model_config *out, struct config *c, size_t context_max);
extern const char *const bert_prefixes[];

#endif
