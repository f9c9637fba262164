#include "kernels/attention_full.h"

#include "tests/kernels/check.h"

/* One document: n rows of q, k, v [heads * D], its keys and values also in a cache. */
struct document {
    size_t n, heads, D, ld;
    float scale, *qkv; /* rows ld apart: q | k | v */
    struct attention_cache cache;
};

static void document_init(struct document *s, size_t n, size_t heads, size_t D)
{
    *s = (struct document){
        .n = n, .heads = heads, .D = D, .ld = 3 * heads * D + 5, .scale = 1 / sqrtf((float)D)};
    s->qkv = malloc(n * s->ld * sizeof(float));
    check_fill(s->qkv, n * s->ld, n + D, 2);
    size_t head = attention_head_floats(n, D);
    s->cache = (struct attention_cache){.head_stride = head, .kv_heads = heads, .head_size = D};
    s->cache.k = aligned_alloc(64, heads * head * sizeof(float));
    s->cache.v = aligned_alloc(64, heads * head * sizeof(float));
    for (size_t i = 0; i < heads * head; i++) s->cache.k[i] = s->cache.v[i] = NAN; /* left by another */
    const struct kernels *k = kernels_select("plain");
    size_t wide = heads * D;
    k->attention_append(&s->cache, s->qkv + wide, s->qkv + 2 * wide, s->ld, 0, n, 0, heads);
}

static void document_fini(struct document *s)
{
    free(s->qkv), free(s->cache.k), free(s->cache.v);
}

/* w [n]: the softmax of row i's scores, by the definition, in double. */
static void reference_weights(double *w, const struct document *s, size_t i, size_t h)
{
    const float *q = s->qkv + i * s->ld + h * s->D;
    double max = -INFINITY, sum = 0;
    for (size_t j = 0; j < s->n; j++) {
        const float *k = s->qkv + j * s->ld + (s->heads + h) * s->D;
        w[j] = 0;
        for (size_t d = 0; d < s->D; d++) w[j] += (double)q[d] * (double)k[d];
        w[j] *= (double)s->scale;
        max = w[j] > max ? w[j] : max;
    }
    for (size_t j = 0; j < s->n; j++) sum += w[j] = exp(w[j] - max);
    for (size_t j = 0; j < s->n; j++) w[j] /= sum;
}

static void reference_row(double *o, const struct document *s, size_t i, size_t h)
{
    double *w = malloc(s->n * sizeof *w);
    reference_weights(w, s, i, h);
    for (size_t d = 0; d < s->D; d++) {
        o[d] = 0;
        for (size_t j = 0; j < s->n; j++)
            o[d] += w[j] * (double)s->qkv[j * s->ld + (2 * s->heads + h) * s->D + d];
    }
    free(w);
}

static void attend(const struct kernels *k, const struct document *s, float *o, size_t ldo, size_t row,
                   size_t n)
{
    struct guarded scratch = guarded_new(k->attention_scratch(s->D, 1), 1);
    for (size_t i = 0; i < scratch.n; i++) scratch.data[i] = NAN;
    k->attention_full_forward(o, ldo, s->qkv + row * s->ld, s->ld, &s->cache, s->n, n, s->heads, 0, s->heads,
                              s->scale, scratch.data);
    cr_assert(guarded_intact(&scratch), "%s: wrote outside its scratch", k->name);
    guarded_free(&scratch);
}

static void compare(const struct kernels *k, size_t n, size_t heads, size_t D)
{
    struct document s;
    double want[256];
    document_init(&s, n, heads, D);
    size_t ldo = heads * D + 3;
    struct guarded o = guarded_new(n * ldo, 1);
    attend(k, &s, o.data, ldo, 0, n);
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < heads; h++) {
            reference_row(want, &s, i, h);
            for (size_t d = 0; d < D; d++)
                cr_assert(check_close((double)o.data[i * ldo + h * D + d], want[d], 2e-6, 2e-6),
                          "%s: n %zu heads %zu D %zu: row %zu head %zu [%zu] is %g, not %g", k->name, n,
                          heads, D, i, h, d, (double)o.data[i * ldo + h * D + d], want[d]);
        }
    cr_assert(guarded_intact(&o), "%s wrote outside", k->name);
    guarded_free(&o), document_fini(&s);
}

