/* implicit, plain. */
#include "kernels/implicit.h"
#include <math.h>

static void matmul(double *y, size_t ldy, const double *x, size_t row, size_t step, const double *w,
                   size_t ldw, size_t M, size_t N, size_t K, bool add)
{
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) {
            double sum = 0;
            for (size_t k = 0; k < K; k++) sum += x[i * row + k * step] * w[k * ldw + j];
            y[i * ldy + j] = add ? y[i * ldy + j] + sum : sum;
        }
}

static void sine(double *s, double *a, const double *b, const double *freq, size_t M, size_t N)
{
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) {
            double sum = a[i * N + j] + b[j];
            a[i * N + j] = sum;
            s[i * N + j] = sin(freq[j] * sum);
        }
}

static void cosine(double *c, const double *a, const double *freq, size_t M, size_t N)
{
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) c[i * N + j] = cos(freq[j] * a[i * N + j]);
}

static void decay(double *e, const float *t, const double *rate, size_t M, size_t N)
{
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) e[i * N + j] = exp(-(double)t[i] * rate[j]);
}

static void gate(float *k, size_t ldk, const double *r, const double *e, size_t M, size_t N)
{
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) k[i * ldk + j] = (float)(r[i * N + j] * e[i * N + j]);
}

static void widen(double *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i];
}

static void narrow(float *y, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = (float)x[i];
}

const struct implicit_kernels implicit = {matmul, sine, cosine, decay, gate, widen, narrow};
