/* Changing how many replicas a stage has while a plan runs: the plan as it is then, and who must be told what
 * (docs/architecture.md, "Replicas"). */
#ifndef GRAPH_CONTROL_PLAN_SCALE_H
#define GRAPH_CONTROL_PLAN_SCALE_H

#include "graph/control/plan.h"

/* The plan with `replicas` of the stage. Processes and links keep their indices, numbers, names and
 * addresses; what goes away is marked gone; a new one takes the place of its like that is gone, or comes
 * after the old ones. So the tables grow to the largest number there ever was, and no further. Command lines
 * are as a process that is started anew would need them. Errors: THEA_EUSAGE (no such stage, a source or
 * sink, a number out of range), THEA_ECONFIG (more links than a process can have). */
THEA_CHECK thea_rc plan_scale(struct plan **out, const struct plan *old, const char *stage, int replicas,
                              struct thea_err *err);

/* Is it there in the new plan and was not in the old one; or the other way round? */
bool plan_scale_is_new(const struct plan *old, const struct plan *new, size_t process);
bool plan_scale_is_leaving(const struct plan *old, const struct plan *new, size_t process);

typedef enum {
    PLAN_STEP_PREPARE, /* up: who hears from the new processes, before they start */
    PLAN_STEP_FEED,    /* up: who sends to them, once they have started */
    PLAN_STEP_LEAVE,   /* down: who sends to those that go, first */
    PLAN_STEP_CLOSE,   /* down: all neighbours, once they have passed eof */
} plan_step;

struct plan_message {
    size_t process;               /* index; it is neither new nor going */
    const struct plan_link *link; /* of the new plan */
    struct json_node *message;    /* link_add, link_drop */
};
struct plan_messages {
    struct plan_message *items;
    size_t count;
};

/* What has to be said in a step from old to new; free with plan_messages_fini. */
void plan_scale_messages(struct plan_messages *out, const struct plan *old, const struct plan *new,
                         plan_step step);
void plan_messages_fini(struct plan_messages *m);
/* Does the choice change for streams that are under way? Then a new epoch must begin once all have obeyed
 * FEED or LEAVE. */
bool plan_scale_needs_epoch(const struct plan *old, const struct plan *new);

#endif
