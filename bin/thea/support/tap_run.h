/* Tapping a live run: its processes connect to us and send what passes. */
#ifndef BIN_THEA_TAP_RUN_H
#define BIN_THEA_TAP_RUN_H

#include "graph/control/runs.h"

struct tap_options {
    const char *glob, *port; /* port NULL: what leaves (of sinks: what comes) */
    int64_t limit, values;   /* frames to print; values of each tensor to ask for */
    bool json;
};

/* Print frames until the limit, the run's end, or a reader that had enough. */
THEA_CHECK thea_rc tap_run(struct runs_entry *run, const struct tap_options *o, struct thea_err *err);
/* One frame into stdout's buffer, and the buffer out. THEA_DONE: nobody reads any more. */
THEA_CHECK thea_rc tap_show(const struct json_node *frame, bool json, struct thea_err *err);
THEA_CHECK thea_rc tap_flush(struct thea_err *err);

#endif
