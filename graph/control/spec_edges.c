/* From `from` to edges: which output feeds which input, whether they fit, inputs left alone. */
#include "graph/control/spec_internal.h"

#include <stdlib.h>
#include <string.h>

struct consumer { /* one stage while its inputs are connected */
    size_t stage;
    struct port_binding *bindings;
    const struct json_node *list_input; /* of a list: the input that its first entry took */
    bool doubtful; /* something could not be resolved: say nothing of unconnected inputs */
};

static const char *stage_name(const struct spec_reader *r, size_t i)
{
    return r->spec->stages[i].name;
}

/* --- what a text names --- */

static void unknown_stage(struct spec_reader *r, size_t reader, const struct yaml_node *at, const char *word)
{
    const char **names = spec_must(calloc(r->spec->stage_count + 1, sizeof(char *)));
    struct buf message = {0}, list = {0};
    buf_printf(&message, "stage '%s': no stage '%s'", stage_name(r, reader), word);
    buf_add_text(&list, "stages: ");
    for (size_t i = 0, n = 0; i < r->spec->stage_count; i++) {
        if (i == reader) continue;
        names[n++] = stage_name(r, i);
        buf_printf(&list, "%s%s", n > 1 ? ", " : "", stage_name(r, i));
    }
    spec_add_nearest(&message, word, names);
    spec_report(r, "E062", at, buf_text(&list), "%s", buf_text(&message));
    buf_fini(&message);
    buf_fini(&list);
    free(names);
}

static void unknown_port(struct spec_reader *r, const struct yaml_node *at, size_t stage, bool outputs,
                         const char *word)
{
    const struct json_node *table = r->drafts[stage].table, *ports = port_list(table, outputs);
    const char **names = spec_must(calloc(json_count(ports) + 1, sizeof(char *)));
    struct buf message = {0}, details = {0};
    for (size_t i = 0; i < json_count(ports); i++) names[i] = port_name(json_item(ports, i));
    char *list = port_names(table, outputs);
    buf_printf(&message, "stage '%s' has no %s '%s'", stage_name(r, stage), outputs ? "output" : "input",
               word);
    spec_add_nearest(&message, word, names);
    buf_printf(&details, "%s of kind '%s': %s", outputs ? "outputs" : "inputs", r->spec->stages[stage].kind,
               list);
    spec_report(r, "E063", at, buf_text(&details), "%s", buf_text(&message));
    buf_fini(&message);
    buf_fini(&details);
    free(list);
    free(names);
}

/* "stage" or "stage.port". false: reported, or the stage is not understood. */
bool spec_resolve(struct spec_reader *r, size_t reader, const struct yaml_node *key,
                  const struct yaml_node *node, struct spec_reference *out)
{
    struct buf what = {0};
    buf_printf(&what, "stage '%s': %s", stage_name(r, reader), key->text);
    bool text = spec_scalar(r, buf_text(&what), key, node,
                            "a stage, such as `layers`, or one of its outputs, such as `layers.final`");
    buf_fini(&what);
    if (!text) return false;
    const char *dot = strchr(node->text, '.');
    size_t len = dot != NULL ? (size_t)(dot - node->text) : strlen(node->text);
    out->stage = spec_find_stage(r->spec, node->text, len);
    if (out->stage == SIZE_MAX) {
        char *word = spec_must(strndup(node->text, len));
        unknown_stage(r, reader, node, word);
        free(word);
        return false;
    }
    const struct json_node *table = r->drafts[out->stage].table;
    out->named_port = dot != NULL;
    out->port = dot != NULL ? port_find(table, true, dot + 1) : NULL;
    if (dot != NULL && table != NULL && out->port == NULL) {
        unknown_port(r, node, out->stage, true, dot + 1);
        return false;
    }
    return true;
}

/* --- choosing ports --- */

static bool is_forward(const struct json_node *in)
{
    return !port_flag(in, "feedback");
}

