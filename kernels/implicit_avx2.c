#include "kernels/vec_avx2.h"
#include "kernels/vec_double.h"
#include "kernels/implicit_simd.h"
