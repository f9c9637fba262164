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

static struct status_link *status_row(struct stage *st, const struct stage_port *port, uint32_t number,
                                      bool outgoing)
{
    uint32_t n = atomic_load(&st->page->link_count);
    if (n == STATUS_LINKS_MAX) return NULL;
    struct status_link *row = &st->page->links[n];
    row->number = number;
    row->outgoing = outgoing;
    snprintf(row->port, sizeof row->port, "%s", port->name);
    atomic_store(&st->page->link_count, n + 1);
    return row;
}

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
    o->epoch = c->epoch;
    o->incarnation = c->incarnation;
    o->reconnect_ms = c->parent > 0 ? 0 : WAIT_FOR_PEER_BY_HAND_MS;
    o->status = status_row(st, port, o->address.number, outgoing);
    return THEA_OK;
}

static thea_rc open_inlet(struct stage_io *io, struct stage *st, const struct stage_endpoint *e,
                          struct thea_err *err)
{
    char pattern[256];
    struct link_options o = {0};
    const struct stage_in *in = &st->in[e->port];
    thea_rc rc = link_options_of(&o, st, in->port, pattern, sizeof pattern, in->shape, e, false, err);
    struct stage_inlet inlet = {.port = e->port, .feedback = (in->port->flags & STAGE_FEEDBACK) != 0};
    if (rc == THEA_OK) rc = link_listen(&inlet.ln, io->set, &o, err);
    if (rc == THEA_OK) io->inlets[io->inlet_count++] = inlet;
    return rc;
}

static thea_rc open_outlet(struct stage_io *io, struct stage *st, const struct stage_endpoint *e,
                           struct thea_err *err)
{
    char pattern[256];
    struct link_options o = {0};
    const struct stage_out *out = &st->out[e->port];
    thea_rc rc = link_options_of(&o, st, out->port, pattern, sizeof pattern, out->shape, e, true, err);
    struct stage_outlet outlet = {.port = e->port, .feedback = e->feedback};
    if (rc == THEA_OK) rc = link_dial(&outlet.ln, io->set, &o, err);
    if (rc == THEA_OK) io->outlets[io->outlet_count++] = outlet;
    return rc;
}

static thea_rc open_links(struct stage_io *io, struct stage *st, struct thea_err *err)
{
    const struct stage_endpoints *in = &st->command.in, *out = &st->command.out;
    if (in->count + out->count == 0) return THEA_OK;
    io->inlets = calloc(in->count + 1, sizeof *io->inlets);
    io->outlets = calloc(out->count + 1, sizeof *io->outlets);
    if (io->inlets == NULL || io->outlets == NULL) abort();
    thea_rc rc = link_set_new(&io->set, err);
    for (size_t i = 0; rc == THEA_OK && i < in->count; i++) rc = open_inlet(io, st, &in->items[i], err);
    for (size_t i = 0; rc == THEA_OK && i < out->count; i++) rc = open_outlet(io, st, &out->items[i], err);
    return rc;
}

/* --- sending --- */

