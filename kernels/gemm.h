/* The packed product: see kernels.h (gemm, gemm_geglu) for what it computes.
 *
 * Panels hold GEMM_WIDTH… columns of y; x is packed by the way, in tiles of some rows. K is cut into blocks
 * of nearly equal depth. In each a tile's sums begin at zero and run over k in order, one multiply-add a
 * step; the blocks' sums are then added up in order, to y or to zero. So the order of an output's sums is K's
 * alone. */
#ifndef KERNELS_GEMM_H
#define KERNELS_GEMM_H

#include "kernels/kernels.h"

enum { GEMM_WIDTH = 16, GEMM_WIDTH_avx2 = 16, GEMM_WIDTH_avx512 = 32 };

void gemm_forward(float *y, size_t ldy, const float *x, size_t ldx, const struct gemm_weights *w, size_t M,
                  size_t n0, size_t n1, gemm_epilogue epilogue, float *scratch);
void gemm_forward_avx2(float *y, size_t ldy, const float *x, size_t ldx, const struct gemm_weights *w,
                       size_t M, size_t n0, size_t n1, gemm_epilogue epilogue, float *scratch);
void gemm_forward_avx512(float *y, size_t ldy, const float *x, size_t ldx, const struct gemm_weights *w,
                         size_t M, size_t n0, size_t n1, gemm_epilogue epilogue, float *scratch);

void gemm_geglu_forward(float *y, size_t ldy, const float *xg, const float *xu, size_t ldx,
                        const struct gemm_weights *gate, const struct gemm_weights *up, size_t M, size_t n0,
                        size_t n1, float *scratch);
void gemm_geglu_forward_avx2(float *y, size_t ldy, const float *xg, const float *xu, size_t ldx,
                             const struct gemm_weights *gate, const struct gemm_weights *up, size_t M,
                             size_t n0, size_t n1, float *scratch);
void gemm_geglu_forward_avx512(float *y, size_t ldy, const float *xg, const float *xu, size_t ldx,
                               const struct gemm_weights *gate, const struct gemm_weights *up, size_t M,
                               size_t n0, size_t n1, float *scratch);

#endif
