/* For the tests of kernels: the tables that run here, numbers to feed them, buffers that notice writes
 * outside, and what counts as equal. */
#ifndef TESTS_KERNELS_CHECK_H
#define TESTS_KERNELS_CHECK_H

#include "kernels/kernels.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Around every vector width and unrolling. */
static const size_t check_sizes[] = {1,  2,  3,  7,  8,   9,   15,  16,  17,   31,  32,
                                     33, 63, 64, 65, 100, 127, 128, 255, 1024, 1027};

static const char *const check_table_names[] = {"plain", "avx2", "avx512"};

/* for each table of this CPU: struct kernels *k. The plain one is among them: it is held against the same
 * formulas. */
#define FOR_EACH_TABLE(k)                                                                                    \
    for (size_t table_index = 0; table_index < COUNT(check_table_names); table_index++)                      \
        for (const struct kernels *k = kernels_select(check_table_names[table_index]); k; k = NULL)

static inline float check_random(uint64_t *state) /* uniform in [-1, 1) */
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*state >> 32) * 0x1p-31f;
}

static inline void check_fill(float *x, size_t n, uint64_t seed, float scale)
{
    for (size_t i = 0; i < n; i++) x[i] = check_random(&seed) * scale;
}

/* n floats whose address is `skew` elements past a 64-byte boundary, between two stretches of a pattern. */
struct guarded {
    float *data;
    size_t n;
    unsigned char *block;
    size_t bytes;
};
enum { GUARD_BYTES = 256 };

static inline struct guarded guarded_new(size_t n, size_t skew)
{
    struct guarded g = {.n = n, .bytes = (2 * GUARD_BYTES + (n + skew) * sizeof(float) + 63) / 64 * 64};
    g.block = aligned_alloc(64, g.bytes);
    cr_assert_not_null(g.block);
    memset(g.block, 0xa5, g.bytes);
    g.data = (float *)(void *)(g.block + GUARD_BYTES) + skew;
    return g;
}

static inline bool guarded_intact(const struct guarded *g)
{
    const unsigned char *begin = (const unsigned char *)g->data,
                        *end = (const unsigned char *)(g->data + g->n);
    for (const unsigned char *p = g->block; p < begin; p++)
        if (*p != 0xa5) return false;
    for (const unsigned char *p = end; p < g->block + g->bytes; p++)
        if (*p != 0xa5) return false;
    return true;
}

static inline void guarded_free(struct guarded *g)
{
    free(g->block);
    *g = (struct guarded){0};
}

static inline bool check_close(double a, double b, double relative, double absolute)
{
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b)) return a == b;
    return fabs(a - b) <= absolute + relative * fmax(fabs(a), fabs(b));
}

/* The first index at which they differ; n when none does. */
static inline size_t check_differs(const float *a, const float *b, size_t n, double relative, double absolute)
{
    size_t i = 0;
    while (i < n && check_close(a[i], b[i], relative, absolute)) i++;
    return i;
}

#define EXPECT_CLOSE(a, b, n, relative, absolute, ...)                                                       \
    do {                                                                                                     \
        size_t at_ = check_differs(a, b, n, relative, absolute);                                             \
        char what_[160];                                                                                     \
        snprintf(what_, sizeof what_, __VA_ARGS__);                                                          \
        if (at_ < (n))                                                                                       \
            cr_assert_fail("%s: element %zu is %.9g, expected %.9g", what_, at_, (double)(a)[at_],           \
                           (double)(b)[at_]);                                                                \
    } while (0)

#endif
