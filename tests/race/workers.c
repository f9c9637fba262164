/* race-workers: rounds of work over plain memory, for the thread sanitizer: what a worker writes, the caller
 * and the next round's workers may read. Exits 1 when a sum is wrong; the sanitizer reports races by itself.
 */
#include "nn/workers.h"

#include <stdio.h>
#include <stdlib.h>

enum { VALUES = 1 << 12, ROUNDS = 2000 };

struct values {
    long from[VALUES], to[VALUES];
};

/* Each value is the sum of its neighbours in the round before, modulo a prime: slices read across their
 * borders. */
static void sum_task(void *context, int i, int n)
{
    struct values *v = context;
    size_t begin, end;
    workers_slice(VALUES, 16, i, n, &begin, &end);
    for (size_t k = begin; k < end; k++)
        v->to[k] = (v->from[(k + VALUES - 1) % VALUES] + v->from[(k + 1) % VALUES]) % 1000003;
}

static void copy_task(void *context, int i, int n)
{
    struct values *v = context;
    size_t begin, end;
    workers_slice(VALUES, 16, n - 1 - i, n, &begin, &end); /* another worker's slice than in sum_task */
    for (size_t k = begin; k < end; k++) v->from[k] = v->to[k];
}

static long run(int threads)
{
    struct workers *w;
    struct thea_err err;
    struct values *v = calloc(1, sizeof *v);
    if (v == NULL || workers_new(&w, threads, &err) != THEA_OK) exit(71);
    for (size_t k = 0; k < VALUES; k++) v->from[k] = (long)k;
    for (int r = 0; r < ROUNDS; r++) {
        workers_run(w, sum_task, v);
        workers_run(w, copy_task, v);
    }
    long sum = 0;
    for (size_t k = 0; k < VALUES; k++) sum += (long)(k + 1) * v->from[k];
    workers_free(w);
    free(v);
    return sum;
}

int main(void)
{
    long expected = run(1);
    for (int threads = 2; threads <= 5; threads++) {
        if (run(threads) == expected) continue;
        printf("race-workers: %d threads give another sum\n", threads);
        return 1;
    }
    return 0;
}
