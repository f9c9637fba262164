/* What is done to the spectrum, over lanes: frequencies k and N - k together (longconv.h), in the order of
 * the transform (fft.h). Row pairs are transformed, used and transformed back in one visit, while they are in
 * L1 or L2; the last pass forward, the product and the first pass back share one load and one store. */
#ifndef KERNELS_LONGCONV_VISIT_H
#define KERNELS_LONGCONV_VISIT_H

#include "kernels/fft_simd.h"
#include <stdbool.h>

enum task {
    MULTIPLY,                 /* w <- S w + T conj(w') */
    MULTIPLY_CONJ,            /* the same with conj(S), conj(T): the input's gradient */
    MULTIPLY_CONJ_ACCUMULATE, /* and gradient += that of the kernels, from w and the inputs z */
    MAKE,                     /* S, T (into gradient) from z, the transform of both kernels */
    RECALL,                   /* w <- the gradients, packed for the inverse */
};

struct visit {
    float *w, *z;          /* buffers of rows, `pitch` floats apart */
    const float *spectrum; /* read in order, PAIR floats for each pair of frequencies */
    float *gradient;       /* written in order */
    size_t at;             /* in both */
    const struct fft_plan *plan;
    size_t pitch;
};

enum { PAIR = 2 * POINT };

static size_t spectrum_floats(size_t N)
{
    return (N / 2 + 1) * PAIR;
}

struct pair {
    struct point k, n; /* frequencies k and N - k */
};

VEC struct pair pair_multiply(struct pair x, const float *p, bool conj)
{
    struct point s = point_load(p), t = point_load(p + POINT);
    struct pair y;
    lanes re = lanes_fma(t.re, x.n.re, lanes_mul(s.re, x.k.re));
    lanes im = lanes_fnma(t.re, x.n.im, lanes_mul(s.re, x.k.im));
    lanes re_n = lanes_fma(t.re, x.k.re, lanes_mul(s.re, x.n.re));
    lanes im_n = lanes_fnma(t.re, x.k.im, lanes_mul(s.re, x.n.im));
    if (conj) {
        y.k.re = lanes_fnma(t.im, x.n.im, lanes_fma(s.im, x.k.im, re));
        y.k.im = lanes_fnma(t.im, x.n.re, lanes_fnma(s.im, x.k.re, im));
        y.n.re = lanes_fma(t.im, x.k.im, lanes_fnma(s.im, x.n.im, re_n));
        y.n.im = lanes_fma(t.im, x.k.re, lanes_fma(s.im, x.n.re, im_n));
    } else {
        y.k.re = lanes_fma(t.im, x.n.im, lanes_fnma(s.im, x.k.im, re));
        y.k.im = lanes_fma(t.im, x.n.re, lanes_fma(s.im, x.k.re, im));
        y.n.re = lanes_fnma(t.im, x.k.im, lanes_fma(s.im, x.n.im, re_n));
        y.n.im = lanes_fnma(t.im, x.k.re, lanes_fnma(s.im, x.n.re, im_n));
    }
    return y;
}

/* The transforms, times 2, of the two real sequences that are one's real and imaginary part. */
VEC struct pair pair_part(struct pair z)
{
    return (struct pair){{lanes_add(z.k.re, z.n.re), lanes_sub(z.k.im, z.n.im)},
                         {lanes_add(z.k.im, z.n.im), lanes_sub(z.n.re, z.k.re)}};
}

VEC void pair_make(float *p, struct pair z, lanes scale)
{
    struct pair k = pair_part(z);
    struct point s = point_add(k.k, k.n), t = point_sub(k.k, k.n);
    point_store(p, (struct point){lanes_mul(s.re, scale), lanes_mul(s.im, scale)});
    point_store(p + POINT, (struct point){lanes_mul(t.re, scale), lanes_mul(t.im, scale)});
}

VEC void pair_accumulate(float *p, struct pair w, struct pair z)
{
    struct pair dy = pair_part(w), x = pair_part(z);
    point_store(p, point_add(point_load(p), point_mul_conj(dy.k, x.k)));
    point_store(p + POINT, point_add(point_load(p + POINT), point_mul_conj(dy.n, x.n)));
}

