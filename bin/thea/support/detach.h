/* A run in the background: the command ends once the run has begun, the run has a session of its own. */
#ifndef BIN_THEA_DETACH_H
#define BIN_THEA_DETACH_H

#include "graph/control/rundir.h"

struct detach {
    int ready; /* a pipe's end: a byte says that the run has begun; -1 once it was said */
    int log;
};

/* true: we are the command; the run has begun (its name is on stdout, *status is 0), or has failed and said
 * why
 * (*status). false: we are the run; standard input is kept if it is no terminal, stdout is the directory's
 * file `stdout`, stderr is still the command's, until detach_ready. Call it before any thread is started. */
bool detach_run(struct detach *d, const struct rundir *run, int *status);
/* In the run: it has begun; from now on stderr is logs/supervisor.log. `context` is the struct detach. */
void detach_ready(void *context);

#endif
