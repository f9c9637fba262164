/* Monarch Mixer (M2-BERT): its two sublayers. The long convolutions' filters are nn/filter.h. */
#ifndef NN_BLOCKS_MONARCH_H
#define NN_BLOCKS_MONARCH_H

#include "nn/blocks/block.h"

enum {
    MONARCH_TAPS = 3,        /* of the short convolution */
    MONARCH_BLOCKS_MAX = 64, /* of a block-diagonal matrix */
};

/* m = W_out . s with s = longconv(x1 * v; k) * x2 + longconv(x; k2), where (x1 | x2 | v) is a short causal
 * convolution of W_in . x: no norm, no residual. `whole`: the convolutions reach over a document. */
extern const struct sublayer_kind sublayer_monarch_mixer;
/* LayerNorm(W_down . (gelu(gate) * lin) + x), (gate | lin) = W_up . x, both matrices block-diagonal. */
extern const struct sublayer_kind sublayer_monarch_mlp;

enum {
    MONARCH_MIXER_IN,
    MONARCH_MIXER_IN_BIAS,
    MONARCH_MIXER_TAPS,
    MONARCH_MIXER_TAPS_BIAS,
    MONARCH_MIXER_GATED,    /* in front of the names of the filter of x1 * v */
    MONARCH_MIXER_RESIDUAL, /* and of that of x */
    MONARCH_MIXER_OUT,
    MONARCH_MIXER_OUT_BIAS,
    MONARCH_MIXER_ROLES,
};
enum {
    MONARCH_MLP_UP,
    MONARCH_MLP_DOWN,
    MONARCH_MLP_DOWN_BIAS,
    MONARCH_MLP_NORM,
    MONARCH_MLP_NORM_BIAS,
    MONARCH_MLP_ROLES,
};

#endif
