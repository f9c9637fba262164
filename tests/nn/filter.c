#include "nn/filter.h"
#include "nn/weights/safetensors.h"
#include "nn/weights/weights.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Two filters with parameters of their own in one block of floats each, so that tests can turn every one. */
enum { PARAMETERS = 17 /* z, freq, skip, then w and b of both directions */, E = 5 };

struct set {
    struct filter_shape shape;
    struct filter filters[2];
    struct filter_gradient gradients[2];
    float *values[2][PARAMETERS], *grads[2][PARAMETERS], *t, *deltas;
    size_t sizes[PARAMETERS];
};

static uint64_t seed = 1;
static float next_random(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(seed >> 32) * 0x1p-31f;
}

static void connect(struct set *s, size_t i)
{
    float **v = s->values[i], **g = s->grads[i];
    struct filter *f = &s->filters[i];
    *f = (struct filter){v[0], s->t, s->deltas, v[1], v[2], {{0}, {0}}, {{0}, {0}}};
    s->gradients[i] = (struct filter_gradient){g[0], g[1], g[2], {{0}, {0}}, {{0}, {0}}};
    struct filter_network *nets[2] = {&f->fwd, &f->rev};
    struct filter_network_gradient *back[2] = {&s->gradients[i].fwd, &s->gradients[i].rev};
    for (size_t d = 0; d < 2; d++)
        for (size_t l = 0; l < 4; l++) {
            nets[d]->w[l] = v[3 + 7 * d + l], back[d]->w[l] = g[3 + 7 * d + l];
            if (l < 3) nets[d]->b[l] = v[7 + 7 * d + l], back[d]->b[l] = g[7 + 7 * d + l];
        }
}

static void set_init(struct set *s, size_t channels, size_t width, size_t context)
{
    *s = (struct set){.shape = {channels, E, width, context}};
    size_t net[7] = {width * E, width * width, width * width, channels * width, width, width, width};
    s->sizes[0] = context * E, s->sizes[1] = width, s->sizes[2] = channels;
    for (size_t i = 0; i < 14; i++) s->sizes[3 + i] = net[i % 7];
    s->t = calloc(context, sizeof(float)), s->deltas = calloc(channels, sizeof(float));
    for (size_t i = 0; i < context; i++) s->t[i] = context > 1 ? (float)i / (float)(context - 1) : 0;
    for (size_t c = 0; c < channels; c++) s->deltas[c] = -0.5f - 3 * (float)c / (float)channels;
    for (size_t f = 0; f < 2; f++) {
        for (size_t p = 0; p < PARAMETERS; p++) {
            float scale = p == 0 || p == 2 ? 1 : 1 / sqrtf((float)width);
            s->values[f][p] = calloc(s->sizes[p], sizeof(float)),
            s->grads[f][p] = calloc(s->sizes[p], sizeof(float));
            for (size_t i = 0; i < s->sizes[p]; i++)
                s->values[f][p][i] = p == 1 ? 2 + next_random() : scale * next_random();
        }
        connect(s, f);
    }
}

static void set_fini(struct set *s)
{
    for (size_t f = 0; f < 2; f++)
        for (size_t p = 0; p < PARAMETERS; p++) free(s->values[f][p]), free(s->grads[f][p]);
    free(s->t), free(s->deltas);
}

/* The formula of filter.h, one value, nothing shared with filter.c. `turned` (or NULL) is a parameter that
 * counts as `by` more. */
struct turn {
    const float *turned;
    double by;
};
static double at(const float *p, const struct turn *t)
{
    return (double)*p + (p == t->turned ? t->by : 0);
}
static double formula(const struct filter *f, const struct filter_network *net,
                      const struct filter_shape *shape, size_t lag, size_t c, const struct turn *t)
{
    double s[2][64];
    size_t F = shape->width;
    cr_assert(F <= 64);
    for (size_t l = 0; l < 3; l++)
        for (size_t j = 0; j < F; j++) {
            size_t in = l == 0 ? E : F;
            double a = at(net->b[l] + j, t);
            for (size_t k = 0; k < in; k++)
                a += at(net->w[l] + j * in + k, t) * (l == 0 ? at(f->z + lag * E + k, t) : s[(l + 1) % 2][k]);
            s[l % 2][j] = sin(at(f->freq + j, t) * a);
        }
    double r = 0;
    for (size_t j = 0; j < F; j++) r += at(net->w[3] + c * F + j, t) * s[0][j];
    return r * exp(-(double)f->t[lag] * fabs((double)f->deltas[c]));
}

