/* Passes of the transform (fft.h) over lanes: written once, included after lanes.h. */
#ifndef KERNELS_FFT_SIMD_H
#define KERNELS_FFT_SIMD_H

#include "kernels/fft.h"

enum { POINT = 2 * LANES /* floats */, BATCH = 4 /* columns at a time, and rows */ };

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

/* n floats that will be needed soon; large transforms wait for L3 and memory where steps are too wide for the
 * CPU to foresee. */
VEC void prefetch(const float *p, size_t n)
{
    for (size_t i = 0; i < n; i += 16) __builtin_prefetch(p + i, 1, 2);
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

/* The factors of one butterfly: w^j, w^2j, w^3j go to the third, second and fourth place. */
struct triple {
    struct point w1, w2, w3;
};
VEC struct triple triple_load(const float *w)
{
    return (struct triple){factor(w), factor(w + 2), factor(w + 4)};
}
VEC struct quad quad_turn(struct quad x, struct triple w)
{
    return (struct quad){x.a, point_mul(x.b, w.w2), point_mul(x.c, w.w1), point_mul(x.d, w.w3)};
}
VEC struct quad quad_turn_back(struct quad x, struct triple w)
{
    return (struct quad){x.a, point_mul_conj(x.b, w.w2), point_mul_conj(x.c, w.w1),
                         point_mul_conj(x.d, w.w3)};
}

/* One pass of radix 4 over n points in place, in blocks of m. */
VEC void pass4_forward(float *x, size_t n, size_t m, const float *w)
{
    size_t distance = m / 4 * POINT;
    for (size_t j = 0; j < m / 4; j++, w += 6) {
        struct triple t = triple_load(w);
        for (float *p = x + j * POINT; p < x + n * POINT; p += m * POINT)
            quad_store(p, distance, quad_turn(quad_forward(quad_load(p, distance)), t));
    }
}
VEC void pass4_inverse(float *x, size_t n, size_t m, const float *w)
{
    size_t distance = m / 4 * POINT;
    for (size_t j = 0; j < m / 4; j++, w += 6) {
        struct triple t = triple_load(w);
        for (float *p = x + j * POINT; p < x + n * POINT; p += m * POINT)
            quad_store(p, distance, quad_inverse(quad_turn_back(quad_load(p, distance), t)));
    }
}

/* The pass of radix 2 of a DFT whose log2 is odd: forward it comes first, inverse last. */
VEC void pass2_forward(float *x, size_t n, const float *w)
{
    for (float *p = x, *q = x + n / 2 * POINT; p < x + n / 2 * POINT; p += POINT, q += POINT, w += 2) {
        struct point a = point_load(p), b = point_load(q);
        point_store(p, point_add(a, b));
        point_store(q, point_mul(point_sub(a, b), factor(w)));
    }
}
VEC void pass2_inverse(float *x, size_t n, const float *w)
{
    for (float *p = x, *q = x + n / 2 * POINT; p < x + n / 2 * POINT; p += POINT, q += POINT, w += 2) {
        struct point a = point_load(p), b = point_mul_conj(point_load(q), factor(w));
        point_store(p, point_add(a, b));
        point_store(q, point_sub(a, b));
    }
}

/* A row's passes but for the last (of span 4): its quads are finished, used and begun again in one visit. */
static void row_forward(float *x, size_t n, const float *w)
{
    size_t m = n;
    if (__builtin_ctzl(n) % 2) {
        pass2_forward(x, n, w);
        w += n, m /= 2;
    }
    for (; m >= 16; w += m / 4 * 6, m /= 4) pass4_forward(x, n, m, w);
}
static void row_inverse(float *x, size_t n, const float *w)
{
    size_t odd = (size_t)__builtin_ctzl(n) % 2, top = odd ? n / 2 : n;
    const float *end = w + (odd ? n : 0);
    for (size_t m = top; m >= 16; m /= 4) end += m / 4 * 6;
    for (size_t m = 16; m <= top; m *= 4) {
        end -= m / 4 * 6;
        pass4_inverse(x, n, m, end);
    }
    if (odd) pass2_inverse(x, n, w);
}

/* The passes of a batch of columns between the first (which reads the caller's rows, or writes them) and the
 * last; x: BATCH columns of n points, one after the other; w: the factors behind those of span n. */
static void columns_forward_inner(float *x, size_t n, const float *w)
{
    for (size_t c = 0; c < BATCH; c++, x += n * POINT) {
        const float *factors = w;
        for (size_t m = n / 4; m >= 16; factors += m / 4 * 6, m /= 4) pass4_forward(x, n, m, factors);
    }
}
static void columns_inverse_inner(float *x, size_t n, const float *w)
{
    const float *end = w;
    for (size_t m = n / 4; m >= 16; m /= 4) end += m / 4 * 6;
    for (size_t c = 0; c < BATCH; c++, x += n * POINT) {
        const float *factors = end;
        for (size_t m = 16; m < n; m *= 4) {
            factors -= m / 4 * 6;
            pass4_inverse(x, n, m, factors);
        }
    }
}

/* The last pass of a batch of columns [first, first + BATCH): into the rows of the buffer, turned by the step
 * factors. And the first pass back. */
static void columns_forward_last(float *buffer, size_t pitch, const float *x, const struct fft_plan *plan,
                                 size_t first)
{
    for (size_t r = 0; r < plan->rows; r += 4)
        for (size_t c = 0; c < BATCH; c++) {
            const float *w = plan->step_factors + 2 * ((first + c) * plan->rows + r);
            if (r + 8 < plan->rows) prefetch(buffer + (r + 8 + c) * pitch + first * POINT, BATCH * POINT);
            struct quad y = quad_forward(quad_load(x + (c * plan->rows + r) * POINT, POINT));
            y = (struct quad){point_mul(y.a, factor(w)), point_mul(y.b, factor(w + 2)),
                              point_mul(y.c, factor(w + 4)), point_mul(y.d, factor(w + 6))};
            quad_store(buffer + r * pitch + (first + c) * POINT, pitch, y);
        }
}
static void columns_inverse_first(float *x, const float *buffer, size_t pitch, const struct fft_plan *plan,
                                  size_t first)
{
    for (size_t r = 0; r < plan->rows; r += 4)
        for (size_t c = 0; c < BATCH; c++) {
            const float *w = plan->step_factors + 2 * ((first + c) * plan->rows + r);
            struct quad y = quad_load(buffer + r * pitch + (first + c) * POINT, pitch);
            y = (struct quad){point_mul_conj(y.a, factor(w)), point_mul_conj(y.b, factor(w + 2)),
                              point_mul_conj(y.c, factor(w + 4)), point_mul_conj(y.d, factor(w + 6))};
            quad_store(x + (c * plan->rows + r) * POINT, POINT, quad_inverse(y));
        }
}

#endif
