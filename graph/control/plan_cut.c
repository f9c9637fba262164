/* Cutting blocks into parts: the dearest part as cheap as can be and, among those cuts, the parts as even as
 * can be. */
#include "graph/control/plan.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

struct costs {
    const double *sum;
    size_t count, parts;
    double first_extra, last_extra;
};

/* Cost of blocks [a, b) as part p. */
static double part_cost(const struct costs *c, size_t p, size_t a, size_t b)
{
    return c->sum[b] - c->sum[a] + (p == 0 ? c->first_extra : 0) + (p + 1 == c->parts ? c->last_extra : 0);
}

/* best[p][b]: the least value of parts 0..p over blocks [0, b); value: their maximum, or, with a ceiling on
 * each, the sum of their squares. */
static void solve(const struct costs *c, double *best, size_t *cut, double ceiling)
{
    size_t width = c->count + 1;
    for (size_t i = 0; i < c->parts * width; i++) best[i] = INFINITY;
    for (size_t p = 0; p < c->parts; p++) {
        for (size_t b = p + 1; b <= c->count; b++) {
            for (size_t a = p; a < b && (p > 0 || a == 0); a++) {
                double before = p == 0 ? 0 : best[(p - 1) * width + a], cost = part_cost(c, p, a, b);
                double value = isinf(ceiling)    ? fmax(before, cost)
                               : cost <= ceiling ? before + cost * cost
                                                 : INFINITY;
                if (value < best[p * width + b]) best[p * width + b] = value, cut[p * width + b] = a;
            }
        }
    }
}

void plan_cut(size_t *ends, size_t parts, const double *costs, size_t count, double first_extra,
              double last_extra)
{
    assert(parts >= 1 && parts <= count);
    size_t width = count + 1;
    double *sum = calloc(width, sizeof *sum), *best = calloc(parts * width, sizeof *best);
    size_t *cut = calloc(parts * width, sizeof *cut);
    if (sum == NULL || best == NULL || cut == NULL) abort();
    for (size_t i = 0; i < count; i++) sum[i + 1] = sum[i] + costs[i];
    struct costs c = {sum, count, parts, first_extra, last_extra};
    solve(&c, best, cut, INFINITY);
    solve(&c, best, cut, best[(parts - 1) * width + count] * (1 + 1e-9));
    for (size_t p = parts, end = count; p-- > 0; end = cut[p * width + end]) ends[p] = end;
    free(sum);
    free(best);
    free(cut);
}
