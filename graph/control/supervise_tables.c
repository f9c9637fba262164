/* The end of a run for people and programs: where the time went, one line that sums up, report.json. */
#include "graph/control/supervisor.h"
#include "graph/json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct supervisor_totals totals_of(const struct supervise_result *r, const struct plan *plan)
{
    const struct status_page **pages = calloc(r->process_count + 1, sizeof *pages);
    if (pages == NULL) abort();
    for (size_t i = 0; i < r->process_count; i++) pages[i] = &r->processes[i].status;
    struct supervisor_totals t = supervisor_total(plan, pages);
    free(pages);
    if (!r->tracked) return t;
    t.failed = r->aside;
    t.documents = r->committed - r->aside;
    return t;
}

static const struct plan *last_plan(const struct supervise_result *r, const struct plan *given)
{
    return r->plan != NULL ? r->plan : given;
}

/* --- where the time went --- */

struct row {
    const struct plan_process *first;
    size_t processes;
    uint64_t busy, starved, blocked, peak_rss;
    double share;
};

/* The row of the stage that process i is of; false if an earlier process is of it. */
static bool stage_row(struct row *row, const struct supervise_result *r, const struct plan *plan, size_t i)
{
    assert(i < plan->process_count && plan->processes != NULL);
    *row = (struct row){.first = &plan->processes[i]};
    for (size_t k = 0; k < r->process_count; k++) {
        const struct supervise_process *p = &r->processes[k];
        if (plan->processes[k].stage != row->first->stage) continue;
        if (k < i) return false;
        row->processes++;
        row->busy += atomic_load(&p->status.busy_ns);
        row->starved += atomic_load(&p->status.starved_ns);
        row->blocked += atomic_load(&p->status.blocked_ns);
        if (p->peak_rss_bytes > row->peak_rss) row->peak_rss = p->peak_rss_bytes;
    }
    uint64_t all = row->busy + row->starved + row->blocked;
    row->share = all > 0 ? (double)row->busy / (double)all : 0;
    return true;
}

static int percent(uint64_t part, const struct row *row)
{
    uint64_t all = row->busy + row->starved + row->blocked;
    return all == 0 ? 0 : (int)((part * 200 + all) / (all * 2));
}

static void print_row(const struct row *row, int width, const char *note, struct buf *out)
{
    char rss[16];
    assert(row->first != NULL);
    buf_printf(out, "%-*.*s  %9zu%4d %%%7d %%%7d %%%10s", width, (int)supervisor_stage_name(row->first),
               row->first->name, row->processes, percent(row->busy, row), percent(row->starved, row),
               percent(row->blocked, row), value_format_bytes(rss, row->peak_rss));
    buf_printf(out, "%s%s\n", note[0] != '\0' ? "   " : "", note);
}

void supervise_print_times(const struct supervise_result *r, const struct plan *plan, struct buf *out)
{
    plan = last_plan(r, plan);
    struct row row;
    const struct plan_process *bottleneck = NULL;
    double most = 0;
    int width = (int)strlen("stage");
    for (size_t i = 0; i < r->process_count; i++) {
        if (!stage_row(&row, r, plan, i)) continue;
        int length = (int)supervisor_stage_name(row.first);
        if (length > width) width = length;
        if (row.share <= most) continue;
        most = row.share;
        bottleneck = row.first;
    }
    buf_printf(out, "%-*s  processes  busy  starved  blocked  peak RSS   starved: waits for input\n", width,
               "stage");
    bool told = false;
    for (size_t i = 0; i < r->process_count; i++) {
        if (!stage_row(&row, r, plan, i)) continue;
        const char *note = row.first == bottleneck ? "<- the bottleneck"
                           : told                  ? ""
                                                   : "blocked: waits for the next stage";
        told = told || row.first != bottleneck;
        print_row(&row, width, note, out);
    }
}

/* --- one line --- */

static void add_count(struct buf *out, uint64_t n, const char *what)
{
    char count[32];
    buf_printf(out, "%s %s", value_format_count(count, n), what);
}

/* "(not UTF-8)" when there is one reason, else all of them with their counts. */
static void add_reasons(struct buf *out, const struct supervisor_totals *t)
{
    const char *reasons = t->skipped_reasons;
    if (reasons[0] == '\0') return;
    size_t digits = strspn(reasons, "0123456789,");
    bool one = strtoull(reasons, NULL, 10) == t->skipped && digits > 0 && reasons[digits] == ' ';
    buf_printf(out, " (%s)", one ? reasons + digits + 1 : reasons);
}

void supervise_print_summary(const struct supervise_result *r, const struct plan *plan, struct buf *out)
{
    plan = last_plan(r, plan);
    struct supervisor_totals t = totals_of(r, plan);
    char rate[16];
    const char *name = plan->spec != NULL ? plan->spec->name : "run";
    buf_printf(out, "%s: %s", name, r->exit_status >= 128 ? "interrupted after " : "");
    add_count(out, t.documents, t.documents == 1 ? "document" : "documents");
    if (t.failed > 0) {
        buf_add_text(out, ", ");
        add_count(out, t.failed, r->tracked ? "set aside" : "failed");
    }
    if (t.skipped > 0) {
        buf_add_text(out, ", ");
        add_count(out, t.skipped, "skipped");
        add_reasons(out, &t);
    }
    if (t.tokens > 0) {
        buf_add_text(out, ", ");
        add_count(out, t.tokens, t.tokens == 1 ? "token" : "tokens");
    }
    buf_printf(out, " in %.1f s", r->seconds);
    if (t.tokens > 0 && r->seconds > 0)
        buf_printf(out, ": %s tokens/s", value_format_rate(rate, (double)t.tokens / r->seconds));
}

