/* The multiply-adds that one core can do: as many independent chains as registers hold. */
#ifndef TESTS_BENCH_PEAK_H
#define TESTS_BENCH_PEAK_H

#include "tests/bench/paired.h"
#include <string.h>

enum { PEAK_ROUNDS = 1 << 16, PEAK_CHAINS = 12 };

static volatile float peak_seed = 0.5f;

#if defined(__x86_64__)
#include <immintrin.h>

#define PEAK_BODY(type, set, fma, store)                                                                     \
    type x = set(peak_seed), y = set(0.25f), sum[PEAK_CHAINS];                                               \
    float out[16];                                                                                           \
    for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = set((float)i);                                            \
    for (int n = 0; n < PEAK_ROUNDS; n++) {                                                                  \
        _Pragma("GCC unroll 16") for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = fma(sum[i], x, y);           \
    }                                                                                                        \
    for (int i = 1; i < PEAK_CHAINS; i++) sum[0] = fma(sum[0], x, sum[i]);                                   \
    store(out, sum[0]);                                                                                      \
    peak_seed = out[0] > 1e30f ? 0.25f : 0.5f;

__attribute__((target("avx512f"))) static void peak_avx512(void *unused)
{
    (void)unused;
    PEAK_BODY(__m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps)
}
__attribute__((target("avx2,fma"))) static void peak_avx2(void *unused)
{
    (void)unused;
    PEAK_BODY(__m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps)
}
#endif

/* Without such instructions: four multiplications and additions at a time. */
static inline void peak_plain(void *unused)
{
    (void)unused;
    typedef float four __attribute__((vector_size(16)));
    four x = {peak_seed, peak_seed, peak_seed, peak_seed}, sum[PEAK_CHAINS];
    for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = x;
    for (int n = 0; n < PEAK_ROUNDS; n++)
        for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = sum[i] * x + x;
    for (int i = 1; i < PEAK_CHAINS; i++) sum[0] += sum[i];
    peak_seed = sum[0][0] > 1e30f ? 0.25f : 0.5f;
}

/* With the instructions that the kernels' table of this name uses. */
static inline struct job peak_job(const char *table)
{
    double round = 2.0 * PEAK_ROUNDS * PEAK_CHAINS;
#if defined(__x86_64__)
    if (strcmp(table, "avx512") == 0) return (struct job){peak_avx512, NULL, round * 16};
    if (strcmp(table, "avx2") == 0) return (struct job){peak_avx2, NULL, round * 8};
#else
    (void)table;
#endif
    return (struct job){peak_plain, NULL, round * 4};
}

#endif
