/* attention over vec: a group of query rows in L1/L2 meets one key block after another.
 *
 * The rows of a kv head are its (position, head) pairs, heads innermost, so the H/G heads of a position share
 * each key and value that is read. A group is many tiles of TILE_ROWS rows: a key block, once fetched from
 * memory, stays in L2 for all of them. A pass takes PASS of the tiles, whose scores fit L1: S = q K, a
 * register tile of TILE_ROWS x TILE_VECS vectors at a time; the online softmax of S in place; then O = O *
 * correction + S V in the same register tile. Queries carry scale * log2(e), so that weights are powers of 2.
 * The including file defines TILE_ROWS, TILE_VECS and PASS for its registers.
 *
 * Every element of S and O is one chain of fused multiply-adds in the order of d and of the positions,
 * whichever tile it falls in: this is what makes a row's bits independent of the chunk. Masked scores become
 * weights of exactly 0, which change no sum. */
#include "kernels/attention.h"
#include "kernels/attention_full.h"
#include "kernels/vec_exp.h"
#include <math.h>
#include <string.h>

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum {
    BLOCK = ATTENTION_BLOCK,
    TILES = GROUP_PASSES * PASS,
    GROUP_ROWS = TILES * TILE_ROWS,
    LANES = 16,
    SLACK = 16
};

/* One worker's scratch, for one group of rows of one kv head. Per tile: q [D][TILE_ROWS], o
 * [D16/16][TILE_ROWS][16]; max, sum and correction (of this block) with LANES entries. Per tile of a pass: s
 * [TILE_ROWS][BLOCK]. */
struct group {
    size_t D, D16, per_group; /* per_group: query heads of a kv head */
    size_t row0, rows, pos;   /* rows [row0, row0 + rows) of the kv head's; pos: of the chunk's first row */
    size_t keys;              /* 0: causal; else every row sees so many */
    float *q, *o, *s, *max, *sum, *correction;
};

/* One register tile: vector v of row r, at out[r * out_row + v * out_vec], becomes (start ? itself * start[r]
 * : 0) + a . b over `steps`. Of a, row r's step k is at [r * a_row + k * a_step]; of b, vector v at [v *
 * b_vec + k * 16]. Strides but b_vec, rows and vecs are constants: sums stay in registers. */
VEC void tile_multiply(float *out, size_t out_row, size_t out_vec, const float *start, const float *a,
                       size_t a_row, size_t a_step, const float *b, size_t b_vec, size_t steps,
                       const int rows, const int vecs)
{
    vec sum[TILE_ROWS][TILE_VECS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[r][v] =
                start ? vec_mul(vec_load(out + r * out_row + v * out_vec), vec_set(start[r])) : vec_zero();
    }
    for (size_t k = 0; k < steps; k++) {
        vec column[TILE_VECS];
        UNROLL
        for (int v = 0; v < vecs; v++) {
            column[v] = vec_load(b + v * b_vec + k * 16);
            /* Decoding waits for memory: the next panels follow these. */
            if (rows <= 4) vec_prefetch(b + (vecs + v) * b_vec + k * 16);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec x = vec_set(a[r * a_row + k * a_step]);
            UNROLL
            for (int v = 0; v < vecs; v++) sum[r][v] = vec_fma(x, column[v], sum[r][v]);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vecs; v++) vec_store(out + r * out_row + v * out_vec, sum[r][v]);
    }
}

/* Scores of TILE_VECS panels of keys. */
VEC void tile_scores_rows(float *s, const float *q, const float *K, size_t D, const int rows)
{
    tile_multiply(s, BLOCK, 16, NULL, q, 1, TILE_ROWS, K, 16 * D, D, rows, TILE_VECS);
}

/* vecs panels of columns: o = o * correction + weights . V over the first `keys` of the block. */
VEC void tile_values_rows(float *o, const float *correction, const float *s, const float *V, size_t keys,
                          const int vecs, const int rows)
{
    tile_multiply(o, 16, TILE_ROWS * 16, correction, s, BLOCK, 1, V, BLOCK * 16, keys, rows, vecs);
}

/* Decoding has few rows: 1, 2 and 4 have their own code, and 8, as the last rows of documents of 128 are;
 * other tiles are padded to the whole. */
enum { EIGHT_ROWS = TILE_ROWS < 8 ? TILE_ROWS : 8 };
#define TILE_CASES(rows, call, ...)                                                                          \
    ((rows) > EIGHT_ROWS ? call(__VA_ARGS__, TILE_ROWS)                                                      \
     : (rows) > 4        ? call(__VA_ARGS__, EIGHT_ROWS)                                                     \
     : (rows) > 2        ? call(__VA_ARGS__, 4)                                                              \
     : (rows) == 2       ? call(__VA_ARGS__, 2)                                                              \
                         : call(__VA_ARGS__, 1))

