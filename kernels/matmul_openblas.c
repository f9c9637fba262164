/* matmul through OpenBLAS: the only file that knows it. */
#include "kernels/kernels.h"
#include "kernels/matmul.h"
#include <assert.h>
#include <cblas.h>
#include <limits.h>

void matmul_setup_openblas(void)
{
    openblas_set_num_threads(1); /* threads are the caller's; each calls with a slice */
}

const char *kernels_blas_config(void)
{
    return openblas_get_config(); /* names the kernels it chose for this CPU, too */
}

void matmul_forward_openblas(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                             size_t M, size_t N, size_t K, float beta)
{
    assert(M <= INT_MAX && N <= INT_MAX && K <= INT_MAX && ldx <= INT_MAX && ldy <= INT_MAX &&
           ldw <= INT_MAX);
    if (M == 0 || N == 0) return;
    if (M == 1 && K > 0) /* one token: a product that reads w once, without packing it */
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)N, (int)K, 1.0f, w, (int)ldw, x, 1, beta, y, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)M, (int)N, (int)K, 1.0f, x, (int)ldx, w,
                    (int)ldw, beta, y, (int)ldy);
}
