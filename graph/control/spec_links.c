/* Does every process have few enough links? N replicas that send to M have N*M, and a process' status page
 * has a row for each of its own. */
#include "graph/control/spec_internal.h"
#include "graph/status.h"

/* Links of one process of a part of a stage: to every replica of the part before and after, or by its edges.
 */
struct ends {
    size_t in, out;
    size_t most; /* the stage with the most replicas among those that it is linked to, and itself */
};

static void widen(const struct spec *s, struct ends *e, size_t stage)
{
    if (s->stages[stage].replicas > s->stages[e->most].replicas) e->most = stage;
}

static struct ends ends_of(const struct spec *s, size_t stage, int part)
{
    const struct spec_stage *st = &s->stages[stage];
    struct ends e = {.most = stage};
    if (part > 0) e.in += (size_t)st->replicas;
    if (part < st->split - 1) e.out += (size_t)st->replicas;
    for (size_t i = 0; i < s->edge_count; i++) {
        const struct spec_edge *edge = &s->edges[i];
        if (edge->to == stage && part == 0) {
            e.in += (size_t)s->stages[edge->from].replicas;
            widen(s, &e, edge->from);
        }
        if (edge->from == stage && part == st->split - 1) {
            e.out += (size_t)s->stages[edge->to].replicas;
            widen(s, &e, edge->to);
        }
    }
    return e;
}

/* Where the many replicas come from: the stage's own key, or that of the defaults. */
static const struct yaml_node *replicas_node(const struct spec_reader *r, size_t stage)
{
    const struct yaml_node *own = yaml_member(r->drafts[stage].node, "replicas"),
                           *defaults = yaml_member(r->root, "defaults");
    if (own == NULL && defaults != NULL && defaults->sort == YAML_IS_MAP)
        own = yaml_member(defaults, "replicas");
    return own != NULL ? own : r->drafts[stage].node;
}

void spec_check_links(struct spec_reader *r)
{
    const struct spec *s = r->spec;
    for (size_t i = 0; i < s->stage_count; i++) {
        for (int part = 0; part < s->stages[i].split; part++) {
            struct ends e = ends_of(s, i, part);
            if (e.in + e.out <= STATUS_LINKS_MAX) continue;
            spec_report(
                r, "E086", replicas_node(r, e.most), "fewer replicas of it or of the stages beside it",
                "stage '%s': each of its processes would have %zu links, %zu in and %zu out; at most %d are "
                "possible",
                s->stages[i].name, e.in + e.out, e.in, e.out, STATUS_LINKS_MAX);
            break;
        }
    }
}
