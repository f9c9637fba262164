/* Exact search against a plain sort, over shapes, limits, holes and numbers of workers. */
#include "tests/kernels/check.h"

#include "retrieval/search.h"

#include <criterion/parameterized.h>

struct shape {
    size_t rows, dimension, limit;
    int workers, hole_every, values; /* values: so many different rows; 0: all */
};

ParameterizedTestParameters(search, finds_what_a_plain_sort_finds)
{
    static struct shape shapes[] = {
        {1, 1, 1, 1, 0, 0},      {1, 7, 5, 3, 0, 0},      {64, 16, 10, 2, 0, 0},   {65, 3, 65, 2, 0, 0},
        {1000, 33, 7, 1, 3, 0},  {1000, 33, 7, 4, 3, 0},  {777, 17, 100, 3, 2, 5}, {500, 8, 1, 2, 0, 1},
        {300, 20, 299, 2, 7, 0}, {200, 5, 1000, 4, 0, 9}, {128, 4, 3, 2, 1, 0},
    };
    return cr_make_param_array(struct shape, shapes, sizeof shapes / sizeof *shapes);
}

static int by_score_then_row(const void *a, const void *b)
{
    const struct search_found *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* All rows but the holes, sorted; then as many as the limit, and those that are equal to the last. */
static size_t sort_plainly(struct search_found *all, const struct shape *s, const float *scores,
                           const uint64_t *holes)
{
    size_t n = 0;
    for (size_t i = 0; i < s->rows; i++)
        if ((holes[i / 64] >> i % 64 & 1) == 0) all[n++] = (struct search_found){i, scores[i]};
    qsort(all, n, sizeof *all, by_score_then_row);
    size_t kept = s->limit < n ? s->limit : n;
    while (kept > 0 && kept < n && all[kept].score == all[kept - 1].score) kept++;
    return kept;
}

ParameterizedTest(struct shape *s, search, finds_what_a_plain_sort_finds)
{
    float *values = malloc(s->rows * s->dimension * sizeof *values),
          *scores = malloc(s->rows * sizeof *scores), *query = malloc(s->dimension * sizeof *query);
    uint64_t *holes = calloc(s->rows / 64 + 1, sizeof *holes);
    struct search_found *expected = calloc(s->rows, sizeof *expected), *found = NULL;
    struct workers *workers = NULL;
    struct thea_err err = {0};
    size_t count = 0;
    for (size_t i = 0; i < s->rows; i++) {
        check_fill(values + i * s->dimension, s->dimension, s->values > 0 ? i % (size_t)s->values : i + 1, 1);
        if (s->hole_every > 0 && i % (size_t)s->hole_every == 0) holes[i / 64] |= UINT64_C(1) << i % 64;
    }
    check_fill(query, s->dimension, 99, 1);
    const struct kernels *k = kernels_select(NULL);
    k->dot_rows(scores, values, query, s->rows, s->dimension);
    size_t wanted = sort_plainly(expected, s, scores, holes);
    struct search_rows rows = {values, s->rows, s->dimension, holes};
    cr_assert_eq(workers_new(&workers, s->workers, &err), THEA_OK);
    cr_assert_eq(search_top(&found, &count, &rows, query, s->limit, k, workers, &err), THEA_OK, "%s",
                 err.message);
    cr_assert_eq(count, wanted, "%zu rows of %zu", count, wanted);
    for (size_t i = 0; i < count; i++)
        cr_assert(found[i].row == expected[i].row && found[i].score == expected[i].score, "place %zu", i);
    workers_free(workers);
    free(values), free(scores), free(query), free(holes), free(expected), free(found);
}

Test(search, of_no_rows_finds_nothing)
{
    struct search_rows rows = {NULL, 0, 4, NULL};
    struct search_found *found = NULL;
    struct workers *workers = NULL;
    struct thea_err err = {0};
    static const float query[4] = {1};
    size_t count = 1;
    cr_assert_eq(workers_new(&workers, 2, &err), THEA_OK);
    cr_assert_eq(search_top(&found, &count, &rows, query, 3, kernels_select(NULL), workers, &err), THEA_OK);
    cr_assert_eq(count, 0);
    free(found);
    workers_free(workers);
}

Test(search, names_the_first_row_that_is_not_finite_but_not_a_hole)
{
    enum { ROWS = 300 };
    float values[ROWS] = {0};
    uint64_t holes[ROWS / 64 + 1] = {0};
    struct search_rows rows = {values, ROWS, 1, holes};
    struct search_found *found = NULL;
    struct workers *workers = NULL;
    struct thea_err err = {0};
    static const float query[1] = {1};
    size_t count;
    values[7] = values[200] = values[290] = NAN;
    holes[0] |= UINT64_C(1) << 7;
    cr_assert_eq(workers_new(&workers, 3, &err), THEA_OK);
    cr_assert_eq(search_top(&found, &count, &rows, query, 3, kernels_select(NULL), workers, &err),
                 THEA_EDATA);
    cr_assert_not_null(strstr(err.message, "row 200 "), "%s", err.message);
    workers_free(workers);
}
