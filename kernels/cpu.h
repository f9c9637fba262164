/* What this CPU is and can do. */
#ifndef KERNELS_CPU_H
#define KERNELS_CPU_H

#include <stdbool.h>

bool cpu_has_avx2(void);   /* what *_avx2.c is compiled for: AVX2, FMA, F16C */
bool cpu_has_avx512(void); /* what *_avx512.c is compiled for: AVX-512 F, BW, DQ, VL and the above */

#endif
