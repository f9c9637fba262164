/* The counts of ops by duration on the status page. */
#include "graph/status.h"

#include <criterion/criterion.h>

Test(status, every_duration_is_below_its_buckets_bound_and_not_below_the_one_before)
{
    for (uint64_t ns = 0; ns < UINT64_C(1) << 39; ns = ns + 1 + ns / 37) {
        size_t b = status_op_bucket(ns);
        cr_assert_lt(ns, status_op_bound_ns(b), "%llu in %zu", (unsigned long long)ns, b);
        if (b > 0) cr_assert_geq(ns, status_op_bound_ns(b - 1), "%llu in %zu", (unsigned long long)ns, b);
    }
}

Test(status, bounds_grow_by_a_quarter_at_most)
{
    for (size_t b = 1; b < STATUS_OP_BUCKETS; b++) {
        uint64_t last = status_op_bound_ns(b - 1), bound = status_op_bound_ns(b);
        cr_expect_gt(bound, last);
        cr_expect_leq(bound - last, last / 4 + 1, "bucket %zu: %llu after %llu", b, (unsigned long long)bound,
                      (unsigned long long)last);
    }
}

Test(status, an_endless_op_is_in_the_last_bucket)
{
    cr_expect_eq(status_op_bucket(UINT64_MAX), STATUS_OP_BUCKETS - 1);
    cr_expect_eq(status_op_bucket(0), 0);
}

Test(status, ops_are_counted_where_they_belong)
{
    struct status_page *page;
    cr_assert_eq(status_map(&page, -1, NULL), THEA_OK);
    status_count_op(page, 5000000);
    status_count_op(page, 5000000);
    cr_expect_eq(page->op_counts[status_op_bucket(5000000)], 2);
    cr_expect_eq(page->op_counts[status_op_bucket(50000000)], 0);
    status_unmap(page);
}
