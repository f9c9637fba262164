/* bench-m2bert: one document through M2-BERT-80M (random weights), split by matrix products, transforms and
 * the rest, over OpenBLAS sgemm on the same cores.
 *
 *   bench-m2bert [--context 32768] [--tokens 32768] [--blocks 12] [--passes 3] [--threads 1]
 *                [--filter-memory MiB] [--write DIR]
 *
 * A 2048^3 sgemm runs after every block (on every thread, when there are several), so that a busy machine
 * disturbs both alike; it is not in the figures. One thread: CPU time on both sides; several: wall time. The
 * first pass makes the filters and is told apart. Work is nominal: matrices 2 (4 C^2 + 6 C F / 4 / 2) a
 * token, four real transforms of 2 L points and a product of spectra a channel and block; what is computed
 * twice counts once. Kernels are timed by wrapping their table; the wrappers are in the figures. */
#include "kernels/longconv.h"
#include "nn/model.h"
#include "nn/pages.h"
#include "tests/support/m2bert_model.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { GEMM = 2048, PASSES_MAX = 32, MIB = 1 << 20 };

struct settings {
    const char *write; /* only make the model, in this new directory */
    size_t context, tokens, blocks, passes, threads, filter_memory;
};

static void die(const struct thea_err *err)
{
    fprintf(stderr, "bench-m2bert: %s\n", thea_err_message(err));
    exit(thea_exit_status(err->rc));
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- kernels, timed --- */

typedef enum { PRODUCTS, GEGLU, TRANSFORMS, SPECTRA, SHORTGATE, LAYERNORM, OPS } op;
static _Atomic uint64_t op_nanoseconds[OPS];
static const struct kernels *real;

#define TIMED(op, call)                                                                                      \
    do {                                                                                                     \
        double begin_ = seconds_of(CLOCK_THREAD_CPUTIME_ID);                                                 \
        call;                                                                                                \
        op_nanoseconds[op] += (uint64_t)(1e9 * (seconds_of(CLOCK_THREAD_CPUTIME_ID) - begin_));              \
    } while (0)

static void timed_gemm(float *y, size_t ldy, const float *x, size_t ldx, const struct gemm_weights *w,
                       size_t M, size_t n0, size_t n1, gemm_epilogue epilogue, float *scratch)
{
    TIMED(PRODUCTS, real->gemm(y, ldy, x, ldx, w, M, n0, n1, epilogue, scratch));
}
static void timed_geglu(float *y, size_t ldy, const float *xg, const float *xu, size_t ldx,
                        const struct gemm_weights *gate, const struct gemm_weights *up, size_t M, size_t n0,
                        size_t n1, float *scratch)
{
    TIMED(GEGLU, real->gemm_geglu(y, ldy, xg, xu, ldx, gate, up, M, n0, n1, scratch));
}
static void timed_forward(const struct longconv_output *y, const struct longconv_input *x,
                          const float *spectrum, const struct fft_plan *plan, size_t L, size_t channels,
                          float *scratch)
{
    TIMED(TRANSFORMS, real->longconv->forward(y, x, spectrum, plan, L, channels, scratch));
}
static void timed_spectrum(float *spectrum, const struct fft_plan *plan,
                           const struct longconv_kernel kernels[2], size_t n, size_t channels, float *scratch)
{
    TIMED(SPECTRA, real->longconv->spectrum(spectrum, plan, kernels, n, channels, scratch));
}
static void timed_shortgate(float *g, float *x2, size_t ldy, const float *a, const float *w,
                            const float *bias, size_t N, size_t B, size_t columns)
{
    TIMED(SHORTGATE, real->shortgate_forward(g, x2, ldy, a, w, bias, N, B, columns));
}
static void timed_layernorm(float *y, float *mean, float *rstd, const float *x, const float *r,
                            const float *w, const float *b, size_t N, size_t C, float eps)
{
    TIMED(LAYERNORM, real->layernorm_forward(y, mean, rstd, x, r, w, b, N, C, eps));
}

static struct kernels wrap(const struct kernels *k)
{
    static struct longconv_kernels convolution;
    struct kernels t = *k;
    real = k;
    convolution = *k->longconv;
    convolution.forward = timed_forward;
    convolution.spectrum = timed_spectrum;
    t.longconv = &convolution;
    t.gemm = timed_gemm;
    t.gemm_geglu = timed_geglu;
    t.shortgate_forward = timed_shortgate;
    t.layernorm_forward = timed_layernorm;
    return t;
}

/* --- the reference: a product on every thread at once --- */

struct bench {
    struct settings s;
    struct workers *workers;
    struct model *model;
    clockid_t clock;
    float *x, *a, *b, *c; /* c: one a thread */
    int32_t *tokens;
    double sgemm_seconds; /* of this pass */
    size_t sgemms;
};

static void sgemm_task(void *context, int i, int count)
{
    const struct bench *b = context;
    (void)count;
    real->matmul(b->c + (size_t)i * GEMM * GEMM, GEMM, b->a, GEMM, b->b, GEMM, GEMM, GEMM, GEMM, 0);
}

static void sgemm(void *context)
{
    struct bench *b = context;
    double begin = seconds_of(b->clock);
    workers_run(b->workers, sgemm_task, b);
    b->sgemm_seconds += seconds_of(b->clock) - begin;
    b->sgemms++;
}

/* --- measuring --- */

struct pass {
    double seconds, sgemm, ops[OPS]; /* sgemm: GFLOP/s */
};

static struct pass run_pass(struct bench *b)
{
    struct pass p = {0};
    struct thea_err err;
    struct span whole = {0, b->s.tokens};
    for (int i = 0; i < OPS; i++) op_nanoseconds[i] = 0;
    b->sgemm_seconds = 0;
    b->sgemms = 0;
    double begin = seconds_of(b->clock);
    if (model_embed(b->model, b->x, b->tokens, NULL, b->s.tokens, 0, &err) != THEA_OK ||
        model_encode(b->model, b->x, b->s.tokens, &whole, 1, NULL, NULL, &err) != THEA_OK)
        die(&err);
    p.seconds = seconds_of(b->clock) - begin - b->sgemm_seconds;
    p.sgemm = 2e-9 * GEMM * GEMM * GEMM * (double)(b->sgemms * b->s.threads) / b->sgemm_seconds;
    for (int i = 0; i < OPS; i++) p.ops[i] = 1e-9 * (double)op_nanoseconds[i] / (double)b->s.threads;
    return p;
}

struct work {
    double products, transforms; /* GFLOP of a document */
};

static struct work work_of(const struct bench *b)
{
    const struct model_info *info = model_info(b->model);
    double T = (double)b->s.tokens, C = (double)info->hidden, F = (double)info->feed_forward,
           N = (double)longconv_size(b->s.tokens), blocks = (double)info->blocks;
    return (struct work){1e-9 * T * blocks * (8 * C * C + 6 * C * F / 4),
                         1e-9 * blocks * C * (4 * 2.5 * N * log2(N) + 14 * N / 2)};
}

static int by_seconds(const void *a, const void *b)
{
    double x = ((const struct pass *)a)->seconds * ((const struct pass *)a)->sgemm,
           y = ((const struct pass *)b)->seconds * ((const struct pass *)b)->sgemm;
    return (x > y) - (x < y);
}

static void print_row(const char *name, double seconds, double total, double gflop, double reference)
{
    printf("%-24s %9.2f %6.1f%%", name, seconds, 100 * seconds / total);
    if (gflop > 0) printf(" %9.1f %9.1f %7.3f", gflop, gflop / seconds, gflop / seconds / reference);
    putchar('\n');
}

static void print_pass(const struct bench *b, const struct pass *p)
{
    struct work w = work_of(b);
    double products = p->ops[PRODUCTS] + p->ops[GEGLU], rest = p->seconds - products - p->ops[TRANSFORMS];
    printf("sgemm %.1f GFLOP/s\n%-24s %9s %7s %9s %9s %7s\n", p->sgemm, "", "seconds", "share", "GFLOP",
           "GFLOP/s", "ratio");
    print_row("matrix products", products, p->seconds, w.products, p->sgemm);
    print_row("long convolutions", p->ops[TRANSFORMS], p->seconds, w.transforms, p->sgemm);
    print_row("rest", rest, p->seconds, 0, 1);
    print_row("  of it spectra", p->ops[SPECTRA], p->seconds, 0, 1);
    print_row("  short conv and gate", p->ops[SHORTGATE], p->seconds, 0, 1);
    print_row("  layernorm", p->ops[LAYERNORM], p->seconds, 0, 1);
    print_row("whole document", p->seconds, p->seconds, w.products + w.transforms, p->sgemm);
}

static void measure(struct bench *b)
{
    struct pass passes[PASSES_MAX];
    sgemm(b);
    struct pass first = run_pass(b);
    printf("\nfirst document, filters made: %.2f s\n", first.seconds);
    for (size_t i = 0; i < b->s.passes; i++) passes[i] = run_pass(b);
    qsort(passes, b->s.passes, sizeof *passes, by_seconds);
    printf("the next, the median of %zu: ", b->s.passes);
    print_pass(b, &passes[b->s.passes / 2]);
}

static void fill(struct bench *b)
{
    size_t C = model_info(b->model)->hidden, V = model_info(b->model)->vocab, square = (size_t)GEMM * GEMM;
    b->x = pages_new(b->s.tokens * C * sizeof(float));
    b->a = aligned_alloc(64, sizeof(float) * square);
    b->b = aligned_alloc(64, sizeof(float) * square);
    b->c = aligned_alloc(64, sizeof(float) * square * b->s.threads);
    b->tokens = calloc(b->s.tokens, sizeof *b->tokens);
    if (b->x == NULL || b->a == NULL || b->b == NULL || b->c == NULL || b->tokens == NULL) abort();
    for (size_t i = 0; i < square; i++) b->a[i] = b->b[i] = (float)(i % 17) - 8;
    for (size_t i = 0; i < b->s.tokens; i++) b->tokens[i] = (int32_t)(i * 7919 % V);
}

static size_t number(const char *text, size_t least, size_t most)
{
    long v = atol(text);
    if (v < (long)least || (size_t)v > most) {
        fprintf(stderr, "bench-m2bert: '%s': expected %zu to %zu\n", text, least, most);
        exit(64);
    }
    return (size_t)v;
}

static struct settings parse(int argc, char **argv)
{
    struct settings s = {.context = 32768, .blocks = 12, .passes = 3, .threads = 1, .filter_memory = 8192};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--context") == 0)
            s.context = number(value, 1, 65536);
        else if (strcmp(argv[i], "--tokens") == 0)
            s.tokens = number(value, 1, 65536);
        else if (strcmp(argv[i], "--blocks") == 0)
            s.blocks = number(value, 1, 240);
        else if (strcmp(argv[i], "--passes") == 0)
            s.passes = number(value, 1, PASSES_MAX);
        else if (strcmp(argv[i], "--threads") == 0)
            s.threads = number(value, 1, 256);
        else if (strcmp(argv[i], "--filter-memory") == 0)
            s.filter_memory = number(value, 0, 1 << 20);
        else if (strcmp(argv[i], "--write") == 0)
            s.write = value;
    }
    if (s.tokens == 0 || s.tokens > s.context) s.tokens = s.context;
    return s;
}

