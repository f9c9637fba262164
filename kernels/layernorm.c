/* layernorm, plain: sums in double, so that they are exact to float for every width. */
#include "kernels/layernorm.h"
#include <math.h>

static double element(const float *x, const float *r, size_t i)
{
    return r != NULL ? (double)(x[i] + r[i]) : (double)x[i];
}

void layernorm_forward(float *y, float *mean, float *rstd, const float *x, const float *r, const float *w,
                       const float *b, size_t N, size_t C, float eps)
{
    for (size_t i = 0; i < N; i++) {
        const float *xi = x + i * C, *ri = r != NULL ? r + i * C : NULL;
        double sum = 0, squares = 0;
        for (size_t c = 0; c < C; c++) sum += element(xi, ri, c);
        double m = sum / (double)C;
        for (size_t c = 0; c < C; c++) {
            double d = element(xi, ri, c) - m;
            squares += d * d;
        }
        double s = 1 / sqrt(squares / (double)C + eps);
        for (size_t c = 0; c < C; c++)
            y[i * C + c] = (float)(w[c] * ((element(xi, ri, c) - m) * s) + (b != NULL ? (double)b[c] : 0));
        if (mean != NULL) mean[i] = (float)m;
        if (rstd != NULL) rstd[i] = (float)s;
    }
}

void layernorm_backward(float *dx, float *dw, float *db, const float *dy, const float *x, const float *r,
                        const float *w, const float *mean, const float *rstd, size_t N, size_t C)
{
    for (size_t i = 0; i < N; i++) {
        const float *xi = x + i * C, *ri = r != NULL ? r + i * C : NULL, *g = dy + i * C;
        double m = mean[i], s = rstd[i], sum = 0, along = 0; /* of dy * w, and along the normed row */
        for (size_t c = 0; c < C; c++) {
            double normed = (element(xi, ri, c) - m) * s;
            sum += (double)g[c] * w[c];
            along += (double)g[c] * w[c] * normed;
        }
        sum /= (double)C, along /= (double)C;
        for (size_t c = 0; c < C; c++) {
            double normed = (element(xi, ri, c) - m) * s, d = g[c];
            if (dw != NULL) dw[c] += (float)(d * normed);
            if (db != NULL) db[c] += g[c];
            dx[i * C + c] = (float)(s * (d * w[c] - sum - normed * along));
        }
    }
}
