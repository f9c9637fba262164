/* filter_spectrum: from a block's weights to the spectrum of a channel group. What costs most for each lag
 * but serves all channels, the hidden layers, is made once for a use (features: [2 filters x 2
 * directions][lags][F'], rounded to float); the last product and the transform follow for each group. */
#include "nn/filter_bank_impl.h"

#include <math.h>
#include <string.h>

enum { NETWORKS = 4 /* of a block: filter 1 fwd, rev, filter 2 fwd, rev */ };

/* --- The hidden features of a block */

struct features_task {
    struct filter_bank *b;
    struct filter_layers layers[NETWORKS];
    double *tiles; /* tile_doubles a worker */
    size_t tile_doubles, block, lags;
};

static void make_features(void *context, int i, int n)
{
    struct features_task *t = context;
    const struct filter_bank *b = t->b;
    const struct implicit_kernels *k = b->kernels->implicit;
    size_t begin, end, padded = filter_padded(b->shape.width);
    struct filter_tile tile;
    filter_tile_init(&tile, &b->shape, false, t->tiles + (size_t)i * t->tile_doubles);
    workers_slice(t->lags, FILTER_TILE, i, n, &begin, &end);
    for (size_t net = 0; net < NETWORKS; net++)
        for (size_t lag = begin; lag < end; lag += FILTER_TILE) {
            size_t rows = end - lag < FILTER_TILE ? end - lag : FILTER_TILE;
            filter_hidden(&t->layers[net], &tile, b->filters[t->block][net / 2].z, &b->shape, k, lag, rows);
            k->narrow(b->features + (net * t->lags + lag) * padded, tile.s[FILTER_SINES - 1], rows * padded);
        }
}

void filter_features_free(struct filter_bank *b)
{
    pages_free(b->features, b->features_bytes);
    b->features = NULL;
    b->features_bytes = b->features_lags = 0;
}

static thea_rc features_room(struct filter_bank *b, size_t lags, struct thea_err *err)
{
    size_t bytes = NETWORKS * lags * filter_padded(b->shape.width) * sizeof(float);
    b->features_lags = 0;
    if (bytes <= b->features_bytes) return THEA_OK;
    filter_features_free(b);
    b->features = pages_new(bytes);
    if (!b->features) return thea_fail(err, THEA_EOS, "no memory for features of filters: %zu bytes", bytes);
    b->features_bytes = bytes;
    return THEA_OK;
}

thea_rc filter_features(struct filter_bank *b, size_t block, size_t lags, struct thea_err *err)
{
    if (b->features_lags == lags && b->features_block == block) return THEA_OK;
    size_t layers = filter_layers_doubles(&b->shape), tile = filter_tile_doubles(&b->shape, false);
    size_t bytes = (NETWORKS * layers + (size_t)workers_count(b->workers) * tile) * sizeof(double);
    double *memory = pages_new(bytes);
    if (!memory) return thea_fail(err, THEA_EOS, "no memory for implicit filters: %zu bytes", bytes);
    thea_rc rc = features_room(b, lags, err);
    if (rc == THEA_OK) {
        struct features_task t = {
            .b = b, .tiles = memory + NETWORKS * layers, .tile_doubles = tile, .block = block, .lags = lags};
        for (size_t net = 0; net < NETWORKS; net++) {
            const struct filter *f = &b->filters[block][net / 2];
            filter_layers_init(&t.layers[net], f, net % 2 ? &f->rev : &f->fwd, &b->shape,
                               memory + net * layers);
        }
        workers_run(b->workers, make_features, &t);
        b->features_block = block, b->features_lags = lags;
    }
    pages_free(memory, bytes);
    return rc;
}

/* --- The spectrum of a channel group */

/* A worker's scratch, in floats: longconv's; its second half for backward or the kernels
 * [NETWORKS][lags][width]; the doubles of a group; a spectrum. */
struct group_room {
    size_t width; /* lanes, padded */
    size_t kernels_at, doubles_at, spectrum_at, end;
};

