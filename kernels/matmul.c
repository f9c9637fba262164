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
