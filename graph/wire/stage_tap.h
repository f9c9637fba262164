/* Copies of passing frames for those who look (`thea tap`): headers, and with values a little of the tensors.
 *
 * Each tap is a connection of its own to whoever looks; a copy that it does not take at once is skipped and
 * counted, and so are those that would cost more than their share of the stage's time. A tap never holds a
 * frame, its credit or its memory. */
#ifndef GRAPH_WIRE_STAGE_TAP_H
#define GRAPH_WIRE_STAGE_TAP_H

#include "graph/json.h"
#include <stdint.h>

struct stage;
struct frame;

enum { STAGE_TAPS_MAX = 8, STAGE_TAP_SHARE = 1000, STAGE_TAP_BYTES_MAX = 128 << 10 };

/* What the supervisor says: {"do": "tap", "address", "port", "values"}, {"do": "untap", "address"}. A tap
 * that cannot be reached is left out with a warning. */
thea_rc stage_tap_obey(struct stage *st, const struct json_node *message, struct thea_err *err);
void stage_taps_free(struct stage *st);

/* A frame passes: leaves on a port, or comes in by one (a set of ports). */
void stage_tap_out(struct stage *st, int port, const struct frame *f);
void stage_tap_in(struct stage *st, uint32_t ports, const struct frame *f);

#endif