static void open_model(struct bench *b, const char *dir, const struct kernels *kernels)
{
    struct thea_err err;
    if (workers_new(&b->workers, (int)b->s.threads, &err) != THEA_OK ||
        model_open(&b->model, dir, 0, SIZE_MAX, b->workers, kernels, &err) != THEA_OK ||
        model_limit_filters(b->model, (uint64_t)b->s.filter_memory * MIB, &err) != THEA_OK) {
        m2bert_model_remove(dir);
        die(&err);
    }
    model_on_block(b->model, sgemm, b);
}

int main(int argc, char **argv)
{
    struct bench b = {.s = parse(argc, argv)};
    b.clock = b.s.threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    char cpu[128], dir[] = "/tmp/thea-bench-XXXXXX";
    struct m2bert_model shape = m2bert_published(b.s.context);
    shape.blocks = b.s.blocks;
    if (b.s.write != NULL) {
        if (mkdir(b.s.write, 0755) != 0) return 73;
        m2bert_model_write(b.s.write, &shape);
        return 0;
    }
    const struct kernels *kernels = kernels_select(NULL);
    if (kernels == NULL || mkdtemp(dir) == NULL) return 71;
    m2bert_model_write(dir, &shape);
    struct kernels timed = wrap(kernels);
    open_model(&b, dir, &timed);
    m2bert_model_remove(dir); /* it stays mapped */
    printf("%s, kernels %s, OpenBLAS %s\nM2-BERT-80M shape for %zu positions, %zu blocks, %zu tokens, %zu "
           "thread%s, %s time, filters in %zu MiB\n",
           kernels_cpu_name(cpu, sizeof cpu), kernels->name, kernels_blas_config(), b.s.context, b.s.blocks,
           b.s.tokens, b.s.threads, b.s.threads > 1 ? "s" : "", b.s.threads > 1 ? "wall" : "CPU",
           b.s.filter_memory);
    fill(&b);
    measure(&b);
    model_close(b.model);
    workers_free(b.workers);
    pages_free(b.x, b.s.tokens * shape.hidden * sizeof *b.x);
    free(b.a), free(b.b), free(b.c), free(b.tokens);
    return 0;
}
