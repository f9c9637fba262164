/* implicit over vecd. The product keeps TILE_ROWS x TILE_VECS sums in registers; each is one chain over k. */
#include "kernels/implicit.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(KERNELS_VEC_AVX512_H)
enum { TILE_ROWS = 12, TILE_VECS = 2 }; /* 24 of 32 registers */
#else
enum { TILE_ROWS = 6, TILE_VECS = 1 }; /* 12 of 16 */
#endif

VEC void tile(double *y, size_t ldy, const double *x, size_t row, size_t step, const double *w, size_t ldw,
              size_t K, bool add, const int rows, const int vecs)
{
    vecd sum[TILE_ROWS][TILE_VECS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vecs; v++) sum[r][v] = vecd_set(0);
    }
    for (size_t k = 0; k < K; k++, x += step, w += ldw) {
        vecd column[TILE_VECS];
        UNROLL
        for (int v = 0; v < vecs; v++) column[v] = vecd_load(w + 8 * v);
        UNROLL
        for (int r = 0; r < rows; r++) {
            vecd scale = vecd_set(x[(size_t)r * row]);
            UNROLL
            for (int v = 0; v < vecs; v++) sum[r][v] = vecd_fma(scale, column[v], sum[r][v]);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vecs; v++) {
            double *out = y + (size_t)r * ldy + 8 * v;
            vecd_store(out, add ? vecd_add(vecd_load(out), sum[r][v]) : sum[r][v]);
        }
    }
}

/* All rows of one strip of columns: whole tiles, then what is left in tiles of 2 and 1. */
VEC void strip(double *y, size_t ldy, const double *x, size_t row, size_t step, const double *w, size_t ldw,
               size_t M, size_t K, bool add, const int vecs)
{
    size_t i = 0;
    for (; i + TILE_ROWS <= M; i += TILE_ROWS)
        tile(y + i * ldy, ldy, x + i * row, row, step, w, ldw, K, add, TILE_ROWS, vecs);
    for (; i + 2 <= M; i += 2) tile(y + i * ldy, ldy, x + i * row, row, step, w, ldw, K, add, 2, vecs);
    if (i < M) tile(y + i * ldy, ldy, x + i * row, row, step, w, ldw, K, add, 1, vecs);
}

static void matmul(double *y, size_t ldy, const double *x, size_t row, size_t step, const double *w,
                   size_t ldw, size_t M, size_t N, size_t K, bool add)
{
    size_t j = 0;
    for (; j + 8 * TILE_VECS <= N; j += 8 * TILE_VECS)
        strip(y + j, ldy, x, row, step, w + j, ldw, M, K, add, TILE_VECS);
    for (; j < N; j += 8) strip(y + j, ldy, x, row, step, w + j, ldw, M, K, add, 1);
}

static void sine(double *s, double *a, const double *b, const double *freq, size_t M, size_t N)
{
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j += 8) {
            vecd sum = vecd_add(vecd_load(a + i * N + j), vecd_load(b + j));
            vecd_store(a + i * N + j, sum);
            vecd_store(s + i * N + j, vecd_sin(vecd_mul(vecd_load(freq + j), sum)));
        }
}

static void cosine(double *c, const double *a, const double *freq, size_t M, size_t N)
{
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j += 8)
            vecd_store(c + i * N + j, vecd_cos(vecd_mul(vecd_load(freq + j), vecd_load(a + i * N + j))));
}

static void decay(double *e, const float *t, const double *rate, size_t M, size_t N)
{
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j += 8)
            vecd_store(e + i * N + j,
                       vecd_exp_below_0(vecd_mul(vecd_set(-(double)t[i]), vecd_load(rate + j))));
}

static void gate(float *k, size_t ldk, const double *r, const double *e, size_t M, size_t N)
{
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j += 8)
            vecd_to_floats(k + i * ldk + j, vecd_mul(vecd_load(r + i * N + j), vecd_load(e + i * N + j)));
}

/* Rows are widened tile by tile: the next tile is fetched while this one is used. */
static void widen(double *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        if (i % 16 == 0) __builtin_prefetch(x + n + i, 0, 2);
        vecd_store(y + i, vecd_from_floats(x + i));
    }
}

static void narrow(float *y, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i += 8) vecd_to_floats(y + i, vecd_load(x + i));
}

const struct implicit_kernels KERNEL(implicit) = {matmul, sine, cosine, decay, gate, widen, narrow};