static thea_rc send_on_links(struct stage_io *io, struct stage *st, int port, const struct frame *f,
                             struct thea_err *err)
{
    uint64_t bytes = frame_tensor_bytes(f);
    for (size_t i = 0; i < io->outlet_count; i++) {
        struct link *ln = io->outlets[i].ln;
        if (io->outlets[i].port != port) continue;
        while (!link_ready(ln, bytes)) {
            thea_rc rc = stage_io_wait(io, false, &st->page->blocked_ns, err);
            if (rc != THEA_OK) return rc;
        }
        thea_rc rc = link_send(ln, f, err);
        if (rc != THEA_OK) return rc;
    }
    return THEA_OK;
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

static thea_rc send_frames(struct stage *st, struct frame *const *frames, struct thea_err *err)
{
    struct stage_io *io = st->transport.context;
    struct frame *to_stdout[STAGE_PORTS_MAX] = {NULL};
    thea_rc rc = THEA_OK;
    for (int i = 0; rc == THEA_OK && i < st->out_count; i++) {
        if (frames[i] == NULL) continue;
        if (st->out[i].emitted) to_stdout[i] = frames[i];
        rc = send_on_links(io, st, i, frames[i], err);
    }
    return rc == THEA_OK ? send_on_stdout(io, st, to_stdout, err) : rc;
}

thea_rc stage_io_open(struct stage_io *io, struct stage *st, struct thea_err *err)
{
    st->transport = (struct stage_transport){send_frames, io};
    thea_rc rc = open_links(io, st, err);
    if (rc == THEA_OK && stage_reads_stdin(st)) rc = frame_reader_open(&io->reader, STDIN_FILENO, err);
    if (rc == THEA_OK && stage_writes_stdout(st)) rc = frame_writer_open(&io->writer, STDOUT_FILENO, err);
    return rc;
}

/* --- close --- */

static thea_rc first_error(thea_rc rc, const struct thea_err *found, struct thea_err *err, thea_rc now)
{
    if (rc == THEA_OK && now != THEA_OK && err != NULL) *err = *found;
    return rc != THEA_OK ? rc : now;
}

thea_rc stage_io_close(struct stage_io *io, struct thea_err *err)
{
    struct thea_err found = {0};
    thea_rc rc = THEA_OK;
    for (size_t i = 0; i < io->inlet_count; i++) {
        thea_rc now = link_close(io->inlets[i].ln, &found);
        io->inlets[i].ln = NULL;
        rc = first_error(rc, &found, err, now);
    }
    for (size_t i = 0; i < io->outlet_count; i++) {
        thea_rc now = link_close(io->outlets[i].ln, &found);
        io->outlets[i].ln = NULL;
        rc = first_error(rc, &found, err, now);
    }
    return rc;
}

void stage_io_abort(struct stage_io *io)
{
    for (size_t i = 0; i < io->inlet_count; i++) link_abort(io->inlets[i].ln);
    for (size_t i = 0; i < io->outlet_count; i++) link_abort(io->outlets[i].ln);
    free(io->inlets);
    free(io->outlets);
    if (io->set != NULL) link_set_free(io->set);
    if (io->reader != NULL) frame_reader_close(io->reader);
    if (io->writer != NULL) frame_writer_close(io->writer);
    *io = (struct stage_io){0};
}

/* --- waiting --- */

static thea_rc check_links(struct stage_io *io, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    for (size_t i = 0; rc == THEA_OK && i < io->inlet_count; i++)
        if (!io->inlets[i].done) rc = link_check(io->inlets[i].ln, err);
    for (size_t i = 0; rc == THEA_OK && i < io->outlet_count; i++) rc = link_check(io->outlets[i].ln, err);
    return rc;
}

thea_rc stage_io_wait(struct stage_io *io, bool for_stdin, _Atomic uint64_t *counter, struct thea_err *err)
{
    struct pollfd fds[2];
    nfds_t n = 0;
    for (size_t i = 0; i < io->inlet_count; i++) link_flush_credit(io->inlets[i].ln);
    if (io->set != NULL) fds[n++] = (struct pollfd){.fd = link_set_fd(io->set), .events = POLLIN};
    if (for_stdin) fds[n++] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    uint64_t begin = status_now_ns();
    int got = poll(fds, n, WAIT_MS);
    atomic_fetch_add_explicit(counter, status_now_ns() - begin, memory_order_relaxed);
    if (got < 0 && errno != EINTR) return thea_fail(err, THEA_EIO, "poll failed: %s", strerror(errno));
    if (io->set != NULL) link_set_clear(io->set);
    return check_links(io, err);
}

bool stage_io_ready(const struct stage_io *io, const struct stage *st)
{
    for (size_t i = 0; i < io->outlet_count; i++)
        if (!link_ready(io->outlets[i].ln, st->out[io->outlets[i].port].largest)) return false;
    return true;
}

/* The readers of a port, without the edge back; and how many of them want no more. */
static void count_readers(const struct stage_io *io, const struct stage_port *p, int port, int *readers,
                          int *stopped)
{
    bool back_named = false;
    *readers = *stopped = 0;
    for (size_t i = 0; i < io->outlet_count; i++) {
        if (io->outlets[i].port != port) continue;
        back_named = back_named || io->outlets[i].feedback;
        if (io->outlets[i].feedback) continue;
        ++*readers;
        *stopped += link_stopped(io->outlets[i].ln);
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

void stage_io_stop(struct stage_io *io)
{
    for (size_t i = 0; i < io->inlet_count; i++)
        if (!io->inlets[i].done) link_stop(io->inlets[i].ln);
    io->stdin_done = true;
    io->stdin_here = false;
}
