#include "kernels/vec_avx2.h"
#include "kernels/swiglu_simd.h"
