/* The other end of a stage's control channel, for tests: says what a supervisor would, and keeps what it is
 * told. */
#ifndef TESTS_GRAPH_WIRE_SUPERVISED_H
#define TESTS_GRAPH_WIRE_SUPERVISED_H

#include "graph/buf.h"
#include "graph/channel.h"
#include "graph/err.h"

struct supervised {
    struct channel *channel;
    int theirs;      /* the descriptor for --control */
    char number[16]; /* that as text */
    struct buf told; /* lines of JSON: all that was heard */
};

void supervised_open(struct supervised *s);
void supervised_close(struct supervised *s);
/* One JSON object, printf-like, with ' for ". */
void supervised_say(struct supervised *s, const char *fmt, ...) THEA_PRINTF(2, 3);
/* Reads what has come; the lines since the last call, ' for ". Valid until the next call. */
const char *supervised_hear(struct supervised *s);
/* Was this said so far? `part` with ' for ". */
bool supervised_heard(struct supervised *s, const char *part);

#endif
