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

enum { SMALL_BYTES = 4096 };

static const unsigned char greeting[LINK_GREETING_BYTES] = {0, 'S', 'P', 0, 0, 16, 0, 0};

/* --- reading --- */

static void set_iov(nng_aio *aio, nng_iov *iov, unsigned n)
{
    if (nng_aio_set_iov(aio, n, iov) != 0) abort(); /* more than its 8 */
}

/* Small packets come many at a time; behind a large one no more than a head is read, for what is read too
 * early is copied. */
void link_conn_read(struct link_conn *c)
{
    nng_iov iov[2];
    unsigned n = 0;
    if (c->reading || !link_pipe_may_read(c)) return;
    size_t missing = c->packet != NULL ? c->packet->size - c->packet_got : 0;
    size_t room = missing < LINK_READ_BYTES ? LINK_READ_BYTES - c->in_got : c->pipe->head_size;
    if (missing > 0) iov[n++] = (nng_iov){c->packet->bytes + c->packet_got, missing};
    iov[n++] = (nng_iov){c->in + c->in_got, room};
    set_iov(c->rx, iov, n);
    c->reading = true;
    nng_stream_recv(c->stream, c->rx);
}

static void end_packet(struct link_conn *c)
{
    struct link_packet *p = c->packet;
    c->packet = NULL;
    link_pipe_received(c, p);
}

/* The packet whose head this is. False: that is no head. */
static bool begin_packet(struct link_conn *c, const unsigned char *head)
{
    uint64_t length;
    memcpy(&length, head + c->pipe->head_size - sizeof length, sizeof length);
    length = be64toh(length);
    bool typed = c->pipe->head_size == LINK_HEAD_MAX;
    if ((typed && head[0] != 1) || length > FRAME_MAX_BYTES) return false;
    c->packet_got = 0;
    c->packet = link_packet_new(length);
    return c->packet != NULL;
}

/* The bytes that the open packet still needs, of the n that are at `from`. Returns how many it took. */
static size_t fill_packet(struct link_conn *c, const unsigned char *from, size_t n)
{
    size_t missing = c->packet->size - c->packet_got, taken = n < missing ? n : missing;
    if (taken > 0 && from != NULL) memcpy(c->packet->bytes + c->packet_got, from, taken);
    c->packet_got += taken;
    if (taken == missing) end_packet(c);
    return taken;
}

/* The other side's first bytes. */
static bool greeted(struct link_conn *c, const unsigned char *bytes)
{
    if (memcmp(bytes, greeting, sizeof greeting) != 0) return false;
    c->state = CONN_UP;
    link_pipe_up(c->pipe, c);
    return true;
}

/* What is in `in`, up to the beginning of a head at its end. False: not our protocol. */
static bool take_in(struct link_conn *c)
{
    size_t at = 0;
    bool good = true;
    if (c->state == CONN_GREETING && c->in_got >= LINK_GREETING_BYTES) {
        good = greeted(c, c->in);
        at = LINK_GREETING_BYTES;
    }
    while (good && c->state == CONN_UP && c->in_got - at >= c->pipe->head_size) {
        good = begin_packet(c, c->in + at);
        at += c->pipe->head_size;
        if (good) at += fill_packet(c, c->in + at, c->in_got - at);
    }
    memmove(c->in, c->in + at, c->in_got - at);
    c->in_got -= at;
    return good;
}

/* n bytes more were read, in the order of link_conn_read. */
static bool take_bytes(struct link_conn *c, size_t n)
{
    if (c->packet != NULL) n -= fill_packet(c, NULL, n);
    c->in_got += n;
    return take_in(c);
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

static void end_batch(struct link_conn *c)
{
    for (unsigned i = 0; i < c->large_count; i++) link_packet_free(c->large[i]);
    c->large_count = c->part_count = c->first_part = 0;
    c->out_used = 0;
}

static void add_part(struct link_conn *c, unsigned char *bytes, size_t size)
{
    nng_iov *last = c->part_count > 0 ? &c->parts[c->part_count - 1] : NULL;
    if (last != NULL && (unsigned char *)last->iov_buf + last->iov_len == bytes)
        last->iov_len += size;
    else
        c->parts[c->part_count++] = (nng_iov){bytes, size};
}

static void add_copy(struct link_conn *c, const void *bytes, size_t size)
{
    unsigned char *to = c->out + c->out_used;
    memcpy(to, bytes, size);
    c->out_used += size;
    add_part(c, to, size);
}

/* Takes over p. A small one is copied: one system call, and one wake-up of the other side, for many. */
static void add_packet(struct link_conn *c, struct link_packet *p)
{
    unsigned char head[LINK_HEAD_MAX] = {1};
    size_t head_size = c->pipe->head_size;
    uint64_t length = htobe64(p->size);
    memcpy(head + head_size - sizeof length, &length, sizeof length);
    add_copy(c, head, head_size);
    if (p->size <= SMALL_BYTES) {
        add_copy(c, p->bytes, p->size);
        link_packet_free(p);
    } else {
        add_part(c, p->bytes, p->size);
        c->large[c->large_count++] = p;
    }
}

static void take_batch(struct link_conn *c)
{
    while (c->large_count < LINK_WRITE_LARGE && c->part_count + 2 <= LINK_WRITE_PARTS &&
           c->out_used + LINK_HEAD_MAX + SMALL_BYTES <= LINK_WRITE_BYTES) {
        struct link_packet *p = link_pipe_next(c);
        if (p == NULL) return;
        add_packet(c, p);
    }
}

void link_conn_write(struct link_conn *c)
{
    if (c->writing || c->state != CONN_UP || c->failed_ns != 0) return;
    if (c->part_count == 0) take_batch(c);
    if (c->part_count == 0) return;
    set_iov(c->tx, c->parts + c->first_part, c->part_count - c->first_part);
    c->writing = true;
    nng_stream_send(c->stream, c->tx);
}

/* n bytes more of the batch are written. */
static void advance(struct link_conn *c, size_t n)
{
    while (c->first_part < c->part_count && n >= c->parts[c->first_part].iov_len)
        n -= c->parts[c->first_part++].iov_len;
    if (c->first_part == c->part_count) {
        end_batch(c);
        return;
    }
    nng_iov *p = &c->parts[c->first_part];
    p->iov_buf = (unsigned char *)p->iov_buf + n;
    p->iov_len -= n;
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
    if (failed)
        end_batch(c);
    else if (c->part_count > 0)
        advance(c, nng_aio_count(c->tx));
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
    link_packet_free(c->packet);
    end_batch(c);
    free(c);
}
