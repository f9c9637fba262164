/* Monarch Mixer, backward: what forward computed is computed again, pass by pass. d comes in as the gradient
 * of m = W_out . s + b and, once that of s is known, takes up the sums for x:
 *   dy = ds * x2, dx2 = ds * y      (y = longconv(g; k), g = x1 * v)
 *   dg, du = the long convolutions' input gradients of (dy, ds)
 *   da = shortgate's of (dg, dx2);  dx = da . W_in + du
 * Memory: s and ds [n, C], one pass' columns of a document eleven times, and a gradient of the spectra. */
#include "nn/blocks/monarch_mixer_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- where gradients of parameters go: NULL where nobody wants them --- */

struct sums {
    float *in, *in_bias, *taps, *taps_bias, *out, *out_bias;
    struct filter_gradient filters[2];
};

static struct filter_network_gradient network_sums(struct gradients *g, const struct filter_shape *s,
                                                   const char *prefix, const char *name)
{
    static const char *const layers[] = {"0", "2", "4", "6"};
    const size_t in[] = {s->features, s->width, s->width, s->width},
                 out[] = {s->width, s->width, s->width, s->channels};
    struct filter_network_gradient n = {0};
    char full[64];
    for (size_t i = 0; i < 4; i++) {
        snprintf(full, sizeof full, "%s.%s.weight", name, layers[i]);
        n.w[i] = gradients_of(g, prefix, full, out[i] * in[i]);
        snprintf(full, sizeof full, "%s.%s.bias", name, layers[i]);
        if (i < 3) n.b[i] = gradients_of(g, prefix, full, out[i]);
    }
    return n;
}

static struct filter_gradient filter_sums(struct gradients *g, const struct filter_shape *s,
                                          const struct run *r, int role)
{
    char prefix[256];
    snprintf(prefix, sizeof prefix, "%s%s", r->prefix, r->names[role]);
    return (struct filter_gradient){
        .z = gradients_of(g, prefix, "pos_emb.z", s->context * s->features),
        .freq = gradients_of(g, prefix, "implicit_filter.1.freq", s->width),
        .skip = gradients_of(g, prefix, "bias", s->channels),
        .fwd = network_sums(g, s, prefix, "implicit_filter"),
        .rev = network_sums(g, s, prefix, "implicit_filter_rev"),
    };
}

static struct sums sums_of(const struct mixer *m, const struct run *r, struct gradients *g)
{
    size_t C = m->C;
    return (struct sums){
        .in = gradients_of(g, r->prefix, r->names[MONARCH_MIXER_IN], 3 * C * C),
        .in_bias = gradients_of(g, r->prefix, r->names[MONARCH_MIXER_IN_BIAS], 3 * C),
        .taps = gradients_of(g, r->prefix, r->names[MONARCH_MIXER_TAPS], 3 * C * MONARCH_TAPS),
        .taps_bias = gradients_of(g, r->prefix, r->names[MONARCH_MIXER_TAPS_BIAS], 3 * C),
        .out = gradients_of(g, r->prefix, r->names[MONARCH_MIXER_OUT], C * C),
        .out_bias = gradients_of(g, r->prefix, r->names[MONARCH_MIXER_OUT_BIAS], C),
        .filters = {filter_sums(g, &m->shape, r, MONARCH_MIXER_GATED),
                    filter_sums(g, &m->shape, r, MONARCH_MIXER_RESIDUAL)},
    };
}

/* --- memory of a batch --- */

enum { GATE_ROWS = 256 }; /* of a piece: its sums for taps and bias are its own, and are added in order */

static size_t gate_pieces(size_t L)
{
    return (L + GATE_ROWS - 1) / GATE_ROWS;
}

static size_t gate_sums_floats(const struct mixer_pass *p)
{
    return (MONARCH_TAPS + 1) * 3 * p->width;
}

