/* Implicit filters (Hyena; Poli et al. 2023): a small network with sine activations gives a kernel's value at
 * each lag and channel. For lag i, with row z_i of learned features and time t_i = i / (context - 1):
 *   s = z_i;  s = sin(freq (.) (W s + b)) three times;  k_i[c] = (W3 s)[c] exp(-t_i |deltas[c]|).
 * One network a direction; z, t, deltas and freq are shared by both.
 *
 * Kernels depend on weights only. A filter_bank holds those of a part's blocks (two filters a block, as
 * longconv.h takes them) as spectra, as many as fit into its limit, and makes the others again for each
 * batch: the bits are the same. Evaluated in double: the sines' frequency near 10, three deep, multiplies
 * errors by a thousand. */
#ifndef NN_FILTER_H
#define NN_FILTER_H

#include "graph/err.h"
#include "kernels/kernels.h"
#include "kernels/longconv.h"
#include "nn/workers.h"

#include <stdint.h>

struct filter_shape {
    size_t channels; /* C */
    size_t features; /* E, of z: 5 */
    size_t width;    /* F, of the network: 128 */
    size_t context;  /* rows of z and t: the model's maximum length */
};

/* Weights in f32 as in the checkpoint, borrowed. */
struct filter_network {
    const float *w[4]; /* [F,E], [F,F], [F,F], [C,F] */
    const float *b[3]; /* [F] */
};
struct filter {
    const float *z;      /* [context, E] */
    const float *t;      /* [context] */
    const float *deltas; /* [C] */
    const float *freq;   /* [F] */
    const float *skip;   /* D [C] */
    struct filter_network fwd, rev;
};

/* Where gradients are accumulated (+=); shapes as above. Any may be NULL: not wanted. */
struct filter_network_gradient {
    float *w[4], *b[3];
};
struct filter_gradient {
    float *z, *freq, *skip;
    struct filter_network_gradient fwd, rev;
};

/* Kernel values in the time domain: fwd and rev [n, channels [c0, c1)], rows ld apart, of lags [lag0, lag0 +
 * n). Either may be NULL. By the caller's thread. Errors: THEA_EOS. */
THEA_CHECK thea_rc filter_kernel(float *fwd, float *rev, size_t ld, const struct filter *f,
                                 const struct filter_shape *shape, const struct kernels *k, size_t lag0,
                                 size_t n, size_t c0, size_t c1, struct thea_err *err);
/* Parameter gradients of one filter from those of its kernels: dfwd, drev [n, C] of lags [0, n). Accumulates
 * into g. The skip's is the caller's (longconv.h). Errors: THEA_EOS. */
THEA_CHECK thea_rc filter_backward(const struct filter_gradient *g, const float *dfwd, const float *drev,
                                   size_t n, const struct filter *f, const struct filter_shape *shape,
                                   struct workers *workers, const struct kernels *k, struct thea_err *err);

/* --- The filters of a part's blocks */
struct filter_bank;

/* limit_bytes: spectra kept beyond a use (filter_memory). kernels, workers borrowed. Errors: THEA_EOS. */
THEA_CHECK thea_rc filter_bank_new(struct filter_bank **out, const struct filter_shape *shape, size_t blocks,
                                   uint64_t limit_bytes, const struct kernels *kernels,
                                   struct workers *workers, struct thea_err *err);
void filter_bank_free(struct filter_bank *b);
/* The two filters of a block (0 .. blocks - 1), copied shallowly. Call it again after a weight update: what
 * was made of the old values is dropped. */
void filter_bank_set(struct filter_bank *b, size_t block, const struct filter filters[2]);

/* One block's spectra for sequences of one length, ready for workers. */
struct filter_use {
    const struct fft_plan *plan;
    size_t groups;         /* of lanes channels; the last may have fewer */
    size_t scratch_floats; /* a worker's, enough for filter_spectrum and longconv's forward and backward */
    const float *spectra;  /* kept ones, of all groups; NULL: made when asked for */
    const struct filter_bank *bank;
    size_t block;
};
/* Make ready block's filters for L positions (1 .. LONGCONV_MAX; from the context on kernels are 0): spectra
 * when they fit into the limit (made now, by all workers, once), else the hidden features that
 * filter_spectrum needs. One use at a time: the next begin ends it. Errors: THEA_EOS. */
THEA_CHECK thea_rc filter_bank_begin(struct filter_bank *b, size_t block, size_t L, struct filter_use *use,
                                     struct thea_err *err);
/* The spectrum of channel group `group` (channels from group * lanes on). Called by workers, each with its
 * own scratch [use->scratch_floats, 64-byte aligned]. The result is in the cache, or in the end of scratch,
 * which longconv's functions leave alone when they are given the same scratch: valid until the next call with
 * it. */
const float *filter_spectrum(const struct filter_use *use, size_t group, float *scratch);
/* Parameter gradients of both filters of use->block, from gradients of spectra (longconv->backward), those of
 * all groups one after the other [groups][spectrum_floats]. Accumulates into g; the skips' too. L as in
 * begin. Errors: THEA_EOS. */
THEA_CHECK thea_rc filter_bank_backward(const struct filter_use *use, size_t L, const float *gradients,
                                        const struct filter_gradient g[2], struct thea_err *err);

struct filter_bank_stats {
    uint64_t kept_bytes, limit_bytes; /* spectra kept */
    uint64_t wanted_bytes;            /* that would keep those of all blocks; 0: the limit kept none out */
    uint64_t made, reused;            /* blocks' spectra: made new, found in the cache */
};
struct filter_bank_stats filter_bank_stats(const struct filter_bank *b);

#endif
