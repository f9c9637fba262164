/* A run's figures in Prometheus' text format (version 0.0.4), made from its answer to "status". Names and
 * units follow Prometheus' conventions: base units, _total on what only grows. */
#ifndef GRAPH_CONTROL_METRICS_H
#define GRAPH_CONTROL_METRICS_H

#include "graph/buf.h"
#include "graph/json.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

void metrics_print(const struct json_node *status, struct buf *out);

#endif
