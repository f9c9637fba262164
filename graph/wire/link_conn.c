/* One connection of a link: messages over an nng stream, in the wire format of nng's PAIR version 0. Each
 * side begins with 8 bytes that name the protocol; a message is its length in 8 bytes, big-endian (before it
 * a byte 1 on Unix sockets), and its bytes.
 *
 * Invariant: one read and one write are under way at most, begun with the pipe's lock held. nng never calls
 * back from within the call that begins them. */
#include "graph/wire/link_impl.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const unsigned char greeting[LINK_GREETING_BYTES] = {0, 'S', 'P', 0, 0, 16, 0, 0};

/* --- reading --- */

static void set_iov(nng_aio *aio, nng_iov *iov, unsigned n)
{
    if (nng_aio_set_iov(aio, n, iov) != 0) abort(); /* more than its 8 */
}

void link_conn_read(struct link_conn *c)
{
    nng_iov iov[2];
    unsigned n = 0;
    if (c->reading || !link_pipe_may_read(c)) return;
    size_t head_size = c->state == CONN_GREETING ? LINK_GREETING_BYTES : c->pipe->head_size;
    if (c->msg != NULL && nng_msg_len(c->msg) > c->msg_got)
        iov[n++] = (nng_iov){(char *)nng_msg_body(c->msg) + c->msg_got, nng_msg_len(c->msg) - c->msg_got};
    iov[n++] = (nng_iov){c->head + c->head_got, head_size - c->head_got};
    set_iov(c->rx, iov, n);
    c->reading = true;
    nng_stream_recv(c->stream, c->rx);
}

/* The message whose head is complete. False: that is no head. */
static bool begin_message(struct link_conn *c)
{
    uint64_t length;
    memcpy(&length, c->head + c->pipe->head_size - sizeof length, sizeof length);
    length = be64toh(length);
    bool typed = c->pipe->head_size == LINK_HEAD_MAX;
    c->head_got = c->msg_got = 0;
    if ((typed && c->head[0] != 1) || length > FRAME_MAX_BYTES) return false;
    return nng_msg_alloc(&c->msg, length) == 0;
}

/* The other side's first bytes are here. */
static bool greeted(struct link_conn *c)
{
    c->head_got = 0;
    if (memcmp(c->head, greeting, sizeof greeting) != 0) return false;
    c->state = CONN_UP;
    link_pipe_up(c->pipe, c);
    return true;
}

static void end_message(struct link_conn *c)
{
    nng_msg *m = c->msg;
    c->msg = NULL;
    link_pipe_received(c, m);
}

/* n bytes more were read, in the order of link_conn_read. False: not our protocol. */
static bool take_bytes(struct link_conn *c, size_t n)
{
    if (c->state == CONN_GREETING) {
        c->head_got += n;
        return c->head_got < LINK_GREETING_BYTES || greeted(c);
    }
    if (c->msg != NULL) {
        size_t missing = nng_msg_len(c->msg) - c->msg_got, of_it = n < missing ? n : missing;
        c->msg_got += of_it;
        n -= of_it;
        if (of_it == missing) end_message(c);
    }
    c->head_got += n;
    if (c->head_got < c->pipe->head_size) return true;
    if (!begin_message(c)) return false;
    if (nng_msg_len(c->msg) == 0) end_message(c);
    return true;
}

static void on_read(void *context)
{
    struct link_conn *c = context;
    struct link_pipe *p = c->pipe;
    bool failed = nng_aio_result(c->rx) != 0;
    pthread_mutex_lock(&p->lock);
    c->reading = false;
    if (!failed && p->conn == c) p->heard_ns = status_now_ns();
    if (c->state != CONN_CLOSED && (failed || !take_bytes(c, nng_aio_count(c->rx)))) link_pipe_lost(p, c);
    link_conn_read(c);
    pthread_mutex_unlock(&p->lock);
}

/* --- writing --- */

static size_t batch_bytes(const struct link_conn *c)
{
    size_t n = c->batch_count * c->pipe->head_size;
    for (size_t i = 0; i < c->batch_count; i++) n += nng_msg_len(c->batch[i]);
    return n;
}

static void free_batch(struct link_conn *c)
{
    for (size_t i = 0; i < c->batch_count; i++) nng_msg_free(c->batch[i]);
    c->batch_count = c->written = 0;
}

