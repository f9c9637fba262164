/* The nng side of a link: one PAIR0 socket, one send and one receive operation at a time, two queues.
 * Callbacks run on nng's threads: they move messages, keep the pipe alive and wake the stage's thread,
 * nothing else.
 *
 * Invariants: the first message on a pipe is our HELLO, and every later one was meant for that pipe. nng
 * itself gives a message that waits inside it to whatever pipe comes next; so before a pipe can take the seat
 * (ADD_PRE) what waits is taken back, and nothing is given until it is known who sits there. */
#include "graph/wire/link_impl.h"

#include <nng/protocol/pair0/pair.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { REDIAL_MIN_MS = 10, REDIAL_MAX_MS = 200, ADDRESS_TRIES = 100, ADDRESS_WAIT_MS = 10 };

static void tell(struct link_pipe *p)
{
    atomic_store(&p->news, true);
    pthread_mutex_lock(&p->lock);
    if (p->set != NULL) link_set_wake(p->set);
    pthread_mutex_unlock(&p->lock);
}

/* nng numbers pipes upwards, in 31 bits, from anywhere. */
static bool is_newer(const struct link_pipe *p, uint32_t id)
{
    return p->newest == 0 || (int32_t)((id - p->newest) << 1) > 0;
}

/* --- sending --- */

/* Start the next send if none is under way. nng finishes sends on a thread of its own, so the lock may be
 * held. */
void link_pipe_send_next(struct link_pipe *p)
{
    if (p->sending || p->shut || p->arriving != 0 || p->current == 0) return;
    if (p->echo_ns != 0) link_beat_pong(p);
    nng_msg *m = link_queue_pop(&p->out);
    if (m == NULL) return;
    p->sending = true;
    p->sending_for = p->current;
    p->spoke_ns = status_now_ns();
    nng_aio_set_msg(p->send, m);
    nng_send_aio(p->socket, p->send);
}

static void on_sent(void *context)
{
    struct link_pipe *p = context;
    int rv = nng_aio_result(p->send);
    nng_msg *back = rv != 0 ? nng_aio_get_msg(p->send) : NULL;
    nng_aio_set_msg(p->send, NULL);
    pthread_mutex_lock(&p->lock);
    p->sending = false;
    if (back != NULL && rv == NNG_ECANCELED && p->sending_for == p->current && !p->shut)
        link_queue_push_front(&p->out,
                              back); /* taken back for the sake of a pipe that did not get the seat */
    else
        nng_msg_free(back);
    link_pipe_send_next(p);
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_queue(struct link_pipe *p, const struct link_message *m)
{
    nng_msg *msg;
    if (link_encode_message(&msg, m, NULL) != THEA_OK) abort(); /* out of memory */
    link_queue_push(&p->out, msg);
    link_pipe_send_next(p);
}

/* HELLO, first on every pipe. A dialer says it when it was spoken to: one whose place is taken is never
 * answered, and what it would send, nng takes and loses. */
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

/* --- pipes --- */

/* A pipe took the seat: forget what was meant for the one before. */
static void pipe_up(struct link_pipe *p, uint32_t id)
{
    if (p->arriving == id) p->arriving = 0;
    if (p->current == id || !is_newer(p, id)) return;
    if (p->current != 0) p->lost++;
    p->current = p->newest = id;
    p->pid = p->seen.id == id ? p->seen.pid : -1;
    p->said = (struct link_said){p->hello.peer_incarnation, p->hello.peer_pid};
    p->heard_ns = p->spoke_ns = status_now_ns();
    p->greeted = false;
    p->session = 0;
    p->echo_ns = 0;
    link_queue_clear(&p->out);
    if (!p->dials) say_hello(p);
}

static void pipe_gone(struct link_pipe *p, uint32_t id)
{
    if (p->arriving == id) p->arriving = 0;
    if (is_newer(p, id)) p->newest = id;
    if (p->current != id) {
        link_pipe_send_next(p);
        return;
    }
    p->current = p->session = 0;
    p->lost++;
    link_queue_clear(&p->out);
}

/* Same user only; no way to ask on tcp, where the run id in HELLO has to do. */
static bool is_ours(nng_pipe pipe, int32_t *pid)
{
    uint64_t uid, id;
    *pid = -1;
    if (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_PID, &id) == 0) *pid = (int32_t)id;
    int rv = nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, &uid);
    return rv == NNG_ENOTSUP || (rv == 0 && uid == (uint64_t)geteuid());
}

