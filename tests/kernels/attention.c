#include "tests/kernels/check.h"

/* One sequence: T rows of q [H*D] and k, v [G*D], with the positions' cache filled by attention_append. */
struct sequence {
    size_t T, H, G, D;
    float scale, *q, *k, *v;
    struct attention_cache cache;
};

static void sequence_init(struct sequence *s, size_t T, size_t H, size_t G, size_t D, float range)
{
    *s = (struct sequence){.T = T, .H = H, .G = G, .D = D, .scale = 1 / sqrtf((float)D)};
    s->q = malloc(T * H * D * sizeof(float));
    s->k = malloc(T * G * D * sizeof(float));
    s->v = malloc(T * G * D * sizeof(float));
    check_fill(s->q, T * H * D, T + D, range);
    check_fill(s->k, T * G * D, T + H, range);
    check_fill(s->v, T * G * D, G, 1);
    size_t head = attention_head_floats(T, D);
    s->cache = (struct attention_cache){.head_stride = head, .kv_heads = G, .head_size = D};
    s->cache.k = aligned_alloc(64, G * head * sizeof(float));
    s->cache.v = aligned_alloc(64, G * head * sizeof(float));
    for (size_t i = 0; i < G * head; i++)
        s->cache.k[i] = s->cache.v[i] = NAN; /* a reused cache: stale, and never to be used */
}

static void sequence_append(struct sequence *s, const struct kernels *k, size_t pos, size_t n)
{
    size_t ld = s->G * s->D;
    k->attention_append(&s->cache, s->k + pos * ld, s->v + pos * ld, ld, pos, n, 0, s->G);
}

static void sequence_fini(struct sequence *s)
{
    free(s->q), free(s->k), free(s->v), free(s->cache.k), free(s->cache.v);
}

/* Row i, head h by the definition, in double: scores, softmax, weighted sum. */
static void reference_row(double *o, const struct sequence *s, size_t i, size_t h)
{
    size_t g = h / (s->H / s->G), D = s->D;
    const float *q = s->q + (i * s->H + h) * D;
    double *w = malloc((i + 1) * sizeof *w), max = -INFINITY, sum = 0;
    for (size_t j = 0; j <= i; j++) {
        w[j] = 0;
        for (size_t d = 0; d < D; d++) w[j] += (double)q[d] * s->k[(j * s->G + g) * D + d];
        w[j] *= s->scale;
        max = w[j] > max ? w[j] : max;
    }
    for (size_t d = 0; d < D; d++) o[d] = 0;
    for (size_t j = 0; j <= i; j++) {
        double e = exp(w[j] - max);
        sum += e;
        for (size_t d = 0; d < D; d++) o[d] += e * s->v[(j * s->G + g) * D + d];
    }
    for (size_t d = 0; d < D; d++) o[d] /= sum;
    free(w);
}

static void expect_rows(const struct sequence *s, const float *o, size_t ldo, size_t pos, size_t n,
                        double tolerance, const char *what)
{
    double want[256];
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < s->H; h++) {
            reference_row(want, s, pos + i, h);
            for (size_t d = 0; d < s->D; d++) {
                double got = o[i * ldo + h * s->D + d];
                cr_assert(check_close(got, want[d], tolerance, tolerance),
                          "%s: H %zu G %zu D %zu pos %zu n %zu: row %zu head %zu [%zu] is %g, not %g", what,
                          s->H, s->G, s->D, pos, n, i, h, d, got, want[d]);
            }
        }
}

static void attend(const struct kernels *k, const struct sequence *s, float *o, size_t ldo, size_t pos,
                   size_t n, size_t g0, size_t g1)
{
    struct guarded scratch = guarded_new(k->attention_scratch(s->D, s->H / s->G), 1);
    for (size_t i = 0; i < scratch.n; i++) scratch.data[i] = NAN; /* left by another */
    k->attention_forward(o, ldo, s->q + pos * s->H * s->D, s->H * s->D, &s->cache, pos, n, s->H, g0, g1,
                         s->scale, scratch.data);
    cr_assert(guarded_intact(&scratch), "%s: wrote outside its scratch", k->name);
    guarded_free(&scratch);
}

static void compare(const struct kernels *k, size_t pos, size_t n, size_t H, size_t G, size_t D, float range,
                    double tolerance)
{
    struct sequence s;
    sequence_init(&s, pos + n, H, G, D, range);
    size_t ldo = H * D + 3;
    struct guarded o = guarded_new(n * ldo, 1);
    sequence_append(&s, k, 0, pos + n);
    attend(k, &s, o.data, ldo, pos, n, 0, G);
    expect_rows(&s, o.data, ldo, pos, n, tolerance, k->name);
    cr_assert(guarded_intact(&o), "%s wrote outside", k->name);
    guarded_free(&o), sequence_fini(&s);
}

static const struct {
    size_t H, G;
} head_counts[] = {{1, 1}, {2, 1}, {3, 3}, {6, 2}, {8, 1}, {16, 8}, {5, 1}, {13, 1}};

