/* Opening, feeding and closing what a stage's frames come from and go to: see stage_io.h.
 *
 * Invariant: the stage's one thread sleeps only in stage_io_wait, in a read of stdin or in a write to stdout.
 */
#include "graph/wire/stage_io.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    WAIT_MS = 500,
    LINGER_MS = 1,
    WAIT_FOR_PEER_BY_HAND_MS = 600000 /* commands typed one after the other into terminals */
};

/* --- terminals --- */

/* A command line of the kind's examples that is a pipe through it; NULL if none. */
static const char *example_pipe(const struct stage_ops *ops)
{
    for (size_t i = 0; ops->examples != NULL && ops->examples[i] != NULL; i++)
        if (strchr(ops->examples[i], '|') != NULL && strstr(ops->examples[i], ops->kind) != NULL)
            return ops->examples[i];
    return NULL;
}

static thea_rc refuse_terminal(const struct stage *st, const char *what, const char *fallback,
                               struct thea_err *err)
{
    const char *example = example_pipe(st->ops);
    return thea_fail(err, THEA_EUSAGE, "%s %s\n  type a pipe  %s", st->ops->kind, what,
                     example != NULL ? example : fallback);
}

thea_rc stage_io_check(const struct stage *st, struct thea_err *err)
{
    char fallback[128];
    if (stage_reads_stdin(st) && isatty(STDIN_FILENO)) {
        snprintf(fallback, sizeof fallback, "thea load FILE... | ... | thea %s", st->ops->kind);
        return refuse_terminal(st, "reads the frames of the stage before, but its stdin is a terminal",
                               fallback, err);
    }
    if (stage_writes_stdout(st) && isatty(STDOUT_FILENO)) {
        snprintf(fallback, sizeof fallback, "thea %s ... | thea write", st->ops->kind);
        return refuse_terminal(st, "prints frames, which are for the next stage and not for a terminal",
                               fallback, err);
    }
    return THEA_OK;
}

/* --- open --- */

static thea_rc link_options_of(struct link_options *o, struct stage *st, const struct stage_port *port,
                               char *pattern, size_t size, const char *shape, const struct stage_endpoint *e,
                               bool outgoing, struct thea_err *err)
{
    const struct stage_command *c = &st->command;
    thea_rc rc = link_address_parse(&o->address, e->address, err);
    if (rc != THEA_OK) return thea_fail_prefix(err, "--%s %s", outgoing ? "out" : "in", port->name);
    bool any = strcmp(shape, "*") == 0;
    snprintf(pattern, size, "%s [%s]", tensor_dtype_info(port->dtype)->name, shape);
    o->port = port->name;
    o->pattern = any ? "" : pattern;
    o->stage = st->name;
    o->window_frames = (port->flags & STAGE_FEEDBACK) != 0 ? STAGE_FEEDBACK_WINDOW : (uint64_t)c->window;
    if (!outgoing && (port->flags & STAGE_FEEDBACK) == 0) o->spill_bytes = c->spill_bytes;
    o->spill_dir = c->run_dir;
    o->epoch = st->epoch;
    o->incarnation = c->incarnation;
    o->lasting = stage_supervised(st);
    o->reconnect_ms = c->reconnect_ms > 0 ? c->reconnect_ms : c->parent > 0 ? 0 : WAIT_FOR_PEER_BY_HAND_MS;
    o->status = stage_status_row(st, port->name, o->address.number, outgoing);
    return THEA_OK;
}

/* A place that is free, or a new one. */
static struct stage_inlet *free_inlet(struct stage_io *io)
{
    for (size_t i = 0; i < io->inlet_count; i++)
        if (io->inlets[i].ln == NULL) return &io->inlets[i];
    io->inlets = reallocarray(io->inlets, io->inlet_count + 1, sizeof *io->inlets);
    if (io->inlets == NULL) abort();
    return &io->inlets[io->inlet_count++];
}

static struct stage_outlet *free_outlet(struct stage_io *io)
{
    for (size_t i = 0; i < io->outlet_count; i++)
        if (io->outlets[i].ln == NULL) return &io->outlets[i];
    io->outlets = reallocarray(io->outlets, io->outlet_count + 1, sizeof *io->outlets);
    if (io->outlets == NULL) abort();
    return &io->outlets[io->outlet_count++];
}

thea_rc stage_io_add_inlet(struct stage_io *io, struct stage *st, const struct stage_endpoint *e,
                           struct thea_err *err)
{
    char pattern[256];
    struct link_options o = {0};
    const struct stage_in *in = &st->in[e->port];
    thea_rc rc = link_options_of(&o, st, in->port, pattern, sizeof pattern, in->shape, e, false, err);
    struct stage_inlet inlet = {.port = e->port, .feedback = (in->port->flags & STAGE_FEEDBACK) != 0};
    if (rc == THEA_OK) rc = link_listen(&inlet.ln, io->set, &o, err);
    if (rc != THEA_OK) return rc;
    inlet.number = o.address.number;
    *free_inlet(io) = inlet;
    return THEA_OK;
}

