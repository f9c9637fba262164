/* Links whose tensors lie in shared memory: what is read in place, what is copied instead, and what becomes
 * of slots when pipes are cut and processes replaced. Both ends in one process. */
#include "graph/wire/link_impl.h"
#include "graph/wire/region_impl.h"
#include "tests/graph/wire/link_ends.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(link_pool, .timeout = 300);

enum { SIZE = 64 << 10, WINDOW = 4 };

struct shared {
    struct ends e;
    struct region_port *port;
    uint64_t sent, got;
};

static struct shared shared_new(struct ends_options o)
{
    struct shared s = {.port = region_port_new("residual")};
    if (o.window_frames == 0) o.window_frames = WINDOW;
    s.e = ends_new(o);
    s.e.tx_options.regions = s.port;
    s.e.tx_options.incarnation = s.e.rx_options.incarnation = 1;
    ends_listen(&s.e);
    ends_dial(&s.e);
    ends_wait_ready(&s.e, 0);
    return s;
}

static void shared_free(struct shared *s)
{
    ends_free(&s->e);
    region_port_free(s->port);
}

static struct frame frame_of(const struct shared *s, struct tensor *t)
{
    return (struct frame){.seq = s->sent, .epoch = s->e.tx_options.epoch, .tensors = t, .tensor_count = 1};
}

/* A frame in the port's memory, each byte its number. */
static void send_shared(struct shared *s, size_t n)
{
    struct thea_err err = {0};
    ends_wait_ready(&s->e, n);
    cr_assert(region_port_ready(s->port), "credit implies a free slot");
    char *data = region_port_buffer(s->port, n);
    cr_assert_not_null(data);
    memset(data, (int)s->sent, n);
    struct tensor t = tensor_1d("residual", TENSOR_U8, data, n);
    struct frame f = frame_of(s, &t);
    ends_wait_ready(&s->e, n);
    cr_assert_eq(link_send(s->e.tx, &f, &err), THEA_OK, "%s", err.message);
    region_port_done(s->port);
    s->sent++;
}

static const struct tensor *receive(struct shared *s, size_t n)
{
    const struct frame *f = ends_receive(&s->e);
    cr_assert_eq(f->seq, s->got);
    const struct tensor *t = &f->tensors[0];
    cr_assert(!t->in_region && t->size_bytes == n && t->data != NULL);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(((const unsigned char *)t->data)[i], (unsigned char)s->got, "byte %zu of %zu", i, n);
    s->got++;
    return t;
}

static void consume(struct shared *s)
{
    link_consume(s->e.rx);
    link_flush_credit(s->e.rx);
}

static bool is_senders(const struct shared *s, const void *data)
{
    for (const struct region_pool *pool = s->port->pools; pool != NULL; pool = pool->next)
        if (region_pool_has(pool, data)) return true;
    return false;
}

static void wait_unused(struct shared *s)
{
    while (region_port_in_use(s->port) > 0) ends_poll(s->e.set);
}

Test(link_pool, tensors_are_read_where_they_were_written)
{
    struct shared s = shared_new((struct ends_options){0});
    for (int i = 0; i < 3; i++) {
        send_shared(&s, SIZE);
        const struct tensor *t = receive(&s, SIZE);
        cr_assert_eq((uintptr_t)t->data % REGION_ALIGNMENT, 0);
        cr_assert_not(is_senders(&s, t->data), "mapped a second time, read-only");
        cr_assert_lt(link_queue_at(&s.e.rx->queue, 0)->size, 1024, "the message has no tensor bytes");
        cr_assert_geq(region_port_in_use(s.port), 1);
        consume(&s);
    }
    wait_unused(&s);
    cr_assert_eq(s.e.tx_status->copied_bytes, 0);
    cr_assert_eq(s.e.tx_status->inlined_bytes, 0);
    cr_assert_eq(s.e.tx_status->bytes, 3 * SIZE, "they count as bytes all the same");
    cr_assert_eq(s.e.rx_status->bytes, 3 * SIZE);
    ends_finish(&s.e);
    shared_free(&s);
}

