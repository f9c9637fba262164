/* Frames on stdin and stdout, where one sequence carries all ports: which input a frame is for, and several
 * outputs made one frame. */
#include "graph/wire/stage_io.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Is `name` one of the words of the comma list? */
static bool in_list(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *p = list; p != NULL; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, name, len) == 0 && (p[len] == '\0' || p[len] == ',')) return true;
    }
    return false;
}

static bool has_tensor(const struct stage_port *port, const struct frame *f)
{
    for (size_t i = 0; i < f->tensor_count; i++)
        if (stage_port_takes(port, f->tensors[i].name)) return true;
    return false;
}

/* --- what to put between, when a frame fits no input --- */

static const struct {
    const char *from, *to, *kind;
} bridges[] = {
    {"docs", "tokens", "tokenize"}, {"tokens", "docs", "detokenize"}, {"tokens", "nll", "layers"},
    {"tokens", "final", "layers"},  {"residual", "nll", "layers"},    {"residual", "final", "layers"},
    {"final", "vector", "pool"},    {"nll", "record", "score"},       {"next", "token", "sample"},
};

/* The shortest chain of kinds from port `from` to port `to`, as "thea tokenize | thea layers"; false if none
 * of at most `depth`. */
static bool find_bridge(struct buf *out, const char *from, const char *to, int depth)
{
    if (depth == 0) return false;
    for (size_t i = 0; i < sizeof bridges / sizeof *bridges; i++) {
        if (strcmp(bridges[i].from, from) != 0) continue;
        size_t len = out->len;
        buf_printf(out, "%sthea %s", len > 0 ? " | " : "", bridges[i].kind);
        if (strcmp(bridges[i].to, to) == 0 || find_bridge(out, bridges[i].to, to, depth - 1)) return true;
        out->len = len;
        out->data[len] = '\0';
    }
    return false;
}

static void add_hint(struct buf *out, const struct stage *st, const char *came)
{
    for (int depth = 1; depth <= 3; depth++)
        for (int i = 0; i < st->in_count; i++) {
            struct buf chain = {0};
            bool found = find_bridge(&chain, came, st->in[i].port->name, depth);
            if (found) buf_printf(out, ": put `%s` between", buf_text(&chain));
            buf_fini(&chain);
            if (found) return;
        }
}

static thea_rc fail_unfit(const struct stage *st, const struct frame *f, struct thea_err *err)
{
    struct buf wanted = {0}, hint = {0};
    stage_list_ports(&wanted, st->ops->inputs, " or ", STAGE_FEEDBACK);
    const char *came = f->port[0] != '\0'    ? f->port
                       : f->tensor_count > 0 ? f->tensors[0].name
                                             : "a frame without tensors";
    add_hint(&hint, st, came);
    thea_rc rc = thea_fail(err, THEA_EFRAME, "%s reads %s, this is %s%s", st->ops->kind, buf_text(&wanted),
                           came, buf_text(&hint));
    buf_fini(&wanted);
    buf_fini(&hint);
    return rc;
}

static uint32_t stdin_ports(const struct stage *st)
{
    uint32_t ports = 0;
    for (int i = 0; i < st->in_count; i++)
        if (st->in[i].connected && (st->in[i].port->flags & STAGE_FEEDBACK) == 0) ports |= UINT32_C(1) << i;
    return ports;
}

thea_rc stage_map_frame(uint32_t *ports, const struct stage *st, const struct frame *f, struct thea_err *err)
{
    uint32_t all = stdin_ports(st), named = 0, carried = 0;
    *ports = all;
    if (f->kind != FRAME_DATA && f->kind != FRAME_MARK)
        return THEA_OK; /* ends and errors are for all of them */
    for (int i = 0; i < st->in_count; i++) {
        uint32_t bit = all & UINT32_C(1) << i;
        if (in_list(f->port, st->in[i].port->name)) named |= bit;
        if (has_tensor(st->in[i].port, f)) carried |= bit;
    }
    if ((named & carried) != 0)
        *ports = named & carried;
    else if (named != 0)
        *ports = named;
    else if (__builtin_popcount(carried) == 1)
        *ports = carried;
    else
        return fail_unfit(st, f, err);
    return THEA_OK;
}

/* --- several outputs, one frame --- */

static bool same_place(const struct frame *a, const struct frame *b)
{
    return a->stream == b->stream && a->kind == b->kind && a->position == b->position;
}

static void merge_tensors(struct frame *to, const struct frame *from)
{
    for (size_t i = 0; i < from->tensor_count; i++)
        if (frame_tensor(to, from->tensors[i].name) == NULL)
            to->tensors[to->tensor_count++] = from->tensors[i];
}

static void merge_attrs(struct frame *to, const struct frame *from)
{
    for (size_t i = 0; i < from->attr_count; i++)
        if (to->attr_count < FRAME_ATTRS_MAX && frame_attr(to, from->attrs[i].key) == NULL)
            to->attrs[to->attr_count++] = from->attrs[i];
}

static size_t sum_tensors(struct frame *const *frames, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) n += frames[i] != NULL ? frames[i]->tensor_count : 0;
    return n;
}

/* frames[0] and all later ones of the same place; those are set to NULL. */
static thea_rc write_group(struct frame_writer *w, struct frame **frames, size_t count, struct thea_err *err)
{
    assert(frames[0] != NULL);
    struct attr attrs[FRAME_ATTRS_MAX];
    struct buf ports = {0};
    struct frame merged = *frames[0];
    merged.tensors = calloc(sum_tensors(frames, count) + 1, sizeof *merged.tensors);
    if (merged.tensors == NULL) abort();
    merged.attrs = attrs;
    merged.tensor_count = merged.attr_count = 0;
    const struct frame *first = frames[0];
    for (size_t i = 0; i < count; i++) {
        const struct frame *f = frames[i];
        if (f == NULL || !same_place(first, f)) continue;
        buf_printf(&ports, "%s%s", ports.len > 0 ? "," : "", f->port);
        merge_tensors(&merged, f);
        merge_attrs(&merged, f);
        frames[i] = NULL;
    }
    merged.port = buf_text(&ports);
    thea_rc rc = frame_write(w, &merged, err);
    free(merged.tensors);
    buf_fini(&ports);
    return rc;
}

thea_rc stage_write_merged(struct frame_writer *w, struct frame *const *frames, size_t count,
                           struct thea_err *err)
{
    struct frame *left[STAGE_PORTS_MAX];
    for (size_t i = 0; i < count; i++) left[i] = frames[i];
    for (size_t i = 0; i < count; i++) {
        if (left[i] == NULL) continue;
        bool alone = true;
        for (size_t j = i + 1; j < count; j++)
            alone = alone && (left[j] == NULL || !same_place(left[i], left[j]));
        thea_rc rc = alone ? frame_write(w, left[i], err) : write_group(w, left + i, count - i, err);
        if (rc != THEA_OK) return rc;
    }
    return THEA_OK;
}
