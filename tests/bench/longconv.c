/* bench-longconv [TABLE] [forward|backward|filters]…: the long convolution of one channel group (two
 * sequences of M2-BERT's 768 channels, in memory as its mixer has them) against the multiply-add peak of this
 * core, KissFFT, the plain table and the direct sum; and how long making all filters of the 32k model takes.
 * FLOP are counted nominally: 5 N log2 N for each of the two complex transforms of N = 2 L points. */
#include "kernels/longconv.h"
#include "nn/filter.h"
#include "tests/bench/peak.h"
#include <sys/mman.h>
#if defined(THEA_KISSFFT)
#include <kiss_fftr.h>
#endif

enum { C = 768, BLOCKS = 12, BLOCK = 16 /* channels of which the mixer keeps all rows together */ };

struct bench {
    const struct longconv_kernels *k;
    struct fft_plan plan;
    size_t L, group; /* group: the next one; they take turns, as in a model */
    float *factors, *a, *b, *gate, *spectra, *gradient, *scratch, *kernels;
};

static float *pages(size_t n)
{
    size_t bytes = (n * sizeof(float) + (2u << 20) - 1) / (2u << 20) * (2u << 20);
    float *p = aligned_alloc(2u << 20, bytes);
    if (!p) {
        fputs("bench-longconv: out of memory\n", stderr);
        exit(1);
    }
    madvise(p, bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < bytes / sizeof *p; i++)
        p[i] = (float)((i * 2654435761u) >> 16 & 1023) * 0x1p-9f - 1;
    return p;
}

enum { SPECTRA = 6 /* kept: more than caches hold at 32k */ };

static void bench_init(struct bench *b, const struct kernels *k, size_t L)
{
    size_t N = longconv_size(L), lanes = k->longconv->lanes;
    *b = (struct bench){.k = k->longconv, .L = L};
    b->factors = pages(fft_plan_floats(N));
    fft_plan_init(&b->plan, N, b->factors);
    b->a = pages(L * C), b->b = pages(L * C), b->gate = pages(L * C), b->kernels = pages(L * lanes);
    b->spectra = pages(SPECTRA * b->k->spectrum_floats(N)), b->gradient = pages(b->k->spectrum_floats(N));
    b->scratch = pages(2 * b->k->scratch_floats(N));
    memset(b->kernels, 0, L * lanes * sizeof(float));
    for (size_t c = 0; c < lanes; c++)
        b->kernels[c] = 0.5f; /* fwd gives back half its input: outputs are inputs again, and stay numbers */
    struct longconv_kernel one = {b->kernels, b->kernels + lanes, lanes, NULL}, both[2] = {one, one};
    for (size_t i = 0; i < SPECTRA; i++)
        b->k->spectrum(b->spectra + i * b->k->spectrum_floats(N), &b->plan, both, L - 1, lanes, b->scratch);
}

static void bench_fini(struct bench *b)
{
    free(b->factors), free(b->a), free(b->b), free(b->gate), free(b->kernels);
    free(b->spectra), free(b->gradient), free(b->scratch);
}

/* The first channel of the next group. */
static size_t next_channel(struct bench *b)
{
    return b->group++ % (C / b->k->lanes) * b->k->lanes;
}

static const float *next_spectrum(const struct bench *b)
{
    return b->spectra + b->group % SPECTRA * b->k->spectrum_floats(b->plan.N);
}

static void run_forward(void *context)
{
    struct bench *b = context;
    size_t c = next_channel(b), at = c / BLOCK * BLOCK * b->L + c % BLOCK;
    struct longconv_input in = {b->a + at, b->b + c, BLOCK, C};
    struct longconv_output out = {.a = b->a + at, .lda = BLOCK, .gate = b->gate + at, .ldgate = BLOCK};
    b->k->forward(&out, &in, next_spectrum(b), &b->plan, b->L, b->k->lanes, b->scratch);
}

