#include "kernels/vec_avx2.h"
#include "kernels/layernorm_simd.h"
