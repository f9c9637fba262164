/* What is checked once the edges are there: cycles, feedback, splits. */
#include "graph/control/spec_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *stage_name(const struct spec_reader *r, size_t i)
{
    return r->spec->stages[i].name;
}

/* --- cycles --- */

struct walk {
    const struct spec_reader *r;
    char *color;
    size_t *path;
    size_t depth;
};

static const struct yaml_node *from_node(const struct spec_reader *r, size_t stage)
{
    const struct yaml_node *from = yaml_member(r->drafts[stage].node, "from");
    return from != NULL ? from : r->drafts[stage].key;
}

static void report_cycle(struct spec_reader *r, const struct walk *w, size_t again)
{
    size_t begin = 0, first = 0;
    while (w->path[begin] != again) begin++;
    assert(begin < w->depth);                 /* it was met again, so it is on the path */
    for (size_t i = begin; i < w->depth; i++) /* begin with the stage that is first in the file */
        if (w->path[i] < w->path[begin + first]) first = i - begin;
    size_t n = w->depth - begin;
    struct buf path = {0};
    for (size_t i = 0; i <= n; i++)
        buf_printf(&path, "%s%s", i > 0 ? " -> " : "", stage_name(r, w->path[begin + (first + i) % n]));
    spec_report(r, "E066", from_node(r, w->path[begin + first]),
                "edges of `from` form no cycle; what points back (sampled tokens) is `feedback`",
                "a cycle: %s", buf_text(&path));
    buf_fini(&path);
}

/* Depth first along the edges; color 1: on the path, 2: done. Stages number at most a few hundred: recursion
 * is fine. */
static void visit(struct spec_reader *r, struct walk *w, size_t stage)
{
    w->color[stage] = 1;
    w->path[w->depth++] = stage;
    for (size_t i = 0; i < r->spec->edge_count; i++) {
        const struct spec_edge *e = &r->spec->edges[i];
        if (e->feedback || e->from != stage) continue;
        if (w->color[e->to] == 1)
            report_cycle(r, w, e->to);
        else if (w->color[e->to] == 0)
            visit(r, w, e->to);
    }
    w->color[stage] = 2;
    w->depth--;
}

static void find_cycles(struct spec_reader *r)
{
    size_t n = r->spec->stage_count;
    struct walk w = {r, spec_must(calloc(n + 1, 1)), spec_must(calloc(n + 1, sizeof(size_t))), 0};
    for (size_t i = 0; i < n; i++)
        if (w.color[i] == 0) visit(r, &w, i);
    free(w.color);
    free(w.path);
}

static bool reaches(const struct spec *s, size_t from, size_t to, char *seen)
{
    if (from == to) return true;
    seen[from] = 1;
    for (size_t i = 0; i < s->edge_count; i++)
        if (!s->edges[i].feedback && s->edges[i].from == from && !seen[s->edges[i].to] &&
            reaches(s, s->edges[i].to, to, seen))
            return true;
    return false;
}

bool spec_reaches(const struct spec *s, size_t from, size_t to)
{
    char *seen = spec_must(calloc(s->stage_count + 1, 1));
    bool found = reaches(s, from, to, seen);
    free(seen);
    return found;
}

/* --- feedback --- */

static const struct json_node *flagged(const struct json_node *table, bool outputs, const char *flag)
{
    const struct json_node *ports = port_list(table, outputs);
    for (size_t i = 0; i < json_count(ports); i++)
        if (port_flag(json_item(ports, i), flag)) return json_item(ports, i);
    return NULL;
}

static void add_feedback(struct spec_reader *r, size_t stage, const struct yaml_node *at,
                         struct spec_reference ref)
{
    const struct json_node *in = flagged(r->drafts[stage].table, false, "feedback");
    const struct json_node *out =
        ref.port != NULL ? ref.port : flagged(r->drafts[ref.stage].table, true, "feedback");
    if (out == NULL || !port_fits(out, in)) {
        struct spec_reference shown = {ref.stage, out, true};
        if (out == NULL)
            spec_report(r, "E067", at, NULL, "stage '%s': kind '%s' has no output that goes back",
                        stage_name(r, stage), r->spec->stages[ref.stage].kind);
        else
            spec_report_mismatch(r, stage, at, shown, in, NULL);
    } else if (!spec_reaches(r->spec, stage, ref.stage)) {
        spec_report(r, "E067", at, "it points back: from a stage that reads, directly or not, from this one",
                    "stage '%s': '%s' does not come after it", stage_name(r, stage),
                    stage_name(r, ref.stage));
    } else {
        spec_add_edge(r, ref.stage, stage, out, in, true);
    }
}

