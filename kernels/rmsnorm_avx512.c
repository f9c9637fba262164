#include "kernels/vec_avx512.h"
#include "kernels/rmsnorm_simd.h"
