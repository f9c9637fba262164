/* --help and --describe: a kind's table for people and for programs. */
#include "graph/wire/stage_core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct dim {
    char *symbol;
    uint64_t n;
};

struct stage_describe {
    struct dim *dims;
    size_t dim_count;
    char *default_port;
    bool alone;                                  /* with these options it is the only output */
    uint32_t without;                            /* outputs that it does not have with these options */
    uint32_t reads_first, reads_all;             /* inputs: see stage_describe_reads */
    const char *first_by[STAGE_PORTS_MAX];       /* outputs: an option's name, NULL: none */
    struct json_node *blocks, *resolved, *notes; /* owned; NULL: none */
};

struct stage_describe *stage_describe_new(void)
{
    struct stage_describe *d = calloc(1, sizeof *d);
    if (d == NULL) abort();
    return d;
}

void stage_describe_free(struct stage_describe *d)
{
    if (d == NULL) return;
    for (size_t i = 0; i < d->dim_count; i++) free(d->dims[i].symbol);
    free(d->dims);
    free(d->default_port);
    json_free(d->blocks);
    json_free(d->resolved);
    json_free(d->notes);
    free(d);
}

void stage_describe_dim(struct stage_describe *d, const char *symbol, uint64_t n)
{
    d->dims = realloc(d->dims, (d->dim_count + 1) * sizeof *d->dims);
    char *copy = strdup(symbol);
    if (d->dims == NULL || copy == NULL) abort();
    d->dims[d->dim_count++] = (struct dim){copy, n};
}

uint64_t stage_describe_find_dim(const struct stage_describe *d, const char *symbol, size_t len)
{
    for (size_t i = d->dim_count; i-- > 0;) /* the newest wins */
        if (strlen(d->dims[i].symbol) == len && memcmp(d->dims[i].symbol, symbol, len) == 0)
            return d->dims[i].n;
    return 0;
}

void stage_describe_default(struct stage_describe *d, const char *out_port)
{
    free(d->default_port);
    d->default_port = strdup(out_port);
    if (d->default_port == NULL) abort();
}

void stage_describe_only(struct stage_describe *d, const char *out_port)
{
    stage_describe_default(d, out_port);
    d->alone = true;
}

void stage_describe_without(struct stage_describe *d, int out_port)
{
    d->without |= UINT32_C(1) << out_port;
}

void stage_describe_reads(struct stage_describe *d, int in_port, bool only_first)
{
    *(only_first ? &d->reads_first : &d->reads_all) |= UINT32_C(1) << in_port;
}

void stage_describe_first_by(struct stage_describe *d, int out_port, const char *option)
{
    d->first_by[out_port] = option;
}

const char *stage_describe_find_default(const struct stage_describe *d)
{
    return d->default_port;
}

void stage_describe_blocks(struct stage_describe *d, size_t count, const double *costs, double first_extra,
                           double last_extra)
{
    struct json_node *list = json_new_list();
    for (size_t i = 0; i < count; i++) json_append(list, json_new_number(costs[i]));
    json_free(d->blocks);
    d->blocks = json_new_map();
    json_put(d->blocks, "count", json_new_int((int64_t)count));
    json_put(d->blocks, "costs", list);
    json_put(d->blocks, "first_extra", json_new_number(first_extra));
    json_put(d->blocks, "last_extra", json_new_number(last_extra));
}

void stage_describe_resolved(struct stage_describe *d, const char *option, const char *value)
{
    if (d->resolved == NULL) d->resolved = json_new_map();
    json_put(d->resolved, option, json_new_string(value));
}

void stage_describe_note(struct stage_describe *d, const char *key, struct json_node *value)
{
    if (d->notes == NULL) d->notes = json_new_map();
    json_put(d->notes, key, value);
}

/* --- --describe --- */

static struct json_node *flags_json(unsigned flags, const char *const *names)
{
    struct json_node *list = json_new_list();
    for (size_t i = 0; names[i] != NULL; i++)
        if ((flags >> i & 1) != 0) json_append(list, json_new_string(names[i]));
    return list;
}

static struct json_node *choices_json(const char *const *choices)
{
    if (choices == NULL) return json_new_null();
    struct json_node *list = json_new_list();
    for (; *choices != NULL; choices++) json_append(list, json_new_string(*choices));
    return list;
}

static bool has_limits(const struct stage_option *o)
{
    return o->min < o->max;
}

static struct json_node *limit_json(const struct stage_option *o, double limit)
{
    if (!has_limits(o)) return json_new_null();
    bool whole = limit > -9e15 && limit < 9e15 && limit == (double)(int64_t)limit;
    return whole ? json_new_int((int64_t)limit) : json_new_number(limit);
}

