#include "kernels/vec_avx2.h"
#include "kernels/shortconv_simd.h"