Test(attention, agrees_with_the_definition_for_every_head_size_and_grouping)
{
    static const size_t head_sizes[] = {1, 2, 7, 8, 15, 16, 17, 20, 32, 33, 48, 64, 80, 128};
    FOR_EACH_TABLE (k)
        for (size_t d = 0; d < COUNT(head_sizes); d++)
            for (size_t h = 0; h < COUNT(head_counts); h++)
                compare(k, 29, 12, head_counts[h].H, head_counts[h].G, head_sizes[d], 2, 2e-6);
}

Test(attention, agrees_with_the_definition_for_every_place_of_the_chunk)
{
    static const struct {
        size_t pos, n;
    } chunks[] = {{0, 1},   {0, 2},    {0, 15},   {0, 16},    {0, 17},    {0, 130}, {1, 1},
                  {15, 1},  {16, 1},   {17, 3},   {100, 60},  {126, 5},   {127, 1}, {127, 2},
                  {128, 1}, {129, 31}, {250, 10}, {255, 130}, {300, 257}, {1000, 3}};
    FOR_EACH_TABLE (k)
        for (size_t c = 0; c < COUNT(chunks); c++) {
            compare(k, chunks[c].pos, chunks[c].n, 2, 1, 20, 2, 2e-6);
            compare(k, chunks[c].pos, chunks[c].n, 4, 2, 64, 2, 2e-6);
        }
}

Test(attention, holds_more_rows_than_one_group)
{
    FOR_EACH_TABLE (k) compare(k, 70, 900, 2, 1, 16, 1, 2e-6);
}

Test(attention, with_scores_far_apart_finds_the_largest)
{
    FOR_EACH_TABLE (k) {
        compare(k, 200, 70, 2, 1, 16, 9, 2e-5);   /* scores to +-80 */
        compare(k, 200, 70, 2, 1, 16, 100, 2e-3); /* to +-1e4: a float holds such a score to 1e-3 */
    }
}

Test(attention, gives_each_row_the_same_bits_in_every_chunk)
{
    static const size_t chunks[] = {1, 2, 7, 12, 64, 100, 128, 300};
    enum { T = 420 };
    FOR_EACH_TABLE (k)
        for (size_t D = 8; D <= 64; D *= 2)
            for (size_t c = 0; c < COUNT(chunks); c++) {
                struct sequence s;
                sequence_init(&s, T, 4, 2, D, 3);
                size_t ld = 4 * D;
                float *whole = malloc(T * ld * sizeof *whole), *parts = malloc(T * ld * sizeof *parts);
                for (size_t pos = 0; pos < T;
                     pos += chunks[c]) { /* appended as it goes: later positions are stale */
                    size_t n = T - pos < chunks[c] ? T - pos : chunks[c];
                    sequence_append(&s, k, pos, n);
                    attend(k, &s, parts + pos * ld, ld, pos, n, 0, 2);
                }
                attend(k, &s, whole, ld, 0, T, 0, 2);
                for (size_t i = 0; i < T * ld; i++)
                    cr_assert(whole[i] == parts[i], "%s D %zu chunk %zu: position %zu", k->name, D, chunks[c],
                              i / ld);
                free(whole), free(parts), sequence_fini(&s);
            }
}

Test(attention, a_slice_of_kv_heads_has_the_same_bits_and_leaves_the_other_columns)
{
    enum { T = 150, H = 6, G = 3, D = 24, LD = H * D };
    FOR_EACH_TABLE (k) {
        struct sequence s;
        sequence_init(&s, T, H, G, D, 2);
        for (size_t g = 0; g < G; g++) k->attention_append(&s.cache, s.k, s.v, G * D, 0, T, g, g + 1);
        static float whole[T * LD], slices[T * LD];
        attend(k, &s, whole, LD, 0, T, 0, G);
        for (size_t i = 0; i < T * LD; i++) slices[i] = 7;
        attend(k, &s, slices, LD, 0, T, 1, 2);
        for (size_t i = 0; i < T * LD; i++) {
            bool inside = i % LD >= 2 * D && i % LD < 4 * D;
            cr_assert(slices[i] == (inside ? whole[i] : 7), "%s element %zu", k->name, i);
        }
        attend(k, &s, slices, LD, 0, T, 2, 3);
        attend(k, &s, slices, LD, 0, T, 0, 1);
        cr_assert(memcmp(whole, slices, sizeof whole) == 0, "%s", k->name);
        sequence_fini(&s);
    }
}

Test(attention, may_write_over_its_queries)
{
    enum { T = 140, H = 4, G = 2, D = 20, LD = H * D };
    FOR_EACH_TABLE (k) {
        struct sequence s;
        sequence_init(&s, T, H, G, D, 2);
        sequence_append(&s, k, 0, T);
        static float apart[T * LD];
        attend(k, &s, apart, LD, 0, T, 0, G);
        attend(k, &s, s.q, LD, 0, T, 0, G);
        cr_assert(memcmp(apart, s.q, sizeof apart) == 0, "%s", k->name);
        sequence_fini(&s);
    }
}

