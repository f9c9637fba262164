/* The packed product on AVX-512: tiles of 14 rows and 32 columns, 28 registers of sums. */
#include "kernels/vec_avx512.h"

#define TILE            14
#define ROWS            (12 * TILE) /* 516 KB of rows, in a second-level cache of 1 MB */
#define TILE_KERNELS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)

#include "kernels/gemm_simd.h"
