/* Links: both ends in one process, one thread, one set. Peers that misbehave are made of nng by hand (see
 * also link_peers.c). */
#include "tests/graph/wire/link_ends.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A window is a handful of hops between threads, and each waits for the CPU when the machine has other work:
 * so a test that passes thousands of frames takes as long as it takes. */
TestSuite(link, .timeout = 600);

Test(link, frames_arrive_in_order_with_their_bytes)
{
    struct ends e = ends_open((struct ends_options){.window_frames = 4});
    for (uint64_t i = 0; i < 100; i++) {
        ends_send(&e, i, 1000 + i);
        const struct frame *f = ends_receive(&e);
        cr_assert_eq(f->seq, i);
        cr_assert_eq(f->link_seq, i);
        cr_assert_eq(f->tensors[0].size_bytes, 1000 + i);
        cr_assert_eq(((const unsigned char *)f->tensors[0].data)[i], (unsigned char)i);
        cr_assert_gt(f->sent_ns, 0);
        link_consume(e.rx);
    }
    ends_finish(&e);
    cr_assert_eq(e.tx_status->frames, 101);
    cr_assert_eq(e.rx_status->frames, 101);
    cr_assert_eq(e.tx_status->bytes, e.rx_status->bytes);
    ends_free(&e);
}

Test(link, the_same_frame_is_peeked_until_it_is_consumed)
{
    struct ends e = ends_open((struct ends_options){0});
    ends_send(&e, 7, 10);
    ends_send(&e, 8, 10);
    const struct frame *first = ends_receive(&e), *again = NULL;
    cr_assert_eq(link_peek(e.rx, &again, NULL), THEA_OK);
    cr_assert_eq(first, again);
    cr_assert_eq(again->seq, 7);
    link_consume(e.rx);
    cr_assert_eq(ends_receive(&e)->seq, 8);
    link_consume(e.rx);
    ends_finish(&e);
    ends_free(&e);
}

Test(link, a_window_of_frames_is_never_exceeded)
{
    struct ends e = ends_open((struct ends_options){.window_frames = 3});
    ends_wait_ready(&e, 1);
    unsigned sent = 0, consumed = 0;
    for (int round = 0; round < 200; round++) {
        if (sent == consumed) ends_wait_ready(&e, 1);
        while (link_ready(e.tx, 1)) ends_send(&e, sent++, 1);
        cr_assert_leq(sent - consumed, 3, "%u sent, %u consumed", sent, consumed);
        ends_receive(&e);
        link_consume(e.rx);
        consumed++;
        link_flush_credit(e.rx);
        link_set_clear(e.set);
    }
    for (; consumed < sent; consumed++) {
        ends_receive(&e);
        link_consume(e.rx);
    }
    ends_finish(&e);
    ends_free(&e);
}

Test(link, no_credit_is_given_for_what_is_only_peeked)
{
    struct ends e = ends_open((struct ends_options){.window_frames = 2});
    ends_send(&e, 0, 1);
    ends_send(&e, 1, 1);
    ends_receive(&e);
    link_flush_credit(e.rx);
    ends_settle(&e);
    cr_assert_not(link_ready(e.tx, 1));
    cr_assert_not(link_ready(e.tx, 0), "an end frame costs one frame too");
    link_consume(e.rx);
    link_flush_credit(e.rx);
    ends_wait_ready(&e, 1);
    ends_receive(&e);
    link_consume(e.rx);
    ends_finish(&e);
    ends_free(&e);
}

Test(link, a_window_of_bytes_is_never_exceeded)
{
    struct ends e = ends_open((struct ends_options){.window_frames = 64, .window_bytes = 1000});
    ends_wait_ready(&e, 400);
    ends_send(&e, 0, 400);
    ends_send(&e, 1, 400);
    cr_assert_not(link_ready(e.tx, 400));
    cr_assert(link_ready(e.tx, 200));
    cr_assert(link_ready(e.tx, 0), "frames without tensors cost no bytes");
    ends_receive(&e);
    link_consume(e.rx);
    link_flush_credit(e.rx);
    ends_wait_ready(&e, 400);
    cr_assert_not(link_ready(e.tx, 601));
    ends_receive(&e);
    link_consume(e.rx);
    ends_finish(&e);
    ends_free(&e);
}

