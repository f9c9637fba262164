/* The packed product on AVX2: tiles of 6 rows and 16 columns, 12 registers of sums. */
#include "kernels/vec_avx2.h"

#define TILE            6
#define ROWS            (22 * TILE) /* 405 KB of rows, in a second-level cache of 512 KB */
#define TILE_KERNELS(X) X(1) X(2) X(3) X(4) X(5) X(6)

#include "kernels/gemm_simd.h"
