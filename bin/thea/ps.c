/* thea ps: the runs of this user, live ones and (--all) those that ended. */
#include "bin/thea/support/command.h"
#include "graph/control/run_rates.h"
#include "graph/control/runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPORT_MAX_BYTES = 16 << 20 };

/* --- what is known of a run --- */

static void copy_member(struct json_node *to, const struct json_node *from, const char *key, const char *as)
{
    const struct json_node *value = json_member(from, key);
    json_put(to, as, value != NULL ? json_copy_node(value) : json_new_null());
}

static struct json_node *live_node(struct runs_entry *e)
{
    struct thea_err err;
    struct json_node *status = NULL, *out = json_new_map();
    json_put(out, "name", json_new_string(e->name));
    json_put(out, "directory", json_new_string(e->path));
    if (runs_ask(&status, e, "status", &err) != THEA_OK) {
        json_put(out, "state", json_new_string("silent"));
        return out;
    }
    copy_member(out, status, "state", "state");
    copy_member(out, status, "pid", "pid");
    copy_member(out, status, "up_s", "seconds");
    copy_member(out, status, "documents", "documents");
    copy_member(out, status, "expected", "expected");
    copy_member(out, status, "open", "open");
    copy_member(out, status, "failed", "failed");
    copy_member(out, status, "tokens", "tokens");
    json_put(out, "tokens_per_s", json_new_number(run_tokens_per_s(NULL, status)));
    json_free(status);
    return out;
}

/* How it ended: with all done; by a stage's failure; by a signal to it; or without a word (killed). */
static const char *end_of(const struct json_node *report)
{
    if (report == NULL) return "broken off";
    if (json_bool_or(report, "completed", false)) return "done";
    return json_int_or(report, "exit_status", 70) > 128 ? "interrupted" : "failed";
}

static struct json_node *ended_node(const struct runs_entry *e)
{
    struct json_node *report = NULL, *out = json_new_map();
    struct buf file = {0};
    buf_printf(&file, "%s/report.json", e->path);
    if (json_read_file(&report, file.data, REPORT_MAX_BYTES, NULL) != THEA_OK) report = NULL;
    json_put(out, "name", json_new_string(e->name));
    json_put(out, "directory", json_new_string(e->path));
    json_put(out, "state", json_new_string(e->silent ? "silent" : end_of(report)));
    if (report != NULL && !e->silent) {
        copy_member(out, report, "exit_status", "exit_status");
        copy_member(out, report, "seconds", "seconds");
        copy_member(out, report, "documents", "documents");
        copy_member(out, report, "failed", "failed");
        copy_member(out, report, "tokens", "tokens");
        copy_member(out, report, "tokens_per_s", "tokens_per_s");
    }
    json_free(report);
    buf_fini(&file);
    return out;
}

/* --- printing --- */

static void print_row(const struct json_node *run, int width, struct buf *out)
{
    char count[32], rate[16] = "-";
    struct buf clock = {0};
    bool known = json_member(run, "documents") != NULL;
    if (known) run_print_clock(&clock, json_number_or(run, "seconds", 0));
    if (json_int_or(run, "tokens", 0) > 0) value_format_rate(rate, json_number_or(run, "tokens_per_s", 0));
    buf_printf(out, "%-*s  %-11s %9s %11s %7s  %s\n", width, json_text_or(run, "name", "?"),
               json_text_or(run, "state", "?"), known ? buf_text(&clock) : "-",
               known ? value_format_count(count, (uint64_t)json_int_or(run, "documents", 0)) : "-", rate,
               json_text_or(run, "directory", "?"));
    buf_fini(&clock);
}

static void print_table(const struct json_node *list, struct buf *out)
{
    int width = (int)strlen("RUN");
    for (size_t i = 0; i < json_count(list); i++) {
        int n = (int)strlen(json_text_or(json_item(list, i), "name", "?"));
        if (n > width) width = n;
    }
    buf_printf(out, "%-*s  %-11s %9s %11s %7s  %s\n", width, "RUN", "STATE", "TIME", "DOCUMENTS", "TOK/S",
               "DIRECTORY");
    for (size_t i = 0; i < json_count(list); i++) print_row(json_item(list, i), width, out);
}

static void print_json(const struct json_node *list, struct buf *out)
{
    for (size_t i = 0; i < json_count(list); i++) {
        char *line = json_print(json_item(list, i), 0, 9);
        buf_printf(out, "%s\n", line);
        free(line);
    }
}

static int run(const struct command_args *args)
{
    struct thea_err err;
    struct runs runs;
    struct buf text = {0};
    bool all = command_flag(args, "all", false), json = command_flag(args, "json", false);
    if (runs_list(&runs, true, &err) != THEA_OK) return thea_log_failure(&err);
    struct json_node *list = json_new_list();
    for (size_t i = 0; i < runs.count; i++) {
        struct runs_entry *e = &runs.items[i];
        if (e->channel != NULL)
            json_append(list, live_node(e));
        else if (all || e->silent)
            json_append(list, ended_node(e));
    }
    if (json)
        print_json(list, &text);
    else if (json_count(list) > 0)
        print_table(list, &text);
    else if (!command_flag(args, "quiet", false))
        fprintf(stderr, "no run is live%s\n", runs.count > 0 ? " (thea ps --all: those that ended)" : "");
    fwrite(buf_text(&text), 1, text.len, stdout);
    buf_fini(&text);
    json_free(list);
    runs_free(&runs);
    return 0;
}

static const struct command_option options[] = {
    {"all", 0, VALUE_BOOL, NULL, "also runs that ended", NULL},
    {"json", 0, VALUE_BOOL, NULL, "one JSON object a run (JSON Lines)", NULL},
    {0},
};
static const char *const examples[] = {"thea ps   the runs that are going on",
                                       "thea ps --all --json   every run whose directory is still there",
                                       NULL};

const struct command command_ps = {
    .name = "ps",
    .operands = "",
    .summary = "list runs",
    .description =
        "Live runs of this user, wherever their directories are, and with --all those that ended and "
        "whose directory\n"
        "is in THEA_RUNS (~/.local/state/thea/runs). STATE: running, paused, draining, stopping; "
        "silent: does not\n"
        "answer; done, failed, interrupted; broken off: killed, can be resumed.",
    .options = options,
    .examples = examples,
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
