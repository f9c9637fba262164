#include "kernels/vec_avx512.h"
#include "kernels/shortconv_simd.h"
