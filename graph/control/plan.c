/* From a spec to processes and links: see plan.h. Invariant: every edge of the spec is one link, and
 * consecutive parts of a stage have one more. */
#include "graph/control/plan.h"

#include "graph/control/spec_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct planner {
    struct plan *plan;
    size_t *order; /* stages, sources first */
    size_t *first; /* of each stage: index of its first process */
    size_t source_count;
};

/* --- order --- */

/* Stages so that each comes after those it reads from; among the free ones the file's order. */
static void sort_stages(struct planner *pl)
{
    const struct spec *s = pl->plan->spec;
    bool *placed = spec_must(calloc(s->stage_count + 1, sizeof(bool)));
    for (size_t n = 0; n < s->stage_count;) {
        size_t before = n;
        for (size_t i = 0; i < s->stage_count; i++) {
            bool ready = !placed[i];
            for (size_t e = 0; e < s->edge_count && ready; e++)
                ready = s->edges[e].feedback || s->edges[e].to != i || placed[s->edges[e].from];
            if (ready) placed[i] = true, pl->order[n++] = i;
        }
        if (n == before) break; /* a cycle: spec_load lets none pass */
    }
    free(placed);
}

/* --- processes --- */

static struct plan_process *add_process(struct planner *pl, size_t stage, size_t part)
{
    struct plan *p = pl->plan;
    const struct spec_stage *st = &p->spec->stages[stage];
    p->processes = spec_must(realloc(p->processes, (p->process_count + 1) * sizeof *p->processes));
    struct plan_process *process = &p->processes[p->process_count++];
    *process = (struct plan_process){.stage = stage, .part = part, .source = st->source, .sink = st->sink};
    struct buf name = {0};
    buf_add_text(&name, st->name);
    if (st->split > 1) buf_printf(&name, "/%zu", part);
    process->name = buf_take(&name);
    return process;
}

static void cut_stage(struct planner *pl, size_t stage)
{
    const struct spec_stage *st = &pl->plan->spec->stages[stage];
    const struct json_node *blocks = json_member(st->table, "blocks"), *list = json_member(blocks, "costs");
    size_t count = (size_t)json_int_or(blocks, "count", 0), parts = (size_t)st->split;
    double *costs = spec_must(calloc(count + 1, sizeof *costs));
    size_t *ends = spec_must(calloc(parts, sizeof *ends));
    for (size_t i = 0; i < count; i++)
        costs[i] = json_item(list, i) != NULL ? json_number(json_item(list, i)) : 1;
    plan_cut(ends, parts, costs, count, json_number_or(blocks, "first_extra", 0),
             json_number_or(blocks, "last_extra", 0));
    for (size_t i = 0; i < parts; i++) {
        struct plan_process *p = add_process(pl, stage, i);
        p->first_block = i == 0 ? 0 : ends[i - 1];
        p->last_block = ends[i] - 1;
    }
    free(costs);
    free(ends);
}

static thea_rc add_processes(struct planner *pl, struct thea_err *err)
{
    const struct spec *s = pl->plan->spec;
    for (size_t i = 0; i < s->stage_count; i++) {
        const struct spec_stage *st = &s->stages[pl->order[i]];
        pl->first[pl->order[i]] = pl->plan->process_count;
        pl->source_count += st->source;
        if (st->split <= 1) {
            add_process(pl, pl->order[i], 0);
            continue;
        }
        if (port_find(st->table, true, "residual") == NULL || port_find(st->table, false, "residual") == NULL)
            return thea_fail(err, THEA_ECONFIG,
                             "stage '%s': kind '%s' declares blocks, but no input and output 'residual' to "
                             "chain its parts by",
                             st->name, st->kind);
        cut_stage(pl, pl->order[i]);
    }
    return THEA_OK;
}

/* --- links --- */

static void add_link(struct planner *pl, size_t from, size_t to, const char *out, const char *in,
                     bool feedback)
{
    struct plan *p = pl->plan;
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

static size_t last_process(const struct planner *pl, size_t stage)
{
    return pl->first[stage] + (size_t)pl->plan->spec->stages[stage].split - 1;
}

static void add_links(struct planner *pl)
{
    const struct spec *s = pl->plan->spec;
    for (int feedback = 0; feedback < 2; feedback++) {
        for (size_t i = 0; i < s->stage_count; i++) {
            size_t stage = pl->order[i], last = last_process(pl, stage);
            for (size_t p = pl->first[stage]; p < last && !feedback; p++)
                add_link(pl, p, p + 1, "residual", "residual", false);
            for (size_t e = 0; e < s->edge_count; e++) {
                const struct spec_edge *edge = &s->edges[e];
                if (edge->from == stage && edge->feedback == (feedback != 0))
                    add_link(pl, last, pl->first[edge->to], edge->from_port, edge->to_port, edge->feedback);
            }
        }
    }
}

/* --- command lines --- */

static void add_word(char ***words, size_t *count, const char *fmt, ...) THEA_PRINTF(3, 4);
static void add_word(char ***words, size_t *count, const char *fmt, ...)
{
    char *word = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&word, fmt, args) < 0) abort();
    va_end(args);
    *words = spec_must(realloc(*words, (*count + 2) * sizeof(char *)));
    (*words)[(*count)++] = word;
    (*words)[*count] = NULL;
}

