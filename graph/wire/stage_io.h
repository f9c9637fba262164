/* Where a stage's frames come from and go to: links, stdin, stdout. Used by stage_loop.c and stage_main.c
 * alone. */
#ifndef GRAPH_WIRE_STAGE_IO_H
#define GRAPH_WIRE_STAGE_IO_H

#include "graph/wire/link.h"
#include "graph/wire/stage_core.h"

struct stage_inlet {
    struct link *ln;
    int port;
    bool feedback, done;
};
struct stage_outlet {
    struct link *ln;
    int port;
    bool feedback;
};

struct stage_io {
    struct link_set *set; /* NULL: no links */
    struct stage_inlet *inlets;
    size_t inlet_count;
    struct stage_outlet *outlets;
    size_t outlet_count;
    struct frame_reader *reader; /* NULL: stdin is not read */
    struct frame stdin_frame;
    bool stdin_here, stdin_done; /* a frame was read and not consumed; eof came */
    struct frame_writer *writer; /* NULL: nothing leaves on stdout */
    bool reader_left;            /* whoever read our stdout went away */
    size_t turn;                 /* round robin over inlets, then stdin */
};

/* stage_io.c */
/* Refuse a terminal where frames should come or go: THEA_EUSAGE, with the pipe to type. Before the stage
 * opens anything. */
THEA_CHECK thea_rc stage_io_check(const struct stage *st, struct thea_err *err);
THEA_CHECK thea_rc stage_io_open(struct stage_io *io, struct stage *st, struct thea_err *err);
THEA_CHECK thea_rc stage_io_close(struct stage_io *io,
                                  struct thea_err *err); /* orderly, after eof both ways */
void stage_io_abort(struct stage_io *io);                /* NULL-safe; also after stage_io_close */
/* Sleep until a link has news, stdin has bytes (if asked for) or a while has passed; the time goes to
 * `counter`. Errors: of any link. */
THEA_CHECK thea_rc stage_io_wait(struct stage_io *io, bool for_stdin, _Atomic uint64_t *counter,
                                 struct thea_err *err);
bool stage_io_ready(const struct stage_io *io, const struct stage *st); /* one frame an output could go now */
bool stage_io_stopped(const struct stage_io *io,
                      const struct stage *st); /* nobody wants any output: links that lead back aside */
void stage_io_stop(struct stage_io *io);       /* and so nothing is wanted from the inputs */

/* stage_stdio.c */
/* The inputs that a frame from stdin is for. Errors: THEA_EFRAME with what came, what is accepted, and what
 * to put between. */
THEA_CHECK thea_rc stage_map_frame(uint32_t *ports, const struct stage *st, const struct frame *f,
                                   struct thea_err *err);
/* Frames of several ports with the same stream, kind and position leave as one. Errors: THEA_ECLOSED,
 * THEA_EIO. */
THEA_CHECK thea_rc stage_write_merged(struct frame_writer *w, struct frame *const *frames, size_t count,
                                      struct thea_err *err);

/* stage_loop.c */
THEA_CHECK thea_rc stage_loop(struct stage *st, struct stage_io *io, struct thea_err *err);

#endif
