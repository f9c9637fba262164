/* To which links a frame goes: to each group of its port, there to the replica that has its stream; and
 * whether it could go now.
 *
 * Invariant: of a stream's frames on a port each group gets every one, on one link. */
#include "graph/wire/stage_io.h"
#include "graph/wire/stage_tap.h"

struct offer { /* context of waiting_at */
    struct stage_io *io;
    size_t group;
    uint64_t bytes;
};

static struct stage_outlet *find_outlet(struct stage_io *io, size_t group, size_t member)
{
    for (size_t i = 0; i < io->outlet_count; i++)
        if (io->outlets[i].ln != NULL && io->outlets[i].group == group && io->outlets[i].member == member)
            return &io->outlets[i];
    return NULL;
}

static bool member_is_ready(struct stage_io *io, size_t group, size_t member, uint64_t bytes)
{
    const struct stage_outlet *o = find_outlet(io, group, member);
    return o != NULL && link_ready(o->ln, bytes);
}

static size_t waiting_at(const void *context, size_t member)
{
    const struct offer *o = context;
    const struct stage_outlet *out = find_outlet(o->io, o->group, member);
    bool ready = out != NULL && link_ready(out->ln, o->bytes);
    return ready ? (size_t)link_waiting(out->ln) : STAGE_ROUTE_NONE;
}

/* The member that a stream's frame goes to. `origin` as in frames: the replica of the loop's head + 1, or 0.
 */
static size_t member_for(struct stage_io *io, size_t group, uint64_t stream, uint32_t origin, uint64_t bytes)
{
    struct offer offer = {io, group, bytes};
    return stage_route_of(&io->groups[group].route, stream, origin > 0 ? origin - 1 : 0, waiting_at, &offer);
}

/* --- sending --- */

/* OK also when the wait was given up, because a new epoch is due: it drops what would have been sent. */
static thea_rc send_on(struct stage_io *io, struct stage *st, const struct stage_outlet *o,
                       const struct frame *f, uint64_t bytes, struct thea_err *err)
{
    struct link *ln = o->ln;
    if (o->left && o->left_epoch == st->epoch) return THEA_OK; /* it got its eof */
    while (!link_ready(ln, bytes)) {
        thea_rc rc = stage_io_wait(io, st, false, &st->page->blocked_ns, err);
        if (rc != THEA_OK) return rc;
        if (stage_epoch_due(st)) return THEA_OK;
    }
    return link_send(ln, f, err);
}

static thea_rc send_to_all(struct stage_io *io, struct stage *st, size_t group, const struct frame *f,
                           struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    for (size_t i = 0; rc == THEA_OK && i < io->outlet_count; i++) {
        struct stage_outlet *o = &io->outlets[i];
        if (o->ln == NULL || o->group != group) continue;
        rc = send_on(io, st, o, f, 0, err);
        o->ended = true;
        o->ended_epoch = st->epoch;
    }
    return rc;
}

static thea_rc send_to_one(struct stage_io *io, struct stage *st, size_t group, const struct frame *f,
                           struct thea_err *err)
{
    struct stage_route *r = &io->groups[group].route;
    uint64_t bytes = frame_tensor_bytes(f);
    size_t member = member_for(io, group, f->stream, f->origin, bytes);
    const struct stage_outlet *o = member != STAGE_ROUTE_NONE ? find_outlet(io, group, member) : NULL;
    if (o == NULL)
        return thea_fail(err, THEA_ESOFTWARE, "%s: no replica takes what leaves on '%s'", st->name,
                         st->out[io->groups[group].port].port->name);
    thea_rc rc = send_on(io, st, o, f, bytes, err);
    if (f->kind == FRAME_END || f->kind == FRAME_ERROR) stage_route_forget(r, f->stream);
    return rc;
}

static thea_rc send_on_links(struct stage_io *io, struct stage *st, int port, const struct frame *f,
                             struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    for (size_t g = 0; rc == THEA_OK && g < io->group_count; g++) {
        if (io->groups[g].port != port) continue;
        rc = f->kind == FRAME_EOF ? send_to_all(io, st, g, f, err) : send_to_one(io, st, g, f, err);
    }
    return rc;
}