Test(link, a_frame_larger_than_the_window_passes_alone)
{
    struct ends e = ends_open((struct ends_options){.window_frames = 8, .window_bytes = 1000});
    ends_wait_ready(&e, 5000);
    ends_send(&e, 0, 10);
    cr_assert_not(link_ready(e.tx, 5000), "not beside another");
    ends_receive(&e);
    link_consume(e.rx);
    link_flush_credit(e.rx);
    ends_wait_ready(&e, 5000);
    ends_send(&e, 1, 5000);
    cr_assert_not(link_ready(e.tx, 1), "nothing beside it");
    cr_assert(link_ready(e.tx, 0), "but the end of its stream");
    cr_assert_eq(ends_receive(&e)->tensors[0].size_bytes, 5000);
    link_consume(e.rx);
    link_flush_credit(e.rx);
    ends_wait_ready(&e, 1000);
    ends_send(&e, 2, 1000);
    ends_receive(&e);
    link_consume(e.rx);
    ends_finish(&e);
    ends_free(&e);
}

Test(link, tensor_bytes_begin_at_a_64_byte_offset_of_the_frame)
{
    struct ends e = ends_open((struct ends_options){0});
    for (size_t n = 1; n < 200; n += 7) {
        ends_send(&e, n, n);
        const struct frame *f = ends_receive(&e);
        cr_assert_eq((uintptr_t)f->tensors[0].data % 16, 0, "bodies are 16-byte aligned, offsets 64");
        link_consume(e.rx);
    }
    ends_finish(&e);
    ends_free(&e);
}

Test(link, a_stopped_link_throws_away_and_counts_until_eof)
{
    struct ends e = ends_open((struct ends_options){.window_frames = 4});
    for (uint64_t i = 0; i < 4; i++) ends_send(&e, i, 10);
    ends_receive(&e);
    link_consume(e.rx);
    link_stop(e.rx);
    link_stop(e.rx);
    ends_wait_stopped(&e);
    for (uint64_t i = 4; i < 20; i++) ends_send(&e, i, 10); /* never blocks: thrown away */
    ends_finish(&e);
    cr_assert_eq(e.rx_status->unwanted, 3);
    cr_assert_eq(e.tx_status->unwanted, 16);
    cr_assert_eq(e.tx_status->frames, 5, "four and eof");
    cr_assert_eq(e.tx_status->frames, e.rx_status->frames, "sent = delivered + unwanted");
    ends_free(&e);
}

Test(link, eof_of_a_stopped_link_waits_for_credit_and_is_not_lost)
{
    struct ends e = ends_open((struct ends_options){.window_frames = 1});
    ends_send(&e, 0, 10);
    link_stop(e.rx);
    ends_wait_stopped(&e);
    struct frame eof = {.kind = FRAME_EOF};
    cr_assert_eq(link_send(e.tx, &eof, NULL), THEA_OK);
    cr_assert_eq(e.tx_status->frames, 1, "no credit for eof yet");
    const struct frame *f = ends_receive(&e); /* discards frame 0 on its way */
    cr_assert_eq(f->kind, FRAME_EOF);
    link_consume(e.rx);
    ends_close_tx(&e);
    ends_close_rx(&e);
    cr_assert_eq(e.rx_status->frames, 2);
    ends_free(&e);
}