static const char *const tables[] = {"plain", "avx2", "avx512"};
#define FOR_EACH_TABLE(k)                                                                                    \
    for (size_t table_index = 0; table_index < COUNT(tables); table_index++)                                 \
        for (const struct kernels *k = kernels_select(tables[table_index]); k; k = NULL)

static struct workers *new_workers(int threads)
{
    struct workers *w;
    struct thea_err err;
    cr_assert(workers_new(&w, threads, &err) == THEA_OK, "%s", err.message);
    return w;
}

static void expect_kernel(const struct kernels *k, const struct set *s, size_t lag0, size_t n, size_t c0,
                          size_t c1)
{
    size_t ld = c1 - c0 + 2;
    float *out[2] = {calloc(n * ld, sizeof(float)), calloc(n * ld, sizeof(float))};
    struct thea_err err;
    cr_assert(filter_kernel(out[0], out[1], ld, &s->filters[0], &s->shape, k, lag0, n, c0, c1, &err) ==
              THEA_OK);
    for (size_t i = 0; i < n * ld; i++)
        for (size_t d = 0; d < 2; d++) {
            const struct filter *f = &s->filters[0];
            bool inside = i % ld < c1 - c0;
            double want = inside ? formula(f, d ? &f->rev : &f->fwd, &s->shape, lag0 + i / ld, c0 + i % ld,
                                           &(struct turn){NULL, 0})
                                 : 0;
            cr_assert(fabs((double)out[d][i] - want) <= 1e-7 * fabs(want) + 1e-14,
                      "%s lag %zu channel %zu: %g, %g", k->name, lag0 + i / ld, c0 + i % ld,
                      (double)out[d][i], want);
        }
    free(out[0]), free(out[1]);
}

Test(filter, kernels_are_the_formula_rounded_once_for_any_width_and_range)
{
    static const size_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {16, 8, 25}, {19, 16, 50}, {33, 37, 30}};
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(shapes); i++) {
            struct set s;
            size_t C = shapes[i][0], n = shapes[i][2];
            set_init(&s, C, shapes[i][1], n);
            expect_kernel(k, &s, 0, n, 0, C);
            expect_kernel(k, &s, n / 3, n - n / 3, C / 2, C);
            set_fini(&s);
        }
}

/* --- Recorded values */

static const float *floats_of(const struct weights *w, const char *filter, const char *name, size_t *elements)
{
    char full[200];
    snprintf(full, sizeof full, "bert.encoder.layer.0.attention.%s.%s", filter, name);
    const struct weight *found = weights_find(w, full);
    cr_assert(found && found->dtype == TENSOR_F32 && (uintptr_t)found->data % 4 == 0, "%s", full);
    if (elements) *elements = found->size_bytes / 4;
    return found->data;
}

static void load_filter(struct filter *f, struct filter_shape *shape, const struct weights *w,
                        const char *name)
{
    size_t z, width, channels;
    *f = (struct filter){.z = floats_of(w, name, "pos_emb.z", &z),
                         .t = floats_of(w, name, "pos_emb.t", NULL),
                         .deltas = floats_of(w, name, "modulation.deltas", &channels),
                         .freq = floats_of(w, name, "implicit_filter.1.freq", &width),
                         .skip = floats_of(w, name, "bias", NULL)};
    *shape = (struct filter_shape){channels, E, width, z / E};
    struct filter_network *nets[2] = {&f->fwd, &f->rev};
    for (size_t i = 0; i < 8; i++) {
        char part[64];
        snprintf(part, sizeof part, "implicit_filter%s.%zu.weight", i < 4 ? "" : "_rev", i % 4 * 2);
        nets[i / 4]->w[i % 4] = floats_of(w, name, part, NULL);
        snprintf(part, sizeof part, "implicit_filter%s.%zu.bias", i < 4 ? "" : "_rev", i % 4 * 2);
        if (i % 4 < 3) nets[i / 4]->b[i % 4] = floats_of(w, name, part, NULL);
    }
}