static thea_rc send_on_stdout(struct stage_io *io, struct stage *st, struct frame *const *frames,
                              struct thea_err *err)
{
    if (io->writer == NULL || io->reader_left) return THEA_OK;
    uint64_t begin = status_now_ns();
    thea_rc rc = stage_write_merged(io->writer, frames, (size_t)st->out_count, err);
    atomic_fetch_add_explicit(&st->page->blocked_ns, status_now_ns() - begin, memory_order_relaxed);
    io->reader_left = rc == THEA_ECLOSED;
    return rc == THEA_ECLOSED ? THEA_OK : rc; /* it had enough: not an error */
}

thea_rc stage_send_frames(struct stage *st, struct frame *const *frames, struct thea_err *err)
{
    struct stage_io *io = st->transport.context;
    struct frame *to_stdout[STAGE_PORTS_MAX] = {NULL};
    thea_rc rc = THEA_OK;
    for (int i = 0; rc == THEA_OK && i < st->out_count; i++) {
        if (frames[i] == NULL) continue;
        stage_tap_out(st, i, frames[i]);
        if (st->out[i].emitted) to_stdout[i] = frames[i];
        rc = send_on_links(io, st, i, frames[i], err);
    }
    return rc == THEA_OK ? send_on_stdout(io, st, to_stdout, err) : rc;
}

/* --- could they go? --- */

/* A source's next stream, which nobody knows yet, goes to whoever could take it; by hash it may be anyone. */
static bool new_stream_ready(struct stage_io *io, size_t group, uint64_t bytes)
{
    const struct stage_route *r = &io->groups[group].route;
    bool any = false, all = true;
    for (size_t i = 0; i < r->count; i++) {
        if (r->members[i].leaving || r->members[i].gone) continue;
        bool ready = member_is_ready(io, group, i, bytes);
        any = any || ready;
        all = all && ready;
    }
    return r->rule == ROUTE_BY_HASH ? all : any;
}

static bool group_ready(struct stage_io *io, const struct stage *st, size_t group)
{
    const struct stage_stream *s = st->current.stream != NULL ? st->current.stream : st->source_stream;
    const struct stage_out *out = &st->out[io->groups[group].port];
    uint64_t bytes = out->largest;
    if (!region_port_ready(out->regions)) return false;
    if (s == NULL) s = st->closing;
    if (s == NULL) return new_stream_ready(io, group, bytes);
    size_t member = member_for(io, group, s->id, s->origin, bytes);
    return member != STAGE_ROUTE_NONE && member_is_ready(io, group, member, bytes);
}

bool stage_io_ready(struct stage_io *io, const struct stage *st)
{
    bool drops = st->ops->inputs != NULL && st->current.stream == NULL && st->closing == NULL;
    if (drops) return true; /* nothing comes of it */
    for (size_t g = 0; g < io->group_count; g++)
        if (!group_ready(io, st, g)) return false;
    return true;
}

/* --- does anyone want them? --- */

static bool group_stopped(const struct stage_io *io, size_t group)
{
    bool any = false;
    for (size_t i = 0; i < io->outlet_count; i++) {
        const struct stage_outlet *o = &io->outlets[i];
        if (o->ln == NULL || o->group != group || o->left) continue;
        if (!link_stopped(o->ln)) return false;
        any = true;
    }
    return any;
}

/* The readers of a port, without the edge back; and how many of them want no more. */
static void count_readers(const struct stage_io *io, const struct stage_port *p, int port, int *readers,
                          int *stopped)
{
    bool back_named = false;
    *readers = *stopped = 0;
    for (size_t g = 0; g < io->group_count; g++) {
        if (io->groups[g].port != port) continue;
        back_named = back_named || io->groups[g].feedback;
        if (io->groups[g].feedback) continue;
        ++*readers;
        *stopped += group_stopped(io, g);
    }
    /* One of several unnamed links leads back, and its far end stops only after this one. */
    if ((p->flags & STAGE_FEEDBACK) != 0 && !back_named && *readers > 1) --*readers;
}

bool stage_io_stopped(const struct stage_io *io, const struct stage *st)
{
    bool any = false;
    if (io->writer != NULL) return io->reader_left;
    for (int i = 0; i < st->out_count; i++) {
        int readers, stopped;
        count_readers(io, st->out[i].port, i, &readers, &stopped);
        if (stopped < readers) return false;
        any = any || readers > 0;
    }
    return any;
}
