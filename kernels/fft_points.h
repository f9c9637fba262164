/* Points of the transform (fft.h) and its butterflies, over lanes: included after lanes.h. */
#ifndef KERNELS_FFT_POINTS_H
#define KERNELS_FFT_POINTS_H

#include "kernels/lanes.h"

enum { POINT = 2 * LANES /* floats */ };

struct point {
    lanes re, im;
};
struct quad {
    struct point a, b, c, d;
};

VEC struct point point_load(const float *p)
{
    return (struct point){lanes_load(p), lanes_load(p + LANES)};
}
VEC void point_store(float *p, struct point a)
{
    lanes_store(p, a.re);
    lanes_store(p + LANES, a.im);
}
VEC struct point point_add(struct point a, struct point b)
{
    return (struct point){lanes_add(a.re, b.re), lanes_add(a.im, b.im)};
}
VEC struct point point_sub(struct point a, struct point b)
{
    return (struct point){lanes_sub(a.re, b.re), lanes_sub(a.im, b.im)};
}
/* a + i b, a - i b */
VEC struct point point_add_i(struct point a, struct point b)
{
    return (struct point){lanes_sub(a.re, b.im), lanes_add(a.im, b.re)};
}
VEC struct point point_sub_i(struct point a, struct point b)
{
    return (struct point){lanes_add(a.re, b.im), lanes_sub(a.im, b.re)};
}

/* A factor, the same for all lanes. */
VEC struct point factor(const float *w)
{
    return (struct point){lanes_set(w[0]), lanes_set(w[1])};
}
VEC struct point point_mul(struct point a, struct point w)
{
    return (struct point){lanes_fnma(a.im, w.im, lanes_mul(a.re, w.re)),
                          lanes_fma(a.im, w.re, lanes_mul(a.re, w.im))};
}
VEC struct point point_mul_conj(struct point a, struct point w)
{
    return (struct point){lanes_fma(a.im, w.im, lanes_mul(a.re, w.re)),
                          lanes_fnma(a.re, w.im, lanes_mul(a.im, w.re))};
}

/* A DFT of 4, results in bit-reversed order; and back (times 4). */
VEC struct quad quad_forward(struct quad x)
{
    struct point s = point_add(x.a, x.c), d = point_sub(x.a, x.c);
    struct point t = point_add(x.b, x.d), e = point_sub(x.b, x.d);
    return (struct quad){point_add(s, t), point_sub(s, t), point_sub_i(d, e), point_add_i(d, e)};
}
VEC struct quad quad_inverse(struct quad x)
{
    struct point s = point_add(x.a, x.b), d = point_sub(x.a, x.b);
    struct point t = point_add(x.c, x.d), e = point_sub(x.c, x.d);
    return (struct quad){point_add(s, t), point_add_i(d, e), point_sub(s, t), point_sub_i(d, e)};
}

/* Four points, `distance` floats apart. */
VEC struct quad quad_load(const float *p, size_t distance)
{
    return (struct quad){point_load(p), point_load(p + distance), point_load(p + 2 * distance),
                         point_load(p + 3 * distance)};
}
VEC void quad_store(float *p, size_t distance, struct quad x)
{
    point_store(p, x.a);
    point_store(p + distance, x.b);
    point_store(p + 2 * distance, x.c);
    point_store(p + 3 * distance, x.d);
}

VEC struct quad quad_add(struct quad x, struct quad y)
{
    return (struct quad){point_add(x.a, y.a), point_add(x.b, y.b), point_add(x.c, y.c), point_add(x.d, y.d)};
}
VEC struct quad quad_sub(struct quad x, struct quad y)
{
    return (struct quad){point_sub(x.a, y.a), point_sub(x.b, y.b), point_sub(x.c, y.c), point_sub(x.d, y.d)};
}

/* Turned by the factors of places 1, 2, 3 of a butterfly. */
VEC struct quad quad_turn(struct quad x, const float *w)
{
    return (struct quad){x.a, point_mul(x.b, factor(w)), point_mul(x.c, factor(w + 2)),
                         point_mul(x.d, factor(w + 4))};
}
VEC struct quad quad_turn_back(struct quad x, const float *w)
{
    return (struct quad){x.a, point_mul_conj(x.b, factor(w)), point_mul_conj(x.c, factor(w + 2)),
                         point_mul_conj(x.d, factor(w + 4))};
}

