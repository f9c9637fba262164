/* Directories of runs that nobody will ask for again: the one of a query. They are hidden among the runs, and
 * their owner removes them; one whose owner was killed is removed by the next run that gets its directory
 * there, or the next such directory. */
#ifndef GRAPH_CONTROL_RUNDIR_TEMPORARY_H
#define GRAPH_CONTROL_RUNDIR_TEMPORARY_H

#include "graph/err.h"

struct rundir_temporary {
    char *path;
    int lock; /* the directory itself, locked while its owner lives */
};

/* An empty one, where runs go by default, else in /tmp. Errors: THEA_ECREATE. */
THEA_CHECK thea_rc rundir_temporary_make(struct rundir_temporary *out, struct thea_err *err);
void rundir_temporary_remove(struct rundir_temporary *d); /* with all that is in it */
/* Those in `base` whose owner is gone. */
void rundir_temporary_prune(const char *base);

#endif
