/* bench-kernels [TABLE]: attention against one 2048^3 sgemm on the same core; every other operation against
 * the plain one. */
#include "kernels/kernels.h"
#include "tests/bench/paired.h"
#include <string.h>

/* An LFM2-350M-shaped chunk. */
enum { N = 512, C = 1024, F = 4608, V = 4096, H = 16, G = 8, D = 64, TAPS = 3, CUBE = 2048 };

struct bench {
    const struct kernels *kernels;
    float *a, *b, *c; /* N * 2F floats each, the largest any operation needs; numbers in [-1, 1) */
    float *cos, *sin; /* N * D/2 */
    float ones[D];    /* weights that leave a norm's output a fixed point: it runs in place, many times */
    uint16_t *half;
    struct attention_cache cache;
    size_t pos, rows; /* attention */
};

static float *numbers(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
    if (!x) {
        fputs("bench-kernels: out of memory\n", stderr);
        exit(1);
    }
    for (size_t i = 0; i < n; i++) x[i] = (float)((i * 2654435761u) >> 16 & 1023) * 0x1p-9f - 1;
    return x;
}

static void run_sgemm(void *context)
{
    struct bench *b = context;
    b->kernels->matmul(b->c, CUBE, b->a, CUBE, b->b, CUBE, CUBE, CUBE, CUBE, 0);
}

static void run_rmsnorm(void *context)
{
    struct bench *b = context;
    b->kernels->rmsnorm_forward(b->c, NULL, b->a, b->b, N, C, 1e-5f);
}

static void run_headnorm(void *context)
{
    struct bench *b = context;
    b->kernels->headnorm_forward(b->a, H * D, b->ones, N, H, D, 1e-5f);
}

static void run_rope(void *context)
{
    struct bench *b = context;
    b->kernels->rope_forward(b->a, H * D, b->cos, b->sin, N, H, D);
}

static void run_swiglu(void *context)
{
    struct bench *b = context;
    memcpy(b->c, b->a, sizeof(float) * 2 * F * 16); /* fresh gates, in cache */
    b->kernels->swiglu_forward(b->c, b->c + F, 2 * F, 16, F);
}

static void run_shortconv(void *context)
{
    struct bench *b = context;
    b->kernels->shortconv_forward(b->c, C, b->a, b->b, b->b + 2 * C, NULL, N, C, TAPS, 0, C);
}

static void run_logsumexp(void *context)
{
    struct bench *b = context;
    float max[64], sum[64] = {0};
    for (size_t i = 0; i < 64; i++) max[i] = -INFINITY;
    b->kernels->logsumexp_update(max, sum, b->a, V, 64, V);
    b->c[0] = sum[0];
}

static void run_softmax(void *context)
{
    struct bench *b = context;
    memcpy(b->c, b->a, sizeof(float) * 65536);
    b->kernels->softmax(b->c, 65536, 0.7f);
}

static void run_add(void *context)
{
    struct bench *b = context;
    b->kernels->add(b->c, b->a, N * C);
    b->c[0] = 0;
}

static void run_bf16(void *context)
{
    struct bench *b = context;
    b->kernels->from_bf16(b->c, b->half, N * C);
}

static void run_f16(void *context)
{
    struct bench *b = context;
    b->kernels->from_f16(b->c, b->half, N * C);
}

static void run_append(void *context)
{
    struct bench *b = context;
    b->kernels->attention_append(&b->cache, b->a, b->b, G * D, 0, N, 0, G);
}

static void run_attention(void *context)
{
    struct bench *b = context;
    size_t head = b->cache.head_size;
    b->kernels->attention_forward(b->c, H * head, b->a, H * head, &b->cache, b->pos, b->rows, H, 0, G, 0.125f,
                                  b->b);
}