static void compare_recorded(const struct weight_file *golden, const char *filter, const char *direction,
                             const float *got, size_t n)
{
    char name[100];
    snprintf(name, sizeof name, "kernel.0.%s.%s", filter, direction);
    for (size_t i = 0; i < golden->count; i++) {
        const struct weight *w = &golden->tensors[i];
        if (strcmp(w->name, name) != 0) continue;
        const float *want = w->data;
        double largest = 0, worst = 0;
        cr_assert(w->size_bytes == n * 4);
        for (size_t j = 0; j < n; j++) {
            largest = fmax(largest, fabs((double)want[j]));
            worst = fmax(worst, fabs((double)got[j] - (double)want[j]));
        }
        cr_assert(worst <= 2e-7 * largest, "%s: off by %g of %g", name, worst,
                  largest); /* the reference in f32: 2e-6 */
        return;
    }
    cr_assert(false, "no %s", name);
}

Test(filter, kernels_are_the_recorded_ones_of_the_reference)
{
    static const char *const names[] = {"filter_fn", "filter_fn2"};
    struct weights *w;
    struct weight_file golden;
    struct thea_err err;
    const char *dir = THEA_SOURCE_DIR "/tests/goldens/m2bert-tiny";
    cr_assert(weights_open(&w, dir, &err) == THEA_OK, "%s", err.message);
    cr_assert(safetensors_open(&golden, THEA_SOURCE_DIR "/tests/goldens/m2bert-tiny/golden.safetensors",
                               &err) == THEA_OK,
              "%s", err.message);
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(names); i++) {
            struct filter f;
            struct filter_shape shape;
            load_filter(&f, &shape, w, names[i]);
            size_t n = shape.context, C = shape.channels;
            float *fwd = malloc(n * C * 4), *rev = malloc(n * C * 4);
            cr_assert(filter_kernel(fwd, rev, C, &f, &shape, k, 0, n, 0, C, &err) == THEA_OK, "%s",
                      err.message);
            compare_recorded(&golden, names[i], "fwd", fwd, n * C);
            compare_recorded(&golden, names[i], "rev", rev, n * C);
            free(fwd), free(rev);
        }
    weight_file_close(&golden);
    weights_close(w);
}

/* --- The bank */

static struct filter_bank *new_bank(const struct set *s, size_t blocks, uint64_t limit,
                                    const struct kernels *k, struct workers *w)
{
    struct filter_bank *b;
    struct thea_err err;
    cr_assert(filter_bank_new(&b, &s->shape, blocks, limit, k, w, &err) == THEA_OK, "%s", err.message);
    for (size_t i = 0; i < blocks; i++) filter_bank_set(b, i, s->filters);
    return b;
}

static float *new_floats(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
    cr_assert_not_null(p);
    return p;
}

/* y, yu [L, C] = both filters over a and b, through the bank. */
static void convolve(struct filter_bank *b, const struct kernels *k, size_t block, size_t L, size_t C,
                     float *y, float *yu, const float *a, const float *bb)
{
    struct filter_use use;
    struct thea_err err;
    cr_assert(filter_bank_begin(b, block, L, &use, &err) == THEA_OK, "%s", err.message);
    float *scratch = new_floats(use.scratch_floats);
    size_t lanes = k->longconv->lanes;
    for (size_t g = 0; g < use.groups; g++) {
        size_t c = g * lanes;
        struct longconv_input in = {a + c, bb + c, C, C};
        struct longconv_output out = {y + c, yu + c, C, C, NULL, 0};
        const float *spectrum = filter_spectrum(&use, g, scratch);
        k->longconv->forward(&out, &in, spectrum, use.plan, L, C - c < lanes ? C - c : lanes, scratch);
    }
    free(scratch);
}