struct pairs {
    const struct json_node *out, *in;
    size_t count;
    bool several_outputs;
    struct buf list;
};

static void add_pair(struct pairs *p, const char *stage, const struct json_node *out,
                     const struct json_node *in)
{
    if (p->count > 0 && out != p->out) p->several_outputs = true;
    if (p->count == 0) p->out = out, p->in = in;
    char *pattern = port_pattern(out);
    buf_printf(&p->list, "%s%s.%s %s for input '%s'", p->count++ > 0 ? "\n" : "", stage, port_name(out),
               pattern, port_name(in));
    free(pattern);
}

/* Every pair of an output of `ref` and an input (the given one, or any) with the same name, or with fitting
 * types. */
static void find_pairs(const struct spec_reader *r, struct pairs *p, size_t consumer,
                       struct spec_reference ref, const struct json_node *input, bool by_name)
{
    const struct json_node *outs = port_list(r->drafts[ref.stage].table, true),
                           *ins = port_list(r->drafts[consumer].table, false);
    for (size_t i = 0; i < json_count(ins); i++) {
        const struct json_node *in = json_item(ins, i);
        if (!is_forward(in) || (input != NULL && in != input)) continue;
        for (size_t k = 0; k < json_count(outs); k++) {
            const struct json_node *out = json_item(outs, k);
            if (ref.port != NULL && out != ref.port) continue;
            bool match = by_name ? strcmp(port_name(out), port_name(in)) == 0 : port_fits(out, in);
            if (match) add_pair(p, stage_name(r, ref.stage), out, in);
        }
    }
}

static void add_sides(struct buf *b, const struct spec_reader *r, size_t from, const struct json_node *out,
                      size_t to, const struct json_node *in)
{
    char *produced = port_pattern(out), *expected = port_pattern(in), *givers = port_givers(in);
    struct buf left = {0}, right = {0};
    buf_printf(&left, "%s.%s", stage_name(r, from), port_name(out));
    buf_printf(&right, "%s.%s", stage_name(r, to), port_name(in));
    int names = (int)(left.len > right.len ? left.len : right.len),
        types = (int)(strlen(produced) > strlen(expected) ? strlen(produced) : strlen(expected));
    buf_printf(b, "produced   %-*s   %s\nexpected   %-*s   %-*s", names, buf_text(&left), produced, names,
               buf_text(&right), givers != NULL ? types : 0, expected);
    if (givers != NULL) buf_printf(b, "      (given by: %s)", givers);
    buf_fini(&left);
    buf_fini(&right);
    free(produced), free(expected), free(givers);
}

/* Nothing fits: show what there is beside what is wanted. */
void spec_report_mismatch(struct spec_reader *r, size_t consumer, const struct yaml_node *at,
                          struct spec_reference ref, const struct json_node *input, const char *why)
{
    const struct json_node *outs = port_list(r->drafts[ref.stage].table, true),
                           *ins = port_list(r->drafts[consumer].table, false);
    const struct json_node *out = ref.port != NULL ? ref.port : json_item(outs, 0), *in = input;
    for (size_t i = 0; i < json_count(ins) && in == NULL; i++)
        if (is_forward(json_item(ins, i))) in = json_item(ins, i);
    struct buf details = {0};
    add_sides(&details, r, ref.stage, out, consumer, in);
    if (ref.port == NULL && json_count(outs) > 1) {
        char *all = port_names(r->drafts[ref.stage].table, true);
        buf_printf(&details, "\noutputs of '%s': %s", stage_name(r, ref.stage), all);
        free(all);
    }
    if (input == NULL && json_count(ins) > 1) {
        char *all = port_names(r->drafts[consumer].table, false);
        buf_printf(&details, "\ninputs of '%s': %s", stage_name(r, consumer), all);
        free(all);
    }
    if (port_same_dtype(out, in) && why != NULL)
        spec_report(r, "E065", at, buf_text(&details),
                    "stage '%s' cannot read from '%s': the shapes differ: %s", stage_name(r, consumer),
                    stage_name(r, ref.stage), why);
    else
        spec_report(r, "E061", at, buf_text(&details), "stage '%s' cannot read from '%s': the types differ",
                    stage_name(r, consumer), stage_name(r, ref.stage));
    buf_fini(&details);
}

