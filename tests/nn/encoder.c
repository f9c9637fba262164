/* Encoders against the reference implementation's recorded values: what enters and leaves every block, pooled
 * vectors, gradients of everything. */
#include "nn/gradients.h"
#include "nn/model.h"
#include "nn/pooler.h"
#include "tests/nn/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TINY THEA_SOURCE_DIR "/tests/goldens/bert-tiny"

enum { B = 6, T = 64, C = 48, BLOCKS = 3 };

static struct thea_err err;

/* bert-tiny's batch: B rows of T places, of which `n` are a document's. */
struct tiny {
    struct weight_file file;
    int32_t tokens[B * T], types[B * T]; /* the documents' own, one after the other */
    struct span spans[B];
    size_t rows;
};

static const struct weight *find(const struct tiny *t, const char *name)
{
    for (size_t i = 0; i < t->file.count; i++)
        if (strcmp(t->file.tensors[i].name, name) == 0) return &t->file.tensors[i];
    cr_assert(false, "bert-tiny: no tensor %s", name);
    return NULL;
}

static const float *values(const struct tiny *t, const char *name, size_t n)
{
    const struct weight *w = find(t, name);
    cr_assert(w->dtype == TENSOR_F32 && w->size_bytes == n * sizeof(float), "bert-tiny: %s", name);
    return w->data;
}

static int64_t id_at(const struct weight *w, size_t i)
{
    int64_t id;
    cr_assert(w->dtype == TENSOR_I64 && w->size_bytes == (uint64_t)B * T * 8);
    memcpy(&id, (const char *)w->data + 8 * i, sizeof id);
    return id;
}

static void tiny_open(struct tiny *t)
{
    *t = (struct tiny){0};
    cr_assert(safetensors_open(&t->file, TINY "/golden.safetensors", &err) == THEA_OK, "%s", err.message);
    const struct weight *ids = find(t, "input_ids"), *types = find(t, "token_type_ids"),
                        *mask = find(t, "attention_mask");
    for (size_t b = 0; b < B; b++) {
        t->spans[b].at = t->rows;
        for (size_t p = 0; p < T && id_at(mask, b * T + p) == 1; p++, t->rows++) {
            t->tokens[t->rows] = (int32_t)id_at(ids, b * T + p);
            t->types[t->rows] = (int32_t)id_at(types, b * T + p);
        }
        t->spans[b].n = t->rows - t->spans[b].at;
    }
}

/* The largest difference from the recorded rows, over the largest recorded value. */
static double rows_distance(const struct tiny *t, const char *name, const float *x)
{
    const float *want = values(t, name, (size_t)B * T * C);
    double worst = 0, largest = 0;
    for (size_t b = 0; b < B; b++) {
        size_t n = t->spans[b].n * C;
        double d = golden_distance(x + t->spans[b].at * C, want + b * T * C, n);
        worst = d > worst ? d : worst;
        for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)want[b * T * C + i]));
    }
    return worst / largest;
}

static void embed(const struct tiny *t, struct model *m, float *x)
{
    for (size_t b = 0; b < B; b++) {
        size_t at = t->spans[b].at;
        cr_assert(model_embed(m, x + at * C, t->tokens + at, t->types + at, t->spans[b].n, 0, &err) ==
                      THEA_OK,
                  "%s", err.message);
    }
}

struct watch {
    const struct tiny *t;
    const char *prefix;
    size_t seen, offset;
    double tolerance;
};

static void watch_block(void *context, size_t block, const float *x, size_t n)
{
    struct watch *w = context;
    char name[32];
    snprintf(name, sizeof name, "%s.%zu", w->prefix, block + w->offset);
    double d = rows_distance(w->t, name, x);
    cr_expect(d <= w->tolerance, "%s is off by %.2e of its largest value", name, d);
    cr_expect_eq(n, w->t->rows);
    w->seen++;
}

struct fixture {
    struct tiny t;
    struct opened o;
    float *x;
};

static void begin(struct fixture *f, int threads)
{
    tiny_open(&f->t);
    opened_init(&f->o, TINY, 0, SIZE_MAX, threads);
    f->x = malloc(f->t.rows * C * sizeof *f->x);
    embed(&f->t, f->o.model, f->x);
}

static void end(struct fixture *f)
{
    free(f->x);
    opened_fini(&f->o);
    weight_file_close(&f->t.file);
}

static void encode(struct fixture *f)
{
    struct watch w = {&f->t, "hidden", 0, 1, 1e-5};
    cr_assert(model_encode(f->o.model, f->x, f->t.rows, f->t.spans, B, watch_block, &w, &err) == THEA_OK,
              "%s", err.message);
    cr_expect_eq(w.seen, BLOCKS);
}

