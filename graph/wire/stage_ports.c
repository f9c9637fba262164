/* Ports: which of a kind's are connected in this process, their shapes with the model's numbers, and whether
 * a frame fits them. */
#include "graph/wire/stage_core.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int stage_find_port(const struct stage_port *ports, const char *name)
{
    for (int i = 0; ports != NULL && ports[i].name != NULL; i++)
        if (strcmp(ports[i].name, name) == 0) return i;
    return -1;
}

void stage_list_ports(struct buf *out, const struct stage_port *ports, const char *between,
                      unsigned without_flags)
{
    size_t begin = out->len;
    for (; ports != NULL && ports->name != NULL; ports++)
        if ((ports->flags & without_flags) == 0)
            buf_printf(out, "%s%s", out->len > begin ? between : "", ports->name);
}

static const char *main_tensor(const struct stage_port *port)
{
    return port->tensor != NULL ? port->tensor : port->name;
}

bool stage_port_takes(const struct stage_port *port, const char *tensor)
{
    const char *name = main_tensor(port);
    size_t len = strlen(name);
    if (len < 2 || strcmp(name + len - 2, ".*") != 0) return strcmp(name, tensor) == 0;
    /* A numbered family: "hidden.*" takes hidden.0, hidden.17. */
    if (strncmp(name, tensor, len - 1) != 0) return false;
    const char *number = tensor + len - 1;
    return number[0] != '\0' && strspn(number, "0123456789") == strlen(number);
}

/* Links of a port that do (feedback) or do not lead back; a group counts as one. */
static int count_links(const struct stage_endpoints *list, int port, bool feedback)
{
    int n = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct stage_endpoint *e = &list->items[i];
        n += e->port == port && e->feedback == feedback && e->first;
    }
    return n;
}

bool stage_reads_stdin(const struct stage *st)
{
    bool any = false;
    for (int i = 0; i < st->in_count; i++) {
        if ((st->in[i].port->flags & STAGE_FEEDBACK) != 0) continue;
        if (count_links(&st->command.in, i, false) > 0) return false;
        any = true;
    }
    return any;
}

bool stage_writes_stdout(const struct stage *st)
{
    for (int i = 0; i < st->out_count; i++)
        if (count_links(&st->command.out, i, false) > 0) return false;
    return st->out_count > 0;
}

bool stage_has_feedback(const struct stage *st)
{
    for (int i = 0; i < st->in_count; i++)
        if (st->in[i].connected && (st->in[i].port->flags & STAGE_FEEDBACK) != 0) return true;
    return false;
}

/* Inputs by links: all that must be connected are, and exactly one of those that exclude each other. */
static thea_rc check_inputs(const struct stage *st, struct thea_err *err)
{
    int one_of = 0, choices = 0;
    struct buf list = {0};
    for (int i = 0; i < st->in_count; i++) {
        const struct stage_port *p = st->in[i].port;
        if ((p->flags & STAGE_FEEDBACK) != 0) continue;
        if ((p->flags & STAGE_ONE_OF) != 0) {
            choices++;
            one_of += st->in[i].connected;
            buf_printf(&list, "%s--in %s=ADDRESS", list.len > 0 ? " or " : "", p->name);
        } else if ((p->flags & STAGE_OPTIONAL) == 0 && !st->in[i].connected) {
            buf_fini(&list);
            return thea_fail(err, THEA_EUSAGE, "input '%s' of %s is not connected: --in %s=ADDRESS", p->name,
                             st->ops->kind, p->name);
        }
    }
    thea_rc rc = THEA_OK;
    if (choices > 0 && one_of != 1)
        rc = thea_fail(err, THEA_EUSAGE, "%s reads exactly one of its inputs, %d are connected: %s",
                       st->ops->kind, one_of, buf_text(&list));
    buf_fini(&list);
    return rc;
}

static thea_rc check_outputs(const struct stage *st, struct thea_err *err)
{
    for (int i = 0; i < st->out_count; i++) {
        const struct stage_port *p = st->out[i].port;
        if ((p->flags & STAGE_FEEDBACK) == 0 || (p->flags & STAGE_OPTIONAL) != 0) continue;
        /* The edge back may be one of several links of the port, beside its readers'. */
        if (count_links(&st->command.out, i, true) > 0 || count_links(&st->command.out, i, false) > 1)
            continue;
        return thea_fail(
            err, THEA_EUSAGE,
            "%s sends back to the head of its loop, which cannot go up a pipe: --out feedback=ADDRESS\n"
            "  try  thea generate, which builds the whole loop",
            st->ops->kind);
    }
    return THEA_OK;
}

/* stdout's ports from a comma list. */
static void connect_emitted(struct stage *st, const char *names)
{
    for (int i = 0; i < st->out_count; i++) {
        const char *name = st->out[i].port->name;
        size_t len = strlen(name);
        for (const char *p = names; p != NULL; p = strchr(p, ',')) {
            p += *p == ',';
            if (strncmp(p, name, len) == 0 && (p[len] == '\0' || p[len] == ','))
                st->out[i].connected = st->out[i].emitted = true;
        }
    }
}