struct room {
    float *s, *ds;                /* [n, C]: this batch's rows */
    float *a, *da;                /* [2 + L, 3 width], [L, 3 width] of the longest document */
    float *gates;                 /* [L, 2 width]: x1 * v and x2 */
    float *dg, *dx2, *du;         /* [L, width]: first dy, y and the other convolution's output */
    float *taps;                  /* [pieces][3 + 1, 3 width]: sums for taps and bias, by column */
    float *blocks, *wide, *tiles; /* for mixing again: they take the place of all of the pass' above */
    float *spectra;               /* gradients of the filters' spectra, [groups][spectrum_floats] */
};

struct backward {
    struct mixer_batch b;
    struct sums sums;
    struct room room;
    size_t longest, tile_floats, spectrum_floats;
    float *memory;
    size_t memory_bytes;
    float *d; /* [n, C]: the batch's rows */
};

/* *out = the next `floats` of memory; base NULL: they are only counted. */
static void carve(float **out, float *base, size_t *at, size_t floats)
{
    if (base != NULL) *out = base + *at;
    *at += (floats + 15) / 16 * 16;
}

/* Floats in all; with base NULL nothing else. */
static size_t lay_out(struct backward *w, float *base)
{
    struct room *r = &w->room;
    size_t C = w->b.m->C, L = w->longest, width = w->b.m->pass[0].width, at = 0;
    carve(&r->s, base, &at, w->b.n * C);
    carve(&r->ds, base, &at, w->b.n * C);
    carve(&r->spectra, base, &at, w->b.use.groups * w->spectrum_floats);
    carve(&r->taps, base, &at, gate_pieces(L) * gate_sums_floats(&w->b.m->pass[0]));
    size_t mixing = at;
    carve(&r->a, base, &at, (2 + L) * 3 * width);
    carve(&r->da, base, &at, L * 3 * width);
    carve(&r->gates, base, &at, L * 2 * width);
    carve(&r->dg, base, &at, L * width);
    carve(&r->dx2, base, &at, L * width);
    carve(&r->du, base, &at, L * width);
    carve(&r->blocks, base, &mixing, w->b.n * C);
    carve(&r->wide, base, &mixing, w->b.n * width);
    carve(&r->tiles, base, &mixing, w->tile_floats * (size_t)workers_count(w->b.run->workers));
    return at > mixing ? at : mixing;
}

static thea_rc make_room(struct backward *w, struct thea_err *err)
{
    for (size_t i = 0; i < w->b.count; i++)
        if (w->b.docs[i].n > w->longest) w->longest = w->b.docs[i].n;
    w->tile_floats = mixer_tile_floats(w->b.m->C);
    w->spectrum_floats = w->b.run->kernels->longconv->spectrum_floats(w->b.use.plan->N);
    w->memory_bytes = lay_out(w, NULL) * sizeof(float);
    w->memory = pages_new(w->memory_bytes);
    if (w->memory == NULL)
        return thea_fail(err, THEA_EOS, "out of memory for a backward of %zu rows", w->b.n);
    lay_out(w, w->memory);
    return THEA_OK;
}

/* --- a document's pass --- */

struct pass_job {
    struct backward *w;
    const struct mixer_pass *p;
    size_t at, L; /* the document's rows, in the batch */
};

/* One group's columns of the pass: from ds and the gates to dg, dx2 and du. */
static void group_backward(const struct pass_job *j, size_t group, float *scratch)
{
    const struct mixer_batch *b = &j->w->b;
    const struct room *r = &j->w->room;
    const struct longconv_kernels *conv = b->run->kernels->longconv;
    size_t C = b->m->C, width = j->p->width, c = group * conv->lanes, at = c - j->p->first, L = j->L;
    size_t channels = width - at < conv->lanes ? width - at : conv->lanes;
    const float *spectrum = filter_spectrum(&b->use, group, scratch), *x2 = r->gates + width + at,
                *ds = r->ds + j->at * C + c;
    float *dg = r->dg + at, *dx2 = r->dx2 + at, *du = r->du + at;
    struct longconv_input x = {.a = r->gates + at, .lda = 2 * width, .b = b->x + j->at * C + c, .ldb = C};
    struct longconv_output y = {.a = dx2, .lda = width, .b = du, .ldb = width};
    conv->forward(&y, &x, spectrum, b->use.plan, L, channels, scratch);
    for (size_t p = 0; p < L; p++)
        for (size_t i = 0; i < channels; i++) {
            dg[p * width + i] = ds[p * C + i] * x2[p * 2 * width + i];
            dx2[p * width + i] *= ds[p * C + i];
        }
    struct longconv_input dy = {.a = dg, .lda = width, .b = ds, .ldb = C};
    struct longconv_output dx = {.a = dg, .lda = width, .b = du, .ldb = width};
    conv->backward(&dx, r->spectra + group * j->w->spectrum_floats, &dy, &x, spectrum, b->use.plan, L,
                   channels, scratch);
}

