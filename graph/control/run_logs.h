/* The logs of a run's processes, read from its directory: live or ended. */
#ifndef GRAPH_CONTROL_RUN_LOGS_H
#define GRAPH_CONTROL_RUN_LOGS_H

#include "graph/buf.h"
#include <stdbool.h>

struct run_log {
    char *process; /* "layers/1:0" */
    char *path;
    int fd;          /* -1: not open yet */
    struct buf line; /* the beginning of a line whose end is not written yet */
};
struct run_logs {
    char *directory, *stage; /* stage: NULL: all */
    struct run_log *items;   /* by name */
    size_t count;
};

/* The logs of the stage (with its parts and replicas: "layers" has "layers/0:1"), of one process, or of all
 * (stage NULL). Errors: THEA_ENOINPUT: the directory has no logs, or none of that stage (lists them). */
THEA_CHECK thea_rc run_logs_open(struct run_logs *out, const char *directory, const char *stage,
                                 struct thea_err *err);
void run_logs_close(struct run_logs *logs);
/* Whole lines that came since the last call, each with its process's name in front if there are several
 * logs; `rest`: also what has no newline yet. New processes are noticed. False: nothing new. */
bool run_logs_read(struct run_logs *logs, bool rest, struct buf *out);

#endif
