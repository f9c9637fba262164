/* Figures of a run for people, from two answers to "status" (supervise_socket.h): what happened between them.
 * Used by `thea top` and `thea ps`. */
#ifndef GRAPH_CONTROL_RUN_RATES_H
#define GRAPH_CONTROL_RUN_RATES_H

#include "graph/buf.h"
#include "graph/json.h"

/* One process between two answers. Shares are of the time between them: 0 to 1. */
struct run_rates {
    const char *name, *state; /* borrowed from `now` */
    int pid, restarts;
    bool source;
    uint64_t frames, tokens; /* since its start */
    double frames_per_s, tokens_per_s, busy, starved, blocked;
    uint64_t queue, in_flight, window, copied_bytes, rss_bytes; /* of its incoming links; now */
    uint64_t spilled_bytes, spill; /* of those, on disk now, of at most so many; 0: none may */
    double p50_s, p99_s;           /* of its ops; NAN: none took place */
    bool bottleneck;
};

/* The processes of `now` in its order; free() them. before NULL: since their start. */
struct run_rates *run_rates(size_t *count, const struct json_node *before, const struct json_node *now);
/* The duration below which `share` of the ops stayed; NAN without any. counts: [[bound_ns, ops], ...]. */
double run_quantile_s(const struct json_node *before, const struct json_node *now, double share);
double run_tokens_per_s(const struct json_node *before, const struct json_node *now);

/* cli.md section 7: a headline and a line for each process, each at most `width` columns. */
void run_print_top(const struct json_node *before, const struct json_node *now, size_t width,
                   struct buf *out);
/* The same figures, as `thea top --json` prints them. */
struct json_node *run_top_json(const struct json_node *before, const struct json_node *now);
/* "2:14:09", "0:07" */
void run_print_clock(struct buf *out, double seconds);

#endif