Test(link, a_stop_takes_back_no_frame_that_is_being_worked_on)
{
    struct ends e = ends_open((struct ends_options){0});
    ends_send(&e, 0, 10);
    const struct frame *f = ends_receive(&e), *again = NULL;
    link_stop(e.rx);
    cr_assert_eq(link_peek(e.rx, &again, NULL), THEA_OK);
    cr_assert_eq(f, again);
    link_consume(e.rx);
    ends_finish(&e);
    cr_assert_eq(e.rx_status->unwanted, 0);
    ends_free(&e);
}

Test(link, a_stop_before_the_peer_came_reaches_it)
{
    struct ends e = ends_half((struct ends_options){0});
    link_stop(e.rx);
    ends_dial(&e);
    ends_wait_stopped(&e);
    ends_finish(&e);
    ends_free(&e);
}

Test(link, frames_of_an_older_epoch_are_dropped_and_counted)
{
    struct ends e = ends_open((struct ends_options){.epoch = 3});
    struct frame old = {.epoch = 2, .seq = 1}, now = {.epoch = 3, .seq = 2};
    ends_wait_ready(&e, 0);
    cr_assert_eq(link_send(e.tx, &old, NULL), THEA_OK);
    cr_assert_eq(link_send(e.tx, &now, NULL), THEA_OK);
    cr_assert_eq(ends_receive(&e)->seq, 2);
    link_consume(e.rx);
    ends_finish(&e);
    cr_assert_eq(e.rx_status->stale, 1);
    cr_assert_eq(e.rx_status->frames, e.tx_status->frames);
    ends_free(&e);
}

Test(link, the_listener_may_come_after_the_dialer)
{
    struct ends e = ends_new((struct ends_options){0});
    ends_dial(&e);
    ends_settle(&e);
    cr_assert_not(link_ready(e.tx, 0));
    cr_assert_str_eq(link_peer(e.tx), "nobody yet");
    ends_listen(&e);
    ends_send(&e, 0, 5);
    cr_assert_eq(ends_receive(&e)->seq, 0);
    link_consume(e.rx);
    ends_finish(&e);
    ends_free(&e);
}

Test(link, both_ends_know_each_other_by_pid)
{
    struct ends e = ends_open((struct ends_options){0});
    ends_wait_ready(&e, 0);
    char pid[32];
    snprintf(pid, sizeof pid, "pid %d", (int)getpid());
    cr_assert_str_eq(link_peer(e.tx), pid);
    cr_assert_str_eq(link_peer(e.rx), pid);
    ends_finish(&e);
    ends_free(&e);
}

Test(link, after_eof_it_is_done_and_stays_done)
{
    struct ends e = ends_open((struct ends_options){0});
    ends_wait_ready(&e, 0);
    cr_assert_eq(link_send(e.tx, &(struct frame){.kind = FRAME_EOF}, NULL), THEA_OK);
    cr_assert_eq(ends_receive(&e)->kind, FRAME_EOF);
    link_consume(e.rx);
    const struct frame *f;
    cr_assert_eq(link_peek(e.rx, &f, NULL), THEA_DONE);
    ends_close_tx(&e);
    cr_assert_eq(link_peek(e.rx, &f, NULL), THEA_DONE);
    ends_close_rx(&e);
    ends_free(&e);
}

Test(link, frames_in_the_receivers_memory_outlive_their_sender)
{
    struct ends e = ends_open((struct ends_options){.window_frames = 8});
    for (uint64_t i = 0; i < 5; i++) ends_send(&e, i, 100);
    cr_assert_eq(link_send(e.tx, &(struct frame){.kind = FRAME_EOF}, NULL), THEA_OK);
    ends_receive(&e);  /* not consumed: yet all is acknowledged while the sender closes */
    ends_close_tx(&e); /* waits LINK_BYE_MS for a goodbye that comes later, then goes */
    for (uint64_t i = 0; i < 5; i++) {
        cr_assert_eq(ends_receive(&e)->seq, i);
        link_consume(e.rx);
    }
    cr_assert_eq(ends_receive(&e)->kind, FRAME_EOF);
    link_consume(e.rx);
    ends_close_rx(&e);
    cr_assert_eq(e.rx_status->frames, 6);
    ends_free(&e);
}

