/* Pools, ports and what links hold of them, within one process; see region_map.c for what a reader refuses
 * and region_deaths.c for processes that die. */
#include "tests/graph/wire/region_pair.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

TestSuite(region, .timeout = 300);

enum { SIZE = 16 << 10, WINDOW = 8, FRAMES = 100000 };
#define BYTES ((uint64_t)64 << 20)

/* --- one pool --- */

Test(region, a_pools_file_can_neither_shrink_nor_grow_nor_be_written_by_another)
{
    struct region_pool *pool;
    struct thea_err err;
    char path[64];
    cr_assert_eq(region_pool_open(&pool, 4, SIZE, &err), THEA_OK, "%s", err.message);
    cr_assert_eq((uintptr_t)pool->base % REGION_ALIGNMENT, 0);
    cr_assert_neq(ftruncate(pool->fd, SIZE), 0, "it shrank");
    cr_assert_neq(ftruncate(pool->fd, 8 * SIZE), 0, "it grew");
    cr_assert_lt(pwrite(pool->fd, "x", 1, 0), 0, "it was written");
    snprintf(path, sizeof path, "/proc/self/fd/%d", pool->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        cr_assert_eq(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED, "writable");
    if (fd >= 0) close(fd);
    pool->base[SIZE] = 7; /* its owner can */
    region_pool_close(pool);
}

Test(region, a_pool_that_does_not_fit_is_an_error_and_not_a_fault)
{
    struct rlimit limit = {1 << 20, 1 << 20};
    struct region_pool *pool;
    struct thea_err err;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(region_pool_open(&pool, 4, 1 << 20, &err), THEA_EOS);
    cr_assert_not_null(strstr(err.message, "4194304 bytes of shared memory: posix_fallocate: "), "%s",
                       err.message);
}

Test(region, a_slot_comes_back_with_its_last_reference_and_every_use_has_a_number_of_its_own)
{
    struct region_pool *pool;
    uint32_t a, b, c;
    cr_assert_eq(region_pool_open(&pool, 2, SIZE, NULL), THEA_OK);
    cr_assert(region_pool_take(pool, &a) && region_pool_take(pool, &b));
    cr_assert(a != b && !region_pool_take(pool, &c));
    region_pool_refer(pool, a);
    region_pool_release(pool, a);
    cr_assert_not(region_pool_take(pool, &c));
    uint64_t before = pool->slot[a].generation;
    region_pool_release(pool, a);
    cr_assert(region_pool_take(pool, &c));
    cr_assert(c == a && pool->slot[c].generation == before + 1 && region_pool_in_use(pool) == 2);
    region_pool_close(pool);
}

/* --- a port --- */

Test(region, no_pool_is_made_for_small_tensors_or_without_readers)
{
    struct pair p = pair_new(1, WINDOW, BYTES), none = pair_new(0, 0, 0);
    cr_assert_null(region_port_buffer(p.port, REGION_INLINE_MAX - 1));
    cr_assert_null(region_port_buffer(none.port, SIZE));
    cr_assert(region_port_pools(p.port) == 0 && region_port_pools(none.port) == 0);
    cr_assert(region_port_ready(p.port) && region_port_ready(none.port));
    pair_free(&p);
    pair_free(&none);
}

Test(region, a_user_can_do_without_regions)
{
    setenv("THEA_REGIONS", "off", 1);
    struct pair p = pair_new(1, WINDOW, BYTES);
    cr_assert_null(region_port_buffer(p.port, SIZE));
    cr_assert(region_port_ready(p.port) && region_port_pools(p.port) == 0);
    pair_free(&p);
}

Test(region, a_pool_has_a_slot_for_every_frame_that_credit_allows_and_one_to_work_on)
{
    static const struct {
        uint64_t frames, bytes, slots;
    } cases[] = {{8, BYTES, 1 + 8 + 8}, {8, 4 * SIZE, 1 + 4 + 4}, {8, 1, 1 + 2 + 2}, {1, BYTES, 1 + 1 + 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair p = pair_new(2, cases[i].frames, cases[i].bytes);
        pair_send(&p, SIZE, 1);
        cr_assert_eq(p.port->pools->slots, cases[i].slots);
        cr_assert_eq(region_port_bytes(p.port), cases[i].slots * SIZE);
        pair_free(&p);
    }
}

Test(region, buffers_of_a_frame_share_a_slot_once_the_largest_frame_was_seen)
{
    struct pair p = pair_new(1, WINDOW, BYTES);
    for (int round = 0; round < 3; round++) {
        char *a = region_port_buffer(p.port, SIZE), *b = region_port_buffer(p.port, SIZE - 100);
        struct tensor t[2] = {tensor_1d("a", TENSOR_U8, a, SIZE), tensor_1d("b", TENSOR_U8, b, SIZE - 100)};
        uint64_t copied, inlined;
        pair_settle(&p, 0);
        const struct tensor *there =
            region_link_take(p.reader[0].link, &(struct frame){.tensors = t, .tensor_count = 2},
                             (uint64_t)round, &copied, &inlined);
        cr_assert(there[0].in_region && there[1].in_region && copied == 0);
        cr_assert_eq(there[0].region.pool == there[1].region.pool, round > 0);
        if (round > 0) cr_assert(there[0].region.slot == there[1].region.slot && b == a + SIZE);
        region_port_done(p.port);
        cr_assert_eq(p.reader[0].link->count, round == 0 ? 2 : 1, "one reference a frame and slot");
        region_link_release(p.reader[0].link, (uint64_t)round + 1);
        cr_assert(region_port_pools(p.port) == 1 && region_port_in_use(p.port) == 0);
    }
    pair_free(&p);
}

Test(region, a_larger_frame_gets_a_pool_of_its_size_and_the_old_one_goes_when_it_is_released)
{
    struct pair p = pair_new(1, WINDOW, BYTES);
    pair_send(&p, SIZE, 1);
    pair_send(&p, 3 * SIZE, 2);
    cr_assert_eq(region_port_pools(p.port), 2);
    cr_assert_eq(region_maps_count(p.reader[0].maps), 2);
    pair_send(&p, SIZE, 3); /* fits the larger one */
    cr_assert_eq(region_port_pools(p.port), 2);
    pair_consume(&p, 0, 1);
    cr_assert_eq(region_port_pools(p.port), 1);
    pair_settle(&p, 0);
    cr_assert_eq(region_maps_count(p.reader[0].maps), 1, "the reader is told to unmap it");
    pair_free(&p);
}

Test(region, frames_that_get_longer_one_by_one_do_not_make_a_pool_each)
{
    struct pair p = pair_new(1, WINDOW, BYTES);
    for (size_t n = 0; n < 1000; n++) {
        pair_send(&p, SIZE + n * 64, 1);
        pair_consume(&p, 0, 1);
    }
    cr_assert_leq(p.port->last, 8);
    pair_free(&p);
}

Test(region, a_slot_with_two_readers_is_free_when_both_are_done)
{
    struct pair p = pair_new(2, 1, BYTES);
    pair_send(&p, SIZE, 1);
    pair_consume(&p, 0, 1);
    cr_assert_eq(region_port_in_use(p.port), 1);
    pair_consume(&p, 1, 1);
    cr_assert_eq(region_port_in_use(p.port), 0);
    pair_free(&p);
}

Test(region, a_hundred_thousand_frames_need_no_more_memory_than_the_first)
{
    struct pair p = pair_new(2, WINDOW, BYTES);
    pair_send(&p, SIZE, 1);
    uint64_t bytes = region_port_bytes(p.port);
    size_t held = 0;
    for (int i = 1; i < FRAMES; i++) {
        for (int k = 0; k < 2; k++) /* one reader is as slow as its window allows, the other quick */
            while (p.reader[k].sent - p.reader[k].consumed >= (k == 0 ? WINDOW : 1)) pair_consume(&p, k, 1);
        cr_assert(region_port_ready(p.port), "credit implies a free slot");
        pair_send(&p, SIZE, (unsigned char)i);
        if (i == 100) held = p.reader[0].link->cap;
    }
    cr_assert_eq(region_port_bytes(p.port), bytes);
    cr_assert(region_port_pools(p.port) == 1 && p.port->last == 1);
    cr_assert_eq(p.reader[0].link->cap, held);
    for (int k = 0; k < 2; k++) pair_consume(&p, k, WINDOW);
    cr_assert_eq(region_port_in_use(p.port), 0);
    pair_free(&p);
}

Test(region, small_frames_in_large_slots_make_the_op_wait_and_not_the_pool_grow)
{
    struct pair p = pair_new(1, WINDOW, 4 * SIZE);
    pair_send(&p, 2 * SIZE, 1); /* three slots */
    pair_send(&p, SIZE, 2);
    pair_send(&p, SIZE, 3);
    cr_assert_not(region_port_ready(p.port));
    cr_assert_null(region_port_buffer(p.port, SIZE), "an op that did not wait gets private memory");
    pair_consume(&p, 0, 1);
    cr_assert(region_port_ready(p.port));
    pair_send(&p, SIZE, 4);
    cr_assert_eq(region_port_pools(p.port), 1);
    pair_free(&p);
}

/* --- links --- */

static uint64_t copied_of(struct pair *p, int i, const void *data, size_t n, uint64_t *inlined)
{
    uint64_t copied;
    struct tensor t = tensor_1d("x", TENSOR_U8, data, n);
    const struct tensor *there =
        region_link_take(p->reader[i].link, &(struct frame){.tensors = &t, .tensor_count = 1},
                         p->reader[i].sent++, &copied, inlined);
    cr_assert_eq(there->in_region, copied + *inlined == 0);
    cr_assert_eq(there->data, data);
    return copied;
}

Test(region, what_does_not_lie_in_a_mapped_pool_is_copied_and_counted)
{
    static char elsewhere[SIZE];
    struct pair p = pair_new(1, WINDOW, BYTES);
    uint64_t inlined;
    char *data = region_port_buffer(p.port, SIZE);
    cr_assert_eq(copied_of(&p, 0, data, SIZE, &inlined), SIZE, "nobody has answered yet");
    pair_settle(&p, 0);
    cr_assert_eq(copied_of(&p, 0, data, SIZE, &inlined), 0);
    cr_assert_eq(copied_of(&p, 0, elsewhere, SIZE, &inlined), SIZE);
    cr_assert_eq(copied_of(&p, 0, data, 100, &inlined), 0);
    cr_assert_eq(inlined, 100, "small ones are faster in the message");
    pair_free(&p);
}

Test(region, a_link_that_refuses_copies_and_the_other_does_not)
{
    struct pair p = pair_new(2, WINDOW, BYTES);
    struct region_offer o;
    uint64_t inlined;
    char *data = region_port_buffer(p.port, SIZE);
    cr_assert_not(region_link_settled(p.reader[0].link));
    cr_assert(region_link_offer(p.reader[0].link, &o));
    cr_assert_not(region_link_settled(p.reader[0].link));
    cr_assert(region_link_answer(p.reader[0].link, o.number, false));
    cr_assert(region_link_settled(p.reader[0].link) && !region_link_offer(p.reader[0].link, &o));
    pair_settle(&p, 1);
    cr_assert_eq(copied_of(&p, 0, data, SIZE, &inlined), SIZE);
    cr_assert_eq(copied_of(&p, 1, data, SIZE, &inlined), 0);
    region_port_done(p.port);
    cr_assert_not_null(region_port_buffer(p.port, SIZE));
    pair_free(&p);
}

Test(region, a_port_whose_only_reader_refuses_keeps_no_shared_memory)
{
    struct pair p = pair_new(1, WINDOW, BYTES);
    struct region_offer o;
    cr_assert_not_null(region_port_buffer(p.port, SIZE));
    cr_assert(region_link_offer(p.reader[0].link, &o));
    cr_assert(region_link_answer(p.reader[0].link, o.number, false));
    region_port_done(p.port);
    cr_assert(region_port_pools(p.port) == 0 && region_port_buffer(p.port, SIZE) == NULL);
    cr_assert(region_port_ready(p.port));
    pair_free(&p);
}

Test(region, a_pool_that_is_gone_when_its_reader_looks_is_no_reason_to_copy)
{
    struct pair p = pair_new(2, WINDOW, BYTES);
    struct region_offer o;
    uint64_t inlined;
    cr_assert_not_null(region_port_buffer(p.port, SIZE));
    cr_assert(region_link_offer(p.reader[0].link, &o));
    region_port_done(p.port);
    char *data = region_port_buffer(p.port, 4 * SIZE); /* too large for that pool, which nobody uses */
    cr_assert_eq(region_port_pools(p.port), 1);
    cr_assert_neq(region_maps_add(p.reader[0].maps, &o, NULL), THEA_OK, "it is still there");
    cr_assert(region_link_answer(p.reader[0].link, o.number, false));
    cr_assert_not(region_link_refused(p.reader[0].link));
    pair_settle(&p, 0);
    pair_settle(&p, 1);
    cr_assert_eq(copied_of(&p, 0, data, 4 * SIZE, &inlined), 0);
    cr_assert_eq(copied_of(&p, 1, data, 4 * SIZE, &inlined), 0);
    region_port_done(p.port);
    pair_free(&p);
}

Test(region, an_answer_that_nobody_asked_for_is_told)
{
    struct pair p = pair_new(1, WINDOW, BYTES);
    cr_assert_not(region_link_answer(p.reader[0].link, 0, true));
    cr_assert_not(region_link_answer(p.reader[0].link, 1, true));
    pair_send(&p, SIZE, 1);
    cr_assert(region_link_answer(p.reader[0].link, 1, false), "said again: the first answer holds");
    cr_assert_not(region_link_answer(p.reader[0].link, 2, true));
    pair_send(&p, SIZE, 2);
    pair_free(&p);
}

Test(region, what_was_lost_with_a_pipe_is_told_again)
{
    struct pair p = pair_new(1, WINDOW, BYTES);
    struct region_offer o;
    (void)region_port_buffer(p.port, SIZE);
    cr_assert(region_link_offer(p.reader[0].link, &o));
    cr_assert_not(region_link_offer(p.reader[0].link, &o));
    region_link_resume(p.reader[0].link);
    cr_assert(region_link_offer(p.reader[0].link, &o));
    cr_assert_eq(region_maps_add(p.reader[0].maps, &o, NULL), THEA_OK);
    cr_assert(o.number == 1 && region_link_answer(p.reader[0].link, 1, true));
    region_port_done(p.port);
    pair_send(&p, SIZE, 1);
    pair_send(&p, SIZE, 2);
    region_link_resume(p.reader[0].link);
    cr_assert_eq(region_port_in_use(p.port), 2, "a reader that comes back still has what it had");
    pair_settle(&p, 0);
    pair_send(&p, SIZE, 3);
    pair_free(&p);
}

Test(region, what_a_lost_reader_held_is_not_written_again)
{
    struct pair p = pair_new(1, WINDOW, BYTES);
    struct region_maps *old = p.reader[0].maps;
    pair_send(&p, SIZE, 42);
    struct tensor t = {
        .name = "x", .size_bytes = SIZE, .in_region = true, .region = {.pool = 1, .generation = 1}};
    cr_assert_eq(region_maps_resolve(old, &(struct frame){.tensors = &t, .tensor_count = 1}, NULL), THEA_OK);
    region_link_open(p.reader[0].link, WINDOW,
                     BYTES); /* another takes its place, and nobody knows if it still reads */
    p.reader[0].maps = region_maps_new();
    p.reader[0].sent = p.reader[0].consumed = 0;
    cr_assert_eq(region_port_pools(p.port), 0);
    for (int i = 0; i < 2 * WINDOW; i++) {
        pair_send(&p, SIZE, 7);
        pair_consume(&p, 0, 1);
    }
    for (size_t i = 0; i < SIZE; i++) cr_assert_eq(((const char *)t.data)[i], 42);
    cr_assert_eq(region_port_pools(p.port), 1);
    region_maps_free(old);
    pair_free(&p);
}

Test(region, a_link_that_closes_leaves_what_it_held_to_its_reader)
{
    struct pair p = pair_new(2, WINDOW, BYTES);
    pair_send(&p, SIZE, 42);
    const char *seen = NULL;
    struct tensor t = {
        .name = "x", .size_bytes = SIZE, .in_region = true, .region = {.pool = 1, .generation = 1}};
    cr_assert_eq(
        region_maps_resolve(p.reader[1].maps, &(struct frame){.tensors = &t, .tensor_count = 1}, NULL),
        THEA_OK);
    seen = t.data;
    region_link_free(p.reader[1].link);
    p.readers = 1;
    pair_consume(&p, 0, 1);
    for (int i = 0; i < 2 * WINDOW; i++) {
        pair_send(&p, SIZE, 7);
        pair_consume(&p, 0, 1);
    }
    for (size_t i = 0; i < SIZE; i++) cr_assert_eq(seen[i], 42);
    region_maps_free(p.reader[1].maps);
    pair_free(&p);
}

Test(region, a_reader_that_joins_late_gets_slots_of_its_own)
{
    struct pair p = pair_new(1, WINDOW, BYTES);
    pair_send(&p, SIZE, 1);
    cr_assert_eq(p.port->pools->slots, 1 + WINDOW);
    p.reader[1].link = region_link_new(p.port);
    p.reader[1].maps = region_maps_new();
    p.readers = 2;
    region_link_open(p.reader[1].link, WINDOW, BYTES);
    pair_send(&p, SIZE, 2);
    cr_assert_eq(p.port->pools->slots, 1 + 2 * WINDOW);
    pair_free(&p);
}

Test(region, it_works_where_these_tests_run)
{
    struct thea_err err = {0};
    cr_assert_eq(region_works(&err), THEA_OK, "%s", err.message);
}
