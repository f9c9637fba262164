/* The options that every stage has: their names, and what their values do. The kind's own are in
 * stage_options.c. */
#include "graph/wire/link.h"
#include "graph/wire/stage_core.h"

#include <stdlib.h>
#include <string.h>

typedef enum {
    COMMON_NAME,
    COMMON_THREADS,
    COMMON_IN,
    COMMON_OUT,
    COMMON_EMIT,
    COMMON_WINDOW,
    COMMON_SPILL,
    COMMON_SOURCE,
    COMMON_COLOR,
    COMMON_QUIET,
    COMMON_VERBOSE,
    COMMON_DESCRIBE,
    COMMON_HELP,
    COMMON_VERSION,
    COMMON_PARENT,
    COMMON_STATUS,
    COMMON_INCARNATION,
    COMMON_EPOCH,
    COMMON_CONTROL,
    COMMON_RUN_DIR,
    COMMON_IN_FLIGHT,
    COMMON_REPLICA,
    COMMON_RECONNECT,
    COMMON_COUNT,
} common_id;

/* argument NULL: takes no value. meaning NULL: given by a supervisor, not offered to people. */
static const struct stage_common commons[] = {
    [COMMON_NAME] = {"name", 0, "NAME", "its name in messages and pipelines"},
    [COMMON_THREADS] = {"threads", 0, "N", "threads to compute with (THEA_THREADS, else 1)"},
    [COMMON_IN] = {"in", 0, "PORT=ADDRESS", "read an input from a link, not from stdin; repeatable"},
    [COMMON_OUT] = {"out", 0, "PORT=ADDRESS",
                    "write an output to a link, not to stdout; repeatable; by comma: replicas of one reader"},
    [COMMON_EMIT] = {"emit", 0, "PORT[,PORT]", "outputs that leave on stdout"},
    [COMMON_WINDOW] = {"window", 0, "N", "frames an incoming link may hold (8, or 64 small ones)"},
    [COMMON_SPILL] = {"spill", 0, "SIZE", "disk space where more may wait, for each incoming link (none)"},
    [COMMON_SOURCE] = {"source", 0, "N", "number of this source, where a pipeline has several (0)"},
    [COMMON_COLOR] = {"color", 0, "WHEN", "auto, always or never"},
    [COMMON_QUIET] = {"quiet", 'q', NULL, "errors only"},
    [COMMON_VERBOSE] = {"verbose", 'v', NULL, "say more; -vv: everything"},
    [COMMON_DESCRIBE] = {"describe", 0, NULL, "print this kind's options and ports as JSON"},
    [COMMON_HELP] = {"help", 'h', NULL, "print this"},
    [COMMON_VERSION] = {"version", 0, NULL, "print the version"},
    [COMMON_PARENT] = {"parent", 0, "PID", NULL},
    [COMMON_STATUS] = {"status", 0, "FD", NULL},
    [COMMON_INCARNATION] = {"incarnation", 0, "N", NULL},
    [COMMON_EPOCH] = {"epoch", 0, "N", NULL},
    [COMMON_CONTROL] = {"control", 0, "FD", NULL},
    [COMMON_RUN_DIR] = {"run-dir", 0, "DIR", NULL},
    [COMMON_IN_FLIGHT] = {"in-flight", 0, "N", NULL},
    [COMMON_REPLICA] = {"replica", 0, "N", NULL},
    [COMMON_RECONNECT] = {"reconnect", 0, "MS", NULL},
};

static size_t count_outputs(const struct stage_ops *ops)
{
    size_t n = 0;
    while (ops->outputs != NULL && ops->outputs[n].name != NULL) n++;
    return n;
}

static bool offered(const struct stage_ops *ops, common_id id)
{
    switch (id) {
    case COMMON_IN:
    case COMMON_WINDOW:
    case COMMON_SPILL: return ops->inputs != NULL;
    case COMMON_OUT: return ops->outputs != NULL;
    case COMMON_EMIT: return count_outputs(ops) > 1;
    case COMMON_SOURCE:
    case COMMON_IN_FLIGHT: return ops->inputs == NULL;
    default: return true;
    }
}

const struct stage_common *stage_common_at(const struct stage_ops *ops, size_t i)
{
    for (common_id id = 0; id < COMMON_COUNT; id++) {
        if (!offered(ops, id) || commons[id].meaning == NULL) continue;
        if (i-- == 0) return &commons[id];
    }
    return NULL;
}

/* --- values of the common options --- */

static const char *keep(struct stage_command *c, const char *text, size_t len)
{
    c->texts.items = realloc(c->texts.items, (c->texts.count + 1) * sizeof *c->texts.items);
    char *copy = strndup(text, len);
    if (c->texts.items == NULL || copy == NULL) abort();
    c->texts.items[c->texts.count++] = copy;
    return copy;
}

const char *stage_command_keep(struct stage_command *c, const char *text)
{
    return keep(c, text, strlen(text));
}