static void report_ambiguous(struct spec_reader *r, size_t consumer, const struct yaml_node *at,
                             const struct spec_reference *ref, const struct pairs *p)
{
    struct buf details = {0};
    buf_printf(&details, "%s\nname one: ", buf_text(&p->list));
    if (p->several_outputs)
        buf_printf(&details, "`from: %s.%s`", stage_name(r, ref->stage), port_name(p->out));
    else
        buf_printf(&details, "`from: {%s: %s}`", port_name(p->in), at->text);
    struct buf message = {0};
    buf_printf(&message,
               p->several_outputs ? "several outputs of '%s' fit stage '%s'"
                                  : "'%s' fits several inputs of stage '%s'",
               stage_name(r, ref->stage), stage_name(r, consumer));
    spec_report(r, "E064", at, buf_text(&details), "%s", buf_text(&message));
    buf_fini(&message);
    buf_fini(&details);
}

/* --- edges --- */

void spec_add_edge(struct spec_reader *r, size_t from, size_t to, const struct json_node *out,
                   const struct json_node *in, bool feedback)
{
    struct spec *s = r->spec;
    s->edges = spec_must(realloc(s->edges, (s->edge_count + 1) * sizeof *s->edges));
    s->edges[s->edge_count++] = (struct spec_edge){.from = from,
                                                   .to = to,
                                                   .from_port = out != NULL ? port_name(out) : NULL,
                                                   .to_port = in != NULL ? port_name(in) : NULL,
                                                   .pattern = out != NULL ? port_pattern(out) : NULL,
                                                   .feedback = feedback};
}

static bool edge_exists(const struct spec *s, size_t from, size_t to, const char *out, const char *in)
{
    for (size_t i = 0; i < s->edge_count; i++) {
        const struct spec_edge *e = &s->edges[i];
        if (e->from == from && e->to == to && e->from_port != NULL && strcmp(e->from_port, out) == 0 &&
            strcmp(e->to_port, in) == 0)
            return true;
    }
    return false;
}

/* Connect a resolved reference to an input (NULL: the one that fits). */
static void connect(struct spec_reader *r, struct consumer *c, const struct yaml_node *at,
                    struct spec_reference ref, const struct json_node *input)
{
    if (r->drafts[ref.stage].table == NULL || r->drafts[c->stage].table == NULL) {
        c->doubtful =
            true; /* one of the two is not understood, which is told elsewhere; the edge counts for cycles */
        spec_add_edge(r, ref.stage, c->stage, NULL, NULL, false);
        return;
    }
    if (json_count(port_list(r->drafts[ref.stage].table, true)) == 0) {
        c->doubtful = true;
        spec_report(r, "E071", at, NULL, "stage '%s' cannot read from '%s': kind '%s' has no outputs",
                    stage_name(r, c->stage), stage_name(r, ref.stage), r->spec->stages[ref.stage].kind);
        return;
    }
    struct pairs p = {0};
    find_pairs(r, &p, c->stage, ref, input, true);
    if (p.count == 0) find_pairs(r, &p, c->stage, ref, input, false);
    char *why = p.count == 1 ? port_bind(&c->bindings, p.out, p.in) : NULL;
    if (p.count > 1)
        report_ambiguous(r, c->stage, at, &ref, &p);
    else if (p.count == 0)
        spec_report_mismatch(r, c->stage, at, ref, input, NULL);
    else if (why != NULL || !port_same_dtype(p.out, p.in))
        spec_report_mismatch(r, c->stage, at, (struct spec_reference){ref.stage, p.out, true}, p.in, why);
    else if (edge_exists(r->spec, ref.stage, c->stage, port_name(p.out), port_name(p.in)))
        spec_report(r, "E070", at, "each document would arrive twice", "stage '%s' reads '%s.%s' twice",
                    stage_name(r, c->stage), stage_name(r, ref.stage), port_name(p.out));
    if (p.count != 1 || why != NULL || !port_same_dtype(p.out, p.in))
        c->doubtful = true, spec_add_edge(r, ref.stage, c->stage, NULL, NULL, false);
    else if (!edge_exists(r->spec, ref.stage, c->stage, port_name(p.out), port_name(p.in)))
        spec_add_edge(r, ref.stage, c->stage, p.out, p.in, false), c->list_input = p.in;
    free(why);
    buf_fini(&p.list);
}

