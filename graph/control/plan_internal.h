/* What the files plan*.c share. Nobody else includes this. */
#ifndef GRAPH_CONTROL_PLAN_INTERNAL_H
#define GRAPH_CONTROL_PLAN_INTERNAL_H

#include "graph/control/plan.h"
#include "graph/control/spec_internal.h"

/* plan.c */
/* One part of a stage: `replica` of it. Its name, and its blocks from a process of the same part (NULL: they
 * are set by the caller). */
struct plan_process *plan_add_process(struct plan *p, size_t stage, size_t part, size_t replica,
                                      const struct plan_process *like);
size_t plan_process_at(const struct plan *p, size_t stage, size_t part, size_t replica); /* SIZE_MAX: none */

/* plan_links.c */
/* All links between processes that are not gone, as far as they are not there yet. Stages in this order;
 * NULL: the file's. */
void plan_add_links(struct plan *p, const size_t *order);
/* Errors: THEA_ECONFIG, a process with more links than it can have. */
THEA_CHECK thea_rc plan_check_links(const struct plan *p, struct thea_err *err);

/* plan_argv.c */
/* Do two links lead from one output to replicas of one consumer? */
bool plan_same_group(const struct plan *p, const struct plan_link *a, const struct plan_link *b);
void plan_make_argv(struct plan *p, size_t process); /* and env; anew if it had them */

#endif
