/* A stage without process or socket: the runtime's core with a transport that keeps copies of what leaves. */
#include "tests/support/harness.h"

#include "graph/wire/stage_core.h"

#include <stdlib.h>
#include <string.h>

struct kept {
    struct frame *frames;
    size_t count;
};

struct harness {
    struct stage stage;
    struct status_page *page;
    struct kept kept[STAGE_PORTS_MAX];
    uint32_t eofs;
};

static void *need(void *memory)
{
    if (memory == NULL) abort();
    return memory;
}

static struct tensor copy_tensor(const struct tensor *t)
{
    struct tensor copy = *t;
    void *data = need(aligned_alloc(64, (t->size_bytes + 64) & ~(size_t)63));
    if (t->size_bytes > 0) memcpy(data, t->data, t->size_bytes);
    copy.name = need(strdup(t->name));
    copy.data = data;
    return copy;
}

static struct attr copy_attr(const struct attr *a)
{
    struct attr copy = *a;
    copy.key = need(strdup(a->key));
    if (a->type == ATTR_TEXT) copy.text = need(strdup(a->text));
    return copy;
}

static void keep(struct kept *k, const struct frame *f)
{
    if ((k->count & (k->count + 1)) == 0) /* room for 1, 3, 7, … frames is used up: double it */
        k->frames = need(realloc(k->frames, 2 * (k->count + 1) * sizeof *k->frames));
    struct frame *copy = &k->frames[k->count++];
    *copy = *f;
    copy->port = need(strdup(f->port));
    copy->tensors = need(calloc(f->tensor_count + 1, sizeof *copy->tensors));
    copy->attrs = need(calloc(f->attr_count + 1, sizeof *copy->attrs));
    for (size_t i = 0; i < f->tensor_count; i++) copy->tensors[i] = copy_tensor(&f->tensors[i]);
    for (size_t i = 0; i < f->attr_count; i++) copy->attrs[i] = copy_attr(&f->attrs[i]);
}

static void free_frame(struct frame *f)
{
    for (size_t i = 0; i < f->tensor_count; i++) {
        free((char *)(uintptr_t)f->tensors[i].name);
        free((void *)(uintptr_t)f->tensors[i].data);
    }
    for (size_t i = 0; i < f->attr_count; i++) {
        free((char *)(uintptr_t)f->attrs[i].key);
        if (f->attrs[i].type == ATTR_TEXT) free((char *)(uintptr_t)f->attrs[i].text);
    }
    free((char *)(uintptr_t)f->port);
    free(f->tensors);
    free(f->attrs);
}

static thea_rc keep_all(struct stage *st, struct frame *const *frames, struct thea_err *err)
{
    struct harness *h = st->transport.context;
    (void)err;
    for (int i = 0; i < st->out_count; i++)
        if (frames[i] != NULL) keep(&h->kept[i], frames[i]);
    return THEA_OK;
}

static bool named(const char *const *names, const char *name)
{
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0) return true;
    return false;
}

static thea_rc check_names(const char *const *names, const struct stage_port *ports, struct thea_err *err)
{
    for (; names != NULL && *names != NULL; names++)
        if (stage_find_port(ports, *names) < 0)
            return thea_fail(err, THEA_ESOFTWARE, "the test names a port '%s' that is not in the table",
                             *names);
    return THEA_OK;
}

static thea_rc connect_ports(struct stage *st, const char *const *in_ports, const char *const *out_ports,
                             struct thea_err *err)
{
    for (int i = 0; i < st->in_count; i++) {
        const struct stage_port *p = st->in[i].port;
        st->in[i].connected = in_ports != NULL ? named(in_ports, p->name) : (p->flags & STAGE_FEEDBACK) == 0;
    }
    for (int i = 0; i < st->out_count; i++)
        st->out[i].connected = out_ports == NULL || named(out_ports, st->out[i].port->name);
    thea_rc rc = check_names(in_ports, st->ops->inputs, err);
    return rc == THEA_OK ? check_names(out_ports, st->ops->outputs, err) : rc;
}

static thea_rc start(struct harness *h, const struct stage_ops *ops, const char *const *args,
                     const char *const *in_ports, const char *const *out_ports, struct thea_err *err)
{
    size_t argc = 1;
    while (args != NULL && args[argc - 1] != NULL) argc++;
    char **argv = need(calloc(argc + 1, sizeof *argv));
    argv[0] = (char *)(uintptr_t)ops->kind;
    for (size_t i = 1; i < argc; i++) argv[i] = (char *)(uintptr_t)args[i - 1];
    thea_rc rc = stage_init(&h->stage, ops, (int)argc, argv, err);
    h->stage.transport = (struct stage_transport){keep_all, h};
    if (rc == THEA_OK) rc = stage_control_open(&h->stage, err);
    if (rc == THEA_OK) rc = connect_ports(&h->stage, in_ports, out_ports, err);
    if (rc == THEA_OK) rc = stage_describe_call(&h->stage, err);
    if (rc == THEA_OK) rc = stage_open(&h->stage, h->page, err);
    free(argv);
    return rc;
}

