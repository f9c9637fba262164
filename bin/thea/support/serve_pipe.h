/* The pipeline behind `thea serve`: a `thea run` of its own, that reads documents as JSON Lines from a pipe
 * and writes vectors into another as they are done. Its supervisor starts processes that die again and sends
 * what they had once more, so that here a line in is a line out, by its id. Nothing blocks. */
#ifndef BIN_THEA_SERVE_PIPE_H
#define BIN_THEA_SERVE_PIPE_H

#include "graph/buf.h"
#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

struct serve_pipe {
    pid_t pid;
    int in, out, end; /* ours: write, read (-1: closed), readable when it has ended (-1: known) */
    int status;       /* its exit status, from then on */
    struct buf unsent, unread;
    size_t sent; /* of unsent */
    bool closing;
};
enum { SERVE_PIPE_POLLS = 3 };

/* argv: the arguments of `thea`, NULL-terminated. Errors: THEA_EOS. */
THEA_CHECK thea_rc serve_pipe_start(struct serve_pipe *p, const char *const *argv, struct thea_err *err);
void serve_pipe_fini(struct serve_pipe *p); /* kills what still runs */

void serve_pipe_send(struct serve_pipe *p, const char *line, size_t len); /* with its newline */
void serve_pipe_finish(struct serve_pipe *p); /* nothing more will come: it ends when all is answered */
void serve_pipe_polls(const struct serve_pipe *p, struct pollfd fds[SERVE_PIPE_POLLS]);
/* What is there now; each line without its newline. */
void serve_pipe_handle(struct serve_pipe *p, void (*line)(void *context, char *line, size_t len),
                       void *context);

#endif
