/* Prometheus' text format: see metrics.h. Invariant: all samples of a metric follow its HELP and TYPE lines,
 * and no line is printed twice. */
#include "graph/control/metrics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct metric {
    const char *name, *type, *help;
    const char *key;       /* in the status */
    const char *direction; /* "in", "out": a label more; rows of one name follow each other */
};

static const struct metric run_metrics[] = {
    {"thea_run_uptime_seconds", "gauge", "Time since the run was started.", "up_s", NULL},
    {"thea_run_documents_total", "counter", "Documents that came out of every sink.", "documents", NULL},
    {"thea_run_documents_failed_total", "counter", "Documents that ended with an error.", "failed", NULL},
    {"thea_run_documents_aside_total", "counter", "Documents that were set aside.", "aside", NULL},
    {"thea_run_documents_skipped_total", "counter", "Inputs that a source left out.", "skipped", NULL},
    {"thea_run_documents_open", "gauge", "Documents that were begun and are not out.", "open", NULL},
    {"thea_run_documents_expected", "gauge", "Documents that will come in all; 0: not known.", "expected",
     NULL},
    {"thea_run_tokens_total", "counter", "Tokens of the stage that has most.", "tokens", NULL},
    {"thea_run_restarts_total", "counter", "Processes that were started again.", "restarts", NULL},
    {"thea_run_epoch", "gauge", "Grows with each recovery from a death.", "epoch", NULL},
    {"process_resident_memory_bytes", "gauge", "Resident memory of the supervisor.", "rss_bytes", NULL},
    {0}};

static const struct metric process_metrics[] = {
    {"thea_stage_frames_total", "counter", "Frames that came in and went out.", "frames_in", "in"},
    {"thea_stage_frames_total", "counter", NULL, "frames_out", "out"},
    {"thea_stage_tokens_total", "counter", "Tokens that passed.", "tokens", NULL},
    {"thea_stage_documents_total", "counter", "Documents that ended here.", "documents", NULL},
    {"thea_stage_documents_failed_total", "counter", "Documents that ended here with an error.", "failed",
     NULL},
    {"thea_stage_bytes_total", "counter", "Bytes read by a source, written by a sink.", "bytes", NULL},
    {"thea_stage_busy_seconds_total", "counter", "Time spent in operations.", "busy_s", NULL},
    {"thea_stage_starved_seconds_total", "counter", "Time spent waiting for input.", "starved_s", NULL},
    {"thea_stage_blocked_seconds_total", "counter", "Time spent waiting for the next stage.", "blocked_s",
     NULL},
    {"thea_stage_copied_bytes_total", "counter", "Tensor bytes copied into the state of documents.",
     "copied_bytes", NULL},
    {"thea_stage_restarts_total", "counter", "How often it was started again.", "restarts", NULL},
    {"thea_process_resident_memory_bytes", "gauge", "Resident memory.", "rss_bytes", NULL},
    {0}};

static const struct metric link_metrics[] = {
    {"thea_link_frames_total", "counter", "Frames sent.", "frames", NULL},
    {"thea_link_bytes_total", "counter", "Tensor bytes sent.", "bytes", NULL},
    {"thea_link_copied_bytes_total", "counter", "Tensor bytes copied on the way.", "copied_bytes", NULL},
    {"thea_link_inlined_bytes_total", "counter", "Tensor bytes so few that they rode in the message.",
     "inlined_bytes", NULL},
    {"thea_link_stale_frames_total", "counter", "Frames of an older epoch that were dropped.", "stale", NULL},
    {"thea_link_unwanted_frames_total", "counter", "Frames dropped after the receiver had enough.",
     "unwanted", NULL},
    {"thea_link_queue_frames", "gauge", "Frames that wait at the receiver.", "queue", NULL},
    {"thea_link_in_flight_frames", "gauge", "Frames sent and not yet taken.", "in_flight", NULL},
    {"thea_link_window_frames", "gauge", "Frames that may be in flight.", "window", NULL},
    {"thea_link_spilled_bytes", "gauge", "Of what waits at the receiver, bytes on disk.", "spilled_bytes",
     NULL},
    {"thea_link_spill_limit_bytes", "gauge", "Bytes that may wait on disk; 0: none.", "spill", NULL},
    {0}};

/* --- text --- */

static void add_head(struct buf *out, const struct metric *m)
{
    if (m->help == NULL) return;
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, m->type);
}

static void add_label(struct buf *labels, const char *name, const char *value)
{
    buf_printf(labels, "%s%s=\"", labels->len > 0 ? "," : "", name);
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"') buf_add_char(labels, '\\');
        if (*value == '\n')
            buf_add_text(labels, "\\n");
        else
            buf_add_char(labels, *value);
    }
    buf_add_char(labels, '"');
}

static void add_sample(struct buf *out, const char *name, const struct buf *labels, double value)
{
    buf_add_text(out, name);
    if (labels->len > 0) buf_printf(out, "{%s}", labels->data);
    if (value == floor(value) && fabs(value) < 9e15)
        buf_printf(out, " %.0f\n", value);
    else
        buf_printf(out, " %.9g\n", value);
}

