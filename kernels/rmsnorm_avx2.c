#include "kernels/vec_avx2.h"
#include "kernels/rmsnorm_simd.h"
