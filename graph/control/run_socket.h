/* The socket by which commands (`thea ps`, `top`, `stop` ...) speak to a live run: an abstract unix stream
 * socket, whose random name is in the run directory's file `socket`. Messages are those of graph/channel.h: a
 * client asks, each question gets one answer, in order.
 *
 * An abstract name leaves nothing behind, whoever is killed; it has no file mode, so both ends compare user
 * ids. One thread, nothing blocks: all clients are behind one descriptor. */
#ifndef GRAPH_CONTROL_RUN_SOCKET_H
#define GRAPH_CONTROL_RUN_SOCKET_H

#include "graph/channel.h"

enum { RUN_SOCKET_NAME_BYTES = 48, RUN_SOCKET_CLIENTS_MAX = 32 };

struct run_socket_ops {
    /* The answer to a question of client `id`; the caller frees it. Never NULL. */
    struct json_node *(*answer)(void *context, uint64_t id, const struct json_node *question);
    /* That client has gone. May be NULL. */
    void (*gone)(void *context, uint64_t id);
    void *context;
};

struct run_socket;

/* Listen on a new name. Errors: THEA_EOS. */
THEA_CHECK thea_rc run_socket_open(struct run_socket **out, const struct run_socket_ops *ops,
                                   struct thea_err *err);
const char *run_socket_name(const struct run_socket *s); /* "thea-run-5c1e...": without the leading NUL */
int run_socket_fd(const struct run_socket *s);           /* readable when there is something to handle */
void run_socket_handle(struct run_socket *s);
/* Closes all clients too (without calling gone). NULL is fine. */
void run_socket_close(struct run_socket *s);

/* The other side. Errors: THEA_ESERVICE: nobody listens on that name (any more); THEA_EPERM: another user
 * does. */
THEA_CHECK thea_rc run_socket_connect(struct channel **out, const char *name, struct thea_err *err);
/* Ask, and wait for the answer (json_free it). `question` is taken over. Errors: THEA_ESERVICE: the run ended
 * meanwhile; THEA_ETIMEOUT; what the run answers to a question it refuses, with its reason. */
THEA_CHECK thea_rc run_socket_ask(struct json_node **answer, struct channel *c, struct json_node *question,
                                  int timeout_ms, struct thea_err *err);

/* An answer that refuses: run_socket_ask makes an error of it. */
struct json_node *run_socket_refusal(thea_rc rc, const char *reason);

/* Of a connected unix socket: does its other end belong to our user? */
bool run_socket_same_user(int fd);
/* A listening socket with a random abstract name of that prefix; its name goes to `name`. */
THEA_CHECK thea_rc run_socket_listen(int *fd, char name[RUN_SOCKET_NAME_BYTES], const char *prefix, int type,
                                     struct thea_err *err);

#endif
