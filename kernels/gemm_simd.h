/* The packed product over vec; the including file has TILE, the rows of a tile, and ROWS, the most of a
 * packed block.
 *
 * A tile of TILE rows and WIDTH columns fills the registers with its sums; rows are shared out evenly over
 * tiles, whose kernels exist for every height, so that no arithmetic is spent on rows that are not there. A
 * block of rows is packed into the scratch (second-level cache), a panel's block of depth stays in the
 * first-level cache while all tiles pass, and panels stream. */
#include "kernels/gemm.h"
#include "kernels/vec_normal.h"
#include <assert.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum {
    WIDTH = KERNEL(GEMM_WIDTH),
    VECS = WIDTH / 16,
    DEPTH = 384,               /* of a block, at most */
    STEP = 4,                  /* columns of a transposition */
    PACKED = ROWS * 2 * DEPTH, /* floats of a packed block, at most */
    SLACK = TRANSPOSED,        /* a transposition writes less than that beyond */
    AHEAD = 2048, /* floats of a panel fetched ahead: beyond the page that the hardware fetches */
};
_Static_assert(PACKED + SLACK <= GEMM_SCRATCH, "a packed block fits");
_Static_assert(2 * TILE * GEMM_GEGLU_K <= PACKED, "a tile of both halves fits");

/* K's own: nothing else may be asked here. */
static size_t depth_of(size_t K)
{
    size_t blocks = (K + DEPTH - 1) / DEPTH;
    return blocks <= 1 ? K : ((K + blocks - 1) / blocks + STEP - 1) / STEP * STEP;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The first row of part i of n. */
static size_t share(size_t rows, size_t i, size_t n)
{
    return rows * i / n;
}

static size_t tiles_of(size_t rows)
{
    return (rows + TILE - 1) / TILE;
}

/* y [rows, WIDTH] = a [depth, rows]^T . panel [depth, WIDTH], or += it. `rows` is a constant where this is
 * inlined. */
VEC void tile(float *y, size_t ldy, const float *a, const float *panel, size_t depth, bool add, size_t rows)
{
    vec sum[TILE][VECS];
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t v = 0; v < VECS; v++) {
            sum[i][v] = vec_zero();
            vec_prefetch(y + i * ldy + 16 * v);
        }
    }
    for (size_t k = 0; k < depth; k++, a += rows, panel += WIDTH) {
        vec w[VECS];
        UNROLL
        for (size_t v = 0; v < VECS; v++) {
            w[v] = vec_load(panel + 16 * v);
            __builtin_prefetch(panel + AHEAD + 16 * v);
        }
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            vec x = vec_set(a[i]);
            UNROLL
            for (size_t v = 0; v < VECS; v++) sum[i][v] = vec_fma(x, w[v], sum[i][v]);
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t v = 0; v < VECS; v++) {
            float *to = y + i * ldy + 16 * v;
            vec_store(to, add ? vec_add(vec_load(to), sum[i][v]) : sum[i][v]);
        }
    }
}

typedef void tile_kernel(float *y, size_t ldy, const float *a, const float *panel, size_t depth, bool add);
#define TILE_KERNEL(rows)                                                                                    \
    static void tile_##rows(float *y, size_t ldy, const float *a, const float *panel, size_t depth,          \
                            bool add)                                                                        \
    {                                                                                                        \
        tile(y, ldy, a, panel, depth, add, rows);                                                            \
    }
TILE_KERNELS(TILE_KERNEL)
#define TILE_ENTRY(rows) tile_##rows,
static tile_kernel *const tiles[TILE] = {TILE_KERNELS(TILE_ENTRY)};

/* The same for the last panel's columns, of which not all are there. */
static void tile_edge(float *y, size_t ldy, const float *a, const float *panel, size_t depth, bool add,
                      size_t rows, size_t columns)
{
    float whole[TILE * WIDTH] = {0};
    for (size_t i = 0; add && i < rows; i++)
        for (size_t j = 0; j < columns; j++) whole[i * WIDTH + j] = y[i * ldy + j];
    tiles[rows - 1](whole, WIDTH, a, panel, depth, add);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) y[i * ldy + j] = whole[i * WIDTH + j];
}

/* a [depth, rows] = x [rows, depth]^T. Writes SLACK floats beyond it. */
static void pack_tile(float *a, const float *x, size_t ldx, size_t rows, size_t depth)
{
    const float *row[TRANSPOSED];
    for (size_t i = 0; i < TRANSPOSED; i++) row[i] = x + least(i, rows - 1) * ldx;
    size_t k = 0;
    for (; k + STEP <= depth; k += STEP) vec_transpose4(a + k * rows, rows, row, k);
    for (; k < depth; k++)
        for (size_t i = 0; i < rows; i++) a[k * rows + i] = x[i * ldx + k];
}

