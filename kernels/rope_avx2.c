#include "kernels/vec_avx2.h"
#include "kernels/rope_simd.h"
