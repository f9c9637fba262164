/* filter_bank: spectra of a part's filters, kept while they fit, made again otherwise. What costs most for
 * each lag but serves all channels, the hidden layers, is made once for a use (features: [2 filters x 2
 * directions][lags][F'], rounded to float); the last product and the transform follow for each channel group.
 * Kept or not, spectra come out of the same steps over the same lags, so their bits do not depend on the
 * limit. */
#include "nn/filter_impl.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    NETWORKS = 4,    /* of a block: filter 1 fwd, rev, filter 2 fwd, rev */
    SIZES = 12,      /* transforms from FFT_MIN to FFT_MAX */
    STALE_ROUNDS = 4 /* spectra not used for so many rounds over the blocks make room for others */
};
static_assert(FFT_MIN << (SIZES - 1) == FFT_MAX, "a plan for each size");

struct kept {
    float *spectra;
    uint64_t bytes, used; /* used: the bank's clock */
};

struct filter_bank {
    struct filter_shape shape;
    size_t blocks;
    const struct kernels *kernels;
    struct workers *workers;
    struct filter (*filters)[2]; /* [blocks] */
    struct kept (*kept)[SIZES];  /* [blocks] */
    struct {
        struct fft_plan plan;
        float *factors;
    } sizes[SIZES];
    float *features;
    size_t features_bytes, features_block, features_lags; /* what they are of; lags 0: of nothing */
    uint64_t clock;
    struct filter_bank_stats stats;
};

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

static void drop_features(struct filter_bank *b)
{
    filter_pages_free(b->features, b->features_bytes);
    b->features = NULL;
    b->features_bytes = b->features_lags = 0;
}

static thea_rc features_room(struct filter_bank *b, size_t lags, struct thea_err *err)
{
    size_t bytes = NETWORKS * lags * filter_padded(b->shape.width) * sizeof(float);
    b->features_lags = 0;
    if (bytes <= b->features_bytes) return THEA_OK;
    drop_features(b);
    b->features = filter_pages_new(bytes);
    if (!b->features) return thea_fail(err, THEA_EOS, "no memory for features of filters: %zu bytes", bytes);
    b->features_bytes = bytes;
    return THEA_OK;
}

