/* One input frame, one op: the states of a stream, and what follows each kind of frame.
 *
 *   data, mark ─> begin (once), frame (again while AGAIN)
 *   end        ─> when it came on all forward inputs, or by feedback: end (again while AGAIN), then `end`
 * goes out; or the stream is held error      ─> failed, then the error frame goes out An op that fails with
 * THEA_EDOC, or finishes its stream, makes the stream OVER: what still comes of it is dropped until its end.
 *
 * Invariant: a stream ends on every output with exactly one end or error frame. */
#include "graph/wire/stage_core.h"
#include "graph/wire/stage_tap.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static uint32_t feedback_ports(const struct stage *st)
{
    uint32_t ports = 0;
    for (int i = 0; i < st->in_count; i++)
        ports |= (uint32_t)((st->in[i].port->flags & STAGE_FEEDBACK) != 0) << i;
    return ports;
}

/* --- taking a frame --- */

static void note_work(struct stage *st, const struct stage_stream *s, const struct frame *in)
{
    const char *id = stage_stream_text(s, "id", NULL);
    char number[32];
    snprintf(number, sizeof number, "stream %" PRIu64, s->id);
    if (id == NULL) id = number;
    if (in->kind == FRAME_END)
        stage_working_on(st, "%s, its end", id);
    else if (s->position > in->position)
        stage_working_on(st, "%s, positions %" PRIu64 "-%" PRIu64, id, in->position, s->position - 1);
    else
        stage_working_on(st, "%s, position %" PRIu64, id, in->position);
}

/* Rows of the port's own tensor: how far the stream has come. */
static uint64_t rows_of(const struct stage *st, uint32_t ports, const struct frame *in)
{
    for (size_t t = 0; t < in->tensor_count; t++)
        for (int i = 0; i < st->in_count; i++)
            if ((ports >> i & 1) != 0 && stage_port_takes(st->in[i].port, in->tensors[t].name))
                return in->tensors[t].rank > 0 && (st->in[i].shape[0] == 'n' || st->in[i].shape[0] == '*')
                           ? in->tensors[t].shape[0]
                           : 1;
    return 0;
}

/* The stream that a frame belongs to; NULL: it is dropped. That happens to what comes back of a stream that
 * is gone, to lower attempts than one that is here, and to what a sink has committed already. */
static struct stage_stream *stream_for(struct stage *st, uint32_t ports, const struct frame *in)
{
    struct stage_stream *s = stage_stream_find(st, in->stream);
    if (s != NULL && in->attempt < s->attempt) return NULL;
    if (s != NULL && in->attempt > s->attempt) {
        stage_stream_again(st, s);
        s = NULL;
    }
    if (s != NULL || (ports & ~feedback_ports(st)) == 0) return s;
    if (st->ops->outputs == NULL && stage_committed(st, in->stream)) return NULL;
    s = stage_stream_new(st, in->stream);
    s->trace_id = in->trace_id;
    s->attempt = in->attempt;
    s->origin = stage_has_feedback(st) ? (uint32_t)st->command.replica + 1 : in->origin;
    return s;
}

/* Frames of a stream that is over: count its ends, so that it can be forgotten. */
static void pass_over(struct stage *st, struct stage_stream *s, uint32_t ports, const struct frame *in)
{
    if (in->kind == FRAME_END || in->kind == FRAME_ERROR) s->ended |= ports;
    if (stage_stream_complete(st, s)) stage_stream_forget(st, s);
}

/* An edge may join ports of different names (`from: {final: center.centered}`). The sender's port names the
 * frame and its main tensor: an op finds that tensor under the name that its own port's table says. */
static void rename_main_tensor(const struct stage *st, uint32_t ports, const struct frame *in)
{
    if (ports == 0 || (ports & (ports - 1)) != 0) return;
    const struct stage_port *port = st->in[__builtin_ctz(ports)].port;
    const char *name = port->tensor != NULL ? port->tensor : port->name;
    struct tensor *sent = NULL;
    for (size_t t = 0; t < in->tensor_count; t++) {
        if (stage_port_takes(port, in->tensors[t].name)) return;
        if (strcmp(in->tensors[t].name, in->port) == 0) sent = &in->tensors[t];
    }
    if (sent != NULL && strchr(name, '*') == NULL) sent->name = name;
}