/* Eight points. */
struct oct {
    struct quad lo, hi;
};

VEC struct oct oct_load(const float *p, size_t distance)
{
    return (struct oct){quad_load(p, distance), quad_load(p + 4 * distance, distance)};
}
VEC void oct_store(float *p, size_t distance, struct oct x)
{
    quad_store(p, distance, x.lo);
    quad_store(p + 4 * distance, distance, x.hi);
}
VEC struct oct oct_turn(struct oct x, const float *w)
{
    struct quad hi = quad_turn(x.hi, w + 8);
    hi.a = point_mul(x.hi.a, factor(w + 6));
    return (struct oct){quad_turn(x.lo, w), hi};
}
VEC struct oct oct_turn_back(struct oct x, const float *w)
{
    struct quad hi = quad_turn_back(x.hi, w + 8);
    hi.a = point_mul_conj(x.hi.a, factor(w + 6));
    return (struct oct){quad_turn_back(x.lo, w), hi};
}

/* a + h b, a - h b, a + i h b, a - i h b */
VEC struct point point_fma(struct point a, lanes h, struct point b)
{
    return (struct point){lanes_fma(h, b.re, a.re), lanes_fma(h, b.im, a.im)};
}
VEC struct point point_fnma(struct point a, lanes h, struct point b)
{
    return (struct point){lanes_fnma(h, b.re, a.re), lanes_fnma(h, b.im, a.im)};
}
VEC struct point point_fma_i(struct point a, lanes h, struct point b)
{
    return (struct point){lanes_fnma(h, b.im, a.re), lanes_fma(h, b.re, a.im)};
}
VEC struct point point_fnma_i(struct point a, lanes h, struct point b)
{
    return (struct point){lanes_fma(h, b.im, a.re), lanes_fnma(h, b.re, a.im)};
}

#define SQRT_HALF 0.70710678118654752440f

/* The odd results of a DFT of 8 in bit-reversed order: a DFT of 4 over x, whose points are first turned by
 * w_8^0 .. w_8^3. With u = b - d and v = b + d those of b and d add up to (u - i v) / sqrt 2 and differ by (v
 * - i u) / sqrt 2. */
VEC struct quad odd_forward(struct quad x)
{
    lanes h = lanes_set(SQRT_HALF);
    struct point s = point_sub_i(x.a, x.c), d = point_add_i(x.a, x.c);
    struct point u = point_sub(x.b, x.d), v = point_add(x.b, x.d);
    struct point t = point_sub_i(u, v), e = point_sub_i(v, u);
    return (struct quad){point_fma(s, h, t), point_fnma(s, h, t), point_fnma_i(d, h, e),
                         point_fma_i(d, h, e)};
}
/* A DFT of 8; of 8 points whose second four are 0. */
VEC struct oct oct_forward(struct oct x)
{
    return (struct oct){quad_forward(quad_add(x.lo, x.hi)), odd_forward(quad_sub(x.lo, x.hi))};
}
VEC struct oct oct_forward_half(struct quad x)
{
    return (struct oct){quad_forward(x), odd_forward(x)};
}

/* And back (times 8); only the first four points. The odd results' b and d are to be turned by (1 + i) / sqrt
 * 2 and (i - 1) / sqrt 2, c by i. */
VEC struct oct oct_inverse(struct oct x)
{
    lanes h = lanes_set(SQRT_HALF);
    struct quad s = quad_inverse(x.lo), d = quad_inverse(x.hi);
    struct point b = point_add_i(d.b, d.b), e = point_add_i(d.d, d.d);
    return (struct oct){
        {point_add(s.a, d.a), point_fma(s.b, h, b), point_add_i(s.c, d.c), point_fma_i(s.d, h, e)},
        {point_sub(s.a, d.a), point_fnma(s.b, h, b), point_sub_i(s.c, d.c), point_fnma_i(s.d, h, e)}};
}
VEC struct quad oct_inverse_half(struct oct x)
{
    return oct_inverse(x).lo;
}

#endif
