/* 12 x 2 sums, 2 vectors of keys or values and 1 broadcast: 27 of 32 registers. */
#include "kernels/vec_avx512.h"
enum { TILE_ROWS = 12, TILE_VECS = 2, PASS = 4, GROUP_PASSES = 16 };
#include "kernels/attention_simd.h"
