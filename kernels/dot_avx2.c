#include "kernels/vec_avx2.h"
#include "kernels/dot_simd.h"
