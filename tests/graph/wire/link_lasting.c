/* Links that last: pipes that are cut, processes that are replaced, epochs, streams that are cancelled. Both
 * ends in one process; a pipe is cut through the link's inside, or by a proxy in the middle. */
#include "graph/wire/link_impl.h"
#include "tests/graph/wire/link_ends.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(link_lasting, .timeout = 300);

static struct ends lasting(struct ends_options o)
{
    o.lasting = true;
    struct ends e = ends_new(o);
    e.tx_options.incarnation = e.rx_options.incarnation = 1;
    e.tx_options.epoch = e.rx_options.epoch = 1;
    ends_listen(&e);
    ends_dial(&e);
    ends_wait_ready(&e, 0);
    return e;
}

static void cut(struct ends *e, struct link *ln)
{
    uint32_t pipe = ln->session;
    link_pipe_drop(ln->pipe, pipe);
    while (link_check(ln, NULL) == THEA_OK && ln->state == LINK_OPEN && ln->session == pipe)
        ends_poll(e->set);
}

static void wait_open(struct ends *e)
{
    while (e->tx->state != LINK_OPEN || e->rx->state != LINK_OPEN || e->tx->resuming) {
        ends_poll(e->set);
        cr_assert_eq(link_check(e->tx, NULL), THEA_OK);
        cr_assert_eq(link_check(e->rx, NULL), THEA_OK);
    }
}

static void send_kind(struct ends *e, struct frame f)
{
    f.epoch = e->tx->o.epoch;
    struct thea_err err = {0};
    ends_wait_ready(e, 0);
    cr_assert_eq(link_send(e->tx, &f, &err), THEA_OK, "%s", err.message);
}

static void expect(struct ends *e, uint64_t seq)
{
    cr_assert_eq(ends_receive(e)->seq, seq);
    link_consume(e->rx);
    link_flush_credit(e->rx);
}

static void new_epoch(struct ends *e, uint64_t epoch)
{
    link_set_epoch(e->tx, epoch);
    link_set_epoch(e->rx, epoch);
    e->tx_options.epoch = e->rx_options.epoch = epoch;
}

/* The process at that end dies and is started again, as a supervisor does it. */
static void replace_tx(struct ends *e, uint64_t epoch)
{
    link_abort(e->tx);
    e->tx_options.incarnation++;
    e->tx_options.epoch = epoch;
    ends_dial(e);
}

static void replace_rx(struct ends *e, uint64_t epoch)
{
    link_abort(e->rx);
    e->rx_options.incarnation++;
    e->rx_options.epoch = epoch;
    ends_listen(e);
}

static void close_both(struct ends *e)
{
    struct thea_err err = {0};
    if (e->rx != NULL) cr_assert_eq(link_close(e->rx, &err), THEA_OK, "%s", err.message);
    e->rx = NULL;
    if (e->tx != NULL) cr_assert_eq(link_close(e->tx, &err), THEA_OK, "%s", err.message);
    e->tx = NULL;
    ends_free(e);
}

/* Both ends of one set: neither may wait for the other in link_close, so they go at once. */
static void done(struct ends *e)
{
    ends_free(e);
}

/* --- pipes that are cut --- */

Test(link_lasting, a_cut_pipe_is_made_again_and_nothing_is_lost_or_repeated)
{
    struct ends e = lasting((struct ends_options){.window_frames = 4});
    uint64_t sent = 0, got = 0;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 3; i++) ends_send(&e, sent++, 500);
        cut(&e, round % 2 == 0 ? e.tx : e.rx);
        for (; got < sent; got++) {
            const struct frame *f = ends_receive(&e);
            cr_assert_eq(f->seq, got);
            cr_assert_eq(f->link_seq, got);
            cr_assert_eq(((const unsigned char *)f->tensors[0].data)[321], (unsigned char)321);
            link_consume(e.rx);
        }
    }
    cr_assert_eq(e.rx_status->frames, 60);
    cr_assert_eq(e.tx_status->frames, 60, "what is sent again is not counted again");
    cr_assert_eq(e.rx_status->stale, 0);
    done(&e);
}

struct cutter {
    struct link_pipe *pipe;
    atomic_bool stop;
};

