/* From a spec to processes and links: see plan.h. The links are in plan_links.c, the command lines in
 * plan_argv.c, changes of a running plan in plan_scale.c. */
#include "graph/control/plan_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* --- order --- */

/* Stages so that each comes after those it reads from; among the free ones the file's order. */
static void sort_stages(const struct spec *s, size_t *order)
{
    bool *placed = spec_must(calloc(s->stage_count + 1, sizeof(bool)));
    for (size_t n = 0; n < s->stage_count;) {
        size_t before = n;
        for (size_t i = 0; i < s->stage_count; i++) {
            bool ready = !placed[i];
            for (size_t e = 0; e < s->edge_count && ready; e++)
                ready = s->edges[e].feedback || s->edges[e].to != i || placed[s->edges[e].from];
            if (ready) placed[i] = true, order[n++] = i;
        }
        if (n == before) break; /* a cycle: spec_load lets none pass */
    }
    free(placed);
}

/* --- processes --- */

struct plan_process *plan_add_process(struct plan *p, size_t stage, size_t part, size_t replica,
                                      const struct plan_process *like)
{
    const struct spec_stage *st = &p->spec->stages[stage];
    p->processes = spec_must(realloc(p->processes, (p->process_count + 1) * sizeof *p->processes));
    struct plan_process *process = &p->processes[p->process_count++];
    *process = (struct plan_process){
        .stage = stage, .part = part, .replica = replica, .source = st->source, .sink = st->sink};
    if (like != NULL) process->first_block = like->first_block, process->last_block = like->last_block;
    struct buf name = {0};
    buf_add_text(&name, st->name);
    if (st->split > 1) buf_printf(&name, "/%zu", part);
    if (p->replicas[stage] > 1) buf_printf(&name, ":%zu", replica);
    process->name = buf_take(&name);
    return process;
}

size_t plan_process_at(const struct plan *p, size_t stage, size_t part, size_t replica)
{
    for (size_t i = 0; i < p->process_count; i++) {
        const struct plan_process *q = &p->processes[i];
        if (q->stage == stage && q->part == part && q->replica == replica && !q->gone) return i;
    }
    return SIZE_MAX;
}

static void cut_stage(const struct spec_stage *st, size_t *ends)
{
    const struct json_node *blocks = json_member(st->table, "blocks"), *list = json_member(blocks, "costs");
    size_t count = (size_t)json_int_or(blocks, "count", 0);
    double *costs = spec_must(calloc(count + 1, sizeof *costs));
    for (size_t i = 0; i < count; i++)
        costs[i] = json_item(list, i) != NULL ? json_number(json_item(list, i)) : 1;
    plan_cut(ends, (size_t)st->split, costs, count, json_number_or(blocks, "first_extra", 0),
             json_number_or(blocks, "last_extra", 0));
    free(costs);
}

static thea_rc add_stage(struct plan *p, size_t stage, struct thea_err *err)
{
    const struct spec_stage *st = &p->spec->stages[stage];
    size_t parts = (size_t)st->split, *ends = spec_must(calloc(parts, sizeof *ends));
    if (parts > 1 &&
        (port_find(st->table, true, "residual") == NULL || port_find(st->table, false, "residual") == NULL)) {
        free(ends);
        return thea_fail(err, THEA_ECONFIG,
                         "stage '%s': kind '%s' declares blocks, but no input and output 'residual' to "
                         "chain its parts by",
                         st->name, st->kind);
    }
    if (parts > 1) cut_stage(st, ends);
    for (size_t part = 0; part < parts; part++) {
        for (size_t r = 0; r < (size_t)p->replicas[stage]; r++) {
            struct plan_process *process = plan_add_process(p, stage, part, r, NULL);
            if (parts == 1) continue;
            process->first_block = part == 0 ? 0 : ends[part - 1];
            process->last_block = ends[part] - 1;
        }
    }
    free(ends);
    return THEA_OK;
}

static thea_rc fill(struct plan *p, const size_t *order, struct thea_err *err)
{
    const struct spec *s = p->spec;
    thea_rc rc = THEA_OK;
    if (getrandom(&p->run, sizeof p->run, 0) != sizeof p->run)
        return thea_fail(err, THEA_EOS, "the system gives no random numbers");
    for (size_t i = 0; rc == THEA_OK && i < s->stage_count; i++) rc = add_stage(p, order[i], err);
    if (rc != THEA_OK) return rc;
    plan_add_links(p, order);
    rc = plan_check_links(p, err);
    for (size_t i = 0; rc == THEA_OK && i < p->process_count; i++) plan_make_argv(p, i);
    return rc;
}

thea_rc plan_make(struct plan **out, const struct spec *spec, struct thea_err *err)
{
    struct plan *p = spec_must(calloc(1, sizeof *p));
    size_t *order = spec_must(calloc(spec->stage_count + 1, sizeof *order));
    p->spec = spec;
    p->replicas = spec_must(calloc(spec->stage_count + 1, sizeof *p->replicas));
    for (size_t i = 0; i < spec->stage_count; i++) p->replicas[i] = spec->stages[i].replicas;
    sort_stages(spec, order);
    thea_rc rc = fill(p, order, err);
    if (rc == THEA_OK)
        *out = p;
    else
        plan_free(p);
    free(order);
    return rc;
}

void plan_free(struct plan *p)
{
    if (p == NULL) return;
    for (size_t i = 0; i < p->process_count; i++) {
        free(p->processes[i].name);
        spec_words_free(p->processes[i].argv);
        spec_words_free(p->processes[i].env);
    }
    for (size_t i = 0; i < p->link_count; i++) free(p->links[i].address);
    free(p->processes);
    free(p->links);
    free(p->replicas);
    free(p);
}
