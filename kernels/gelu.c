/* gelu, plain: in double, by the C library. */
#include "kernels/gelu.h"
#include <math.h>

static double phi(double x) /* the normal density */
{
    return exp(-0.5 * x * x) * 0.39894228040143268; /* 1 / sqrt(2 pi) */
}

static double distribution(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752); /* erfc keeps the lower tail's digits */
}

static double gelu(double x)
{
    return x < -40 ? -0.0
                   : x * distribution(x); /* also where x is -infinity; below -40 floats have nothing */
}

static double gelu_slope(double x)
{
    return fabs(x) > 40 ? (x > 0) : distribution(x) + x * phi(x);
}

static const double inner_scale = 0.79788456080286536 /* sqrt(2 / pi) */, inner_cubic = 0.044715;

static double tanh_weight(double x) /* (1 + tanh u) / 2 = 1 / (1 + exp(-2 u)) */
{
    return 1 / (1 + exp(-2 * inner_scale * (x + inner_cubic * x * x * x)));
}

static double gelu_tanh(double x)
{
    return x < -40 ? -0.0 : x * tanh_weight(x);
}

static double gelu_tanh_slope(double x)
{
    if (fabs(x) > 40) return x > 0;
    double s = tanh_weight(x);
    return s + x * s * (1 - s) * 2 * inner_scale * (1 + 3 * inner_cubic * x * x);
}

#define ROWS_AND_COLUMNS                                                                                     \
    for (size_t i = 0; i < N; i++)                                                                           \
        for (size_t f = 0; f < F; f++)

void gelu_forward(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F)
{
    ROWS_AND_COLUMNS y[i * ldy + f] = (float)gelu(x[i * ldx + f]);
}

void gelu_backward(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx, size_t N,
                   size_t F)
{
    ROWS_AND_COLUMNS dx[i * lddx + f] = (float)(dy[i * lddy + f] * gelu_slope(x[i * ldx + f]));
}

void gelu_tanh_forward(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F)
{
    ROWS_AND_COLUMNS y[i * ldy + f] = (float)gelu_tanh(x[i * ldx + f]);
}

void gelu_tanh_backward(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx,
                        size_t N, size_t F)
{
    ROWS_AND_COLUMNS dx[i * lddx + f] = (float)(dy[i * lddy + f] * gelu_tanh_slope(x[i * ldx + f]));
}

void geglu_forward(float *y, size_t ldy, const float *gate, const float *lin, size_t ld, size_t N, size_t F)
{
    ROWS_AND_COLUMNS y[i * ldy + f] = (float)(gelu(gate[i * ld + f]) * lin[i * ld + f]);
}

void geglu_backward(float *dgate, float *dlin, size_t ldd, const float *dy, size_t lddy, const float *gate,
                    const float *lin, size_t ld, size_t N, size_t F)
{
    ROWS_AND_COLUMNS
    {
        double d = dy[i * lddy + f], a = gate[i * ld + f], b = lin[i * ld + f];
        dgate[i * ldd + f] = (float)(d * b * gelu_slope(a));
        dlin[i * ldd + f] = (float)(d * gelu(a));
    }
}