Test(attention_full, agrees_with_the_definition_for_every_head_size)
{
    static const size_t head_sizes[] = {1, 2, 7, 12, 16, 17, 20, 32, 33, 48, 64, 80, 128};
    FOR_EACH_TABLE (k)
        for (size_t d = 0; d < COUNT(head_sizes); d++) compare(k, 37, 3, head_sizes[d]);
}

Test(attention_full, agrees_with_the_definition_for_every_length)
{
    static const size_t lengths[] = {1,  2,  3,   5,   6,   7,   13,  15,  16,  17,
                                     31, 64, 100, 127, 128, 129, 130, 256, 300, 513};
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(lengths); i++) compare(k, lengths[i], 2, 32);
}

Test(attention_full, gives_a_row_the_same_bits_whichever_rows_are_computed_with_it)
{
    FOR_EACH_TABLE (k) {
        struct document s;
        document_init(&s, 150, 2, 24);
        size_t ldo = 2 * 24, bytes = s.n * ldo * sizeof(float);
        float *all = malloc(bytes), *some = malloc(bytes);
        attend(k, &s, all, ldo, 0, s.n);
        for (size_t row = 0, n = 1; row < s.n; row += n, n = n % 7 + 1) {
            if (n > s.n - row) n = s.n - row;
            attend(k, &s, some + row * ldo, ldo, row, n);
        }
        cr_expect(memcmp(all, some, bytes) == 0, "%s", k->name);
        free(all), free(some), document_fini(&s);
    }
}

Test(attention_full, may_write_its_output_over_its_queries)
{
    FOR_EACH_TABLE (k) {
        struct document s;
        document_init(&s, 70, 3, 16);
        float *apart = malloc(s.n * 48 * sizeof(float));
        attend(k, &s, apart, 48, 0, s.n);
        attend(k, &s, s.qkv, s.ld, 0, s.n);
        for (size_t i = 0; i < s.n; i++)
            cr_expect(memcmp(apart + i * 48, s.qkv + i * s.ld, 48 * sizeof(float)) == 0, "%s row %zu",
                      k->name, i);
        free(apart), document_fini(&s);
    }
}

/* --- backward --- */

/* sum of dout * o, by the definition. */
static double loss(const struct document *s, const float *dout)
{
    double sum = 0, o[256];
    for (size_t i = 0; i < s->n; i++) {
        reference_row(o, s, i, 0);
        for (size_t d = 0; d < s->D; d++) sum += o[d] * (double)dout[i * s->D + d];
    }
    return sum;
}

static double difference(struct document *s, const float *dout, size_t at)
{
    const float step = 0x1p-10f;
    float kept = s->qkv[at];
    s->qkv[at] = kept + step;
    double up = loss(s, dout);
    s->qkv[at] = kept - step;
    double down = loss(s, dout);
    s->qkv[at] = kept;
    return (up - down) / (2 * (double)step);
}

static void check_backward(const struct kernels *k, size_t n, size_t D)
{
    struct document s;
    document_init(&s, n, 1, D);
    size_t ldd = 3 * D + 2;
    float *dout = malloc(n * D * sizeof *dout);
    check_fill(dout, n * D, D, 1);
    struct guarded d = guarded_new(n * ldd, 1), scratch = guarded_new(2 * n, 1);
    for (size_t i = 0; i < d.n; i++) d.data[i] = NAN; /* stored, not added */
    k->attention_full_backward(d.data, d.data + D, d.data + 2 * D, ldd, dout, D, s.qkv, s.qkv + D,
                               s.qkv + 2 * D, s.ld, n, D, s.scale, scratch.data);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3 * D; c++)
            cr_assert(
                check_close((double)d.data[i * ldd + c], difference(&s, dout, i * s.ld + c), 2e-4, 2e-5),
                "%s: n %zu D %zu row %zu [%zu] is %g, the difference %g", k->name, n, D, i, c,
                (double)d.data[i * ldd + c], difference(&s, dout, i * s.ld + c));
    cr_assert(guarded_intact(&d) && guarded_intact(&scratch), "%s wrote outside", k->name);
    guarded_free(&d), guarded_free(&scratch), free(dout), document_fini(&s);
}

Test(attention_full, goes_backward_as_finite_differences_do)
{
    static const size_t shapes[][2] = {{1, 4}, {2, 1}, {5, 3}, {9, 16}, {17, 12}};
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(shapes); i++) check_backward(k, shapes[i][0], shapes[i][1]);
}