Test(encoder, agrees_with_the_recorded_hidden_states_of_every_block)
{
    for (int threads = 1; threads <= 3; threads += 2) {
        struct fixture f;
        begin(&f, threads);
        double d = rows_distance(&f.t, "hidden.0", f.x);
        cr_expect(d <= 1e-5, "hidden.0 is off by %.2e", d);
        encode(&f);
        end(&f);
    }
}

/* --- pooled vectors --- */

static void mean_of(float *y, const float *x, size_t n)
{
    for (size_t c = 0; c < C; c++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)x[i * C + c];
        y[c] = (float)(sum / (double)n);
    }
}

static struct pooler *open_pooler(void)
{
    struct pooler *p;
    cr_assert(pooler_open(&p, TINY, kernels_select(NULL), &err) == THEA_OK, "%s", err.message);
    cr_assert_eq(pooler_width(p), C);
    return p;
}

Test(encoder, agrees_with_the_recorded_means_and_the_output_of_the_pooler)
{
    struct fixture f;
    begin(&f, 1);
    encode(&f);
    struct pooler *p = open_pooler();
    const float *means = values(&f.t, "mean", B * C), *pooled = values(&f.t, "pooled", B * C);
    for (size_t b = 0; b < B; b++) {
        const float *rows = f.x + f.t.spans[b].at * C;
        float y[C];
        mean_of(y, rows, f.t.spans[b].n);
        cr_expect(golden_distance(y, means + b * C, C) <= 2.5e-5, "mean %zu", b);
        pooler_forward(p, y, rows);
        cr_expect(golden_distance(y, pooled + b * C, C) <= 2e-5, "pooled %zu", b);
    }
    pooler_close(p);
    end(&f);
}

/* --- gradients --- */

/* Gradient of the embedding's part of the loss, mean / |mean| along `along`, at each row of a document. */
static void mean_backward(float *d, const float *x, size_t n, const float *along)
{
    float m[C];
    double squares = 0, dot = 0;
    mean_of(m, x, n);
    for (size_t c = 0; c < C; c++) squares += (double)m[c] * (double)m[c];
    double length = sqrt(squares);
    for (size_t c = 0; c < C; c++) dot += (double)m[c] / length * (double)along[c];
    for (size_t c = 0; c < C; c++) {
        double g = ((double)along[c] - (double)m[c] / length * dot) / length / (double)n;
        for (size_t i = 0; i < n; i++) d[i * C + c] += (float)g;
    }
}

/* d [rows, C] = gradient of README-encoders.md's loss at the last hidden states x. */
static void loss_backward(const struct tiny *t, float *d, const float *x, struct gradients *g)
{
    const float *along = values(t, "loss_dir", B * C);
    struct pooler *p = open_pooler();
    for (size_t b = 0; b < B; b++) {
        const float *rows = x + t->spans[b].at * C;
        float *out = d + t->spans[b].at * C, y[C], dh[C];
        for (size_t i = 0; i < t->spans[b].n * C; i++) {
            double w = (0.5 + (double)(i / C) / T) * (1 + (double)(i % C) / C);
            out[i] = (float)(2 * w * (double)rows[i] / ((double)t->rows * C));
        }
        mean_backward(out, rows, t->spans[b].n, along + b * C);
        pooler_forward(p, y, rows);
        pooler_backward(p, dh, along + b * C, y, rows, g);
        for (size_t c = 0; c < C; c++) out[c] += dh[c];
    }
    pooler_close(p);
}

static void expect_gradient(const struct tiny *t, const char *name, const float *got, size_t n)
{
    char full[300];
    snprintf(full, sizeof full, "grad.%s", name);
    const float *want = values(t, full, n);
    double largest = 0, d = golden_distance(got, want, n);
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)want[i]));
    bool zero = strstr(name, "attention.self.key.bias") != NULL; /* in exact arithmetic */
    cr_expect(d <= (zero ? 1e-5 : 2e-5 * largest), "%s: off by %.2e, its largest is %.2e", full, d, largest);
}

static size_t count_recorded(const struct tiny *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->file.count; i++) n += strncmp(t->file.tensors[i].name, "grad.", 5) == 0;
    return n;
}

static void expect_gradients(const struct tiny *t, const struct gradients *g)
{
    cr_expect_eq(gradients_count(g), count_recorded(t), "%zu parameters have gradients, %zu recorded",
                 gradients_count(g), count_recorded(t));
    for (size_t i = 0; i < gradients_count(g); i++) {
        const char *name;
        size_t n;
        const float *got = gradients_at(g, i, &name, &n);
        expect_gradient(t, name, got, n);
    }
}

