/* The table of kernels: pure functions over contiguous row-major float buffers; no allocation, no I/O, no
 * globals.
 *
 * One table per CPU kind, chosen once (kernels_select) and passed on. Each operation has its own file: <op>.c
 * holds the plain version (the oracle) and its doc; <op>_avx2.c and <op>_avx512.c the fast ones, tested
 * against it over odd sizes. Kernels accept element alignment. Input gradients are stored, parameter
 * gradients accumulated; <op>_backward is beside its forward. Threads: callers give each worker a slice (of
 * rows, of columns, of heads); no kernel starts any. */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A KV cache of one block and one stream, in the layout that attention reads; opaque to all but
 * kernels/attention*.c. Heads are head_stride floats apart; filling positions in order touches memory in
 * order (by blocks of 128), so a cache can reserve address space for cap positions and use memory only for
 * what is filled (nn/kv.c). What lies after the last position may be stale: it is never used. */
struct attention_cache {
    float *k, *v;       /* each G * head_stride floats, 64-byte aligned, zero-filled pages */
    size_t head_stride; /* floats from one head to the next: attention_head_floats(cap, D) */
    size_t kv_heads;    /* G */
    size_t head_size;   /* D, any size >= 1 */
};
size_t attention_head_floats(size_t cap, size_t D); /* cap rounded up to 128, times D rounded up to 16 */

struct longconv_kernels;
struct implicit_kernels;

/* W [N,K] for the packed product, and what is added to each row of its output. Panels: W's rows in groups of
 * gemm_width (the last filled up with zeros), each group transposed, [K][gemm_width]; made by gemm_pack. */
struct gemm_weights {
    const float *panels; /* gemm_floats(k, N, K) floats, 64-byte aligned */
    const float *bias;   /* [N] or NULL */
    size_t N, K;
};
typedef enum {
    GEMM_STORE, /* y = x . W^T + bias */
    GEMM_ADD,   /* y += x . W^T + bias */
    GEMM_GELU,  /* y = gelu(x . W^T + bias) */
} gemm_epilogue;
enum {
    GEMM_GEGLU_K = 4096,
    GEMM_SCRATCH = 3 << 16, /* floats a worker: 768 KiB, of which large products fill most */
};

struct kernels {
    const char *name; /* "plain", "avx2", "avx512" */

    /* y [N,C] = w [C] * x [N,C] / sqrt(mean(x^2) + eps); rstd [N] may be NULL. y may be x. */
    void (*rmsnorm_forward)(float *y, float *rstd, const float *x, const float *w, size_t N, size_t C,
                            float eps);

    /* Rotate in place, half-split convention: x [N, heads, D] with rows ldx floats apart; cos, sin [N, D/2]
     * of the rows' positions. */
    void (*rope_forward)(float *x, size_t ldx, const float *cos, const float *sin, size_t N, size_t heads,
                         size_t D);

    /* rmsnorm over each head's D values in place: x [N, heads, D], rows ldx apart; w [D]. */
    void (*headnorm_forward)(float *x, size_t ldx, const float *w, size_t N, size_t heads, size_t D,
                             float eps);

    /* Write n new positions [pos, pos+n) of kv heads [g0, g1) into the cache. k, v [n, G*D] with rows ld
     * floats apart (all heads' rows; head g at column g*D). */
    void (*attention_append)(struct attention_cache *c, const float *k, const float *v, size_t ld, size_t pos,
                             size_t n, size_t g0, size_t g1);

    /* Causal grouped-query attention of n query rows at positions [pos, pos+n) over the cache's positions [0,
     * pos+n), for kv heads [g0, g1): o[i,h,:] = softmax_j<=pos+i(q[i,h,:] . k[j,g,:] * scale) v[j,g,:],  h in
     * [g*H/G, (g+1)*H/G). No n x T matrix: tiles, online softmax; key blocks begin at absolute multiples of
     * the block size, so that the result does not depend on the chunk. q, o: rows ldq, ldo floats apart, head
     * h at column h*D. scratch: attention_scratch(D, H/G) floats, one per worker. o may be q. */
    void (*attention_forward)(float *o, size_t ldo, const float *q, size_t ldq,
                              const struct attention_cache *c, size_t pos, size_t n, size_t H, size_t g0,
                              size_t g1, float scale, float *scratch);
    size_t (*attention_scratch)(size_t D, size_t heads_per_group);

