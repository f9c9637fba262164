/* The loop of a stage: pick an input frame, run one op when every forward output has
 * credit, consume.
 *
 * Why nothing deadlocks: forward links form a graph without cycles that ends in sinks, which always consume;
 * feedback edges never push back, for their window is above what can be outstanding. So whoever waits here,
 * waits for someone who can go on.
 *
 * Invariant: a frame is consumed, and its credit given back, only when its op has returned and its outputs
 * are sent; or when a new epoch, or the end, makes it worthless.
 *
 *   RUNNING --all inputs have eof--> LEAVING (eof was sent; feedback is read to its end) --> RESTING
 *
 * By hand a process ends there. A supervised one rests until the supervisor says `finish`, for a new epoch
 * may lead back to RUNNING from anywhere: others are replayed through it. */
#include "graph/wire/stage_io.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { FROM_STDIN = -1, TICK_NS = 500000000 };

struct picked {
    bool active;
    int inlet;
};

typedef enum { LOOP_RUNNING, LOOP_LEAVING, LOOP_RESTING } loop_phase;

struct loop {
    struct stage *st;
    struct stage_io *io;
    struct picked picked;
    loop_phase phase;
    bool stopping; /* nobody wants our output, or a sink has enough */
    bool finished; /* finish() has run */
    uint64_t ticked_ns;
};

/* --- picking --- */

/* A loop's head admits so many streams at a time. */
static bool admits(const struct loop *l, const struct frame *f)
{
    struct stage *st = l->st;
    bool opens = f->kind == FRAME_DATA || f->kind == FRAME_MARK || f->kind == FRAME_END;
    if (!opens || st->open_streams < STAGE_GENERATE_STREAMS || !stage_has_feedback(st)) return true;
    return stage_stream_find(st, f->stream) != NULL;
}

/* AGAIN: nothing now. Frames of a higher epoch stay until it is taken; eof of an older one is nobody's. */
static thea_rc peek_link(struct loop *l, struct stage_inlet *in, const struct frame **out,
                         struct thea_err *err)
{
    uint64_t epoch = l->st->epoch;
    if (in->ln == NULL || (in->done && !stage_supervised(l->st))) return THEA_AGAIN;
    for (;;) {
        thea_rc rc = link_peek(in->ln, out, err);
        in->done = in->done || rc == THEA_DONE;
        if (rc != THEA_OK) return rc == THEA_DONE ? THEA_AGAIN : rc;
        if ((*out)->epoch > epoch && stage_supervised(l->st)) {
            stage_epoch_heard(l->st, (*out)->epoch);
            return THEA_AGAIN;
        }
        bool stale = (*out)->epoch < epoch, eof = (*out)->kind == FRAME_EOF;
        if (!stale && !eof) return THEA_OK;
        in->done = in->done || (eof && !stale && stage_supervised(l->st));
        link_consume(in->ln);
    }
}

static thea_rc pick_link(struct loop *l, size_t i, struct thea_err *err)
{
    struct stage_inlet *in = &l->io->inlets[i];
    const struct frame *f = NULL;
    thea_rc rc = peek_link(l, in, &f, err);
    if (rc != THEA_OK) return rc;
    if (!in->feedback && !admits(l, f)) return THEA_AGAIN;
    l->picked = (struct picked){true, (int)i};
    return stage_take(l->st, UINT32_C(1) << in->port, f, err);
}

static bool stdin_has_bytes(void)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static thea_rc read_stdin(struct loop *l, struct thea_err *err)
{
    struct stage_io *io = l->io;
    bool may_sleep = io->set == NULL && l->st->gathering.count == 0;
    if (!may_sleep && !stdin_has_bytes()) return THEA_AGAIN;
    uint64_t begin = status_now_ns();
    thea_rc rc = frame_read(io->reader, &io->stdin_frame, err);
    atomic_fetch_add_explicit(&l->st->page->starved_ns, status_now_ns() - begin, memory_order_relaxed);
    io->stdin_done = rc == THEA_DONE || (rc == THEA_OK && io->stdin_frame.kind == FRAME_EOF);
    io->stdin_here = rc == THEA_OK && !io->stdin_done;
    return io->stdin_done ? THEA_AGAIN : rc;
}

static thea_rc pick_stdin(struct loop *l, struct thea_err *err)
{
    struct stage_io *io = l->io;
    uint32_t ports;
    if (io->reader == NULL || io->stdin_done) return THEA_AGAIN;
    thea_rc rc = io->stdin_here ? THEA_OK : read_stdin(l, err);
    if (rc != THEA_OK) return rc;
    if (!admits(l, &io->stdin_frame)) return THEA_AGAIN;
    rc = stage_map_frame(&ports, l->st, &io->stdin_frame, err);
    if (rc != THEA_OK) return rc;
    l->picked = (struct picked){true, FROM_STDIN};
    return stage_take(l->st, ports, &io->stdin_frame, err);
}

