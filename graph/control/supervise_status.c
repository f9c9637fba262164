/* All figures of a live run as one JSON object: what `thea ps`, `thea top`, the live page and GET /api/status
 * read. Counters only grow and times are CLOCK_MONOTONIC, so that a reader makes rates of two answers:
 * run_rates.h. */
#include "graph/control/supervise_socket.h"
#include "graph/control/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void put_count(struct json_node *map, const char *key, uint64_t n)
{
    json_put(map, key, json_new_int((int64_t)n));
}

static void put_seconds(struct json_node *map, const char *key, uint64_t ns)
{
    json_put(map, key, json_new_number((double)ns / 1e9));
}

static void put_text(struct json_node *map, const char *key, const char *text)
{
    json_put(map, key, json_new_string(text));
}

/* --- processes --- */

/* The second number of statm is of pages. */
static uint64_t rss_bytes(pid_t pid)
{
    char path[64], text[128] = "";
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) return 0;
    const char *second = fgets(text, sizeof text, f) != NULL ? strchr(text, ' ') : NULL;
    fclose(f);
    return second != NULL ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static const char *state_of(const struct child *c)
{
    static const char *const names[] = {"starting", "running", "draining", "done", "failed"};
    uint32_t state = c->page != NULL ? atomic_load(&c->page->state) : STATUS_STARTING;
    if (c->waits) return "restarting";
    if (c->health.stopped_ns != 0) return "stopped";
    if (c->ended && state != STATUS_DONE) return "failed";
    return state < sizeof names / sizeof *names ? names[state] : "?";
}

/* [[below so many nanoseconds, so many ops], ...]: durations that occurred. */
static struct json_node *op_counts(const struct status_page *page)
{
    struct json_node *out = json_new_list();
    for (size_t i = 0; i < STATUS_OP_BUCKETS; i++) {
        uint64_t n = get(&page->op_counts[i]);
        if (n == 0) continue;
        struct json_node *pair = json_new_list();
        json_append(pair, json_new_int((int64_t)status_op_bound_ns(i)));
        json_append(pair, json_new_int((int64_t)n));
        json_append(out, pair);
    }
    return out;
}

/* What it does at this moment; its counters grow only when an op, or a wait, is over. */
static const char *doing(const struct status_page *page)
{
    if (atomic_load(&page->has_input) == 0) return "starved";
    return atomic_load(&page->has_credit) == 0 ? "blocked" : "busy";
}

static void put_page(struct json_node *out, const struct status_page *page)
{
    char work[sizeof page->work];
    put_text(out, "doing", doing(page));
    put_count(out, "progress", get(&page->progress));
    put_count(out, "frames_in", get(&page->frames_in));
    put_count(out, "frames_out", get(&page->frames_out));
    put_count(out, "tokens", get(&page->tokens));
    put_count(out, "documents", get(&page->documents));
    put_count(out, "failed", get(&page->failed));
    put_count(out, "bytes", get(&page->bytes));
    put_seconds(out, "busy_s", get(&page->busy_ns));
    put_seconds(out, "starved_s", get(&page->starved_ns));
    put_seconds(out, "blocked_s", get(&page->blocked_ns));
    put_count(out, "copied_bytes", get(&page->copied_bytes));
    json_put(out, "op_ns", op_counts(page));
    status_get_work(page, work, sizeof work);
    put_text(out, "work", work);
}

static struct json_node *process_node(const struct supervisor *s, const struct child *c, uint64_t now_ns)
{
    const struct plan_process *p = c->process;
    struct json_node *out = json_new_map();
    char stage[128];
    snprintf(stage, sizeof stage, "%.*s", (int)supervisor_stage_name(p), p->name);
    put_text(out, "name", p->name);
    put_text(out, "stage", stage);
    put_count(out, "part", p->part);
    put_count(out, "replica", p->replica);
    put_text(out, "kind", s->plan->spec != NULL ? s->plan->spec->stages[p->stage].kind : NULL);
    json_put(out, "source", json_new_bool(p->source));
    json_put(out, "sink", json_new_bool(p->sink));
    json_put(out, "pid", json_new_int(c->ended ? 0 : c->pid));
    put_count(out, "restarts", c->incarnation > 0 ? c->incarnation - 1 : 0);
    put_text(out, "state", state_of(c));
    put_seconds(out, "up_s", (c->ended ? c->ended_ns : now_ns) - c->started_ns);
    put_count(out, "rss_bytes", c->ended ? 0 : rss_bytes(c->pid));
    if (c->page != NULL) put_page(out, c->page);
    return out;
}

/* --- links --- */