    /* Bidirectional: the same over the cache's positions [0, keys) for each of n query rows. scratch as
     * above. */
    void (*attention_full_forward)(float *o, size_t ldo, const float *q, size_t ldq,
                                   const struct attention_cache *c, size_t keys, size_t n, size_t H,
                                   size_t g0, size_t g1, float scale, float *scratch);
    /* Its backward, one head: attention_full.h. */
    void (*attention_full_backward)(float *dq, float *dk, float *dv, size_t ldd, const float *dout,
                                    size_t ldo, const float *q, const float *k, const float *v, size_t ld,
                                    size_t n, size_t D, float scale, float *scratch);

    /* Gated short convolution (shortconv.h): bgu [N, 3C] = (B | g | u) rows; z = B*u; v = [carry (K-1 rows);
     * z]; s[t] = sum_j w[c,j] v[t+j] (+ bias[c]); y [N,C] = g*s. carry [K-1, C] in and out. w [C,K]; bias [C]
     * or NULL. Columns [c0, c1) only. y rows ldy apart, bgu rows 3C apart. N >= 0, K >= 1. */
    void (*shortconv_forward)(float *y, size_t ldy, const float *bgu, float *carry, const float *w,
                              const float *bias, size_t N, size_t C, size_t K, size_t c0, size_t c1);

    /* The Monarch Mixer's short convolution and gate (shortgate.h): g, x2 [N, columns] (rows ldy apart) of
     * rows a [2 + N, 3B], the first two of them the past; w [3, 3B], bias [3B]. columns <= B. */
    void (*shortgate_forward)(float *g, float *x2, size_t ldy, const float *a, const float *w,
                              const float *bias, size_t N, size_t B, size_t columns);
    /* da [N,3B] stored, dw [3, 3B] and dbias [3B] accumulated; dg, dx2 [N,B] rows ldd apart. */
    void (*shortgate_backward)(float *da, float *dw, float *dbias, const float *dg, const float *dx2,
                               size_t ldd, const float *a, const float *w, const float *bias, size_t N,
                               size_t B);

    /* a [N,F] = silu(a) * b, both rows ld apart (so that one [N, 2F] GEMM output can hold both). */
    void (*swiglu_forward)(float *a, const float *b, size_t ld, size_t N, size_t F);

    /* Layer norm of x, or of x + r (r NULL: of x): y [N,C] = w * (x + r - mean) / sqrt(var + eps) + b. mean,
     * rstd [N] may be NULL (backward reads them); b may be NULL; y may be x or r. */
    void (*layernorm_forward)(float *y, float *mean, float *rstd, const float *x, const float *r,
                              const float *w, const float *b, size_t N, size_t C, float eps);
    /* dx [N,C]: the gradient of x, and of r; dw, db [C] accumulated (NULL: not wanted). dx may be dy. */
    void (*layernorm_backward)(float *dx, float *dw, float *db, const float *dy, const float *x,
                               const float *r, const float *w, const float *mean, const float *rstd, size_t N,
                               size_t C);

    /* y [N,F] = gelu(x), exact (erf) or by tanh; dx [N,F] = dy * gelu'(x). In place allowed. */
    void (*gelu_forward)(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F);
    void (*gelu_backward)(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx,
                          size_t N, size_t F);
    void (*gelu_tanh_forward)(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F);
    void (*gelu_tanh_backward)(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x,
                               size_t ldx, size_t N, size_t F);
    /* y [N,F] = gelu(gate) * lin (exact); gate and lin rows ld apart; y may be either. */
    void (*geglu_forward)(float *y, size_t ldy, const float *gate, const float *lin, size_t ld, size_t N,
                          size_t F);
    /* dgate, dlin [N,F] (rows ldd apart) may be gate and lin; either may be dy. */
    void (*geglu_backward)(float *dgate, float *dlin, size_t ldd, const float *dy, size_t lddy,
                           const float *gate, const float *lin, size_t ld, size_t N, size_t F);
    void (*tanh_forward)(float *y, const float *x, size_t n);                    /* y may be x */
    void (*tanh_backward)(float *dx, const float *dy, const float *y, size_t n); /* dx = dy * (1 - y^2) */

    void (*add)(float *y, const float *x, size_t n);                               /* y += x */
    void (*add_bias)(float *y, size_t ldy, const float *bias, size_t N, size_t C); /* y [N,C] += bias [C] */