static bool inputs_done(const struct stage_io *io)
{
    for (size_t i = 0; i < io->inlet_count; i++)
        if (!io->inlets[i].feedback && !io->inlets[i].done) return false; /* closed ones are done */
    return io->reader == NULL || io->stdin_done;
}

/* Every forward input has delivered eof: is that the end? */
static thea_rc after_inputs(const struct loop *l, struct thea_err *err)
{
    if (l->stopping || l->st->open_streams == 0) return THEA_DONE;
    if (stage_has_feedback(l->st) || l->st->gathering.count > 0) return THEA_AGAIN;
    return thea_fail(err, THEA_EFRAME,
                     "the input of %s ended in the middle of %zu document%s: the stage before left %s open",
                     l->st->name, l->st->open_streams, l->st->open_streams > 1 ? "s" : "",
                     l->st->open_streams > 1 ? "them" : "it");
}

/* OK: the core has a frame; AGAIN: none is here; DONE: none will come. */
static thea_rc pick(struct loop *l, struct thea_err *err)
{
    struct stage_io *io = l->io;
    thea_rc rc = THEA_AGAIN;
    for (size_t i = 0; rc == THEA_AGAIN && i < io->inlet_count; i++)
        if (io->inlets[i].feedback) rc = pick_link(l, i, err);
    size_t places = io->inlet_count + 1;
    for (size_t k = 0; rc == THEA_AGAIN && k < places; k++) {
        size_t i = (io->turn + k) % places;
        if (i < io->inlet_count && io->inlets[i].feedback) continue;
        rc = i < io->inlet_count ? pick_link(l, i, err) : pick_stdin(l, err);
        if (rc == THEA_OK) io->turn = i + 1;
    }
    if (rc != THEA_AGAIN) return rc;
    return inputs_done(io) ? after_inputs(l, err) : THEA_AGAIN;
}

static void consume(struct loop *l)
{
    if (l->picked.inlet == FROM_STDIN)
        l->io->stdin_here = false;
    else
        link_consume(l->io->inlets[l->picked.inlet].ln);
    l->picked.active = false;
    l->st->current = (struct stage_current){0};
}

/* --- stopping --- */

static void stop(struct loop *l)
{
    l->stopping = true;
    l->st->closing = NULL;
    stage_streams_drop(l->st);
    if (l->picked.active) consume(l);
    stage_io_stop(l->io);
    if (l->st->enough) stage_tell_enough(l->st);
}

static bool must_stop(const struct loop *l)
{
    if (l->stopping) return false;
    return l->st->enough || l->st->control.finishing || stage_io_stopped(l->io, l->st);
}

/* --- what the supervisor said --- */

static void take_epoch(struct loop *l)
{
    if (l->picked.active) consume(l);
    stage_epoch_take(l->st);
    stage_io_epoch(l->io, l->st);
    l->phase = LOOP_RUNNING;
}

/* Time for the kind's tick: something changed that it may wait for, or a while has passed. */
static thea_rc tick(struct loop *l, struct thea_err *err)
{
    struct stage *st = l->st;
    if (st->ops->tick == NULL) return THEA_OK;
    uint64_t now_ns = status_now_ns();
    if (!st->control.news && now_ns - l->ticked_ns < TICK_NS) return THEA_OK;
    st->control.news = false;
    l->ticked_ns = now_ns;
    return st->ops->tick(st, err);
}

/* Between two ops. */
static thea_rc obey(struct loop *l, struct thea_err *err)
{
    struct stage *st = l->st;
    thea_rc rc = stage_control_hear(st, false, err);
    if (rc == THEA_OK && stage_epoch_due(st)) take_epoch(l);
    if (rc == THEA_OK && st->control.order_count > 0) rc = stage_io_obey(l->io, st, err);
    if (rc == THEA_OK) rc = stage_io_let_go(l->io, st, err);
    if (rc == THEA_OK && !l->picked.active) rc = tick(l, err);
    stage_tell_commits_now_and_then(st);
    return rc;
}

/* --- one turn --- */

/* No input is here, and documents wait to be computed together. What they gave back in credit may bring more
 * in a moment, and while they are computed more can come: so credit goes out first, and a moment is given. */
static thea_rc run_gathered(struct loop *l, bool stdin_open, struct thea_err *err)
{
    bool came = false;
    thea_rc rc = inputs_done(l->io) ? THEA_OK : stage_io_linger(l->io, l->st, stdin_open, &came, err);
    if (rc == THEA_OK && !came && !stage_epoch_due(l->st)) stage_gather_idle(l->st);
    return rc;
}

