/* Monarch Mixer, forward: m = W_out . s + b, where
 *   (x1 | x2 | v) = shortconv(W_in . x + b)      3 taps, causal
 *   s = longconv(x1 * v; k) * x2 + longconv(x; k2)
 * Two steps a pass of channels: rows (in_linear, short convolution and gate, tile by tile) and channel groups
 * (long convolutions); then rows again (out_linear). Memory: s [n, C], where x1 * v is first, and x2 of one
 * pass. */
#include "nn/blocks/monarch_mixer_impl.h"
#include "nn/families/family.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- weights --- */

static void load_network(struct loader *l, struct filter_network *n, const struct filter_shape *s,
                         const char *prefix, const char *name)
{
    static const char *const layers[] = {"0", "2", "4", "6"};
    const uint64_t in[] = {s->features, s->width, s->width, s->width},
                   out[] = {s->width, s->width, s->width, s->channels};
    char full[64];
    for (size_t i = 0; i < 4; i++) {
        snprintf(full, sizeof full, "%s.%s.weight", name, layers[i]);
        n->w[i] = loader_tensor(l, prefix, full, (const uint64_t[]){out[i], in[i], 0});
        if (i == 3) break; /* the last has no bias */
        snprintf(full, sizeof full, "%s.%s.bias", name, layers[i]);
        n->b[i] = loader_tensor(l, prefix, full, (const uint64_t[]){out[i], 0});
    }
}

/* The sines' frequency is one tensor under six names, of which a file may have any. */
static const float *load_frequency(struct loader *l, const char *prefix, size_t width)
{
    static const char *const names[] = {"implicit_filter.1.freq",     "implicit_filter.3.freq",
                                        "implicit_filter.5.freq",     "implicit_filter_rev.1.freq",
                                        "implicit_filter_rev.3.freq", "implicit_filter_rev.5.freq"};
    const uint64_t shape[] = {1, width, 0};
    const float *frequency = NULL;
    bool found = false;
    char full[320];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(full, sizeof full, "%s%s", prefix, names[i]);
        if (weights_find(l->weights, full) == NULL) continue;
        const float *f = loader_tensor(l, prefix, names[i], shape);
        found = true;
        if (frequency == NULL) frequency = f;
        if (f != NULL && memcmp(f, frequency, width * sizeof *f) != 0)
            loader_problem(l, "differs      %s: the six frequencies of a filter are one tensor", full);
    }
    return found ? frequency : loader_tensor(l, prefix, names[0], shape);
}

/* The decay exp(-t |delta|) is the file's, as the reference takes it from there, whether or not it still
 * follows the formula that it began with. But it must be one. */
static void check_decay(struct loader *l, const struct filter *f, const struct filter_shape *s,
                        const char *prefix)
{
    size_t at = 0, c = 0;
    while (f->t != NULL && at < s->context && isfinite(f->t[at]) && f->t[at] >= 0) at++;
    while (f->deltas != NULL && c < s->channels && isfinite(f->deltas[c])) c++;
    if (f->t != NULL && at < s->context)
        loader_problem(l, "no decay     %spos_emb.t: %g at lag %zu; accepted are finite numbers from 0 on",
                       prefix, (double)f->t[at], at);
    if (f->deltas != NULL && c < s->channels)
        loader_problem(l, "no decay     %smodulation.deltas: %g at channel %zu; accepted are finite numbers",
                       prefix, (double)f->deltas[c], c);
}

static void load_filter(struct loader *l, struct filter *f, const struct filter_shape *s, const char *prefix,
                        const char *name)
{
    char at[256];
    snprintf(at, sizeof at, "%s%s", prefix, name);
    f->z = loader_tensor(l, at, "pos_emb.z", (const uint64_t[]){1, s->context, s->features, 0});
    f->t = loader_tensor(l, at, "pos_emb.t", (const uint64_t[]){1, s->context, 1, 0});
    f->deltas = loader_tensor(l, at, "modulation.deltas", (const uint64_t[]){1, 1, s->channels, 0});
    f->skip = loader_tensor(l, at, "bias", (const uint64_t[]){s->channels, 0});
    check_decay(l, f, s, at);
    f->freq = load_frequency(l, at, s->width);
    load_network(l, &f->fwd, s, at, "implicit_filter");
    load_network(l, &f->rev, s, at, "implicit_filter_rev");
}

/* Channels of a pass. */
static size_t pass_width(size_t C)
{
    size_t share = (C + MIXER_PASSES - 1) / MIXER_PASSES;
    return (share + MIXER_CHANNELS - 1) / MIXER_CHANNELS * MIXER_CHANNELS;
}

