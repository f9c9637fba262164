/* Stages as processes under a small supervisor of the test's own: it passes commits on, starts the dead again
 * in a new epoch, and finishes when the sinks are done; all of it only when the test asks for it or does not
 * interfere. */
#ifndef TESTS_GRAPH_WIRE_CREW_H
#define TESTS_GRAPH_WIRE_CREW_H

#include "graph/ranges.h"
#include "graph/status.h"
#include "tests/graph/wire/supervised.h"
#include <sys/types.h>

enum { CREW_MAX = 8, CREW_ARGS = 24 };

struct crew_member {
    const char *args[CREW_ARGS]; /* kind first; A1, A2, … in them stand for addresses */
    pid_t pid;                   /* 0: not running */
    int status;                  /* of the last death: exit status, or 128 + signal */
    unsigned incarnation;
    bool source, sink, ready, passed; /* passed: eof of this epoch, sinks: done */
    bool doomed;                      /* killed, and not yet reaped */
    bool leaves;                      /* its end is no death */
    unsigned passes;                  /* how often it said so, in all epochs */
    struct channel *channel;
};

struct crew {
    struct crew_member members[CREW_MAX];
    size_t count;
    char *dir; /* they run here; errors go to NAME.log, output to NAME.out */
    uint64_t epoch;
    struct ranges committed;
    struct buf told; /* lines "NAME {'did': …}" */
    unsigned restarts;
    bool stays;     /* nobody is told to finish */
    unsigned tries; /* a failed document is retried so often, then given up */
    bool finishing;
};

void crew_open(struct crew *c);
/* Words apart by blanks: "count --documents 9 --out values=A1". */
struct crew_member *crew_add(struct crew *c, const char *command);
void crew_start(struct crew *c);
void crew_close(struct crew *c); /* kills who is left */

void crew_say(struct crew *c, struct crew_member *m, const char *fmt, ...)
    THEA_PRINTF(3, 4); /* m NULL: all */
bool crew_heard(const struct crew *c, const char *text);
/* Supervise until the condition holds (NULL: until all have ended). The dead come again, in a new epoch.
 * Fails the test after a minute. */
void crew_until(struct crew *c, bool (*condition)(const struct crew *c));
void crew_kill(struct crew *c, struct crew_member *m); /* and no wait */
struct crew_member *crew_spawn(struct crew *c, struct crew_member *m);
uint64_t crew_committed(const struct crew *c); /* how many streams */
/* The file's lines, sorted by their first number. */
void crew_read(const struct crew *c, const char *file, struct buf *out);

#endif
