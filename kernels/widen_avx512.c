#include "kernels/vec_avx512.h"
#include "kernels/widen_simd.h"
