/* Documents that wait to be computed together: end() gathers them, batch() runs some and says which are
 * ready, and end() is called again for each of those, before any other input.
 *
 * Invariant: a gathered stream is on the ready list at most once, and leaves it when its state goes. */
#include "graph/fault.h"
#include "graph/wire/stage_core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- called by ops --- */

void stage_gather(struct stage *st, struct stage_stream *s)
{
    assert(st->ops->batch != NULL);
    assert(st->current.stream == s && st->current.frame->kind == FRAME_END && s->phase == STREAM_OPEN);
    (void)s;
    st->current.gathered = true;
}

bool stage_gathered(const struct stage_stream *s)
{
    return s->phase == STREAM_GATHERED;
}

void stage_ready(struct stage *st, struct stage_stream *s)
{
    struct stage_gathering *g = &st->gathering;
    assert(s->phase == STREAM_GATHERED);
    g->ready = reallocarray(g->ready, g->ready_count + 1, sizeof *g->ready);
    if (g->ready == NULL) abort();
    g->ready[g->ready_count++] = s;
}

void stage_working_with(struct stage *st, const struct stage_stream *s)
{
    for (size_t i = 0; i < STATUS_WORK_MAX; i++) {
        if (atomic_load_explicit(&st->page->work_streams[i], memory_order_relaxed) != 0) continue;
        atomic_store_explicit(&st->page->work_streams[i], s->id + 1, memory_order_relaxed);
        return;
    }
}

/* --- called by the runtime --- */

void stage_gather_add(struct stage *st, struct stage_stream *s)
{
    s->phase = STREAM_GATHERED;
    st->gathering.count++;
    st->gathering.due = true;
}

void stage_gather_remove(struct stage *st, const struct stage_stream *s)
{
    struct stage_gathering *g = &st->gathering;
    if (s->phase != STREAM_GATHERED) return;
    size_t kept = 0;
    for (size_t i = 0; i < g->ready_count; i++)
        if (g->ready[i] != s) g->ready[kept++] = g->ready[i];
    g->ready_count = kept;
    if (--g->count == 0) g->due = g->idle = false;
}

void stage_gather_idle(struct stage *st)
{
    assert(st->gathering.count > 0);
    st->gathering.due = st->gathering.idle = true;
}

bool stage_gather_due(struct stage *st)
{
    struct stage_gathering *g = &st->gathering;
    if (st->closing == NULL && st->current.stream == NULL && g->ready_count > 0) {
        struct stage_stream *s = g->ready[0];
        g->end = (struct frame){.kind = FRAME_END,
                                .stream = s->id,
                                .position = s->position,
                                .epoch = st->epoch,
                                .attempt = s->attempt,
                                .port = ""};
        st->current = (struct stage_current){.frame = &g->end, .stream = s};
    }
    return st->closing != NULL || st->current.stream != NULL || g->due;
}

static void forget_work(struct stage *st)
{
    for (size_t i = 0; i < STATUS_WORK_MAX; i++)
        atomic_store_explicit(&st->page->work_streams[i], 0, memory_order_relaxed);
}

/* The batch may be larger than what crash reports have room for. Nothing is put, so nothing is sent. */
static thea_rc run_batch(struct stage *st, struct thea_err *err)
{
    struct stage_gathering *g = &st->gathering;
    bool idle = g->idle;
    uint64_t begin_ns = stage_op_begin(st);
    g->due = g->idle = false;
    stage_outputs_reset(st);
    thea_rc rc = st->ops->batch(st, idle, err);
    thea_fault("stage.batch");
    if (rc != THEA_OK) return rc; /* the stage ends; those that it worked with are accused */
    assert(!idle || g->ready_count > 0);
    forget_work(st);
    if (g->ready_count > 0) stage_op_end(st, begin_ns, NULL, NULL);
    return THEA_OK;
}

static thea_rc run_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    uint64_t begin_ns = stage_op_begin(st);
    stage_outputs_reset(st);
    thea_rc rc = st->ops->end(st, s, err);
    assert(rc != THEA_DONE);
    bool again = rc == THEA_AGAIN;
    rc = stage_after_op(st, s, rc, err);
    stage_op_end(st, begin_ns, s, st->current.frame);
    if (rc != THEA_OK && rc != THEA_AGAIN) {
        stage_note_stream(st, s->id);
        return rc;
    }
    if (again && st->closing == NULL) return THEA_AGAIN;
    if (st->closing == NULL) stage_finish(st, s);
    return stage_close_stream(st, err);
}

thea_rc stage_gather_step(struct stage *st, struct thea_err *err)
{
    st->sent = false;
    if (st->closing != NULL) return stage_outputs_send_last(st, err);
    if (st->current.stream != NULL) return run_end(st, st->current.stream, err);
    return st->gathering.due ? run_batch(st, err) : THEA_OK;
}

void stage_gather_fini(struct stage *st)
{
    free(st->gathering.ready);
    st->gathering = (struct stage_gathering){0};
}
