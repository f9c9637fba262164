/* filter_backward: gradients of a filter's parameters. Lags are cut into shares, each some tiles long; a
 * tile's activations are computed again, and each share sums in double what is then added up in order. There
 * are as many shares whatever the workers, so that the bits do not depend on them. */
#include "nn/filter_impl.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { SHARES = 16 };

/* One direction's weights as backward reads them: rows are outputs. */
struct transposed {
    double *w[FILTER_SINES]; /* [F][E'], [F][F'], [F][F'] */
    double *w3;              /* [C][F'] */
};
/* What one share sums for one direction: shaped like filter_layers, and w3 [F][C']. */
struct sums {
    struct filter_layers layers;
    double *w3;
};
struct work {
    struct filter_tile tile;
    struct sums sums[2];
    double *gr, *e;           /* [FILTER_TILE][C']: the gradient before the decay, the decay */
    double *gs, *ga, *cosine; /* [FILTER_TILE][F'] */
    double *gz;               /* [FILTER_TILE][E'] */
};

struct backward {
    const struct filter_gradient *g;
    const struct filter *f;
    const struct filter_shape *shape;
    const struct implicit_kernels *k;
    const float *d[2]; /* [n, C] */
    size_t n, E, F, C; /* E, F, C: padded */
    struct filter_layers layers[2];
    struct transposed back[2];
    double *rate; /* [C'] */
    double *works;
    size_t work_doubles;
};

static size_t sums_doubles(const struct backward *v)
{
    return filter_layers_doubles(v->shape) + v->shape->width * v->C;
}
static size_t transposed_doubles(const struct backward *v)
{
    return v->shape->width * (v->E + 2 * v->F) + v->shape->channels * v->F;
}
static size_t work_doubles(const struct backward *v)
{
    return filter_tile_doubles(v->shape, true) + 2 * sums_doubles(v) +
           FILTER_TILE * (2 * v->C + 3 * v->F + v->E);
}

static struct filter_layers layers_at(const struct filter_shape *shape, double *memory)
{
    struct filter_layers l = {.freq = memory};
    size_t padded = filter_padded(shape->width);
    memory += padded;
    for (size_t i = 0; i < FILTER_SINES; i++) {
        l.b[i] = memory;
        l.w[i] = memory + padded;
        memory = l.w[i] + (i == 0 ? shape->features : shape->width) * padded;
    }
    return l;
}

static struct work work_at(const struct backward *v, size_t share)
{
    struct work w;
    double *memory = v->works + share * v->work_doubles;
    filter_tile_init(&w.tile, v->shape, true, memory);
    memory += filter_tile_doubles(v->shape, true);
    for (size_t i = 0; i < 2; i++, memory += sums_doubles(v)) {
        w.sums[i].layers = layers_at(v->shape, memory);
        w.sums[i].w3 = memory + filter_layers_doubles(v->shape);
    }
    w.gr = memory;
    w.e = w.gr + FILTER_TILE * v->C;
    w.gs = w.e + FILTER_TILE * v->C;
    w.ga = w.gs + FILTER_TILE * v->F;
    w.cosine = w.ga + FILTER_TILE * v->F;
    w.gz = w.cosine + FILTER_TILE * v->F;
    return w;
}

/* rows x columns of w, rows then `padded` apart (the rest is 0 already). */
static double *copy_rows(double *out, const float *w, size_t rows, size_t columns, size_t padded)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) out[i * padded + j] = w[i * columns + j];
    return out + rows * padded;
}

static void transposed_init(struct transposed *t, const struct backward *v, const struct filter_network *net,
                            double *memory)
{
    size_t F = v->shape->width;
    for (size_t i = 0; i < FILTER_SINES; i++) {
        t->w[i] = memory;
        memory = copy_rows(memory, net->w[i], F, i == 0 ? v->shape->features : F, i == 0 ? v->E : v->F);
    }
    t->w3 = memory;
    copy_rows(memory, net->w[FILTER_SINES], v->shape->channels, F, v->F);
}

/* gr = d (.) decay; then through the last product. */
static void last_layer(const struct backward *v, struct work *w, size_t direction, size_t lag, size_t rows)
{
    size_t F = v->shape->width, C = v->shape->channels;
    const float *d = v->d[direction] + lag * C;
    v->k->decay(w->e, v->f->t + lag, v->rate, rows, v->C);
    for (size_t i = 0; i < rows; i++)
        for (size_t c = 0; c < C; c++) w->gr[i * v->C + c] = d[i * C + c] * w->e[i * v->C + c];
    v->k->matmul(w->sums[direction].w3, v->C, w->tile.s[FILTER_SINES - 1], 1, v->F, w->gr, v->C, F, v->C,
                 rows, true);
    v->k->matmul(w->gs, v->F, w->gr, v->C, 1, v->back[direction].w3, v->F, rows, v->F, C, false);
}