static thea_rc take_int(int64_t *out, const char *option, const char *text, double min, double max,
                        struct thea_err *err)
{
    struct value v;
    struct value_limits limits = {min, max, NULL};
    thea_rc rc = value_parse(&v, VALUE_INT, &limits, text, err);
    if (rc != THEA_OK) return thea_fail_prefix(err, "%s", option);
    *out = v.integer;
    return THEA_OK;
}

static void fail_port(struct thea_err *err, const char *option, const struct stage_ops *ops,
                      const struct stage_port *ports, const char *name)
{
    const char *names[STAGE_PORTS_MAX + 1] = {NULL};
    for (size_t i = 0; ports[i].name != NULL && i < STAGE_PORTS_MAX; i++) names[i] = ports[i].name;
    const char *near = value_nearest(name, names);
    struct buf list = {0};
    stage_list_ports(&list, ports, ", ", 0);
    if (near != NULL)
        thea_fail(err, THEA_EUSAGE, "--%s: %s has no port '%s' (did you mean '%s'?)\n  ports  %s", option,
                  ops->kind, name, near, buf_text(&list));
    else
        thea_fail(err, THEA_EUSAGE, "--%s: %s has no port '%s'\n  ports  %s", option, ops->kind, name,
                  buf_text(&list));
    buf_fini(&list);
}

/* --out feedback=ADDRESS: the link back to the head of the loop, whatever the name of the port that it leaves
 * by. */
static struct stage_endpoint feedback_endpoint(const struct stage_port *outputs, struct stage_endpoint e)
{
    for (int i = 0; outputs[i].name != NULL; i++) {
        if ((outputs[i].flags & STAGE_FEEDBACK) == 0) continue;
        e.port = i;
        e.feedback = true;
    }
    return e;
}

/* One --in or --out: PORT=ADDRESS; several addresses by comma are links of one group. */
static void add_endpoints(struct stage *st, struct stage_endpoints *list, struct stage_endpoint e,
                          const char *addresses, bool may_group)
{
    const char *rest = addresses;
    e.group = list->count > 0 ? list->items[list->count - 1].group + 1 : 0;
    e.first = true;
    do {
        size_t len = may_group ? strcspn(rest, ",") : strlen(rest);
        list->items = realloc(list->items, (list->count + 1) * sizeof *list->items);
        if (list->items == NULL) abort();
        e.address = keep(&st->command, rest, len);
        list->items[list->count++] = e;
        e.first = false;
        rest += len + (rest[len] == ',');
    } while (*rest != '\0');
}

static thea_rc take_endpoint(struct stage *st, struct stage_endpoints *list, const char *option,
                             const struct stage_port *ports, const char *text, struct thea_err *err)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == '\0')
        return thea_fail(err, THEA_EUSAGE,
                         "--%s '%s': PORT=ADDRESS is accepted, such as %s=abstract://thea-5c1e77a09b3d2f18-1",
                         option, text, ports[0].name);
    const char *name = keep(&st->command, text, (size_t)(equals - text)), *addresses = equals + 1;
    bool out = ports == st->ops->outputs;
    struct stage_endpoint e = {.port = stage_find_port(ports, name)};
    if (out && strcmp(name, "feedback") == 0) e = feedback_endpoint(ports, e);
    if (e.port < 0) {
        fail_port(err, option, st->ops, ports, name);
        return THEA_EUSAGE;
    }
    e.by_hash = out && strncmp(addresses, "hash:", 5) == 0;
    add_endpoints(st, list, e, addresses + (e.by_hash ? 5 : 0), out);
    return THEA_OK;
}

static thea_rc take_emit(struct stage *st, const char *text, struct thea_err *err)
{
    char *copy = strdup(text), *rest = copy;
    thea_rc rc = THEA_OK;
    if (copy == NULL) abort();
    for (char *name; rc == THEA_OK && (name = strsep(&rest, ",")) != NULL;) {
        if (stage_find_port(st->ops->outputs, name) >= 0) continue;
        fail_port(err, "emit", st->ops, st->ops->outputs, name);
        rc = THEA_EUSAGE;
    }
    free(copy);
    st->command.emit = keep(&st->command, text, strlen(text));
    return rc;
}

static thea_rc take_color(struct stage_command *c, const char *text, struct thea_err *err)
{
    static const char *const words[] = {"auto", "always", "never", NULL};
    struct value v;
    struct value_limits limits = {0, 0, words};
    if (value_parse(&v, VALUE_CHOICE, &limits, text, err) != THEA_OK) return thea_fail_prefix(err, "--color");
    c->color = v.choice == 0 ? THEA_COLOR_AUTO : v.choice == 1 ? THEA_COLOR_ALWAYS : THEA_COLOR_NEVER;
    return THEA_OK;
}

