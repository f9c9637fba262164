/* What commands may ask a live run: the run's socket in the supervisor. Questions are JSON objects
 * {"ask": ...}:
 *
 *   "who"                          its name, directory, process
 *   "status"                       all figures of the run: supervise_status.c says which
 *   "stop", "now": false           drain and end; now: end at once
 *   "pause", "resume"              sources hold; go on
 *   "scale", "stage", "replicas"   as many replicas of that stage
 *   "tap", "glob", "port", "values", "address"    the processes whose names match send copies of headers to
 *                                  that address, for as long as the asker stays connected
 *
 * Each is answered by an object; one with "error" (and "code", a thea_rc) says why not. */
#ifndef GRAPH_CONTROL_SUPERVISE_SOCKET_H
#define GRAPH_CONTROL_SUPERVISE_SOCKET_H

#include "graph/json.h"

struct supervisor;
struct child;
struct supervise_socket;

/* Listen, and write the name into the run directory's file `socket`. */
THEA_CHECK thea_rc supervise_socket_open(struct supervise_socket **out, struct supervisor *s,
                                         struct thea_err *err);
int supervise_socket_fd(const struct supervise_socket *k); /* to poll for POLLIN; -1 for NULL */
void supervise_socket_handle(struct supervise_socket *k);  /* what is there now; never blocks */
/* A process was started (again): it is told of the taps. NULL is fine. */
void supervise_socket_brief(struct supervise_socket *k, struct child *c);
void supervise_socket_close(struct supervise_socket *k); /* NULL is fine */

/* supervise_status.c: the answer to "status"; also GET /api/status of the metrics server. */
struct json_node *supervise_status(struct supervisor *s);

#endif