static const struct status_link *find_row(const struct child *c, uint32_t number, bool outgoing)
{
    uint32_t n = c->page != NULL ? atomic_load(&c->page->link_count) : 0;
    for (uint32_t i = 0; i < n && i < STATUS_LINKS_MAX; i++) {
        const struct status_link *row = &c->page->links[i];
        if (row->number == number && (row->outgoing != 0) == outgoing) return row;
    }
    return NULL;
}

/* What waits on disk, and in front of it, waits at this input, too. */
static uint64_t queued_frames(const struct status_link *received)
{
    return (uint64_t)atomic_load(&received->queue) + atomic_load(&received->spilled_frames);
}

/* Of the window that counts for what is under way now (the sender knows). It may change between two looks. */
static void put_window(struct json_node *out, const struct status_link *sent,
                       const struct status_link *received)
{
    uint32_t window = received != NULL ? atomic_load(&received->window) : 0, taken = 0;
    if (sent != NULL && atomic_load(&sent->window) > 0) window = atomic_load(&sent->window);
    if (sent != NULL) taken = atomic_load(&sent->queue);
    put_count(out, "in_flight", taken < window ? taken : window);
    put_count(out, "window", window);
}

static struct json_node *link_node(const struct supervisor *s, const struct plan_link *ln)
{
    const struct child *from = &s->children[ln->from], *to = &s->children[ln->to];
    const struct status_link *sent = find_row(from, ln->number, true);
    const struct status_link *received = find_row(to, ln->number, false);
    struct json_node *out = json_new_map();
    put_count(out, "number", ln->number);
    put_text(out, "from", from->process->name);
    put_text(out, "from_port", ln->from_port);
    put_text(out, "to", to->process->name);
    put_text(out, "to_port", ln->to_port);
    json_put(out, "feedback", json_new_bool(ln->feedback));
    put_count(out, "frames", sent != NULL ? get(&sent->frames) : 0);
    put_count(out, "bytes", sent != NULL ? get(&sent->bytes) : 0);
    put_count(out, "queue", received != NULL ? queued_frames(received) : 0);
    put_count(out, "spilled_bytes", received != NULL ? get(&received->spilled_bytes) : 0);
    put_count(out, "spill", received != NULL ? get(&received->spill_limit) : 0);
    put_count(out, "inlined_bytes", sent != NULL ? get(&sent->inlined_bytes) : 0);
    put_window(out, sent, received);
    put_count(out, "unwanted", received != NULL ? get(&received->unwanted) : 0);
    put_count(out, "stale", received != NULL ? get(&received->stale) : 0);
    put_count(out, "copied_bytes",
              (sent != NULL ? get(&sent->copied_bytes) : 0) +
                  (received != NULL ? get(&received->copied_bytes) : 0));
    return out;
}

/* --- the run --- */

static const char *phase_of(const struct supervisor *s)
{
    switch (s->phase) {
    case SUPERVISOR_RUNNING: return s->paused ? "paused" : "running";
    case SUPERVISOR_DRAINING: return "draining";
    case SUPERVISOR_FINISHING: return "finishing";
    case SUPERVISOR_FAILING: return "failing";
    case SUPERVISOR_TERMINATING:
    case SUPERVISOR_KILLING: break;
    }
    return "stopping";
}

static void put_totals(struct json_node *out, const struct supervisor *s)
{
    uint64_t begun = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->children[i].process->source) begun += get(&s->children[i].page->documents);
    struct supervisor_totals t = supervisor_total_now(s);
    uint64_t ended = t.documents + t.failed;
    put_count(out, "documents", t.documents);
    put_count(out, "expected", t.expected);
    put_count(out, "open", begun > ended ? begun - ended : 0);
    put_count(out, "failed", t.failed);
    put_count(out, "skipped", t.skipped);
    put_count(out, "tokens", t.tokens);
}

struct json_node *supervise_status(struct supervisor *s)
{
    uint64_t now_ns = status_now_ns();
    struct json_node *out = json_new_map(), *processes = json_new_list(), *links = json_new_list();
    put_text(out, "name", s->o->run->name);
    put_text(out, "pipeline", s->o->label);
    put_text(out, "directory", s->o->run->path);
    json_put(out, "pid", json_new_int(getpid()));
    put_text(out, "state", phase_of(s));
    put_count(out, "epoch", s->epoch);
    put_count(out, "restarts", s->restarts);
    put_count(out, "now_ns", now_ns);
    put_seconds(out, "up_s", now_ns - s->started_ns);
    put_count(out, "rss_bytes", rss_bytes(getpid()));
    put_totals(out, s);
    for (size_t i = 0; i < s->count; i++)
        if (!s->children[i].process->gone) json_append(processes, process_node(s, &s->children[i], now_ns));
    for (size_t i = 0; i < s->plan->link_count; i++)
        if (!s->plan->links[i].gone) json_append(links, link_node(s, &s->plan->links[i]));
    json_put(out, "processes", processes);
    json_put(out, "links", links);
    return out;
}