static void embed_backward(const struct tiny *t, struct model *m, float *d, struct gradients *g)
{
    for (size_t b = 0; b < B; b++) {
        size_t at = t->spans[b].at;
        cr_assert(model_embed_backward(m, d + at * C, t->tokens + at, t->types + at, t->spans[b].n, 0, g,
                                       &err) == THEA_OK);
    }
}

Test(encoder, agrees_with_the_recorded_gradients_of_every_block_and_parameter)
{
    struct fixture f;
    struct gradients *g;
    begin(&f, 2);
    cr_assert(gradients_new(&g, &err) == THEA_OK);
    size_t bytes = f.t.rows * C * sizeof(float);
    float *x = malloc(bytes), *d = malloc(bytes);
    memcpy(x, f.x, bytes);
    encode(&f);
    loss_backward(&f.t, d, f.x, g);
    double off = rows_distance(&f.t, "dhidden.3", d);
    cr_expect(off <= 2e-5, "dhidden.3 is off by %.2e", off);
    struct watch w = {&f.t, "dhidden", 0, 0, 2e-5};
    cr_assert(model_backward(f.o.model, x, d, f.t.rows, f.t.spans, B, g, watch_block, &w, &err) == THEA_OK,
              "%s", err.message);
    cr_expect_eq(w.seen, BLOCKS);
    embed_backward(&f.t, f.o.model, d, g);
    expect_gradients(&f.t, g);
    gradients_free(g);
    free(x);
    free(d);
    end(&f);
}

Test(encoder, gradients_have_the_same_bits_on_any_number_of_threads)
{
    struct gradients *want = NULL, *g;
    float *want_d = NULL;
    for (int threads = 1; threads <= 5; threads++) {
        struct fixture f;
        begin(&f, threads);
        size_t bytes = f.t.rows * C * sizeof(float);
        float *d = malloc(bytes);
        for (size_t i = 0; i < bytes / sizeof *d; i++)
            d[i] = (float)((int)(i * 7919 % 2003) - 1001) / 1001.0F;
        cr_assert(gradients_new(&g, &err) == THEA_OK);
        cr_assert(model_backward(f.o.model, f.x, d, f.t.rows, f.t.spans, B, g, NULL, NULL, &err) == THEA_OK);
        end(&f);
        if (threads == 1) {
            want = g, want_d = d;
            continue;
        }
        cr_expect(memcmp(d, want_d, bytes) == 0, "%d threads: the input's", threads);
        cr_assert(gradients_count(g) == 16 * BLOCKS && gradients_count(want) == 16 * BLOCKS);
        for (size_t i = 0; i < gradients_count(g); i++) {
            const char *name;
            size_t n;
            const float *sum = gradients_at(want, i, &name, &n);
            cr_expect(memcmp(gradients_find(g, name, &n), sum, n * sizeof *sum) == 0, "%d threads: %s",
                      threads, name);
        }
        gradients_free(g);
        free(d);
    }
    gradients_free(want);
    free(want_d);
}

Test(encoder, has_the_same_bits_whatever_the_batch)
{
    struct fixture f;
    begin(&f, 1);
    float *alone = malloc(f.t.rows * C * sizeof *alone);
    memcpy(alone, f.x, f.t.rows * C * sizeof *alone);
    encode(&f);
    for (size_t b = 0; b < B; b++) {
        struct span whole = {0, f.t.spans[b].n};
        float *rows = alone + f.t.spans[b].at * C;
        cr_assert(model_encode(f.o.model, rows, whole.n, &whole, 1, NULL, NULL, &err) == THEA_OK);
    }
    cr_expect(golden_distance(alone, f.x, f.t.rows * C) == 0, "some bits differ");
    free(alone);
    end(&f);
}

/* Rows of documents of these lengths through all blocks, by so many threads. */
static float *encoded(const size_t *lengths, size_t count, int threads, const float *x)
{
    struct opened o;
    struct span spans[64];
    size_t rows = 0;
    for (size_t i = 0; i < count; rows += lengths[i], i++) spans[i] = (struct span){rows, lengths[i]};
    float *y = malloc(rows * C * sizeof *y);
    memcpy(y, x, rows * C * sizeof *y);
    opened_init(&o, TINY, 0, SIZE_MAX, threads);
    cr_assert(model_encode(o.model, y, rows, spans, count, NULL, NULL, &err) == THEA_OK, "%s", err.message);
    opened_fini(&o);
    return y;
}