thea_rc stage_take(struct stage *st, uint32_t ports, const struct frame *in, struct thea_err *err)
{
    st->current = (struct stage_current){.frame = in, .ports = ports, .todo = ports};
    atomic_fetch_add_explicit(&st->page->progress, 1, memory_order_relaxed);
    if (in->kind == FRAME_EOF || in->kind == FRAME_CANCEL || in->kind == FRAME_GRAD) return THEA_OK;
    rename_main_tensor(st, ports, in);
    thea_rc rc = stage_check_frame(st, ports, in, err);
    if (rc != THEA_OK) return rc;
    atomic_fetch_add_explicit(&st->page->frames_in, 1, memory_order_relaxed);
    stage_tap_in(st, ports, in);
    struct stage_stream *s = stream_for(st, ports, in);
    if (s == NULL) return THEA_OK;
    if (s->phase == STREAM_OVER) {
        pass_over(st, s, ports, in);
        return THEA_OK;
    }
    if (s->phase == STREAM_GATHERED)
        return thea_fail(err, THEA_EFRAME, "input of %s: a frame of stream %" PRIu64 " came after its end",
                         st->name, s->id);
    st->current.stream = s;
    st->current.owed = st->ops->aggregates ? 0 : stage_connected_outs(st);
    s->created_ns = in->created_ns;
    uint64_t reached = in->position + rows_of(st, ports, in);
    if (reached > s->position) s->position = reached;
    note_work(st, s, in);
    return stage_stream_merge(st, s, in, err) == THEA_OK ? THEA_OK
                                                         : thea_fail_prefix(err, "input of %s", st->name);
}

/* --- ops --- */

static void close_with_error(struct stage *st, struct stage_stream *s)
{
    st->closing = s;
    st->closing_kind = FRAME_ERROR;
    st->current.owed = 0;
    /* A supervisor has it sent again, or given up: in an attempt of its own. */
    s->again = stage_supervised(st) && !s->aside;
}

/* A sink that does not report by itself: nothing is dropped without a word. With a supervisor that has the
 * word. */
static void report(struct stage *st, const struct stage_stream *s)
{
    if (st->ops->outputs != NULL || s->cancelled) return;
    if (stage_supervised(st) && !s->aside)
        stage_tell_failed(st, s);
    else
        thea_warning("%s: %s", stage_stream_text(s, "id", "a document"),
                     stage_stream_text(s, "error", "failed in an earlier stage"));
}

void stage_fail_stream(struct stage *st, struct stage_stream *s, const char *reason)
{
    stage_outputs_reset(st);
    stage_put_text(st, s, "error", reason);
    stage_put_text(st, s, "failed_in", st->name);
    report(st, s);
    close_with_error(st, s);
}

thea_rc stage_after_op(struct stage *st, struct stage_stream *s, thea_rc rc, struct thea_err *err)
{
    if (rc == THEA_OK || rc == THEA_AGAIN || rc == THEA_DONE) {
        thea_rc sent = stage_outputs_send(st, err);
        if (sent != THEA_OK) rc = sent;
    }
    if (rc != THEA_EDOC || s == NULL) return rc;
    stage_fail_stream(st, s, thea_err_message(err));
    return THEA_OK;
}

static thea_rc begin(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    if (s->begun) return THEA_OK;
    s->begun = true;
    return st->ops->begin != NULL ? st->ops->begin(st, s, st->current.frame, err) : THEA_OK;
}

static int first_port(uint32_t ports)
{
    return __builtin_ctz(ports);
}

