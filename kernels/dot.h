/* Dot products of many rows with one vector: exact search reads every row once and keeps one number of it. */
#ifndef KERNELS_DOT_H
#define KERNELS_DOT_H

#include <stddef.h>

/* y [n] stored; rows [n,d], x [d] read. A row's value depends on that row and x alone, so that it does not
 * matter how rows are shared out. */
void dot_rows(float *y, const float *rows, const float *x, size_t n, size_t d);
void dot_rows_avx2(float *y, const float *rows, const float *x, size_t n, size_t d);
void dot_rows_avx512(float *y, const float *rows, const float *x, size_t n, size_t d);

#endif