static void tile_scores(float *s, const float *q, const float *K, size_t D, size_t rows)
{
    TILE_CASES(rows, tile_scores_rows, s, q, K, D);
}

static void tile_values_wide(float *o, const float *correction, const float *s, const float *V, size_t keys,
                             size_t rows)
{
    TILE_CASES(rows, tile_values_rows, o, correction, s, V, keys, TILE_VECS);
}

static void tile_values_narrow(float *o, const float *correction, const float *s, const float *V, size_t keys,
                               size_t rows)
{
    TILE_CASES(rows, tile_values_rows, o, correction, s, V, keys, 1);
}

/* Rows of tile t; 0 when the group ends before it. */
VEC size_t tile_rows(const struct group *g, size_t t)
{
    size_t before = t * TILE_ROWS;
    if (g->rows <= before) return 0;
    return g->rows - before < TILE_ROWS ? g->rows - before : TILE_ROWS;
}

/* How many keys of the block at `block` the group's row r sees. */
VEC size_t row_keys(const struct group *g, size_t r, size_t block)
{
    size_t all = g->keys ? g->keys : g->pos + (g->row0 + r) / g->per_group + 1;
    if (all <= block) return 0;
    return all - block < BLOCK ? all - block : BLOCK;
}

/* The keys that the tile's last row sees: no other row sees more. */
VEC size_t tile_keys(const struct group *g, size_t t, size_t block)
{
    size_t rows = tile_rows(g, t);
    return rows ? row_keys(g, t * TILE_ROWS + rows - 1, block) : 0;
}

VEC float *pass_scores(const struct group *g, size_t t)
{
    return g->s + t % PASS * (TILE_ROWS * BLOCK);
}

/* NaN is passed over: it shows in the sum. */
VEC float score_max(const float *s, size_t keys, float start)
{
    vec m = vec_set(start);
    size_t k = 0;
    for (; k + 16 <= keys; k += 16) m = vec_max(vec_load(s + k), m);
    if (k < keys) m = vec_max(vec_select_first(keys - k, vec_load(s + k), m), m);
    return vec_hmax(m);
}

/* s = 2^(s - shift) for the first `keys` scores, 0 for the others up to `width`; their sum. */
VEC float score_weights(float *s, size_t keys, size_t width, float shift)
{
    vec sum = vec_zero(), m = vec_set(shift);
    size_t k = 0;
    for (; k + 16 <= keys; k += 16) {
        vec e = vec_exp2_weight(vec_sub(vec_load(s + k), m));
        sum = vec_add(sum, e);
        vec_store(s + k, e);
    }
    if (k < keys) {
        vec e = vec_exp2_weight(vec_sub(vec_load(s + k), m));
        e = vec_select_first(keys - k, e, vec_zero());
        sum = vec_add(sum, e);
        vec_store(s + k, e);
        k += 16;
    }
    for (; k < width; k += 16) vec_store(s + k, vec_zero());
    return vec_hsum(sum);
}

/* The online softmax of one tile's scores: s becomes weights; max, sum and correction of its rows are brought
 * up to date. */
static void tile_softmax(struct group *g, size_t t, size_t block, size_t width)
{
    float *s = pass_scores(g, t), grown[LANES], shift[LANES], added[LANES] = {0};
    size_t rows = tile_rows(g, t), r0 = t * TILE_ROWS;
    vec old = vec_load(g->max + t * LANES), none = vec_set(-INFINITY);
    vec_store(grown, old);
    for (size_t r = 0; r < rows; r++)
        grown[r] = score_max(s + r * BLOCK, row_keys(g, r0 + r, block), grown[r]);
    vec now = vec_load(grown);
    vec m = vec_select_equal(now, none, vec_zero(), now); /* all -inf so far: weights are 0, not NaN */
    vec_store(shift, m);
    for (size_t r = 0; r < rows; r++)
        added[r] = score_weights(s + r * BLOCK, row_keys(g, r0 + r, block), width, shift[r]);
    vec correction = vec_exp2_weight(vec_sub(old, m));
    vec_store(g->correction + t * LANES, correction);
    vec_store(g->max + t * LANES, now);
    vec_store(g->sum + t * LANES, vec_fma(vec_load(g->sum + t * LANES), correction, vec_load(added)));
}