static void connect_text(struct spec_reader *r, struct consumer *c, const struct yaml_node *key,
                         const struct yaml_node *node, const struct json_node *input)
{
    struct spec_reference ref;
    if (spec_resolve(r, c->stage, key, node, &ref))
        connect(r, c, node, ref, input);
    else
        c->doubtful = true;
}

static void connect_list(struct spec_reader *r, struct consumer *c, const struct yaml_node *key,
                         const struct yaml_node *list)
{
    if (list->count == 0)
        spec_report(r, "E060", list, NULL, "stage '%s': 'from' is an empty list", stage_name(r, c->stage)),
            c->doubtful = true;
    for (size_t i = 0; i < list->count; i++) connect_text(r, c, key, list->items[i], c->list_input);
}

static void connect_map(struct spec_reader *r, struct consumer *c, const struct yaml_node *map)
{
    const struct json_node *table = r->drafts[c->stage].table;
    if (map->count == 0)
        spec_report(r, "E060", map, NULL, "stage '%s': 'from' is an empty map", stage_name(r, c->stage)),
            c->doubtful = true;
    for (size_t i = 0; i < map->count; i++) {
        const struct yaml_node *key = map->keys[i];
        const struct json_node *in = port_find(table, false, key->text);
        if (table != NULL && in == NULL) {
            unknown_port(r, key, c->stage, false, key->text);
            c->doubtful = true;
        } else if (in != NULL && !is_forward(in)) {
            spec_report(r, "E067", key, "write `feedback: STAGE` beside `from`",
                        "stage '%s': input '%s' takes what comes back, by `feedback`",
                        stage_name(r, c->stage), key->text);
            c->doubtful = true;
        } else {
            connect_text(r, c, key, map->items[i], in);
        }
    }
}

/* --- inputs left alone --- */

static bool is_connected(const struct spec *s, size_t stage, const char *port)
{
    for (size_t i = 0; i < s->edge_count; i++)
        if (s->edges[i].to == stage && s->edges[i].to_port != NULL && strcmp(s->edges[i].to_port, port) == 0)
            return true;
    return false;
}

static bool could_read(const struct spec_reader *r, size_t stage, size_t from, bool by_name)
{
    const struct json_node *ins = port_list(r->drafts[stage].table, false),
                           *outs = port_list(r->drafts[from].table, true);
    for (size_t k = 0; k < json_count(outs) && from != stage; k++) {
        for (size_t i = 0; i < json_count(ins); i++) {
            const struct json_node *out = json_item(outs, k), *in = json_item(ins, i);
            if (is_forward(in) && port_fits(out, in) &&
                (!by_name || strcmp(port_name(out), port_name(in)) == 0))
                return true;
        }
    }
    return false;
}

/* Stages with an output of an input's name and type, or, if there is none, of its type; free it. */
static char *candidates(const struct spec_reader *r, size_t stage)
{
    struct buf b = {0};
    for (int by_name = 1; by_name >= 0 && b.len == 0; by_name--)
        for (size_t from = 0; from < r->spec->stage_count; from++)
            if (could_read(r, stage, from, by_name != 0))
                buf_printf(&b, "%s%s", b.len > 0 ? ", " : "", stage_name(r, from));
    return buf_take(&b);
}