static void expect_direct(const struct kernels *k, const struct set *s, size_t filter, const float *y,
                          const float *x, size_t L)
{
    size_t C = s->shape.channels, n = s->shape.context;
    float *fwd = malloc(n * C * 4), *rev = malloc(n * C * 4), *want = malloc(L * C * 4);
    struct thea_err err;
    cr_assert(filter_kernel(fwd, rev, C, &s->filters[filter], &s->shape, k, 0, n, 0, C, &err) == THEA_OK);
    struct longconv_kernel kernel = {fwd, rev, C, s->filters[filter].skip};
    longconv_direct_forward(want, C, x, C, &kernel, n, L, C);
    double largest = 0;
    for (size_t i = 0; i < L * C; i++) largest = fmax(largest, fabs((double)want[i]));
    for (size_t i = 0; i < L * C; i++)
        cr_assert(fabs((double)y[i] - (double)want[i]) <= 1e-6 * largest, "%s L %zu element %zu", k->name, L,
                  i);
    free(fwd), free(rev), free(want);
}

Test(filter, the_banks_spectra_convolve_as_the_kernels_do_directly)
{
    static const size_t lengths[] = {1, 2, 31, 33, 64, 97, 150, 300};
    struct workers *w = new_workers(2);
    FOR_EACH_TABLE (k) {
        struct set s;
        set_init(&s, 37, 16, 150);
        size_t C = s.shape.channels;
        struct filter_bank *b = new_bank(&s, 1, k->name[0] == 'p' ? 0 : 1 << 30, k, w);
        float *in[4];
        for (size_t i = 0; i < 4; i++) in[i] = malloc(300 * C * 4);
        for (size_t i = 0; i < 300 * C; i++) in[0][i] = next_random(), in[1][i] = next_random();
        for (size_t i = 0; i < COUNT(lengths); i++) {
            convolve(b, k, 0, lengths[i], C, in[2], in[3], in[0], in[1]);
            expect_direct(k, &s, 0, in[2], in[0], lengths[i]);
            expect_direct(k, &s, 1, in[3], in[1], lengths[i]);
        }
        for (size_t i = 0; i < 4; i++) free(in[i]);
        filter_bank_free(b);
        set_fini(&s);
    }
    workers_free(w);
}

Test(filter, bits_depend_neither_on_the_limit_nor_on_threads)
{
    enum { L = 70, C = 40 };
    static float y[3][2][L * C], a[L * C], bb[L * C];
    for (size_t i = 0; i < L * C; i++) a[i] = next_random(), bb[i] = next_random();
    FOR_EACH_TABLE (k) {
        struct set s;
        set_init(&s, C, 24, 100);
        for (size_t i = 0; i < 3; i++) {
            struct workers *w = new_workers(i == 2 ? 3 : 1);
            struct filter_bank *b = new_bank(&s, 1, i == 0 ? 0 : 1 << 30, k, w);
            convolve(b, k, 0, L, C, y[i][0], y[i][1], a, bb);
            cr_assert((filter_bank_stats(b).kept_bytes > 0) == (i > 0));
            filter_bank_free(b);
            workers_free(w);
            cr_assert(memcmp(y[i], y[0], sizeof y[0]) == 0, "%s way %zu", k->name, i);
        }
        set_fini(&s);
    }
}

Test(filter, spectra_are_kept_within_the_limit_and_made_once)
{
    const struct kernels *k = kernels_select(NULL);
    struct workers *w = new_workers(1);
    struct set s;
    struct filter_use use;
    struct thea_err err;
    set_init(&s, 32, 16, 64);
    uint64_t one = (32 + k->longconv->lanes - 1) / k->longconv->lanes * k->longconv->spectrum_floats(128) * 4;
    struct filter_bank *b = new_bank(&s, 3, 2 * one + 1, k, w);
    for (size_t i = 0; i < 9; i++) {
        cr_assert(filter_bank_begin(b, i % 3, 64, &use, &err) == THEA_OK);
        cr_assert((use.spectra != NULL) == (i % 3 < 2), "block %zu", i % 3);
    }
    struct filter_bank_stats stats = filter_bank_stats(b);
    cr_assert(stats.kept_bytes == 2 * one && stats.limit_bytes == 2 * one + 1);
    cr_assert(stats.wanted_bytes == 3 * one, "says what would keep all three");
    cr_assert(stats.made == 5 && stats.reused == 4, "made %zu reused %zu", (size_t)stats.made,
              (size_t)stats.reused);
    filter_bank_set(b, 0, s.filters);
    cr_assert(filter_bank_stats(b).kept_bytes == one, "new weights drop what was made of the old");
    filter_bank_free(b);
    set_fini(&s);
    workers_free(w);
}

