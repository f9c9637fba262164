/* Commands that tell a live run one thing: stop, pause, resume, scale. */
#ifndef BIN_THEA_ASK_H
#define BIN_THEA_ASK_H

#include "graph/control/runs.h"

/* {"ask": what}, to be filled. */
struct json_node *ask_question(const char *what);
/* Put the question (taken over) to the live run that `operand` names (NULL: the only one), and log what goes
 * wrong; until_end: then wait until the run has ended. Returns the exit status. */
int ask_run(const char *operand, struct json_node *question, bool until_end);

#endif