/* Few and many rows, even documents and uneven ones: workers share out now this, now that. */
Test(encoder, has_the_same_bits_however_workers_share_its_documents)
{
    static const size_t even[40] =
        {
            20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39,
            39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20,
        },
                        uneven[] = {64, 1, 2, 64, 3}, few[] = {5, 1, 7};
    static const struct {
        const size_t *lengths;
        size_t count;
    } batches[] = {{even, 40}, {uneven, 5}, {few, 3}, {uneven, 1}};
    static float x[40 * 64 * C];
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = cosf((float)(i % 7919));
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
        const size_t *lengths = batches[b].lengths, count = batches[b].count;
        size_t rows = 0;
        float *one = encoded(lengths, count, 1, x);
        for (size_t i = 0; i < count; rows += lengths[i], i++) {
            float *alone = encoded(lengths + i, 1, 1, x + rows * C);
            cr_expect(golden_distance(alone, one + rows * C, lengths[i] * C) == 0, "batch %zu, document %zu",
                      b, i);
            free(alone);
        }
        for (int threads = 2; threads <= 5; threads++) {
            float *many = encoded(lengths, count, threads, x);
            cr_expect(golden_distance(many, one, rows * C) == 0, "batch %zu, %d threads", b, threads);
            free(many);
        }
        free(one);
    }
}

Test(encoder, is_cut_into_parts_without_a_change)
{
    struct fixture f;
    begin(&f, 1);
    size_t bytes = f.t.rows * C * sizeof(float);
    float *x = malloc(bytes);
    memcpy(x, f.x, bytes);
    encode(&f);
    for (size_t block = 0; block < BLOCKS; block++) {
        struct opened part;
        opened_init(&part, TINY, block, block, 1);
        cr_expect_eq(model_has_embedding(part.model), block == 0);
        cr_assert(model_encode(part.model, x, f.t.rows, f.t.spans, B, NULL, NULL, &err) == THEA_OK);
        opened_fini(&part);
    }
    cr_expect(golden_distance(x, f.x, f.t.rows * C) == 0);
    free(x);
    end(&f);
}

Test(encoder, first_positions_alone_have_the_bits_that_they_have_among_all)
{
    for (int threads = 1; threads <= 3; threads += 2) {
        struct fixture f;
        begin(&f, threads);
        size_t bytes = f.t.rows * C * sizeof(float);
        float *x = malloc(bytes);
        memcpy(x, f.x, bytes);
        encode(&f);
        cr_assert(model_encode_first(f.o.model, x, f.t.rows, f.t.spans, B, &err) == THEA_OK);
        for (size_t b = 0; b < B; b++)
            cr_expect(memcmp(x + b * C, f.x + f.t.spans[b].at * C, C * sizeof *x) == 0, "document %zu", b);
        free(x);
        end(&f);
    }
}

/* --- what it refuses --- */

Test(encoder, refuses_tokens_types_and_positions_that_it_does_not_have)
{
    struct opened o;
    float x[2 * C];
    opened_init(&o, TINY, 0, SIZE_MAX, 1);
    struct model *m = o.model;
    cr_expect(model_embed(m, x, (const int32_t[]){800}, NULL, 1, 0, &err) == THEA_EDOC);
    cr_expect(model_embed(m, x, (const int32_t[]){-1}, NULL, 1, 0, &err) == THEA_EDOC);
    cr_expect(model_embed(m, x, (const int32_t[]){1}, (const int32_t[]){2}, 1, 0, &err) == THEA_EDOC);
    cr_expect(model_embed(m, x, (const int32_t[]){1}, (const int32_t[]){-1}, 1, 0, &err) == THEA_EDOC);
    cr_expect(model_embed(m, x, (const int32_t[]){1, 2}, NULL, 2, 63, &err) == THEA_EDOC);
    cr_expect(strstr(err.message, "64 positions") != NULL, "%s", err.message);
    cr_expect(model_embed(m, x, (const int32_t[]){1, 2}, NULL, 2, 62, &err) == THEA_OK);
    opened_fini(&o);
}

Test(encoder, refuses_a_document_longer_than_its_context)
{
    struct opened o;
    opened_init(&o, TINY, 0, SIZE_MAX, 1);
    float *x = calloc(65 * C, sizeof *x);
    struct span s = {0, 65};
    cr_expect(model_encode(o.model, x, 65, &s, 1, NULL, NULL, &err) == THEA_EDOC);
    cr_expect(model_batch_rows(o.model) >= 64);
    free(x);
    opened_fini(&o);
}