/* Rows of x as blocks of depth, each its tiles one after the other: at [k, row] begins a + rows * k + row *
 * (depth of that block). */
static void pack_rows(float *a, const float *x, size_t ldx, size_t rows, size_t K, size_t depth)
{
    size_t count = tiles_of(rows);
    for (size_t k = 0; k < K; k += depth) {
        size_t here = least(depth, K - k);
        for (size_t t = 0; t < count; t++) {
            size_t first = share(rows, t, count), height = share(rows, t + 1, count) - first;
            pack_tile(a, x + first * ldx + k, ldx, height, here);
            a += height * here;
        }
    }
}

/* Of `columns` columns, those that vector v of a row holds. */
VEC size_t lanes_of(size_t columns, size_t v)
{
    return columns <= 16 * v ? 0 : columns - 16 * v < 16 ? columns - 16 * v : 16;
}

VEC vec load_lanes(const float *x, size_t n)
{
    return n == 16 ? vec_load(x) : vec_load_first(x, n);
}

VEC void store_lanes(float *y, vec v, size_t n)
{
    if (n == 16)
        vec_store(y, v);
    else
        vec_store_first(y, v, n);
}

enum { ABREAST_ROWS = VEC_ABREAST / VECS }; /* of a tile, that are finished side by side */

/* y [rows, columns] = f(y + bias), f gelu or nothing; bias may be NULL. rows <= ABREAST_ROWS, a constant. */
VEC void finish_rows(float *y, size_t ldy, const float *bias, bool gelu, const int rows, size_t columns)
{
    vec v[VEC_ABREAST];
    EACH(rows * VECS) v[i] = load_lanes(y + i / VECS * ldy + i % VECS * 16, lanes_of(columns, i % VECS));
    if (bias != NULL) {
        EACH(rows * VECS) v[i] = vec_add(v[i], load_lanes(bias + i % VECS * 16, lanes_of(columns, i % VECS)));
    }
    if (gelu) vec_gelu(v, rows * VECS);
    EACH(rows * VECS) store_lanes(y + i / VECS * ldy + i % VECS * 16, v[i], lanes_of(columns, i % VECS));
}

/* The same of all rows of a tile. */
VEC void finish_columns(float *y, size_t ldy, const float *bias, bool gelu, size_t rows, size_t columns)
{
    for (; rows >= ABREAST_ROWS; rows -= ABREAST_ROWS, y += ABREAST_ROWS * ldy)
        finish_rows(y, ldy, bias, gelu, ABREAST_ROWS, columns);
    for (; rows > 0; rows--, y += ldy) finish_rows(y, ldy, bias, gelu, 1, columns);
}

static void finish(float *y, size_t ldy, const float *bias, bool gelu, size_t rows, size_t columns)
{
    if (columns == WIDTH)
        finish_columns(y, ldy, bias, gelu, rows, WIDTH);
    else
        finish_columns(y, ldy, bias, gelu, rows, columns);
}

/* One panel's columns of a block of rows, over [0, K) of what is packed. */
struct strip {
    float *y;
    size_t ldy, rows, columns;
    const float *a, *panel, *bias;
    size_t K, depth;
    bool add, last, gelu; /* last: what is packed ends with the last k, so that bias and gelu are due */
};

static void multiply_strip(const struct strip *s)
{
    size_t count = tiles_of(s->rows);
    const float *a = s->a;
    for (size_t k = 0; k < s->K; k += s->depth) {
        size_t here = least(s->depth, s->K - k);
        bool add = s->add || k > 0, due = s->last && k + here == s->K && (s->gelu || s->bias != NULL);
        const float *panel = s->panel + k * WIDTH;
        for (size_t t = 0; t < count; t++) {
            size_t first = share(s->rows, t, count), height = share(s->rows, t + 1, count) - first;
            float *y = s->y + first * s->ldy;
            if (s->columns == WIDTH)
                tiles[height - 1](y, s->ldy, a, panel, here, add);
            else
                tile_edge(y, s->ldy, a, panel, here, add, height, s->columns);
            if (due) finish(y, s->ldy, s->bias, s->gelu, height, s->columns);
            a += height * here;
        }
    }
}

/* Blocks of rows, as even as tiles, none larger than what can be packed. */
static size_t blocks_of(size_t M, size_t K)
{
    size_t rows = least(PACKED / K / TILE * TILE, ROWS);
    return (M + rows - 1) / rows;
}

