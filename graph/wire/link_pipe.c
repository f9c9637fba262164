/* The nng side of a link: two queues between nng's threads and the stage's thread, and the one connection
 * that they are for. Callbacks run on nng's threads: they move messages, keep the connection alive and wake
 * the stage's thread, nothing else.
 *
 * nng's streams are used, not its PAIR socket, whose wire format is kept (link_conn.c): in nng 1.5.2 a pipe
 * that is closed in the middle of a message may never be torn down, and then no other is in that process; and
 * it gives a message that waits to whatever pipe comes next.
 *
 * Invariants: a link has one seat; who comes while it is taken is turned away. The first message on a
 * connection is our HELLO, and every later one was meant for that connection. */
#include "graph/wire/link_impl.h"

#include <stdlib.h>

void link_pipe_tell(struct link_pipe *p)
{
    atomic_store(&p->news, true);
    if (p->set != NULL) link_set_wake(p->set);
}

/* --- the seat, with the lock held --- */

/* HELLO, first on every connection. A dialer says it when it was spoken to: what is said to one who has no
 * seat for us would be for nothing. */
static void say_hello(struct link_pipe *p)
{
    struct link_message hello = p->hello;
    hello.peer_incarnation = p->said.peer_incarnation;
    hello.peer_pid = p->said.peer_pid;
    hello.next_seq = atomic_load(&p->next_seq);
    hello.clock_ns = status_now_ns();
    p->greeted = true;
    link_pipe_queue(p, &hello);
}

void link_pipe_up(struct link_pipe *p, struct link_conn *c)
{
    if (p->shut || p->conn != NULL) {
        link_pipe_lost(p, c);
        return;
    }
    p->conn = c;
    p->current = c->id;
    p->said = (struct link_said){p->hello.peer_incarnation, p->hello.peer_pid};
    p->heard_ns = p->spoke_ns = status_now_ns();
    p->greeted = false;
    if (p->listener != NULL) say_hello(p);
    link_pipe_tell(p);
}

void link_pipe_lost(struct link_pipe *p, struct link_conn *c)
{
    if (c->state == CONN_CLOSED) return;
    if (c->state == CONN_UP) p->lost++;
    c->state = CONN_CLOSED;
    nng_stream_close(c->stream);
    if (p->conn == c) {
        p->conn = NULL;
        p->current = p->session = 0;
        p->echo_ns = 0;
        link_queue_clear(&p->out);
    }
    link_door_next(p);
    link_pipe_tell(p);
}

/* --- messages, with the lock held --- */

bool link_pipe_may_read(const struct link_conn *c)
{
    const struct link_pipe *p = c->pipe;
    return c->state != CONN_CLOSED && !p->shut && (c != p->conn || p->in.count < p->in_max);
}

void link_pipe_received(struct link_conn *c, struct link_packet *m)
{
    struct link_pipe *p = c->pipe;
    if (c != p->conn || p->shut) {
        link_packet_free(m);
        return;
    }
    if (!p->greeted) say_hello(p);
    if (link_beat_took(p, m)) {
        link_packet_free(m);
        return;
    }
    m->conn = c->id;
    link_queue_push(&p->in, m);
    link_pipe_tell(p);
}

struct link_packet *link_pipe_next(struct link_conn *c)
{
    struct link_pipe *p = c->pipe;
    if (c != p->conn || p->shut) return NULL;
    struct link_packet *m = p->greeted ? link_beat_pong(p) : NULL;
    if (m == NULL) m = link_queue_pop(&p->out);
    if (m != NULL) p->spoke_ns = status_now_ns();
    return m;
}

void link_pipe_queue(struct link_pipe *p, const struct link_message *m)
{
    struct link_packet *msg;
    if (link_encode_message(&msg, m, NULL) != THEA_OK) abort(); /* out of memory */
    link_queue_push(&p->out, msg);
    link_conn_write(p->conn);
}

/* --- the stage's thread --- */

thea_rc link_pipe_open(struct link_pipe **out, struct link_set *set, const struct link_options *o, bool dials,
                       const struct link_message *hello, size_t in_max, struct thea_err *err)
{
    struct link_pipe *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    *out = p;
    p->set = set;
    p->hello = *hello;
    p->in_max = in_max;
    pthread_mutex_init(&p->lock, NULL);
    int rv = link_beat_start(p, o->silence_ms);
    if (rv != 0) return thea_fail(err, THEA_EOS, "%s: nng: %s", o->address.url, nng_strerror(rv));
    return link_door_open(p, o, dials, err);
}

static void free_closed(struct link_pipe *p)
{
    for (;;) {
        pthread_mutex_lock(&p->lock);
        struct link_conn *c = link_conn_take_closed(p);
        pthread_mutex_unlock(&p->lock);
        if (c == NULL) return;
        link_conn_free(c);
    }
}

void link_pipe_take(struct link_pipe *p, struct link_queue *in, struct link_news *news)
{
    free_closed(p);
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->news, false);
    for (struct link_packet *m; (m = link_queue_pop(&p->in)) != NULL;) link_queue_push(in, m);
    *news = (struct link_news){.current = p->current,
                               .lost = p->lost,
                               .strangers = p->strangers,
                               .pid = p->conn != NULL ? p->conn->pid : -1,
                               .said = p->said};
    if (p->conn != NULL) link_conn_read(p->conn);
    link_door_next(p);
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_shut(struct link_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    p->shut = true;
    link_queue_clear(&p->out);
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_end(struct link_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    p->shut = true;
    for (struct link_conn *c = p->conns; c != NULL; c = c->next) link_pipe_lost(p, c);
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_send(struct link_pipe *p, uint32_t id, struct link_packet *m)
{
    pthread_mutex_lock(&p->lock);
    if (p->shut || p->current != id || p->conn->failed_ns != 0) {
        link_packet_free(m);
    } else {
        link_queue_push(&p->out, m);
        link_conn_write(p->conn);
    }
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_session(struct link_pipe *p, uint32_t id, const struct link_said *peer)
{
    pthread_mutex_lock(&p->lock);
    if (p->current == id) p->session = id;
    p->redial_ms = 0;
    p->hello.peer_incarnation = peer->peer_incarnation;
    p->hello.peer_pid = peer->peer_pid;
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_epoch(struct link_pipe *p, uint64_t epoch)
{
    pthread_mutex_lock(&p->lock);
    p->hello.epoch = epoch;
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_drop(struct link_pipe *p, uint32_t id)
{
    pthread_mutex_lock(&p->lock);
    if (id != 0 && p->current == id) link_pipe_lost(p, p->conn);
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_close(struct link_pipe *p)
{
    if (p == NULL) return;
    link_pipe_end(p);
    pthread_mutex_lock(&p->lock);
    p->set = NULL;
    pthread_mutex_unlock(&p->lock);
    if (p->beat != NULL) nng_aio_stop(p->beat);
    link_door_close(p);
    while (p->conns != NULL) { /* no callback makes a new one any more */
        struct link_conn *c = p->conns;
        p->conns = c->next;
        link_conn_free(c);
    }
    pthread_mutex_lock(&p->lock); /* the last callback has left it */
    pthread_mutex_unlock(&p->lock);
    nng_aio_free(p->beat);
    link_queue_fini(&p->in);
    link_queue_fini(&p->out);
    link_hello_fini(&p->hello);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
