/* Sublayers: the two halves that a block of a model is made of, a mixer (attention, a convolution) and a
 * feed-forward (SwiGLU, GELU). One kind a file, as a table. Each updates the rows x in place: those of
 * decoders norm x and add what they compute to it, those of encoders put x <- LayerNorm(f(x) + x), or what
 * their architecture has. */
#ifndef NN_BLOCKS_BLOCK_H
#define NN_BLOCKS_BLOCK_H

#include "nn/gradients.h"
#include "nn/linear.h"
#include "nn/model.h"
#include "nn/weights/loader.h"

struct model_config;
struct filter_bank;

/* Rows on their way through the sublayers of a part: a chunk of one document (decoders), or a batch of whole
 * documents (encoders). */
struct run {
    const struct kernels *kernels;
    struct workers *workers;
    float *x;                 /* [n, C]: the residual stream, updated in place */
    size_t n, position;       /* rows of this call; position of the first (encoders: 0) */
    const float *cos, *sin;   /* [n, D/2] of these positions (encoders: NULL) */
    const struct span *spans; /* the documents of the batch, for a sublayer that is `whole`; else NULL */
    size_t span_count;
    float *norm;    /* [n, C] scratch */
    float *wide;    /* [n, width] scratch, width = the largest `width` of the part's sublayers */
    float *scratch; /* scratch_floats a worker */
    size_t scratch_floats;
    size_t context; /* positions that a stream's state has room for; of an encoder: a document's at most */
    /* In backward alone: what the sublayer's tensors are called, as load got them. */
    const char *prefix;
    const char *const *names;
};

struct sublayer_kind {
    const char *name;
    size_t self_size; /* bytes of its weights' struct, zeroed before load */
    bool whole; /* forward is called once with all rows and spans of a batch; the others' rows come in passes
                 */
    /* Find the weights: names by role, after `prefix` ("model.layers.3."). What is wrong is collected in l.
     */
    void (*load)(void *self, struct loader *l, const struct model_config *c, const char *prefix,
                 const char *const *names);
    /* Once all weights are there: what a kind makes of them. Its long convolutions' filters are number
     * `block` of the part's bank, which may be another one later. NULL: nothing to do. Errors: THEA_EOS. */
    thea_rc (*prepare)(void *self, struct filter_bank *filters, size_t block, struct thea_err *err);
    size_t (*width)(const struct model_config *c); /* floats a row of run->wide */
    /* Of one stream: zeroed pages, touched as it fills. Both NULL: it keeps none. */
    size_t (*state_bytes)(const struct model_config *c, size_t context);
    size_t (*state_touched)(const struct model_config *c,
                            size_t positions); /* of those, after so many positions */
    size_t (*scratch)(const struct model_config *c,
                      const struct kernels *k); /* floats a worker; may be NULL */
    void (*forward)(const void *self, void *state, const struct run *run);
    /* Instead of forward, for a kind that is `whole` and needs memory that depends on the documents. Errors:
     * THEA_EOS. */
    thea_rc (*encode)(const void *self, const struct run *run, struct thea_err *err);
    /* d [run->n, C] comes in as the gradient of forward's output and leaves as that of its input x_in
     * [run->n, C]; all else is computed again from x_in. Called once for all rows, with spans, whether
     * `whole` or not; run->x, norm and wide are NULL: it takes its own memory. Gradients of parameters are
     * added to g (gradients_of(g, run->prefix, run->names[ROLE], …)). NULL: this kind has no backward.
     * Errors: THEA_EOS.
     */
    thea_rc (*backward)(const void *self, const struct run *run, const float *x_in, float *d,
                        struct gradients *g, struct thea_err *err);
    void (*fini)(void *self); /* frees what load took beyond the loader's memory; may be NULL */
    double (*flop)(const struct model_config *c,
                   size_t context); /* a token, averaged over `context` positions */
    uint64_t (*parameters)(const struct model_config *c);
};

extern const struct sublayer_kind sublayer_attention, sublayer_shortconv, sublayer_swiglu;
extern const struct sublayer_kind sublayer_encoder_attention, sublayer_encoder_mlp;

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

enum {
    ENCODER_ATTENTION_Q,
    ENCODER_ATTENTION_K,
    ENCODER_ATTENTION_V,
    ENCODER_ATTENTION_Q_BIAS,
    ENCODER_ATTENTION_K_BIAS,
    ENCODER_ATTENTION_V_BIAS,
    ENCODER_ATTENTION_OUT,
    ENCODER_ATTENTION_OUT_BIAS,
    ENCODER_ATTENTION_NORM,
    ENCODER_ATTENTION_NORM_BIAS,
    ENCODER_ATTENTION_ROLES,
};
enum {
    ENCODER_MLP_UP,
    ENCODER_MLP_UP_BIAS,
    ENCODER_MLP_DOWN,
    ENCODER_MLP_DOWN_BIAS,
    ENCODER_MLP_NORM,
    ENCODER_MLP_NORM_BIAS,
    ENCODER_MLP_ROLES,
};

/* How many of the next n rows to take at once through several layers of a sublayer: what is between them then
 * stays in the second-level cache, and weights are not read too often. Strips are even. */
static inline size_t strip_rows(size_t n)
{
    enum { STRIP_ROWS = 112 };
    size_t strips = (n + STRIP_ROWS - 1) / STRIP_ROWS;
    return (n + strips - 1) / strips;
}

/* run->norm = rmsnorm(run->x; w), rows shared out over the workers. */
void run_norm(const struct run *run, const float *w, size_t C, float eps);
/* run->x = layernorm(run->x; w, b): the end of a post-norm sublayer, rows shared out likewise. */
void run_layernorm(const struct run *run, const float *w, const float *b, size_t C, float eps);
/* Backward: d [n, C] of layernorm(x + r; w) becomes that of x + r (r NULL: of x); dw, db [C] are added to
 * (NULL: not wanted). y [n, C] is scratch. Rows are shared out; the sums' order depends on n alone. Errors:
 * THEA_EOS. */
THEA_CHECK thea_rc run_layernorm_backward(const struct run *run, float *d, float *dw, float *db,
                                          const float *x, const float *r, const float *w, float *y, size_t n,
                                          size_t C, float eps, struct thea_err *err);
/* task(context, begin, end, worker) for rows [begin, end) of n, on all workers: a share each, its border a
 * multiple of `grain`. */
void run_rows(const struct run *run, size_t n, size_t grain,
              void (*task)(const void *context, size_t begin, size_t end, int worker), const void *context);

#endif
