/* What is done ahead of its need, a little at each butterfly. A large transform lies in L3, the caller's rows
 * and the spectrum in memory. Both answer late and take few requests at a time: asked only when a pass needs
 * them, they make the CPU wait about as long as all the butterflies take.
 *
 * Lines that lie side by side are fetched. The positions of a batch of columns cannot be: they lie hundreds
 * of KB apart, on a few sets of every cache, and would drive each other out. They are *carried* between the
 * caller's rows and a stage in which they lie side by side. */
#ifndef KERNELS_LONGCONV_AHEAD_H
#define KERNELS_LONGCONV_AHEAD_H

#include "kernels/fft_points.h"
#include "kernels/longconv.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    LINE = 16 /* floats */,
    BATCH = 4 /* columns at a time */,
    NEAR = 4 /* rows of positions between asking for one and carrying it */,
    FAR = 256 /* columns, from which on a transform lies in L3 and its rows are worth asking for */
};

/* `runs` runs, `step` floats from one to the next, each of `lines` lines side by side. */
struct stream {
    const float *at;
    size_t runs, step, lines;
};

/* The positions n1 * columns + first + c, 0 <= c < BATCH, of rows n1 < rows / 2; the others are 0 or not
 * wanted. Either in or out is there. */
struct carry {
    const struct longconv_input *in;
    const struct longconv_output *out;
    bool past; /* whole lines of output, stored past the caches: nothing reads them soon */
    size_t L, channels, columns;
    float *stage;          /* [rows / 2][BATCH] points */
    size_t position, left; /* the next one */
};

struct ahead {
    struct carry carry;
    struct stream stream[6]; /* in the order in which they will be needed */
    size_t now, streams;
};

VEC lanes load_channels(const float *p, size_t channels)
{
    return channels == LANES ? lanes_load(p) : lanes_load_first(p, channels);
}
VEC void store_channels(float *p, lanes x, size_t channels)
{
    if (channels == LANES)
        lanes_store(p, x);
    else
        lanes_store_first(p, x, channels);
}

/* Two real sequences as one complex. */
VEC struct point input_point(const struct longconv_input *x, size_t p, size_t channels)
{
    return (struct point){load_channels(x->a + p * x->lda, channels),
                          load_channels(x->b + p * x->ldb, channels)};
}

/* Whether one channel group of x is whole lines. */
VEC bool is_lines(const float *x, size_t ld, size_t channels)
{
    return channels == LANES && ((uintptr_t)x | ld * sizeof(float)) % (LINE * sizeof(float)) == 0;
}
VEC bool may_pass(const struct longconv_output *y, size_t channels)
{
    return LANES_STREAM && is_lines(y->a, y->lda, channels) && (y->gate || is_lines(y->b, y->ldb, channels));
}
VEC void output_channels(float *p, lanes x, const struct carry *c)
{
    if (c->past)
        lanes_stream(p, x);
    else
        store_channels(p, x, c->channels);
}
VEC void output_point(const struct carry *c, size_t p, struct point z)
{
    const struct longconv_output *y = c->out;
    if (y->gate) {
        lanes gate = load_channels(y->gate + p * y->ldgate, c->channels);
        output_channels(y->a + p * y->lda, lanes_fma(z.re, gate, z.im), c);
        return;
    }
    output_channels(y->a + p * y->lda, z.re, c);
    output_channels(y->b + p * y->ldb, z.im, c);
}

VEC void prefetch(const float *p)
{
    __builtin_prefetch(p, 1, 2);
}

VEC void carry_prefetch(const struct carry *c, size_t p)
{
    if (p >= c->L) return;
    if (c->in) {
        prefetch(c->in->a + p * c->in->lda);
        prefetch(c->in->b + p * c->in->ldb);
        return;
    }
    const struct longconv_output *y = c->out;
    if (y->gate) prefetch(y->gate + p * y->ldgate);
    if (c->past) return;
    prefetch(y->a + p * y->lda);
    if (!y->gate) prefetch(y->b + p * y->ldb);
}

VEC void carry_step(struct carry *c)
{
    if (c->left == 0) return;
    size_t p = c->position;
    carry_prefetch(c, p + NEAR * c->columns);
    if (c->out) {
        if (p < c->L) output_point(c, p, point_load(c->stage));
    } else {
        struct point none = {lanes_set(0), lanes_set(0)};
        point_store(c->stage, p < c->L ? input_point(c->in, p, c->channels) : none);
    }
    c->stage += POINT;
    c->position = --c->left % BATCH ? p + 1 : p + 1 + c->columns - BATCH;
}
VEC void carry_all(struct carry *c)
{
    while (c->left > 0) carry_step(c);
}

VEC void ahead_add(struct ahead *a, struct stream s)
{
    if (s.runs > 0) a->stream[a->streams++] = s;
}
/* n floats side by side, whole runs of 8 lines. */
VEC void ahead_add_floats(struct ahead *a, const float *at, size_t n)
{
    ahead_add(a, (struct stream){at, n / LINE / 8, 8 * LINE, 8});
}

/* Called at each butterfly. */
VEC void ahead_step(struct ahead *a)
{
    carry_step(&a->carry);
    if (a->now == a->streams) return;
    struct stream *s = &a->stream[a->now];
    for (size_t i = 0; i < s->lines; i++) prefetch(s->at + i * LINE);
    s->at += s->step;
    if (--s->runs == 0) a->now++;
}

#endif
