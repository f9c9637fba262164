/* filter_bank: spectra of a part's filters, kept while they fit, made again otherwise (filter_spectrum.c).
 * Kept or not, they come out of the same steps over the same lags, so their bits do not depend on the limit.
 */
#include "nn/filter_bank_impl.h"

#include <stdlib.h>
#include <string.h>

enum { STALE_ROUNDS = 4 /* spectra not used for so many rounds over the blocks make room for others */ };

static void drop(struct filter_bank *b, struct kept *k)
{
    if (!k->spectra) return;
    pages_free(k->spectra, k->bytes);
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
        filter_make_spectrum(t->use, t->spectra + g * floats, g,
                             t->scratch + (size_t)i * t->use->scratch_floats);
}

/* All groups' spectra into the cache, when they fit. Not being able to is no error: they are made when used.
 */
static void keep_spectra(struct filter_bank *b, struct filter_use *use, struct kept *k)
{
    uint64_t bytes = use->groups * b->kernels->longconv->spectrum_floats(use->plan->N) * sizeof(float);
    size_t scratch_bytes = (size_t)workers_count(b->workers) * use->scratch_floats * sizeof(float);
    if (!make_room(b, bytes)) {
        if (b->stats.wanted_bytes < b->blocks * bytes) b->stats.wanted_bytes = b->blocks * bytes;
        return;
    }
    struct spectra_task t = {use, pages_new(bytes), pages_new(scratch_bytes)};
    if (t.spectra && t.scratch) {
        workers_run(b->workers, make_spectra, &t);
        *k = (struct kept){t.spectra, bytes, b->clock};
        b->stats.kept_bytes += bytes;
        use->spectra = t.spectra;
        if (use->block + 1 == b->blocks)
            filter_features_free(b); /* a round ends; the next one may find all kept */
    } else {
        pages_free(t.spectra, bytes);
    }
    pages_free(t.scratch, scratch_bytes);
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
                               .scratch_floats = filter_scratch_floats(b, N),
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
    rc = filter_features(b, block, filter_lags(b, N), err);
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
    filter_features_free(b);
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
