/* The packed product on AVX2: tiles of 6 rows and 16 columns, 12 registers of sums. */
#include "kernels/vec_avx2.h"

#define TILE            6
#define ROWS            (22 * TILE) /* 405 KB of rows, in a second-level cache of 512 KB */
#define TILE_KERNELS(X) X(1) X(2) X(3) X(4) X(5) X(6)

enum { LANES = 8 };

/* Four columns of rows j and j + 4. */
VEC __m256 two_rows(const float *const *row, size_t j, size_t k)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(row[j] + k)),
                                _mm_loadu_ps(row[j + 4] + k), 1);
}

/* a [4, rows] = columns k to k + 3 of 8 rows; what lies beyond `rows` is overwritten later. */
VEC void transpose(float *a, const float *const *row, size_t k, size_t rows)
{
    __m256 r0 = two_rows(row, 0, k), r1 = two_rows(row, 1, k), r2 = two_rows(row, 2, k),
           r3 = two_rows(row, 3, k);
    __m256d lo01 = _mm256_castps_pd(_mm256_unpacklo_ps(r0, r1)),
            hi01 = _mm256_castps_pd(_mm256_unpackhi_ps(r0, r1)),
            lo23 = _mm256_castps_pd(_mm256_unpacklo_ps(r2, r3)),
            hi23 = _mm256_castps_pd(_mm256_unpackhi_ps(r2, r3));
    _mm256_storeu_ps(a, _mm256_castpd_ps(_mm256_unpacklo_pd(lo01, lo23)));
    _mm256_storeu_ps(a + rows, _mm256_castpd_ps(_mm256_unpackhi_pd(lo01, lo23)));
    _mm256_storeu_ps(a + 2 * rows, _mm256_castpd_ps(_mm256_unpacklo_pd(hi01, hi23)));
    _mm256_storeu_ps(a + 3 * rows, _mm256_castpd_ps(_mm256_unpackhi_pd(hi01, hi23)));
}

#include "kernels/gemm_simd.h"
