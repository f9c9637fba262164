/* For ThreadSanitizer: two ends of a link in two threads, with nng's threads between them, over and over:
 * streaming, a stop in mid-stream, a peer that vanishes. Plain program; fails by exit status (TSan's own is
 * 66). */
#include "graph/wire/link.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 30, FRAMES = 400 };
typedef enum { TO_THE_END, STOP_HALFWAY, VANISH } receiver_way;

struct end {
    struct link_options o;
    struct link_set *set;
    struct link *ln;
    struct status_link status;
    receiver_way way;
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

static void run(int round, receiver_way way)
{
    struct thea_err err = {0};
    struct end rx = {.way = way, .o = {.port = "in"}}, tx = {.o = {.port = "out"}};
    char url[64];
    snprintf(url, sizeof url, "abstract://thea-%016llx-%d", (unsigned long long)status_now_ns(), round);
    check(link_address_parse(&rx.o.address, url, &err) == THEA_OK, "address", &err);
    tx.o.address = rx.o.address;
    rx.o.status = &rx.status;
    tx.o.status = &tx.status;
    check(link_set_new(&rx.set, &err) == THEA_OK && link_set_new(&tx.set, &err) == THEA_OK, "sets", &err);
    check(link_listen(&rx.ln, rx.set, &rx.o, &err) == THEA_OK, "listen", &err);
    check(link_dial(&tx.ln, tx.set, &tx.o, &err) == THEA_OK, "dial", &err);
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
    for (int i = 0; i < ROUNDS; i++) run(i, (receiver_way)(i % 3));
    printf("race-link: %d rounds of %d frames\n", ROUNDS, FRAMES);
    return 0;
}
