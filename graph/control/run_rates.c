/* Rates of a run: see run_rates.h. Invariant: a counter that is smaller than before belongs to a restarted
 * process and counts from 0. */
#include "graph/control/run_rates.h"

#include "graph/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_WIDTH_MAX = 40 };

/* --- differences --- */

static double grown(const struct json_node *before, const struct json_node *now, const char *key)
{
    double b = json_number_or(before, key, 0), n = json_number_or(now, key, 0);
    return n >= b ? n - b : n;
}

/* NULL before: since the start. */
static double seconds_between(const struct json_node *before, const struct json_node *now)
{
    double s = (double)(json_int_or(now, "now_ns", 0) - json_int_or(before, "now_ns", 0)) / 1e9;
    return before != NULL && s > 0 ? s : json_number_or(now, "up_s", 0);
}

static const struct json_node *find_named(const struct json_node *list, const char *name)
{
    for (size_t i = 0; i < json_count(list); i++)
        if (strcmp(json_text_or(json_item(list, i), "name", ""), name) == 0) return json_item(list, i);
    return NULL;
}

static int64_t count_below(const struct json_node *counts, int64_t bound_ns)
{
    for (size_t i = 0; i < json_count(counts); i++)
        if (json_int(json_item(json_item(counts, i), 0)) == bound_ns)
            return json_int(json_item(json_item(counts, i), 1));
    return 0;
}

static int64_t ops_between(const struct json_node *before, const struct json_node *pair)
{
    int64_t n = json_int(json_item(pair, 1)), b = count_below(before, json_int(json_item(pair, 0)));
    return n >= b ? n - b : n;
}

double run_quantile_s(const struct json_node *before, const struct json_node *now, double share)
{
    int64_t all = 0, sum = 0;
    for (size_t i = 0; i < json_count(now); i++) all += ops_between(before, json_item(now, i));
    for (size_t i = 0; i < json_count(now); i++) {
        const struct json_node *pair = json_item(now, i);
        sum += ops_between(before, pair);
        if (sum > 0 && (double)sum >= share * (double)all) return (double)json_int(json_item(pair, 0)) / 1e9;
    }
    return (double)NAN;
}

/* --- one process --- */

static void sum_links(struct run_rates *r, const struct json_node *links)
{
    for (size_t i = 0; i < json_count(links); i++) {
        const struct json_node *ln = json_item(links, i);
        if (strcmp(json_text_or(ln, "to", ""), r->name) != 0) continue;
        r->queue += (uint64_t)json_int_or(ln, "queue", 0);
        r->in_flight += (uint64_t)json_int_or(ln, "in_flight", 0);
        r->window += (uint64_t)json_int_or(ln, "window", 0);
        r->copied_bytes += (uint64_t)json_int_or(ln, "copied_bytes", 0);
        r->spilled_bytes += (uint64_t)json_int_or(ln, "spilled_bytes", 0);
        r->spill += (uint64_t)json_int_or(ln, "spill", 0);
    }
}

/* Shares of the time that was accounted for: ops and waits are counted when they end, so that an interval may
 * see more, or nothing of a long op. */
static void share_time(struct run_rates *r, const struct json_node *before, const struct json_node *now)
{
    double busy = grown(before, now, "busy_s"), starved = grown(before, now, "starved_s");
    double blocked = grown(before, now, "blocked_s"), all = busy + starved + blocked;
    if (all > 0) {
        r->busy = busy / all;
        r->starved = starved / all;
        r->blocked = blocked / all;
    } else if (strcmp(r->state, "running") == 0) { /* in one long op, or in one long wait */
        const char *doing = json_text_or(now, "doing", "");
        r->busy = strcmp(doing, "busy") == 0;
        r->starved = strcmp(doing, "starved") == 0;
        r->blocked = strcmp(doing, "blocked") == 0;
    }
}

static struct run_rates rates_of(const struct json_node *before, const struct json_node *now, double seconds,
                                 const struct json_node *links)
{
    struct run_rates r = {.name = json_text_or(now, "name", "?"), .state = json_text_or(now, "state", "?")};
    r.pid = (int)json_int_or(now, "pid", 0);
    r.restarts = (int)json_int_or(now, "restarts", 0);
    r.source = json_bool_or(now, "source", false);
    r.frames = (uint64_t)json_int_or(now, r.source ? "frames_out" : "frames_in", 0);
    r.tokens = (uint64_t)json_int_or(now, "tokens", 0);
    if (seconds > 0) {
        r.frames_per_s = grown(before, now, r.source ? "frames_out" : "frames_in") / seconds;
        r.tokens_per_s = grown(before, now, "tokens") / seconds;
    }
    share_time(&r, before, now);
    r.rss_bytes = (uint64_t)json_int_or(now, "rss_bytes", 0);
    sum_links(&r, links);
    const struct json_node *b = json_member(before, "op_ns"), *n = json_member(now, "op_ns");
    r.p50_s = run_quantile_s(b, n, 0.5);
    r.p99_s = run_quantile_s(b, n, 0.99);
    return r;
}