static thea_rc ready_features(struct filter_bank *b, size_t block, size_t lags, struct thea_err *err)
{
    if (b->features_lags == lags && b->features_block == block) return THEA_OK;
    size_t layers = filter_layers_doubles(&b->shape), tile = filter_tile_doubles(&b->shape, false);
    size_t bytes = (NETWORKS * layers + (size_t)workers_count(b->workers) * tile) * sizeof(double);
    double *memory = filter_pages_new(bytes);
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
    filter_pages_free(memory, bytes);
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

static size_t lags_of(const struct filter_bank *b, size_t N)
{
    return N / 2 < b->shape.context ? N / 2 : b->shape.context;
}

static void make_spectrum(const struct filter_use *use, float *spectrum, size_t group, float *scratch)
{
    const struct filter_bank *b = use->bank;
    size_t lanes = b->kernels->longconv->lanes, c0 = group * lanes, C = b->shape.channels;
    size_t channels = C - c0 < lanes ? C - c0 : lanes, lags = lags_of(b, use->plan->N);
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
    make_spectrum(use, spectrum, group, scratch);
    return spectrum;
}

/* --- Keeping */

static void drop(struct filter_bank *b, struct kept *k)
{
    if (!k->spectra) return;
    filter_pages_free(k->spectra, k->bytes);
    b->stats.kept_bytes -= k->bytes;
    *k = (struct kept){0};
}

static bool make_room(struct filter_bank *b, uint64_t bytes)
{
    uint64_t stale = STALE_ROUNDS * b->blocks;
    for (size_t i = 0; i < b->blocks * SIZES && b->stats.kept_bytes + bytes > b->stats.limit_bytes; i++) {
        struct kept *k = &b->kept[i / SIZES][i % SIZES];
        if (k->used + stale < b->clock) drop(b, k);
    }
    return b->stats.kept_bytes + bytes <= b->stats.limit_bytes;
}

struct spectra_task {
    const struct filter_use *use;
    float *spectra, *scratch;
};

static void make_spectra(void *context, int i, int n)
{
    struct spectra_task *t = context;
    size_t begin, end, floats = t->use->bank->kernels->longconv->spectrum_floats(t->use->plan->N);
    workers_slice(t->use->groups, 1, i, n, &begin, &end);
    for (size_t g = begin; g < end; g++)
        make_spectrum(t->use, t->spectra + g * floats, g, t->scratch + (size_t)i * t->use->scratch_floats);
}

/* All groups' spectra into the cache, when they fit. Not being able to is no error: they are made when used.
 */
static void keep_spectra(struct filter_bank *b, struct filter_use *use, struct kept *k)
{
    uint64_t bytes = use->groups * b->kernels->longconv->spectrum_floats(use->plan->N) * sizeof(float);
    size_t scratch_bytes = (size_t)workers_count(b->workers) * use->scratch_floats * sizeof(float);
    if (!make_room(b, bytes)) return;
    struct spectra_task t = {use, filter_pages_new(bytes), filter_pages_new(scratch_bytes)};
    if (t.spectra && t.scratch) {
        workers_run(b->workers, make_spectra, &t);
        *k = (struct kept){t.spectra, bytes, b->clock};
        b->stats.kept_bytes += bytes;
        use->spectra = t.spectra;
        if (use->block + 1 == b->blocks) drop_features(b); /* a round ends; the next one may find all kept */
    } else {
        filter_pages_free(t.spectra, bytes);
    }
    filter_pages_free(t.scratch, scratch_bytes);
}

static thea_rc ready_plan(struct filter_bank *b, size_t N, const struct fft_plan **plan, size_t *size,
                          struct thea_err *err)
{
    *size = (size_t)__builtin_ctzl(N / FFT_MIN);
    *plan = &b->sizes[*size].plan;
    if (b->sizes[*size].factors) return THEA_OK;
    b->sizes[*size].factors = malloc(fft_plan_floats(N) * sizeof(float));
    if (!b->sizes[*size].factors)
        return thea_fail(err, THEA_EOS, "no memory for a transform of %zu points", N);
    fft_plan_init(&b->sizes[*size].plan, N, b->sizes[*size].factors);
    return THEA_OK;
}

thea_rc filter_bank_begin(struct filter_bank *b, size_t block, size_t L, struct filter_use *use,
                          struct thea_err *err)
{
    assert(block < b->blocks && L >= 1 && L <= LONGCONV_MAX && b->filters[block][0].z);
    size_t size, N = longconv_size(L), lanes = b->kernels->longconv->lanes;
    *use = (struct filter_use){.groups = (b->shape.channels + lanes - 1) / lanes,
                               .scratch_floats = group_room(b, N).end,
                               .bank = b,
                               .block = block};
    thea_rc rc = ready_plan(b, N, &use->plan, &size, err);
    if (rc != THEA_OK) return rc;
    struct kept *k = &b->kept[block][size];
    b->clock++;
    if (k->spectra) {
        use->spectra = k->spectra;
        k->used = b->clock;
        b->stats.reused++;
        return THEA_OK;
    }
    rc = ready_features(b, block, lags_of(b, N), err);
    if (rc != THEA_OK) return rc;
    b->stats.made++;
    keep_spectra(b, use, k);
    return THEA_OK;
}

thea_rc filter_bank_backward(const struct filter_use *use, size_t L, const float *gradients,
                             const struct filter_gradient g[2], struct thea_err *err)
{
    const struct filter_bank *b = use->bank;
    return filter_spectrum_gradients(use, L, gradients, b->filters[use->block], g, &b->shape, b->workers,
                                     b->kernels, err);
}

/* --- Life */

thea_rc filter_bank_new(struct filter_bank **out, const struct filter_shape *shape, size_t blocks,
                        uint64_t limit_bytes, const struct kernels *kernels, struct workers *workers,
                        struct thea_err *err)
{
    struct filter_bank *b = calloc(1, sizeof *b);
    *out = b;
    if (b) {
        *b = (struct filter_bank){.shape = *shape, .blocks = blocks, .kernels = kernels, .workers = workers};
        b->stats.limit_bytes = limit_bytes;
        b->filters = calloc(blocks, sizeof *b->filters);
        b->kept = calloc(blocks, sizeof *b->kept);
        if (b->filters && b->kept) return THEA_OK;
    }
    filter_bank_free(b);
    *out = NULL;
    return thea_fail(err, THEA_EOS, "no memory for the filters of %zu blocks", blocks);
}

static void drop_block(struct filter_bank *b, size_t block)
{
    for (size_t i = 0; i < SIZES; i++) drop(b, &b->kept[block][i]);
    if (b->features_block == block) b->features_lags = 0;
}

void filter_bank_free(struct filter_bank *b)
{
    if (!b) return;
    for (size_t i = 0; i < b->blocks && b->kept; i++) drop_block(b, i);
    for (size_t i = 0; i < SIZES; i++) free(b->sizes[i].factors);
    drop_features(b);
    free(b->filters), free(b->kept), free(b);
}

void filter_bank_set(struct filter_bank *b, size_t block, const struct filter filters[2])
{
    assert(block < b->blocks);
    drop_block(b, block);
    memcpy(b->filters[block], filters, sizeof b->filters[block]);
}

struct filter_bank_stats filter_bank_stats(const struct filter_bank *b)
{
    return b->stats;
}