VEC struct pair pair_recall(const float *p, lanes scale)
{
    struct point a = point_load(p), b = point_load(p + POINT);
    a = (struct point){lanes_mul(a.re, scale), lanes_mul(a.im, scale)};
    b = (struct point){lanes_mul(b.re, scale), lanes_mul(b.im, scale)};
    return (struct pair){{lanes_sub(a.re, b.im), lanes_add(a.im, b.re)},
                         {lanes_add(a.re, b.im), lanes_sub(b.re, a.im)}};
}

/* One pair; moves on in the spectrum. */
VEC struct pair pair_visit(enum task task, struct visit *v, struct pair w, struct pair z)
{
    lanes scale = lanes_set(0.25f / (float)v->plan->N);
    if (task == MAKE) pair_make(v->gradient + v->at, z, scale);
    if (task == MULTIPLY_CONJ_ACCUMULATE) pair_accumulate(v->gradient + v->at, w, z);
    if (task == RECALL)
        w = pair_recall(v->spectrum + v->at, scale);
    else if (task != MAKE)
        w = pair_multiply(w, v->spectrum + v->at, task != MULTIPLY);
    v->at += PAIR;
    return w;
}

VEC void visit_two(enum task task, struct visit *v, struct point *k, struct point *n, struct point zk,
                   struct point zn)
{
    struct pair y = pair_visit(task, v, (struct pair){*k, *n}, (struct pair){zk, zn});
    *k = y.k, *n = y.n;
}
VEC void visit_own(enum task task, struct visit *v, struct point *k, struct point zk)
{
    *k = pair_visit(task, v, (struct pair){*k, *k}, (struct pair){zk, zk}).k;
}

VEC struct quad quad_begin(bool wanted, const float *buffer, size_t at)
{
    struct point none = {lanes_set(0), lanes_set(0)};
    if (!wanted) return (struct quad){none, none, none, none};
    return quad_forward(quad_load(buffer + at, POINT));
}

#define HAS_W(task) ((task) != MAKE && (task) != RECALL) /* w comes with values */
#define HAS_Z(task) ((task) == MAKE || (task) == MULTIPLY_CONJ_ACCUMULATE)

/* A quad at `a` whose partners lie backwards in the one at `b` (floats from the buffers' start). */
VEC void visit_quads(enum task task, struct visit *v, size_t a, size_t b)
{
    struct quad wa = quad_begin(HAS_W(task), v->w, a), wb = quad_begin(HAS_W(task), v->w, b);
    struct quad za = quad_begin(HAS_Z(task), v->z, a), zb = quad_begin(HAS_Z(task), v->z, b);
    visit_two(task, v, &wa.a, &wb.d, za.a, zb.d);
    visit_two(task, v, &wa.b, &wb.c, za.b, zb.c);
    visit_two(task, v, &wa.c, &wb.b, za.c, zb.b);
    visit_two(task, v, &wa.d, &wb.a, za.d, zb.a);
    if (task == MAKE) return;
    quad_store(v->w + a, POINT, quad_inverse(wa));
    quad_store(v->w + b, POINT, quad_inverse(wb));
}

/* A quad that is its own partner; the very first also has frequencies 0 and N / 2, their own partners. */
VEC void visit_quad(enum task task, struct visit *v, size_t a, bool very_first)
{
    struct quad w = quad_begin(HAS_W(task), v->w, a), z = quad_begin(HAS_Z(task), v->z, a);
    if (very_first) {
        visit_own(task, v, &w.a, z.a);
        visit_own(task, v, &w.b, z.b);
        visit_two(task, v, &w.c, &w.d, z.c, z.d);
    } else {
        visit_two(task, v, &w.a, &w.d, z.a, z.d);
        visit_two(task, v, &w.b, &w.c, z.b, z.c);
    }
    if (task != MAKE) quad_store(v->w + a, POINT, quad_inverse(w));
}

/* In bit-reversed order the partner of place p >= 1 has all bits below p's highest complemented. */
VEC size_t partner_of(size_t p)
{
    return p ^ (((size_t)1 << (63 - __builtin_clzl(p))) - 1);
}

