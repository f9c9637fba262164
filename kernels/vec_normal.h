/* The normal distribution over vec; include it after vec_avx2.h or vec_avx512.h. With t = |x|: Phi(-t) =
 * exp(-t^2 / 2) R(t), where R falls slowly from 1/2 towards 1 / (t sqrt(2 pi)); so R is a polynomial in s =
 * 1 / (1 + 0.34 t) without constant term (minimax, 3e-8 relative), and the tail keeps its relative precision.
 */
#ifndef KERNELS_VEC_NORMAL_H
#define KERNELS_VEC_NORMAL_H

#include "kernels/vec_exp.h"

/* A step of n <= VEC_ABREAST vectors: their chains of dependent operations run side by side, since one alone
 * keeps no unit busy. */
#if defined(__clang__)
#define EACH(n) _Pragma("clang loop unroll(full)") for (int i = 0; i < (n); i++)
#else
#define EACH(n) _Pragma("GCC unroll 4") for (int i = 0; i < (n); i++)
#endif

#define HALF_LOG2_E 0x1.715476p-1f

/* below[i] = Phi(-|x[i]|), bell[i] = exp(-x[i]^2 / 2), t[i] = |x[i]| or 20 where it is more (there both are
 * 0). */
VEC void vec_normal(vec *below, vec *bell, vec *t, const vec *x, const int n)
{
    vec s[VEC_ABREAST], p[VEC_ABREAST];
    EACH(n) t[i] = vec_min(vec_set(20.0f), vec_max(vec_sub(vec_zero(), x[i]), x[i])); /* NaN passes */
    EACH(n) s[i] = vec_div(vec_set(1.0f), vec_fma(t[i], vec_set(0.34f), vec_set(1.0f)));
    EACH(n) bell[i] = vec_exp2_weight(vec_mul(vec_mul(t[i], t[i]), vec_set(-HALF_LOG2_E)));
    EACH(n) p[i] = vec_set(-0x1.b1b716p-6f);
    EACH(n) p[i] = vec_fma(p[i], s[i], vec_set(0x1.211344p-3f));
    EACH(n) p[i] = vec_fma(p[i], s[i], vec_set(-0x1.1b0c46p-2f));
    EACH(n) p[i] = vec_fma(p[i], s[i], vec_set(0x1.a56eacp-3f));
    EACH(n) p[i] = vec_fma(p[i], s[i], vec_set(-0x1.81b786p-5f));
    EACH(n) p[i] = vec_fma(p[i], s[i], vec_set(0x1.dc6c3ep-4f));
    EACH(n) p[i] = vec_fma(p[i], s[i], vec_set(0x1.d6e836p-4f));
    EACH(n) p[i] = vec_fma(p[i], s[i], vec_set(0x1.16d1d2p-3f));
    EACH(n) p[i] = vec_fma(p[i], s[i], vec_set(0x1.15bf56p-3f));
    EACH(n) below[i] = vec_mul(bell[i], vec_mul(p[i], s[i]));
}

/* x Phi(x) = max(x, 0) - |x| Phi(-|x|), of n <= VEC_ABREAST vectors in place. */
VEC void vec_gelu(vec *x, const int n)
{
    vec below[VEC_ABREAST], bell[VEC_ABREAST], t[VEC_ABREAST];
    vec_normal(below, bell, t, x, n);
    EACH(n) x[i] = vec_fnma(t[i], below[i], vec_max(vec_zero(), x[i]));
}

/* gelu and its slope Phi(x) + x phi(x). */
VEC vec vec_gelu_slope(vec *gelu, vec x)
{
    vec below, bell, t;
    vec_normal(&below, &bell, &t, &x, 1);
    *gelu = vec_fnma(t, below, vec_max(vec_zero(), x));
    vec upper = vec_sub(vec_set(1.0f), below);                     /* Phi(|x|) */
    vec bend = vec_mul(vec_mul(t, bell), vec_set(0x1.988454p-2f)); /* |x| phi(x) */
    return vec_select_negative(x, vec_sub(below, bend), vec_add(upper, bend));
}

#endif