static struct group_room group_room(const struct filter_bank *b, size_t N)
{
    const struct longconv_kernels *conv = b->kernels->longconv;
    size_t width = filter_padded(conv->lanes), padded = filter_padded(b->shape.width);
    size_t doubles = (2 * b->shape.width + 1 + 2 * FILTER_TILE) * width + FILTER_TILE * padded;
    size_t kernels = NETWORKS * (N / 2) * width, half = conv->scratch_floats(N);
    struct group_room r = {.width = width, .kernels_at = half};
    r.doubles_at = half + (kernels > half ? kernels : half);
    r.spectrum_at = r.doubles_at + (2 * doubles + 15) / 16 * 16;
    r.end = r.spectrum_at + conv->spectrum_floats(N);
    return r;
}

size_t filter_scratch_floats(const struct filter_bank *b, size_t N)
{
    return group_room(b, N).end;
}

struct group_doubles {
    double *w3[2], *rate, *s, *r,
        *e; /* [F][width] each direction, [width], [FILTER_TILE][F' | width | width] */
};

static void group_weights(struct group_doubles *d, const struct filter *f, const struct filter_shape *shape,
                          size_t width, size_t c0, size_t channels, double *memory)
{
    size_t F = shape->width;
    memset(memory, 0, (2 * F + 1) * width * sizeof *memory);
    for (size_t direction = 0; direction < 2; direction++) {
        const float *w = (direction ? &f->rev : &f->fwd)->w[FILTER_SINES];
        d->w3[direction] = memory + direction * F * width;
        for (size_t c = 0; c < channels; c++)
            for (size_t j = 0; j < F; j++) d->w3[direction][j * width + c] = w[(c0 + c) * F + j];
    }
    d->rate = memory + 2 * F * width;
    for (size_t c = 0; c < channels; c++) d->rate[c] = fabs((double)f->deltas[c0 + c]);
    d->r = d->rate + width;
    d->e = d->r + FILTER_TILE * width;
    d->s = d->e + FILTER_TILE * width;
}

/* Both directions of one filter: kernels [2][lags][width]. */
static void group_kernels(const struct filter_bank *b, float *kernels, const struct group_doubles *d,
                          const float *t, size_t filter, size_t lags, size_t width)
{
    const struct implicit_kernels *k = b->kernels->implicit;
    size_t F = b->shape.width, padded = filter_padded(F);
    for (size_t lag = 0; lag < lags; lag += FILTER_TILE) {
        size_t rows = lags - lag < FILTER_TILE ? lags - lag : FILTER_TILE;
        k->decay(d->e, t + lag, d->rate, rows, width);
        for (size_t direction = 0; direction < 2; direction++) {
            size_t row = (2 * filter + direction) * lags + lag;
            k->widen(d->s, b->features + row * padded, rows * padded);
            k->matmul(d->r, width, d->s, padded, 1, d->w3[direction], width, rows, width, F, false);
            k->gate(kernels + (direction * lags + lag) * width, width, d->r, d->e, rows, width);
        }
    }
}

size_t filter_lags(const struct filter_bank *b, size_t N)
{
    return N / 2 < b->shape.context ? N / 2 : b->shape.context;
}

void filter_make_spectrum(const struct filter_use *use, float *spectrum, size_t group, float *scratch)
{
    const struct filter_bank *b = use->bank;
    size_t lanes = b->kernels->longconv->lanes, c0 = group * lanes, C = b->shape.channels;
    size_t channels = C - c0 < lanes ? C - c0 : lanes, lags = filter_lags(b, use->plan->N);
    struct group_room room = group_room(b, use->plan->N);
    struct longconv_kernel kernels[2];
    for (size_t i = 0; i < 2; i++) {
        const struct filter *f = &b->filters[use->block][i];
        struct group_doubles d;
        float *values = scratch + room.kernels_at + i * 2 * lags * room.width;
        group_weights(&d, f, &b->shape, room.width, c0, channels,
                      (double *)(void *)(scratch + room.doubles_at));
        group_kernels(b, values, &d, f->t, i, lags, room.width);
        kernels[i] = (struct longconv_kernel){values, values + lags * room.width, room.width, f->skip + c0};
    }
    b->kernels->longconv->spectrum(spectrum, use->plan, kernels, lags, channels, scratch);
}

const float *filter_spectrum(const struct filter_use *use, size_t group, float *scratch)
{
    if (use->spectra)
        return use->spectra + group * use->bank->kernels->longconv->spectrum_floats(use->plan->N);
    float *spectrum = scratch + group_room(use->bank, use->plan->N).spectrum_at;
    filter_make_spectrum(use, spectrum, group, scratch);
    return spectrum;
}