static void run_backward(void *context)
{
    struct bench *b = context;
    size_t c = next_channel(b);
    struct longconv_input in = {b->a + c, b->b + c, C, C};
    struct longconv_output out = {b->a + c, b->b + c, C, C, NULL, 0};
    b->k->backward(&out, b->gradient, &in, &in, next_spectrum(b), &b->plan, b->L, b->k->lanes, b->scratch);
}

static void run_direct(void *context) /* one channel of both */
{
    struct bench *b = context;
    struct longconv_kernel k = {b->kernels, b->kernels, 1, NULL};
    longconv_direct_forward(b->scratch, 1, b->a, C, &k, b->L, b->L, 1);
    longconv_direct_forward(b->scratch, 1, b->b, C, &k, b->L, b->L, 1);
}

static double nominal(const struct bench *b)
{
    return 2 * 5.0 * (double)b->plan.N * log2((double)b->plan.N);
}

#if defined(THEA_KISSFFT)
/* One channel of both sequences as its users do it: real transforms, product, back. Channels are contiguous.
 */
struct kiss {
    kiss_fftr_cfg forward, inverse;
    float *time;
    kiss_fft_cpx *kernel, *spectrum;
    size_t N;
};

static void run_kiss(void *context)
{
    struct kiss *k = context;
    for (int sequence = 0; sequence < 2; sequence++) {
        memset(k->time + k->N / 2, 0, k->N / 2 * sizeof(float));
        kiss_fftr(k->forward, k->time, k->spectrum);
        for (size_t i = 0; i <= k->N / 2; i++) {
            kiss_fft_cpx x = k->spectrum[i], w = k->kernel[i];
            k->spectrum[i] = (kiss_fft_cpx){x.r * w.r - x.i * w.i, x.r * w.i + x.i * w.r};
        }
        kiss_fftri(k->inverse, k->spectrum, k->time);
    }
}

static void against_kiss(const char *shape, const struct job *job, const struct bench *b)
{
    size_t N = b->plan.N;
    struct kiss k = {kiss_fftr_alloc((int)N, 0, NULL, NULL),
                     kiss_fftr_alloc((int)N, 1, NULL, NULL),
                     pages(N),
                     (void *)pages(N + 2),
                     (void *)pages(N + 2),
                     N};
    for (size_t i = 0; i <= N / 2; i++) k.kernel[i] = (kiss_fft_cpx){0.5f / (float)N, 0.5f / (float)N};
    struct job kiss = {run_kiss, &k, nominal(b)};
    struct paired p = paired_measure(job, &kiss);
    paired_print("longconv", shape, &p, "GFLOP/s", "kissfft");
    kiss_fftr_free(k.forward), kiss_fftr_free(k.inverse);
    free(k.time), free(k.kernel), free(k.spectrum);
}
#else
static void against_kiss(const char *shape, const struct job *job, const struct bench *b)
{
    (void)shape, (void)job, (void)b;
}
#endif

static void compare(const char *op, const char *shape, const struct job *job, const struct job *reference,
                    const char *to)
{
    struct paired p = paired_measure(job, reference);
    paired_print(op, shape, &p, "GFLOP/s", to);
}

static void bench_length(const struct kernels *k, const struct job *peak, size_t L, bool backward)
{
    struct bench b, plain;
    char shape[100];
    bench_init(&b, k, L);
    bench_init(&plain, kernels_select("plain"), L);
    struct job job = {run_forward, &b, nominal(&b) * (double)b.k->lanes};
    struct job plain_job = {run_forward, &plain, nominal(&plain) * (double)plain.k->lanes};
    struct job direct = {run_direct, &b, nominal(&b)};
    if (backward) job = (struct job){run_backward, &b, 2 * job.work};
    struct paired p = paired_measure(&job, peak);
    snprintf(shape, sizeof shape, "%s L %zu, %zu channels, %.3f ms", k->name, L, b.k->lanes,
             job.work / p.rate * 1e3);
    paired_print(backward ? "backward" : "longconv", shape, &p, "GFLOP/s", "multiply-add peak");
    if (!backward) {
        against_kiss(shape, &job, &b);
        if (k != kernels_select("plain")) compare("longconv", shape, &job, &plain_job, "plain");
        if (L <= 2048) compare("longconv", shape, &job, &direct, "direct");
    }
    bench_fini(&b), bench_fini(&plain);
}

