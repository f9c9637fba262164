/* Shared by the rundir*.c files and by nobody else. */
#ifndef GRAPH_CONTROL_RUNDIR_INTERNAL_H
#define GRAPH_CONTROL_RUNDIR_INTERNAL_H

#include "graph/control/rundir.h"

THEA_CHECK thea_rc rundir_take_lock(struct rundir *r,
                                    struct thea_err *err); /* opens r->path, then locks it */
void rundir_set_name(struct rundir *r);                    /* from its path */
struct json_node *rundir_cpu_node(
    void); /* what kernels are chosen by: another machine may round differently */

#endif
