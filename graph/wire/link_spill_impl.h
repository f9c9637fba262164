/* The inside of a receiving end whose frames may wait on disk (link_options.spill_bytes). Its owner sees a
 * link like any other (link_spill.c). Behind it a thread has the real one to itself, takes frames off it as
 * soon as they come, and so gives their credit back while the owner's op still runs (link_spill_thread.c):
 *
 *   sender ~~> inner link --> ready (memory, up to a window) --> link_peek, link_consume
 *                   |             ^
 *                   +--> spill ---+   once ready is full, and until the file is empty again
 *
 * What is taken is copied, so the sender's regions are free by then. Where there is no room in either, frames
 * stay in the inner link, whose credit then stops, as it does without a spill.
 *
 * A file dies with its process. That loses nothing: for its sender a new process is a new session, in a new
 * epoch, and whatever was not committed comes again.
 *
 * Invariant: frames leave in the order in which they came; `inner`, its set and the file belong to the thread
 * until it was joined. */
#ifndef GRAPH_WIRE_LINK_SPILL_IMPL_H
#define GRAPH_WIRE_LINK_SPILL_IMPL_H

#include "graph/wire/link_impl.h"
#include "graph/wire/spill.h"

struct link_spill {
    struct link *inner;
    struct link_set *set;   /* wakes the thread */
    struct link_set *owner; /* wakes the owner */
    struct spill *file;
    bool disk_failed; /* nothing is written until the file is empty */
    pthread_t thread;
    struct status_link *status; /* NULL: nobody counts */

    pthread_mutex_t lock; /* guards what follows */
    struct link_queue ready;
    uint64_t ready_bytes;
    uint64_t on_disk; /* frames */
    bool waits;       /* a frame waits for room in either */
    struct {          /* to the thread */
        uint64_t epoch;
        bool stop, leave;
        struct link_cancels cancels;
    } orders;
    struct { /* by the thread */
        uint64_t epoch;
        bool missing, done, broken;
        struct thea_err trouble; /* rc THEA_OK: none */
        char peer[64];
    } told;

    /* the owner's */
    bool lasting, stopped;
    uint64_t epoch;
    struct link_cancels cancels;
    struct codec_arena *arena;
    struct frame head; /* the decoded first frame of ready */
    bool head_decoded;
    char peer[64];
};

/* link_spill_thread.c */
void *link_spill_serve(void *spill); /* for pthread_create: until orders.leave */
/* Either side has trouble to tell the owner of. broken: what is still on its way to it is lost, too. */
void link_spill_fail(struct link_spill *sp, bool broken, const struct thea_err *err);

#endif
