/* The table of kernels: pure functions over contiguous row-major float buffers; no allocation, no I/O, no
 * globals.
 *
 * One table per CPU kind, chosen once (kernels_select) and passed on. Each operation has its own file: <op>.c
 * holds the plain version (the oracle) and its doc; <op>_avx2.c and <op>_avx512.c the fast ones, tested
 * against it over odd sizes. Kernels accept element alignment. Input gradients will be stored, parameter
 * gradients accumulated; the room for <op>_backward is beside each forward. Threads: callers give each worker
 * a slice (of rows, of columns, of heads); no kernel starts any. */
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

    /* Gated short convolution (shortconv.h): bgu [N, 3C] = (B | g | u) rows; z = B*u; v = [carry (K-1 rows);
     * z]; s[t] = sum_j w[c,j] v[t+j] (+ bias[c]); y [N,C] = g*s. carry [K-1, C] in and out. w [C,K]; bias [C]
     * or NULL. Columns [c0, c1) only. y rows ldy apart, bgu rows 3C apart. N >= 0, K >= 1. */
    void (*shortconv_forward)(float *y, size_t ldy, const float *bgu, float *carry, const float *w,
                              const float *bias, size_t N, size_t C, size_t K, size_t c0, size_t c1);

    /* a [N,F] = silu(a) * b, both rows ld apart (so that one [N, 2F] GEMM output can hold both). */
    void (*swiglu_forward)(float *a, const float *b, size_t ld, size_t N, size_t F);

    void (*add)(float *y, const float *x, size_t n);                               /* y += x */
    void (*add_bias)(float *y, size_t ldy, const float *bias, size_t N, size_t C); /* y [N,C] += bias [C] */

    /* Softmax statistics of a tile of logits, running: for each row i of logits [N,V] (rows ld apart) update
     * max[i], sum[i] (of exp(l - max)). Start with max = -inf, sum = 0. log-sum-exp = max + log(sum). */
    void (*logsumexp_update)(float *max, float *sum, const float *logits, size_t ld, size_t N, size_t V);
    /* x [n] = softmax(x / temperature) in place; for sampling. */
    void (*softmax)(float *x, size_t n, float temperature);

    /* Widen to f32. n elements; src has element alignment at least. */
    void (*from_bf16)(float *dst, const uint16_t *src, size_t n);
    void (*from_f16)(float *dst, const uint16_t *src, size_t n);

    /* y [M,N] (rows ldy apart) = x [M,K] (rows ldx apart) . w [N,K]^T (rows ldw apart) + beta * y, beta 0
     * or 1. One thread (the caller's). OpenBLAS: y's bits may depend on M and on how N is sliced (float
     * rounding only). */
    void (*matmul)(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw, size_t M,
                   size_t N, size_t K, float beta);

    const struct longconv_kernels *longconv; /* longconv.h */
};

/* The best table for this CPU; or the named one ("plain", "avx2", "avx512"), NULL if this CPU cannot run it.
 * THEA_KERNELS=name in the environment picks one for tests and bug reports. Also sets OpenBLAS to one thread.
 */
const struct kernels *kernels_select(const char *name);
const char *kernels_cpu_name(char *out, size_t size); /* "AMD EPYC" */
const char *kernels_cpu_features(char *out,
                                 size_t size); /* "avx2 fma f16c avx512f … avx512_bf16 avx512_vnni" */
const char *kernels_blas_config(void);         /* OpenBLAS' own description */

#endif