static void take_batch(struct link_conn *c)
{
    size_t head_size = c->pipe->head_size;
    for (nng_msg *m; c->batch_count < LINK_BATCH && (m = link_pipe_next(c)) != NULL; c->batch_count++) {
        uint64_t length = htobe64(nng_msg_len(m));
        c->batch[c->batch_count] = m;
        c->heads[c->batch_count][0] = 1;
        memcpy(c->heads[c->batch_count] + head_size - sizeof length, &length, sizeof length);
    }
}

/* What is left of `bytes` behind the first *skip of all. */
static void add_rest(nng_iov *iov, unsigned *n, const void *bytes, size_t size, size_t *skip)
{
    size_t skipped = *skip < size ? *skip : size;
    *skip -= skipped;
    if (size > skipped) iov[(*n)++] = (nng_iov){(char *)(uintptr_t)bytes + skipped, size - skipped};
}

void link_conn_write(struct link_conn *c)
{
    nng_iov iov[2 * LINK_BATCH];
    unsigned n = 0;
    if (c->writing || c->state != CONN_UP || c->failed_ns != 0) return;
    if (c->batch_count == 0) take_batch(c);
    if (c->batch_count == 0) return;
    size_t skip = c->written;
    for (size_t i = 0; i < c->batch_count; i++) {
        add_rest(iov, &n, c->heads[i], c->pipe->head_size, &skip);
        add_rest(iov, &n, nng_msg_body(c->batch[i]), nng_msg_len(c->batch[i]), &skip);
    }
    set_iov(c->tx, iov, n);
    c->writing = true;
    nng_stream_send(c->stream, c->tx);
}

/* What is greeted is written in one piece: 8 bytes always fit. */
static void write_greeting(struct link_conn *c)
{
    nng_iov iov = {(void *)(uintptr_t)greeting, sizeof greeting};
    set_iov(c->tx, &iov, 1);
    c->writing = true;
    nng_stream_send(c->stream, c->tx);
}

static void on_written(void *context)
{
    struct link_conn *c = context;
    struct link_pipe *p = c->pipe;
    bool failed = nng_aio_result(c->tx) != 0;
    pthread_mutex_lock(&p->lock);
    c->writing = false;
    if (failed && c->failed_ns == 0) c->failed_ns = status_now_ns();
    if (!failed && c->batch_count > 0) c->written += nng_aio_count(c->tx);
    if (failed || c->written == batch_bytes(c)) free_batch(c);
    if (failed && p->conn == c) link_queue_clear(&p->out);
    link_conn_write(c);
    pthread_mutex_unlock(&p->lock);
}

/* --- life --- */

/* Same user only; no way to ask on tcp, where the run id in HELLO has to do. */
static bool is_ours(nng_stream *stream, int32_t *pid)
{
    uint64_t uid, id;
    *pid = -1;
    if (nng_stream_get_uint64(stream, NNG_OPT_IPC_PEER_PID, &id) == 0) *pid = (int32_t)id;
    int rv = nng_stream_get_uint64(stream, NNG_OPT_IPC_PEER_UID, &uid);
    return rv == NNG_ENOTSUP || (rv == 0 && uid == (uint64_t)geteuid());
}

void link_conn_new(struct link_pipe *p, nng_stream *stream)
{
    struct link_conn *c = calloc(1, sizeof *c);
    if (c == NULL || nng_aio_alloc(&c->rx, on_read, c) != 0 || nng_aio_alloc(&c->tx, on_written, c) != 0)
        abort();
    c->pipe = p;
    c->stream = stream;
    c->began_ns = status_now_ns();
    c->id = ++p->last_id != 0 ? p->last_id : ++p->last_id;
    c->next = p->conns;
    p->conns = c;
    bool ours = is_ours(stream, &c->pid);
    p->strangers += !ours;
    if (!ours || p->shut) {
        link_pipe_lost(p, c);
        return;
    }
    write_greeting(c);
    link_conn_read(c);
}

struct link_conn *link_conn_take_closed(struct link_pipe *p)
{
    for (struct link_conn **at = &p->conns; *at != NULL; at = &(*at)->next) {
        struct link_conn *c = *at;
        if (c->state != CONN_CLOSED || c->reading || c->writing) continue;
        *at = c->next;
        return c;
    }
    return NULL;
}

void link_conn_free(struct link_conn *c)
{
    nng_aio_stop(c->rx);
    nng_aio_stop(c->tx);
    pthread_mutex_lock(&c->pipe->lock); /* the callbacks have left it: what they wrote is seen from here on */
    pthread_mutex_unlock(&c->pipe->lock);
    nng_aio_free(c->rx);
    nng_aio_free(c->tx);
    nng_stream_free(c->stream);
    nng_msg_free(c->msg);
    free_batch(c);
    free(c);
}
