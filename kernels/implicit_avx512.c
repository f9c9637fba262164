#include "kernels/vec_avx512.h"
#include "kernels/vec_double.h"
#include "kernels/implicit_simd.h"