static size_t add_group(struct stage_io *io, const struct stage_endpoint *e)
{
    io->groups = reallocarray(io->groups, io->group_count + 1, sizeof *io->groups);
    if (io->groups == NULL) abort();
    struct stage_group *g = &io->groups[io->group_count];
    *g = (struct stage_group){.port = e->port, .feedback = e->feedback};
    stage_route_init(&g->route, e->feedback ? ROUTE_BY_ORIGIN : e->by_hash ? ROUTE_BY_HASH : ROUTE_BY_LOAD);
    return io->group_count++;
}

thea_rc stage_io_add_outlet(struct stage_io *io, struct stage *st, const struct stage_endpoint *e,
                            size_t group, bool live, struct thea_err *err)
{
    char pattern[256];
    struct link_options o = {0};
    struct stage_out *out = &st->out[e->port];
    thea_rc rc = link_options_of(&o, st, out->port, pattern, sizeof pattern, out->shape, e, true, err);
    if (out->regions == NULL) out->regions = region_port_new(out->port->name);
    o.regions = out->regions;
    struct stage_outlet outlet = {.address = e->address, .port = e->port, .group = group};
    if (rc == THEA_OK) rc = link_dial(&outlet.ln, io->set, &o, err);
    if (rc != THEA_OK) return rc;
    outlet.number = o.address.number;
    outlet.member = stage_route_add(&io->groups[group].route, live);
    *free_outlet(io) = outlet;
    return THEA_OK;
}

static thea_rc open_links(struct stage_io *io, struct stage *st, struct thea_err *err)
{
    const struct stage_endpoints *in = &st->command.in, *out = &st->command.out;
    if (in->count + out->count == 0) return THEA_OK;
    thea_rc rc = link_set_new(&io->set, err);
    for (size_t i = 0; rc == THEA_OK && i < in->count; i++)
        rc = stage_io_add_inlet(io, st, &in->items[i], err);
    for (size_t i = 0; rc == THEA_OK && i < out->count; i++) {
        size_t group = out->items[i].first ? add_group(io, &out->items[i]) : io->group_count - 1;
        rc = stage_io_add_outlet(io, st, &out->items[i], group, false, err);
    }
    return rc;
}

thea_rc stage_io_open(struct stage_io *io, struct stage *st, struct thea_err *err)
{
    st->transport = (struct stage_transport){stage_send_frames, io};
    thea_rc rc = open_links(io, st, err);
    if (rc == THEA_OK && stage_reads_stdin(st)) rc = frame_reader_open(&io->reader, STDIN_FILENO, err);
    if (rc == THEA_OK && stage_writes_stdout(st)) rc = frame_writer_open(&io->writer, STDOUT_FILENO, err);
    return rc;
}

void stage_io_epoch(struct stage_io *io, const struct stage *st)
{
    for (size_t i = 0; i < io->inlet_count; i++) {
        struct stage_inlet *in = &io->inlets[i];
        if (in->ln == NULL) continue;
        link_set_epoch(in->ln, st->epoch);
        in->done = in->leaving; /* what it had not brought comes by another */
    }
    for (size_t i = 0; i < io->outlet_count; i++)
        if (io->outlets[i].ln != NULL) link_set_epoch(io->outlets[i].ln, st->epoch);
    for (size_t g = 0; g < io->group_count; g++) stage_route_clear(&io->groups[g].route);
}

/* --- close --- */

static thea_rc first_error(thea_rc rc, const struct thea_err *found, struct thea_err *err, thea_rc now)
{
    if (rc == THEA_OK && now != THEA_OK && err != NULL) *err = *found;
    return rc != THEA_OK ? rc : now;
}

/* A supervised process may have lost neighbours by now that nobody needs any more: no error. */
static thea_rc close_link(struct link **ln, bool supervised, thea_rc rc, struct thea_err *err)
{
    struct thea_err found = {0};
    if (*ln == NULL) return rc;
    thea_rc now = link_close(*ln, &found);
    *ln = NULL;
    return first_error(rc, &found, err, supervised ? THEA_OK : now);
}

static thea_rc close_inlets(struct stage_io *io, bool feedback, bool supervised, thea_rc rc,
                            struct thea_err *err)
{
    for (size_t i = 0; i < io->inlet_count; i++)
        if (io->inlets[i].feedback == feedback) rc = close_link(&io->inlets[i].ln, supervised, rc, err);
    return rc;
}

/* A receiver waits for its sender's goodbye: so in the order in which frames pass, and the edge back is last.
 */
thea_rc stage_io_close(struct stage_io *io, bool supervised, struct thea_err *err)
{
    thea_rc rc = close_inlets(io, false, supervised, THEA_OK, err);
    for (size_t i = 0; i < io->outlet_count; i++) rc = close_link(&io->outlets[i].ln, supervised, rc, err);
    return close_inlets(io, true, supervised, rc, err);
}