/* bytes: read and written by one run. */
static const struct {
    const char *op, *shape;
    void (*run)(void *);
    double bytes;
} operations[] = {
    {"rmsnorm", "N 512 C 1024", run_rmsnorm, 8.0 * (N * C)},
    {"headnorm", "N 512 heads 16 D 64", run_headnorm, 8.0 * (N * H * D)},
    {"rope", "N 512 heads 16 D 64", run_rope, 8.0 * (N * H * D)},
    {"swiglu", "N 16 F 4608", run_swiglu, 12.0 * 16 * F},
    {"shortconv", "N 512 C 1024 K 3", run_shortconv, 16.0 * (N * C)},
    {"logsumexp_update", "N 64 V 4096", run_logsumexp, 4.0 * 64 * V},
    {"softmax", "n 65536", run_softmax, 8.0 * 65536},
    {"add", "n 524288", run_add, 12.0 * (N * C)},
    {"from_bf16", "n 524288", run_bf16, 6.0 * (N * C)},
    {"from_f16", "n 524288", run_f16, 6.0 * (N * C)},
    {"attention_append", "n 512 G 8 D 64", run_append, 16.0 * (N * G * D)},
};

static void cache_init(struct attention_cache *c, size_t cap, size_t head_size)
{
    size_t head = attention_head_floats(cap, head_size);
    *c = (struct attention_cache){numbers(G * head), numbers(G * head), head, G, head_size};
}

static void bench_attention(struct bench *b, const struct job *sgemm)
{
    static const struct {
        size_t head_size, pos, rows;
    } cases[] = {{64, 0, 512},  {64, 1536, 512}, {64, 7680, 512}, {64, 32256, 512}, {64, 8064, 128},
                 {64, 8191, 1}, {64, 32767, 1},  {32, 7680, 512}, {80, 7680, 512},  {128, 7680, 512}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t pos = b->pos = cases[i].pos, n = b->rows = cases[i].rows;
        cache_init(&b->cache, pos + n, cases[i].head_size);
        double scores = (double)n * (double)pos + (double)n * (double)(n + 1) / 2;
        struct job job = {run_attention, b, 4.0 * H * (double)cases[i].head_size * scores};
        struct paired result = paired_measure(&job, sgemm);
        char shape[64];
        snprintf(shape, sizeof shape, "pos %zu n %zu H 16 G 8 D %zu", pos, n, cases[i].head_size);
        paired_print("attention", shape, &result, "GFLOP/s", "sgemm 2048^3");
        free(b->cache.k), free(b->cache.v);
    }
}

static void bench_operations(struct bench *fast, struct bench *plain)
{
    cache_init(&fast->cache, N, D);
    plain->cache = fast->cache;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        struct job job = {operations[i].run, fast, operations[i].bytes},
                   reference = {operations[i].run, plain, operations[i].bytes};
        struct paired result = paired_measure(&job, &reference);
        paired_print(operations[i].op, operations[i].shape, &result, "GB/s", "plain");
    }
    free(fast->cache.k), free(fast->cache.v);
}

int main(int argc, char **argv)
{
    char cpu[64];
    const struct kernels *k = kernels_select(argc > 1 ? argv[1] : NULL);
    if (!k) {
        fprintf(stderr, "bench-kernels: this CPU has no kernels named '%s'; there are plain, avx2, avx512\n",
                argc > 1 ? argv[1] : "");
        return 1;
    }
    printf("# %s; kernels %s; %s\n", kernels_cpu_name(cpu, sizeof cpu), k->name, kernels_blas_config());
    paired_header();
    struct bench fast = {
        .kernels = k, .a = numbers(N * 2 * F), .b = numbers(N * 2 * F), .c = numbers(N * 2 * F)};
    fast.cos = numbers(N * D / 2), fast.sin = numbers(N * D / 2);
    for (size_t i = 0; i < N * D / 2; i++) fast.cos[i] = cosf((float)i), fast.sin[i] = sinf((float)i);
    for (size_t i = 0; i < D; i++) fast.ones[i] = 1;
    fast.half = (uint16_t *)(void *)numbers(N * C / 2);
    struct bench plain = fast;
    plain.kernels = kernels_select("plain");
    struct job sgemm = {run_sgemm, &fast, 2.0 * CUBE * CUBE * CUBE};
    bench_attention(&fast, &sgemm);
    bench_operations(&fast, &plain);
    free(fast.a), free(fast.b), free(fast.c), free(fast.cos), free(fast.sin), free(fast.half);
    return 0;
}
