/* swiglu, plain. exp(-a) may overflow to infinity: a / infinity is the right 0. */
#include "kernels/swiglu.h"
#include <math.h>

void swiglu_forward(float *a, const float *b, size_t ld, size_t N, size_t F)
{
    for (size_t i = 0; i < N; i++)
        for (size_t f = 0; f < F; f++) {
            float g = a[i * ld + f];
            a[i * ld + f] = g / (1.0f + expf(-g)) * b[i * ld + f];
        }
}