/* --- Filters */

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void filter_weights(struct filter *f, const float *random)
{
    const struct filter_network net = {{random, random, random + 9, random + 77},
                                       {random, random + 5, random + 3}};
    *f = (struct filter){random, random, random, random, random, net, net};
}

static void bench_filters(const struct kernels *k, size_t L, int threads)
{
    struct filter_shape shape = {C, 5, 128, L};
    struct filter filters[2];
    struct filter_bank *bank;
    struct workers *workers;
    struct filter_use use;
    struct thea_err err;
    float *random = pages(L * 5 + C * 128 + 100);
    for (size_t i = 0; i < 2; i++) filter_weights(&filters[i], random);
    if (workers_new(&workers, threads, &err) != THEA_OK ||
        filter_bank_new(&bank, &shape, 1, UINT64_MAX, k, workers, &err) != THEA_OK) {
        fprintf(stderr, "bench-longconv: %s\n", thea_err_message(&err));
        exit(1);
    }
    double wall = INFINITY, cpu = INFINITY;
    for (int i = 0; i < 3; i++) {
        filter_bank_set(bank, 0, filters);
        double start = seconds(CLOCK_MONOTONIC), used = seconds(CLOCK_PROCESS_CPUTIME_ID);
        if (filter_bank_begin(bank, 0, L, &use, &err) != THEA_OK) exit(1);
        wall = fmin(wall, seconds(CLOCK_MONOTONIC) - start);
        cpu = fmin(cpu, seconds(CLOCK_PROCESS_CPUTIME_ID) - used);
    }
    double flop = 2.0 * (double)L * 4 * (5 * 128 + 2 * 128 * 128 + 128.0 * C);
    printf("filters\t%s L %zu, %d threads\t%.2f\tGFLOP/s of CPU time, double\t%.2f s for %d blocks (%.2f s "
           "of CPU)\n",
           k->name, L, threads, flop / cpu / 1e9, wall * BLOCKS, BLOCKS, cpu * BLOCKS);
    filter_bank_free(bank);
    workers_free(workers);
    free(random);
}

static bool asked(int argc, char **argv, const char *word)
{
    bool any = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], word) == 0) return true;
        any = any || strcmp(argv[i], "forward") == 0 || strcmp(argv[i], "backward") == 0 ||
              strcmp(argv[i], "filters") == 0;
    }
    return !any;
}

int main(int argc, char **argv)
{
    static const size_t lengths[] = {512, 2048, 8192, 32768};
    const struct kernels *k = NULL;
    for (int i = 1; i < argc && !k; i++) k = kernels_select(argv[i]);
    if (!k) k = kernels_select(NULL);
    char name[100], features[200];
    printf("# %s; %s\n", kernels_cpu_name(name, sizeof name),
           kernels_cpu_features(features, sizeof features));
    struct job peak = peak_job(k->name);
    struct paired p = paired_measure(&peak, &peak);
    printf("# multiply-add peak of one core: %.1f GFLOP/s\n", p.rate / 1e9);
    paired_header();
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        if (asked(argc, argv, "forward")) bench_length(k, &peak, lengths[i], false);
        if (asked(argc, argv, "backward")) bench_length(k, &peak, lengths[i], true);
    }
    for (int threads = 1; threads <= 2 && asked(argc, argv, "filters"); threads++)
        bench_filters(k, 32768, threads);
    return 0;
}