static void groups_task(void *context, int i, int count)
{
    const struct pass_job *j = context;
    const struct mixer_batch *b = &j->w->b;
    size_t lanes = b->run->kernels->longconv->lanes, begin, end;
    workers_slice((j->p->width + lanes - 1) / lanes, 1, i, count, &begin, &end);
    for (size_t group = begin; group < end; group++)
        group_backward(j, j->p->first / lanes + group, b->scratch + (size_t)i * b->use.scratch_floats);
}

static float *at_or_null(float *sum, size_t at)
{
    return sum != NULL ? sum + at : NULL;
}

/* A piece's sums by column (tap, column) to where the file has them: [3C, 1, 3], [3C]. */
static void add_taps(const struct backward *w, const struct mixer_pass *p, const float *taps)
{
    size_t ld = 3 * p->width, C = w->b.m->C;
    const float *bias = taps + MONARCH_TAPS * ld;
    for (size_t i = 0; i < ld; i++) {
        size_t row = i / p->width * C + p->first + i % p->width;
        for (size_t j = 0; w->sums.taps != NULL && j < MONARCH_TAPS; j++)
            w->sums.taps[row * MONARCH_TAPS + j] += taps[j * ld + i];
        if (w->sums.taps_bias != NULL) w->sums.taps_bias[row] += bias[i];
    }
}

static void in_linear_backward(const struct backward *w, const struct mixer_pass *p, size_t at, size_t L)
{
    const struct room *r = &w->room;
    const struct kernels *k = w->b.run->kernels;
    size_t C = w->b.m->C, ld = 3 * p->width;
    float *d = w->d + at * C;
    struct linear_gradients g;
    for (size_t third = 0; third < 3; third++) {
        size_t row = third * C + p->first;
        g.w[third] = at_or_null(w->sums.in, row * C);
        g.bias[third] = at_or_null(w->sums.in_bias, row);
    }
    linear_backward(&p->in, k, w->b.run->workers, d, C, true, &g, r->da, ld, w->b.x + at * C, C, L);
    for (size_t i = 0; i < L; i++) k->add(d + i * C + p->first, r->du + i * p->width, p->width);
}

static void gate_rows(const void *context, size_t begin, size_t end, int worker)
{
    const struct pass_job *j = context;
    const struct room *r = &j->w->room;
    size_t width = j->p->width;
    float *gates = r->gates + begin * 2 * width;
    (void)worker;
    j->w->b.run->kernels->shortgate_forward(gates, gates + width, 2 * width, r->a + begin * 3 * width,
                                            j->p->taps, j->p->bias, end - begin, width, width);
}

/* da of rows [begin, end) as if they were a document, and their sums [3 + 1, 3 width]. */
static void gate_backward(const struct pass_job *j, float *da, float *sums, size_t begin, size_t end)
{
    const struct room *r = &j->w->room;
    size_t width = j->p->width, ld = 3 * width;
    memset(sums, 0, gate_sums_floats(j->p) * sizeof *sums);
    j->w->b.run->kernels->shortgate_backward(da, sums, sums + MONARCH_TAPS * ld, r->dg + begin * width,
                                             r->dx2 + begin * width, width, r->a + begin * ld, j->p->taps,
                                             j->p->bias, end - begin, width);
}

/* A row's da takes the two rows after it, which the last two of a piece have in the next one: they are made
 * again, with those two, whose own da and the sums are made elsewhere. */