static struct json_node *option_json(const struct stage_option *o, const struct stage_setting *s)
{
    static const char *const flags[] = {"operands", "required", "cli_only", "hidden", NULL};
    struct json_node *map = json_new_map();
    json_put(map, "name", json_new_string(o->name));
    json_put(map, "type", json_new_string(value_type_name(o->type)));
    json_put(map, "default", json_new_string(o->def));
    json_put(map, "unit", json_new_string(o->unit));
    json_put(map, "min", limit_json(o, o->min));
    json_put(map, "max", limit_json(o, o->max));
    json_put(map, "choices", choices_json(o->choices));
    json_put(map, "meaning", json_new_string(o->meaning));
    json_put(map, "flags", flags_json(o->flags, flags));
    json_put(map, "value", json_new_string(s->given || s->text.len > 0 ? buf_text(&s->text) : NULL));
    return map;
}

/* "n, 128" -> ["n", 128] */
static struct json_node *shape_json(const char *shape)
{
    struct json_node *list = json_new_list();
    char *copy = strdup(shape), *rest = copy;
    if (copy == NULL) abort();
    for (char *word; (word = strsep(&rest, ", ")) != NULL;) {
        if (word[0] == '\0') continue;
        bool number = strspn(word, "0123456789") == strlen(word);
        json_append(list, number ? json_new_int(strtoll(word, NULL, 10)) : json_new_string(word));
    }
    free(copy);
    return list;
}

static struct json_node *port_json(const struct stage_port *p, const char *shape, const char *default_port)
{
    static const char *const flags[] = {"optional", "one_of", "feedback", "default", NULL};
    unsigned set = p->flags;
    if (default_port != NULL)
        set = strcmp(default_port, p->name) == 0 ? set | STAGE_DEFAULT : set & ~(unsigned)STAGE_DEFAULT;
    struct json_node *map = json_new_map();
    json_put(map, "name", json_new_string(p->name));
    json_put(map, "dtype", json_new_string(tensor_dtype_info(p->dtype)->name));
    json_put(map, "shape", shape_json(shape));
    json_put(map, "tensor", json_new_string(p->tensor != NULL ? p->tensor : p->name));
    json_put(map, "flags", flags_json(set, flags));
    json_put(map, "meaning", json_new_string(p->meaning));
    return map;
}

static struct json_node *input_json(const struct stage_in *in, int i, const struct stage_describe *d)
{
    struct json_node *map = port_json(in->port, in->shape, NULL);
    bool first = (d->reads_first >> i & 1) != 0, all = (d->reads_all >> i & 1) != 0;
    if (first || all) json_put(map, "reads", json_new_string(all ? "all" : "first"));
    return map;
}

static struct json_node *output_json(const struct stage_out *out, int i, const struct stage_describe *d)
{
    struct json_node *map = port_json(out->port, out->shape, d->default_port);
    if (d->first_by[i] != NULL) json_put(map, "first_by", json_new_string(d->first_by[i]));
    return map;
}

static struct json_node *take(struct json_node **node)
{
    struct json_node *taken = *node != NULL ? *node : json_new_null();
    *node = NULL;
    return taken;
}

char *stage_describe_print(const struct stage *st)
{
    struct stage_describe *d = st->described;
    struct json_node *map = json_new_map(), *options = json_new_list(), *inputs = json_new_list(),
                     *outputs = json_new_list();
    struct json_node *dims = json_new_map();
    for (size_t i = 0; i < st->setting_count; i++)
        json_append(options, option_json(&st->ops->options[i], &st->settings[i]));
    for (int i = 0; i < st->in_count; i++) json_append(inputs, input_json(&st->in[i], i, d));
    for (int i = 0; i < st->out_count; i++)
        if ((d->without >> i & 1) == 0 && (!d->alone || strcmp(st->out[i].port->name, d->default_port) == 0))
            json_append(outputs, output_json(&st->out[i], i, d));
    for (size_t i = 0; i < d->dim_count; i++)
        json_put(dims, d->dims[i].symbol, json_new_int((int64_t)d->dims[i].n));
    json_put(map, "kind", json_new_string(st->ops->kind));
    json_put(map, "summary", json_new_string(st->ops->summary));
    json_put(map, "version", json_new_string(THEA_VERSION));
    json_put(map, "aggregates", json_new_bool(st->ops->aggregates));
    json_put(map, "options", options);
    json_put(map, "inputs", inputs);
    json_put(map, "outputs", outputs);
    json_put(map, "dims", dims);
    json_put(map, "blocks", take(&d->blocks));
    json_put(map, "resolved", take(&d->resolved));
    json_put(map, "notes", take(&d->notes));
    json_put(map, "examples", choices_json(st->ops->examples));
    char *text = json_print(map, 2, 0);
    json_free(map);
    return text;
}

