/* Old runs: the default place keeps the newest completed ones. Part of rundir. */
#ifndef GRAPH_CONTROL_RUNDIR_PRUNE_H
#define GRAPH_CONTROL_RUNDIR_PRUNE_H

#include <stddef.h>

/* Remove the completed runs in `base` beyond the newest `keep`. A run is completed when its report.json says
 * so; one that was broken off, that is live or that cannot be read is left alone. Failures are not told: the
 * next run tries again. */
void rundir_prune(const char *base, size_t keep);

#endif
