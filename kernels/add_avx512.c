#include "kernels/vec_avx512.h"
#include "kernels/add_simd.h"
