#include "kernels/vec_avx2.h"
#include "kernels/lanes.h"
#include "kernels/longconv_simd.h"