/* The far end in a thread and set of its own, as in two processes. */
struct far {
    struct ends *e;
    uint64_t frames;
    int stop_after;
};

static void *receive_all(void *context)
{
    struct far *far = context;
    const struct frame *f;
    struct thea_err err = {0};
    for (thea_rc rc; (rc = link_peek(far->e->rx, &f, &err)) != THEA_DONE;) {
        if (rc == THEA_OK) {
            cr_assert(f->kind == FRAME_EOF || f->link_seq == far->frames, "in order");
            far->frames++;
            link_consume(far->e->rx);
            if ((int)far->frames == far->stop_after) link_stop(far->e->rx);
            continue;
        }
        cr_assert_eq(rc, THEA_AGAIN, "%s", err.message);
        link_flush_credit(far->e->rx);
        ends_poll(far->e->rx_set);
    }
    ends_close_rx(far->e);
    return NULL;
}

static void run_both(uint64_t frames, size_t bytes, struct ends_options o, int stop_after)
{
    o.two_sets = true;
    struct ends e = ends_open(o);
    struct far far = {.e = &e, .stop_after = stop_after};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, receive_all, &far), 0);
    for (uint64_t i = 0; i < frames; i++) ends_send(&e, i, bytes);
    ends_wait_ready(&e, 0);
    cr_assert_eq(link_send(e.tx, &(struct frame){.kind = FRAME_EOF}, NULL), THEA_OK);
    ends_close_tx(&e);
    pthread_join(thread, NULL);
    cr_assert_eq(e.rx_status->frames, e.tx_status->frames, "%llu received of %llu",
                 (unsigned long long)e.rx_status->frames, (unsigned long long)e.tx_status->frames);
    cr_assert_eq(e.tx_status->frames + e.tx_status->unwanted, frames + 1);
    if (stop_after == 0) cr_assert_eq(e.rx_status->unwanted, 0);
    ends_free(&e);
}

Test(link, nothing_is_lost_between_threads)
{
    run_both(5000, 64, (struct ends_options){0}, 0);
}

Test(link, nothing_is_lost_with_a_window_of_one)
{
    run_both(2000, 4096, (struct ends_options){.window_frames = 1}, 0);
}

Test(link, large_frames_pass_between_threads)
{
    run_both(60, 3 << 20, (struct ends_options){.window_bytes = 8 << 20}, 0);
}

Test(link, a_stop_in_mid_stream_reconciles)
{
    run_both(20000, 64, (struct ends_options){0}, 100);
}

Test(link, it_works_over_tcp_on_loopback)
{
    run_both(500, 4096, (struct ends_options){.tcp = true}, 0);
}

Test(link, it_works_over_a_socket_file)
{
    run_both(500, 4096, (struct ends_options){.ipc = true}, 0);
}

Test(link, two_links_that_form_a_loop_close_without_waiting_for_each_other)
{
    struct ends a = ends_open((struct ends_options){.two_sets = true}),
                b = ends_new((struct ends_options){.two_sets = true});
    /* b runs the other way: its receiver is in a's sender's set. */
    struct link_set *left = a.set, *right = a.rx_set;
    ends_use_sets(&b, right, left);
    ends_listen(&b);
    ends_dial(&b);
    pthread_t thread;
    struct ends *both[2] = {&a, &b};
    cr_assert_eq(pthread_create(&thread, NULL, ends_loop_far, both), 0);
    ends_wait_ready(&a, 0);
    cr_assert_eq(link_send(a.tx, &(struct frame){.kind = FRAME_EOF}, NULL), THEA_OK);
    ends_close_tx(&a);
    ends_close_rx(&b);
    pthread_join(thread, NULL);
    ends_free(&a);
    ends_free(&b);
}
