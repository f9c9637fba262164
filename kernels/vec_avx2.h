/* vec on AVX2, FMA and F16C: sixteen floats in two registers, with the functions of vec_avx512.h. */
#ifndef KERNELS_VEC_AVX2_H
#define KERNELS_VEC_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL(name) name##_avx2
#define VEC          static inline __attribute__((always_inline))

typedef struct {
    __m256 lo, hi;
} vec;
enum { VEC_ABREAST = 2 }; /* as many may be computed side by side in registers */

#define VEC_EACH(f, a, b) ((vec){f((a).lo, (b).lo), f((a).hi, (b).hi)})

/* All ones in the lanes [0,n) of the 8 that begin at lane `first`. */
VEC __m256i vec_first(size_t n, int first)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n - first), lane);
}

VEC vec vec_zero(void)
{
    return (vec){_mm256_setzero_ps(), _mm256_setzero_ps()};
}
VEC vec vec_set(float x)
{
    return (vec){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
VEC vec vec_load(const float *p)
{
    return (vec){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
VEC void vec_store(float *p, vec a)
{
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}
VEC void vec_prefetch(const float *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T0);
    _mm_prefetch((const char *)(p + 8), _MM_HINT_T0);
}
VEC vec vec_load_first(const float *p, size_t n)
{
    return (vec){_mm256_maskload_ps(p, vec_first(n, 0)), _mm256_maskload_ps(p + 8, vec_first(n, 8))};
}
VEC void vec_store_first(float *p, vec a, size_t n)
{
    _mm256_maskstore_ps(p, vec_first(n, 0), a.lo);
    _mm256_maskstore_ps(p + 8, vec_first(n, 8), a.hi);
}
VEC __m256 vec_half_bf16(const uint16_t *p)
{
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p)), 16));
}
VEC vec vec_load_bf16(const uint16_t *p)
{
    return (vec){vec_half_bf16(p), vec_half_bf16(p + 8)};
}
VEC vec vec_load_f16(const uint16_t *p)
{
    return (vec){_mm256_cvtph_ps(_mm_loadu_si128((const void *)p)),
                 _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 8)))};
}

VEC vec vec_add(vec a, vec b)
{
    return VEC_EACH(_mm256_add_ps, a, b);
}
VEC vec vec_sub(vec a, vec b)
{
    return VEC_EACH(_mm256_sub_ps, a, b);
}
VEC vec vec_mul(vec a, vec b)
{
    return VEC_EACH(_mm256_mul_ps, a, b);
}
VEC vec vec_div(vec a, vec b)
{
    return VEC_EACH(_mm256_div_ps, a, b);
}
VEC vec vec_fma(vec a, vec b, vec c)
{
    return (vec){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
VEC vec vec_fnma(vec a, vec b, vec c)
{
    return (vec){_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
}
VEC vec vec_max(vec a, vec b)
{
    return VEC_EACH(_mm256_max_ps, a, b);
}
VEC vec vec_min(vec a, vec b)
{
    return VEC_EACH(_mm256_min_ps, a, b);
}
VEC __m256 vec_half_round(__m256 a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VEC vec vec_round(vec a)
{
    return (vec){vec_half_round(a.lo), vec_half_round(a.hi)};
}

VEC vec vec_blend(vec no, vec yes, __m256 lo, __m256 hi)
{
    return (vec){_mm256_blendv_ps(no.lo, yes.lo, lo), _mm256_blendv_ps(no.hi, yes.hi, hi)};
}
VEC vec vec_select_first(size_t n, vec a, vec b)
{
    return vec_blend(b, a, _mm256_castsi256_ps(vec_first(n, 0)), _mm256_castsi256_ps(vec_first(n, 8)));
}
VEC vec vec_select_equal(vec a, vec b, vec x, vec y)
{
    return vec_blend(y, x, _mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ));
}

VEC vec vec_select_negative(vec a, vec x, vec y)
{
    return vec_blend(y, x, a.lo, a.hi);
}

/* 2^n from its bits; n whole, in [-126, 127]. */
VEC __m256 vec_half_power2(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
/* In two steps, so that results may be subnormal or infinite; n in [-252, 252]. */
VEC __m256 vec_half_scale2(__m256 a, __m256 n)
{
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    return _mm256_mul_ps(_mm256_mul_ps(a, vec_half_power2(half)),
                         vec_half_power2(_mm256_sub_epi32(whole, half)));
}
VEC vec vec_scale2(vec a, vec n)
{
    return (vec){vec_half_scale2(a.lo, n.lo), vec_half_scale2(a.hi, n.hi)};
}

/* Where t is below limit n may be anything and the product is discarded; the product (not an addition to a's
 * exponent) keeps a NaN. */
VEC __m256 vec_half_scale2_above(__m256 a, __m256 n, __m256 t, __m256 limit)
{
    __m256 product = _mm256_mul_ps(a, vec_half_power2(_mm256_cvtps_epi32(n)));
    return _mm256_and_ps(product, _mm256_cmp_ps(t, limit, _CMP_NLT_UQ));
}
VEC vec vec_scale2_above(vec a, vec n, vec t, vec limit)
{
    return (vec){vec_half_scale2_above(a.lo, n.lo, t.lo, limit.lo),
                 vec_half_scale2_above(a.hi, n.hi, t.hi, limit.hi)};
}

enum { TRANSPOSED = 8 };
VEC __m256 vec_two_rows(const float *const *row, size_t i, size_t k)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(row[i] + k)),
                                _mm_loadu_ps(row[i + 4] + k), 1);
}
VEC void vec_transpose4(float *to, size_t stride, const float *const *row, size_t k)
{
    __m256 r0 = vec_two_rows(row, 0, k), r1 = vec_two_rows(row, 1, k), r2 = vec_two_rows(row, 2, k),
           r3 = vec_two_rows(row, 3, k);
    __m256d lo01 = _mm256_castps_pd(_mm256_unpacklo_ps(r0, r1)),
            hi01 = _mm256_castps_pd(_mm256_unpackhi_ps(r0, r1)),
            lo23 = _mm256_castps_pd(_mm256_unpacklo_ps(r2, r3)),
            hi23 = _mm256_castps_pd(_mm256_unpackhi_ps(r2, r3));
    _mm256_storeu_ps(to, _mm256_castpd_ps(_mm256_unpacklo_pd(lo01, lo23)));
    _mm256_storeu_ps(to + stride, _mm256_castpd_ps(_mm256_unpackhi_pd(lo01, lo23)));
    _mm256_storeu_ps(to + 2 * stride, _mm256_castpd_ps(_mm256_unpacklo_pd(hi01, hi23)));
    _mm256_storeu_ps(to + 3 * stride, _mm256_castpd_ps(_mm256_unpackhi_pd(hi01, hi23)));
}

VEC float vec_hsum(vec a)
{
    __m256 s = _mm256_add_ps(a.lo, a.hi);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
VEC float vec_hmax(vec a)
{
    __m256 s = _mm256_max_ps(a.lo, a.hi);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

#endif
