/* A frame as JSON, for people who look: `thea tap`. */
#ifndef GRAPH_WIRE_FRAME_JSON_H
#define GRAPH_WIRE_FRAME_JSON_H

#include "graph/json.h"
#include "graph/wire/frame.h"

/* {"kind", "stream", "seq", "position", "port", "attributes": {...}, "tensors": [{"name", "dtype",
 * "shape"}]}; values > 0: with so many values of each tensor at most ("values"), or bytes of text ("text",
 * u8). */
struct json_node *frame_json(const struct frame *f, size_t values);

#endif
