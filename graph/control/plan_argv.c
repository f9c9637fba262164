/* Command lines of a plan's processes: all that a process is told. */
#include "graph/control/plan_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct words {
    char **items;
    size_t count;
};

static void add_word(struct words *w, const char *fmt, ...) THEA_PRINTF(2, 3);
static void add_word(struct words *w, const char *fmt, ...)
{
    char *word = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&word, fmt, args) < 0) abort();
    va_end(args);
    w->items = spec_must(realloc(w->items, (w->count + 2) * sizeof(char *)));
    w->items[w->count++] = word;
    w->items[w->count] = NULL;
}

static void add_number(struct words *w, const char *option, size_t n)
{
    add_word(w, "%s", option);
    add_word(w, "%zu", n);
}

static void add_size(struct words *w, const char *option, int64_t bytes)
{
    char text[32];
    add_word(w, "%s", option);
    add_word(w, "%s", value_format_exact(text, VALUE_SIZE, bytes));
}

/* --- links --- */

/* Links to the replicas of one consumer: one --out among whose addresses the streams are shared out. */
bool plan_same_group(const struct plan *p, const struct plan_link *a, const struct plan_link *b)
{
    const struct plan_process *to_a = &p->processes[a->to], *to_b = &p->processes[b->to];
    return a->from == b->from && a->feedback == b->feedback && to_a->stage == to_b->stage &&
           to_a->part == to_b->part && strcmp(a->from_port, b->from_port) == 0 &&
           strcmp(a->to_port, b->to_port) == 0;
}

static bool is_first_of_group(const struct plan *p, size_t link)
{
    for (size_t i = 0; i < link; i++)
        if (!p->links[i].gone && plan_same_group(p, &p->links[i], &p->links[link])) return false;
    return true;
}

/* Do tensors of one stream come to the process by several inputs? Then all who send must choose alike. */
static bool is_join(const struct plan *p, size_t process)
{
    const char *port = NULL;
    for (size_t i = 0; i < p->link_count; i++) {
        const struct plan_link *link = &p->links[i];
        if (link->gone || link->feedback || link->to != process) continue;
        if (port != NULL && strcmp(port, link->to_port) != 0) return true;
        port = link->to_port;
    }
    return false;
}

plan_choice plan_link_choice(const struct plan *p, const struct plan_link *link)
{
    if (link->feedback) return PLAN_BY_ORIGIN;
    return is_join(p, link->to) ? PLAN_BY_HASH : PLAN_BY_LOAD;
}

static void add_out(const struct plan *p, size_t first, struct words *w)
{
    const struct plan_link *link = &p->links[first];
    struct buf addresses = {0};
    size_t n = 0;
    for (size_t i = first; i < p->link_count; i++)
        if (!p->links[i].gone && plan_same_group(p, &p->links[i], link))
            buf_printf(&addresses, "%s%s", n++ > 0 ? "," : "", p->links[i].address);
    add_word(w, "--out");
    add_word(w, "%s=%s%s", link->feedback ? "feedback" : link->from_port,
             plan_link_choice(p, link) == PLAN_BY_HASH ? "hash:" : "", buf_text(&addresses));
    buf_fini(&addresses);
}

static void add_links(const struct plan *p, size_t process, struct words *w)
{
    for (size_t i = 0; i < p->link_count; i++) {
        if (p->links[i].gone || p->links[i].to != process) continue;
        add_word(w, "--in");
        add_word(w, "%s=%s", p->links[i].to_port, p->links[i].address);
    }
    for (size_t i = 0; i < p->link_count; i++)
        if (!p->links[i].gone && p->links[i].from == process && is_first_of_group(p, i)) add_out(p, i, w);
}

/* --- the rest --- */

static size_t source_number(const struct spec *s, size_t stage)
{
    size_t n = 0;
    for (size_t i = 0; i < stage; i++) n += s->stages[i].source;
    return n;
}

static void add_blocks(const struct plan_process *process, struct words *w)
{
    add_word(w, "--blocks");
    if (process->first_block == process->last_block)
        add_word(w, "%zu", process->first_block);
    else
        add_word(w, "%zu-%zu", process->first_block, process->last_block);
}

