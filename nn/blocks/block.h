/* Sublayers: the two halves that a block of a model is made of, a mixer (attention, short convolution) and a
 * feed-forward (SwiGLU). One kind a file, as a table. Each takes the residual stream x, norms it, and adds
 * what it computes back to x. */
#ifndef NN_BLOCKS_BLOCK_H
#define NN_BLOCKS_BLOCK_H

#include "nn/linear.h"
#include "nn/weights/loader.h"

struct model_config;

/* One chunk on its way through the sublayers of a part. */
struct run {
    const struct kernels *kernels;
    struct workers *workers;
    float *x;               /* [n, C]: the residual stream, updated in place */
    size_t n, position;     /* rows of this call; position of the first */
    const float *cos, *sin; /* [n, D/2] of these positions */
    float *norm;            /* [n, C] scratch */
    float *wide;            /* [n, width] scratch, width = the largest `width` of the part's sublayers */
    float *scratch;         /* scratch_floats a worker */
    size_t scratch_floats;
    size_t context; /* positions that a stream's state has room for */
};

struct sublayer_kind {
    const char *name;
    size_t self_size; /* bytes of its weights' struct, zeroed before load */
    /* Find the weights: names by role, after `prefix` ("model.layers.3."). What is wrong is collected in l.
     */
    void (*load)(void *self, struct loader *l, const struct model_config *c, const char *prefix,
                 const char *const *names);
    size_t (*width)(const struct model_config *c); /* floats a row of run->wide */
    size_t (*state_bytes)(const struct model_config *c,
                          size_t context); /* of one stream: zeroed pages, touched as it fills */
    size_t (*state_touched)(const struct model_config *c,
                            size_t positions); /* of those, after so many positions */
    size_t (*scratch)(const struct model_config *c,
                      const struct kernels *k); /* floats a worker; may be NULL */
    void (*forward)(const void *self, void *state, const struct run *run);
    double (*flop)(const struct model_config *c,
                   size_t context); /* a token, averaged over `context` positions */
    uint64_t (*parameters)(const struct model_config *c);
};

extern const struct sublayer_kind sublayer_attention, sublayer_shortconv, sublayer_swiglu;

/* Roles of tensors: a family names them (NULL: it has none of that). */
enum {
    ATTENTION_NORM,
    ATTENTION_Q,
    ATTENTION_K,
    ATTENTION_V,
    ATTENTION_OUT,
    ATTENTION_Q_NORM,
    ATTENTION_K_NORM,
    ATTENTION_Q_BIAS,
    ATTENTION_K_BIAS,
    ATTENTION_V_BIAS,
    ATTENTION_OUT_BIAS,
    ATTENTION_ROLES,
};
enum {
    SHORTCONV_NORM,
    SHORTCONV_IN,
    SHORTCONV_CONV,
    SHORTCONV_OUT,
    SHORTCONV_IN_BIAS,
    SHORTCONV_CONV_BIAS,
    SHORTCONV_OUT_BIAS,
    SHORTCONV_ROLES,
};
enum {
    SWIGLU_NORM,
    SWIGLU_GATE,
    SWIGLU_UP,
    SWIGLU_DOWN,
    SWIGLU_GATE_BIAS,
    SWIGLU_UP_BIAS,
    SWIGLU_DOWN_BIAS,
    SWIGLU_ROLES,
};

/* run->norm = rmsnorm(run->x; w), rows shared out over the workers. */
void run_norm(const struct run *run, const float *w, size_t C, float eps);

#endif