static void mend_border(const struct pass_job *j, size_t border, float *scratch)
{
    enum { REACH = MONARCH_TAPS - 1 };
    size_t ld = 3 * j->p->width, begin = border - REACH, end = border + REACH < j->L ? border + REACH : j->L;
    gate_backward(j, scratch, scratch + 2 * REACH * ld, begin, end);
    memcpy(j->w->room.da + begin * ld, scratch, REACH * ld * sizeof *scratch);
}

static void gate_backward_rows(const void *context, size_t begin, size_t end, int worker)
{
    const struct pass_job *j = context;
    const struct room *r = &j->w->room;
    for (size_t next; begin < end; begin = next) {
        next = begin + GATE_ROWS < end ? begin + GATE_ROWS : end;
        gate_backward(j, r->da + begin * 3 * j->p->width,
                      r->taps + begin / GATE_ROWS * gate_sums_floats(j->p), begin, next);
        if (next < j->L) mend_border(j, next, workers_scratch(j->w->b.run->workers, worker));
    }
}

static void pass_backward(struct backward *w, const struct mixer_pass *p, size_t at, size_t L)
{
    const struct room *r = &w->room;
    const struct kernels *k = w->b.run->kernels;
    size_t C = w->b.m->C, ld = 3 * p->width;
    struct pass_job job = {.w = w, .p = p, .at = at, .L = L};
    memset(r->a, 0, 2 * ld * sizeof *r->a);
    linear_forward(&p->in, k, w->b.run->workers, r->a + 2 * ld, ld, w->b.x + at * C, C, L, false);
    run_rows(w->b.run, L, 1, gate_rows, &job);
    workers_run(w->b.run->workers, groups_task, &job);
    run_rows(w->b.run, L, GATE_ROWS, gate_backward_rows, &job);
    for (size_t i = 0; i < gate_pieces(L); i++) add_taps(w, p, r->taps + i * gate_sums_floats(p));
    in_linear_backward(w, p, at, L);
}

/* --- a batch --- */

static void s_rows(const void *context, size_t begin, size_t end, int worker)
{
    const struct backward *w = context;
    size_t C = w->b.m->C;
    (void)worker;
    mixer_batch_rows(&w->b, w->room.s + begin * C, C, w->room.blocks, begin, end);
}

/* ds of d, and the gradients of out_linear, which need s. */
static void out_linear_backward(struct backward *w)
{
    const struct mixer *m = w->b.m;
    const struct room *r = &w->room;
    size_t C = m->C, n = w->b.n;
    mixer_batch_mix(&w->b, r->blocks, r->wide, r->tiles, w->tile_floats);
    run_rows(w->b.run, n, MIXER_CHANNELS, s_rows, w);
    const struct linear_gradients g = {{w->sums.out}, {w->sums.out_bias}};
    linear_backward(&m->out, w->b.run->kernels, w->b.run->workers, r->ds, C, false, &g, w->d, C, r->s, C, n);
    memset(w->d, 0, n * C * sizeof *w->d);
}

static thea_rc batch_backward(struct backward *w, struct thea_err *err)
{
    thea_rc rc = make_room(w, err);
    if (rc != THEA_OK) return rc;
    out_linear_backward(w);
    for (size_t i = 0; i < w->b.m->passes; i++)
        for (size_t d = 0; d < w->b.count; d++)
            pass_backward(w, &w->b.m->pass[i], w->b.docs[d].at - w->b.at, w->b.docs[d].n);
    rc = filter_bank_backward(&w->b.use, w->longest, w->room.spectra, w->sums.filters, err);
    pages_free(w->memory, w->memory_bytes);
    return rc;
}

thea_rc mixer_backward(const void *self, const struct run *run, const float *x_in, float *d,
                       struct gradients *g, struct thea_err *err)
{
    const struct mixer *m = self;
    struct sums sums = sums_of(m, run, g);
    thea_rc rc = THEA_OK;
    for (size_t first = 0, count; first < run->span_count && rc == THEA_OK; first += count) {
        struct backward w = {.sums = sums};
        rc = mixer_batch_begin(&w.b, m, run, x_in, first, err);
        count = w.b.count;
        w.d = d + w.b.at * m->C;
        if (rc == THEA_OK) rc = batch_backward(&w, err);
        mixer_batch_end(&w.b);
    }
    return rc;
}