Test(attention, a_nan_query_spoils_its_head_and_row_only)
{
    enum { T = 140, H = 4, G = 2, D = 20, LD = H * D };
    FOR_EACH_TABLE (k) {
        struct sequence s;
        sequence_init(&s, T, H, G, D, 2);
        s.q[131 * LD + 3 * D + 19] = NAN;
        sequence_append(&s, k, 0, T);
        static float o[T * LD];
        attend(k, &s, o, LD, 0, T, 0, G);
        for (size_t i = 0; i < T * LD; i++)
            cr_assert(!isnan(o[i]) == !(i / LD == 131 && i % LD >= 3 * D), "%s element %zu", k->name, i);
        sequence_fini(&s);
    }
}

Test(attention, a_nan_key_spoils_every_row_from_its_position_on_and_none_before)
{
    enum { T = 300, D = 20 };
    static const size_t positions[] = {0, 5, 127, 128, 200, 299};
    FOR_EACH_TABLE (k)
        for (size_t p = 0; p < COUNT(positions); p++) {
            struct sequence s;
            sequence_init(&s, T, 1, 1, D, 2);
            s.k[positions[p] * D + 7] = NAN;
            sequence_append(&s, k, 0, T);
            static float o[T * D];
            attend(k, &s, o, D, 0, T, 0, 1);
            for (size_t i = 0; i < T * D; i++)
                cr_assert(!isnan(o[i]) == (i / D < positions[p]), "%s key %zu: row %zu", k->name,
                          positions[p], i / D);
            sequence_fini(&s);
        }
}

Test(attention, a_nan_value_spoils_its_column_in_every_row_from_its_position_on)
{
    enum { T = 300, D = 20 };
    FOR_EACH_TABLE (k) {
        struct sequence s;
        sequence_init(&s, T, 1, 1, D, 2);
        s.v[150 * D + 7] = NAN;
        sequence_append(&s, k, 0, T);
        static float o[T * D];
        attend(k, &s, o, D, 0, T, 0, 1);
        for (size_t i = 0; i < T * D; i++) {
            if (i / D >= 150)
                cr_assert(!isnan(o[i]) == (i % D != 7), "%s row %zu column %zu", k->name, i / D, i % D);
            if (i / D < 128) cr_assert(!isnan(o[i]), "%s row %zu", k->name, i / D);
        }
        sequence_fini(&s);
    }
}

Test(attention, a_key_of_score_minus_infinity_weighs_nothing)
{
    enum { T = 200, D = 16 };
    FOR_EACH_TABLE (k) {
        struct sequence s;
        sequence_init(&s, T, 1, 1, D, 1);
        for (size_t i = 0; i < T; i++) s.q[i * D] = 1;
        for (size_t j = 0; j < 140; j++)
            s.k[j * D] = -INFINITY; /* the whole first key block and some of the second */
        sequence_append(&s, k, 0, T);
        static float o[T * D];
        attend(k, &s, o, D, 0, T, 0, 1);
        for (size_t i = 0; i < 140 * D; i++)
            cr_assert(isnan(o[i]), "%s: row %zu sees no key and is %g", k->name, i / D, (double)o[i]);
        double want[D];
        for (size_t i = 140; i < T; i++) {
            reference_row(want, &s, i, 0);
            for (size_t d = 0; d < D; d++)
                cr_assert(check_close(o[i * D + d], want[d], 2e-6, 2e-6), "%s row %zu", k->name, i);
        }
        sequence_fini(&s);
    }
}

Test(attention, appends_as_the_plain_table_does_whatever_the_pieces_and_the_head_size)
{
    static const size_t sizes[] = {1, 3, 4, 16, 18, 31, 32, 64, 81};
    static const size_t borders[] = {0, 5, 16, 48, 51, 52, 100, 133, 150}; /* in panels and across them */
    enum { T = 150, G = 2 };
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(sizes); i++) {
            struct sequence s, want;
            sequence_init(&s, T, G, G, sizes[i], 1);
            sequence_init(&want, T, G, G, sizes[i], 1);
            size_t floats = G * s.cache.head_stride;
            for (size_t f = 0; f < floats; f++) s.cache.k[f] = s.cache.v[f] = 7;
            for (size_t f = 0; f < floats; f++) want.cache.k[f] = want.cache.v[f] = 7;
            sequence_append(&want, kernels_select("plain"), 0, T);
            for (size_t b = 0; b + 1 < COUNT(borders); b++)
                sequence_append(&s, k, borders[b], borders[b + 1] - borders[b]);
            EXPECT_CLOSE(s.cache.k, want.cache.k, floats, 0, 0, "%s keys, D %zu", k->name, sizes[i]);
            EXPECT_CLOSE(s.cache.v, want.cache.v, floats, 0, 0, "%s values, D %zu", k->name, sizes[i]);
            sequence_fini(&s), sequence_fini(&want);
        }
}
