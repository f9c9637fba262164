/* filter: the network of one filter, from weights to kernel values. */
#include "nn/filter_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t filter_layers_doubles(const struct filter_shape *shape)
{
    return (shape->features + 2 * shape->width + FILTER_SINES + 1) * filter_padded(shape->width);
}

void filter_layers_init(struct filter_layers *l, const struct filter *f, const struct filter_network *net,
                        const struct filter_shape *shape, double *memory)
{
    size_t F = shape->width, padded = filter_padded(F);
    memset(memory, 0, filter_layers_doubles(shape) * sizeof *memory);
    l->freq = memory;
    memory += padded;
    for (size_t j = 0; j < F; j++) l->freq[j] = f->freq[j];
    for (size_t i = 0; i < FILTER_SINES; i++) {
        size_t in = i == 0 ? shape->features : F;
        l->b[i] = memory;
        l->w[i] = memory + padded;
        memory = l->w[i] + in * padded;
        for (size_t j = 0; j < F; j++) {
            l->b[i][j] = net->b[i][j];
            for (size_t k = 0; k < in; k++) l->w[i][k * padded + j] = net->w[i][j * in + k];
        }
    }
}

static size_t z_doubles(const struct filter_shape *shape)
{
    return FILTER_TILE * filter_padded(shape->features);
}

size_t filter_tile_doubles(const struct filter_shape *shape, bool keep)
{
    return z_doubles(shape) + (keep ? 2 * FILTER_SINES : 2) * FILTER_TILE * filter_padded(shape->width);
}

void filter_tile_init(struct filter_tile *t, const struct filter_shape *shape, bool keep, double *memory)
{
    size_t plane = FILTER_TILE * filter_padded(shape->width);
    t->z = memory;
    memory += z_doubles(shape);
    for (size_t i = 0; i < FILTER_SINES; i++) {
        t->a[i] = memory + (keep ? 2 * i : i % 2) * plane;
        t->s[i] = keep ? t->a[i] + plane : t->a[i];
    }
}

void filter_hidden(const struct filter_layers *l, const struct filter_tile *t, const float *z,
                   const struct filter_shape *shape, const struct implicit_kernels *k, size_t lag,
                   size_t rows)
{
    size_t E = shape->features, F = shape->width, padded = filter_padded(F);
    for (size_t i = 0; i < rows * E; i++) t->z[i] = z[lag * E + i];
    for (size_t i = 0; i < FILTER_SINES; i++) {
        const double *in = i == 0 ? t->z : t->s[i - 1];
        k->matmul(t->a[i], padded, in, i == 0 ? E : padded, 1, l->w[i], padded, rows, padded, i == 0 ? E : F,
                  false);
        k->sine(t->s[i], t->a[i], l->b[i], l->freq, rows, padded);
    }
}

/* --- filter_kernel */

struct evaluation {
    const struct filter *f;
    const struct filter_shape *shape;
    const struct implicit_kernels *k;
    size_t c0, c1, width; /* width: of the padded channel range */
    struct filter_layers layers;
    struct filter_tile tile;
    double *w3, *rate, *r, *e; /* [F][width], [width], [FILTER_TILE][width] twice */
    float *rounded;            /* [FILTER_TILE][width] */
};

static size_t evaluation_doubles(const struct filter_shape *shape, size_t width)
{
    return filter_layers_doubles(shape) + filter_tile_doubles(shape, false) +
           (shape->width + 1 + 3 * FILTER_TILE) * width;
}

static void evaluation_init(struct evaluation *v, double *memory)
{
    filter_tile_init(&v->tile, v->shape, false, memory);
    v->w3 = memory + filter_tile_doubles(v->shape, false);
    v->rate = v->w3 + v->shape->width * v->width;
    v->r = v->rate + v->width;
    v->e = v->r + FILTER_TILE * v->width;
    v->rounded = (float *)(void *)(v->e + FILTER_TILE * v->width);
    memset(v->rate, 0, v->width * sizeof *v->rate);
    for (size_t c = v->c0; c < v->c1; c++) v->rate[c - v->c0] = fabs((double)v->f->deltas[c]);
}

static void evaluate_direction(struct evaluation *v, float *out, size_t ld, const struct filter_network *net,
                               size_t lag0, size_t n, double *memory)
{
    size_t F = v->shape->width, channels = v->c1 - v->c0;
    filter_layers_init(&v->layers, v->f, net, v->shape, memory);
    memset(v->w3, 0, F * v->width * sizeof *v->w3);
    for (size_t c = 0; c < channels; c++)
        for (size_t j = 0; j < F; j++) v->w3[j * v->width + c] = net->w[3][(v->c0 + c) * F + j];
    for (size_t i = 0; i < n; i += FILTER_TILE) {
        size_t rows = n - i < FILTER_TILE ? n - i : FILTER_TILE;
        filter_hidden(&v->layers, &v->tile, v->f->z, v->shape, v->k, lag0 + i, rows);
        v->k->matmul(v->r, v->width, v->tile.s[2], filter_padded(F), 1, v->w3, v->width, rows, v->width, F,
                     false);
        v->k->decay(v->e, v->f->t + lag0 + i, v->rate, rows, v->width);
        v->k->gate(v->rounded, v->width, v->r, v->e, rows, v->width);
        for (size_t row = 0; row < rows; row++)
            memcpy(out + (i + row) * ld, v->rounded + row * v->width, channels * sizeof *out);
    }
}

thea_rc filter_kernel(float *fwd, float *rev, size_t ld, const struct filter *f,
                      const struct filter_shape *shape, const struct kernels *k, size_t lag0, size_t n,
                      size_t c0, size_t c1, struct thea_err *err)
{
    struct evaluation v = {
        .f = f, .shape = shape, .k = k->implicit, .c0 = c0, .c1 = c1, .width = filter_padded(c1 - c0)};
    size_t bytes = evaluation_doubles(shape, v.width) * sizeof(double);
    double *memory = pages_new(bytes);
    if (!memory) return thea_fail(err, THEA_EOS, "no memory for an implicit filter: %zu bytes", bytes);
    evaluation_init(&v, memory + filter_layers_doubles(shape));
    if (fwd) evaluate_direction(&v, fwd, ld, &f->fwd, lag0, n, memory);
    if (rev) evaluate_direction(&v, rev, ld, &f->rev, lag0, n, memory);
    pages_free(memory, bytes);
    return THEA_OK;
}
