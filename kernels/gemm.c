/* The packed product, plain: a row and a panel at a time, in the order of gemm.h with one block over all k.
 * And packing, for every table. */
#include "kernels/gemm.h"
#include "kernels/gelu.h"
#include <assert.h>
#include <string.h>

size_t gemm_floats(const struct kernels *k, size_t N, size_t K)
{
    return (N + k->gemm_width - 1) / k->gemm_width * k->gemm_width * K;
}

void gemm_pack(const struct kernels *k, float *panels, const float *w, size_t ldw, size_t first, size_t rows,
               size_t N, size_t K)
{
    size_t width = k->gemm_width, end = first + rows;
    assert(end <= N);
    for (size_t n = first; n < end; n++) {
        float *to = panels + n / width * width * K + n % width;
        const float *from = w + (n - first) * ldw;
        for (size_t i = 0; i < K; i++) to[i * width] = from[i];
    }
    if (end != N || rows == 0) return;
    for (size_t lane = N % width; lane != 0 && lane < width; lane++) { /* the last panel's rest */
        float *to = panels + N / width * width * K + lane;
        for (size_t i = 0; i < K; i++) to[i * width] = 0;
    }
}

/* sum [GEMM_WIDTH] = x [K] . panel + bias; `columns` of them are there. */
static void multiply_row(float *sum, const float *x, const float *panel, const float *bias, size_t columns,
                         size_t K)
{
    memset(sum, 0, GEMM_WIDTH * sizeof *sum);
    for (size_t k = 0; k < K; k++)
        for (size_t j = 0; j < GEMM_WIDTH; j++) sum[j] += x[k] * panel[k * GEMM_WIDTH + j];
    for (size_t j = 0; bias != NULL && j < columns; j++) sum[j] += bias[j];
}

static void finish_row(float *y, const float *sum, size_t columns, gemm_epilogue epilogue)
{
    if (epilogue == GEMM_GELU)
        gelu_forward(y, 0, sum, 0, 1, columns);
    else if (epilogue == GEMM_ADD)
        for (size_t j = 0; j < columns; j++) y[j] += sum[j];
    else
        memcpy(y, sum, columns * sizeof *y);
}

void gemm_forward(float *y, size_t ldy, const float *x, size_t ldx, const struct gemm_weights *w, size_t M,
                  size_t n0, size_t n1, gemm_epilogue epilogue, float *scratch)
{
    (void)scratch;
    assert(n0 % GEMM_WIDTH == 0 && n1 <= w->N);
    for (size_t n = n0; n < n1; n += GEMM_WIDTH) {
        size_t columns = n1 - n < GEMM_WIDTH ? n1 - n : GEMM_WIDTH;
        for (size_t m = 0; m < M; m++) {
            float sum[GEMM_WIDTH];
            multiply_row(sum, x + m * ldx, w->panels + n * w->K, w->bias != NULL ? w->bias + n : NULL,
                         columns, w->K);
            finish_row(y + m * ldy + n, sum, columns, epilogue);
        }
    }
}

void gemm_geglu_forward(float *y, size_t ldy, const float *xg, const float *xu, size_t ldx,
                        const struct gemm_weights *gate, const struct gemm_weights *up, size_t M, size_t n0,
                        size_t n1, float *scratch)
{
    (void)scratch;
    assert(n0 % GEMM_WIDTH == 0 && n1 <= gate->N && gate->N == up->N && gate->K == up->K);
    for (size_t n = n0; n < n1; n += GEMM_WIDTH) {
        size_t columns = n1 - n < GEMM_WIDTH ? n1 - n : GEMM_WIDTH;
        for (size_t m = 0; m < M; m++) {
            float a[GEMM_WIDTH], b[GEMM_WIDTH];
            multiply_row(a, xg + m * ldx, gate->panels + n * gate->K,
                         gate->bias != NULL ? gate->bias + n : NULL, columns, gate->K);
            multiply_row(b, xu + m * ldx, up->panels + n * up->K, up->bias != NULL ? up->bias + n : NULL,
                         columns, up->K);
            geglu_forward(y + m * ldy + n, 0, a, b, 0, 1, columns);
        }
    }
}
