/* The embedding: what enters block 0. Decoders: the word table's rows. Encoders: LayerNorm(word + type +
 * position). The word table stays in the file's dtype and is widened row by row. */
#ifndef NN_EMBEDDING_H
#define NN_EMBEDDING_H

#include "nn/gradients.h"
#include "nn/weights/loader.h"

struct model_config;

struct embedding {
    const struct model_config *config;
    const struct weight *words;            /* [V, C] */
    const struct weight *positions;        /* [context, C]; NULL: it has none (a decoder) */
    const float *types, *norm, *norm_bias; /* [types, C], [C], [C]; NULL likewise */
    const struct kernels *kernels;
};

/* What is wrong with the weights is collected in l. */
void embedding_load(struct embedding *e, struct loader *l, const struct model_config *c);
/* See model_embed and model_embed_backward. Errors: THEA_EDOC; backward: THEA_EOS. */
THEA_CHECK thea_rc embedding_forward(const struct embedding *e, float *x, const int32_t *tokens,
                                     const int32_t *types, size_t n, size_t position, struct thea_err *err);
struct run; /* whose workers share in it; the gradients' bits do not depend on how many there are */
THEA_CHECK thea_rc embedding_backward(const struct embedding *e, const struct run *run, float *d,
                                      const int32_t *tokens, const int32_t *types, size_t n, size_t position,
                                      struct gradients *g, struct thea_err *err);

#endif