/* Cuts at any moment, in the middle of messages too. */
static void *cut_all_the_time(void *context)
{
    struct cutter *c = context;
    for (unsigned i = 0; !atomic_load(&c->stop); i++) {
        poll(NULL, 0, 1 + (int)(i * 7 % 5));
        pthread_mutex_lock(&c->pipe->lock);
        uint32_t id = c->pipe->session;
        pthread_mutex_unlock(&c->pipe->lock);
        link_pipe_drop(c->pipe, id);
    }
    return NULL;
}

struct receiver {
    struct ends *e;
    atomic_bool acknowledged;
};

static void *receive_all(void *context)
{
    struct receiver *r = context;
    struct ends *e = r->e;
    bool eof = false;
    for (uint64_t next = 0; !eof; next++) {
        const struct frame *f = ends_receive(e);
        eof = f->kind == FRAME_EOF;
        cr_assert_eq(f->link_seq, next);
        cr_assert(eof || ((const unsigned char *)f->tensors[0].data)[4999] == (unsigned char)4999);
        link_consume(e->rx);
    }
    while (!atomic_load(&r->acknowledged)) { /* the acknowledgement may be cut off too */
        struct pollfd p = {.fd = link_set_fd(e->rx_set), .events = POLLIN};
        link_flush_credit(e->rx);
        poll(&p, 1, 20);
        link_set_clear(e->rx_set);
    }
    return NULL;
}

Test(link_lasting, nothing_is_lost_however_often_the_wire_is_cut)
{
    enum { FRAMES = 2000 };
    struct ends e = ends_new((struct ends_options){.lasting = true, .two_sets = true, .tcp = true});
    ends_listen(&e);
    ends_dial(&e);
    struct receiver r = {.e = &e};
    struct cutter both[2] = {{.pipe = e.tx->pipe}, {.pipe = e.rx->pipe}};
    pthread_t receiver, cutters[2];
    cr_assert_eq(pthread_create(&receiver, NULL, receive_all, &r), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&cutters[i], NULL, cut_all_the_time, &both[i]), 0);
    for (uint64_t i = 0; i < FRAMES; i++) ends_send(&e, i, 5000);
    send_kind(&e, (struct frame){.kind = FRAME_EOF});
    for (int i = 0; i < 2; i++) atomic_store(&both[i].stop, true), pthread_join(cutters[i], NULL);
    while (e.tx->ack_seq < e.tx->seq) ends_poll(e.set);
    atomic_store(&r.acknowledged, true);
    pthread_join(receiver, NULL);
    cr_assert_eq(e.tx_status->frames, FRAMES + 1);
    cr_assert_eq(e.rx_status->frames, FRAMES + 1);
    ends_free(&e);
}

Test(link_lasting, a_frame_that_was_peeked_stays_through_a_cut)
{
    struct ends e = lasting((struct ends_options){0});
    ends_send(&e, 0, 300);
    ends_send(&e, 1, 300);
    const struct frame *f = ends_receive(&e), *again = NULL;
    cut(&e, e.rx);
    wait_open(&e);
    cr_assert_eq(link_peek(e.rx, &again, NULL), THEA_OK);
    cr_assert_eq(f, again);
    expect(&e, 0);
    expect(&e, 1);
    done(&e);
}

Test(link_lasting, what_is_sent_while_nobody_is_there_waits)
{
    struct ends e = lasting((struct ends_options){0});
    link_abort(e.rx);
    e.rx = NULL;
    while (e.tx->state == LINK_OPEN) ends_poll(e.set); /* which pumps */
    cr_assert_not(link_ready(e.tx, 0));
    cr_assert_eq(link_check(e.tx, NULL), THEA_OK, "a lost pipe is no error");
    e.rx_options.incarnation++;
    ends_listen(&e);
    ends_send(&e, 7, 10);
    expect(&e, 7);
    done(&e);
}

Test(link_lasting, one_that_is_not_there_for_long_is_missing_and_may_still_come)
{
    struct ends e = ends_new((struct ends_options){.lasting = true, .reconnect_ms = 50});
    ends_dial(&e);
    cr_assert_not(link_missing(e.tx));
    while (!link_missing(e.tx)) ends_poll(e.set);
    cr_assert_eq(link_check(e.tx, NULL), THEA_OK);
    ends_listen(&e);
    ends_send(&e, 0, 10);
    cr_assert_not(link_missing(e.tx));
    expect(&e, 0);
    link_abort(e.tx);
    e.tx = NULL;
    while (!link_missing(e.rx)) ends_poll(e.set);
    cr_assert_eq(link_check(e.rx, NULL), THEA_OK);
    done(&e);
}

