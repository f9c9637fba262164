/* What the mixer's forward and backward share: see monarch.h. */
#ifndef NN_BLOCKS_MONARCH_MIXER_IMPL_H
#define NN_BLOCKS_MONARCH_MIXER_IMPL_H

#include "nn/blocks/monarch.h"
#include "nn/filter.h"
#include "nn/pages.h"

enum {
    MIXER_PASSES = 4,
    MIXER_CHANNELS = 16, /* of a block, and a pass' are a multiple: whole lanes, and a cache line */
    MIXER_TILE = 168,    /* rows of in_linear's output at a time: a multiple of the GEMM kernels' 6 and 14 */
};

/* The mixer goes through a document in a few passes of channels, so that in_linear's output, three times as
 * wide as x, is never there as a whole. */
struct mixer_pass {
    size_t first, width;      /* its channels */
    struct linear in;         /* [3 width, C]: their rows of W_in for x1, x2 and v */
    const float *taps, *bias; /* [3, 3 width] (tap, column) and [3 width], of the short convolution */
};

struct mixer {
    struct mixer_pass pass[MIXER_PASSES];
    size_t passes, C;
    struct linear out;
    const float *in, *in_bias, *taps, *taps_bias; /* as in the file: [3C, C], [3C], [3C, 1, 3], [3C] */
    struct filter filters[2];                     /* of x1 * v, and of x */
    struct filter_shape shape;
    struct filter_bank *bank; /* the part's; these filters are its number `block` */
    size_t block;
    float *by_column; /* the passes' taps and biases */
};

/* Documents that follow each other in a batch and need a transform of the same size, so that one use of the
 * filters serves them all. */
struct mixer_batch {
    const struct mixer *m;
    const struct run *run;
    const struct span *docs; /* as in the run */
    size_t count;
    size_t at, n;   /* their rows, in the run */
    const float *x; /* [n, C] */
    struct filter_use use;
    float *scratch; /* use.scratch_floats a worker */
    size_t scratch_bytes;
};

/* The documents of the run, whose rows are x, from number `first` on; their filters made ready. Errors:
 * THEA_EOS. */
THEA_CHECK thea_rc mixer_batch_begin(struct mixer_batch *b, const struct mixer *m, const struct run *run,
                                     const float *x, size_t first, struct thea_err *err);
void mixer_batch_end(struct mixer_batch *b);
/* s [n, C]: what out_linear gets, in blocks of MIXER_CHANNELS columns: one block's rows follow each other, so
 * that a long convolution, which goes through all rows of a few channels, goes through memory in order. (The
 * last block may be narrower.) wide [n, mixer_width] and tiles [tile_floats = mixer_tile_floats(C) or more, a
 * worker] are scratch. */
void mixer_batch_mix(const struct mixer_batch *b, float *s, float *wide, float *tiles, size_t tile_floats);
/* y [end - begin, C], rows ldy apart = these rows of s. */
void mixer_batch_rows(const struct mixer_batch *b, float *y, size_t ldy, const float *s, size_t begin,
                      size_t end);
size_t mixer_tile_floats(size_t C);

thea_rc mixer_backward(const void *self, const struct run *run, const float *x_in, float *d,
                       struct gradients *g, struct thea_err *err);

#endif