static bool heads_loop(const struct plan *p, size_t process)
{
    for (size_t i = 0; i < p->link_count; i++)
        if (p->links[i].feedback && p->links[i].to == process) return true;
    return false;
}

static void mark_upstream(const struct spec *s, size_t stage, bool *marked)
{
    marked[stage] = true;
    for (size_t i = 0; i < s->edge_count; i++)
        if (s->edges[i].to == stage && !s->edges[i].feedback && !marked[s->edges[i].from])
            mark_upstream(s, s->edges[i].from, marked);
}

/* A sink that orders results across sources must know of which to expect any. */
static void add_sources(const struct spec *s, size_t stage, struct words *w)
{
    if (spec_table_option(s->stages[stage].table, "sources") == NULL) return;
    struct buf list = {0};
    bool *marked = spec_must(calloc(s->stage_count, sizeof *marked));
    mark_upstream(s, stage, marked);
    for (size_t i = 0; i < s->stage_count; i++)
        if (marked[i] && s->stages[i].source)
            buf_printf(&list, "%s%zu", list.len > 0 ? "," : "", source_number(s, i));
    add_word(w, "--sources");
    add_word(w, "%s", buf_text(&list));
    free(marked);
    buf_fini(&list);
}

static void add_common(const struct plan *p, size_t index, struct words *w)
{
    const struct plan_process *process = &p->processes[index];
    const struct spec_stage *st = &p->spec->stages[process->stage];
    if (st->threads != 1 || getenv("THEA_THREADS") != NULL) add_number(w, "--threads", (size_t)st->threads);
    if (st->window > 0)
        add_number(w, "--window", (size_t)st->window);
    else if (st->replicas > 1) /* what waits at one of them is no other's any more */
        add_number(w, "--window", SPEC_REPLICAS_WINDOW);
    if (st->spill_bytes > 0) add_size(w, "--spill", st->spill_bytes);
    if (st->source && source_number(p->spec, p->spec->stage_count) > 1)
        add_number(w, "--source", source_number(p->spec, process->stage));
    if (st->sink && source_number(p->spec, p->spec->stage_count) > 1) add_sources(p->spec, process->stage, w);
    if (st->source && st->in_flight > 0) add_number(w, "--in-flight", (size_t)st->in_flight);
    if (process->replica > 0 && heads_loop(p, index)) add_number(w, "--replica", process->replica);
}

static char **make_argv(const struct plan *p, size_t index)
{
    const struct plan_process *process = &p->processes[index];
    const struct spec_stage *st = &p->spec->stages[process->stage];
    struct words w = {0};
    size_t operands = 0, i = 0, model_words = st->model != NULL ? 2 : 0;
    char **options = spec_command_options(st, &operands);
    add_word(&w, "%s", st->program);
    add_word(&w, "--name");
    add_word(&w, "%s", process->name);
    for (; i < model_words; i++) add_word(&w, "%s", options[i]);
    if (st->split > 1) add_blocks(process, &w);
    for (; i < operands; i++) add_word(&w, "%s", options[i]);
    add_common(p, index, &w);
    add_links(p, index, &w);
    for (; options[i] != NULL; i++) add_word(&w, "%s", options[i]);
    spec_words_free(options);
    return w.items;
}

static char **make_env(const struct spec_stage *st)
{
    struct words w = {0};
    bool blas = false;
    for (size_t i = 0; st->env != NULL && st->env[i] != NULL; i++) {
        blas = blas || strncmp(st->env[i], "OPENBLAS_NUM_THREADS=", 21) == 0;
        add_word(&w, "%s", st->env[i]);
    }
    if (!blas) add_word(&w, "OPENBLAS_NUM_THREADS=1"); /* threads are ours: nn/workers.c */
    return w.items;
}

void plan_make_argv(struct plan *p, size_t process)
{
    struct plan_process *to = &p->processes[process];
    spec_words_free(to->argv);
    spec_words_free(to->env);
    to->argv = make_argv(p, process);
    to->env = make_env(&p->spec->stages[to->stage]);
}
