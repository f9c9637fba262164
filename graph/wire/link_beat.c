/* Silence: a peer that is stopped, or behind a cut wire, closes nothing. So each end says PING when it has
 * said nothing for a quarter of `silence`, and closes a pipe on which it heard nothing for all of it. All on
 * nng's threads: a stage that computes for a minute is not dead.
 *
 * What was itself stopped (its beat came late by more than half of `silence`), or has paused reading, judges
 * nobody. */
#include "graph/wire/link_impl.h"

#include <stdlib.h>

enum { BEATS = 8, PING_BYTES = 256, GREETING_MS = 10000 };

/* Connections that are of no use: silent, never greeted, or closed by the other side for us alone. */
static void close_useless(struct link_pipe *p, uint64_t now)
{
    for (struct link_conn *c = p->conns; c != NULL; c = c->next) {
        bool never = c->state == CONN_GREETING && now - c->began_ns >= GREETING_MS * LINK_MS;
        bool deaf = c == p->conn && now - p->heard_ns >= p->silence_ns;
        bool broken = c->state == CONN_UP && c->failed_ns != 0 && now - c->failed_ns >= p->silence_ns;
        if (never || deaf || broken) link_pipe_lost(p, c);
    }
}

static void on_beat(void *context)
{
    struct link_pipe *p = context;
    if (nng_aio_result(p->beat) != 0) return; /* stopped */
    pthread_mutex_lock(&p->lock);
    uint64_t now = status_now_ns(); /* with the lock, or what is compared with it may be later */
    bool late = now > p->beat_ns && now - p->beat_ns > p->silence_ns / 2;
    if (late || (p->conn != NULL && !p->conn->reading)) p->heard_ns = now;
    close_useless(p, now);
    if (p->conn != NULL && p->greeted && now - p->spoke_ns >= p->silence_ns / 4 && p->out.count == 0)
        link_pipe_queue(p, &(struct link_message){.kind = LINK_PING, .time_ns = now});
    link_door_next(p);
    p->beat_ns = now + p->silence_ns / BEATS;
    if (!p->shut) nng_sleep_aio((nng_duration)(p->silence_ns / BEATS / LINK_MS) + 1, p->beat);
    pthread_mutex_unlock(&p->lock);
}

int link_beat_start(struct link_pipe *p, int silence_ms)
{
    int rv = nng_aio_alloc(&p->beat, on_beat, p);
    if (rv != 0) return rv;
    p->silence_ns = (uint64_t)silence_ms * LINK_MS;
    p->beat_ns = status_now_ns() + p->silence_ns / BEATS;
    nng_sleep_aio((nng_duration)(p->silence_ns / BEATS / LINK_MS) + 1, p->beat);
    return 0;
}

bool link_beat_took(struct link_pipe *p, const struct link_packet *m)
{
    struct link_message ping;
    if (p->session == 0 || m->size > PING_BYTES) return false;
    const void *bytes = m->bytes;
    if (codec_identify(bytes, m->size) != CODEC_LINK) return false;
    if (codec_decode_link(&ping, bytes, m->size, NULL) != THEA_OK) return false;
    if (ping.kind != LINK_PING && ping.kind != LINK_PONG) return false;
    uint64_t now = status_now_ns();
    if (ping.kind == LINK_PING) {
        p->echo_ns = ping.time_ns != 0 ? ping.time_ns : 1;
        link_conn_write(p->conn);
    } else if (ping.echo_ns <= now) {
        p->rtt_ns = now - ping.echo_ns;
    }
    return true;
}

struct link_packet *link_beat_pong(struct link_pipe *p)
{
    struct link_packet *m;
    if (p->echo_ns == 0) return NULL;
    struct link_message pong = {.kind = LINK_PONG, .time_ns = status_now_ns(), .echo_ns = p->echo_ns};
    p->echo_ns = 0;
    if (link_encode_message(&m, &pong, NULL) != THEA_OK) abort(); /* out of memory */
    return m;
}
