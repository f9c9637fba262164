/* 6 x 1 sums of two registers each, 1 vector of keys or values and 1 broadcast: 15 of 16 registers. */
#include "kernels/vec_avx2.h"
enum { TILE_ROWS = 6, TILE_VECS = 1, PASS = 8, GROUP_PASSES = 8 };
#include "kernels/attention_simd.h"
