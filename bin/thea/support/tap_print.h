/* A frame, as frame_json tells it, in lines for people. */
#ifndef BIN_THEA_TAP_PRINT_H
#define BIN_THEA_TAP_PRINT_H

#include "graph/buf.h"
#include "graph/json.h"

enum { TAP_VALUES = 8 }; /* of a tensor, in a line */

void tap_print(const struct json_node *frame, struct buf *out);

#endif
