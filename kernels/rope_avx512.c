#include "kernels/vec_avx512.h"
#include "kernels/rope_simd.h"