/* --- eof and the end --- */

Test(link_lasting, eof_is_a_frame_like_others_and_more_may_come_after_it)
{
    struct ends e = lasting((struct ends_options){0});
    const struct frame *f;
    send_kind(&e, (struct frame){.kind = FRAME_EOF});
    cr_assert_eq(ends_receive(&e)->kind, FRAME_EOF);
    link_consume(e.rx);
    cr_assert_eq(link_peek(e.rx, &f, NULL), THEA_AGAIN, "not done");
    new_epoch(&e, 2);
    ends_send(&e, 5, 10);
    expect(&e, 5);
    send_kind(&e, (struct frame){.kind = FRAME_EOF});
    cr_assert_eq(ends_receive(&e)->kind, FRAME_EOF);
    link_consume(e.rx);
    done(&e);
}

static void *close_tx(void *context)
{
    struct ends *e = context;
    ends_close_tx(e);
    return NULL;
}

/* How long both ends took to close. */
static uint64_t close_in_order(void)
{
    struct ends e = ends_new((struct ends_options){.lasting = true, .two_sets = true});
    ends_listen(&e);
    ends_dial(&e);
    while (!link_ready(e.tx, 0)) {
        struct pollfd both[2] = {{.fd = link_set_fd(e.set), .events = POLLIN},
                                 {.fd = link_set_fd(e.rx_set), .events = POLLIN}};
        cr_assert_gt(poll(both, 2, 60000), 0);
        link_set_clear(e.set);
        link_set_clear(e.rx_set);
    }
    send_kind(&e, (struct frame){.kind = FRAME_EOF});
    cr_assert_eq(ends_receive(&e)->kind, FRAME_EOF);
    link_consume(e.rx);
    uint64_t begin = status_now_ns();
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, close_tx, &e), 0);
    ends_close_rx(&e);
    pthread_join(thread, NULL);
    uint64_t took_ns = status_now_ns() - begin;
    ends_free(&e);
    return took_ns;
}

static uint64_t close_alone(void)
{
    struct ends e = lasting((struct ends_options){0});
    ends_send(&e, 0, 10);
    link_abort(e.rx);
    e.rx = NULL;
    while (e.tx->state == LINK_OPEN) ends_poll(e.set); /* which pumps */
    uint64_t begin = status_now_ns();
    ends_close_tx(&e);
    uint64_t took_ns = status_now_ns() - begin;
    ends_free(&e);
    return took_ns;
}

/* Who waits in vain does so every time, and for all of LINK_BYE_MS; who waits for the CPU does not. */
static bool waits_in_vain(uint64_t (*close_link)(void))
{
    for (int tries = 0; tries < 5; tries++)
        if (close_link() < LINK_BYE_MS * LINK_MS) return false;
    return true;
}

Test(link_lasting, both_ends_say_goodbye_when_they_are_told_that_it_is_over)
{
    cr_assert_not(waits_in_vain(close_in_order));
}

Test(link_lasting, one_with_nobody_at_the_other_end_closes_at_once)
{
    cr_assert_not(waits_in_vain(close_alone));
}

Test(link_lasting, one_that_gets_no_answer_closes_all_the_same)
{
    struct ends e = lasting((struct ends_options){0});
    ends_send(&e, 0, 10); /* never acknowledged: the receiver does not look */
    close_both(&e);
}

/* --- processes that are replaced --- */

Test(link_lasting, a_new_sender_begins_at_0_and_what_came_of_the_old_is_stale)
{
    struct ends e = lasting((struct ends_options){0});
    for (uint64_t i = 0; i < 4; i++) ends_send(&e, i, 10);
    expect(&e, 0);
    ends_wait_queued(&e, 3);
    replace_tx(&e, 2);
    while (link_epoch(e.rx) < 2) ends_poll(e.set);
    cr_assert_eq(e.rx_status->stale, 3);
    link_set_epoch(e.rx, 2);
    ends_send(&e, 50, 10);
    cr_assert_eq(ends_receive(&e)->link_seq, 0);
    expect(&e, 50);
    for (uint64_t i = 0; i < 20; i++) { /* its window is whole */
        ends_send(&e, i, 10);
        expect(&e, i);
    }
    done(&e);
}

