/* widen, plain. */
#include "kernels/widen.h"
#include <math.h>
#include <string.h>

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

void widen_bf16(float *dst, const uint16_t *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = from_bits((uint32_t)src[i] << 16); /* bf16 is the upper half of an f32 */
}

/* binary16: sign 1, exponent 5 (bias 15), fraction 10. */
static float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 0x1fu, fraction = h & 0x3ffu;
    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24 */
        float f = ldexpf((float)fraction, -24);
        return sign ? -f : f;
    }
    if (exponent == 31) return from_bits(sign | 0x7f800000u | fraction << 13);
    return from_bits(sign | (exponent + 112u) << 23 | fraction << 13);
}

void widen_f16(float *dst, const uint16_t *src, size_t n)
{
    for (size_t i = 0; i < n; i++) dst[i] = half_to_float(src[i]);
}