static thea_rc take_size(uint64_t *out, const char *option, const char *text, double min,
                         struct thea_err *err)
{
    struct value v;
    struct value_limits limits = {min, 1e18, NULL};
    thea_rc rc = value_parse(&v, VALUE_SIZE, &limits, text, err);
    if (rc != THEA_OK) return thea_fail_prefix(err, "%s", option);
    *out = (uint64_t)v.integer;
    return THEA_OK;
}

static thea_rc take_number(struct stage_command *c, common_id id, const char *text, struct thea_err *err)
{
    int64_t n = 0;
    thea_rc rc = THEA_OK;
    switch (id) {
    case COMMON_THREADS:
        rc = take_int(&n, "--threads", text, 1, 1024, err);
        c->threads = (int)n;
        break;
    case COMMON_WINDOW:
        rc = take_int(&n, "--window", text, 1, 4096, err);
        c->window = (int)n;
        break;
    case COMMON_SOURCE:
        rc = take_int(&n, "--source", text, 0, 65535, err);
        c->source = (int)n;
        break;
    case COMMON_PARENT:
        rc = take_int(&n, "--parent", text, 1, INT32_MAX, err);
        c->parent = (int)n;
        break;
    case COMMON_STATUS:
        rc = take_int(&n, "--status", text, 0, INT32_MAX, err);
        c->status_fd = (int)n;
        break;
    case COMMON_CONTROL:
        rc = take_int(&n, "--control", text, 0, INT32_MAX, err);
        c->control_fd = (int)n;
        break;
    case COMMON_IN_FLIGHT:
        rc = take_int(&n, "--in-flight", text, 1, 65536, err);
        c->in_flight = (int)n;
        break;
    case COMMON_REPLICA:
        rc = take_int(&n, "--replica", text, 0, 65535, err);
        c->replica = (int)n;
        break;
    case COMMON_RECONNECT:
        rc = take_int(&n, "--reconnect", text, 1, INT32_MAX, err);
        c->reconnect_ms = (int)n;
        break;
    case COMMON_INCARNATION:
        rc = take_int(&n, "--incarnation", text, 0, UINT32_MAX, err);
        c->incarnation = (uint32_t)n;
        break;
    default: rc = take_int(&n, "--epoch", text, 0, 9e15, err); c->epoch = (uint64_t)n;
    }
    return rc;
}

static thea_rc take_common(struct stage *st, common_id id, const char *text, struct thea_err *err)
{
    struct stage_command *c = &st->command;
    switch (id) {
    case COMMON_NAME:
        if (text[0] == '\0') return thea_fail(err, THEA_EUSAGE, "--name: the name is empty");
        c->name = keep(c, text, strlen(text));
        return THEA_OK;
    case COMMON_IN: return take_endpoint(st, &c->in, "in", st->ops->inputs, text, err);
    case COMMON_OUT: return take_endpoint(st, &c->out, "out", st->ops->outputs, text, err);
    case COMMON_EMIT: return take_emit(st, text, err);
    case COMMON_COLOR: return take_color(c, text, err);
    case COMMON_SPILL: return take_size(&c->spill_bytes, "--spill", text, LINK_SPILL_MIN, err);
    case COMMON_QUIET: c->loudness = -1; return THEA_OK;
    case COMMON_VERBOSE: c->loudness = c->loudness < 0 ? 1 : c->loudness + 1; return THEA_OK;
    case COMMON_DESCRIBE: c->describe = true; return THEA_OK;
    case COMMON_HELP: c->help = true; return THEA_OK;
    case COMMON_VERSION: c->version = true; return THEA_OK;
    case COMMON_RUN_DIR: c->run_dir = keep(c, text, strlen(text)); return THEA_OK;
    default: return take_number(c, id, text, err);
    }
}

thea_rc stage_common_take(struct stage *st, int id, const char *text, struct thea_err *err)
{
    return take_common(st, (common_id)id, text, err);
}

thea_rc stage_common_threads(struct stage_command *c, struct thea_err *err)
{
    const char *wanted = getenv("THEA_THREADS");
    int64_t n = 1;
    if (c->threads > 0) return THEA_OK;
    if (wanted != NULL && wanted[0] != '\0') {
        thea_rc rc = take_int(&n, "THEA_THREADS", wanted, 1, 1024, err);
        if (rc != THEA_OK) return rc;
    }
    c->threads = (int)n;
    return THEA_OK;
}

int stage_common_find(const struct stage_ops *ops, const char *name, size_t len)
{
    for (common_id id = 0; id < COMMON_COUNT; id++)
        if (offered(ops, id) && strlen(commons[id].name) == len && memcmp(commons[id].name, name, len) == 0)
            return (int)id;
    return -1;
}

int stage_common_letter(char letter)
{
    for (common_id id = 0; id < COMMON_COUNT; id++)
        if (commons[id].letter == letter) return (int)id;
    return -1;
}

bool stage_common_takes_value(int id)
{
    return commons[id].argument != NULL;
}
