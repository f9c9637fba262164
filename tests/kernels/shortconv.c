#include "tests/kernels/check.h"

struct conv {
    size_t N, C, K;
    float *bgu, *w, *bias, *carry, *y; /* carry and y: as expected after the call */
};

/* The formula of shortconv.h in double, from an explicit v. */
static void reference(struct conv *p)
{
    size_t rows = p->N + p->K - 1, C = p->C;
    double *v = malloc((rows + 1) * C * sizeof *v);
    for (size_t t = 0; t < rows; t++)
        for (size_t c = 0; c < C; c++) {
            const float *row = t < p->K - 1 ? NULL : p->bgu + (t - (p->K - 1)) * 3 * C;
            v[t * C + c] = row ? (double)(row[c] * row[2 * C + c]) : (double)p->carry[t * C + c];
        }
    for (size_t t = 0; t < p->N; t++)
        for (size_t c = 0; c < C; c++) {
            double s = p->bias ? p->bias[c] : 0;
            for (size_t j = 0; j < p->K; j++) s += (double)p->w[c * p->K + j] * v[(t + j) * C + c];
            p->y[t * C + c] = (float)(p->bgu[t * 3 * C + C + c] * s);
        }
    for (size_t i = 0; i < (p->K - 1) * C; i++) p->carry[i] = (float)v[p->N * C + i];
    free(v);
}

static void conv_init(struct conv *p, size_t N, size_t C, size_t K, bool bias)
{
    *p = (struct conv){N,
                       C,
                       K,
                       malloc((N + 1) * 3 * C * 4),
                       malloc(C * K * 4),
                       bias ? malloc(C * 4) : NULL,
                       malloc(K * C * 4),
                       malloc((N + 1) * C * 4)};
    check_fill(p->bgu, N * 3 * C, N + C, 2);
    check_fill(p->w, C * K, C + K, 1);
    if (bias) check_fill(p->bias, C, C, 1);
    check_fill(p->carry, (K - 1) * C, K, 2);
}

static void conv_fini(struct conv *p)
{
    free(p->bgu), free(p->w), free(p->bias), free(p->carry), free(p->y);
}

static void compare(const struct kernels *k, size_t N, size_t C, size_t K, bool bias)
{
    struct conv p;
    conv_init(&p, N, C, K, bias);
    size_t ldy = C + 3;
    struct guarded y = guarded_new(N * ldy, 1), carry = guarded_new((K - 1) * C, 2);
    if (K > 1) memcpy(carry.data, p.carry, carry.n * sizeof(float));
    reference(&p);
    k->shortconv_forward(y.data, ldy, p.bgu, carry.data, p.w, p.bias, N, C, K, 0, C);
    for (size_t t = 0; t < N; t++)
        EXPECT_CLOSE(y.data + t * ldy, p.y + t * C, C, 1e-5, 1e-5, "%s N %zu C %zu K %zu row %zu", k->name, N,
                     C, K, t);
    cr_assert(carry.n == 0 || memcmp(carry.data, p.carry, carry.n * sizeof(float)) == 0,
              "%s N %zu C %zu K %zu: carry", k->name, N, C, K);
    cr_assert(guarded_intact(&y) && guarded_intact(&carry), "%s N %zu C %zu K %zu wrote outside", k->name, N,
              C, K);
    guarded_free(&y), guarded_free(&carry), conv_fini(&p);
}

Test(shortconv, agrees_with_the_formula_and_carries_the_last_rows)
{
    static const size_t rows[] = {0, 1, 2, 3, 31, 32, 33, 70}, widths[] = {1, 5, 16, 17, 33, 64, 100, 300};
    FOR_EACH_TABLE (k)
        for (size_t n = 0; n < COUNT(rows); n++)
            for (size_t c = 0; c < COUNT(widths); c++)
                for (size_t K = 1; K <= 10; K++) compare(k, rows[n], widths[c], K, K % 2);
}

Test(shortconv, in_chunks_and_column_slices_gives_the_same_bits_as_in_one_pass)
{
    static const size_t chunks[] = {1, 2, 7, 64};
    enum { N = 90, C = 50, K = 3 };
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(chunks); i++) {
            struct conv p;
            conv_init(&p, N, C, K, true);
            float whole[N * C], parts[N * C], carry[(K - 1) * C], carried[(K - 1) * C];
            memcpy(carry, p.carry, sizeof carry);
            memcpy(carried, p.carry, sizeof carried);
            k->shortconv_forward(whole, C, p.bgu, carry, p.w, p.bias, N, C, K, 0, C);
            for (size_t t = 0; t < N; t += chunks[i]) {
                size_t n = N - t < chunks[i] ? N - t : chunks[i];
                k->shortconv_forward(parts + t * C, C, p.bgu + t * 3 * C, carried, p.w, p.bias, n, C, K, 0,
                                     19);
                k->shortconv_forward(parts + t * C, C, p.bgu + t * 3 * C, carried, p.w, p.bias, n, C, K, 19,
                                     C);
            }
            cr_assert(memcmp(whole, parts, sizeof whole) == 0, "%s chunk %zu", k->name, chunks[i]);
            cr_assert(memcmp(carry, carried, sizeof carry) == 0, "%s chunk %zu: carry", k->name, chunks[i]);
            conv_fini(&p);
        }
}

Test(shortconv, a_slice_of_columns_leaves_the_others)
{
    FOR_EACH_TABLE (k) {
        struct conv p;
        conv_init(&p, 4, 40, 3, false);
        float y[4 * 40], carry[2 * 40];
        for (size_t i = 0; i < 160; i++) y[i] = 7;
        for (size_t i = 0; i < 80; i++) carry[i] = 9;
        k->shortconv_forward(y, 40, p.bgu, carry, p.w, NULL, 4, 40, 3, 3, 22);
        for (size_t i = 0; i < 160; i++)
            cr_assert((y[i] == 7) == !(i % 40 >= 3 && i % 40 < 22), "%s element %zu", k->name, i);
        for (size_t i = 0; i < 80; i++)
            cr_assert((carry[i] == 9) == !(i % 40 >= 3 && i % 40 < 22), "%s carry %zu", k->name, i);
        conv_fini(&p);
    }
}

Test(shortconv, a_nan_input_spoils_its_channel_from_its_row_on_for_k_rows)
{
    FOR_EACH_TABLE (k) {
        struct conv p;
        conv_init(&p, 8, 20, 3, false);
        p.bgu[2 * 60 + 40 + 18] = NAN; /* u of row 2, channel 18 */
        float y[8 * 20];
        k->shortconv_forward(y, 20, p.bgu, p.carry, p.w, NULL, 8, 20, 3, 0, 20);
        for (size_t i = 0; i < 160; i++) {
            bool spoilt = i % 20 == 18 && i / 20 >= 2 && i / 20 <= 4;
            cr_assert(!isnan(y[i]) == !spoilt, "%s element %zu", k->name, i);
        }
        conv_fini(&p);
    }
}
