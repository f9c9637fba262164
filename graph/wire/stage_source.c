/* A source's op: streams begin, go out frame by frame, and end. Without a supervisor one after the other;
 * with one, stage_replay.c says which.
 *
 * Invariant: a stream that was started ends with `end` or an error frame, or is begun again with a higher
 * attempt or epoch. */
#include "graph/wire/stage_core.h"

#include <assert.h>
#include <inttypes.h>

struct stage_stream *stage_start(struct stage *st, uint64_t index)
{
    assert(st->source_stream == NULL && st->closing == NULL); /* one stream at a time */
    assert(!stage_supervised(st) || index == st->replay.aim); /* a mistake of the kind's seek */
    struct stage_stream *s = stage_stream_new(st, (uint64_t)st->command.source << STAGE_SOURCE_SHIFT | index);
    s->trace_id = (s->id + 1) * UINT64_C(0x9E3779B97F4A7C15);
    s->begun = true;
    st->source_stream = s;
    stage_note_stream(st, s->id); /* its op is running */
    if (stage_supervised(st)) stage_replay_start(st, s);
    return s;
}

/* A source that stops in the middle of a stream leaves no half document behind. */
static void break_off(struct stage *st)
{
    struct stage_stream *s = st->source_stream;
    if (s == NULL || st->closing != NULL) return;
    if (stage_supervised(st)) {
        s->cancelled = true; /* it stays for a resume */
        stage_put_int(st, s, "cancelled", 1);
        stage_replay_cancel(st, s->id);
    }
    stage_fail_stream(st, s, "the run was stopped in the middle of it");
}

/* In the place of what the source has just begun: the frame that gives the stream up, with its name. */
static void set_aside(struct stage *st, struct stage_stream *s)
{
    const struct stage_try *t = stage_replay_try(st, s->id);
    stage_outputs_reset(st);
    stage_put_int(st, s, "aside", 1);
    stage_put_int(st, s, "tries", t->tries);
    stage_fail_stream(st, s, t->aside);
    stage_replay_lost(st);
}

/* The source dies on what comes next, so it is given up without being looked at. */
static void pass_over(struct stage *st)
{
    uint64_t begin_ns = stage_op_begin(st);
    struct stage_stream *s = stage_start(st, st->replay.aim);
    s->created_ns = status_now_ns();
    set_aside(st, s);
    stage_op_end(st, begin_ns, s, NULL);
}

void stage_wait_fd(struct stage *st, int fd)
{
    assert(st->wait_count < STAGE_WAITS_MAX);
    st->waits[st->wait_count++] = fd;
}

/* Is there a stream to send? As stage_source_step. */
static thea_rc choose(struct stage *st, struct thea_err *err)
{
    if (st->source_stream != NULL) return THEA_OK;
    if (stage_supervised(st)) return stage_replay_next(st, err);
    return st->source_done || stage_draining(st) ? THEA_DONE : THEA_OK;
}

static thea_rc run_source(struct stage *st, struct thea_err *err)
{
    if (st->source_stream != NULL) st->source_stream->created_ns = status_now_ns();
    uint64_t begin_ns = stage_op_begin(st);
    if (st->source_stream == NULL && stage_supervised(st)) stage_note_stream(st, stage_replay_aim(st));
    stage_outputs_reset(st);
    thea_rc rc = st->ops->source(st, err);
    struct stage_stream *s = st->source_stream;
    if (s != NULL && s->created_ns == 0) s->created_ns = status_now_ns();
    if (s != NULL && s->aside && (rc == THEA_OK || rc == THEA_AGAIN || rc == THEA_EDOC)) {
        set_aside(st, s);
        rc = THEA_OK;
    }
    rc = stage_after_op(st, s, rc, err);
    stage_op_end(st, begin_ns, s, NULL);
    bool ends = rc != THEA_OK && rc != THEA_AGAIN && rc != THEA_DONE;
    if (ends && stage_supervised(st)) stage_note_stream(st, stage_replay_aim(st)); /* it is accused */
    return rc;
}

static void abandon(struct stage *st)
{
    st->replay.abandon = false;
    if (st->source_stream == NULL) return;
    stage_stream_again(st, st->source_stream);
    stage_replay_lost(st);
}

thea_rc stage_source_step(struct stage *st, struct thea_err *err)
{
    st->sent = false;
    st->wait_count = 0;
    if (st->replay.abandon) abandon(st);
    if (st->closing != NULL) {
        thea_rc sent = stage_outputs_send_last(st, err);
        return sent != THEA_OK ? sent : THEA_AGAIN;
    }
    thea_rc rc = choose(st, err);
    if (rc != THEA_OK) return rc == THEA_AGAIN ? THEA_OK : rc;
    if (st->source_stream == NULL && stage_supervised(st) && stage_replay_unread(st))
        pass_over(st);
    else
        rc = run_source(st, err);
    if (rc != THEA_OK && rc != THEA_AGAIN && rc != THEA_DONE) return rc;
    atomic_fetch_add_explicit(&st->page->progress, 1, memory_order_relaxed);
    if (rc == THEA_DONE) {
        st->source_done = true;
        break_off(st);
        rc = stage_supervised(st) ? stage_replay_end(st, err) : THEA_OK;
        if (rc != THEA_OK) return rc;
    }
    if (rc != THEA_AGAIN || st->sent || st->closing != NULL) st->wait_count = 0;
    rc = st->closing != NULL ? stage_close_stream(st, err) : THEA_AGAIN;
    return rc == THEA_OK ? THEA_AGAIN : rc;
}
