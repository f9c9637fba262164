/* The server's life, all on one thread: requests become lines into the pipeline, its lines become answers. */
#ifndef BIN_THEA_SERVE_LOOP_H
#define BIN_THEA_SERVE_LOOP_H

#include "bin/thea/support/serve_jobs.h"
#include "bin/thea/support/serve_pipe.h"

enum { SERVE_TOKEN_MAX = 512 };

struct serve {
    struct serve_model *model;
    const char *label;           /* the pipeline's name */
    char token[SERVE_TOKEN_MAX]; /* that requests must bring; "" none */
    size_t queue_max;            /* inputs that wait */
    bool quiet;                  /* no access log */
    struct http *http;
    struct serve_pipe pipe;
    struct serve_jobs jobs;
    bool ready;    /* the pipeline has answered once */
    bool draining; /* no more requests; what is here is answered */
    int signal;    /* that said so */
    bool aborted;  /* a second one */
    struct thea_err failed;
};

extern const struct http_route serve_routes[]; /* context: a struct serve */
void serve_log(void *context, const struct http_done *done);

/* Until a signal or the pipeline's end; http and pipe are open. Returns the exit status, a failure is logged.
 */
int serve_loop(struct serve *s);

#endif
