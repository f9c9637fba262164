/* A run seen over HTTP, on loopback: the live page, /metrics for Prometheus, /api/status and /api/logs.
 * Served by the supervisor's own thread, between two polls. */
#ifndef GRAPH_CONTROL_SUPERVISE_METRICS_H
#define GRAPH_CONTROL_SUPERVISE_METRICS_H

#include "graph/http.h"

struct supervisor;

/* address: "127.0.0.1:9464"; port 0: any free one. Errors: of http_open. */
THEA_CHECK thea_rc supervise_metrics_open(struct http **out, struct supervisor *s, const char *address,
                                          struct thea_err *err);

#endif
