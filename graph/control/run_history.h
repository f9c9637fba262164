/* The course of a run, for the live page: a figure every two seconds, the newest half hour. */
#ifndef GRAPH_CONTROL_RUN_HISTORY_H
#define GRAPH_CONTROL_RUN_HISTORY_H

#include "graph/json.h"

enum { RUN_HISTORY_S = 2, RUN_HISTORY_SAMPLES = 900 };

struct run_history {
    struct run_sample {
        double seconds; /* since the run's start */
        int64_t tokens, documents, queue, rss_bytes;
    } samples[RUN_HISTORY_SAMPLES];
    size_t count, next; /* next: where the following one goes, over the oldest once all are taken */
};

void run_history_add(struct run_history *h, const struct json_node *status);
/* [[seconds, tokens, documents, queue, rss_bytes], ...], oldest first; tokens and documents only grow. */
struct json_node *run_history_json(const struct run_history *h);

#endif
