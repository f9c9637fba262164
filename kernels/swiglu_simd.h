/* swiglu over vec. */
#include "kernels/swiglu.h"
#include "kernels/vec_exp.h"

VEC vec gate(vec a, vec b)
{
    return vec_mul(vec_div(a, vec_add(vec_set(1.0f), vec_exp(vec_sub(vec_zero(), a)))), b);
}

void KERNEL(swiglu_forward)(float *a, const float *b, size_t ld, size_t N, size_t F)
{
    for (size_t i = 0; i < N; i++, a += ld, b += ld) {
        size_t f = 0;
        for (; f + 16 <= F; f += 16) vec_store(a + f, gate(vec_load(a + f), vec_load(b + f)));
        if (f < F)
            vec_store_first(a + f, gate(vec_load_first(a + f, F - f), vec_load_first(b + f, F - f)), F - f);
    }
}