static thea_rc turn(struct loop *l, struct thea_err *err)
{
    struct stage_io *io = l->io;
    struct status_page *page = l->st->page;
    if (must_stop(l)) stop(l);
    if (!l->picked.active && !stage_gather_due(l->st)) {
        thea_rc rc = pick(l, err);
        bool stdin_open = io->reader != NULL && !io->stdin_done && !io->stdin_here;
        if (rc == THEA_AGAIN && l->st->gathering.count > 0) return run_gathered(l, stdin_open, err);
        if (rc == THEA_AGAIN && (io->set != NULL || !inputs_done(io)))
            rc = stage_epoch_due(l->st) ? THEA_OK
                                        : stage_io_wait(io, l->st, stdin_open, &page->starved_ns, err);
        return rc;
    }
    if (!stage_io_ready(io, l->st)) return stage_io_wait(l->io, l->st, false, &page->blocked_ns, err);
    thea_rc rc = l->picked.active ? stage_step(l->st, err) : stage_gather_step(l->st, err);
    if (rc == THEA_OK && l->picked.active) consume(l);
    if (rc == THEA_OK) l->st->current = (struct stage_current){0};
    return rc == THEA_AGAIN ? THEA_OK : rc;
}

static thea_rc turn_source(struct loop *l, struct thea_err *err)
{
    struct status_page *page = l->st->page;
    if (must_stop(l)) stop(l);
    if (l->stopping) return THEA_DONE;
    l->st->wait_count = 0;
    if (!stage_io_ready(l->io, l->st)) return stage_io_wait(l->io, l->st, false, &page->blocked_ns, err);
    thea_rc rc = stage_source_step(l->st, err);
    if (rc == THEA_AGAIN && l->st->wait_count > 0)
        return stage_io_wait(l->io, l->st, false, &page->starved_ns, err);
    if (rc == THEA_OK) return stage_io_wait(l->io, l->st, false, &page->blocked_ns, err); /* for commits */
    return rc == THEA_AGAIN ? THEA_OK : rc;
}

/* --- the end --- */

static thea_rc leave(struct loop *l, struct thea_err *err)
{
    struct stage *st = l->st;
    thea_rc rc = THEA_OK;
    if (st->ops->finish != NULL && !l->stopping && !l->finished) rc = st->ops->finish(st, err);
    l->finished = true;
    l->phase = LOOP_LEAVING;
    if (rc == THEA_OK) rc = stage_outputs_send_eof(st, err);
    if (rc == THEA_OK && st->ops->outputs != NULL) stage_tell_done(st);
    return rc;
}

/* What the loop's tail sent before its eof, of streams that are gone. */
static thea_rc drain_feedback(struct loop *l, struct thea_err *err)
{
    bool open = false;
    for (size_t i = 0; i < l->io->inlet_count; i++) {
        struct stage_inlet *in = &l->io->inlets[i];
        const struct frame *f;
        thea_rc rc;
        while ((rc = peek_link(l, in, &f, err)) == THEA_OK) link_consume(in->ln);
        if (rc != THEA_AGAIN) return rc;
        open = open || (in->ln != NULL && !in->done);
    }
    if (open)
        return stage_epoch_due(l->st) ? THEA_OK
                                      : stage_io_wait(l->io, l->st, false, &l->st->page->starved_ns, err);
    l->phase = LOOP_RESTING;
    if (l->st->ops->outputs == NULL) stage_tell_done(l->st);
    return THEA_OK;
}

static thea_rc rest(struct loop *l, struct thea_err *err)
{
    const struct frame *f;
    if (!stage_supervised(l->st) || l->st->control.finishing) return THEA_DONE;
    for (size_t i = 0; i < l->io->inlet_count; i++) {
        thea_rc rc = peek_link(l, &l->io->inlets[i], &f, err);
        if (rc != THEA_OK && rc != THEA_AGAIN) return rc;
    }
    return stage_epoch_due(l->st) ? THEA_OK
                                  : stage_io_wait(l->io, l->st, false, &l->st->page->starved_ns, err);
}

static thea_rc advance(struct loop *l, struct thea_err *err)
{
    if (l->phase == LOOP_LEAVING) return drain_feedback(l, err);
    if (l->phase == LOOP_RESTING) return rest(l, err);
    thea_rc rc = l->st->ops->inputs == NULL ? turn_source(l, err) : turn(l, err);
    return rc == THEA_DONE ? leave(l, err) : rc;
}

thea_rc stage_loop(struct stage *st, struct stage_io *io, struct thea_err *err)
{
    struct loop l = {.st = st, .io = io};
    atomic_store_explicit(&st->page->has_input, 1, memory_order_relaxed);
    atomic_store_explicit(&st->page->has_credit, 1, memory_order_relaxed);
    thea_rc rc = stage_control_hear(st, true, err); /* what was said before we were there */
    stage_tell_ready(st);
    atomic_store(&st->page->state, STATUS_RUNNING); /* only now: see find_mute in the supervisor */
    while (rc == THEA_OK || rc == THEA_AGAIN) {
        rc = obey(&l, err);
        if (rc == THEA_OK) rc = advance(&l, err);
    }
    return rc == THEA_DONE ? stage_io_close(io, stage_supervised(st), err) : rc;
}