static void load_passes(struct mixer *m, struct loader *l)
{
    size_t C = m->C, width = pass_width(C);
    for (size_t first = 0; first < C; first += width) {
        struct mixer_pass *p = &m->pass[m->passes++];
        p->first = first;
        p->width = C - first < width ? C - first : width;
        p->in = (struct linear){.parts = 3, .in = C, .out = 3 * p->width};
        for (size_t third = 0; third < 3; third++) {
            p->in.part[third].w = m->in + (third * C + first) * C;
            p->in.part[third].rows = p->width;
        }
        loader_pack(l, &p->in);
    }
}

static void mixer_load(void *self, struct loader *l, const struct model_config *c, const char *prefix,
                       const char *const *names)
{
    struct mixer *m = self;
    size_t C = m->C = c->info.hidden;
    m->shape = (struct filter_shape){.channels = C,
                                     .features = c->monarch.filter_features,
                                     .width = c->monarch.filter_width,
                                     .context = c->info.context};
    m->in = loader_tensor(l, prefix, names[MONARCH_MIXER_IN], (const uint64_t[]){3 * C, C, 0});
    m->in_bias = loader_tensor(l, prefix, names[MONARCH_MIXER_IN_BIAS], (const uint64_t[]){3 * C, 0});
    m->taps =
        loader_tensor(l, prefix, names[MONARCH_MIXER_TAPS], (const uint64_t[]){3 * C, 1, MONARCH_TAPS, 0});
    m->taps_bias = loader_tensor(l, prefix, names[MONARCH_MIXER_TAPS_BIAS], (const uint64_t[]){3 * C, 0});
    loader_linear(l, &m->out, prefix, names + MONARCH_MIXER_OUT, names + MONARCH_MIXER_OUT_BIAS, &C, 1, C);
    load_filter(l, &m->filters[0], &m->shape, prefix, names[MONARCH_MIXER_GATED]);
    load_filter(l, &m->filters[1], &m->shape, prefix, names[MONARCH_MIXER_RESIDUAL]);
    loader_pack(l, &m->out);
    if (m->in != NULL) load_passes(m, l);
}

/* Column by column what the file has for x1, x2 and v of a pass' channels: in_linear's bias, the short
 * convolution's, its taps. by_column: 5 [3 width]. */
static void sort_columns(const struct mixer *m, struct mixer_pass *p, float *by_column)
{
    size_t C = m->C, ld = 3 * p->width;
    float *in_bias = by_column, *bias = in_bias + ld, *taps = bias + ld;
    for (size_t i = 0; i < ld; i++) {
        size_t row = i / p->width * C + p->first + i % p->width;
        in_bias[i] = m->in_bias[row];
        bias[i] = m->taps_bias[row];
        for (size_t j = 0; j < MONARCH_TAPS; j++) taps[j * ld + i] = m->taps[row * MONARCH_TAPS + j];
    }
    p->in.bias = in_bias;
    p->bias = bias;
    p->taps = taps;
}

