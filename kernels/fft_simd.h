/* Passes of the transform (fft.h) over lanes: written once, included after lanes.h. */
#ifndef KERNELS_FFT_SIMD_H
#define KERNELS_FFT_SIMD_H

#include "kernels/fft.h"
#include "kernels/longconv_ahead.h"

/* One pass over n points in place, in blocks of m. */
VEC void pass2_forward(float *x, size_t n, size_t m, const float *w, struct ahead *ahead)
{
    size_t distance = m / 2 * POINT;
    for (size_t j = 0; j < m / 2; j++, w += 2)
        for (float *p = x + j * POINT; p < x + n * POINT; p += m * POINT) {
            struct point a = point_load(p), b = point_load(p + distance);
            point_store(p, point_add(a, b));
            point_store(p + distance, point_mul(point_sub(a, b), factor(w)));
            ahead_step(ahead);
        }
}
VEC void pass2_inverse(float *x, size_t n, size_t m, const float *w, struct ahead *ahead)
{
    size_t distance = m / 2 * POINT;
    for (size_t j = 0; j < m / 2; j++, w += 2)
        for (float *p = x + j * POINT; p < x + n * POINT; p += m * POINT) {
            struct point a = point_load(p), b = point_mul_conj(point_load(p + distance), factor(w));
            point_store(p, point_add(a, b));
            point_store(p + distance, point_sub(a, b));
            ahead_step(ahead);
        }
}
VEC void pass4_forward(float *x, size_t n, size_t m, const float *w, struct ahead *ahead)
{
    size_t distance = m / 4 * POINT;
    for (size_t j = 0; j < m / 4; j++, w += 6)
        for (float *p = x + j * POINT; p < x + n * POINT; p += m * POINT) {
            quad_store(p, distance, quad_turn(quad_forward(quad_load(p, distance)), w));
            ahead_step(ahead);
        }
}
VEC void pass4_inverse(float *x, size_t n, size_t m, const float *w, struct ahead *ahead)
{
    size_t distance = m / 4 * POINT;
    for (size_t j = 0; j < m / 4; j++, w += 6)
        for (float *p = x + j * POINT; p < x + n * POINT; p += m * POINT) {
            quad_store(p, distance, quad_inverse(quad_turn_back(quad_load(p, distance), w)));
            ahead_step(ahead);
        }
}
VEC void pass8_forward(float *x, size_t n, size_t m, const float *w, struct ahead *ahead)
{
    size_t distance = m / 8 * POINT;
    for (size_t j = 0; j < m / 8; j++, w += 14)
        for (float *p = x + j * POINT; p < x + n * POINT; p += m * POINT) {
            oct_store(p, distance, oct_turn(oct_forward(oct_load(p, distance)), w));
            ahead_step(ahead);
        }
}
VEC void pass8_inverse(float *x, size_t n, size_t m, const float *w, struct ahead *ahead)
{
    size_t distance = m / 8 * POINT;
    for (size_t j = 0; j < m / 8; j++, w += 14)
        for (float *p = x + j * POINT; p < x + n * POINT; p += m * POINT) {
            oct_store(p, distance, oct_inverse(oct_turn_back(oct_load(p, distance), w)));
            ahead_step(ahead);
        }
}

/* The passes over n points of spans m and less, but for the last (of span 4): its quads are finished, used
 * and begun again in one visit. */
static void passes_forward(float *x, size_t n, size_t m, const float *w, struct ahead *ahead)
{
    for (size_t radix; m > 4; w += fft_pass_floats(m), m /= radix) {
        radix = fft_radix(m);
        if (radix == 8)
            pass8_forward(x, n, m, w, ahead);
        else if (radix == 4)
            pass4_forward(x, n, m, w, ahead);
        else
            pass2_forward(x, n, m, w, ahead);
    }
}
static void passes_inverse(float *x, size_t n, size_t m, const float *w, struct ahead *ahead)
{
    if (m <= 4) return;
    size_t radix = fft_radix(m);
    passes_inverse(x, n, m / radix, w + fft_pass_floats(m), ahead);
    if (radix == 8)
        pass8_inverse(x, n, m, w, ahead);
    else if (radix == 4)
        pass4_inverse(x, n, m, w, ahead);
    else
        pass2_inverse(x, n, m, w, ahead);
}

/* The passes of a batch of columns between the first (of radix 8: it reads the caller's rows, or writes them)
 * and the last; x: BATCH columns of `rows` points, one after the other. */
static void columns_forward_inner(float *x, const struct fft_plan *plan, struct ahead *ahead)
{
    const float *w = plan->column_factors + fft_pass_floats(plan->rows);
    for (size_t c = 0; c < BATCH; c++, x += plan->rows * POINT)
        passes_forward(x, plan->rows, plan->rows / 8, w, ahead);
}
static void columns_inverse_inner(float *x, const struct fft_plan *plan, struct ahead *ahead)
{
    const float *w = plan->column_factors + fft_pass_floats(plan->rows);
    for (size_t c = 0; c < BATCH; c++, x += plan->rows * POINT)
        passes_inverse(x, plan->rows, plan->rows / 8, w, ahead);
}

/* The last pass of a batch of columns [first, first + BATCH): into the rows of the buffer, turned by the step
 * factors. And the first pass back. */
static void columns_forward_last(float *buffer, size_t pitch, const float *x, const struct fft_plan *plan,
                                 size_t first, struct ahead *ahead)
{
    for (size_t r = 0; r < plan->rows; r += 4)
        for (size_t c = 0; c < BATCH; c++) {
            const float *w = plan->step_factors + 2 * ((first + c) * plan->rows + r);
            ahead_step(ahead);
            struct quad y = quad_forward(quad_load(x + (c * plan->rows + r) * POINT, POINT));
            y = (struct quad){point_mul(y.a, factor(w)), point_mul(y.b, factor(w + 2)),
                              point_mul(y.c, factor(w + 4)), point_mul(y.d, factor(w + 6))};
            quad_store(buffer + r * pitch + (first + c) * POINT, pitch, y);
        }
}
static void columns_inverse_first(float *x, const float *buffer, size_t pitch, const struct fft_plan *plan,
                                  size_t first, struct ahead *ahead)
{
    for (size_t r = 0; r < plan->rows; r += 4)
        for (size_t c = 0; c < BATCH; c++) {
            const float *w = plan->step_factors + 2 * ((first + c) * plan->rows + r);
            ahead_step(ahead);
            struct quad y = quad_load(buffer + r * pitch + (first + c) * POINT, pitch);
            y = (struct quad){point_mul_conj(y.a, factor(w)), point_mul_conj(y.b, factor(w + 2)),
                              point_mul_conj(y.c, factor(w + 4)), point_mul_conj(y.d, factor(w + 6))};
            quad_store(x + (c * plan->rows + r) * POINT, POINT, quad_inverse(y));
        }
}

#endif