/* The keys of the block at `block` join tiles [t0, t0 + PASS). A panel of keys or columns stays in L1 while
 * all of them use it. */
static void pass_attend(struct group *g, size_t t0, const float *K, const float *V, size_t block)
{
    size_t keys[PASS];
    for (size_t i = 0; i < PASS; i++) keys[i] = tile_keys(g, t0 + i, block);
    for (size_t p = 0; p < BLOCK; p += 16 * TILE_VECS)
        for (size_t i = 0, t = t0; i < PASS; i++, t++)
            if (p < keys[i])
                tile_scores(pass_scores(g, t) + p, g->q + t * TILE_ROWS * g->D, K + p * g->D, g->D,
                            tile_rows(g, t));
    for (size_t i = 0; i < PASS; i++)
        if (keys[i]) tile_softmax(g, t0 + i, block, keys[i]);
    for (size_t d = 0; d < g->D16; d += 16 * TILE_VECS) {
        bool wide = d + 16 * TILE_VECS <= g->D16;
        for (size_t i = 0, t = t0; i < PASS; i++, t++)
            if (keys[i])
                (wide ? tile_values_wide : tile_values_narrow)(g->o + (t * g->D16 + d) * TILE_ROWS,
                                                               g->correction + t * LANES, pass_scores(g, t),
                                                               V + d * BLOCK, keys[i], tile_rows(g, t));
    }
}

/* Where row r of the group is in q or o, whose rows are ld apart. */
VEC size_t row_offset(const struct group *g, size_t r, size_t kv_head, size_t ld)
{
    size_t row = g->row0 + r;
    return row / g->per_group * ld + (kv_head * g->per_group + row % g->per_group) * g->D;
}

/* A tile's queries side by side, scaled: to [D, TILE_ROWS]. Rows beyond the group repeat its last. Writes up
 * to TRANSPOSED floats beyond the tile, where the next will be. */
static void pack_queries(const struct group *g, float *to, size_t tile, const float *q, size_t ldq,
                         size_t kv_head, float scale)
{
    const float *row[TRANSPOSED];
    size_t last = g->rows - tile * TILE_ROWS - 1, d = 0, n = g->D * TILE_ROWS;
    for (size_t r = 0; r < TRANSPOSED; r++)
        row[r] = q + row_offset(g, tile * TILE_ROWS + (r < last ? r : last), kv_head, ldq);
    for (; d + 4 <= g->D; d += 4) vec_transpose4(to + d * TILE_ROWS, TILE_ROWS, row, d);
    for (; d < g->D; d++)
        for (size_t r = 0; r < TILE_ROWS; r++) to[d * TILE_ROWS + r] = row[r][d];
    for (size_t i = 0; i < n; i += 16) vec_store(to + i, vec_mul(vec_load(to + i), vec_set(scale)));
}

static void group_begin(struct group *g, const float *q, size_t ldq, size_t kv_head, float scale)
{
    size_t tiles = (g->rows + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t t = 0; t < tiles; t++)
        pack_queries(g, g->q + t * TILE_ROWS * g->D, t, q, ldq, kv_head, scale);
    memset(g->o, 0, tiles * TILE_ROWS * g->D16 * sizeof *g->o);
    for (size_t i = 0; i < tiles * LANES; i++) {
        g->max[i] = -INFINITY;
        g->sum[i] = 0;
    }
}

static void group_end(const struct group *g, float *o, size_t ldo, size_t kv_head)
{
    for (size_t r = 0; r < g->rows; r++) {
        size_t t = r / TILE_ROWS, i = r % TILE_ROWS, d = 0;
        const float *from = g->o + t * TILE_ROWS * g->D16 + i * 16;
        float *to = o + row_offset(g, r, kv_head, ldo);
        vec scale = vec_set(1.0f / g->sum[t * LANES + i]);
        for (; d + 16 <= g->D; d += 16) vec_store(to + d, vec_mul(vec_load(from + d * TILE_ROWS), scale));
        if (d < g->D) vec_store_first(to + d, vec_mul(vec_load(from + d * TILE_ROWS), scale), g->D - d);
    }
}

/* Lay the group's buffers into scratch, from its first 64-byte boundary on. */
static void group_init(struct group *g, size_t D, size_t per_group, size_t pos, float *scratch)
{
    float *at = (float *)(((uintptr_t)scratch + 63) / 64 * 64);
    *g = (struct group){.D = D, .D16 = attention_round_up(D, 16), .per_group = per_group, .pos = pos};
    g->s = at;
    g->o = g->s + PASS * TILE_ROWS * BLOCK;
    g->max = g->o + GROUP_ROWS * g->D16;
    g->sum = g->max + TILES * LANES;
    g->correction = g->sum + TILES * LANES;
    g->q = g->correction + TILES * LANES;
}

