/* What ops put, made into frames: the op's tensors, what passes by, attributes not yet sent.
 *
 * Invariant: one op makes at most one frame a port; a stream's frames on a port are numbered without a gap.
 */
#include "graph/wire/stage_core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_ALIGNMENT = 64 };

void stage_outputs_reset(struct stage *st)
{
    uint64_t shared = 0;
    for (int i = 0; i < st->out_count; i++) {
        struct stage_out *o = &st->out[i];
        o->stream = NULL;
        o->kind_set = o->position_set = false;
        o->tensor_count = 0;
        o->buffer_used = 0;
        if (o->regions == NULL) continue;
        region_port_done(o->regions);
        shared += region_port_bytes(o->regions);
    }
    atomic_store_explicit(&st->page->pool_bytes, shared, memory_order_relaxed);
}

void stage_out_fini(struct stage_out *o)
{
    for (size_t i = 0; i < o->buffer_count; i++) free(o->buffers[i].data);
    free(o->buffers);
    free(o->tensors);
    free(o->shape);
    region_port_free(o->regions);
}

/* --- called by ops --- */

static struct stage_out *out_of(struct stage *st, int port)
{
    assert(port >= 0 && port < st->out_count);
    return &st->out[port];
}

void *stage_buffer(struct stage *st, int port, size_t bytes)
{
    struct stage_out *o = out_of(st, port);
    void *shared = o->regions != NULL ? region_port_buffer(o->regions, bytes) : NULL;
    if (shared != NULL) return shared;
    if (o->buffer_used == o->buffer_count) {
        o->buffers = realloc(o->buffers, (o->buffer_count + 1) * sizeof *o->buffers);
        if (o->buffers == NULL) abort();
        o->buffers[o->buffer_count++] = (struct stage_memory){0};
    }
    struct stage_memory *m = &o->buffers[o->buffer_used++];
    if (m->size < bytes || m->data == NULL) {
        size_t size = (bytes + BUFFER_ALIGNMENT) & ~(size_t)(BUFFER_ALIGNMENT - 1);
        free(m->data);
        m->data = aligned_alloc(BUFFER_ALIGNMENT, size);
        if (m->data == NULL) abort();
        m->size = size;
    }
    return m->data;
}

static void begin_frame(struct stage_out *o, struct stage_stream *s)
{
    assert(s != NULL && s->state != NULL);
    assert(o->stream == NULL || o->stream == s); /* one frame a port and op */
    o->stream = s;
}

void stage_put(struct stage *st, struct stage_stream *s, int port, const struct tensor *t)
{
    struct stage_out *o = out_of(st, port);
    if (!o->connected) return;
    begin_frame(o, s);
    assert(o->tensor_count < FRAME_TENSORS_MAX);
    o->tensors[o->tensor_count++] = *t;
}

void stage_put_position(struct stage *st, int port, uint64_t position)
{
    struct stage_out *o = out_of(st, port);
    o->position = position;
    o->position_set = true;
}

void stage_put_kind(struct stage *st, int port, frame_kind kind)
{
    struct stage_out *o = out_of(st, port);
    struct stage_stream *s = st->current.stream != NULL ? st->current.stream : st->source_stream;
    if (!o->connected) return;
    if (o->stream == NULL) begin_frame(o, s);
    o->kind = kind;
    o->kind_set = true;
}

void stage_finish(struct stage *st, struct stage_stream *s)
{
    assert(s->phase != STREAM_OVER);
    assert(st->closing == NULL || st->closing == s);
    st->closing = s;
    st->closing_kind = FRAME_END;
}

/* --- frames --- */

static size_t take_attrs(struct stage_out *o, struct stage_stream *s, int port)
{
    size_t n = 0;
    for (size_t i = 0; i < s->attr_count; i++) {
        struct stage_attr *a = &s->attrs[i];
        if ((a->owed >> port & 1) == 0) continue;
        a->owed &= ~(UINT32_C(1) << port);
        o->attrs[n] = (struct attr){.key = a->key, .type = a->type};
        if (a->type == ATTR_TEXT)
            o->attrs[n].text = a->text;
        else if (a->type == ATTR_INT)
            o->attrs[n].integer = a->integer;
        else
            o->attrs[n].number = a->number;
        n++;
    }
    return n;
}

/* What passes by lies in the input frame, which is given back when the op has returned; and some ops put
 * memory of their own. One copy into the frame's slot is less than what a message costs. */
static void share_tensors(struct stage *st, struct stage_out *o)
{
    for (size_t i = 0; o->regions != NULL && i < o->tensor_count; i++) {
        struct tensor *t = &o->tensors[i];
        void *shared =
            region_port_has(o->regions, t->data) ? NULL : region_port_buffer(o->regions, t->size_bytes);
        if (shared == NULL) continue;
        memcpy(shared, t->data, t->size_bytes);
        t->data = shared;
        atomic_fetch_add_explicit(&st->page->copied_bytes, t->size_bytes, memory_order_relaxed);
    }
}

static struct frame *make_frame(struct stage *st, struct stage_stream *s, int port, frame_kind kind)
{
    struct stage_out *o = &st->out[port];
    share_tensors(st, o);
    o->frame = (struct frame){.kind = kind,
                              .stream = s->id,
                              .seq = s->seq[port]++,
                              .position = s->position,
                              .epoch = st->epoch,
                              .attempt = s->attempt,
                              .origin = s->origin,
                              .port = o->port->name,
                              .tensors = o->tensors,
                              .tensor_count = o->tensor_count,
                              .attrs = o->attrs,
                              .attr_count = take_attrs(o, s, port),
                              .trace_id = s->trace_id,
                              .created_ns = s->created_ns};
    return &o->frame;
}

