#include "kernels/vec_avx512.h"
#include "kernels/softmax_simd.h"