size_t KERNEL(attention_scratch)(size_t D, size_t heads_per_group)
{
    (void)heads_per_group;
    return PASS * TILE_ROWS * BLOCK + GROUP_ROWS * (attention_round_up(D, 16) + D) + 3 * TILES * LANES + 16 +
           SLACK;
}

/* Sixteen positions of K side by side, k's rows ld apart. */
static void append_panel(float *K, const float *k, size_t ld, size_t D)
{
    const float *row[16];
    size_t d = 0;
    for (size_t i = 0; i < 16; i++) row[i] = k + i * ld;
    for (; d + 4 <= D; d += 4)
        for (size_t i = 0; i < 16; i += TRANSPOSED) vec_transpose4(K + d * 16 + i, 16, row + i, d);
    for (; d < D; d++)
        for (size_t i = 0; i < 16; i++) K[d * 16 + i] = row[i][d];
}

static void append_value(float *V, const float *v, size_t p, size_t D)
{
    size_t d = 0;
    for (; d + 16 <= D; d += 16) vec_store(V + attention_v_offset(p, d, D), vec_load(v + d));
    if (d < D) vec_store_first(V + attention_v_offset(p, d, D), vec_load_first(v + d, D - d), D - d);
}

static void append_head(float *K, float *V, const float *k, const float *v, size_t ld, size_t pos, size_t n,
                        size_t D)
{
    for (size_t i = 0; i < n;) {
        if ((pos + i) % 16 == 0 && i + 16 <= n) {
            append_panel(K + attention_k_offset(pos + i, 0, D), k + i * ld, ld, D);
            i += 16;
        } else {
            float *to = K + attention_k_offset(pos + i, 0, D);
            for (size_t d = 0; d < D; d++) to[d * 16] = k[i * ld + d];
            i++;
        }
    }
    for (size_t i = 0; i < n; i++) append_value(V, v + i * ld, pos + i, D);
}

void KERNEL(attention_append)(struct attention_cache *c, const float *k, const float *v, size_t ld,
                              size_t pos, size_t n, size_t g0, size_t g1)
{
    size_t D = c->head_size;
    for (size_t g = g0; g < g1; g++)
        append_head(c->k + g * c->head_stride, c->v + g * c->head_stride, k + g * D, v + g * D, ld, pos, n,
                    D);
}

/* All of n rows' groups, for kv heads [g0, g1); g has its D, pos and keys. */
static void attend_groups(struct group *g, float *o, size_t ldo, const float *q, size_t ldq,
                          const struct attention_cache *c, size_t n, size_t g0, size_t g1, float scale)
{
    const float log2e = 0x1.715476p+0f;
    size_t rows = n * g->per_group;
    for (size_t kv = g0; kv < g1; kv++) {
        const float *K = c->k + kv * c->head_stride, *V = c->v + kv * c->head_stride;
        for (g->row0 = 0; g->row0 < rows; g->row0 += GROUP_ROWS) {
            g->rows = rows - g->row0 < GROUP_ROWS ? rows - g->row0 : GROUP_ROWS;
            group_begin(g, q, ldq, kv, scale * log2e);
            for (size_t block = 0; row_keys(g, g->rows - 1, block); block += BLOCK)
                for (size_t t = 0; t * TILE_ROWS < g->rows; t += PASS)
                    pass_attend(g, t, K + block * g->D, V + block * g->D16, block);
            group_end(g, o, ldo, kv);
        }
    }
}

void KERNEL(attention_forward)(float *o, size_t ldo, const float *q, size_t ldq,
                               const struct attention_cache *c, size_t pos, size_t n, size_t H, size_t g0,
                               size_t g1, float scale, float *scratch)
{
    struct group g;
    group_init(&g, c->head_size, H / c->kv_heads, pos, scratch);
    attend_groups(&g, o, ldo, q, ldq, c, n, g0, g1, scale);
}

void KERNEL(attention_full_forward)(float *o, size_t ldo, const float *q, size_t ldq,
                                    const struct attention_cache *c, size_t keys, size_t n, size_t H,
                                    size_t g0, size_t g1, float scale, float *scratch)
{
    struct group g;
    group_init(&g, c->head_size, H / c->kv_heads, 0, scratch);
    g.keys = keys;
    attend_groups(&g, o, ldo, q, ldq, c, n, g0, g1, scale);
}
