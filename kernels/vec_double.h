/* vecd: eight doubles, with the width of vec; include it after vec_avx2.h or vec_avx512.h. */
#ifndef KERNELS_VEC_DOUBLE_H
#define KERNELS_VEC_DOUBLE_H

#if defined(KERNELS_VEC_AVX512_H)

typedef __m512d vecd;

VEC vecd vecd_set(double x)
{
    return _mm512_set1_pd(x);
}
VEC vecd vecd_load(const double *p)
{
    return _mm512_loadu_pd(p);
}
VEC void vecd_store(double *p, vecd a)
{
    _mm512_storeu_pd(p, a);
}
VEC vecd vecd_from_floats(const float *p)
{
    return _mm512_cvtps_pd(_mm256_loadu_ps(p));
}
VEC void vecd_to_floats(float *p, vecd a)
{
    _mm256_storeu_ps(p, _mm512_cvtpd_ps(a));
}
VEC vecd vecd_add(vecd a, vecd b)
{
    return _mm512_add_pd(a, b);
}
VEC vecd vecd_sub(vecd a, vecd b)
{
    return _mm512_sub_pd(a, b);
}
VEC vecd vecd_mul(vecd a, vecd b)
{
    return _mm512_mul_pd(a, b);
}
VEC vecd vecd_max(vecd a, vecd b)
{
    return _mm512_max_pd(a, b);
}
VEC vecd vecd_fma(vecd a, vecd b, vecd c)
{
    return _mm512_fmadd_pd(a, b, c);
}
VEC vecd vecd_fnma(vecd a, vecd b, vecd c)
{
    return _mm512_fnmadd_pd(a, b, c);
}
/* x with its sign turned where the lowest bit of n is set. */
VEC vecd vecd_flip_odd(vecd x, vecd n)
{
    return _mm512_castsi512_pd(
        _mm512_xor_si512(_mm512_castpd_si512(x), _mm512_slli_epi64(_mm512_castpd_si512(n), 63)));
}
/* x times 2^k, where k is the lowest bits of n, as a whole number; no over- or underflow. */
VEC vecd vecd_scale_low(vecd x, vecd n)
{
    return _mm512_castsi512_pd(
        _mm512_add_epi64(_mm512_castpd_si512(x), _mm512_slli_epi64(_mm512_castpd_si512(n), 52)));
}

#else

typedef struct {
    __m256d lo, hi;
} vecd;

#define VECD_EACH(f, a, b) ((vecd){f((a).lo, (b).lo), f((a).hi, (b).hi)})

VEC vecd vecd_set(double x)
{
    return (vecd){_mm256_set1_pd(x), _mm256_set1_pd(x)};
}
VEC vecd vecd_load(const double *p)
{
    return (vecd){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)};
}
VEC void vecd_store(double *p, vecd a)
{
    _mm256_storeu_pd(p, a.lo);
    _mm256_storeu_pd(p + 4, a.hi);
}
VEC vecd vecd_from_floats(const float *p)
{
    return (vecd){_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4))};
}
VEC void vecd_to_floats(float *p, vecd a)
{
    _mm_storeu_ps(p, _mm256_cvtpd_ps(a.lo));
    _mm_storeu_ps(p + 4, _mm256_cvtpd_ps(a.hi));
}
VEC vecd vecd_add(vecd a, vecd b)
{
    return VECD_EACH(_mm256_add_pd, a, b);
}
VEC vecd vecd_sub(vecd a, vecd b)
{
    return VECD_EACH(_mm256_sub_pd, a, b);
}
VEC vecd vecd_mul(vecd a, vecd b)
{
    return VECD_EACH(_mm256_mul_pd, a, b);
}
VEC vecd vecd_max(vecd a, vecd b)
{
    return VECD_EACH(_mm256_max_pd, a, b);
}
VEC vecd vecd_fma(vecd a, vecd b, vecd c)
{
    return (vecd){_mm256_fmadd_pd(a.lo, b.lo, c.lo), _mm256_fmadd_pd(a.hi, b.hi, c.hi)};
}
VEC vecd vecd_fnma(vecd a, vecd b, vecd c)
{
    return (vecd){_mm256_fnmadd_pd(a.lo, b.lo, c.lo), _mm256_fnmadd_pd(a.hi, b.hi, c.hi)};
}
VEC __m256d vecd_half_flip_odd(__m256d x, __m256d n)
{
    return _mm256_xor_pd(x, _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(n), 63)));
}
VEC vecd vecd_flip_odd(vecd x, vecd n)
{
    return VECD_EACH(vecd_half_flip_odd, x, n);
}
VEC __m256d vecd_half_scale_low(__m256d x, __m256d n)
{
    return _mm256_castsi256_pd(
        _mm256_add_epi64(_mm256_castpd_si256(x), _mm256_slli_epi64(_mm256_castpd_si256(n), 52)));
}
VEC vecd vecd_scale_low(vecd x, vecd n)
{
    return VECD_EACH(vecd_half_scale_low, x, n);
}

