#include "kernels/vec_avx512.h"
#include "kernels/dot_simd.h"
