/* Figures over all processes of a run, from their status pages; used by the progress line, the summary and
 * the reports. */
#include "graph/control/supervisor.h"

#include <stdlib.h>
#include <string.h>

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}
static uint64_t max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void add_source(struct supervisor_totals *t, const struct status_page *page, bool *all_know)
{
    uint64_t total = atomic_load(&page->documents_total), skipped = atomic_load(&page->skipped);
    *all_know = *all_know && total > 0;
    t->expected += total;
    t->skipped += skipped;
    if (skipped > 0 && t->skipped_reasons[0] == '\0') t->skipped_reasons = page->skipped_reasons;
}

static bool same_part(const struct plan_process *a, const struct plan_process *b)
{
    return a->stage == b->stage && a->part == b->part;
}

/* Positions that passed the replicas of the part that process i is of; 0 if an earlier process is of it. */
static uint64_t part_tokens(const struct plan *plan, const struct status_page *const *pages, size_t i)
{
    uint64_t sum = 0;
    for (size_t k = 0; k < plan->process_count; k++) {
        if (!same_part(&plan->processes[i], &plan->processes[k])) continue;
        if (k < i) return 0;
        sum += atomic_load(&pages[k]->tokens);
    }
    return sum;
}

struct supervisor_totals supervisor_total(const struct plan *plan, const struct status_page *const *pages)
{
    struct supervisor_totals t = {.skipped_reasons = ""};
    uint64_t out = UINT64_MAX; /* a document is out when it left every sink */
    bool all_know = true;
    for (size_t i = 0; i < plan->process_count; i++) {
        const struct status_page *page = pages[i];
        if (page == NULL) continue; /* not started yet */
        uint64_t failed = atomic_load(&page->failed);
        if (plan->processes[i].source) add_source(&t, page, &all_know);
        t.tokens = max(t.tokens, part_tokens(plan, pages, i)); /* several stages count the same ones */
        if (!plan->processes[i].sink) continue;
        uint64_t good = less(atomic_load(&page->documents), failed);
        if (good < out) out = good;
        t.failed = max(t.failed, failed);
    }
    if (out != UINT64_MAX) t.documents = out;
    if (!all_know) t.expected = 0;
    return t;
}

struct supervisor_totals supervisor_total_now(const struct supervisor *s)
{
    const struct status_page **pages = calloc(s->count + 1, sizeof *pages);
    if (pages == NULL) abort();
    for (size_t i = 0; i < s->count; i++) pages[i] = s->children[i].page;
    struct supervisor_totals t = supervisor_total(s->plan, pages);
    free(pages);
    if (!s->tracked) return t;
    t.failed = ranges_total(&s->aside);
    t.documents = less(ranges_total(&s->committed), t.failed);
    return t;
}

size_t supervisor_stage_name(const struct plan_process *p)
{
    return strcspn(p->name, "/:");
}

static const char *output_of(const struct plan_process *p)
{
    for (size_t i = 1; p->argv[i] != NULL; i++) {
        if (strncmp(p->argv[i], "--output=", 9) == 0) return p->argv[i] + 9;
        if (strcmp(p->argv[i], "--output") == 0) return p->argv[i + 1];
    }
    return NULL;
}

const char *supervisor_output(const struct plan *plan)
{
    for (size_t i = 0; i < plan->process_count; i++) {
        const char *path = plan->processes[i].sink ? output_of(&plan->processes[i]) : NULL;
        if (path != NULL && strcmp(path, "-") != 0) return path;
    }
    return NULL;
}