thea_rc stage_ports_connect(struct stage *st, struct thea_err *err)
{
    bool from_stdin = stage_reads_stdin(st);
    for (int i = 0; i < st->in_count; i++) {
        const struct stage_port *p = st->in[i].port;
        st->in[i].connected =
            count_links(&st->command.in, i, false) > 0 || (from_stdin && (p->flags & STAGE_FEEDBACK) == 0);
    }
    for (int i = 0; i < st->out_count; i++)
        st->out[i].connected =
            count_links(&st->command.out, i, false) + count_links(&st->command.out, i, true) > 0;
    if (st->command.emit != NULL && !stage_writes_stdout(st))
        return thea_fail(err, THEA_EUSAGE, "--emit is for stdout, but --out sends the outputs to links");
    if (st->command.emit != NULL) connect_emitted(st, st->command.emit);
    thea_rc rc = from_stdin ? THEA_OK : check_inputs(st, err);
    return rc == THEA_OK ? check_outputs(st, err) : rc;
}

static const char *default_port(const struct stage *st)
{
    const char *first = NULL, *wanted = stage_describe_find_default(st->described);
    if (wanted != NULL) return wanted;
    for (int i = 0; i < st->out_count; i++) {
        const struct stage_port *p = st->out[i].port;
        if ((p->flags & STAGE_DEFAULT) != 0) return p->name;
        if (first == NULL) first = p->name;
    }
    return first;
}

thea_rc stage_ports_emit(struct stage *st, struct thea_err *err)
{
    if (!stage_writes_stdout(st) || st->command.emit != NULL) return THEA_OK;
    const char *name = default_port(st);
    assert(name != NULL); /* there are outputs */
    if (stage_find_port(st->ops->outputs, name) < 0)
        return thea_fail(err, THEA_ESOFTWARE, "%s: default output '%s' is no port of its table",
                         st->ops->kind, name);
    connect_emitted(st, name);
    return THEA_OK;
}

/* "n, hidden" -> "n, 128" */
static char *resolve_shape(const struct stage *st, const char *shape)
{
    struct buf out = {0};
    while (*shape != '\0') {
        size_t word = 0;
        while (isalnum((unsigned char)shape[word]) || shape[word] == '_') word++;
        uint64_t n = word > 0 && !isdigit((unsigned char)shape[0])
                         ? stage_describe_find_dim(st->described, shape, word)
                         : 0;
        if (word == 0) word = 1;
        if (n > 0)
            buf_printf(&out, "%" PRIu64, n);
        else
            buf_add(&out, shape, word);
        shape += word;
    }
    return buf_take(&out);
}

void stage_ports_resolve(struct stage *st)
{
    for (int i = 0; i < st->in_count; i++) {
        free(st->in[i].shape);
        st->in[i].shape = resolve_shape(st, st->in[i].port->shape);
    }
    for (int i = 0; i < st->out_count; i++) {
        free(st->out[i].shape);
        st->out[i].shape = resolve_shape(st, st->out[i].port->shape);
    }
}

static thea_rc fail_lacks(const struct stage *st, int port, const struct frame *f, struct thea_err *err)
{
    struct buf has = {0};
    for (size_t i = 0; i < f->tensor_count; i++)
        buf_printf(&has, "%s%s", i > 0 ? ", " : "", f->tensors[i].name);
    thea_rc rc =
        thea_fail(err, THEA_EFRAME, "input '%s' of %s: a frame came without its tensor '%s' (it has: %s)",
                  st->in[port].port->name, st->name, main_tensor(st->in[port].port),
                  has.len > 0 ? buf_text(&has) : "none");
    buf_fini(&has);
    return rc;
}

static thea_rc check_port(const struct stage *st, int port, const struct frame *f, struct thea_err *err)
{
    const struct stage_in *in = &st->in[port];
    bool found = false;
    for (size_t i = 0; i < f->tensor_count; i++) {
        if (!stage_port_takes(in->port, f->tensors[i].name)) continue;
        found = true;
        if (tensor_match(&f->tensors[i], in->port->dtype, in->shape, err) != THEA_OK)
            return thea_fail_prefix(err, "input '%s' of %s", in->port->name, st->name);
    }
    return found || f->kind != FRAME_DATA ? THEA_OK : fail_lacks(st, port, f, err);
}

thea_rc stage_check_frame(const struct stage *st, uint32_t ports, const struct frame *f, struct thea_err *err)
{
    if (f->kind != FRAME_DATA && f->kind != FRAME_MARK) return THEA_OK;
    for (int i = 0; i < st->in_count; i++) {
        if ((ports >> i & 1) == 0) continue;
        thea_rc rc = check_port(st, i, f, err);
        if (rc != THEA_OK) return rc;
    }
    return THEA_OK;
}

bool stage_connected(const struct stage *st, int out_port)
{
    assert(out_port >= 0 && out_port < st->out_count);
    return st->out[out_port].connected;
}

bool stage_input_connected(const struct stage *st, int in_port)
{
    assert(in_port >= 0 && in_port < st->in_count);
    return st->in[in_port].connected;
}