Test(link_pool, a_reader_writes_nothing_into_what_it_reads)
{
    struct shared s = shared_new((struct ends_options){0});
    send_shared(&s, SIZE);
    const struct tensor *t = receive(&s, SIZE);
    char line[256], wanted[32];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    snprintf(wanted, sizeof wanted, "%lx-",
             (unsigned long)((uintptr_t)t->data / (unsigned long)sysconf(_SC_PAGESIZE) *
                             (unsigned long)sysconf(_SC_PAGESIZE)));
    while (fgets(line, sizeof line, maps) != NULL)
        if (strncmp(line, wanted, strlen(wanted)) == 0)
            found = strstr(line, " r--s ") != NULL && strstr(line, "memfd:thea-pool") != NULL;
    fclose(maps);
    cr_assert(found);
    shared_free(&s);
}

Test(link_pool, small_tensors_ride_in_the_message)
{
    struct shared s = shared_new((struct ends_options){0});
    ends_send(&s.e, 0, REGION_INLINE_MAX - 1);
    cr_assert_eq(ends_receive(&s.e)->tensors[0].size_bytes, REGION_INLINE_MAX - 1);
    cr_assert_eq(s.e.tx_status->copied_bytes, 0);
    cr_assert_eq(s.e.tx_status->inlined_bytes, REGION_INLINE_MAX - 1);
    ends_send(&s.e, 1, REGION_INLINE_MAX); /* not in a pool */
    cr_assert_eq(s.e.tx_status->copied_bytes, REGION_INLINE_MAX);
    shared_free(&s);
}

Test(link_pool, a_thousand_frames_take_one_pool)
{
    struct shared s = shared_new((struct ends_options){0});
    for (int i = 0; i < 1000; i++) {
        send_shared(&s, SIZE);
        if (s.sent - s.got < WINDOW) continue;
        (void)receive(&s, SIZE);
        consume(&s);
    }
    cr_assert_eq(s.port->last, 1);
    cr_assert_eq(s.port->pools->slots, 1 + WINDOW);
    cr_assert_eq(s.e.tx_status->copied_bytes, 0);
    shared_free(&s);
}

Test(link_pool, a_larger_pool_takes_over_and_the_reader_lets_go_of_the_old_one)
{
    struct shared s = shared_new((struct ends_options){0});
    send_shared(&s, SIZE);
    send_shared(&s, 4 * SIZE);
    cr_assert_eq(region_maps_count(s.e.rx->maps), 2);
    (void)receive(&s, SIZE);
    consume(&s);
    (void)receive(&s, 4 * SIZE);
    consume(&s);
    wait_unused(&s);
    send_shared(&s, SIZE);
    (void)receive(&s, SIZE);
    cr_assert_eq(region_maps_count(s.e.rx->maps), 1);
    cr_assert_eq(region_port_pools(s.port), 1);
    cr_assert_eq(s.e.tx_status->copied_bytes, 0);
    shared_free(&s);
}

Test(link_pool, a_frame_larger_than_the_window_passes_alone)
{
    struct shared s = shared_new((struct ends_options){.window_bytes = SIZE});
    for (int i = 0; i < 5; i++) {
        send_shared(&s, 3 * SIZE);
        (void)receive(&s, 3 * SIZE);
        consume(&s);
    }
    cr_assert_eq(s.port->pools->slots, 3);
    cr_assert_eq(s.e.tx_status->copied_bytes, 0);
    shared_free(&s);
}

/* --- refusals --- */

