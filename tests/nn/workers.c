/* Workers: slices cover everything once, every worker runs, and rounds follow each other without loss. */
#include "nn/workers.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>

Test(workers, slices_cover_the_whole_once_at_multiples_of_the_grain)
{
    const size_t totals[] = {0, 1, 15, 16, 17, 100, 4096, 65537}, grains[] = {1, 16, 64};
    for (size_t t = 0; t < sizeof totals / sizeof *totals; t++) {
        for (size_t g = 0; g < 3; g++) {
            for (int n = 1; n <= 9; n++) {
                size_t next = 0, begin, end;
                for (int i = 0; i < n; i++) {
                    workers_slice(totals[t], grains[g], i, n, &begin, &end);
                    cr_assert(begin == next && end >= begin, "%zu by %zu over %d", totals[t], grains[g], n);
                    cr_assert(begin % grains[g] == 0 || begin == totals[t]);
                    next = end;
                }
                cr_assert_eq(next, totals[t]);
            }
        }
    }
}

struct tally {
    _Atomic unsigned runs[8], wrong;
    unsigned plain[8]; /* written by the workers, read by the caller after the round */
    int count;
};

static void count_task(void *context, int i, int n)
{
    struct tally *t = context;
    t->runs[i]++;
    t->plain[i]++;
    if (n != t->count) t->wrong++;
}

Test(workers, every_worker_runs_once_a_round)
{
    enum { ROUNDS = 3000 };
    for (int n = 1; n <= 8; n += 3) {
        struct workers *w;
        struct thea_err err;
        struct tally t = {.count = n};
        cr_assert(workers_new(&w, n, &err) == THEA_OK, "%s", err.message);
        cr_assert_eq(workers_count(w), n);
        for (unsigned r = 1; r <= ROUNDS; r++) {
            workers_run(w, count_task, &t);
            for (int i = 0; i < n; i++)
                cr_assert(t.runs[i] == r && t.plain[i] == r, "worker %d in round %u", i, r);
        }
        cr_assert_eq(t.wrong, 0);
        workers_free(w);
    }
}

Test(workers, a_number_of_threads_that_is_impossible_is_told)
{
    struct workers *w;
    struct thea_err err;
    cr_expect(workers_new(&w, 0, &err) == THEA_EUSAGE);
    cr_expect_not_null(strstr(err.message, "accepted: 1 to"), "%s", err.message);
    cr_expect(workers_new(&w, 1 << 20, &err) == THEA_EUSAGE);
    cr_expect_null(w);
    workers_free(NULL);
}