    /* Softmax statistics of a tile of logits, running: for each row i of logits [N,V] (rows ld apart) update
     * max[i], sum[i] (of exp(l - max)). Start with max = -inf, sum = 0. log-sum-exp = max + log(sum). */
    void (*logsumexp_update)(float *max, float *sum, const float *logits, size_t ld, size_t N, size_t V);
    /* x [n] = softmax(x / temperature) in place; for sampling. */
    void (*softmax)(float *x, size_t n, float temperature);

    /* y [n] = rows [n,d] . x [d]; a row's value does not depend on the other rows. */
    void (*dot_rows)(float *y, const float *rows, const float *x, size_t n, size_t d);

    /* Widen to f32. n elements; src has element alignment at least. */
    void (*from_bf16)(float *dst, const uint16_t *src, size_t n);
    void (*from_f16)(float *dst, const uint16_t *src, size_t n);

    /* y [M,N] (rows ldy apart) = x [M,K] (rows ldx apart) . w [N,K]^T (rows ldw apart) + beta * y, beta 0
     * or 1. One thread (the caller's). OpenBLAS: y's bits may depend on M and on how N is sliced (float
     * rounding only). */
    void (*matmul)(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw, size_t M,
                   size_t N, size_t K, float beta);
    /* dx [M,K] (rows lddx apart) = dy [M,N] . w [N,K] + beta * dx, beta 0 or 1. As matmul. */
    void (*matmul_backward_input)(float *dx, size_t lddx, const float *dy, size_t lddy, const float *w,
                                  size_t ldw, size_t M, size_t N, size_t K, float beta);
    /* dw [N,K] (rows lddw apart) += dy [M,N]^T . x [M,K]. As matmul. */
    void (*matmul_backward_weight)(float *dw, size_t lddw, const float *dy, size_t lddy, const float *x,
                                   size_t ldx, size_t M, size_t N, size_t K);

    const struct longconv_kernels *longconv; /* longconv.h */
    const struct implicit_kernels *implicit; /* implicit.h */

    /* The packed product: columns [n0, n1) of y [M,N] (rows ldy apart; y is column 0) from x [M,K] (rows ldx
     * apart) and W in panels. Each output is one chain of sums over k in an order that K alone decides: its
     * bits depend neither on M, nor on the row's place, nor on n0 and n1. n0 is a multiple of gemm_width, n1
     * too or N. scratch: GEMM_SCRATCH floats, one per worker. y is not x. */
    size_t gemm_width;
    void (*gemm)(float *y, size_t ldy, const float *x, size_t ldx, const struct gemm_weights *w, size_t M,
                 size_t n0, size_t n1, gemm_epilogue epilogue, float *scratch);
    /* Columns [n0, n1) of y [M,N] = gelu(xg . G^T + bias) * (xu . U^T + bias): gate and linear part of a GLU,
     * neither of which is stored. G, U [N,K]; xg, xu [M,K] with rows ldx apart, often the same. K <=
     * GEMM_GEGLU_K. The rest as gemm. */
    void (*gemm_geglu)(float *y, size_t ldy, const float *xg, const float *xu, size_t ldx,
                       const struct gemm_weights *gate, const struct gemm_weights *up, size_t M, size_t n0,
                       size_t n1, float *scratch);
};

/* Floats of W [N,K] in panels. */
size_t gemm_floats(const struct kernels *k, size_t N, size_t K);
/* Rows [first, first + rows) of W [N,K], at w (ldw apart), to their place in the panels. All rows packed, in
 * any order, and nothing else need be written. */
void gemm_pack(const struct kernels *k, float *panels, const float *w, size_t ldw, size_t first, size_t rows,
               size_t N, size_t K);

/* The best table for this CPU; or the named one ("plain", "avx2", "avx512"), NULL if this CPU cannot run it.
 * THEA_KERNELS=name in the environment picks one for tests and bug reports. Also sets OpenBLAS to one thread.
 */
const struct kernels *kernels_select(const char *name);
const char *kernels_cpu_name(char *out, size_t size); /* "AMD EPYC" */
const char *kernels_cpu_features(char *out,
                                 size_t size); /* "avx2 fma f16c avx512f … avx512_bf16 avx512_vnni" */
const char *kernels_blas_config(void);         /* OpenBLAS' own description */

#endif
