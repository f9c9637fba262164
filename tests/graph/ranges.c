/* Sets of ranges against a plain array of booleans, and their form in JSON. */
#include "graph/ranges.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void expect_text(const struct ranges *r, const char *text)
{
    struct json_node *list = ranges_print(r);
    char *got = json_print(list, 0, 0);
    cr_assert_str_eq(got, text);
    free(got);
    json_free(list);
}

Test(ranges, neighbours_become_one_and_gaps_stay)
{
    struct ranges r = {0};
    expect_text(&r, "[]");
    ranges_add(&r, 5, 5);
    ranges_add(&r, 7, 9);
    expect_text(&r, "[[5, 5], [7, 9]]");
    ranges_add(&r, 6, 6);
    expect_text(&r, "[[5, 9]]");
    ranges_add(&r, 0, 3);
    ranges_add(&r, 20, 30);
    ranges_add(&r, 2, 25);
    expect_text(&r, "[[0, 30]]");
    ranges_remove(&r, 0);
    ranges_remove(&r, 30);
    ranges_remove(&r, 10);
    ranges_remove(&r, 10);
    expect_text(&r, "[[1, 9], [11, 29]]");
    ranges_fini(&r);
}

Test(ranges, the_largest_number_is_no_special_case)
{
    struct ranges r = {0};
    ranges_add(&r, UINT64_MAX, UINT64_MAX);
    ranges_add(&r, UINT64_MAX - 1, UINT64_MAX - 1);
    cr_assert_eq(r.count, 1);
    cr_assert(ranges_has(&r, UINT64_MAX));
    cr_assert_eq(ranges_next_missing(&r, UINT64_MAX - 1), UINT64_MAX);
    cr_assert_eq(ranges_next_missing(&r, 3), 3);
    ranges_add(&r, 0, UINT64_MAX);
    cr_assert_eq(r.count, 1);
    ranges_fini(&r);
}

static void compare(const struct ranges *r, const bool *model, uint64_t n)
{
    uint64_t total = 0, missing = n;
    for (uint64_t i = n; i-- > 0;) {
        if (!model[i]) missing = i;
        total += model[i];
        cr_assert_eq(ranges_has(r, i), model[i]);
        cr_assert_eq(ranges_next_missing(r, i), missing);
    }
    cr_assert_eq(ranges_total(r), total);
    for (size_t i = 0; i + 1 < r->count; i++) cr_assert(r->items[i].last + 1 < r->items[i + 1].first);
}

Test(ranges, any_order_of_adding_and_removing_gives_what_an_array_gives)
{
    enum { N = 60, STEPS = 3000 };
    bool model[N] = {false};
    struct ranges r = {0};
    unsigned seed = 1;
    for (int step = 0; step < STEPS; step++) {
        seed = seed * 1103515245u + 12345u;
        uint64_t first = (seed >> 16) % N, last = first + (seed >> 8) % 4;
        if (last >= N) last = N - 1;
        bool add = (seed >> 28) % 2 != 0;
        if (add) ranges_add(&r, first, last);
        for (uint64_t i = first; i <= last; i++) {
            model[i] = add;
            if (!add) ranges_remove(&r, i);
        }
        compare(&r, model, N);
    }
    ranges_clear(&r);
    cr_assert_eq(ranges_total(&r), 0);
    ranges_fini(&r);
}

static thea_rc read_text(struct ranges *r, const char *text, struct thea_err *err)
{
    struct json_node *list;
    cr_assert_eq(json_parse(&list, text, strlen(text), "test", err), THEA_OK);
    thea_rc rc = ranges_read(r, list, err);
    json_free(list);
    return rc;
}

Test(ranges, json_comes_back_as_it_went)
{
    struct ranges r = {0};
    struct thea_err err;
    cr_assert_eq(read_text(&r, "[[3, 4], [0, 1], [9, 9]]", &err), THEA_OK);
    expect_text(&r, "[[0, 1], [3, 4], [9, 9]]");
    ranges_fini(&r);
}

Test(ranges, what_is_no_list_of_ranges_is_refused)
{
    static const char *const bad[] = {"{}",       "[1]",       "[[1]]",       "[[1, 2, 3]]",
                                      "[[2, 1]]", "[[-1, 1]]", "[[\"1\", 2]]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ranges r = {0};
        struct thea_err err;
        cr_assert_eq(read_text(&r, bad[i], &err), THEA_EDATA, "%s", bad[i]);
        ranges_fini(&r);
    }
}