struct run_rates *run_rates(size_t *count, const struct json_node *before, const struct json_node *now)
{
    const struct json_node *list = json_member(now, "processes"), *old = json_member(before, "processes");
    double seconds = seconds_between(before, now);
    size_t most = SIZE_MAX;
    *count = json_count(list);
    struct run_rates *all = calloc(*count + 1, sizeof *all);
    if (all == NULL) abort();
    for (size_t i = 0; i < *count; i++) {
        const struct json_node *p = json_item(list, i);
        all[i] =
            rates_of(find_named(old, json_text_or(p, "name", "")), p, seconds, json_member(now, "links"));
        if (all[i].busy > 0 && (most == SIZE_MAX || all[i].busy > all[most].busy)) most = i;
    }
    if (most != SIZE_MAX) all[most].bottleneck = true;
    return all;
}

double run_tokens_per_s(const struct json_node *before, const struct json_node *now)
{
    double seconds = seconds_between(before, now);
    return seconds > 0 ? grown(before, now, "tokens") / seconds : 0;
}

/* --- text --- */

void run_print_clock(struct buf *out, double seconds)
{
    unsigned long s = seconds > 0 ? (unsigned long)seconds : 0;
    if (s < 3600)
        buf_printf(out, "%lu:%02lu", s / 60, s % 60);
    else
        buf_printf(out, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
}

static void add_count(struct buf *out, const struct json_node *now, const char *key, const char *what)
{
    char count[32];
    buf_printf(out, "%s %s", value_format_count(count, (uint64_t)json_int_or(now, key, 0)), what);
}

static void print_headline(const struct json_node *before, const struct json_node *now, struct buf *out)
{
    char rate[16];
    double tokens = run_tokens_per_s(before, now);
    buf_printf(out, "%s  %s ", json_text_or(now, "name", "?"), json_text_or(now, "state", "?"));
    run_print_clock(out, json_number_or(now, "up_s", 0));
    buf_add_text(out, "  ");
    add_count(out, now, "documents", json_int_or(now, "expected", 0) > 0 ? "of " : "docs, ");
    if (json_int_or(now, "expected", 0) > 0) add_count(out, now, "expected", "docs, ");
    add_count(out, now, "open", "open, ");
    add_count(out, now, "failed", "set aside");
    if (json_int_or(now, "tokens", 0) > 0) buf_printf(out, "  %s tok/s", value_format_rate(rate, tokens));
    if (json_int_or(now, "epoch", 1) > 1) buf_printf(out, "  epoch %d", (int)json_int_or(now, "epoch", 1));
    buf_add_char(out, '\n');
}

static const char *duration(char text[16], double seconds)
{
    if (isnan(seconds))
        snprintf(text, 16, "-");
    else if (seconds < 0.001)
        snprintf(text, 16, "%.0f us", seconds * 1e6);
    else if (seconds < 0.9995)
        snprintf(text, 16, "%.*f ms", seconds < 0.00995 ? 1 : 0, seconds * 1e3);
    else
        snprintf(text, 16, "%.*f s", seconds < 9.95 ? 1 : 0, seconds);
    return text;
}

/* A column that is there where some process may put its input on disk. */
static void print_spilled(const struct run_rates *r, struct buf *out)
{
    char text[16];
    buf_printf(out, " %8s", r->spill > 0 ? value_format_bytes(text, r->spilled_bytes) : "-");
}

static void print_row(const struct run_rates *r, int width, bool spills, struct buf *out)
{
    char frames[16], tokens[16], copied[16], rss[16], p50[16], p99[16];
    char pid[16] = "-", queue[24] = "-", window[48] = "-";
    if (r->pid > 0) snprintf(pid, sizeof pid, "%d", r->pid);
    if (!r->source) {
        snprintf(queue, sizeof queue, "%llu", (unsigned long long)r->queue);
        snprintf(window, sizeof window, "%llu/%llu", (unsigned long long)r->in_flight,
                 (unsigned long long)r->window);
    }
    value_format_bytes(copied, r->copied_bytes);
    buf_printf(out, "%-*s %7s %8s %6s %3.0f %% %5.0f %% %5.0f %% %5s %7s", width, r->name, pid,
               value_format_rate(frames, r->frames_per_s), value_format_rate(tokens, r->tokens_per_s),
               r->busy * 100, r->starved * 100, r->blocked * 100, queue, window);
    if (spills) print_spilled(r, out);
    buf_printf(out, " %8s %8s %7s %7s", r->source ? "-" : copied, value_format_bytes(rss, r->rss_bytes),
               duration(p50, r->p50_s), duration(p99, r->p99_s));
    if (strcmp(r->state, "running") != 0)
        buf_printf(out, "  %s", r->state);
    else if (r->bottleneck)
        buf_add_text(out, "  <-");
    if (r->restarts > 0) buf_printf(out, "  restarted %d", r->restarts);
    buf_add_char(out, '\n');
}

/* Cut what is too long: all of it is ASCII but for what names hold. */
static void add_cut(struct buf *out, const struct buf *line, size_t width)
{
    size_t columns = 0, i = 0;
    for (; i < line->len && line->data[i] != '\n'; i++) {
        if (((unsigned char)line->data[i] & 0xC0) != 0x80 && ++columns > width) break;
    }
    buf_add(out, line->data, i);
    buf_add_char(out, '\n');
}

void run_print_top(const struct json_node *before, const struct json_node *now, size_t width, struct buf *out)
{
    size_t count;
    struct run_rates *all = run_rates(&count, before, now);
    int names = (int)strlen("PROCESS");
    struct buf line = {0};
    bool spills = false;
    for (size_t i = 0; i < count; i++) {
        int n = (int)strlen(all[i].name);
        spills = spills || all[i].spill > 0;
        if (n > names) names = n < NAMES_WIDTH_MAX ? n : NAMES_WIDTH_MAX;
    }
    print_headline(before, now, &line);
    add_cut(out, &line, width);
    buf_clear(&line);
    buf_printf(&line, "%-*s %7s %8s %6s  %s %s %s %5s %7s%s %8s %8s %7s %7s\n", names, "PROCESS", "PID",
               "FRAMES/S", "TOK/S", "BUSY", "STARVED", "BLOCKED", "QUEUE", "WINDOW",
               spills ? "  SPILLED" : "", "COPIED", "RSS", "P50", "P99");
    add_cut(out, &line, width);
    for (size_t i = 0; i < count; i++) {
        buf_clear(&line);
        print_row(&all[i], names, spills, &line);
        add_cut(out, &line, width);
    }
    buf_fini(&line);
    free(all);
}

/* --- JSON --- */

static struct json_node *rates_json(const struct run_rates *r)
{
    struct json_node *out = json_new_map();
    json_put(out, "name", json_new_string(r->name));
    json_put(out, "state", json_new_string(r->state));
    json_put(out, "pid", json_new_int(r->pid));
    json_put(out, "restarts", json_new_int(r->restarts));
    json_put(out, "frames_per_s", json_new_number(r->frames_per_s));
    json_put(out, "tokens_per_s", json_new_number(r->tokens_per_s));
    json_put(out, "frames_total", json_new_int((int64_t)r->frames));
    json_put(out, "tokens_total", json_new_int((int64_t)r->tokens));
    json_put(out, "busy", json_new_number(r->busy));
    json_put(out, "starved", json_new_number(r->starved));
    json_put(out, "blocked", json_new_number(r->blocked));
    json_put(out, "queue", json_new_int((int64_t)r->queue));
    json_put(out, "in_flight", json_new_int((int64_t)r->in_flight));
    json_put(out, "window", json_new_int((int64_t)r->window));
    json_put(out, "copied_bytes", json_new_int((int64_t)r->copied_bytes));
    json_put(out, "spilled_bytes", json_new_int((int64_t)r->spilled_bytes));
    json_put(out, "rss_bytes", json_new_int((int64_t)r->rss_bytes));
    json_put(out, "p50_s", json_new_number(r->p50_s));
    json_put(out, "p99_s", json_new_number(r->p99_s));
    return out;
}

struct json_node *run_top_json(const struct json_node *before, const struct json_node *now)
{
    static const char *const same[] = {"name",   "pipeline", "directory", "pid",      "state",
                                       "up_s",   "epoch",    "documents", "expected", "open",
                                       "failed", "skipped",  "tokens",    "links"};
    struct json_node *out = json_new_map(), *list = json_new_list();
    size_t count;
    struct run_rates *all = run_rates(&count, before, now);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const struct json_node *value = json_member(now, same[i]);
        if (value != NULL) json_put(out, same[i], json_copy_node(value));
    }
    json_put(out, "tokens_per_s", json_new_number(run_tokens_per_s(before, now)));
    for (size_t i = 0; i < count; i++) json_append(list, rates_json(&all[i]));
    json_put(out, "processes", list);
    free(all);
    return out;
}
