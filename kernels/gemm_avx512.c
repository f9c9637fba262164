/* The packed product on AVX-512: tiles of 14 rows and 32 columns, 28 registers of sums. */
#include "kernels/vec_avx512.h"

#define TILE            14
#define ROWS            (12 * TILE) /* 516 KB of rows, in a second-level cache of 1 MB */
#define TILE_KERNELS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)

enum { LANES = 16 };

/* Four columns of rows j, j + 4, j + 8 and j + 12. */
VEC __m512 four_rows(const float *const *row, size_t j, size_t k)
{
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(row[j] + k));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(row[j + 4] + k), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(row[j + 8] + k), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(row[j + 12] + k), 3);
}

/* a [4, rows] = columns k to k + 3 of 16 rows; what lies beyond `rows` is overwritten later. */
VEC void transpose(float *a, const float *const *row, size_t k, size_t rows)
{
    __m512 r0 = four_rows(row, 0, k), r1 = four_rows(row, 1, k), r2 = four_rows(row, 2, k),
           r3 = four_rows(row, 3, k);
    __m512d lo01 = _mm512_castps_pd(_mm512_unpacklo_ps(r0, r1)),
            hi01 = _mm512_castps_pd(_mm512_unpackhi_ps(r0, r1)),
            lo23 = _mm512_castps_pd(_mm512_unpacklo_ps(r2, r3)),
            hi23 = _mm512_castps_pd(_mm512_unpackhi_ps(r2, r3));
    _mm512_storeu_ps(a, _mm512_castpd_ps(_mm512_unpacklo_pd(lo01, lo23)));
    _mm512_storeu_ps(a + rows, _mm512_castpd_ps(_mm512_unpackhi_pd(lo01, lo23)));
    _mm512_storeu_ps(a + 2 * rows, _mm512_castpd_ps(_mm512_unpacklo_pd(hi01, hi23)));
    _mm512_storeu_ps(a + 3 * rows, _mm512_castpd_ps(_mm512_unpackhi_pd(hi01, hi23)));
}

#include "kernels/gemm_simd.h"
