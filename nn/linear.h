/* Linear layers: y = x . W^T + b, W [out, in]. W may be several matrices stacked by rows (q, k and v; gate
 * and up), each where the file has it.
 *
 * A layer that is packed (linear_pack) goes through kernels->gemm: an output row's bits then depend on its
 * input row alone, not on the other rows of the call, nor on threads. One that is not goes through
 * kernels->matmul. */
#ifndef NN_LINEAR_H
#define NN_LINEAR_H

#include "kernels/kernels.h"
#include "nn/workers.h"

enum { LINEAR_PARTS = 3 };

struct linear {
    struct {
        const float *w;
        size_t rows;
    } part[LINEAR_PARTS]; /* w [rows, in] */
    size_t parts;
    size_t in, out;      /* out: sum of rows */
    const float *bias;   /* [out] or NULL */
    const float *panels; /* W packed for `packed_for`, or NULL */
    const struct kernels *packed_for;
};

/* y [n, out] (rows ldy apart) = x [n, in] (rows ldx apart) . W^T + bias (+ y, if add). Columns of y are
 * shared out over the workers; of a packed layer rows, when there are enough. */
void linear_forward(const struct linear *l, const struct kernels *k, struct workers *workers, float *y,
                    size_t ldy, const float *x, size_t ldx, size_t n, bool add);
/* The same for columns [begin, end) of y alone, by the caller's thread; y [n, end - begin]. Not packed. */
void linear_columns(const struct linear *l, const struct kernels *k, float *y, size_t ldy, const float *x,
                    size_t ldx, size_t n, size_t begin, size_t end, bool add);

/* --- packed layers */

/* Floats that linear_pack writes; 0 for a layer whose weights are not there. */
size_t linear_packed_floats(const struct linear *l, const struct kernels *k);
/* Pack W for k into memory: linear_packed_floats(l, k) floats, 64-byte aligned, which live as long as l. A
 * layer whose weights are not there is left alone. (nn/weights/loader.h: loader_pack brings the memory.) */
void linear_pack(struct linear *l, const struct kernels *k, float *memory);

/* Whether n rows are enough that workers share them out (else columns). */
bool linear_shares_rows(const struct workers *workers, size_t n);

/* y = gelu(x . W^T + bias). Packed or not. */
void linear_gelu(const struct linear *l, const struct kernels *k, struct workers *workers, float *y,
                 size_t ldy, const float *x, size_t ldx, size_t n);
/* y [n, out] = gelu(x_gate . G^T + bias) * (x_up . U^T + bias); both layers packed and of the same shape,
 * rows of x_gate and x_up (often the same) ldx apart. */
void linear_geglu(const struct linear *gate, const struct linear *up, struct workers *workers, float *y,
                  size_t ldy, const float *x_gate, const float *x_up, size_t ldx, size_t n);

/* The same of packed layers by the caller's thread, for tasks that take some rows through several layers.
 * scratch: GEMM_SCRATCH floats (workers_scratch). */
void linear_rows(const struct linear *l, float *y, size_t ldy, const float *x, size_t ldx, size_t n,
                 gemm_epilogue epilogue, float *scratch);
void linear_geglu_rows(const struct linear *gate, const struct linear *up, float *y, size_t ldy,
                       const float *x_gate, const float *x_up, size_t ldx, size_t n, float *scratch);

/* --- backward */

/* Where a layer's parameter gradients are added up, by part; NULL: not wanted. */
struct linear_gradients {
    float *w[LINEAR_PARTS];    /* [rows, in] */
    float *bias[LINEAR_PARTS]; /* [rows] */
};
/* dx [n, in] (rows lddx apart; NULL: not wanted) = dy [n, out] . W (+ dx, if add); the parameters' gradients
 * are added to g (NULL: none wanted). x: forward's input. dx is neither dy nor x. Shared out over the workers
 * in pieces whose sizes do not depend on them: neither do the bits. */
void linear_backward(const struct linear *l, const struct kernels *k, struct workers *workers, float *dx,
                     size_t lddx, bool add, const struct linear_gradients *g, const float *dy, size_t lddy,
                     const float *x, size_t ldx, size_t n);

#endif
