#include "kernels/vec_avx2.h"
#include "kernels/add_simd.h"
