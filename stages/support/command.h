/* A foreign command as a child: its stdin and stdout are pipes of ours, its stderr is our own. It is in our
 * process group and dies with us, whatever kills us. Nothing here runs while a command works: the caller
 * waits in command_exchange, which writes and reads at once, so that neither side's full pipe stops both. */
#ifndef STAGES_SUPPORT_COMMAND_H
#define STAGES_SUPPORT_COMMAND_H

#include "graph/buf.h"
#include <stdbool.h>
#include <sys/types.h>

struct command {
    pid_t pid;       /* 0: none runs */
    int in, out;     /* its stdin and stdout; -1: closed */
    struct buf rest; /* what it printed beyond the line that was asked for */
};

typedef enum { COMMAND_UNTIL_END, COMMAND_UNTIL_LINE } command_until;

/* Run `sh -c text`; isolate: in user and pid namespaces of its own, so that nothing it starts outlives it.
 * env: additions, "KEY=value", NULL-terminated; may be NULL. Errors: THEA_EOS. */
THEA_CHECK thea_rc command_start(struct command *c, const char *text, bool isolate, const char *const *env,
                                 struct thea_err *err);
/* Write input [n] to it and add to *out what it prints: all up to its end (its stdin is closed after the
 * input), or one line (without the newline). Errors: THEA_EDATA: it printed more than max_bytes;
 * THEA_ECLOSED: it ended before the line; THEA_EIO. */
THEA_CHECK thea_rc command_exchange(struct command *c, const char *input, size_t n, command_until until,
                                    size_t max_bytes, struct buf *out, struct thea_err *err);
/* Close its stdin, wait for its end. Errors: THEA_EDATA: how it ended, if not with status 0. */
THEA_CHECK thea_rc command_finish(struct command *c, struct thea_err *err);
void command_kill(struct command *c); /* and reap; also after command_finish, or before command_start */

#endif
