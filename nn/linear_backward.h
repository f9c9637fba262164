/* Backward of linear layers: see linear.h for y = x . W^T + b. */
#ifndef NN_LINEAR_BACKWARD_H
#define NN_LINEAR_BACKWARD_H

#include "nn/gradients.h"
#include "nn/linear.h"

/* dx [n, in] (rows ldx apart) = dy [n, out] (rows ldy apart) . W (+ dx, if add). */
void linear_backward_input(const struct linear *l, float *dx, size_t ldx, const float *dy, size_t ldy,
                           size_t n, bool add);
/* For rows [row, row + rows) of W, which are one tensor of the file: dw [rows, in] += dy^T . x and db [rows]
 * += the sum of dy. x [n, in], rows ldx apart; dy [n, out], the whole layer's. dw, db may be NULL. */
void linear_backward_weight(const struct linear *l, float *dw, float *db, const float *dy, size_t ldy,
                            const float *x, size_t ldx, size_t n, size_t row, size_t rows);

#endif
