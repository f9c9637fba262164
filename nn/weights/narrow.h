/* Rounding f32 to 16-bit types: to the nearest, ties to even, as torch and hardware do; NaN stays NaN. */
#ifndef NN_WEIGHTS_NARROW_H
#define NN_WEIGHTS_NARROW_H

#include <stddef.h>
#include <stdint.h>

/* Each returns how many finite values lie beyond the type's range and became infinite. */
size_t narrow_bf16(uint16_t *dst, const float *src, size_t n);
size_t narrow_f16(uint16_t *dst, const float *src, size_t n);

#endif
