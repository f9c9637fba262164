#include "kernels/vec_avx512.h"
#include "kernels/layernorm_simd.h"