/* Row 0: k = rows * k2, its own partner. */
VEC void visit_row0(enum task task, struct visit *v)
{
    visit_quad(task, v, 0, true);
    if (v->plan->columns > 4) visit_quad(task, v, 4 * POINT, false);
    for (size_t q = 2; q < v->plan->columns / 4; q++)
        if (q < partner_of(q)) visit_quads(task, v, 4 * q * POINT, 4 * partner_of(q) * POINT);
}
/* Row 1: k1 = rows / 2, its own partner, backwards. */
VEC void visit_row1(enum task task, struct visit *v)
{
    size_t quads = v->plan->columns / 4, row = v->pitch;
    if (quads == 1) visit_quad(task, v, row, false);
    for (size_t q = 0; q < quads / 2; q++)
        visit_quads(task, v, row + 4 * q * POINT, row + 4 * (quads - 1 - q) * POINT);
}
VEC void visit_pair_of_rows(enum task task, struct visit *v, size_t r)
{
    size_t quads = v->plan->columns / 4, a = r * v->pitch, b = partner_of(r) * v->pitch;
    for (size_t q = 0; q < quads; q++) {
        if (task != MAKE && v->plan->columns < FAR) /* else pair_ahead asks for it */
            for (size_t i = 0; i < 4 * PAIR; i += LINE) prefetch(v->spectrum + v->at + 4 * 4 * PAIR + i);
        visit_quads(task, v, a + 4 * q * POINT, b + 4 * (quads - 1 - q) * POINT);
    }
}

VEC void rows_forward(enum task task, struct visit *v, size_t r, struct ahead *ahead)
{
    size_t n = v->plan->columns;
    if (HAS_W(task)) passes_forward(v->w + r * v->pitch, n, n, v->plan->row_factors, ahead);
    if (HAS_Z(task)) passes_forward(v->z + r * v->pitch, n, n, v->plan->row_factors, ahead);
}
VEC void rows_inverse(enum task task, struct visit *v, size_t r, struct ahead *ahead)
{
    size_t n = v->plan->columns;
    if (task != MAKE) passes_inverse(v->w + r * v->pitch, n, n, v->plan->row_factors, ahead);
}

/* The row, of those from r on, that comes first of a pair; plan->rows: there is none. */
VEC size_t pair_from(const struct fft_plan *plan, size_t r)
{
    while (r < plan->rows && r > partner_of(r)) r++;
    return r;
}

/* The pair of rows r and its spectrum, which comes behind that of the pair in hand. */
VEC struct ahead pair_ahead(enum task task, const struct visit *v, size_t r)
{
    struct ahead a = {.streams = 0};
    if (r >= v->plan->rows || v->plan->columns < FAR) return a;
    size_t n = v->plan->columns * POINT, behind = v->at + v->plan->columns * PAIR;
    if (HAS_W(task)) {
        ahead_add_floats(&a, v->w + r * v->pitch, n);
        ahead_add_floats(&a, v->w + partner_of(r) * v->pitch, n);
    }
    if (HAS_Z(task)) {
        ahead_add_floats(&a, v->z + r * v->pitch, n);
        ahead_add_floats(&a, v->z + partner_of(r) * v->pitch, n);
    }
    if (task != MAKE) ahead_add_floats(&a, v->spectrum + behind, 2 * n);
    if (HAS_Z(task)) ahead_add_floats(&a, v->gradient + behind, 2 * n);
    return a;
}

VEC void visit_all(enum task task, struct visit v)
{
    struct ahead ahead = pair_ahead(task, &v, 2);
    rows_forward(task, &v, 0, &ahead);
    visit_row0(task, &v);
    rows_inverse(task, &v, 0, &ahead);
    rows_forward(task, &v, 1, &ahead);
    visit_row1(task, &v);
    rows_inverse(task, &v, 1, &ahead);
    for (size_t r = 2, next; r < v.plan->rows; r = next) {
        next = pair_from(v.plan, r + 1);
        ahead = pair_ahead(task, &v, next);
        rows_forward(task, &v, r, &ahead);
        rows_forward(task, &v, partner_of(r), &ahead);
        visit_pair_of_rows(task, &v, r);
        rows_inverse(task, &v, r, &ahead);
        rows_inverse(task, &v, partner_of(r), &ahead);
    }
}

static void visit_rows(enum task task, const struct visit *v)
{
    switch (task) {
    case MULTIPLY: visit_all(MULTIPLY, *v); break;
    case MULTIPLY_CONJ: visit_all(MULTIPLY_CONJ, *v); break;
    case MULTIPLY_CONJ_ACCUMULATE: visit_all(MULTIPLY_CONJ_ACCUMULATE, *v); break;
    case MAKE: visit_all(MAKE, *v); break;
    case RECALL: visit_all(RECALL, *v); break;
    }
}

#endif