Test(filter, spectra_of_a_length_that_nobody_asks_for_any_more_make_room)
{
    const struct kernels *k = kernels_select(NULL);
    struct workers *w = new_workers(1);
    struct set s;
    struct filter_use use;
    struct thea_err err;
    set_init(&s, 8, 16, 512);
    size_t groups = (8 + k->longconv->lanes - 1) / k->longconv->lanes;
    struct filter_bank *b = new_bank(&s, 1, groups * k->longconv->spectrum_floats(1024) * 4 + 16, k, w);
    cr_assert(filter_bank_begin(b, 0, 512, &use, &err) == THEA_OK && use.spectra);
    for (size_t i = 0; i < 10; i++)
        cr_assert(filter_bank_begin(b, 0, 256, &use, &err) == THEA_OK && (i < 3) <= !use.spectra, "use %zu",
                  i);
    cr_assert(use.spectra &&
              filter_bank_stats(b).kept_bytes == groups * k->longconv->spectrum_floats(512) * 4);
    filter_bank_free(b);
    set_fini(&s);
    workers_free(w);
}

Test(filter, new_weights_give_new_spectra)
{
    enum { L = 20, C = 8 };
    static float y[2][2][L * C], a[L * C];
    const struct kernels *k = kernels_select(NULL);
    struct workers *w = new_workers(1);
    struct set s;
    for (size_t i = 0; i < L * C; i++) a[i] = next_random();
    for (uint64_t limit = 0; limit < 2; limit++) {
        set_init(&s, C, 16, L);
        struct filter_bank *b = new_bank(&s, 1, limit << 30, k, w);
        convolve(b, k, 0, L, C, y[0][0], y[0][1], a, a);
        s.values[0][4][3] += 0.1f;
        filter_bank_set(b, 0, s.filters);
        convolve(b, k, 0, L, C, y[1][0], y[1][1], a, a);
        expect_direct(k, &s, 0, y[1][0], a, L);
        cr_assert(memcmp(y[0][0], y[1][0], sizeof y[0][0]) != 0);
        expect_direct(k, &s, 1, y[1][1], a, L);
        filter_bank_free(b);
        set_fini(&s);
    }
    workers_free(w);
}

/* --- Gradients */

/* sum of dy (.) filter(x) over all positions and channels, in double from the formulas. */
static double loss(const struct set *s, size_t filter, const float *dy, const float *x, size_t L,
                   const struct turn *t)
{
    const struct filter *f = &s->filters[filter];
    size_t C = s->shape.channels;
    double sum = 0;
    for (size_t c = 0; c < C; c++)
        for (size_t lag = 0; lag < L; lag++) {
            double fwd = lag < s->shape.context ? formula(f, &f->fwd, &s->shape, lag, c, t) : 0;
            double rev = lag < s->shape.context ? formula(f, &f->rev, &s->shape, lag, c, t) : 0;
            if (lag == 0) fwd += at(f->skip + c, t);
            for (size_t p = lag; p < L; p++) {
                sum += (double)dy[p * C + c] * fwd * (double)x[(p - lag) * C + c];
                if (p + 1 < L) sum += (double)dy[(p - lag) * C + c] * rev * (double)x[(p + 1) * C + c];
            }
        }
    return sum;
}

static void expect_gradients(const struct kernels *k, const struct set *s, const float *dy[2],
                             const float *x[2], size_t L)
{
    const double step = 1e-5;
    for (size_t f = 0; f < 2; f++)
        for (size_t p = 0; p < PARAMETERS; p++) {
            double largest = 1e-6;
            for (size_t i = 0; i < s->sizes[p]; i++) largest = fmax(largest, fabs((double)s->grads[f][p][i]));
            for (size_t i = 0; i < s->sizes[p]; i += 1 + s->sizes[p] / 11) {
                const float *value = s->values[f][p] + i;
                double want = (loss(s, f, dy[f], x[f], L, &(struct turn){value, step}) -
                               loss(s, f, dy[f], x[f], L, &(struct turn){value, -step})) /
                              (2 * step);
                cr_assert(fabs((double)s->grads[f][p][i] - want) <= 2e-6 * fmax(largest, fabs(want)),
                          "%s L %zu filter %zu parameter %zu[%zu]: %g, expected %g", k->name, L, f, p, i,
                          (double)s->grads[f][p][i], want);
            }
        }
}