static void add_number(char ***words, size_t *count, const char *option, size_t n)
{
    add_word(words, count, "%s", option);
    add_word(words, count, "%zu", n);
}

static void add_link_words(const struct plan *p, size_t process, char ***words, size_t *count)
{
    for (int out = 0; out < 2; out++) {
        for (size_t i = 0; i < p->link_count; i++) {
            const struct plan_link *link = &p->links[i];
            if ((out ? link->from : link->to) != process) continue;
            add_word(words, count, out ? "--out" : "--in");
            add_word(words, count, "%s=%s", out ? link->from_port : link->to_port, link->address);
        }
    }
}

static size_t source_number(const struct spec *s, size_t stage)
{
    size_t n = 0;
    for (size_t i = 0; i < stage; i++) n += s->stages[i].source;
    return n;
}

static void make_argv(struct planner *pl, size_t index)
{
    struct plan *p = pl->plan;
    struct plan_process *process = &p->processes[index];
    const struct spec_stage *st = &p->spec->stages[process->stage];
    size_t count = 0, operands = 0, i = 0, model_words = st->model != NULL ? 2 : 0;
    char **options = spec_command_options(st, &operands);
    add_word(&process->argv, &count, "%s", st->program);
    add_word(&process->argv, &count, "--name");
    add_word(&process->argv, &count, "%s", process->name);
    for (; i < model_words; i++) add_word(&process->argv, &count, "%s", options[i]);
    if (st->split > 1) {
        add_word(&process->argv, &count, "--blocks");
        if (process->first_block == process->last_block)
            add_word(&process->argv, &count, "%zu", process->first_block);
        else
            add_word(&process->argv, &count, "%zu-%zu", process->first_block, process->last_block);
    }
    for (; i < operands; i++) add_word(&process->argv, &count, "%s", options[i]);
    if (st->threads != 1 || getenv("THEA_THREADS") != NULL)
        add_number(&process->argv, &count, "--threads", (size_t)st->threads);
    if (st->window > 0) add_number(&process->argv, &count, "--window", (size_t)st->window);
    if (st->source && pl->source_count > 1)
        add_number(&process->argv, &count, "--source", source_number(p->spec, process->stage));
    add_link_words(p, index, &process->argv, &count);
    for (; options[i] != NULL; i++) add_word(&process->argv, &count, "%s", options[i]);
    spec_words_free(options);
}

static void make_env(const struct planner *pl, struct plan_process *process)
{
    char *const *own = pl->plan->spec->stages[process->stage].env;
    size_t count = 0;
    bool blas = false;
    for (size_t i = 0; own != NULL && own[i] != NULL; i++) {
        blas = blas || strncmp(own[i], "OPENBLAS_NUM_THREADS=", 21) == 0;
        add_word(&process->env, &count, "%s", own[i]);
    }
    if (!blas) add_word(&process->env, &count, "OPENBLAS_NUM_THREADS=1"); /* threads are ours: nn/workers.c */
}

thea_rc plan_make(struct plan **out, const struct spec *spec, struct thea_err *err)
{
    struct planner pl = {.plan = spec_must(calloc(1, sizeof(struct plan)))};
    pl.plan->spec = spec;
    pl.order = spec_must(calloc(spec->stage_count + 1, sizeof(size_t)));
    pl.first = spec_must(calloc(spec->stage_count + 1, sizeof(size_t)));
    thea_rc rc = THEA_OK;
    if (getrandom(&pl.plan->run, sizeof pl.plan->run, 0) != sizeof pl.plan->run)
        rc = thea_fail(err, THEA_EOS, "the system gives no random numbers");
    sort_stages(&pl);
    if (rc == THEA_OK) rc = add_processes(&pl, err);
    if (rc == THEA_OK) {
        add_links(&pl);
        for (size_t i = 0; i < pl.plan->process_count; i++)
            make_argv(&pl, i), make_env(&pl, &pl.plan->processes[i]);
        *out = pl.plan;
    } else {
        plan_free(pl.plan);
    }
    free(pl.order);
    free(pl.first);
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
    free(p);
}
