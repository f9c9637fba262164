/* Commands that tell a live run something: stop, pause, resume, scale. */
#ifndef BIN_THEA_ASK_H
#define BIN_THEA_ASK_H

#include "graph/control/runs.h"

/* {"ask": what}, to be filled. */
struct json_node *ask_question(const char *what);
/* Put the questions (taken over), one after the other, to the live run that `operand` names, and log what
 * goes wrong. NULL: the only live one; if it was started in another directory, that is told. Returns the exit
 * status. */
int ask_run(const char *operand, struct json_node **questions, size_t count);
/* The same with one question, then wait until the run has ended. A run that was started in another directory
 * must be named: nobody should end what he did not think of. */
int ask_end(const char *operand, struct json_node *question);

#endif
