/* widen over vec; the last few elements the plain way. */
#include "kernels/widen.h"

void KERNEL(widen_bf16)(float *dst, const uint16_t *src, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) vec_store(dst + i, vec_load_bf16(src + i));
    widen_bf16(dst + i, src + i, n - i);
}

void KERNEL(widen_f16)(float *dst, const uint16_t *src, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) vec_store(dst + i, vec_load_f16(src + i));
    widen_f16(dst + i, src + i, n - i);
}
