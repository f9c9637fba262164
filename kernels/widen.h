/* Widen stored 16-bit floats to f32; exact for every value, subnormals and infinities included; NaN stays
 * NaN. */
#ifndef KERNELS_WIDEN_H
#define KERNELS_WIDEN_H

#include <stddef.h>
#include <stdint.h>

void widen_bf16(float *dst, const uint16_t *src, size_t n);
void widen_bf16_avx2(float *dst, const uint16_t *src, size_t n);
void widen_bf16_avx512(float *dst, const uint16_t *src, size_t n);

void widen_f16(float *dst, const uint16_t *src, size_t n);
void widen_f16_avx2(float *dst, const uint16_t *src, size_t n);
void widen_f16_avx512(float *dst, const uint16_t *src, size_t n);

#endif
