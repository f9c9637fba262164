/* Which replica gets a stream. */
#include "graph/wire/stage_route.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct stage_route make(stage_route_rule rule, size_t members)
{
    struct stage_route r;
    stage_route_init(&r, rule);
    for (size_t i = 0; i < members; i++) cr_assert_eq(stage_route_add(&r, false), i);
    return r;
}

static size_t of(struct stage_route *r, uint64_t stream)
{
    return stage_route_of(r, stream, 0, NULL, NULL);
}

static size_t waiting[4];
static size_t waiting_at(const void *context, size_t member)
{
    (void)context;
    return waiting[member];
}

Test(stage_route, equals_take_turns)
{
    struct stage_route r = make(ROUTE_BY_LOAD, 3);
    for (uint64_t s = 0; s < 9; s++) {
        cr_expect_eq(of(&r, s), s % 3);
        stage_route_forget(&r, s);
    }
    stage_route_fini(&r);
}

Test(stage_route, a_stream_stays_where_it_began_and_is_chosen_anew_once_forgotten)
{
    struct stage_route r = make(ROUTE_BY_LOAD, 3);
    cr_expect_eq(of(&r, 7), 0);
    cr_expect_eq(of(&r, 8), 1);
    for (int i = 0; i < 5; i++) cr_expect_eq(of(&r, 7), 0);
    cr_expect_eq(stage_route_find(&r, 8, 0), 1);
    cr_expect_eq(stage_route_find(&r, 9, 0), STAGE_ROUTE_NONE);
    stage_route_forget(&r, 7);
    stage_route_forget(&r, 7);
    stage_route_forget(&r, 12345);
    cr_expect_eq(stage_route_find(&r, 7, 0), STAGE_ROUTE_NONE);
    cr_expect_eq(of(&r, 9), 2, "two has none, zero has none, but it is two's turn");
    cr_expect_eq(of(&r, 7), 0);
    stage_route_fini(&r);
}

Test(stage_route, the_member_with_the_fewest_open_streams_gets_the_next)
{
    struct stage_route r = make(ROUTE_BY_LOAD, 2);
    cr_expect_eq(of(&r, 1), 0);
    cr_expect_eq(of(&r, 2), 1);
    cr_expect_eq(of(&r, 3), 0);
    stage_route_forget(&r, 2);
    cr_expect_eq(of(&r, 4), 1);
    cr_expect_eq(of(&r, 5), 1, "one has one, zero has two");
    stage_route_fini(&r);
}

Test(stage_route, what_waits_at_a_member_counts_and_a_full_one_is_chosen_only_if_all_are)
{
    struct stage_route r = make(ROUTE_BY_LOAD, 3);
    waiting[0] = 5, waiting[1] = 2, waiting[2] = STAGE_ROUTE_NONE;
    cr_expect_eq(stage_route_of(&r, 1, 0, waiting_at, NULL), 1);
    waiting[0] = 1;
    cr_expect_eq(stage_route_of(&r, 2, 0, waiting_at, NULL), 0, "1 waiting, against 2 and a stream");
    waiting[0] = waiting[1] = STAGE_ROUTE_NONE;
    cr_expect_neq(stage_route_of(&r, 3, 0, waiting_at, NULL), STAGE_ROUTE_NONE);
    stage_route_fini(&r);
}

Test(stage_route, ten_thousand_streams_are_found_again_whatever_is_forgotten_between)
{
    enum { STREAMS = 10000, MEMBERS = 5 };
    static size_t where[STREAMS];
    static bool here[STREAMS];
    struct stage_route r = make(ROUTE_BY_LOAD, MEMBERS);
    unsigned seed = 7;
    size_t open[MEMBERS] = {0};
    for (int step = 0; step < 100000; step++) {
        size_t i = (size_t)rand_r(&seed) % STREAMS;
        uint64_t stream = (uint64_t)(i % 3) << 40 | i;
        if (!here[i]) {
            where[i] = of(&r, stream);
            cr_assert_lt(where[i], MEMBERS);
            here[i] = true, open[where[i]]++;
        } else if (rand_r(&seed) % 2 == 0) {
            cr_assert_eq(of(&r, stream), where[i]);
        } else {
            stage_route_forget(&r, stream);
            here[i] = false, open[where[i]]--;
        }
    }
    for (size_t i = 0; i < STREAMS; i++)
        cr_assert_eq(stage_route_find(&r, (uint64_t)(i % 3) << 40 | i, 0),
                     here[i] ? where[i] : STAGE_ROUTE_NONE);
    for (size_t m = 0; m < MEMBERS; m++) cr_assert_eq(r.members[m].open, open[m]);
    stage_route_fini(&r);
}

Test(stage_route, a_member_that_leaves_keeps_its_streams_and_gets_no_new_ones)
{
    struct stage_route r = make(ROUTE_BY_LOAD, 2);
    cr_expect_eq(of(&r, 1), 0);
    cr_expect_eq(of(&r, 2), 1);
    stage_route_leave(&r, 1);
    cr_expect_eq(of(&r, 2), 1);
    for (uint64_t s = 3; s < 10; s++) cr_expect_eq(of(&r, s), 0);
    cr_expect_not(stage_route_left(&r, 1), "it has stream 2");
    cr_expect_not(stage_route_left(&r, 0), "it does not leave");
    stage_route_forget(&r, 2);
    cr_expect(stage_route_left(&r, 1));
    stage_route_drop(&r, 1);
    cr_expect_eq(of(&r, 2), 0);
    stage_route_fini(&r);
}