/* A pipe asks for the seat. Before it may have it, nng gives back what it has of ours. */
static void on_asking(struct link_pipe *p, nng_pipe pipe)
{
    int32_t pid;
    bool ours = is_ours(pipe, &pid);
    pthread_mutex_lock(&p->lock);
    bool take = ours && !p->shut;
    if (!ours) p->strangers++;
    if (take) {
        p->arriving = (uint32_t)nng_pipe_id(pipe);
        p->seen.id = p->arriving;
        p->seen.pid = pid;
    }
    bool take_back = take && p->sending;
    pthread_mutex_unlock(&p->lock);
    if (take_back) nng_aio_cancel(p->send);
    if (!take) nng_pipe_close(pipe);
    if (!ours) tell(p);
}

static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *context)
{
    struct link_pipe *p = context;
    if (event == NNG_PIPE_EV_ADD_PRE) {
        on_asking(p, pipe);
        return;
    }
    pthread_mutex_lock(&p->lock);
    if (event == NNG_PIPE_EV_ADD_POST)
        pipe_up(p, (uint32_t)nng_pipe_id(pipe));
    else
        pipe_gone(p, (uint32_t)nng_pipe_id(pipe));
    pthread_mutex_unlock(&p->lock);
    tell(p);
}

/* --- receiving --- */

/* Start to receive the next message, if one may come. Lock held: nng hands it over later. */
static void receive_next(struct link_pipe *p)
{
    if (p->receiving || p->held || p->shut || p->in.count >= p->in_max) return;
    p->receiving = true;
    nng_recv_aio(p->socket, p->recv);
}

static void on_received(void *context)
{
    struct link_pipe *p = context;
    nng_msg *m = nng_aio_result(p->recv) == 0 ? nng_aio_get_msg(p->recv) : NULL;
    bool news = false;
    pthread_mutex_lock(&p->lock);
    p->receiving = false;
    if (m != NULL) {
        uint32_t id = (uint32_t)nng_msg_get_pipe(m).id;
        pipe_up(p, id); /* its message may overtake the pipe's own event */
        if (id == p->current) p->heard_ns = status_now_ns();
        if (id == p->current && !p->greeted) say_hello(p);
        news = !link_beat_took(p, m);
        if (news) link_queue_push(&p->in, m);
        receive_next(p);
    }
    pthread_mutex_unlock(&p->lock);
    if (news) tell(p);
}

/* --- the stage's thread --- */

static thea_rc nng_failure(struct thea_err *err, const char *url, const char *what, int rv)
{
    thea_rc rc = rv == NNG_EADDRINUSE ? THEA_EBUSY : rv == NNG_EPERM ? THEA_EPERM : THEA_EOS;
    return thea_fail(err, rc, "%s: %s: %s", url, what, nng_strerror(rv));
}

/* Listen; an address just given up by another socket is free a moment later. */
static int listen_patiently(nng_socket socket, const char *url)
{
    int rv = NNG_EADDRINUSE;
    for (int i = 0; i < ADDRESS_TRIES && rv == NNG_EADDRINUSE; i++) {
        if (i > 0) nanosleep(&(struct timespec){.tv_nsec = ADDRESS_WAIT_MS * 1000000L}, NULL);
        rv = nng_listen(socket, url, NULL, 0);
    }
    return rv;
}

