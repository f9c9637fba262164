#include "kernels/vec_avx512.h"
#include "kernels/lanes.h"
#include "kernels/longconv_simd.h"
