/* Call a stage's table directly: no process, no socket. Outputs are kept for the test to look at. */
#ifndef TESTS_SUPPORT_HARNESS_H
#define TESTS_SUPPORT_HARNESS_H

#include "graph/status.h"
#include "graph/wire/stage.h"

struct harness;
/* args: the stage's own command line options, NULL-terminated; ports: names of connected outputs,
 * NULL-terminated (NULL: all). */
THEA_CHECK thea_rc harness_open(struct harness **out, const struct stage_ops *ops, const char *const *args,
                                const char *const *ports, struct thea_err *err);
/* The same with the connected inputs named, too (NULL: all but feedback inputs): for loops, and for one input
 * of several. */
THEA_CHECK thea_rc harness_open_ports(struct harness **out, const struct stage_ops *ops,
                                      const char *const *args, const char *const *in_ports,
                                      const char *const *out_ports, struct thea_err *err);
void harness_close(struct harness *h);
/* One frame in; runs the op until it is consumed (AGAIN included). Frames of kind end and eof too; after eof
 * on all inputs, finish() has run and eof is the last frame of every output. A document's error is an error
 * frame on the outputs, not a failure of this call. */
THEA_CHECK thea_rc harness_feed(struct harness *h, const char *in_port, const struct frame *f,
                                struct thea_err *err);
/* No input waits: what was gathered is run. At eof harness_feed does so by itself. */
THEA_CHECK thea_rc harness_idle(struct harness *h, struct thea_err *err);
/* Take in what was said on the other end of --control FD, and a new epoch; harness_feed and
 * harness_drain_source do so first. What the stage has to say is sent. */
THEA_CHECK thea_rc harness_hear(struct harness *h, struct thea_err *err);
/* A source: run its op to the end, or until it waits for its supervisor. */
THEA_CHECK thea_rc harness_drain_source(struct harness *h, struct thea_err *err);
/* Frames that left on a port so far, in order; deep copies owned by the harness. */
size_t harness_count(const struct harness *h, const char *out_port);
const struct frame *harness_frame(const struct harness *h, const char *out_port, size_t i);
struct stage *harness_stage(struct harness *h); /* for stage_state, stage_name, … */
const struct status_page *harness_page(const struct harness *h);
bool harness_has_enough(const struct harness *h); /* stage_enough was called */

#endif
