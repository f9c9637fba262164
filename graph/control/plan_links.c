/* The links of a plan. Invariant: an edge of the spec is one link for each pair of replicas that it joins,
 * and consecutive parts of a stage are joined likewise. */
#include "graph/control/plan_internal.h"

#include "graph/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void add_link(struct plan *p, size_t from, size_t to, const char *out, const char *in, bool feedback)
{
    p->links = spec_must(realloc(p->links, (p->link_count + 1) * sizeof *p->links));
    struct plan_link *link = &p->links[p->link_count++];
    *link = (struct plan_link){.number = (uint32_t)p->link_count,
                               .from = from,
                               .to = to,
                               .from_port = out,
                               .to_port = in,
                               .feedback = feedback};
    struct buf address = {0};
    buf_printf(&address, "abstract://thea-%016" PRIx64 "-%" PRIu32, p->run, link->number);
    link->address = buf_take(&address);
}

/* One edge between parts of stages. */
struct joint {
    size_t from, from_part, to, to_part;
    const char *out, *in;
    bool feedback;
};

/* The link of a joint between two processes, there or gone; SIZE_MAX if there never was one. */
static size_t find_link(const struct plan *p, size_t from, size_t to, const struct joint *j)
{
    for (size_t i = 0; i < p->link_count; i++) {
        const struct plan_link *link = &p->links[i];
        if (link->from == from && link->to == to && link->feedback == j->feedback &&
            strcmp(link->from_port, j->out) == 0 && strcmp(link->to_port, j->in) == 0)
            return i;
    }
    return SIZE_MAX;
}

static void add_joint(struct plan *p, const struct joint *j)
{
    size_t count = p->process_count;
    for (size_t a = 0; a < count; a++) {
        const struct plan_process *from = &p->processes[a];
        if (from->stage != j->from || from->part != j->from_part || from->gone) continue;
        for (size_t b = 0; b < count; b++) {
            const struct plan_process *to = &p->processes[b];
            if (to->stage != j->to || to->part != j->to_part || to->gone) continue;
            size_t place = find_link(p, a, b, j);
            if (place != SIZE_MAX)
                p->links[place].gone = false;
            else
                add_link(p, a, b, j->out, j->in, j->feedback);
        }
    }
}

static size_t last_part(const struct plan *p, size_t stage)
{
    return (size_t)p->spec->stages[stage].split - 1;
}

/* What leaves a stage: between its parts, then its edges, or those of its edges that lead back. */
static void add_stage_links(struct plan *p, size_t stage, bool feedback)
{
    const struct spec *s = p->spec;
    for (size_t part = 0; part < last_part(p, stage) && !feedback; part++)
        add_joint(p, &(struct joint){stage, part, stage, part + 1, "residual", "residual", false});
    for (size_t e = 0; e < s->edge_count; e++) {
        const struct spec_edge *edge = &s->edges[e];
        if (edge->from == stage && edge->feedback == feedback)
            add_joint(p, &(struct joint){stage, last_part(p, stage), edge->to, 0, edge->from_port,
                                         edge->to_port, feedback});
    }
}

void plan_add_links(struct plan *p, const size_t *order)
{
    for (int feedback = 0; feedback < 2; feedback++)
        for (size_t i = 0; i < p->spec->stage_count; i++)
            add_stage_links(p, order != NULL ? order[i] : i, feedback != 0);
}

/* --- limits --- */

static size_t count_links(const struct plan *p, size_t process, bool outgoing)
{
    size_t n = 0;
    for (size_t i = 0; i < p->link_count; i++) {
        const struct plan_link *link = &p->links[i];
        n += !link->gone && (outgoing ? link->from : link->to) == process;
    }
    return n;
}

thea_rc plan_check_links(const struct plan *p, struct thea_err *err)
{
    for (size_t i = 0; i < p->process_count; i++) {
        size_t in = count_links(p, i, false), out = count_links(p, i, true);
        if (in + out <= STATUS_LINKS_MAX) continue;
        return thea_fail(err, THEA_ECONFIG,
                         "'%s' would have %zu links, %zu in and %zu out; a process has at most %d\n  fewer "
                         "replicas of it or of the stages beside it",
                         p->processes[i].name, in + out, in, out, STATUS_LINKS_MAX);
    }
    return THEA_OK;
}