Test(link_pool, a_pool_that_cannot_be_mapped_is_told_and_its_tensors_are_copied)
{
    struct shared s = shared_new((struct ends_options){0});
    struct thea_err err = {0};
    char *data = region_port_buffer(s.port, SIZE);
    memset(data, 0, SIZE);
    s.port->pools->inode++; /* so the announcement is wrong */
    struct tensor t = tensor_1d("residual", TENSOR_U8, data, SIZE);
    struct frame f = frame_of(&s, &t);
    ends_wait_ready(&s.e, SIZE);
    cr_assert_eq(link_send(s.e.tx, &f, &err), THEA_OK, "%s", err.message);
    region_port_done(s.port);
    (void)receive(&s, SIZE);
    cr_assert_eq(s.e.tx_status->copied_bytes, SIZE);
    cr_assert_null(region_port_buffer(s.port, SIZE), "no reader is left for shared memory");
    cr_assert_eq(region_port_pools(s.port), 0);
    shared_free(&s);
}

Test(link_pool, nothing_is_offered_to_another_host)
{
    struct shared s = shared_new((struct ends_options){.lasting = true});
    link_abort(s.e.rx);
    s.e.rx_options.incarnation++;
    ends_listen(&s.e);
    free((char *)(uintptr_t)s.e.rx->pipe->hello.host);
    s.e.rx->pipe->hello.host = strdup("c0ffee/4026531836");
    while (s.e.tx->state != LINK_OPEN || s.e.tx->resuming || s.e.tx->known.peer_incarnation != 2)
        ends_poll(s.e.set);
    cr_assert_null(region_port_buffer(s.port, SIZE));
    ends_send(&s.e, 0, SIZE);
    cr_assert_eq(ends_receive(&s.e)->tensors[0].size_bytes, SIZE);
    cr_assert_eq(s.e.tx_status->copied_bytes, SIZE);
    shared_free(&s);
}

Test(link_pool, an_answer_for_a_pool_that_was_not_offered_ends_the_link)
{
    struct shared s = shared_new((struct ends_options){0});
    struct thea_err err = {0};
    link_tell(s.e.rx, &(struct link_message){.kind = LINK_POOL_OK, .pool = 9});
    cr_assert_eq(ends_wait_trouble(s.e.tx, s.e.set, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "it answers for pool 9, of which it was not told"), "%s",
                       err.message);
    shared_free(&s);
}

Test(link_pool, only_senders_offer_and_only_receivers_answer)
{
    struct shared s = shared_new((struct ends_options){0}), r = shared_new((struct ends_options){0});
    struct thea_err err = {0};
    link_tell(s.e.rx, &(struct link_message){.kind = LINK_POOL, .pool = 1});
    cr_assert_eq(ends_wait_trouble(s.e.tx, s.e.set, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "a receiver offered a pool"), "%s", err.message);
    link_tell(r.e.tx, &(struct link_message){.kind = LINK_POOL_OK, .pool = 1});
    cr_assert_eq(ends_wait_trouble(r.e.rx, r.e.set, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "a sender answered for a pool"), "%s", err.message);
    shared_free(&s);
    shared_free(&r);
}

Test(link_pool, a_region_that_was_not_offered_ends_the_link)
{
    struct shared s = shared_new((struct ends_options){0});
    struct thea_err err = {0};
    const struct frame *f;
    struct tensor t = {.name = "x", .dtype = TENSOR_U8, .rank = 1, .shape = {64}, .size_bytes = 64};
    t.in_region = true;
    t.region = (struct tensor_region){.pool = 3, .generation = 1};
    struct link_packet *m;
    cr_assert_eq(link_encode_frame(&m, &(struct frame){.tensors = &t, .tensor_count = 1}, &err), THEA_OK);
    link_pipe_send(s.e.tx->pipe, s.e.tx->session, m);
    thea_rc rc;
    while ((rc = link_peek(s.e.rx, &f, &err)) == THEA_AGAIN) ends_poll(s.e.set);
    cr_assert_eq(rc, THEA_EFRAME);
    cr_assert_not_null(
        strstr(err.message, "frame 0: frame: tensor 'x' lies in pool 3, which was not offered"), "%s",
        err.message);
    shared_free(&s);
}

