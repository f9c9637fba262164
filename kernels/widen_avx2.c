#include "kernels/vec_avx2.h"
#include "kernels/widen_simd.h"
