/* LayerNorm, plain: sums in double. */
#include "nn/layernorm_plain.h"

#include <math.h>

void layernorm_plain_forward(float *y, float *mean, float *rstd, const float *x, const float *w,
                             const float *b, size_t N, size_t C, float eps)
{
    for (size_t i = 0; i < N; i++) {
        const float *row = x + i * C;
        double sum = 0, squares = 0;
        for (size_t c = 0; c < C; c++) sum += (double)row[c];
        double m = sum / (double)C;
        for (size_t c = 0; c < C; c++) squares += ((double)row[c] - m) * ((double)row[c] - m);
        double r = 1 / sqrt(squares / (double)C + (double)eps);
        for (size_t c = 0; c < C; c++) y[i * C + c] = (float)(((double)row[c] - m) * r) * w[c] + b[c];
        if (mean != NULL) mean[i] = (float)m;
        if (rstd != NULL) rstd[i] = (float)r;
    }
}

/* dx = rstd (g - mean(g) - xh mean(g xh)) with g = dy w and xh = (x - mean) rstd. */
static void backward_row(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w,
                         float mean, float rstd, size_t C)
{
    double sum = 0, along = 0;
    for (size_t c = 0; c < C; c++) {
        float xh = (x[c] - mean) * rstd, g = dy[c] * w[c];
        sum += (double)g;
        along += (double)g * (double)xh;
        if (dw != NULL) dw[c] += dy[c] * xh;
        if (db != NULL) db[c] += dy[c];
    }
    float g0 = (float)(sum / (double)C), g1 = (float)(along / (double)C);
    for (size_t c = 0; c < C; c++) dx[c] = rstd * (dy[c] * w[c] - g0 - (x[c] - mean) * rstd * g1);
}

void layernorm_plain_backward(float *dx, float *dw, float *db, const float *dy, const float *x,
                              const float *w, const float *mean, const float *rstd, size_t N, size_t C)
{
    for (size_t i = 0; i < N; i++)
        backward_row(dx + i * C, dw, db, dy + i * C, x + i * C, w, mean[i], rstd[i], C);
}
