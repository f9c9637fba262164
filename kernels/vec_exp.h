/* Exponentials over vec; include it after vec_avx2.h or vec_avx512.h. x = n ln 2 + r with whole n and |r| <=
 * ln 2 / 2 (Cody and Waite 1980), then a minimax polynomial in r with constant term 1, so that exp(0) is 1.
 */
#ifndef KERNELS_VEC_EXP_H
#define KERNELS_VEC_EXP_H

/* e^x to 1e-7 relative over all of float's range: 0 or infinity beyond it, NaN for NaN. */
VEC vec vec_exp(vec x)
{
    x = vec_min(vec_set(89.0f), vec_max(vec_set(-105.0f), x)); /* e^89 is infinite, e^-105 is 0; NaN passes */
    vec n = vec_round(vec_mul(x, vec_set(0x1.715476p+0f)));
    vec r = vec_fnma(n, vec_set(0x1.62e400p-1f), x); /* ln 2 in two parts, the first exact times n */
    r = vec_fnma(n, vec_set(0x1.7f7d1cp-20f), r);
    vec p = vec_set(0x1.6ae72cp-10f);
    p = vec_fma(p, r, vec_set(0x1.126786p-7f));
    p = vec_fma(p, r, vec_set(0x1.555822p-5f));
    p = vec_fma(p, r, vec_set(0x1.55541ap-3f));
    p = vec_fma(p, r, vec_set(0x1.fffffcp-2f));
    p = vec_fma(p, r, vec_set(1.0f));
    p = vec_fma(p, r, vec_set(1.0f));
    return vec_scale2(p, n);
}

/* 2^t to 2e-7 relative for t <= 0; exactly 0 below 2^-125, so that masked scores (-inf) weigh nothing and
 * subnormals do not arise. NaN for NaN. */
VEC vec vec_exp2_weight(vec t)
{
    vec n = vec_round(t), r = vec_sub(t, n);
    vec p = vec_set(0x1.5bba14p-10f);
    p = vec_fma(p, r, vec_set(0x1.3cea88p-7f));
    p = vec_fma(p, r, vec_set(0x1.c6b752p-5f));
    p = vec_fma(p, r, vec_set(0x1.ebf9bcp-3f));
    p = vec_fma(p, r, vec_set(0x1.62e42ap-1f));
    p = vec_fma(p, r, vec_set(1.0f));
    return vec_scale2_above(p, n, t, vec_set(-125.0f));
}

#endif
