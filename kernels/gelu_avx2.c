#include "kernels/vec_avx2.h"
#include "kernels/gelu_simd.h"
