/* What forward and backward of an encoder's attention share. */
#ifndef NN_BLOCKS_ENCODER_ATTENTION_H
#define NN_BLOCKS_ENCODER_ATTENTION_H

#include "nn/blocks/block.h"
#include "nn/families/family.h"

struct encoder_attention {
    struct linear qkv, out; /* qkv: q over k over v */
    const float *norm, *norm_bias;
    size_t heads, head_size;
    float eps, scale;
};

/* qkv [n, q | k | v] of run->n rows: every document's attention goes where its q was. */
void encoder_attention_mix(const struct encoder_attention *a, const struct run *run, float *qkv);
/* What worker `worker` of count has to do: each(context, document, head, its scratch) for heads whose middle,
 * counted in work, falls in its share. */
void encoder_attention_share(const struct encoder_attention *a, const struct run *run, int worker, int count,
                             void (*each)(const void *context, const struct span *s, size_t head,
                                          float *scratch),
                             const void *context);
/* See struct sublayer_kind. */
THEA_CHECK thea_rc encoder_attention_backward(const void *self, const struct run *run, const float *x_in,
                                              float *d, struct gradients *g, struct thea_err *err);

#endif
