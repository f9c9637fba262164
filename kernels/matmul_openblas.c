/* matmul through OpenBLAS: the only file that knows it.
 *
 * The library is opened when kernels are first selected, not linked: loading it starts its pool of threads,
 * which would cost every command a few milliseconds and could take the signals that a supervisor waits for.
 * By then its environment is set: one thread. Without the library the plain product serves, slowly, and `thea
 * doctor` says so. */
#include "kernels/kernels.h"
#include "kernels/matmul.h"
#include <assert.h>
#include <cblas.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>

static struct {
    void *library;
    __typeof__(&cblas_sgemm) sgemm;
    __typeof__(&cblas_sgemv) sgemv;
    __typeof__(&openblas_set_num_threads) set_num_threads;
    __typeof__(&openblas_get_config) get_config;
} blas;

void matmul_setup_openblas(void)
{
    if (blas.library != NULL) return;
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return;
    *(void **)&blas.sgemm = dlsym(library, "cblas_sgemm");
    *(void **)&blas.sgemv = dlsym(library, "cblas_sgemv");
    *(void **)&blas.set_num_threads = dlsym(library, "openblas_set_num_threads");
    *(void **)&blas.get_config = dlsym(library, "openblas_get_config");
    if (blas.sgemm == NULL || blas.sgemv == NULL || blas.set_num_threads == NULL) return;
    blas.library = library;
    blas.set_num_threads(1); /* threads are the caller's; each calls with a slice */
}

const char *kernels_blas_config(void)
{
    matmul_setup_openblas();
    if (blas.library == NULL) return "none, products are slow: apt-get install libopenblas0-pthread";
    return blas.get_config != NULL ? blas.get_config()
                                   : "OpenBLAS"; /* names the kernels it chose for this CPU, too */
}

void matmul_forward_openblas(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                             size_t M, size_t N, size_t K, float beta)
{
    assert(M <= INT_MAX && N <= INT_MAX && K <= INT_MAX && ldx <= INT_MAX && ldy <= INT_MAX &&
           ldw <= INT_MAX);
    if (M == 0 || N == 0) return;
    if (blas.library == NULL) {
        matmul_forward(y, ldy, x, ldx, w, ldw, M, N, K, beta);
    } else if (M == 1 && K > 0) { /* one token: a product that reads w once, without packing it */
        blas.sgemv(CblasRowMajor, CblasNoTrans, (int)N, (int)K, 1.0f, w, (int)ldw, x, 1, beta, y, 1);
    } else {
        blas.sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)M, (int)N, (int)K, 1.0f, x, (int)ldx, w,
                   (int)ldw, beta, y, (int)ldy);
    }
}

void matmul_backward_input_openblas(float *dx, size_t lddx, const float *dy, size_t lddy, const float *w,
                                    size_t ldw, size_t M, size_t N, size_t K, float beta)
{
    assert(M <= INT_MAX && N <= INT_MAX && K <= INT_MAX && lddx <= INT_MAX && lddy <= INT_MAX &&
           ldw <= INT_MAX);
    if (M == 0 || K == 0) return;
    if (blas.library == NULL)
        matmul_backward_input(dx, lddx, dy, lddy, w, ldw, M, N, K, beta);
    else
        blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)M, (int)K, (int)N, 1.0f, dy, (int)lddy, w,
                   (int)ldw, beta, dx, (int)lddx);
}

void matmul_backward_weight_openblas(float *dw, size_t lddw, const float *dy, size_t lddy, const float *x,
                                     size_t ldx, size_t M, size_t N, size_t K)
{
    assert(M <= INT_MAX && N <= INT_MAX && K <= INT_MAX && lddw <= INT_MAX && lddy <= INT_MAX &&
           ldx <= INT_MAX);
    if (M == 0 || N == 0 || K == 0) return;
    if (blas.library == NULL)
        matmul_backward_weight(dw, lddw, dy, lddy, x, ldx, M, N, K);
    else
        blas.sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)N, (int)K, (int)M, 1.0f, dy, (int)lddy, x,
                   (int)ldx, 1.0f, dw, (int)lddw);
}
