#include "kernels/vec_avx2.h"
#include "kernels/softmax_simd.h"