Test(stage_route, a_new_member_takes_the_number_of_one_that_is_gone)
{
    struct stage_route r = make(ROUTE_BY_LOAD, 3);
    stage_route_leave(&r, 2);
    stage_route_drop(&r, 2);
    cr_expect_eq(stage_route_add(&r, false), 2);
    cr_expect_eq(stage_route_add(&r, false), 3);
    cr_expect_eq(of(&r, 1), 0);
    cr_expect_eq(of(&r, 2), 1);
    cr_expect_eq(of(&r, 3), 2);
    stage_route_fini(&r);
}

Test(stage_route, a_new_epoch_forgets_every_stream)
{
    struct stage_route r = make(ROUTE_BY_LOAD, 2);
    for (uint64_t s = 0; s < 200; s++) (void)of(&r, s);
    stage_route_leave(&r, 1);
    stage_route_clear(&r);
    for (uint64_t s = 0; s < 200; s++) cr_assert_eq(stage_route_find(&r, s, 0), STAGE_ROUTE_NONE);
    cr_expect(stage_route_left(&r, 1), "who was leaving has nothing left");
    cr_expect_eq(of(&r, 1), 0);
    stage_route_fini(&r);
}

/* --- joins --- */

Test(stage_route, all_who_route_by_hash_agree_whatever_they_saw_before)
{
    struct stage_route a = make(ROUTE_BY_HASH, 4), b = make(ROUTE_BY_HASH, 4);
    for (uint64_t s = 0; s < 50; s += 3) (void)of(&b, s);
    for (uint64_t s = 0; s < 1000; s++) cr_assert_eq(of(&a, s), of(&b, s));
    cr_expect_eq(stage_route_find(&a, 5000, 0), of(&a, 5000), "it needs no first frame");
    stage_route_fini(&a);
    stage_route_fini(&b);
}

Test(stage_route, hashing_shares_streams_out_evenly_also_those_of_several_sources)
{
    enum { MEMBERS = 5, STREAMS = 10000 };
    struct stage_route r = make(ROUTE_BY_HASH, MEMBERS);
    size_t count[MEMBERS] = {0};
    for (uint64_t s = 0; s < STREAMS; s++) count[of(&r, (s & 1) << 40 | s >> 1)]++;
    for (size_t m = 0; m < MEMBERS; m++) {
        cr_expect_gt(count[m], STREAMS / MEMBERS * 9 / 10);
        cr_expect_lt(count[m], STREAMS / MEMBERS * 11 / 10);
    }
    stage_route_fini(&r);
}

Test(stage_route, a_member_that_comes_takes_streams_and_moves_no_others)
{
    struct stage_route before = make(ROUTE_BY_HASH, 3), after = make(ROUTE_BY_HASH, 4);
    size_t moved = 0;
    for (uint64_t s = 0; s < 4000; s++) {
        if (of(&after, s) == 3)
            moved++;
        else
            cr_assert_eq(of(&after, s), of(&before, s));
    }
    cr_expect_gt(moved, 900);
    cr_expect_lt(moved, 1100);
    stage_route_fini(&before);
    stage_route_fini(&after);
}

Test(stage_route, by_hash_who_comes_or_goes_counts_from_the_next_epoch_on)
{
    struct stage_route before = make(ROUTE_BY_HASH, 3), after = make(ROUTE_BY_HASH, 4),
                       live = make(ROUTE_BY_HASH, 3);
    cr_expect_eq(stage_route_add(&live, true), 3);
    for (uint64_t s = 0; s < 500; s++) cr_assert_eq(of(&live, s), of(&before, s));
    stage_route_clear(&live);
    for (uint64_t s = 0; s < 500; s++) cr_assert_eq(of(&live, s), of(&after, s));
    stage_route_leave(&live, 3);
    cr_expect_not(stage_route_left(&live, 3));
    for (uint64_t s = 0; s < 500; s++) cr_assert_eq(of(&live, s), of(&after, s));
    stage_route_clear(&live);
    cr_expect(stage_route_left(&live, 3));
    for (uint64_t s = 0; s < 500; s++) cr_assert_eq(of(&live, s), of(&before, s));
    stage_route_drop(&live, 3);
    cr_expect_eq(stage_route_add(&live, false), 3);
    for (uint64_t s = 0; s < 500; s++) cr_assert_eq(of(&live, s), of(&after, s));
    stage_route_fini(&before);
    stage_route_fini(&after);
    stage_route_fini(&live);
}

/* --- loops --- */

Test(stage_route, what_goes_back_goes_to_its_origin)
{
    struct stage_route r = make(ROUTE_BY_ORIGIN, 3);
    cr_expect_eq(stage_route_of(&r, 7, 2, NULL, NULL), 2);
    cr_expect_eq(stage_route_of(&r, 7, 0, NULL, NULL), 0);
    cr_expect_eq(stage_route_of(&r, 7, 3, NULL, NULL), STAGE_ROUTE_NONE);
    stage_route_leave(&r, 2);
    cr_expect_eq(stage_route_of(&r, 7, 2, NULL, NULL), 2, "its streams go on");
    stage_route_drop(&r, 2);
    cr_expect_eq(stage_route_of(&r, 7, 2, NULL, NULL), STAGE_ROUTE_NONE);
    stage_route_fini(&r);
}