Test(link_lasting, a_frame_in_hand_outlives_its_sender_and_costs_the_next_nothing)
{
    struct ends e = lasting((struct ends_options){.window_frames = 2});
    ends_send(&e, 0, 1000);
    const struct frame *f = ends_receive(&e);
    replace_tx(&e, 2);
    while (link_epoch(e.rx) < 2) ends_poll(e.set);
    for (size_t i = 0; i < 1000; i++)
        cr_assert_eq(((const unsigned char *)f->tensors[0].data)[i], (unsigned char)i);
    link_consume(e.rx);
    link_set_epoch(e.rx, 2);
    ends_send(&e, 1, 10);
    ends_send(&e, 2, 10);
    cr_assert_not(link_ready(e.tx, 1), "a window of two");
    expect(&e, 1);
    expect(&e, 2);
    cr_assert_eq(e.rx_status->stale, 0);
    done(&e);
}

Test(link_lasting, a_frame_that_was_peeked_and_not_used_is_not_seen_again)
{
    struct ends e = lasting((struct ends_options){0});
    ends_send(&e, 0, 10);
    ends_receive(&e);
    replace_tx(&e, 2);
    ends_send(&e, 9, 10);
    cr_assert_eq(ends_receive(&e)->seq, 9);
    cr_assert_eq(e.rx_status->stale, 1);
    link_consume(e.rx);
    done(&e);
}

Test(link_lasting, a_new_receiver_gets_nothing_old_and_all_of_its_own_epoch)
{
    struct ends e = lasting((struct ends_options){.window_frames = 4});
    ends_send(&e, 0, 10);
    ends_send(&e, 1, 10);
    /* The sender hears of the epoch before it notices that the pipe is dead: what it sends then is kept. */
    link_set_epoch(e.tx, 2);
    e.tx_options.epoch = 2;
    ends_send(&e, 20, 10);
    ends_send(&e, 21, 10);
    replace_rx(&e, 2);
    const struct frame *f = ends_receive(&e);
    cr_assert_eq(f->seq, 20);
    cr_assert_eq(f->link_seq, 0);
    expect(&e, 20);
    expect(&e, 21);
    cr_assert_eq(e.tx_status->stale, 2);
    for (uint64_t i = 22; i < 40; i++) {
        ends_send(&e, i, 10);
        expect(&e, i);
    }
    done(&e);
}

Test(link_lasting, a_senders_own_epoch_is_told_in_its_next_hello)
{
    struct ends e = lasting((struct ends_options){0});
    cr_assert_eq(link_epoch(e.rx), 1);
    link_set_epoch(e.tx, 5);
    cut(&e, e.tx);
    while (link_epoch(e.rx) < 5) ends_poll(e.set);
    done(&e);
}

Test(link_lasting, a_higher_epoch_is_known_from_a_frame)
{
    struct ends e = lasting((struct ends_options){0});
    link_set_epoch(e.tx, 4);
    e.tx_options.epoch = 4;
    ends_send(&e, 0, 10);
    ends_receive(&e);
    cr_assert_eq(link_epoch(e.rx), 4);
    link_consume(e.rx);
    done(&e);
}

Test(link_lasting, frames_that_an_epoch_retired_are_dropped_peeked_or_not_eof_too)
{
    struct ends e = lasting((struct ends_options){0});
    ends_send(&e, 0, 10);
    ends_send(&e, 1, 10);
    send_kind(&e, (struct frame){.kind = FRAME_EOF});
    ends_receive(&e);
    new_epoch(&e, 2);
    ends_send(&e, 7, 10);
    expect(&e, 7);
    cr_assert_eq(e.rx_status->stale, 3);
    cr_assert_eq(e.rx_status->frames, e.tx_status->frames);
    done(&e);
}

Test(link_lasting, a_ghost_is_refused_and_the_right_one_served)
{
    struct ends e = lasting((struct ends_options){0});
    replace_tx(&e, 2);
    ends_wait_ready(&e, 0);
    link_abort(e.tx);
    e.tx_options.incarnation = 1;
    ends_dial(&e);
    struct thea_err err = {0};
    cr_assert_eq(ends_wait_trouble(e.tx, e.set, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "expected incarnation 2 or later, found incarnation 1"), "%s",
                       err.message);
    cr_assert_eq(link_check(e.rx, NULL), THEA_OK);
    link_abort(e.tx);
    e.tx_options.incarnation = 3;
    ends_dial(&e);
    ends_send(&e, 3, 10);
    expect(&e, 3);
    done(&e);
}