static void process_labels(const struct json_node *process, struct buf *out)
{
    char number[24];
    add_label(out, "stage", json_text_or(process, "stage", ""));
    snprintf(number, sizeof number, "%lld", (long long)json_int_or(process, "part", 0));
    add_label(out, "part", number);
    snprintf(number, sizeof number, "%lld", (long long)json_int_or(process, "replica", 0));
    add_label(out, "replica", number);
}

static void link_labels(const struct json_node *link, struct buf *out)
{
    static const char *const keys[] = {"from", "from_port", "to", "to_port"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        add_label(out, keys[i], json_text_or(link, keys[i], ""));
}

/* --- metrics of many --- */

static void print_each(const struct metric *metrics, const struct json_node *list,
                       void (*label)(const struct json_node *item, struct buf *out), struct buf *out)
{
    struct buf labels = {0};
    for (const struct metric *m = metrics; m->name != NULL; m++) {
        add_head(out, m);
        for (size_t i = 0; i < json_count(list); i++) {
            const struct json_node *item = json_item(list, i);
            buf_clear(&labels);
            label(item, &labels);
            if (m->direction != NULL) add_label(&labels, "direction", m->direction);
            add_sample(out, m->name, &labels, json_number_or(item, m->key, 0));
        }
    }
    buf_fini(&labels);
}

static void print_up(const struct json_node *list, struct buf *out)
{
    static const struct metric up = {"thea_stage_up", "gauge", "1 while the process lives.", NULL, NULL};
    struct buf labels = {0};
    add_head(out, &up);
    for (size_t i = 0; i < json_count(list); i++) {
        buf_clear(&labels);
        process_labels(json_item(list, i), &labels);
        add_sample(out, up.name, &labels, json_int_or(json_item(list, i), "pid", 0) > 0);
    }
    buf_fini(&labels);
}

/* --- the times of operations --- */

/* Bounds that status_op_bound_ns has, too, so that counts are exact: 1.024 us x 4^k. */
enum { BOUND_FIRST_NS = 1024, BOUNDS = 13 };

static void print_histogram(const struct json_node *process, struct buf *out)
{
    const struct json_node *counts = json_member(process, "op_ns");
    struct buf labels = {0}, with_bound = {0};
    double count = 0;
    size_t at = 0;
    int64_t bound = BOUND_FIRST_NS;
    process_labels(process, &labels);
    for (int i = 0; i <= BOUNDS; i++, bound *= 4) {
        for (; at < json_count(counts); at++) {
            const struct json_node *pair = json_item(counts, at);
            if (i < BOUNDS && json_int(json_item(pair, 0)) > bound) break;
            count += json_number(json_item(pair, 1));
        }
        char le[32] = "+Inf";
        if (i < BOUNDS) snprintf(le, sizeof le, "%.12g", (double)bound / 1e9);
        buf_clear(&with_bound);
        buf_add(&with_bound, labels.data, labels.len);
        add_label(&with_bound, "le", le);
        add_sample(out, "thea_stage_op_duration_seconds_bucket", &with_bound, count);
    }
    add_sample(out, "thea_stage_op_duration_seconds_sum", &labels, json_number_or(process, "busy_s", 0));
    add_sample(out, "thea_stage_op_duration_seconds_count", &labels, count);
    buf_fini(&labels);
    buf_fini(&with_bound);
}

static void print_histograms(const struct json_node *list, struct buf *out)
{
    static const struct metric durations = {"thea_stage_op_duration_seconds", "histogram",
                                            "How long operations took.", NULL, NULL};
    add_head(out, &durations);
    for (size_t i = 0; i < json_count(list); i++) print_histogram(json_item(list, i), out);
}

/* --- all --- */

static void print_info(const struct json_node *status, struct buf *out)
{
    static const struct metric info = {"thea_run_info", "gauge", "The run.", NULL, NULL};
    struct buf labels = {0};
    add_head(out, &info);
    add_label(&labels, "run", json_text_or(status, "name", ""));
    add_label(&labels, "pipeline", json_text_or(status, "pipeline", ""));
    add_label(&labels, "version", THEA_VERSION);
    add_sample(out, info.name, &labels, 1);
    buf_fini(&labels);
}

void metrics_print(const struct json_node *status, struct buf *out)
{
    const struct json_node *processes = json_member(status, "processes");
    const struct buf no_labels = {0};
    print_info(status, out);
    for (const struct metric *m = run_metrics; m->name != NULL; m++) {
        if (json_member(status, m->key) == NULL) continue;
        add_head(out, m);
        add_sample(out, m->name, &no_labels, json_number_or(status, m->key, 0));
    }
    print_each(process_metrics, processes, process_labels, out);
    print_up(processes, out);
    print_histograms(processes, out);
    print_each(link_metrics, json_member(status, "links"), link_labels, out);
}