/* --- report.json --- */

static void put_count(struct json_node *map, const char *key, uint64_t n)
{
    json_put(map, key, json_new_int((int64_t)n));
}

static struct json_node *process_node(const struct supervise_process *p, const struct plan_process *planned)
{
    struct json_node *out = json_new_map();
    const struct status_page *page = &p->status;
    json_put(out, "name", json_new_string(p->name));
    json_put(out, "stage", json_new_text(planned->name, supervisor_stage_name(planned)));
    put_count(out, "part", planned->part);
    put_count(out, "replica", planned->replica);
    json_put(out, "pid", json_new_int(p->pid));
    put_count(out, "incarnation", p->incarnation);
    json_put(out, "exit_status", p->signal != 0 ? json_new_null() : json_new_int(p->exit_status));
    json_put(out, "signal", p->signal == 0 ? json_new_null() : json_new_int(p->signal));
    json_put(out, "seconds", json_new_number(p->seconds));
    put_count(out, "peak_rss_bytes", p->peak_rss_bytes);
    put_count(out, "frames_in", atomic_load(&page->frames_in));
    put_count(out, "frames_out", atomic_load(&page->frames_out));
    put_count(out, "documents", atomic_load(&page->documents));
    put_count(out, "tokens", atomic_load(&page->tokens));
    put_count(out, "bytes", atomic_load(&page->bytes));
    put_count(out, "copied_bytes", atomic_load(&page->copied_bytes));
    json_put(out, "busy_s", json_new_number((double)atomic_load(&page->busy_ns) / 1e9));
    json_put(out, "starved_s", json_new_number((double)atomic_load(&page->starved_ns) / 1e9));
    json_put(out, "blocked_s", json_new_number((double)atomic_load(&page->blocked_ns) / 1e9));
    return out;
}

static void put_row(struct json_node *link, const char *key, const struct supervise_process *p,
                    uint32_t number, bool outgoing)
{
    uint32_t n = atomic_load(&p->status.link_count);
    for (uint32_t i = 0; i < n && i < STATUS_LINKS_MAX; i++) {
        const struct status_link *row = &p->status.links[i];
        if (row->number != number || (row->outgoing != 0) != outgoing) continue;
        struct json_node *end = json_new_map();
        put_count(end, "frames", atomic_load(&row->frames));
        put_count(end, "bytes", atomic_load(&row->bytes));
        put_count(end, "copied_bytes", atomic_load(&row->copied_bytes));
        if (outgoing) put_count(end, "inlined_bytes", atomic_load(&row->inlined_bytes));
        if (!outgoing) put_count(end, "unwanted", atomic_load(&row->unwanted));
        if (!outgoing) put_count(end, "stale", atomic_load(&row->stale));
        json_put(link, key, end);
        return;
    }
}

static struct json_node *links_node(const struct supervise_result *r, const struct plan *plan)
{
    struct json_node *out = json_new_list();
    for (size_t i = 0; i < plan->link_count; i++) {
        const struct plan_link *ln = &plan->links[i];
        struct json_node *one = json_new_map();
        put_count(one, "number", ln->number);
        json_put(one, "from", json_new_string(r->processes[ln->from].name));
        json_put(one, "from_port", json_new_string(ln->from_port));
        json_put(one, "to", json_new_string(r->processes[ln->to].name));
        json_put(one, "to_port", json_new_string(ln->to_port));
        put_row(one, "sent", &r->processes[ln->from], ln->number, true);
        put_row(one, "received", &r->processes[ln->to], ln->number, false);
        json_append(out, one);
    }
    return out;
}

struct json_node *supervise_report_json(const struct supervise_result *r, const struct plan *plan)
{
    plan = last_plan(r, plan);
    struct supervisor_totals t = totals_of(r, plan);
    struct json_node *out = json_new_map(), *processes = json_new_list();
    json_put(out, "exit_status", json_new_int(r->exit_status));
    json_put(out, "completed", json_new_bool(r->exit_status <= 1));
    json_put(out, "end", json_new_string(r->end));
    put_count(out, "epoch", r->epoch);
    put_count(out, "restarts", r->restarts);
    json_put(out, "seconds", json_new_number(r->seconds));
    put_count(out, "documents", t.documents);
    put_count(out, "failed", t.failed);
    put_count(out, "skipped", t.skipped);
    json_put(out, "skipped_reasons", json_new_string(t.skipped_reasons));
    put_count(out, "tokens", t.tokens);
    json_put(out, "tokens_per_s", json_new_number(r->seconds > 0 ? (double)t.tokens / r->seconds : 0));
    json_put(out, "first_failed",
             r->first_failed < r->process_count ? json_new_string(r->processes[r->first_failed].name)
                                                : json_new_null());
    if (r->report != NULL && r->report[0] != '\0') json_put(out, "message", json_new_string(r->report));
    for (size_t i = 0; i < r->process_count; i++)
        json_append(processes, process_node(&r->processes[i], &plan->processes[i]));
    json_put(out, "processes", processes);
    json_put(out, "links", links_node(r, plan));
    return out;
}