static void read_feedback(struct spec_reader *r, size_t stage)
{
    const struct spec_draft *d = &r->drafts[stage];
    const struct yaml_node *node = yaml_member(d->node, "feedback"),
                           *key = yaml_member_key(d->node, "feedback");
    struct spec_reference ref;
    if (node == NULL) return;
    if (d->table != NULL && flagged(d->table, false, "feedback") == NULL) {
        spec_report(r, "E067", key, NULL, "stage '%s': kind '%s' takes no feedback", stage_name(r, stage),
                    r->spec->stages[stage].kind);
    } else if (spec_resolve(r, stage, key, node, &ref) && d->table != NULL &&
               r->drafts[ref.stage].table != NULL) {
        add_feedback(r, stage, node, ref);
    }
}

/* An output that must go back (a sampler's) and does not. */
static void check_loops(struct spec_reader *r)
{
    for (size_t i = 0; i < r->spec->stage_count; i++) {
        const struct json_node *out = flagged(r->drafts[i].table, true, "feedback");
        bool back = out == NULL;
        for (size_t k = 0; k < r->spec->edge_count; k++)
            back = back || (r->spec->edges[k].feedback && r->spec->edges[k].from == i);
        for (size_t k = 0; k < r->spec->stage_count; k++)
            back = back || yaml_member(r->drafts[k].node, "feedback") != NULL; /* tried, and told why not */
        if (back) continue;
        struct buf details = {0};
        for (size_t k = 0; k < r->spec->stage_count; k++)
            if (flagged(r->drafts[k].table, false, "feedback") != NULL)
                buf_printf(&details, "%sadd `feedback: %s` to stage '%s'", details.len > 0 ? "\n" : "",
                           stage_name(r, i), stage_name(r, k));
        spec_report(r, "E067", r->drafts[i].key, details.len > 0 ? buf_text(&details) : NULL,
                    "stage '%s': its output '%s' must go back to the stage that it continues",
                    stage_name(r, i), port_name(out));
        buf_fini(&details);
    }
}

void spec_read_loops(struct spec_reader *r)
{
    find_cycles(r);
    for (size_t i = 0; i < r->spec->stage_count; i++) read_feedback(r, i);
    check_loops(r);
}

/* --- split --- */

static void check_split(struct spec_reader *r, size_t stage)
{
    const struct spec_stage *st = &r->spec->stages[stage];
    const struct spec_draft *d = &r->drafts[stage];
    int64_t blocks = json_int_or(json_member(d->table, "blocks"), "count", 0);
    if (blocks == 0) {
        spec_report(r, "E080", d->split, "only kinds that declare blocks are cut (layers)",
                    "stage '%s': kind '%s' cannot be split", st->name, st->kind);
    } else if (yaml_member(d->node, "blocks") != NULL) {
        spec_report(r, "E082", yaml_member_key(d->node, "blocks"),
                    "either `split: N`, or stages of their own with `blocks: 0-3`, `blocks: 4-`",
                    "stage '%s': 'blocks' and 'split' together", st->name);
    } else if (st->split > blocks) {
        spec_report(r, "E081", d->split, NULL, "stage '%s': split into %d, but the model has %lld blocks",
                    st->name, st->split, (long long)blocks);
    }
    for (size_t i = 0; i < r->spec->edge_count; i++) {
        const struct spec_edge *e = &r->spec->edges[i];
        if (e->from == stage && e->from_port != NULL && strcmp(e->from_port, "hidden") == 0)
            spec_report(
                r, "E083", from_node(r, e->to), "leave `split` out to read them all from one process",
                "stage '%s' cannot read '%s.hidden': the hidden states of a split stage come part by part",
                stage_name(r, e->to), st->name);
    }
}

void spec_check_split(struct spec_reader *r)
{
    for (size_t i = 0; i < r->spec->stage_count; i++)
        if (!r->drafts[i].failed && r->drafts[i].table != NULL && r->drafts[i].split != NULL &&
            r->spec->stages[i].split > 1)
            check_split(r, i);
}
