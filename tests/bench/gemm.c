/* bench-gemm [lfm2|minilm|m2bert]…: products of models through the table's matmul (OpenBLAS) and packed,
 * against one 2048^3 sgemm with the same library settings on the same core. THEA_KERNELS picks the table.
 * OPENBLAS_CORETYPE in the environment forces the library's kernels, OPENBLAS_L2_SIZE its blocking: leave
 * both unset for figures. The first line tells what is used. */
#include "kernels/kernels.h"
#include "tests/bench/paired.h"
#include <string.h>

struct product {
    const struct kernels *kernels;
    float *y, *x, *w, *panels, *scratch;
    size_t M, N, K;
};

static float *numbers(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
    if (!x) {
        fputs("bench-gemm: out of memory\n", stderr);
        exit(1);
    }
    for (size_t i = 0; i < n; i++) x[i] = (float)((i * 2654435761u) >> 16 & 1023) * 0x1p-10f - 0.5f;
    return x;
}

static void multiply(void *context)
{
    struct product *p = context;
    p->kernels->matmul(p->y, p->N, p->x, p->K, p->w, p->K, p->M, p->N, p->K, 0);
}

static void multiply_packed(void *context)
{
    struct product *p = context;
    struct gemm_weights w = {p->panels, NULL, p->N, p->K};
    p->kernels->gemm(p->y, p->N, p->x, p->K, &w, p->M, 0, p->N, GEMM_STORE, p->scratch);
}

static struct product product_new(const struct kernels *k, size_t M, size_t N, size_t K)
{
    struct product p = {k,
                        numbers(M * N),
                        numbers(M * K),
                        numbers(N * K),
                        numbers(gemm_floats(k, N, K)),
                        numbers(GEMM_SCRATCH),
                        M,
                        N,
                        K};
    gemm_pack(k, p.panels, p.w, K, 0, N, N, K);
    return p;
}

static void product_free(struct product *p)
{
    free(p->y), free(p->x), free(p->w), free(p->panels), free(p->scratch);
}

static double flop(const struct product *p)
{
    return 2.0 * (double)p->M * (double)p->N * (double)p->K;
}

static void bench(const struct kernels *k, size_t M, size_t N, size_t K, const struct job *reference)
{
    struct product p = product_new(k, M, N, K);
    struct job blas = {multiply, &p, flop(&p)}, packed = {multiply_packed, &p, flop(&p)};
    char shape[64];
    snprintf(shape, sizeof shape, "M %zu N %zu K %zu", M, N, K);
    struct paired result = paired_measure(&blas, reference);
    paired_print("matmul", shape, &result, "GFLOP/s", "sgemm 2048^3");
    result = paired_measure(&packed, reference);
    paired_print("gemm", shape, &result, "GFLOP/s", "sgemm 2048^3");
    product_free(&p);
}

/* Products (N, K) of one model, and numbers of rows; 0 ends them. */
static const struct {
    const char *name;
    size_t products[8][2], rows[8];
} models[] = {
    {"lfm2",
     {{4608, 1024}, {3072, 1024}, {1024, 1024}, {2048, 1024}, {1024, 4608}},
     {512, 252, 126, 60, 16, 6, 1}},
    {"minilm", {{384, 384}, {1152, 384}, {1536, 384}, {384, 1536}}, {4096, 1024, 512, 252, 128}},
    {"m2bert", {{2304, 768}, {768, 768}, {1536, 192}, {192, 768}}, {2048, 512, 252}},
};

int main(int argc, char **argv)
{
    const struct kernels *k = kernels_select(NULL);
    char cpu[64];
    if (!k) return 1;
    printf("# %s; kernels %s; %s\n", kernels_cpu_name(cpu, sizeof cpu), k->name, kernels_blas_config());
    paired_header();
    struct product cube = product_new(k, 2048, 2048, 2048);
    struct job reference = {multiply, &cube, flop(&cube)};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        bool wanted = argc == 1;
        for (int a = 1; a < argc; a++) wanted = wanted || strcmp(argv[a], models[i].name) == 0;
        for (size_t m = 0; wanted && models[i].rows[m] > 0; m++)
            for (size_t s = 0; models[i].products[s][0] > 0; s++)
                bench(k, models[i].rows[m], models[i].products[s][0], models[i].products[s][1], &reference);
    }
    product_free(&cube);
    return 0;
}