#endif

#define VECD_WHOLE                                                                                           \
    0x1.8p52 /* added to |x| < 2^51 it leaves x rounded to a whole number, in the lowest bits */

/* sin(r) for |r| <= pi / 2: Taylor's series, whose next term is below 2e-18. */
VEC vecd vecd_sin_reduced(vecd r)
{
    vecd z = vecd_mul(r, r);
    vecd p = vecd_set(0x1.71b8ef6dcf572p-66);
    p = vecd_fma(p, z, vecd_set(-0x1.2f49b46814157p-57));
    p = vecd_fma(p, z, vecd_set(0x1.952c77030ad4ap-49));
    p = vecd_fma(p, z, vecd_set(-0x1.ae7f3e733b81fp-41));
    p = vecd_fma(p, z, vecd_set(0x1.6124613a86d09p-33));
    p = vecd_fma(p, z, vecd_set(-0x1.ae64567f544e4p-26));
    p = vecd_fma(p, z, vecd_set(0x1.71de3a556c734p-19));
    p = vecd_fma(p, z, vecd_set(-0x1.a01a01a01a01ap-13));
    p = vecd_fma(p, z, vecd_set(0x1.1111111111111p-7));
    p = vecd_fma(p, z, vecd_set(-0x1.5555555555555p-3));
    return vecd_fma(vecd_mul(r, z), p, r);
}

/* x - q pi, pi in two parts (Cody and Waite 1980). */
VEC vecd vecd_less_pi(vecd x, vecd q)
{
    x = vecd_fnma(q, vecd_set(0x1.921fb54442d18p+1), x);
    return vecd_fnma(q, vecd_set(0x1.1a62633145c07p-53), x);
}
VEC vecd vecd_sin(vecd x)
{
    vecd whole = vecd_fma(x, vecd_set(0x1.45f306dc9c883p-2), vecd_set(VECD_WHOLE));
    vecd r = vecd_less_pi(x, vecd_sub(whole, vecd_set(VECD_WHOLE)));
    return vecd_flip_odd(vecd_sin_reduced(r), whole);
}
/* cos((n - 1/2) pi + r) = (-1)^n sin(r) */
VEC vecd vecd_cos(vecd x)
{
    vecd shifted = vecd_fma(x, vecd_set(0x1.45f306dc9c883p-2), vecd_set(0.5));
    vecd whole = vecd_add(shifted, vecd_set(VECD_WHOLE));
    vecd q = vecd_sub(vecd_sub(whole, vecd_set(VECD_WHOLE)), vecd_set(0.5));
    return vecd_flip_odd(vecd_sin_reduced(vecd_less_pi(x, q)), whole);
}

/* e^x for x <= 0; below -700: e^-700. */
VEC vecd vecd_exp_below_0(vecd x)
{
    x = vecd_max(vecd_set(-700), x);
    vecd whole = vecd_fma(x, vecd_set(0x1.71547652b82fep+0), vecd_set(VECD_WHOLE));
    vecd n = vecd_sub(whole, vecd_set(VECD_WHOLE));
    vecd r = vecd_fnma(n, vecd_set(0x1.62e42fefa39efp-1), x);
    r = vecd_fnma(n, vecd_set(0x1.abc9e3b39803fp-56), r);
    vecd p = vecd_set(0x1.6124613a86d09p-33); /* 1 / 13! */
    p = vecd_fma(p, r, vecd_set(0x1.1eed8eff8d898p-29));
    p = vecd_fma(p, r, vecd_set(0x1.ae64567f544e4p-26));
    p = vecd_fma(p, r, vecd_set(0x1.27e4fb7789f5cp-22));
    p = vecd_fma(p, r, vecd_set(0x1.71de3a556c734p-19));
    p = vecd_fma(p, r, vecd_set(0x1.a01a01a01a01ap-16));
    p = vecd_fma(p, r, vecd_set(0x1.a01a01a01a01ap-13));
    p = vecd_fma(p, r, vecd_set(0x1.6c16c16c16c17p-10));
    p = vecd_fma(p, r, vecd_set(0x1.1111111111111p-7));
    p = vecd_fma(p, r, vecd_set(0x1.5555555555555p-5));
    p = vecd_fma(p, r, vecd_set(0x1.5555555555555p-3));
    p = vecd_fma(p, r, vecd_set(0x1p-1));
    p = vecd_fma(p, r, vecd_set(1));
    p = vecd_fma(p, r, vecd_set(1));
    return vecd_scale_low(p, whole);
}

#endif
