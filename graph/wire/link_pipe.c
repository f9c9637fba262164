/* The nng side of a link: one PAIR0 socket, one send and one receive operation at a time, two queues
 * (fabric.md sections 1-3 and 12). Callbacks run on nng's threads: they move messages and wake the stage's
 * thread, nothing else. */
#include "graph/wire/link_impl.h"

#include <errno.h>
#include <nng/protocol/pair0/pair.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { REDIAL_MIN_MS = 10, REDIAL_MAX_MS = 200, ADDRESS_TRIES = 100, ADDRESS_WAIT_MS = 10, ALIGNMENT = 64 };

/* --- queues --- */

void link_queue_push(struct link_queue *q, nng_msg *m)
{
    if (q->count == q->cap) {
        size_t cap = q->cap == 0 ? 16 : q->cap * 2;
        nng_msg **items = malloc(cap * sizeof(nng_msg *));
        if (items == NULL) abort();
        for (size_t i = 0; i < q->count; i++) items[i] = link_queue_at(q, i);
        free((void *)q->items);
        *q = (struct link_queue){.items = items, .count = q->count, .cap = cap};
    }
    q->items[(q->first + q->count) & (q->cap - 1)] = m;
    q->count++;
}

nng_msg *link_queue_at(const struct link_queue *q, size_t i)
{
    return q->items[(q->first + i) & (q->cap - 1)];
}

nng_msg *link_queue_pop(struct link_queue *q)
{
    if (q->count == 0) return NULL;
    nng_msg *m = q->items[q->first];
    q->first = (q->first + 1) & (q->cap - 1);
    q->count--;
    return m;
}

void link_queue_clear(struct link_queue *q)
{
    for (nng_msg *m; (m = link_queue_pop(q)) != NULL;) nng_msg_free(m);
}

void link_queue_fini(struct link_queue *q)
{
    link_queue_clear(q);
    free((void *)q->items);
    *q = (struct link_queue){0};
}

/* --- encoding into messages --- */

/* The body is a little larger than the frame's bound, so that the frame can begin at a 64-byte border of
 * memory. */
struct body {
    nng_msg *msg;
    size_t skip;
};

static void *body_alloc(void *context, size_t size)
{
    struct body *b = context;
    nng_msg_free(b->msg);
    b->msg = NULL;
    if (nng_msg_alloc(&b->msg, size + ALIGNMENT) != 0) return NULL;
    uintptr_t at = (uintptr_t)nng_msg_body(b->msg);
    b->skip = (ALIGNMENT - at % ALIGNMENT) % ALIGNMENT;
    return (char *)nng_msg_body(b->msg) + b->skip;
}

/* Cut the body to the message that lies in it. Takes no copy. */
static nng_msg *body_cut(struct body *b, size_t offset, size_t size)
{
    nng_msg_trim(b->msg, b->skip + offset);
    nng_msg_chop(b->msg, nng_msg_len(b->msg) - size);
    return b->msg;
}

thea_rc link_encode_frame(nng_msg **out, const struct frame *f, struct thea_err *err)
{
    struct body b = {0};
    size_t offset, size;
    thea_rc rc = codec_encode_frame(f, body_alloc, &b, &offset, &size, err);
    if (rc == THEA_OK)
        *out = body_cut(&b, offset, size);
    else
        nng_msg_free(b.msg);
    return rc;
}

thea_rc link_encode_message(nng_msg **out, const struct link_message *m, struct thea_err *err)
{
    struct body b = {0};
    size_t offset, size;
    thea_rc rc = codec_encode_link(m, body_alloc, &b, &offset, &size, err);
    if (rc == THEA_OK)
        *out = body_cut(&b, offset, size);
    else
        nng_msg_free(b.msg);
    return rc;
}

/* --- callbacks --- */

static void tell(struct link_pipe *p)
{
    atomic_store(&p->news, true);
    pthread_mutex_lock(&p->lock);
    if (p->set != NULL) link_set_wake(p->set);
    pthread_mutex_unlock(&p->lock);
}

/* Start the next send if none is under way. Called with the lock held: nng finishes sends on a thread of its
 * own. */
static void send_next(struct link_pipe *p)
{
    if (p->sending || p->shut) return;
    nng_msg *m = link_queue_pop(&p->out);
    if (m == NULL) return;
    p->sending = true;
    nng_aio_set_msg(p->send, m);
    nng_send_aio(p->socket, p->send);
}

static void on_sent(void *context)
{
    struct link_pipe *p = context;
    bool failed = nng_aio_result(p->send) != 0;
    if (failed) {
        nng_msg_free(nng_aio_get_msg(p->send));
        nng_aio_set_msg(p->send, NULL);
    }
    pthread_mutex_lock(&p->lock);
    p->sending = false;
    if (!failed) send_next(p);
    pthread_mutex_unlock(&p->lock);
}

