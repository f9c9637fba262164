/* How many streams a source may have under way, by a clock of the test's own. */
#include "graph/wire/stage_core.h"

#include <criterion/criterion.h>

enum { MS = 1000000 };

static struct stage_flight f;
static struct ranges committed;
static uint64_t next, done;

static void start(size_t streams, uint64_t bytes)
{
    for (size_t i = 0; i < streams; i++) {
        stage_flight_start(&f, next);
        stage_flight_send(&f, next++, bytes);
    }
}

static void commit(size_t streams, uint64_t now_ns)
{
    ranges_add(&committed, done, done + streams - 1);
    done += streams;
    stage_flight_commit(&f, &committed, now_ns);
}

static bool has_room(uint64_t now_ns)
{
    return stage_flight_has_room(&f, 0, next - done, now_ns);
}

static void forget(void)
{
    stage_flight_fini(&f);
    ranges_fini(&committed);
    next = done = 0;
}

TestSuite(stage_flight, .fini = forget);

Test(stage_flight, what_somebody_said_holds_whatever_the_streams_are)
{
    start(100, 1 << 30);
    cr_expect(stage_flight_has_room(&f, 101, 100, 0));
    commit(99, 1);
    cr_expect_not(stage_flight_has_room(&f, 1, 1, 2));
}

Test(stage_flight, before_anything_is_done_there_are_sixteen)
{
    start(15, 10);
    cr_expect(has_room(1000 * (uint64_t)MS));
    start(1, 10);
    cr_expect_not(has_room(1000 * (uint64_t)MS));
    cr_expect_not(has_room(100000 * (uint64_t)MS), "time alone gives no room");
}

Test(stage_flight, as_many_as_were_done_in_a_tenth_of_a_second_may_be_open)
{
    uint64_t now = 1000 * (uint64_t)MS;
    for (int i = 0; i < 4; i++) {
        start(10, 10);
        commit(10, now);
    }
    start(39, 10);
    cr_expect(has_room(now + 90 * MS));
    start(1, 10);
    cr_expect_not(has_room(now + 90 * MS), "forty were done");
    commit(1, now + 120 * MS);
    cr_expect(has_room(now + 120 * MS), "those of the tenth before count");
    cr_expect_not(has_room(now + 250 * MS), "one was done lately, and 39 are open");
    commit(24, now + 260 * MS);
    cr_expect(has_room(now + 700 * MS), "fifteen are open, however slow they are");
}

Test(stage_flight, never_more_than_256_are_open)
{
    uint64_t now = 1000 * (uint64_t)MS;
    start(16, 10);
    commit(16, now);
    start(1000, 10);
    commit(1000, now);
    start(255, 10);
    cr_expect(has_room(now));
    start(1, 10);
    cr_expect_not(has_room(now));
}

Test(stage_flight, large_ones_are_sixteen_however_quick_they_are)
{
    uint64_t now = 1000 * (uint64_t)MS;
    start(100, 10);
    commit(100, now);
    start(16, 100000);
    cr_expect_not(has_room(now), "they have more than 1 MiB");
    commit(8, now);
    start(9, 10);
    cr_expect(has_room(now), "seventeen, with less");
}

Test(stage_flight, one_that_begins_again_counts_once)
{
    uint64_t now = 1000 * (uint64_t)MS;
    start(100, 10);
    commit(100, now);
    start(17, 10);
    for (int i = 0; i < 20; i++) {
        stage_flight_start(&f, next - 1);
        stage_flight_send(&f, next - 1, 100000);
    }
    cr_expect_eq(f.bytes, 16 * 10 + 100000);
    cr_expect(has_room(now));
    stage_flight_send(&f, 12345, 100000000);
    cr_expect(has_room(now), "bytes of a stream that nobody started");
}

Test(stage_flight, a_new_epoch_has_nothing_open)
{
    uint64_t now = 1000 * (uint64_t)MS;
    start(100, 10);
    commit(100, now);
    start(16, 100000);
    stage_flight_clear(&f);
    cr_expect_eq(f.bytes, 0);
    cr_expect(stage_flight_has_room(&f, 0, 16, now));
}