void stage_io_abort(struct stage_io *io)
{
    for (size_t i = 0; i < io->inlet_count; i++) link_abort(io->inlets[i].ln);
    for (size_t i = 0; i < io->outlet_count; i++) link_abort(io->outlets[i].ln);
    for (size_t g = 0; g < io->group_count; g++) stage_route_fini(&io->groups[g].route);
    free(io->inlets);
    free(io->outlets);
    free(io->groups);
    if (io->set != NULL) link_set_free(io->set);
    if (io->reader != NULL) frame_reader_close(io->reader);
    if (io->writer != NULL) frame_writer_close(io->writer);
    *io = (struct stage_io){0};
}

/* --- waiting --- */

static void note_missing(struct stage *st, struct link *ln, uint32_t number, bool *missed)
{
    bool missing = link_missing(ln);
    if (missing && !*missed) stage_tell_link_down(st, number);
    *missed = missing;
}

static thea_rc check_link(struct stage *st, struct link *ln, uint32_t number, bool *missed,
                          struct thea_err *err)
{
    if (stage_supervised(st)) {
        stage_epoch_heard(st, link_epoch(ln));
        note_missing(st, ln, number, missed);
    }
    return link_check(ln, err);
}

static thea_rc check_links(struct stage_io *io, struct stage *st, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    for (size_t i = 0; rc == THEA_OK && i < io->inlet_count; i++) {
        struct stage_inlet *in = &io->inlets[i];
        if (in->ln != NULL && (!in->done || stage_supervised(st)))
            rc = check_link(st, in->ln, in->number, &in->missed, err);
    }
    for (size_t i = 0; rc == THEA_OK && i < io->outlet_count; i++) {
        struct stage_outlet *o = &io->outlets[i];
        if (o->ln != NULL) rc = check_link(st, o->ln, o->number, &o->missed, err);
    }
    return rc;
}

/* Who looks from outside for processes that hang must know that this one only waits. */
static int poll_idle(struct stage *st, struct pollfd *fds, nfds_t n, int timeout_ms,
                     _Atomic uint64_t *counter)
{
    bool blocked = counter == &st->page->blocked_ns;
    _Atomic uint32_t *has = blocked ? &st->page->has_credit : &st->page->has_input;
    uint64_t begin = status_now_ns();
    atomic_store_explicit(has, 0, memory_order_relaxed);
    int got = poll(fds, n, timeout_ms);
    atomic_store_explicit(has, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(counter, status_now_ns() - begin, memory_order_relaxed);
    return got;
}

static thea_rc wait_for(struct stage_io *io, struct stage *st, bool for_stdin, int timeout_ms,
                        _Atomic uint64_t *counter, int *got, struct thea_err *err)
{
    struct channel *control = st->control.channel;
    struct pollfd fds[3 + STAGE_WAITS_MAX];
    nfds_t n = 0;
    stage_tell_commits(st);
    for (size_t i = 0; i < io->inlet_count; i++)
        if (io->inlets[i].ln != NULL) link_flush_credit(io->inlets[i].ln);
    if (io->set != NULL) fds[n++] = (struct pollfd){.fd = link_set_fd(io->set), .events = POLLIN};
    for (size_t i = 0; i < st->wait_count; i++)
        fds[n++] = (struct pollfd){.fd = st->waits[i], .events = POLLIN};
    if (for_stdin) fds[n++] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    if (control != NULL)
        fds[n++] = (struct pollfd){.fd = channel_fd(control), .events = channel_events(control)};
    *got = poll_idle(st, fds, n, timeout_ms, counter);
    if (*got < 0 && errno != EINTR) return thea_fail(err, THEA_EIO, "poll failed: %s", strerror(errno));
    if (io->set != NULL) link_set_clear(io->set);
    thea_rc rc = stage_control_hear(st, true, err);
    return rc == THEA_OK ? check_links(io, st, err) : rc;
}

thea_rc stage_io_wait(struct stage_io *io, struct stage *st, bool for_stdin, _Atomic uint64_t *counter,
                      struct thea_err *err)
{
    int got;
    return wait_for(io, st, for_stdin, WAIT_MS, counter, &got, err);
}

thea_rc stage_io_linger(struct stage_io *io, struct stage *st, bool for_stdin, bool *came,
                        struct thea_err *err)
{
    int got = 0;
    thea_rc rc = wait_for(io, st, for_stdin, LINGER_MS, &st->page->starved_ns, &got, err);
    *came = got > 0;
    return rc;
}

void stage_io_stop(struct stage_io *io)
{
    for (size_t i = 0; i < io->inlet_count; i++)
        if (io->inlets[i].ln != NULL && !io->inlets[i].done) link_stop(io->inlets[i].ln);
    io->stdin_done = true;
    io->stdin_here = false;
}