static int dial(struct link_pipe *p, const char *url)
{
    int rv = nng_dialer_create(&p->dialer, p->socket, url);
    if (rv == 0) rv = nng_dialer_set_ms(p->dialer, NNG_OPT_RECONNMINT, REDIAL_MIN_MS);
    if (rv == 0) rv = nng_dialer_set_ms(p->dialer, NNG_OPT_RECONNMAXT, REDIAL_MAX_MS);
    return rv != 0 ? rv : nng_dialer_start(p->dialer, NNG_FLAG_NONBLOCK);
}

static int configure(struct link_pipe *p)
{
    int rv = nng_socket_set_size(p->socket, NNG_OPT_RECVMAXSZ, FRAME_MAX_BYTES);
    for (int event = NNG_PIPE_EV_ADD_PRE; rv == 0 && event <= NNG_PIPE_EV_REM_POST; event++)
        rv = nng_pipe_notify(p->socket, (nng_pipe_ev)event, on_pipe, p);
    if (rv == 0) rv = nng_aio_alloc(&p->send, on_sent, p);
    if (rv == 0) rv = nng_aio_alloc(&p->recv, on_received, p);
    return rv;
}

thea_rc link_pipe_open(struct link_pipe **out, struct link_set *set, const char *url, bool dials,
                       const struct link_message *hello, size_t in_max, int silence_ms, struct thea_err *err)
{
    struct link_pipe *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    *out = p;
    p->set = set;
    p->hello = *hello;
    p->in_max = in_max;
    p->dials = dials;
    p->pid = -1;
    pthread_mutex_init(&p->lock, NULL);
    int rv = nng_pair0_open(&p->socket);
    link_pipe_watch_exit();
    if (rv == 0) rv = configure(p);
    if (rv == 0) rv = link_beat_start(p, silence_ms);
    if (rv != 0) return nng_failure(err, url, "cannot open a socket", rv);
    link_pipe_go(p);
    rv = dials ? dial(p, url) : listen_patiently(p->socket, url);
    if (rv != 0) return nng_failure(err, url, dials ? "cannot dial" : "cannot listen", rv);
    return THEA_OK;
}

void link_pipe_take(struct link_pipe *p, struct link_queue *in, struct link_news *news)
{
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->news, false);
    for (nng_msg *m; (m = link_queue_pop(&p->in)) != NULL;) link_queue_push(in, m);
    *news = (struct link_news){
        .current = p->current, .lost = p->lost, .strangers = p->strangers, .pid = p->pid, .said = p->said};
    receive_next(p);
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_shut(struct link_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    p->shut = true;
    link_queue_clear(&p->out);
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_hold(struct link_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    p->held = true;
    pthread_mutex_unlock(&p->lock);
    if (p->recv == NULL) return;
    nng_aio_cancel(p->recv);
    nng_aio_wait(p->recv);
}

void link_pipe_go(struct link_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    p->held = false;
    receive_next(p);
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_settle(struct link_pipe *p)
{
    link_pipe_shut(p);
    link_pipe_hold(p);
}

void link_pipe_send(struct link_pipe *p, uint32_t pipe, nng_msg *m)
{
    pthread_mutex_lock(&p->lock);
    if (p->shut || p->current != pipe)
        nng_msg_free(m);
    else
        link_queue_push(&p->out, m);
    link_pipe_send_next(p);
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_session(struct link_pipe *p, uint32_t pipe, const struct link_said *peer)
{
    pthread_mutex_lock(&p->lock);
    if (p->current == pipe) p->session = pipe;
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

void link_pipe_redial_slowly(struct link_pipe *p)
{
    if (p->dialer.id != 0) nng_dialer_set_ms(p->dialer, NNG_OPT_RECONNMINT, REDIAL_MAX_MS);
}

void link_pipe_end(struct link_pipe *p, uint32_t id)
{
    link_pipe_shut(p);
    if (p->dialer.id != 0)
        nng_dialer_close(p->dialer); /* closes its pipe too; else it would dial again at once */
    p->dialer.id = 0;
    link_pipe_drop(id);
}

void link_pipe_drop(uint32_t id)
{
    if (id != 0) nng_pipe_close((nng_pipe){.id = id});
}