static thea_rc step_frame(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct stage_current *c = &st->current;
    int port = first_port(c->todo);
    thea_rc rc = begin(st, s, err);
    if (rc == THEA_OK && st->ops->frame != NULL) rc = st->ops->frame(st, s, port, c->frame, err);
    assert(rc != THEA_DONE);
    bool again = rc == THEA_AGAIN;
    rc = stage_after_op(st, s, rc, err);
    if (rc != THEA_OK && rc != THEA_AGAIN) return rc;
    if (!again) c->todo &= ~(UINT32_C(1) << port);
    return c->todo != 0 ? THEA_AGAIN : THEA_OK;
}

static thea_rc step_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct stage_current *c = &st->current;
    bool by_feedback = (c->ports & feedback_ports(st)) != 0;
    s->ended |= c->ports;
    if (!by_feedback && (s->phase == STREAM_HELD || !stage_stream_complete(st, s))) return THEA_OK;
    thea_rc rc = begin(st, s, err);
    if (rc == THEA_OK && st->ops->end != NULL) rc = st->ops->end(st, s, err);
    assert(rc != THEA_DONE);
    bool again = rc == THEA_AGAIN;
    rc = stage_after_op(st, s, rc, err);
    if (again || (rc != THEA_OK && rc != THEA_AGAIN)) return rc;
    if (c->held && st->closing == NULL)
        s->phase = STREAM_HELD;
    else if (c->gathered && st->closing == NULL)
        stage_gather_add(st, s);
    else if (st->closing == NULL)
        stage_finish(st, s);
    return THEA_OK;
}

static thea_rc step_error(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    bool sink = st->ops->outputs == NULL;
    s->ended |= st->current.ports;
    s->aside = stage_stream_int(s, "aside", 0) != 0;
    s->cancelled = stage_stream_int(s, "cancelled", 0) != 0;
    if (sink && s->aside && stage_supervised(st)) ranges_add(&st->control.aside, s->id, s->id);
    bool told = sink && stage_supervised(st) && !s->aside; /* and comes again */
    thea_rc rc = THEA_OK;
    if (st->ops->failed != NULL && !told && !s->cancelled)
        rc = st->ops->failed(st, s, st->current.frame, err);
    else
        report(st, s);
    stage_outputs_reset(st);
    if (rc != THEA_OK && rc != THEA_EDOC) return rc;
    close_with_error(st, s);
    return THEA_OK;
}

static thea_rc run_op(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    switch (st->current.frame->kind) {
    case FRAME_DATA:
    case FRAME_MARK: return step_frame(st, s, err);
    case FRAME_END: return step_end(st, s, err);
    case FRAME_ERROR: return step_error(st, s, err);
    default: return THEA_OK;
    }
}

thea_rc stage_close_stream(struct stage *st, struct thea_err *err)
{
    return st->sent ? THEA_AGAIN : stage_outputs_send_last(st, err);
}

thea_rc stage_step(struct stage *st, struct thea_err *err)
{
    struct stage_stream *s = st->current.stream;
    st->sent = false;
    if (st->closing != NULL) return stage_outputs_send_last(st, err);
    if (s == NULL) return THEA_OK;
    uint64_t begin_ns = stage_op_begin(st);
    stage_outputs_reset(st);
    thea_rc rc = run_op(st, s, err);
    stage_op_end(st, begin_ns, s, st->current.frame);
    if (rc != THEA_OK && rc != THEA_AGAIN) {
        stage_note_stream(st, s->id); /* the stage ends of it: the document is accused */
        return rc;
    }
    if (st->closing != NULL)
        return stage_close_stream(st, err); /* whatever was left of its frame is dropped */
    if (rc == THEA_OK && stage_carry_add(st, err) != THEA_OK) {
        stage_fail_stream(st, s, thea_err_message(err));
        return stage_close_stream(st, err);
    }
    return rc;
}

void stage_hold(struct stage *st, struct stage_stream *s)
{
    assert(st->current.stream == s && st->current.frame->kind == FRAME_END);
    assert(stage_has_feedback(st)); /* or the stream would stay for ever */
    st->current.held = true;
}