/* A wrong shape is a mistake of the stage's program; better told here than by the next stage. */
static thea_rc check_put(const struct stage *st, const struct stage_out *o, struct thea_err *err)
{
    for (size_t i = 0; i < o->tensor_count; i++) {
        const struct tensor *t = &o->tensors[i];
        if (!stage_port_takes(o->port, t->name) || tensor_match(t, o->port->dtype, o->shape, err) == THEA_OK)
            continue;
        thea_fail_prefix(err, "mistake in stage '%s', output '%s'", st->ops->kind, o->port->name);
        return err != NULL ? err->rc = THEA_ESOFTWARE : THEA_ESOFTWARE;
    }
    return THEA_OK;
}

static thea_rc send_all(struct stage *st, struct frame *const *frames, struct thea_err *err)
{
    for (int i = 0; i < st->out_count; i++) {
        if (frames[i] == NULL) continue;
        uint64_t bytes = frame_tensor_bytes(frames[i]);
        if (bytes > st->out[i].largest) st->out[i].largest = bytes;
        atomic_fetch_add_explicit(&st->page->frames_out, 1, memory_order_relaxed);
        if (st->ops->inputs == NULL) stage_flight_send(&st->replay.flight, frames[i]->stream, bytes);
    }
    st->sent = true;
    return st->transport.send(st, frames, err);
}

/* How far a source's stream has come: the position of its end frame. */
static void note_position(const struct stage *st, int port, const struct frame *f)
{
    const struct stage_out *o = &st->out[port];
    uint64_t rows = 1;
    for (size_t i = 0; i < f->tensor_count; i++)
        if (stage_port_takes(o->port, f->tensors[i].name) && f->tensors[i].rank > 0)
            rows = f->tensors[i].shape[0];
    if (f->position + rows > o->stream->position) o->stream->position = f->position + rows;
}

thea_rc stage_outputs_send(struct stage *st, struct thea_err *err)
{
    struct frame *frames[STAGE_PORTS_MAX] = {NULL};
    bool any = false;
    for (int i = 0; i < st->out_count; i++) {
        struct stage_out *o = &st->out[i];
        struct stage_stream *s = o->stream;
        if (s == NULL) continue;
        thea_rc rc = check_put(st, o, err);
        if (rc == THEA_OK) rc = stage_carry_take(st, s, i, err);
        if (rc != THEA_OK) return rc;
        frames[i] = make_frame(st, s, i, o->kind_set ? o->kind : FRAME_DATA);
        if (o->position_set)
            frames[i]->position = o->position;
        else if (st->current.stream == s)
            frames[i]->position = st->current.frame->position;
        if (st->ops->inputs == NULL) note_position(st, i, frames[i]);
        any = true;
    }
    thea_rc rc = any ? send_all(st, frames, err) : THEA_OK;
    for (int i = 0; i < st->out_count; i++)
        if (frames[i] != NULL) stage_carry_sent(st->out[i].stream, i);
    stage_outputs_reset(st);
    return rc;
}

/* A sink of a supervised run counts what it commits: of what is only ended some comes again. */
static void count_ended(struct stage *st, const struct stage_stream *s)
{
    bool failed = st->closing_kind == FRAME_ERROR, given_up = failed && s->aside;
    if (stage_supervised(st) && st->ops->outputs == NULL) {
        if (failed && !given_up) return;
        if (!st->ops->commits || (given_up && st->ops->failed == NULL)) stage_commit(st, s->id);
        if (!stage_committed(st, s->id)) stage_tell_held(st, s->id);
        return;
    }
    atomic_fetch_add_explicit(&st->page->documents, 1, memory_order_relaxed);
    if (failed) atomic_fetch_add_explicit(&st->page->failed, 1, memory_order_relaxed);
}

thea_rc stage_outputs_send_last(struct stage *st, struct thea_err *err)
{
    struct frame *frames[STAGE_PORTS_MAX] = {NULL};
    struct stage_stream *s = st->closing;
    thea_rc rc = THEA_OK;
    stage_outputs_reset(st);
    for (int i = 0; i < st->out_count; i++) {
        if (!st->out[i].connected) continue;
        /* What cannot be joined any more is the stream's error, found at its last frame. */
        if (st->closing_kind == FRAME_END && stage_carry_take(st, s, i, err) != THEA_OK)
            st->out[i].tensor_count = 0;
        frames[i] = make_frame(st, s, i, st->closing_kind);
    }
    if (st->out_count > 0) rc = send_all(st, frames, err);
    count_ended(st, s);
    st->closing = NULL;
    stage_stream_retire(st, s);
    stage_outputs_reset(st);
    return rc;
}

thea_rc stage_outputs_send_eof(struct stage *st, struct thea_err *err)
{
    struct frame *frames[STAGE_PORTS_MAX] = {NULL};
    for (int i = 0; i < st->out_count; i++) {
        struct stage_out *o = &st->out[i];
        if (!o->connected) continue;
        o->frame = (struct frame){.kind = FRAME_EOF, .epoch = st->epoch, .port = o->port->name};
        frames[i] = &o->frame;
    }
    return st->out_count > 0 ? send_all(st, frames, err) : THEA_OK;
}