void KERNEL(gemm_forward)(float *y, size_t ldy, const float *x, size_t ldx, const struct gemm_weights *w,
                          size_t M, size_t n0, size_t n1, gemm_epilogue epilogue, float *scratch)
{
    assert(n0 % WIDTH == 0 && n1 <= w->N && (n1 % WIDTH == 0 || n1 == w->N) && w->K > 0);
    size_t depth = depth_of(w->K), most = PACKED / ROWS / depth * depth; /* of k, packed at a time */
    for (size_t k = 0; k < w->K; k += most) {
        size_t here = least(most, w->K - k), blocks = blocks_of(M, here);
        for (size_t b = 0; b < blocks; b++) {
            size_t first = share(M, b, blocks), rows = share(M, b + 1, blocks) - first;
            pack_rows(scratch, x + first * ldx + k, ldx, rows, here, depth);
            for (size_t n = n0; n < n1; n += WIDTH)
                multiply_strip(&(struct strip){.y = y + first * ldy + n,
                                               .ldy = ldy,
                                               .rows = rows,
                                               .columns = least(WIDTH, n1 - n),
                                               .a = scratch,
                                               .panel = w->panels + n * w->K + k * WIDTH,
                                               .bias = w->bias != NULL ? w->bias + n : NULL,
                                               .K = here,
                                               .depth = depth,
                                               .add = k > 0 || epilogue == GEMM_ADD,
                                               .last = k + here == w->K,
                                               .gelu = epilogue == GEMM_GELU});
        }
    }
}

/* Columns n… of a tile's gate and linear part, then their product. */
struct glu {
    const struct gemm_weights *gate, *up;
    size_t n, columns, depth;
};

static void multiply_half(float *y, const struct gemm_weights *w, const struct glu *g, const float *a,
                          size_t rows, size_t first, size_t height)
{
    for (size_t k = 0; k < w->K; k += g->depth) {
        size_t here = least(g->depth, w->K - k);
        tiles[height - 1](y, WIDTH, a + rows * k + first * here, w->panels + g->n * w->K + k * WIDTH, here,
                          k > 0);
    }
    if (w->bias != NULL) finish(y, WIDTH, w->bias + g->n, false, height, g->columns);
}

/* rows <= ABREAST_ROWS, a constant. */
VEC void glu_rows(float *y, size_t ldy, const float *gate, const float *up, const int rows, size_t columns)
{
    vec v[VEC_ABREAST];
    EACH(rows * VECS) v[i] = vec_load(gate + 16 * i);
    vec_gelu(v, rows * VECS);
    EACH(rows * VECS) v[i] = vec_mul(v[i], vec_load(up + 16 * i));
    EACH(rows * VECS) store_lanes(y + i / VECS * ldy + i % VECS * 16, v[i], lanes_of(columns, i % VECS));
}

static void glu_tile(float *y, size_t ldy, const float *gate, const float *up, size_t rows, size_t columns)
{
    size_t i = 0;
    for (; i + ABREAST_ROWS <= rows; i += ABREAST_ROWS)
        glu_rows(y + i * ldy, ldy, gate + i * WIDTH, up + i * WIDTH, ABREAST_ROWS, columns);
    for (; i < rows; i++) glu_rows(y + i * ldy, ldy, gate + i * WIDTH, up + i * WIDTH, 1, columns);
}

static void multiply_glu(float *y, size_t ldy, const struct glu *g, const float *ag, const float *au,
                         size_t rows)
{
    float gate[TILE * WIDTH], up[TILE * WIDTH];
    for (size_t t = 0, count = tiles_of(rows); t < count; t++) {
        size_t first = share(rows, t, count), height = share(rows, t + 1, count) - first;
        multiply_half(gate, g->gate, g, ag, rows, first, height);
        multiply_half(up, g->up, g, au, rows, first, height);
        glu_tile(y + first * ldy, ldy, gate, up, height, g->columns);
    }
}

void KERNEL(gemm_geglu_forward)(float *y, size_t ldy, const float *xg, const float *xu, size_t ldx,
                                const struct gemm_weights *gate, const struct gemm_weights *up, size_t M,
                                size_t n0, size_t n1, float *scratch)
{
    size_t K = gate->K, N = gate->N;
    assert(K > 0 && K <= GEMM_GEGLU_K && up->K == K && up->N == N);
    assert(n0 % WIDTH == 0 && n1 <= N && (n1 % WIDTH == 0 || n1 == N));
    bool same = xg == xu;
    size_t depth = depth_of(K), blocks = blocks_of(M, same ? K : 2 * K);
    for (size_t b = 0; b < blocks; b++) {
        size_t first = share(M, b, blocks), rows = share(M, b + 1, blocks) - first;
        const float *au = same ? scratch : scratch + rows * K;
        pack_rows(scratch, xg + first * ldx, ldx, rows, K, depth);
        if (!same) pack_rows(scratch + rows * K, xu + first * ldx, ldx, rows, K, depth);
        for (size_t n = n0; n < n1; n += WIDTH) {
            struct glu g = {gate, up, n, least(WIDTH, n1 - n), depth};
            multiply_glu(y + first * ldy + n, ldy, &g, scratch, au, rows);
        }
    }
}
