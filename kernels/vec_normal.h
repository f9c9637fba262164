/* The normal distribution over vec; include it after vec_avx2.h or vec_avx512.h. With t = |x|: Phi(-t) =
 * exp(-t^2 / 2) R(t), where R falls slowly from 1/2 towards 1 / (t sqrt(2 pi)); so R is a polynomial in s =
 * 1 / (1 + 0.34 t) without constant term (minimax, 3e-8 relative), and the tail keeps its relative precision.
 */
#ifndef KERNELS_VEC_NORMAL_H
#define KERNELS_VEC_NORMAL_H

#include "kernels/vec_exp.h"

/* *below = Phi(-|x|), *bell = exp(-x^2 / 2), *t = |x| or 20 where it is more (there both are 0). */
VEC void vec_normal(vec *below, vec *bell, vec *t, vec x)
{
    *t = vec_min(vec_set(20.0f), vec_max(vec_sub(vec_zero(), x), x));            /* NaN passes */
    *bell = vec_exp2_weight(vec_mul(vec_mul(*t, *t), vec_set(-0x1.715476p-1f))); /* log2(e) / 2 */
    vec s = vec_div(vec_set(1.0f), vec_fma(*t, vec_set(0.34f), vec_set(1.0f)));
    vec p = vec_set(-0x1.b1b716p-6f);
    p = vec_fma(p, s, vec_set(0x1.211344p-3f));
    p = vec_fma(p, s, vec_set(-0x1.1b0c46p-2f));
    p = vec_fma(p, s, vec_set(0x1.a56eacp-3f));
    p = vec_fma(p, s, vec_set(-0x1.81b786p-5f));
    p = vec_fma(p, s, vec_set(0x1.dc6c3ep-4f));
    p = vec_fma(p, s, vec_set(0x1.d6e836p-4f));
    p = vec_fma(p, s, vec_set(0x1.16d1d2p-3f));
    p = vec_fma(p, s, vec_set(0x1.15bf56p-3f));
    *below = vec_mul(*bell, vec_mul(p, s));
}

/* x Phi(x) = max(x, 0) - |x| Phi(-|x|). */
VEC vec vec_gelu(vec x)
{
    vec below, bell, t;
    vec_normal(&below, &bell, &t, x);
    return vec_fnma(t, below, vec_max(vec_zero(), x));
}

/* gelu and its slope Phi(x) + x phi(x). */
VEC vec vec_gelu_slope(vec *gelu, vec x)
{
    vec below, bell, t;
    vec_normal(&below, &bell, &t, x);
    *gelu = vec_fnma(t, below, vec_max(vec_zero(), x));
    vec upper = vec_sub(vec_set(1.0f), below);                     /* Phi(|x|) */
    vec bend = vec_mul(vec_mul(t, bell), vec_set(0x1.988454p-2f)); /* |x| phi(x) */
    return vec_select_negative(x, vec_sub(below, bend), vec_add(upper, bend));
}

#endif