static void run_backward(struct filter_bank *b, const struct kernels *k, struct set *s, const float *dy[2],
                         const float *x[2], size_t L)
{
    struct filter_use use;
    struct thea_err err;
    cr_assert(filter_bank_begin(b, 0, L, &use, &err) == THEA_OK, "%s", err.message);
    size_t lanes = k->longconv->lanes, C = s->shape.channels,
           floats = k->longconv->spectrum_floats(use.plan->N);
    float *scratch = new_floats(use.scratch_floats), *gradients = new_floats(use.groups * floats);
    float *dx[2] = {new_floats(L * C), new_floats(L * C)};
    memset(gradients, 0, use.groups * floats * sizeof *gradients);
    for (size_t g = 0; g < use.groups; g++) {
        size_t c = g * lanes;
        struct longconv_input in = {x[0] + c, x[1] + c, C, C}, d = {dy[0] + c, dy[1] + c, C, C};
        struct longconv_output out = {dx[0] + c, dx[1] + c, C, C, NULL, 0};
        const float *spectrum = filter_spectrum(&use, g, scratch);
        k->longconv->backward(&out, gradients + g * floats, &d, &in, spectrum, use.plan, L,
                              C - c < lanes ? C - c : lanes, scratch);
    }
    cr_assert(filter_bank_backward(&use, L, gradients, s->gradients, &err) == THEA_OK, "%s", err.message);
    free(scratch), free(gradients), free(dx[0]), free(dx[1]);
}

Test(filter, every_parameters_gradient_agrees_with_finite_differences_of_the_formula, .timeout = 600)
{
    static const size_t cases[][4] = {/* C, F, context, L */ {3, 4, 9, 9}, {18, 9, 40, 29}, {5, 8, 12, 17}};
    for (int threads = 1; threads <= 2; threads++)
        FOR_EACH_TABLE (k)
            for (size_t i = 0; i < COUNT(cases); i++) {
                struct set s;
                struct workers *w = new_workers(threads);
                size_t C = cases[i][0], L = cases[i][3];
                set_init(&s, C, cases[i][1], cases[i][2]);
                struct filter_bank *b = new_bank(&s, 1, i ? 0 : 1 << 30, k, w);
                float *values[4];
                for (size_t v = 0; v < 4; v++) {
                    values[v] = malloc(L * C * 4);
                    for (size_t j = 0; j < L * C; j++) values[v][j] = next_random();
                }
                const float *dy[2] = {values[0], values[1]}, *x[2] = {values[2], values[3]};
                run_backward(b, k, &s, dy, x, L);
                expect_gradients(k, &s, dy, x, L);
                for (size_t v = 0; v < 4; v++) free(values[v]);
                filter_bank_free(b);
                workers_free(w);
                set_fini(&s);
            }
}

Test(filter, gradients_are_accumulated_and_those_not_wanted_left_out)
{
    enum { L = 9, C = 3, VALUES = L * C };
    const struct kernels *k = kernels_select(NULL);
    struct workers *w = new_workers(1);
    struct set s;
    float d[VALUES], once[16];
    struct thea_err err;
    for (size_t i = 0; i < VALUES; i++) d[i] = next_random();
    set_init(&s, C, 4, L);
    for (size_t i = 0; i < 3; i++) {
        if (i == 2) s.gradients[0].freq = NULL, s.gradients[0].fwd.w[1] = NULL;
        cr_assert(filter_backward(&s.gradients[0], d, d, L, &s.filters[0], &s.shape, w, k, &err) == THEA_OK);
        if (i == 0) memcpy(once, s.grads[0][4], sizeof once);
    }
    for (size_t i = 0; i < 16; i++)
        cr_assert(fabsf(s.grads[0][4][i] - 2 * once[i]) <= 1e-6f * fabsf(once[i]), "element %zu", i);
    set_fini(&s);
    workers_free(w);
}
