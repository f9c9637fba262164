/* vec on AVX-512: sixteen floats in one register. vec_avx2.h has the same functions; the bodies of the fast
 * kernels (<op>_simd.h) are written once over them. Another instruction set is another such header. */
#ifndef KERNELS_VEC_AVX512_H
#define KERNELS_VEC_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL(name) name##_avx512
#define VEC          static inline __attribute__((always_inline))

typedef __m512 vec;
enum { VEC_ABREAST = 4 }; /* as many may be computed side by side in registers */

VEC __mmask16 vec_first(size_t n)
{
    return (__mmask16)((1u << n) - 1);
} /* lanes below n <= 16 */

VEC vec vec_zero(void)
{
    return _mm512_setzero_ps();
}
VEC vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}
VEC vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
VEC void vec_store(float *p, vec a)
{
    _mm512_storeu_ps(p, a);
}
VEC void vec_prefetch(const float *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T0);
}
/* The first n <= 16 floats; nothing else is touched. Lanes from n on are 0. */
VEC vec vec_load_first(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(vec_first(n), p);
}
VEC void vec_store_first(float *p, vec a, size_t n)
{
    _mm512_mask_storeu_ps(p, vec_first(n), a);
}
VEC vec vec_load_bf16(const uint16_t *p)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p)), 16));
}
VEC vec vec_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

VEC vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}
VEC vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}
VEC vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}
VEC vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}
VEC vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
} /* a * b + c */
VEC vec vec_fnma(vec a, vec b, vec c)
{
    return _mm512_fnmadd_ps(a, b, c);
} /* c - a * b */
VEC vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
} /* b if either is NaN */
VEC vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
} /* b if either is NaN */
VEC vec vec_round(vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* Lanes below n from a, the others from b. */
VEC vec vec_select_first(size_t n, vec a, vec b)
{
    return _mm512_mask_blend_ps(vec_first(n), b, a);
}
/* Lanes where a is b from x, the others from y. */
VEC vec vec_select_equal(vec a, vec b, vec x, vec y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), y, x);
}
/* Lanes where a's sign bit is set from x, the others from y. */
VEC vec vec_select_negative(vec a, vec x, vec y)
{
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(a)), y, x);
}
/* a * 2^n for whole n, rounded once. */
VEC vec vec_scale2(vec a, vec n)
{
    return _mm512_scalef_ps(a, n);
}
/* a * 2^n where t is not below limit (NaN is not), exactly 0 elsewhere. n is in [limit - 1, 1] where it
 * counts, and limit > -126. */
VEC vec vec_scale2_above(vec a, vec n, vec t, vec limit)
{
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(t, limit, _CMP_NLT_UQ), a, n);
}

/* to [4] (stride floats apart) = columns k to k + 3 of TRANSPOSED rows, side by side. */
enum { TRANSPOSED = 16 };
VEC __m512 vec_four_rows(const float *const *row, size_t i, size_t k) /* four columns of rows i, i + 4, … */
{
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(row[i] + k));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(row[i + 4] + k), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(row[i + 8] + k), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(row[i + 12] + k), 3);
}
VEC void vec_transpose4(float *to, size_t stride, const float *const *row, size_t k)
{
    __m512 r0 = vec_four_rows(row, 0, k), r1 = vec_four_rows(row, 1, k), r2 = vec_four_rows(row, 2, k),
           r3 = vec_four_rows(row, 3, k);
    __m512d lo01 = _mm512_castps_pd(_mm512_unpacklo_ps(r0, r1)),
            hi01 = _mm512_castps_pd(_mm512_unpackhi_ps(r0, r1)),
            lo23 = _mm512_castps_pd(_mm512_unpacklo_ps(r2, r3)),
            hi23 = _mm512_castps_pd(_mm512_unpackhi_ps(r2, r3));
    _mm512_storeu_ps(to, _mm512_castpd_ps(_mm512_unpacklo_pd(lo01, lo23)));
    _mm512_storeu_ps(to + stride, _mm512_castpd_ps(_mm512_unpackhi_pd(lo01, lo23)));
    _mm512_storeu_ps(to + 2 * stride, _mm512_castpd_ps(_mm512_unpacklo_pd(hi01, hi23)));
    _mm512_storeu_ps(to + 3 * stride, _mm512_castpd_ps(_mm512_unpackhi_pd(hi01, hi23)));
}

VEC float vec_hsum(vec a)
{
    return _mm512_reduce_add_ps(a);
}
VEC float vec_hmax(vec a)
{
    return _mm512_reduce_max_ps(a);
}

#endif
