/* Silence: a peer that is stopped, or behind a cut wire, closes nothing. So each end says PING when it has
 * said nothing for a quarter of `silence`, and closes a pipe on which it heard nothing for all of it. All on
 * nng's threads: a stage that computes for a minute is not dead.
 *
 * What was itself stopped (its beat came late by more than half of `silence`), or has paused reading, judges
 * nobody. */
#include "graph/wire/link_impl.h"

#include <stdlib.h>

enum { BEATS = 8, PING_BYTES = 256 };

static void on_beat(void *context)
{
    struct link_pipe *p = context;
    if (nng_aio_result(p->beat) != 0) return; /* stopped */
    uint64_t now = status_now_ns();
    uint32_t drop = 0;
    pthread_mutex_lock(&p->lock);
    bool late = now > p->beat_ns && now - p->beat_ns > p->silence_ns / 2;
    if (late || !p->receiving) p->heard_ns = now;
    bool deaf = p->current != 0 && now - p->heard_ns >= p->silence_ns;
    if (deaf)
        drop = p->current;
    else if (p->current != 0 && p->greeted && now - p->spoke_ns >= p->silence_ns / 4 && p->out.count == 0)
        link_pipe_queue(p, &(struct link_message){.kind = LINK_PING, .time_ns = now});
    p->beat_ns = now + p->silence_ns / BEATS;
    bool again = !p->shut;
    pthread_mutex_unlock(&p->lock);
    link_pipe_drop(drop);
    if (again) nng_sleep_aio((nng_duration)(p->silence_ns / BEATS / LINK_MS) + 1, p->beat);
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

bool link_beat_took(struct link_pipe *p, nng_msg *m)
{
    struct link_message ping;
    if (p->session == 0 || (uint32_t)nng_msg_get_pipe(m).id != p->session) return false;
    if (nng_msg_len(m) > PING_BYTES || codec_identify(nng_msg_body(m), nng_msg_len(m)) != CODEC_LINK)
        return false;
    if (codec_decode_link(&ping, nng_msg_body(m), nng_msg_len(m), NULL) != THEA_OK) return false;
    if (ping.kind != LINK_PING && ping.kind != LINK_PONG) return false;
    uint64_t now = status_now_ns();
    if (ping.kind == LINK_PING) {
        p->echo_ns = ping.time_ns != 0 ? ping.time_ns : 1;
        link_pipe_send_next(p);
    } else if (ping.echo_ns <= now) {
        p->rtt_ns = now - ping.echo_ns;
    }
    nng_msg_free(m);
    return true;
}

void link_beat_pong(struct link_pipe *p)
{
    struct link_message pong = {.kind = LINK_PONG, .time_ns = status_now_ns(), .echo_ns = p->echo_ns};
    p->echo_ns = 0;
    nng_msg *m;
    if (link_encode_message(&m, &pong, NULL) != THEA_OK) abort(); /* out of memory */
    link_queue_push(&p->out, m);
}