Test(link_lasting, both_may_be_replaced_at_once)
{
    struct ends e = lasting((struct ends_options){0});
    ends_send(&e, 0, 10);
    replace_tx(&e, 3);
    replace_rx(&e, 3);
    ends_send(&e, 1, 10);
    cr_assert_eq(ends_receive(&e)->link_seq, 0);
    expect(&e, 1);
    done(&e);
}

/* --- stop --- */

Test(link_lasting, a_stop_is_said_again_to_a_new_sender)
{
    struct ends e = lasting((struct ends_options){0});
    link_stop(e.rx);
    ends_wait_stopped(&e);
    replace_tx(&e, 2);
    while (link_epoch(e.rx) < 2) ends_poll(e.set);
    ends_settle(&e);
    cr_assert_not(link_stopped(e.tx), "not in an epoch that the receiver does not know yet");
    link_set_epoch(e.rx, 2);
    ends_wait_stopped(&e);
    done(&e);
}

Test(link_lasting, a_stop_of_the_epoch_before_does_not_bind_a_sender)
{
    struct ends e = lasting((struct ends_options){0});
    link_stop(e.rx);
    ends_wait_stopped(&e);
    link_set_epoch(e.tx, 2);
    cr_assert_not(link_stopped(e.tx), "who knows whether the same receiver is there");
    link_set_epoch(e.rx, 2);
    ends_wait_stopped(&e);
    done(&e);
}

/* --- cancel --- */

static void send_of(struct ends *e, uint64_t stream, frame_kind kind, uint32_t attempt)
{
    send_kind(e, (struct frame){.kind = kind, .stream = stream, .attempt = attempt, .seq = stream});
}

Test(link_lasting, frames_of_a_cancelled_stream_are_thrown_away_at_both_ends_and_counted)
{
    struct ends e = lasting((struct ends_options){.window_frames = 16});
    for (int i = 0; i < 3; i++) send_of(&e, 5, FRAME_DATA, 0);
    send_of(&e, 6, FRAME_DATA, 0);
    cr_assert_eq(ends_receive(&e)->stream, 5);
    link_consume(e.rx);
    link_cancel(e.rx, 5, 0);
    while (!link_cancelled(e.tx, 5, 0)) ends_poll(e.set);
    cr_assert_not(link_cancelled(e.tx, 6, 0));
    cr_assert_not(link_cancelled(e.tx, 5, 1), "another attempt");
    send_of(&e, 5, FRAME_DATA, 0);
    send_of(&e, 5, FRAME_END, 0);
    send_of(&e, 6, FRAME_END, 0);
    expect(&e, 6);
    expect(&e, 6);
    cr_assert_eq(e.tx_status->unwanted, 1);
    cr_assert_eq(e.rx_status->unwanted, 3, "two and the end");
    cr_assert_eq(e.rx_status->frames, e.tx_status->frames);
    cr_assert_not(link_cancelled(e.tx, 5, 0), "forgotten when it had ended");
    done(&e);
}

Test(link_lasting, a_later_attempt_of_a_cancelled_stream_is_wanted)
{
    struct ends e = lasting((struct ends_options){0});
    send_of(&e, 5, FRAME_DATA, 0);
    link_cancel(e.rx, 5, 0);
    while (!link_cancelled(e.tx, 5, 0)) ends_poll(e.set);
    send_of(&e, 5, FRAME_DATA, 1);
    cr_assert_eq(ends_receive(&e)->attempt, 1);
    link_consume(e.rx);
    done(&e);
}

Test(link_lasting, an_epoch_ends_what_was_cancelled)
{
    struct ends e = lasting((struct ends_options){0});
    link_cancel(e.rx, 5, 0);
    link_set_epoch(e.tx, 2);
    ends_settle(&e);
    cr_assert_not(link_cancelled(e.tx, 5, 0), "it was for the epoch before");
    link_set_epoch(e.rx, 2);
    send_of(&e, 5, FRAME_DATA, 0);
    expect(&e, 5);
    done(&e);
}

Test(link_lasting, what_was_cancelled_is_said_again_after_a_cut)
{
    struct ends e = lasting((struct ends_options){0});
    uint32_t pipe = e.rx->session;
    link_pipe_drop(e.rx->pipe, pipe);
    link_cancel(e.rx, 5, 0); /* into a pipe that is gone */
    while (!link_cancelled(e.tx, 5, 0)) ends_poll(e.set);
    done(&e);
}
