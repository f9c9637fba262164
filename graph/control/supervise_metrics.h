/* A run seen over HTTP, on loopback: the live page, /metrics for Prometheus, /api/status, /api/history,
 * /api/logs. Served by the supervisor's own thread, between two polls. */
#ifndef GRAPH_CONTROL_SUPERVISE_METRICS_H
#define GRAPH_CONTROL_SUPERVISE_METRICS_H

#include "graph/http.h"

struct supervisor;

struct supervise_metrics;

/* address: "127.0.0.1:9464"; port 0: any free one. Errors: of http_open. */
THEA_CHECK thea_rc supervise_metrics_open(struct supervise_metrics **out, struct supervisor *s,
                                          const char *address, struct thea_err *err);
const char *supervise_metrics_url(const struct supervise_metrics *m);
int supervise_metrics_fd(const struct supervise_metrics *m); /* readable when there is something to handle */
void supervise_metrics_handle(struct supervise_metrics *m);
void supervise_metrics_close(struct supervise_metrics *m); /* NULL is fine */

#endif
