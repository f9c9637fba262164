/* rmsnorm, plain: the mean is summed in double, so that it is exact to float for every width. */
#include "kernels/rmsnorm.h"
#include <math.h>

static float reciprocal_rms(const float *x, size_t C, float eps)
{
    double sum = 0;
    for (size_t c = 0; c < C; c++) sum += (double)x[c] * x[c];
    return (float)(1.0 / sqrt(sum / (double)C + eps));
}

void rmsnorm_forward(float *y, float *rstd, const float *x, const float *w, size_t N, size_t C, float eps)
{
    for (size_t i = 0; i < N; i++) {
        float r = reciprocal_rms(x + i * C, C, eps);
        for (size_t c = 0; c < C; c++) y[i * C + c] = w[c] * (x[i * C + c] * r);
        if (rstd) rstd[i] = r;
    }
}

void headnorm_forward(float *x, size_t ldx, const float *w, size_t N, size_t heads, size_t D, float eps)
{
    for (size_t i = 0; i < N; i++)
        for (size_t h = 0; h < heads; h++)
            rmsnorm_forward(x + i * ldx + h * D, NULL, x + i * ldx + h * D, w, 1, D, eps);
}