/* HELLO, first on every pipe. A dialer says it when it was spoken to: one whose place is taken is never
 * answered, and what it would send, nng takes and loses. Lock held. */
static void say_hello(struct link_pipe *p)
{
    nng_msg *hello;
    if (nng_msg_dup(&hello, p->hello) != 0) abort();
    p->greeted = true;
    link_queue_push(&p->out, hello);
    send_next(p);
}

/* A pipe took the seat: forget what was meant for the one before. Lock held. */
static void pipe_up(struct link_pipe *p, uint32_t id)
{
    if (p->current == id || p->removed == id) return;
    p->current = id;
    p->pid = p->seen.id == id ? p->seen.pid : -1;
    p->greeted = false;
    link_queue_clear(&p->out);
    if (!p->dials) say_hello(p);
}

static void receive(struct link_pipe *p)
{
    nng_recv_aio(p->socket, p->recv);
}

static void on_received(void *context)
{
    struct link_pipe *p = context;
    bool failed = nng_aio_result(p->recv) != 0;
    pthread_mutex_lock(&p->lock);
    if (!failed) {
        nng_msg *m = nng_aio_get_msg(p->recv);
        pipe_up(p, (uint32_t)nng_msg_get_pipe(m).id); /* its message may overtake the pipe's own event */
        if (!p->greeted) say_hello(p);
        link_queue_push(&p->in, m);
    }
    bool again = !failed && !p->shut && p->in.count < p->in_max;
    p->receiving = again;
    pthread_mutex_unlock(&p->lock);
    if (!failed) tell(p);
    if (again) receive(p);
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

static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *context)
{
    struct link_pipe *p = context;
    uint32_t id = (uint32_t)nng_pipe_id(pipe);
    int32_t pid = -1;
    bool reject = event == NNG_PIPE_EV_ADD_PRE && !is_ours(pipe, &pid);
    pthread_mutex_lock(&p->lock);
    if (event == NNG_PIPE_EV_ADD_PRE) {
        if (reject) p->strangers++;
        reject = reject || p->shut;
        if (!reject && p->current == 0) p->seen.id = id, p->seen.pid = pid;
    } else if (event == NNG_PIPE_EV_ADD_POST) {
        pipe_up(p, id);
    } else {
        p->removed = id;
        if (p->current == id) p->current = 0, p->lost++;
    }
    pthread_mutex_unlock(&p->lock);
    if (reject) nng_pipe_close(pipe);
    if (event != NNG_PIPE_EV_ADD_PRE) tell(p);
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
                       nng_msg *hello, size_t in_max, struct thea_err *err)
{
    struct link_pipe *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    *out = p;
    p->set = set;
    p->hello = hello;
    p->in_max = in_max;
    p->dials = dials;
    p->pid = -1;
    pthread_mutex_init(&p->lock, NULL);
    int rv = nng_pair0_open(&p->socket);
    link_pipe_watch_exit();
    if (rv == 0) rv = configure(p);
    if (rv != 0) return nng_failure(err, url, "cannot open a socket", rv);
    p->receiving = true;
    receive(p);
    rv = dials ? dial(p, url) : listen_patiently(p->socket, url);
    if (rv != 0) return nng_failure(err, url, dials ? "cannot dial" : "cannot listen", rv);
    return THEA_OK;
}

void link_pipe_take(struct link_pipe *p, struct link_queue *in, struct link_news *news)
{
    bool again = false;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->news, false);
    for (nng_msg *m; (m = link_queue_pop(&p->in)) != NULL;) link_queue_push(in, m);
    *news =
        (struct link_news){.current = p->current, .lost = p->lost, .strangers = p->strangers, .pid = p->pid};
    if (!p->receiving && !p->shut) again = p->receiving = true;
    pthread_mutex_unlock(&p->lock);
    if (again) receive(p);
}

void link_pipe_shut(struct link_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    p->shut = true;
    link_queue_clear(&p->out);
    pthread_mutex_unlock(&p->lock);
}

void link_pipe_settle(struct link_pipe *p)
{
    link_pipe_shut(p);
    if (p->recv != NULL) nng_aio_stop(p->recv); /* not cancel: a callback may be about to receive again */
}

void link_pipe_send(struct link_pipe *p, nng_msg *m)
{
    pthread_mutex_lock(&p->lock);
    if (p->shut)
        nng_msg_free(m);
    else
        link_queue_push(&p->out, m);
    send_next(p);
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
    nng_pipe_close((nng_pipe){.id = id});
}
