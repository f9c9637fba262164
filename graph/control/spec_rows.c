/* Rows: a stage that can give the first row of each stream alone, at less cost, does so where all that read
 * it read no more. What each port says of that is in the tables (`first_by`, `reads`); nobody guesses. */
#include "graph/control/spec_internal.h"

#include <stdlib.h>
#include <string.h>

#define FIRST "first"

/* The option by which a stage's output gives first rows alone; NULL: it has none. */
static const char *first_by(const struct spec_reader *r, size_t stage, const char *port)
{
    return port != NULL
               ? json_text(json_member(port_find(r->drafts[stage].table, true, port), "first_by"), NULL)
               : NULL;
}

static bool reads(const struct spec_reader *r, const struct spec_edge *edge, const char *what)
{
    if (edge->to_port == NULL) return false;
    const struct json_node *in = port_find(r->drafts[edge->to].table, false, edge->to_port);
    return strcmp(json_text_or(in, "reads", ""), what) == 0;
}

static const struct spec_option *option_of(const struct spec_stage *st, const char *name)
{
    for (size_t i = 0; i < st->option_count; i++)
        if (strcmp(st->options[i].name, name) == 0) return &st->options[i];
    return NULL;
}

/* The option that all edges of a stage share, and all their readers read the first row; NULL: not so. */
static const char *first_for_all(const struct spec_reader *r, size_t stage)
{
    const char *option = NULL;
    for (size_t i = 0; i < r->spec->edge_count; i++) {
        const struct spec_edge *e = &r->spec->edges[i];
        if (e->from != stage) continue;
        const char *by = first_by(r, stage, e->from_port);
        if (by == NULL || !reads(r, e, FIRST) || (option != NULL && strcmp(option, by) != 0)) return NULL;
        option = by;
    }
    return option;
}

static void decide(struct spec_reader *r, size_t stage)
{
    const char *name = first_for_all(r, stage);
    if (name == NULL || option_of(&r->spec->stages[stage], name) != NULL) return;
    struct spec_option o = {.name = name, .values = spec_must(calloc(1, sizeof(char *))), .count = 1};
    o.values[0] = spec_must(strdup(FIRST));
    spec_add_option(&r->spec->stages[stage], o);
}

/* Somebody wrote it, and a reader needs more. */
static void check_edge(struct spec_reader *r, const struct spec_edge *e)
{
    const char *name = first_by(r, e->from, e->from_port);
    const struct spec_option *o = name != NULL ? option_of(&r->spec->stages[e->from], name) : NULL;
    if (o == NULL || strcmp(o->values[0], FIRST) != 0 || !reads(r, e, "all")) return;
    const struct yaml_node *node = yaml_member(r->drafts[e->from].node, name);
    struct buf accepted = {0};
    buf_printf(&accepted, "accepted  %s: all; or no '%s' at all: it is then what the readers need", name,
               name);
    spec_report(r, "E087", node != NULL ? node : r->drafts[e->from].key, buf_text(&accepted),
                "stage '%s' needs every row of '%s.%s', and '%s: first' gives the first of each stream alone",
                r->spec->stages[e->to].name, r->spec->stages[e->from].name, e->from_port, name);
    buf_fini(&accepted);
}

void spec_decide_rows(struct spec_reader *r)
{
    for (size_t i = 0; i < r->spec->edge_count; i++) check_edge(r, &r->spec->edges[i]);
    for (size_t i = 0; i < r->spec->stage_count; i++) decide(r, i);
}
