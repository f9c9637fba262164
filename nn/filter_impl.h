/* What filter's files share: one network's hidden layers, in double, tile by tile. */
#ifndef NN_FILTER_IMPL_H
#define NN_FILTER_IMPL_H

#include "kernels/implicit.h"
#include "nn/filter.h"
#include "nn/pages.h"

enum { FILTER_TILE = 24, FILTER_SINES = 3 }; /* lags of a tile: its rows stay in L1 */

static inline size_t filter_padded(size_t n) /* widths of the double buffers */
{
    return (n + IMPLICIT_WIDTH - 1) / IMPLICIT_WIDTH * IMPLICIT_WIDTH;
}

/* The hidden layers of a network, transposed and padded with zeros, so that padded units stay 0. */
struct filter_layers {
    double *w[FILTER_SINES]; /* [E][F'], [F][F'], [F][F'] */
    double *b[FILTER_SINES]; /* [F'] */
    double *freq;            /* [F'] */
};
size_t filter_layers_doubles(const struct filter_shape *shape);
void filter_layers_init(struct filter_layers *l, const struct filter *f, const struct filter_network *net,
                        const struct filter_shape *shape, double *memory);

/* Room for one tile of lags. Forward alone needs two planes [FILTER_TILE][F'], which take turns; with `keep`
 * each layer has its own two. */
struct filter_tile {
    double *z;               /* [FILTER_TILE][E] */
    double *a[FILTER_SINES]; /* before the sine */
    double *s[FILTER_SINES]; /* after it */
};
size_t filter_tile_doubles(const struct filter_shape *shape, bool keep);
void filter_tile_init(struct filter_tile *t, const struct filter_shape *shape, bool keep, double *memory);
/* t->s[2] (and all others, if kept) of lags [lag, lag + rows), rows <= FILTER_TILE. */
void filter_hidden(const struct filter_layers *l, const struct filter_tile *t, const float *z,
                   const struct filter_shape *shape, const struct implicit_kernels *k, size_t lag,
                   size_t rows);

/* filter_bank_backward, of the two filters of use's block. */
THEA_CHECK thea_rc filter_spectrum_gradients(const struct filter_use *use, size_t L, const float *gradients,
                                             const struct filter both[2], const struct filter_gradient g[2],
                                             const struct filter_shape *shape, struct workers *workers,
                                             const struct kernels *k, struct thea_err *err);

#endif
