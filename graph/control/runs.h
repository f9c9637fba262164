/* The runs of this user: live ones, found by their sockets, and ended ones, found by their directories. RUN
 * on a command line is a directory, else a name or its unique beginning; left out, the only live run. */
#ifndef GRAPH_CONTROL_RUNS_H
#define GRAPH_CONTROL_RUNS_H

#include "graph/channel.h"
#include <sys/types.h>

enum { RUNS_ANSWER_MS = 5000 }; /* for a supervisor that is there to answer */

struct runs_entry {
    char *name, *path;       /* path: its directory, absolute */
    char *from;              /* where it was started, if live; NULL: it does not say */
    pid_t pid;               /* of its supervisor, if live */
    struct channel *channel; /* connected; NULL: not live */
    bool
        silent; /* somebody listens there and does not answer: its supervisor is stopped, or cannot keep up */
};
struct runs {
    struct runs_entry *items; /* by name; live ones are first */
    size_t count, live;
};

/* The live runs whose THEA_RUNS (or default place) is ours, wherever their directories are; with `ended` all
 * that are in that place too. Errors: THEA_EOS. */
THEA_CHECK thea_rc runs_list(struct runs *out, bool ended, struct thea_err *err);
void runs_free(struct runs *runs);

/* The run that `operand` names; NULL: the only live one. Errors: THEA_ESERVICE if there is none, THEA_EUSAGE
 * if there are several: with a list. */
THEA_CHECK thea_rc runs_find(struct runs_entry *out, const char *operand, struct thea_err *err);
/* The same, and it must be live. Errors also: THEA_ESERVICE, with how to go on with it. */
THEA_CHECK thea_rc runs_find_live(struct runs_entry *out, const char *operand, struct thea_err *err);
void runs_entry_fini(struct runs_entry *e);

/* {"ask": ask} and nothing more, answered within RUNS_ANSWER_MS. */
THEA_CHECK thea_rc runs_ask(struct json_node **answer, struct runs_entry *e, const char *ask,
                            struct thea_err *err);

#endif
