/* A small stage to test the runtime with: it doubles numbers, in pieces if asked, and can be told to fail,
 * finish or hold. */
#ifndef TESTS_GRAPH_WIRE_TOY_H
#define TESTS_GRAPH_WIRE_TOY_H

#include "graph/wire/stage.h"

struct toy {
    int64_t piece;
    double scale;
    bool quiet, loud;
    const char *text, *path, *model;
    int choice;
    int64_t size, time;
    struct value_range range;
    struct value_list texts, paths, names;
    int opened, closed_streams, finished;
};
struct toy_stream {
    int64_t done;
    int ends;
    float last;
};

enum { TOY_VALUES, TOY_OTHER, TOY_BACK };    /* inputs */
enum { TOY_DOUBLED, TOY_SUM, TOY_FEEDBACK }; /* outputs */
extern const struct stage_ops toy_ops;

struct tensor toy_values(const char *name, const float *values, uint64_t n);
struct frame toy_frame(frame_kind kind, uint64_t stream, uint64_t position, struct tensor *tensors,
                       size_t count);

#endif
