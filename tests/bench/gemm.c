/* bench-gemm: the products of an LFM2-350M-shaped model through the table's matmul, against one 2048^3 sgemm
 * with the same library settings on the same core. OPENBLAS_CORETYPE in the environment forces a library's
 * kernels; the first line tells which are used. */
#include "kernels/kernels.h"
#include "tests/bench/paired.h"

struct product {
    const struct kernels *kernels;
    float *y, *x, *w;
    size_t M, N, K;
};

static float *numbers(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
    for (size_t i = 0; x && i < n; i++) x[i] = (float)((i * 2654435761u) >> 16 & 1023) * 0x1p-10f - 0.5f;
    return x;
}

static void multiply(void *context)
{
    struct product *p = context;
    p->kernels->matmul(p->y, p->N, p->x, p->K, p->w, p->K, p->M, p->N, p->K, 0);
}

static void product_init(struct product *p, const struct kernels *k, size_t M, size_t N, size_t K)
{
    *p = (struct product){k, numbers(M * N), numbers(M * K), numbers(N * K), M, N, K};
    if (!p->y || !p->x || !p->w) {
        fputs("bench-gemm: out of memory\n", stderr);
        exit(1);
    }
}

static struct job product_job(struct product *p)
{
    return (struct job){multiply, p, 2.0 * (double)p->M * (double)p->N * (double)p->K};
}

int main(void)
{
    static const size_t rows[] = {512, 256, 128, 32, 1};
    static const size_t shapes[][2] = {{4608, 1024}, {9216, 1024}, {3072, 1024}, {1024, 1024},
                                       {2048, 1024}, {1024, 4608}, {4096, 1024}};
    const struct kernels *k = kernels_select(NULL);
    char cpu[64];
    if (!k) return 1;
    printf("# %s; %s\n", kernels_cpu_name(cpu, sizeof cpu), kernels_blas_config());
    paired_header();
    struct product reference;
    product_init(&reference, k, 2048, 2048, 2048);
    struct job reference_job = product_job(&reference);
    for (size_t m = 0; m < sizeof rows / sizeof *rows; m++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            struct product p;
            char shape[64];
            product_init(&p, k, rows[m], shapes[s][0], shapes[s][1]);
            struct job job = product_job(&p);
            struct paired result = paired_measure(&job, &reference_job);
            snprintf(shape, sizeof shape, "M %zu N %zu K %zu", p.M, p.N, p.K);
            paired_print("matmul", shape, &result, "GFLOP/s", "sgemm 2048^3");
            free(p.y), free(p.x), free(p.w);
        }
    free(reference.y), free(reference.x), free(reference.w);
    return 0;
}