/* ga of layer i from gs, the gradient of its sines; freq's and b's sums. */
static void sine_layer(const struct backward *v, struct work *w, size_t direction, size_t i, size_t rows)
{
    const double *freq = v->layers[direction].freq, *a = w->tile.a[i];
    struct filter_layers *sums = &w->sums[direction].layers;
    v->k->cosine(w->cosine, a, freq, rows, v->F);
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < v->F; j++) {
            size_t at = r * v->F + j;
            double g = w->gs[at] * w->cosine[at];
            sums->freq[j] += g * a[at];
            w->ga[at] = g * freq[j];
            sums->b[i][j] += w->ga[at];
        }
}

static void product_layer(const struct backward *v, struct work *w, size_t direction, size_t i, size_t rows)
{
    size_t in = i == 0 ? v->shape->features : v->shape->width, ldin = i == 0 ? in : v->F;
    const double *x = i == 0 ? w->tile.z : w->tile.s[i - 1];
    v->k->matmul(w->sums[direction].layers.w[i], v->F, x, 1, ldin, w->ga, v->F, in, v->F, rows, true);
    v->k->matmul(i == 0 ? w->gz : w->gs, i == 0 ? v->E : v->F, w->ga, v->F, 1, v->back[direction].w[i],
                 i == 0 ? v->E : v->F, rows, i == 0 ? v->E : v->F, v->shape->width, false);
}

static void add_features(const struct backward *v, const struct work *w, size_t lag, size_t rows)
{
    size_t E = v->shape->features;
    for (size_t i = 0; i < rows && v->g->z; i++)
        for (size_t j = 0; j < E; j++) v->g->z[(lag + i) * E + j] += (float)w->gz[i * v->E + j];
}

static void backward_share(const struct backward *v, size_t share)
{
    struct work w = work_at(v, share);
    size_t begin, end;
    workers_slice(v->n, FILTER_TILE, (int)share, SHARES, &begin, &end);
    for (size_t direction = 0; direction < 2; direction++)
        for (size_t lag = begin; lag < end; lag += FILTER_TILE) {
            size_t rows = end - lag < FILTER_TILE ? end - lag : FILTER_TILE;
            filter_hidden(&v->layers[direction], &w.tile, v->f->z, v->shape, v->k, lag, rows);
            last_layer(v, &w, direction, lag, rows);
            for (size_t layer = FILTER_SINES; layer-- > 0;) {
                sine_layer(v, &w, direction, layer, rows);
                product_layer(v, &w, direction, layer, rows);
            }
            add_features(v, &w, lag, rows);
        }
}

static void backward_lags(void *context, int i, int n)
{
    size_t begin, end;
    workers_slice(SHARES, 1, i, n, &begin, &end);
    for (; begin < end; begin++) backward_share(context, begin);
}

/* out [rows, columns] += the shares' sums, which lie transposed, `padded` apart, at the same place as `first`
 * of share 0. */
static void hand_over(const struct backward *v, float *out, const double *first, size_t rows, size_t columns,
                      size_t padded)
{
    if (!out) return;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            double sum = 0;
            for (size_t n = 0; n < SHARES; n++) sum += first[n * v->work_doubles + j * padded + i];
            out[i * columns + j] += (float)sum;
        }
}

static void hand_over_direction(const struct backward *v, const struct filter_network_gradient *g,
                                const struct sums *s)
{
    size_t F = v->shape->width;
    for (size_t i = 0; i < FILTER_SINES; i++) {
        hand_over(v, g->w[i], s->layers.w[i], F, i == 0 ? v->shape->features : F, v->F);
        hand_over(v, g->b[i], s->layers.b[i], F, 1, v->F);
    }
    hand_over(v, g->w[FILTER_SINES], s->w3, v->shape->channels, F, v->C);
}