/* --- --help: at most 40 lines --- */

enum { HELP_LINES = 40, HELP_COLUMN = 26 };

static void print_row(FILE *to, const char *left, const char *meaning, const char *more)
{
    fprintf(to, "  %-*s  %s%s\n", HELP_COLUMN, left, meaning, more);
}

static void print_option(FILE *to, const struct stage_option *o)
{
    char left[96], more[96] = "", letter = stage_option_letter(o->name), *name = stage_dash_name(o->name);
    char lead[8];
    snprintf(lead, sizeof lead, letter != '\0' ? "-%c, " : "    ", letter);
    bool on = o->type == VALUE_BOOL && o->def != NULL && strcmp(o->def, "true") == 0;
    const char *unit = o->type == VALUE_INT && o->unit != NULL ? o->unit : value_type_name(o->type);
    if (o->type == VALUE_BOOL)
        snprintf(left, sizeof left, "%s--%s%s", lead, on ? "[no-]" : "", name);
    else
        snprintf(left, sizeof left, "%s--%s %s", lead, name, unit);
    if (o->type != VALUE_BOOL && o->def != NULL && o->def[0] != '\0')
        snprintf(more, sizeof more, " (%.60s)", o->def);
    if (on) snprintf(more, sizeof more, " (on)");
    print_row(to, left, o->meaning, more);
    free(name);
}

static int print_ports(FILE *to, const char *title, const struct stage_port *ports, char *const *shapes)
{
    int lines = 0;
    for (; ports != NULL && ports->name != NULL; ports++, lines++) {
        char left[128];
        snprintf(left, sizeof left, "%-4s %-9s %s [%s]", lines == 0 ? title : "", ports->name,
                 tensor_dtype_info(ports->dtype)->name, shapes[lines]);
        print_row(to, left, ports->meaning != NULL ? ports->meaning : "", "");
    }
    return lines;
}

static const char *operand_name(const struct stage_ops *ops)
{
    for (size_t i = 0; i < stage_option_count(ops); i++)
        if ((ops->options[i].flags & STAGE_OPERANDS) != 0)
            return value_type_is_list(ops->options[i].type) ? " [PATH...]" : " [OPERAND]";
    return "";
}

static int print_examples(FILE *to, const char *const *examples)
{
    int lines = 0;
    if (examples == NULL) return 0;
    fputs("examples\n", to);
    for (; examples[lines] != NULL; lines++) fprintf(to, "  %s\n", examples[lines]);
    return lines + 1;
}

/* The options of every stage: a line each while they fit, else their names on one. */
static void print_common(FILE *to, const struct stage *st, int room)
{
    int n = 0;
    while (stage_common_at(st->ops, (size_t)n) != NULL) n++;
    fputs(n + 1 <= room ? "every stage\n" : "every stage ", to);
    for (int i = 0; i < n; i++) {
        const struct stage_common *c = stage_common_at(st->ops, (size_t)i);
        char left[64];
        if (n + 1 > room) {
            fprintf(to, " --%s", c->name);
            continue;
        }
        char lead[8];
        snprintf(lead, sizeof lead, c->letter != '\0' ? "-%c, " : "    ", c->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", lead, c->name, c->argument != NULL ? " " : "",
                 c->argument != NULL ? c->argument : "");
        print_row(to, left, c->meaning, "");
    }
    if (n + 1 > room) fputc('\n', to);
}

static int count_lines(const char *const *lines)
{
    int n = 0;
    while (lines != NULL && lines[n] != NULL) n++;
    return n > 0 ? n + 1 : 0;
}

void stage_help_print(const struct stage *st, FILE *to)
{
    char *in[STAGE_PORTS_MAX] = {NULL}, *out[STAGE_PORTS_MAX] = {NULL};
    int lines = 3;
    for (int i = 0; i < st->in_count; i++) in[i] = st->in[i].shape;
    for (int i = 0; i < st->out_count; i++) out[i] = st->out[i].shape;
    fprintf(to, "usage: thea %s [OPTION...]%s\n%s\n", st->ops->kind, operand_name(st->ops), st->ops->summary);
    lines += print_ports(to, "in", st->ops->inputs, in);
    lines += print_ports(to, "out", st->ops->outputs, out);
    if (st->setting_count > 0) fputs("options\n", to);
    for (size_t i = 0; i < st->setting_count; i++) {
        if ((st->ops->options[i].flags & STAGE_HIDDEN) != 0) continue;
        print_option(to, &st->ops->options[i]);
        lines++;
    }
    print_common(to, st, HELP_LINES - lines - count_lines(st->ops->examples));
    print_examples(to, st->ops->examples);
}
