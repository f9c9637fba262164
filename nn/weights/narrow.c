/* Rounding to 16-bit types: see narrow.h. */
#include "nn/weights/narrow.h"

#include <string.h>

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* x / 2^shift, to the nearest, ties to even. */
static uint32_t shift_right(uint32_t x, uint32_t shift)
{
    uint32_t kept = x >> shift, rest = x & ((1U << shift) - 1), half = 1U << (shift - 1);
    return kept + (rest > half || (rest == half && (kept & 1) != 0));
}

size_t narrow_bf16(uint16_t *dst, const float *src, size_t n)
{
    size_t beyond = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t x = bits_of(src[i]), magnitude = x & 0x7fffffff;
        uint32_t y = magnitude > 0x7f800000 ? x >> 16 | 0x40 : (x + 0x7fff + (x >> 16 & 1)) >> 16;
        beyond += magnitude < 0x7f800000 && (y & 0x7fff) == 0x7f80;
        dst[i] = (uint16_t)y;
    }
    return beyond;
}

/* The magnitude of a finite f32 as f16: 5 bits of exponent with bias 15, 10 of mantissa. */
static uint32_t half_of(uint32_t magnitude)
{
    uint32_t exponent = magnitude >> 23;
    if (exponent > 142) return 0x7c00; /* 2^16 and more */
    if (exponent > 112) return shift_right(magnitude - (112U << 23), 13);
    if (exponent < 102) return 0; /* below half of the smallest, 2^-24 */
    return shift_right((magnitude & 0x7fffff) | 0x800000, 126 - exponent); /* not normalised there */
}

size_t narrow_f16(uint16_t *dst, const float *src, size_t n)
{
    size_t beyond = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t x = bits_of(src[i]), sign = x >> 16 & 0x8000, magnitude = x & 0x7fffffff, y;
        if (magnitude > 0x7f800000)
            y = 0x7e00;
        else if (magnitude == 0x7f800000)
            y = 0x7c00;
        else
            beyond += (y = half_of(magnitude)) == 0x7c00;
        dst[i] = (uint16_t)(sign | y);
    }
    return beyond;
}
