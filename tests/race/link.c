/* For ThreadSanitizer: two ends of a link in two threads, with nng's threads between them, over and over:
 * streaming, a stop in mid-stream, a peer that vanishes, a wire that is cut all the time; with and without a
 * spill. Plain program;
 * fails by exit status (TSan's own is 66). */
#include "graph/wire/link_impl.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 40, FRAMES = 400, SPILL = 200000 }; /* a sixth of the frames */
typedef enum { TO_THE_END, STOP_HALFWAY, VANISH, CUT, WAYS } receiver_way;

struct end {
    struct link_options o;
    struct link_set *set;
    struct link *ln;
    struct status_link status;
    receiver_way way;
    atomic_bool over; /* CUT: all is acknowledged */
};

static void check(bool ok, const char *what, const struct thea_err *err)
{
    if (ok) return;
    fprintf(stderr, "race-link: %s: %s\n", what, thea_err_message(err));
    exit(1);
}

static void wait_news(struct end *e)
{
    struct pollfd p = {.fd = link_set_fd(e->set), .events = POLLIN};
    check(poll(&p, 1, 60000) > 0, "nothing happened for 60 s", NULL);
    link_set_clear(e->set);
}

/* The receiver of a lasting link goes on until its sender knows that all has come: what says so may be cut
 * off too. */
static void wait_until_over(struct end *e)
{
    while (!atomic_load(&e->over)) {
        struct pollfd p = {.fd = link_set_fd(e->set), .events = POLLIN};
        link_flush_credit(e->ln);
        poll(&p, 1, 20);
        link_set_clear(e->set);
    }
}

static void *receive_lasting(void *context)
{
    struct end *e = context;
    struct thea_err err = {0};
    const struct frame *f;
    bool eof = false;
    for (uint64_t next = 0; !eof;) {
        thea_rc rc = link_peek(e->ln, &f, &err);
        if (rc == THEA_AGAIN) {
            link_flush_credit(e->ln);
            wait_news(e);
            continue;
        }
        check(rc == THEA_OK, "peek", &err);
        check(f->link_seq == next++, "order", NULL);
        eof = f->kind == FRAME_EOF;
        link_consume(e->ln);
    }
    wait_until_over(e);
    link_abort(e->ln);
    return NULL;
}

static void *cut_all_the_time(void *context)
{
    struct end *e = context;
    for (int i = 0; !atomic_load(&e->over); i++) {
        poll(NULL, 0, 1 + i % 4);
        pthread_mutex_lock(&e->ln->pipe->lock);
        uint32_t id = e->ln->pipe->session;
        pthread_mutex_unlock(&e->ln->pipe->lock);
        link_pipe_drop(e->ln->pipe, id);
    }
    return NULL;
}

static void *receive(void *context)
{
    struct end *e = context;
    struct thea_err err = {0};
    const struct frame *f;
    uint64_t n = 0;
    for (thea_rc rc; (rc = link_peek(e->ln, &f, &err)) != THEA_DONE;) {
        if (rc == THEA_AGAIN) {
            link_flush_credit(e->ln);
            wait_news(e);
            continue;
        }
        check(rc == THEA_OK, "peek", &err);
        check(f->link_seq >= n, "order", NULL);
        n = f->link_seq;
        link_consume(e->ln);
        if (n < FRAMES / 2) continue;
        if (e->way == STOP_HALFWAY) link_stop(e->ln);
        if (e->way == VANISH) {
            link_abort(e->ln);
            return NULL;
        }
    }
    check(link_close(e->ln, &err) == THEA_OK, "close the receiver", &err);
    return NULL;
}

static thea_rc send_all(struct end *e, struct thea_err *err)
{
    static const char data[3000];
    struct tensor t = tensor_1d("x", TENSOR_U8, data, sizeof data);
    for (int i = 0; i <= FRAMES; i++) {
        struct frame f = {.kind = i < FRAMES ? FRAME_DATA : FRAME_EOF,
                          .seq = (uint64_t)i,
                          .tensors = &t,
                          .tensor_count = i < FRAMES};
        while (!link_ready(e->ln, frame_tensor_bytes(&f))) wait_news(e);
        thea_rc rc = link_send(e->ln, &f, err);
        if (rc != THEA_OK) return rc;
    }
    return THEA_OK;
}

static void open_both(struct end *rx, struct end *tx, int round)
{
    struct thea_err err = {0};
    char url[64];
    snprintf(url, sizeof url, "abstract://thea-%016llx-%d", (unsigned long long)status_now_ns(), round);
    check(link_address_parse(&rx->o.address, url, &err) == THEA_OK, "address", &err);
    tx->o.address = rx->o.address;
    rx->o.status = &rx->status;
    tx->o.status = &tx->status;
    rx->o.spill_bytes = round / WAYS % 2 == 1 ? SPILL : 0;
    rx->o.lasting = tx->o.lasting = rx->way == CUT;
    check(link_set_new(&rx->set, &err) == THEA_OK && link_set_new(&tx->set, &err) == THEA_OK, "sets", &err);
    check(link_listen(&rx->ln, rx->set, &rx->o, &err) == THEA_OK, "listen", &err);
    check(link_dial(&tx->ln, tx->set, &tx->o, &err) == THEA_OK, "dial", &err);
}

static void run_cut(int round)
{
    struct thea_err err = {0};
    struct end rx = {.way = CUT, .o = {.port = "in"}}, tx = {.way = CUT, .o = {.port = "out"}};
    pthread_t receiver, cutter;
    open_both(&rx, &tx, round);
    pthread_create(&receiver, NULL, receive_lasting, &rx);
    pthread_create(&cutter, NULL, cut_all_the_time, &tx);
    check(send_all(&tx, &err) == THEA_OK, "send", &err);
    atomic_store(&tx.over, true);
    pthread_join(cutter, NULL);
    while (tx.ln->ack_seq < tx.ln->seq) wait_news(&tx);
    atomic_store(&rx.over, true);
    pthread_join(receiver, NULL);
    check(rx.status.frames == tx.status.frames, "sent is not received", NULL);
    link_abort(tx.ln);
    link_set_free(rx.set);
    link_set_free(tx.set);
}

static void run(int round, receiver_way way)
{
    struct thea_err err = {0};
    struct end rx = {.way = way, .o = {.port = "in"}}, tx = {.o = {.port = "out"}};
    open_both(&rx, &tx, round);
    pthread_t thread;
    pthread_create(&thread, NULL, receive, &rx);
    thea_rc rc = send_all(&tx, &err);
    if (rc == THEA_OK)
        rc = link_close(tx.ln, &err);
    else
        link_abort(tx.ln);
    pthread_join(thread, NULL);
    check(rc == (way == VANISH ? THEA_ECLOSED : THEA_OK), "the sender's result", &err);
    check(way == VANISH || rx.status.frames == tx.status.frames, "sent is not received", NULL);
    link_set_free(rx.set);
    link_set_free(tx.set);
}

int main(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (i % WAYS == CUT)
            run_cut(i);
        else
            run(i, (receiver_way)(i % WAYS));
    }
    printf("race-link: %d rounds of %d frames\n", ROUNDS, FRAMES);
    return 0;
}