static double *backward_init(struct backward *v, double *memory)
{
    const struct filter_network *nets[2] = {&v->f->fwd, &v->f->rev};
    for (size_t i = 0; i < 2; i++) {
        filter_layers_init(&v->layers[i], v->f, nets[i], v->shape, memory);
        memory += filter_layers_doubles(v->shape);
        transposed_init(&v->back[i], v, nets[i], memory);
        memory += transposed_doubles(v);
    }
    v->rate = memory;
    for (size_t c = 0; c < v->shape->channels; c++) v->rate[c] = fabs((double)v->f->deltas[c]);
    return memory + v->C;
}

thea_rc filter_backward(const struct filter_gradient *g, const float *dfwd, const float *drev, size_t n,
                        const struct filter *f, const struct filter_shape *shape, struct workers *workers,
                        const struct kernels *k, struct thea_err *err)
{
    assert(n <= shape->context);
    struct backward v = {.g = g, .f = f, .shape = shape, .k = k->implicit, .d = {dfwd, drev}, .n = n};
    v.E = filter_padded(shape->features), v.F = filter_padded(shape->width),
    v.C = filter_padded(shape->channels);
    v.work_doubles = work_doubles(&v);
    size_t shared = 2 * (filter_layers_doubles(shape) + transposed_doubles(&v)) + v.C;
    size_t bytes = (shared + SHARES * v.work_doubles) * sizeof(double);
    double *memory = pages_new(bytes);
    if (!memory) return thea_fail(err, THEA_EOS, "no memory for gradients of a filter: %zu bytes", bytes);
    v.works = backward_init(&v, memory);
    workers_run(workers, backward_lags, &v);
    struct work first = work_at(&v, 0);
    hand_over_direction(&v, &g->fwd, &first.sums[0]);
    hand_over_direction(&v, &g->rev, &first.sums[1]);
    for (size_t i = 0; i < 2; i++) hand_over(&v, g->freq, first.sums[i].layers.freq, shape->width, 1, v.F);
    pages_free(memory, bytes);
    return THEA_OK;
}

/* --- Through the transform */

struct kernels_task {
    const struct filter_use *use;
    const struct filter_shape *shape;
    const struct longconv_kernels *conv;
    const float *gradients;
    float *d[4], *scratch; /* d: [L, C] of filter 1 fwd, rev, filter 2 fwd, rev */
    size_t L;
};

static void kernel_gradients(void *context, int i, int n)
{
    struct kernels_task *t = context;
    size_t begin, end, C = t->shape->channels, lanes = t->conv->lanes, N = t->use->plan->N;
    workers_slice(t->use->groups, 1, i, n, &begin, &end);
    for (size_t group = begin; group < end; group++) {
        size_t c0 = group * lanes;
        struct longconv_kernel_gradient d[2] = {{t->d[0] + c0, t->d[1] + c0, C},
                                                {t->d[2] + c0, t->d[3] + c0, C}};
        t->conv->kernel_gradient(d, t->gradients + group * t->conv->spectrum_floats(N), t->use->plan, t->L,
                                 C - c0 < lanes ? C - c0 : lanes,
                                 t->scratch + (size_t)i * t->conv->scratch_floats(N));
    }
}

thea_rc filter_spectrum_gradients(const struct filter_use *use, size_t L, const float *gradients,
                                  const struct filter both[2], const struct filter_gradient g[2],
                                  const struct filter_shape *shape, struct workers *workers,
                                  const struct kernels *k, struct thea_err *err)
{
    size_t C = shape->channels, n = L < shape->context ? L : shape->context;
    size_t scratch = (size_t)workers_count(workers) * k->longconv->scratch_floats(use->plan->N);
    size_t bytes = (4 * n * C + scratch + 16) * sizeof(float);
    float *memory = pages_new(bytes);
    if (!memory) return thea_fail(err, THEA_EOS, "no memory for gradients of filters: %zu bytes", bytes);
    struct kernels_task t = {use, shape, k->longconv, gradients, .scratch = memory, .L = n};
    for (size_t i = 0; i < 4; i++) t.d[i] = memory + scratch + i * n * C;
    workers_run(workers, kernel_gradients, &t);
    thea_rc rc = THEA_OK;
    for (size_t i = 0; i < 2 && rc == THEA_OK; i++) {
        float *fwd = t.d[2 * i], *rev = t.d[2 * i + 1];
        if (n == L) memset(rev + (L - 1) * C, 0, C * sizeof *rev); /* never used: what is there is rounding */
        for (size_t c = 0; c < C && g[i].skip; c++) g[i].skip[c] += fwd[c];
        rc = filter_backward(&g[i], fwd, rev, n, &both[i], shape, workers, k, err);
    }
    pages_free(memory, bytes);
    return rc;
}