static thea_rc mixer_prepare(void *self, struct filter_bank *bank, size_t block, struct thea_err *err)
{
    struct mixer *m = self;
    m->bank = bank;
    m->block = block;
    filter_bank_set(bank, block, m->filters);
    if (m->by_column == NULL) m->by_column = calloc(3 * m->C * (2 + MONARCH_TAPS), sizeof *m->by_column);
    if (m->by_column == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    float *at = m->by_column;
    for (size_t i = 0; i < m->passes; at += 3 * m->pass[i++].width * (2 + MONARCH_TAPS))
        sort_columns(m, &m->pass[i], at);
    return THEA_OK;
}

static void mixer_fini(void *self)
{
    struct mixer *m = self;
    free(m->by_column);
}

/* --- a batch: documents of one transform size --- */

thea_rc mixer_batch_begin(struct mixer_batch *b, const struct mixer *m, const struct run *run, const float *x,
                          size_t first, struct thea_err *err)
{
    *b = (struct mixer_batch){.m = m, .run = run, .docs = run->spans + first};
    size_t longest = 0, size = longconv_size(b->docs[0].n);
    for (; first + b->count < run->span_count; b->count++) {
        size_t n = b->docs[b->count].n;
        if (longconv_size(n) != size) break;
        longest = n > longest ? n : longest;
        b->n += n;
    }
    b->at = b->docs[0].at;
    b->x = x + b->at * m->C;
    thea_rc rc = filter_bank_begin(m->bank, m->block, longest, &b->use, err);
    if (rc != THEA_OK) return rc;
    b->scratch_bytes = b->use.scratch_floats * (size_t)workers_count(run->workers) * sizeof(float);
    b->scratch = pages_new(b->scratch_bytes);
    return b->scratch != NULL ? THEA_OK
                              : thea_fail(err, THEA_EOS, "out of memory for a transform of %zu points", size);
}

void mixer_batch_end(struct mixer_batch *b)
{
    pages_free(b->scratch, b->scratch_bytes);
    b->scratch = NULL;
}

struct mix_job {
    const struct mixer_batch *b;
    const struct mixer_pass *p;
    float *s, *wide, *tiles;
    size_t tile_floats;
};

/* Column c of x [n, width], which lies in blocks: row p is at[p * ld]. */
struct column {
    float *at;
    size_t ld;
};
static struct column column_of(float *x, size_t n, size_t width, size_t c)
{
    size_t first = c / MIXER_CHANNELS * MIXER_CHANNELS;
    size_t ld = width - first < MIXER_CHANNELS ? width - first : MIXER_CHANNELS;
    return (struct column){x + first * n + (c - first), ld};
}

/* n rows of the batch from `from` on, two of the past before them in a: x1 * v into s, x2 into wide. */
static void gate_tile(const struct mix_job *j, const float *a, size_t from, size_t n)
{
    const struct mixer_pass *p = j->p;
    size_t rows = j->b->n;
    for (size_t c = 0; c < p->width; c += MIXER_CHANNELS) {
        struct column g = column_of(j->s, rows, j->b->m->C, p->first + c);
        struct column x2 = column_of(j->wide, rows, p->width, c);
        j->b->run->kernels->shortgate_forward(g.at + from * g.ld, x2.at + from * g.ld, g.ld, a + c,
                                              p->taps + c, p->bias + c, n, p->width, g.ld);
    }
}

/* Rows [from, to) of the batch, of the document that begins at row `doc`. a [2 + MIXER_TILE, 3 width]: two
 * rows of the past, then a tile of in_linear's output. */
static void gate_rows(const struct mix_job *j, float *a, size_t doc, size_t from, size_t to, float *scratch)
{
    const struct mixer_pass *p = j->p;
    size_t C = j->b->m->C, ld = 3 * p->width, past = from - doc < 2 ? from - doc : 2;
    memset(a, 0, 2 * ld * sizeof *a);
    if (past > 0)
        linear_rows(&p->in, a + (2 - past) * ld, ld, j->b->x + (from - past) * C, C, past, GEMM_STORE,
                    scratch);
    for (size_t n; from < to; from += n) {
        n = to - from < MIXER_TILE ? to - from : MIXER_TILE;
        linear_rows(&p->in, a + 2 * ld, ld, j->b->x + from * C, C, n, GEMM_STORE, scratch);
        gate_tile(j, a, from, n);
        memmove(a, a + n * ld, 2 * ld * sizeof *a);
    }
}

static void gate_task(void *context, int i, int count)
{
    const struct mix_job *j = context;
    const struct mixer_batch *b = j->b;
    float *tile = j->tiles + (size_t)i * j->tile_floats, *scratch = workers_scratch(b->run->workers, i);
    size_t begin, end;
    workers_slice(b->n, MIXER_TILE, i, count, &begin, &end);
    for (size_t d = 0; d < b->count; d++) {
        size_t doc = b->docs[d].at - b->at, from = doc > begin ? doc : begin, to = doc + b->docs[d].n;
        if (to > end) to = end;
        if (from < to) gate_rows(j, tile, doc, from, to, scratch);
    }
}

static void convolve_group(const struct mix_job *j, size_t group, float *scratch)
{
    const struct mixer_batch *b = j->b;
    const struct longconv_kernels *conv = b->run->kernels->longconv;
    size_t C = b->m->C, first = j->p->first, width = j->p->width, c = group * conv->lanes;
    size_t channels = first + width - c < conv->lanes ? first + width - c : conv->lanes;
    const float *spectrum = filter_spectrum(&b->use, group, scratch);
    struct column s = column_of(j->s, b->n, C, c), x2 = column_of(j->wide, b->n, width, c - first);
    for (size_t d = 0; d < b->count; d++) {
        size_t at = b->docs[d].at - b->at;
        float *g = s.at + at * s.ld;
        struct longconv_input x = {.a = g, .lda = s.ld, .b = b->x + at * C + c, .ldb = C};
        struct longconv_output y = {.a = g, .lda = s.ld, .gate = x2.at + at * x2.ld, .ldgate = x2.ld};
        conv->forward(&y, &x, spectrum, b->use.plan, b->docs[d].n, channels, scratch);
    }
}

static void convolve_task(void *context, int i, int count)
{
    const struct mix_job *j = context;
    size_t lanes = j->b->run->kernels->longconv->lanes, begin, end;
    size_t groups = (j->p->width + lanes - 1) / lanes, first = j->p->first / lanes;
    workers_slice(groups, 1, i, count, &begin, &end);
    for (size_t group = begin; group < end; group++)
        convolve_group(j, first + group, j->b->scratch + (size_t)i * j->b->use.scratch_floats);
}

void mixer_batch_mix(const struct mixer_batch *b, float *s, float *wide, float *tiles, size_t tile_floats)
{
    struct mix_job job = {.b = b, .s = s, .wide = wide, .tiles = tiles, .tile_floats = tile_floats};
    for (size_t i = 0; i < b->m->passes; i++) {
        job.p = &b->m->pass[i];
        workers_run(b->run->workers, gate_task, &job);
        workers_run(b->run->workers, convolve_task, &job);
    }
}

void mixer_batch_rows(const struct mixer_batch *b, float *y, size_t ldy, const float *s, size_t begin,
                      size_t end)
{
    size_t C = b->m->C;
    for (size_t c = 0, ld; c < C; c += ld) {
        ld = C - c < MIXER_CHANNELS ? C - c : MIXER_CHANNELS;
        const float *from = s + c * b->n + begin * ld;
        for (float *to = y + c, *last = to + (end - begin) * ldy; to < last; to += ldy, from += ld)
            if (ld == MIXER_CHANNELS)
                memcpy(to, from, MIXER_CHANNELS * sizeof *to);
            else
                memcpy(to, from, ld * sizeof *to);
    }
}

/* Rows of a tile of s are one line further apart than they are long: a block's do not fall on one cache set.
 */
static size_t tile_pitch(size_t C)
{
    return C + MIXER_CHANNELS;
}

size_t mixer_tile_floats(size_t C)
{
    size_t in = (2 + MIXER_TILE) * 3 * pass_width(C), out = MIXER_TILE * tile_pitch(C);
    return in > out ? in : out;
}

/* --- forward --- */

static size_t mixer_width(const struct model_config *c)
{
    return pass_width(c->info.hidden);
}

static size_t tile_floats(const struct model_config *c, const struct kernels *k)
{
    (void)k;
    return mixer_tile_floats(c->info.hidden);
}

/* x = out_linear of s. */
static void out_task(void *context, int i, int count)
{
    const struct mix_job *j = context;
    const struct mixer_batch *b = j->b;
    size_t C = b->m->C, pitch = tile_pitch(C), at, end;
    float *tile = j->tiles + (size_t)i * j->tile_floats, *x = b->run->x + b->at * C;
    workers_slice(b->n, 1, i, count, &at, &end);
    for (size_t n; at < end; at += n) {
        n = end - at < MIXER_TILE ? end - at : MIXER_TILE;
        mixer_batch_rows(b, tile, pitch, j->s, at, at + n);
        linear_rows(&b->m->out, x + at * C, C, tile, pitch, n, GEMM_STORE,
                    workers_scratch(b->run->workers, i));
    }
}

static thea_rc mixer_encode(const void *self, const struct run *run, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    for (size_t first = 0, count; first < run->span_count && rc == THEA_OK; first += count) {
        struct mixer_batch b;
        rc = mixer_batch_begin(&b, self, run, run->x, first, err);
        count = b.count;
        if (rc == THEA_OK) {
            mixer_batch_mix(&b, run->norm, run->wide, run->scratch, run->scratch_floats);
            workers_run(run->workers, out_task,
                        &(struct mix_job){&b, NULL, run->norm, NULL, run->scratch, run->scratch_floats});
        }
        mixer_batch_end(&b);
    }
    return rc;
}

static double mixer_flop(const struct model_config *c, size_t context)
{
    double C = (double)c->info.hidden,
           N = (double)longconv_size(context < c->info.context ? context : c->info.context);
    /* Four real transforms of N points a channel, and the products of their spectra. */
    double convolutions = C * (4 * 2.5 * N * log2(N) + 14 * N / 2) / (double)context;
    return 8 * C * C + 6 * 3 * C + 4 * C + convolutions;
}

static uint64_t mixer_parameters(const struct model_config *c)
{
    uint64_t C = c->info.hidden, E = c->monarch.filter_features, F = c->monarch.filter_width;
    uint64_t network = F * E + F + 2 * (F * F + F) + C * F,
             filter = 2 * network + F + C + c->info.context * E;
    return 4 * C * C + 4 * C + 3 * C * (MONARCH_TAPS + 1) + 2 * filter;
}

const struct sublayer_kind sublayer_monarch_mixer = {
    .name = "monarch mixer",
    .self_size = sizeof(struct mixer),
    .whole = true,
    .load = mixer_load,
    .prepare = mixer_prepare,
    .fini = mixer_fini,
    .width = mixer_width,
    .scratch = tile_floats,
    .encode = mixer_encode,
    .backward = mixer_backward,
    .flop = mixer_flop,
    .parameters = mixer_parameters,
};
