#include "kernels/vec_avx512.h"
#include "kernels/gelu_simd.h"