/* --- pipes that are cut, processes that are replaced --- */

static void cut(struct shared *s, struct link *ln)
{
    uint32_t pipe = ln->session;
    link_pipe_drop(ln->pipe, pipe);
    while (link_check(ln, NULL) == THEA_OK && ln->state == LINK_OPEN && ln->session == pipe)
        ends_poll(s->e.set);
}

Test(link_pool, slots_stay_through_a_cut)
{
    struct shared s = shared_new((struct ends_options){.lasting = true});
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 3; i++) send_shared(&s, SIZE);
        cut(&s, round % 2 == 0 ? s.e.tx : s.e.rx);
        while (s.got < s.sent) {
            (void)receive(&s, SIZE);
            consume(&s);
        }
    }
    wait_unused(&s);
    cr_assert_eq(s.port->last, 1, "the same pool all the time");
    cr_assert_eq(s.e.tx_status->copied_bytes, 0);
    shared_free(&s);
}

/* What the dead one held is not written again: nobody here knows that it is dead. */
Test(link_pool, a_new_reader_gets_what_its_forerunner_did_not_acknowledge)
{
    struct shared s = shared_new((struct ends_options){.lasting = true});
    send_shared(&s, SIZE);
    (void)receive(&s, SIZE);
    link_abort(s.e.rx);
    s.e.rx = NULL;
    struct thea_err err = {0};
    while (s.e.tx->state == LINK_OPEN) ends_poll(s.e.set);
    char *data = region_port_buffer(s.port, SIZE);
    memset(data, (int)s.sent, SIZE);
    struct tensor t = tensor_1d("residual", TENSOR_U8, data, SIZE);
    struct frame f = frame_of(&s, &t);
    cr_assert_eq(link_send(s.e.tx, &f, &err), THEA_OK, "%s", err.message); /* waits for whoever comes */
    region_port_done(s.port);
    s.sent++;
    s.e.rx_options.incarnation++;
    ends_listen(&s.e);
    s.got = 0; /* the first was taken and not acknowledged, or was: both are fine */
    const struct frame *g = ends_receive(&s.e);
    s.got = g->seq;
    for (; s.got < s.sent; consume(&s)) (void)receive(&s, SIZE);
    cr_assert_geq(s.e.tx_status->copied_bytes, SIZE, "what was kept went with its bytes");
    uint32_t first = 1;
    for (int i = 0; i < 3 * WINDOW; i++) {
        send_shared(&s, SIZE);
        cr_assert_gt(s.port->last, first, "a pool of its own for the new reader");
        (void)receive(&s, SIZE);
        consume(&s);
    }
    wait_unused(&s);
    cr_assert_eq(region_port_pools(s.port), 1);
    shared_free(&s);
}

Test(link_pool, what_a_reader_has_in_hand_outlives_its_sender)
{
    struct shared s = shared_new((struct ends_options){.lasting = true});
    send_shared(&s, SIZE);
    const struct tensor *t = receive(&s, SIZE);
    link_abort(s.e.tx); /* its process dies */
    region_port_free(s.port);
    s.port = region_port_new("residual");
    s.e.tx_options.regions = s.port;
    s.e.tx_options.incarnation++;
    s.sent = s.got = 0;
    ends_dial(&s.e);
    ends_wait_ready(&s.e, SIZE);
    for (size_t i = 0; i < SIZE; i++) cr_assert_eq(((const unsigned char *)t->data)[i], 0);
    cr_assert_eq(region_maps_count(s.e.rx->orphan_maps), 1);
    link_consume(s.e.rx);
    cr_assert_null(s.e.rx->orphan_maps);
    send_shared(&s, SIZE);
    (void)receive(&s, SIZE);
    shared_free(&s);
}
