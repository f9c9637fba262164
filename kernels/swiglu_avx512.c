#include "kernels/vec_avx512.h"
#include "kernels/swiglu_simd.h"
