/* add over vec. */
#include "kernels/add.h"

VEC void add_row(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) vec_store(y + i, vec_add(vec_load(y + i), vec_load(x + i)));
    if (i < n)
        vec_store_first(y + i, vec_add(vec_load_first(y + i, n - i), vec_load_first(x + i, n - i)), n - i);
}

void KERNEL(add_forward)(float *y, const float *x, size_t n)
{
    add_row(y, x, n);
}

void KERNEL(add_bias_forward)(float *y, size_t ldy, const float *bias, size_t N, size_t C)
{
    for (size_t i = 0; i < N; i++) add_row(y + i * ldy, bias, C);
}
