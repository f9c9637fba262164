/* matmul, plain: the oracle for OpenBLAS. */
#include "kernels/matmul.h"

void matmul_forward(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw, size_t M,
                    size_t N, size_t K, float beta)
{
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) {
            double sum = beta == 0.0f ? 0.0 : (double)beta * y[m * ldy + n];
            for (size_t k = 0; k < K; k++) sum += (double)x[m * ldx + k] * w[n * ldw + k];
            y[m * ldy + n] = (float)sum;
        }
}

void matmul_backward_input(float *dx, size_t lddx, const float *dy, size_t lddy, const float *w, size_t ldw,
                           size_t M, size_t N, size_t K, float beta)
{
    for (size_t m = 0; m < M; m++)
        for (size_t k = 0; k < K; k++) {
            double sum = beta == 0.0f ? 0.0 : (double)beta * dx[m * lddx + k];
            for (size_t n = 0; n < N; n++) sum += (double)dy[m * lddy + n] * w[n * ldw + k];
            dx[m * lddx + k] = (float)sum;
        }
}

void matmul_backward_weight(float *dw, size_t lddw, const float *dy, size_t lddy, const float *x, size_t ldx,
                            size_t M, size_t N, size_t K)
{
    for (size_t n = 0; n < N; n++)
        for (size_t k = 0; k < K; k++) {
            double sum = dw[n * lddw + k];
            for (size_t m = 0; m < M; m++) sum += (double)dy[m * lddy + n] * x[m * ldx + k];
            dw[n * lddw + k] = (float)sum;
        }
}
