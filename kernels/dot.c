/* dot, plain: summed in double, so that it is exact to float for every width. */
#include "kernels/dot.h"

void dot_rows(float *y, const float *rows, const float *x, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t c = 0; c < d; c++) sum += (double)rows[i * d + c] * x[c];
        y[i] = (float)sum;
    }
}
