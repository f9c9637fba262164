#include "kernels/vec_avx2.h"
#include "kernels/shortgate_simd.h"
