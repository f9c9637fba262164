/* Where a stage's frames come from and go to: links, stdin, stdout. Used by stage_io.c, stage_outlets.c,
 * stage_loop.c and stage_main.c alone. */
#ifndef GRAPH_WIRE_STAGE_IO_H
#define GRAPH_WIRE_STAGE_IO_H

#include "graph/wire/link.h"
#include "graph/wire/stage_core.h"
#include "graph/wire/stage_route.h"

/* ln NULL: the link is closed, the place is free. */
struct stage_inlet {
    struct link *ln;
    uint32_t number; /* of the link */
    int port;
    bool feedback;
    bool done;    /* eof came, in this epoch */
    bool leaving; /* its replica goes: closed when eof has come */
    bool missed;  /* the supervisor was told that nobody is there */
};
struct stage_outlet {
    struct link *ln;
    const char *address;
    uint32_t number;
    int port;
    size_t group, member;
    bool left;            /* its replica goes: it got eof for itself, ... */
    uint64_t left_epoch;  /* ... in this epoch */
    bool ended;           /* it got eof as all others did, ... */
    uint64_t ended_epoch; /* ... in this epoch */
    bool missed;
};
/* What one --out names: the readers that share a port's streams. */
struct stage_group {
    int port;
    bool feedback;
    struct stage_route route;
};

struct stage_io {
    struct link_set *set; /* NULL: no links */
    struct stage_inlet *inlets;
    size_t inlet_count;
    struct stage_outlet *outlets;
    size_t outlet_count;
    struct stage_group *groups;
    size_t group_count;
    struct frame_reader *reader; /* NULL: stdin is not read */
    struct frame stdin_frame;
    bool stdin_here, stdin_done; /* a frame was read and not consumed; eof came */
    struct frame_writer *writer; /* NULL: nothing leaves on stdout */
    bool reader_left;            /* whoever read our stdout went away */
    size_t turn;                 /* round robin over inlets, then stdin */
};

/* stage_io.c: opening, closing, waiting */
/* Refuse a terminal where frames should come or go: THEA_EUSAGE, with the pipe to type. Before the stage
 * opens anything. */
THEA_CHECK thea_rc stage_io_check(const struct stage *st, struct thea_err *err);
THEA_CHECK thea_rc stage_io_open(struct stage_io *io, struct stage *st, struct thea_err *err);
THEA_CHECK thea_rc stage_io_close(struct stage_io *io, bool supervised,
                                  struct thea_err *err); /* orderly, after eof both ways */
void stage_io_abort(struct stage_io *io);                /* NULL-safe; also after stage_io_close */
/* Sleep until a link has news, the supervisor speaks, stdin has bytes (if asked for), what a source waits for
 * is there, or a while has passed; the time goes to `counter`. Errors: of any link, and of the control
 * channel. */
THEA_CHECK thea_rc stage_io_wait(struct stage_io *io, struct stage *st, bool for_stdin,
                                 _Atomic uint64_t *counter, struct thea_err *err);
/* The same for a millisecond at most, counted as waiting for input: came says whether there is any news. */
THEA_CHECK thea_rc stage_io_linger(struct stage_io *io, struct stage *st, bool for_stdin, bool *came,
                                   struct thea_err *err);
void stage_io_stop(struct stage_io *io); /* nothing more is wanted from the inputs */
/* A new epoch: links drop older frames, eofs are forgotten, no stream has a replica. */
void stage_io_epoch(struct stage_io *io, const struct stage *st);
THEA_CHECK thea_rc stage_io_add_inlet(struct stage_io *io, struct stage *st, const struct stage_endpoint *e,
                                      struct thea_err *err);
THEA_CHECK thea_rc stage_io_add_outlet(struct stage_io *io, struct stage *st, const struct stage_endpoint *e,
                                       size_t group, bool live, struct thea_err *err);

/* stage_relink.c: the supervisor's orders about links: replicas of neighbours come and go */
THEA_CHECK thea_rc stage_io_obey(struct stage_io *io, struct stage *st, struct thea_err *err);
/* Replicas that leave get eof when they have no stream any more; links that have brought theirs are closed.
 */
THEA_CHECK thea_rc stage_io_let_go(struct stage_io *io, struct stage *st, struct thea_err *err);

/* stage_outlets.c: frames leave */
THEA_CHECK thea_rc stage_send_frames(struct stage *st, struct frame *const *frames, struct thea_err *err);
/* Could the running op's frames go now, one an output? */
bool stage_io_ready(struct stage_io *io, const struct stage *st);
bool stage_io_stopped(const struct stage_io *io,
                      const struct stage *st); /* nobody wants any output: links that lead back aside */

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
