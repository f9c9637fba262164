#include "kernels/vec_avx512.h"
#include "kernels/shortgate_simd.h"