static void check_inputs(struct spec_reader *r, size_t stage, const struct yaml_node *from)
{
    const struct json_node *table = r->drafts[stage].table, *ins = port_list(table, false);
    size_t one_of = 0, taken = 0, missing = 0;
    struct buf open = {0}, choice = {0};
    for (size_t i = 0; i < json_count(ins); i++) {
        const struct json_node *in = json_item(ins, i);
        bool connected = is_connected(r->spec, stage, port_name(in));
        if (!is_forward(in)) continue;
        if (port_flag(in, "one_of"))
            taken += connected, buf_printf(&choice, "%s%s", one_of++ > 0 ? ", " : "", port_name(in));
        else if (!connected && !port_flag(in, "optional"))
            buf_printf(&open, "%s%s", missing++ > 0 ? ", " : "", port_name(in));
    }
    const struct yaml_node *at = from != NULL ? from : r->drafts[stage].key;
    char *all = port_names(table, false), *fitting = candidates(r, stage);
    struct buf details = {0};
    buf_printf(&details, "inputs of kind '%s': %s", r->spec->stages[stage].kind, all);
    if (fitting[0] != '\0') buf_printf(&details, "\nstages that it could read from: %s", fitting);
    if (from == NULL && (missing > 0 || (one_of > 0 && taken == 0)))
        spec_report(r, "E060", at, buf_text(&details), "stage '%s' reads nothing: it needs `from`",
                    stage_name(r, stage));
    else if (missing > 0)
        spec_report(r, "E068", at, buf_text(&details), "stage '%s': nothing is connected to %s '%s'",
                    stage_name(r, stage), missing > 1 ? "inputs" : "input", buf_text(&open));
    else if (one_of > 0 && taken != 1)
        spec_report(r, "E068", at, buf_text(&details),
                    "stage '%s' takes exactly one of its inputs (%s), not %zu", stage_name(r, stage),
                    buf_text(&choice), taken);
    buf_fini(&details);
    buf_fini(&open);
    buf_fini(&choice);
    free(all), free(fitting);
}

static bool has_forward_input(const struct json_node *table)
{
    const struct json_node *ins = port_list(table, false);
    for (size_t i = 0; i < json_count(ins); i++)
        if (is_forward(json_item(ins, i))) return true;
    return false;
}

/* A key that was meant to be `from`: told as an unknown option already. */
static bool has_slip(const struct yaml_node *stage)
{
    static const char *const words[] = {"input",      "inputs", "source", "needs", "after",
                                        "depends_on", "form",   "fron",   NULL};
    for (size_t i = 0; words[i] != NULL; i++)
        if (yaml_member(stage, words[i]) != NULL) return true;
    return false;
}

static void read_from(struct spec_reader *r, size_t stage)
{
    const struct spec_draft *d = &r->drafts[stage];
    const struct yaml_node *from = yaml_member(d->node, "from"), *key = yaml_member_key(d->node, "from");
    struct consumer c = {.stage = stage};
    if (d->node->sort != YAML_IS_MAP) return;
    if (from != NULL && d->table != NULL && !has_forward_input(d->table)) {
        spec_report(r, "E069", key, NULL, "stage '%s': kind '%s' is a source, it reads from no stage",
                    stage_name(r, stage), r->spec->stages[stage].kind);
        return;
    }
    c.doubtful = from == NULL && has_slip(d->node);
    if (from != NULL && from->sort == YAML_IS_LIST)
        connect_list(r, &c, key, from);
    else if (from != NULL && from->sort == YAML_IS_MAP)
        connect_map(r, &c, from);
    else if (from != NULL)
        connect_text(r, &c, key, from, NULL);
    if (!c.doubtful && d->table != NULL) check_inputs(r, stage, from);
    port_bindings_free(c.bindings);
}

void spec_read_edges(struct spec_reader *r)
{
    for (size_t i = 0; i < r->spec->stage_count; i++) read_from(r, i);
    spec_read_loops(r);
}
