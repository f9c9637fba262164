/* A spec as YAML again: every path absolute, every port named, nothing left to look up. */
#include "graph/control/spec_internal.h"

#include <stdlib.h>
#include <string.h>

/* Double-quoted, so that nothing in it means anything; `$` doubled, because files have ${…} replaced. */
static void add_quoted(struct buf *out, const char *text)
{
    buf_add_char(out, '"');
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (*c == '"' || *c == '\\')
            buf_printf(out, "\\%c", *c);
        else if (*c == '$')
            buf_add_text(out, "$$");
        else if (byte < 0x20 || byte == 0x7F)
            buf_printf(out, "\\x%02X", byte);
        else
            buf_add_char(out, *c);
    }
    buf_add_char(out, '"');
}

static void add_option(struct buf *out, const struct spec_stage *st, const struct spec_option *o)
{
    value_type type = spec_option_type(spec_table_option(st->table, o->name));
    bool plain = type == VALUE_BOOL || type == VALUE_INT || type == VALUE_NUMBER;
    buf_printf(out, "    %s: ", o->name);
    if (o->is_list) buf_add_char(out, '[');
    for (size_t i = 0; i < o->count; i++) {
        buf_add_text(out, i > 0 ? ", " : "");
        if (plain)
            buf_add_text(out, o->values[i]);
        else
            add_quoted(out, o->values[i]);
    }
    buf_add_text(out, o->is_list ? "]\n" : "\n");
}

static void add_from(struct buf *out, const struct spec *s, size_t stage)
{
    const char *input = NULL;
    bool list = false; /* several edges into one input; else {input: stage.port} says most */
    for (size_t i = 0; i < s->edge_count; i++) {
        const struct spec_edge *e = &s->edges[i];
        if (e->to != stage || e->feedback) continue;
        list = list || (input != NULL && strcmp(input, e->to_port) == 0);
        input = e->to_port;
    }
    size_t n = 0;
    for (size_t i = 0; i < s->edge_count; i++) {
        const struct spec_edge *e = &s->edges[i];
        if (e->to != stage || e->feedback) continue;
        buf_add_text(out, n++ > 0 ? ", " : list ? "    from: [" : "    from: {");
        if (!list) buf_printf(out, "%s: ", e->to_port);
        buf_printf(out, "%s.%s", s->stages[e->from].name, e->from_port);
    }
    if (n > 0) buf_add_text(out, list ? "]\n" : "}\n");
    for (size_t i = 0; i < s->edge_count; i++)
        if (s->edges[i].to == stage && s->edges[i].feedback)
            buf_printf(out, "    feedback: %s.%s\n", s->stages[s->edges[i].from].name, s->edges[i].from_port);
}

static void add_env(struct buf *out, char *const *env)
{
    if (env == NULL || env[0] == NULL) return;
    buf_add_text(out, "    env:\n");
    for (size_t i = 0; env[i] != NULL; i++) {
        const char *equals = strchr(env[i], '=');
        buf_printf(out, "      %.*s: ", (int)(equals - env[i]), env[i]);
        add_quoted(out, equals + 1);
        buf_add_char(out, '\n');
    }
}

/* What differs from the default; threads always, for the environment can say otherwise. */
static void add_common(struct buf *out, const struct spec_stage *st)
{
    static const char *const restarts[] = {"on-failure", "never", "always"};
    static const char *const on_errors[] = {"retry", "skip", "stop"};
    char text[32];
    buf_printf(out, "    threads: %d\n", st->threads);
    if (st->replicas > 1) buf_printf(out, "    replicas: %d\n", st->replicas);
    if (st->restart != SPEC_RESTART_ON_FAILURE) buf_printf(out, "    restart: %s\n", restarts[st->restart]);
    if (st->on_error != SPEC_ON_ERROR_RETRY) buf_printf(out, "    on_error: %s\n", on_errors[st->on_error]);
    if (st->tries != SPEC_TRIES) buf_printf(out, "    tries: %d\n", st->tries);
    if (st->memory_bytes > 0)
        buf_printf(out, "    memory: %s\n", value_format_exact(text, VALUE_SIZE, st->memory_bytes));
    if (st->deadline_ns != SPEC_DEADLINE_NS)
        buf_printf(out, "    deadline: %s\n", value_format_exact(text, VALUE_TIME, st->deadline_ns));
    if (st->window > 0) buf_printf(out, "    window: %d\n", st->window);
    if (st->spill_bytes > 0)
        buf_printf(out, "    spill: %s\n", value_format_exact(text, VALUE_SIZE, st->spill_bytes));
    if (st->source && st->in_flight > 0) buf_printf(out, "    in_flight: %d\n", st->in_flight);
}

void spec_print(const struct spec *s, struct buf *out)
{
    buf_printf(out, "name: \"%s\"\n", s->name);
    if (s->doc != NULL) buf_add_text(out, "doc: "), add_quoted(out, s->doc), buf_add_char(out, '\n');
    buf_add_text(out, "stages:\n");
    for (size_t i = 0; i < s->stage_count; i++) {
        const struct spec_stage *st = &s->stages[i];
        buf_printf(out, "  %s:\n    kind: ", st->name);
        if (strchr(st->kind, '/') != NULL)
            add_quoted(out, st->program);
        else
            buf_add_text(out, st->kind);
        buf_add_char(out, '\n');
        add_from(out, s, i);
        if (st->model != NULL)
            buf_add_text(out, "    model: "), add_quoted(out, st->model), buf_add_char(out, '\n');
        for (size_t k = 0; k < st->option_count; k++) add_option(out, st, &st->options[k]);
        if (st->split > 1) buf_printf(out, "    split: %d\n", st->split);
        add_common(out, st);
        add_env(out, st->env);
    }
}
