/* The loop of a stage: pick an input frame, run one op when every forward output has
 * credit, consume.
 *
 * Why nothing deadlocks: forward links form a graph without cycles that ends in sinks, which always consume;
 * feedback edges never push back, for their window is above what can be outstanding. So whoever waits here,
 * waits for someone who can go on.
 *
 * Invariant: a frame is consumed, and its credit given back, only when its op has returned and its outputs
 * are sent. */
#include "graph/wire/stage_io.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { FROM_STDIN = -1 };

struct picked {
    bool active;
    int inlet;
};

struct loop {
    struct stage *st;
    struct stage_io *io;
    struct picked picked;
    bool stopping; /* nobody wants our output, or a sink has enough */
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

static thea_rc pick_link(struct loop *l, size_t i, struct thea_err *err)
{
    struct stage_inlet *in = &l->io->inlets[i];
    const struct frame *f = NULL;
    if (in->done) return THEA_AGAIN;
    thea_rc rc = link_peek(in->ln, &f, err);
    while (rc == THEA_OK && f->kind == FRAME_EOF) {
        link_consume(in->ln);
        rc = link_peek(in->ln, &f, err);
    }
    in->done = rc == THEA_DONE;
    if (rc != THEA_OK) return rc == THEA_DONE ? THEA_AGAIN : rc;
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
    if (io->set != NULL && !stdin_has_bytes()) return THEA_AGAIN;
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
        if (!io->inlets[i].feedback && !io->inlets[i].done) return false;
    return io->reader == NULL || io->stdin_done;
}

/* Every forward input has delivered eof: is that the end? */
static thea_rc after_inputs(const struct loop *l, struct thea_err *err)
{
    if (l->stopping || l->st->open_streams == 0) return THEA_DONE;
    if (stage_has_feedback(l->st)) return THEA_AGAIN;
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
}

static bool must_stop(const struct loop *l)
{
    return !l->stopping && (l->st->enough || stage_io_stopped(l->io, l->st));
}

/* --- the two loops --- */

static thea_rc turn(struct loop *l, struct thea_err *err)
{
    struct stage_io *io = l->io;
    struct status_page *page = l->st->page;
    if (must_stop(l)) stop(l);
    if (!l->picked.active) {
        thea_rc rc = pick(l, err);
        bool stdin_open = io->reader != NULL && !io->stdin_done && !io->stdin_here;
        if (rc == THEA_AGAIN && (io->set != NULL || !inputs_done(io)))
            rc = stage_io_wait(io, stdin_open, &page->starved_ns, err);
        return rc;
    }
    if (!stage_io_ready(io, l->st)) return stage_io_wait(io, false, &page->blocked_ns, err);
    thea_rc rc = stage_step(l->st, err);
    if (rc == THEA_OK) consume(l);
    return rc == THEA_AGAIN ? THEA_OK : rc;
}

static thea_rc turn_source(struct loop *l, struct thea_err *err)
{
    if (must_stop(l)) stop(l);
    if (l->stopping) return THEA_DONE;
    if (!stage_io_ready(l->io, l->st)) return stage_io_wait(l->io, false, &l->st->page->blocked_ns, err);
    thea_rc rc = stage_source_step(l->st, err);
    return rc == THEA_AGAIN ? THEA_OK : rc;
}

/* What the loop's tail sent before its eof, of streams that are gone. */
static thea_rc drain_feedback(struct loop *l, struct thea_err *err)
{
    struct stage_io *io = l->io;
    for (size_t i = 0; i < io->inlet_count; i++) {
        struct stage_inlet *in = &io->inlets[i];
        while (!in->done) {
            const struct frame *f;
            thea_rc rc = link_peek(in->ln, &f, err);
            in->done = rc == THEA_DONE;
            if (rc == THEA_OK)
                link_consume(in->ln);
            else if (rc == THEA_AGAIN)
                rc = stage_io_wait(io, false, &l->st->page->starved_ns, err);
            if (rc != THEA_OK && rc != THEA_DONE) return rc;
        }
    }
    return THEA_OK;
}

thea_rc stage_loop(struct stage *st, struct stage_io *io, struct thea_err *err)
{
    struct loop l = {.st = st, .io = io};
    thea_rc rc;
    do rc = st->ops->inputs == NULL ? turn_source(&l, err) : turn(&l, err);
    while (rc == THEA_OK || rc == THEA_AGAIN);
    if (rc != THEA_DONE) return rc;
    rc = st->ops->finish != NULL && !l.stopping ? st->ops->finish(st, err) : THEA_OK;
    if (rc == THEA_OK) rc = stage_outputs_send_eof(st, err);
    if (rc == THEA_OK) rc = drain_feedback(&l, err);
    return rc == THEA_OK ? stage_io_close(io, err) : rc;
}