thea_rc harness_open_ports(struct harness **out, const struct stage_ops *ops, const char *const *args,
                           const char *const *in_ports, const char *const *out_ports, struct thea_err *err)
{
    *out = NULL;
    struct harness *h = need(calloc(1, sizeof *h));
    thea_rc rc = status_map(&h->page, -1, err);
    if (rc != THEA_OK) {
        free(h);
        return rc;
    }
    rc = start(h, ops, args, in_ports, out_ports, err);
    if (rc == THEA_OK)
        *out = h;
    else
        harness_close(h);
    return rc;
}

thea_rc harness_open(struct harness **out, const struct stage_ops *ops, const char *const *args,
                     const char *const *ports, struct thea_err *err)
{
    return harness_open_ports(out, ops, args, NULL, ports, err);
}

void harness_close(struct harness *h)
{
    if (h == NULL) return;
    stage_fini(&h->stage);
    for (size_t i = 0; i < STAGE_PORTS_MAX; i++) {
        for (size_t f = 0; f < h->kept[i].count; f++) free_frame(&h->kept[i].frames[f]);
        free(h->kept[i].frames);
    }
    status_unmap(h->page);
    free(h);
}

/* What was gathered: batches while the stage has one to run, and what they made. */
static thea_rc settle(struct harness *h, thea_rc rc, struct thea_err *err)
{
    struct stage *st = &h->stage;
    st->current = (struct stage_current){0};
    while ((rc == THEA_OK || rc == THEA_AGAIN) && stage_gather_due(st)) {
        rc = stage_gather_step(st, err);
        if (rc == THEA_OK) st->current = (struct stage_current){0};
    }
    return rc;
}

thea_rc harness_idle(struct harness *h, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    while (rc == THEA_OK && h->stage.gathering.count > 0) {
        stage_gather_idle(&h->stage);
        rc = settle(h, rc, err);
    }
    return rc;
}

static thea_rc finish(struct harness *h, struct thea_err *err)
{
    struct stage *st = &h->stage;
    thea_rc rc = st->ops->finish != NULL && !st->enough ? st->ops->finish(st, err) : THEA_OK;
    return rc == THEA_OK ? stage_outputs_send_eof(st, err) : rc;
}

thea_rc harness_hear(struct harness *h, struct thea_err *err)
{
    thea_rc rc = stage_control_hear(&h->stage, true, err);
    if (rc == THEA_OK && stage_epoch_due(&h->stage)) stage_epoch_take(&h->stage);
    stage_tell_commits(&h->stage);
    return rc;
}

thea_rc harness_feed(struct harness *h, const char *in_port, const struct frame *f, struct thea_err *err)
{
    int port = stage_find_port(h->stage.ops->inputs, in_port);
    if (port < 0)
        return thea_fail(err, THEA_ESOFTWARE, "the test feeds a port '%s' that is not in the table", in_port);
    thea_rc rc = harness_hear(h, err);
    if (rc == THEA_OK) rc = stage_take(&h->stage, UINT32_C(1) << port, f, err);
    if (rc != THEA_OK) return rc;
    do rc = stage_step(&h->stage, err);
    while (rc == THEA_AGAIN);
    if (rc == THEA_OK) rc = settle(h, rc, err);
    if (rc == THEA_OK && f->kind == FRAME_EOF) rc = harness_idle(h, err);
    if (rc != THEA_OK || f->kind != FRAME_EOF) return rc;
    h->eofs |= UINT32_C(1) << port;
    return stage_inputs_complete(&h->stage, h->eofs) ? finish(h, err) : THEA_OK;
}

thea_rc harness_drain_source(struct harness *h, struct thea_err *err)
{
    thea_rc rc = harness_hear(h, err);
    if (rc != THEA_OK) return rc;
    do rc = stage_source_step(&h->stage, err);
    while (rc == THEA_AGAIN);
    return rc == THEA_DONE ? finish(h, err) : rc;
}

size_t harness_count(const struct harness *h, const char *out_port)
{
    int port = stage_find_port(h->stage.ops->outputs, out_port);
    return port < 0 ? 0 : h->kept[port].count;
}

const struct frame *harness_frame(const struct harness *h, const char *out_port, size_t i)
{
    return i < harness_count(h, out_port)
               ? &h->kept[stage_find_port(h->stage.ops->outputs, out_port)].frames[i]
               : NULL;
}

struct stage *harness_stage(struct harness *h)
{
    return &h->stage;
}

const struct status_page *harness_page(const struct harness *h)
{
    return h->page;
}

bool harness_has_enough(const struct harness *h)
{
    return h->stage.enough;
}
