/* Lines from whoever connects to a TCP port of this machine. A connection's lines are told in order; the end
 * of a connection ends its last line. Everything is on the caller's thread, but for listen_wake. */
#ifndef STAGES_SUPPORT_LISTEN_H
#define STAGES_SUPPORT_LISTEN_H

#include "graph/err.h"
#include <stdbool.h>
#include <stddef.h>

enum { LISTEN_CONNECTIONS_MAX = 64 };

struct listen;
struct listen_events {
    void (*line)(void *context, const char *line, size_t len); /* without its newline; not empty */
    void (*too_long)(void *context);                           /* a line over max_line was dropped */
    bool (*full)(void *context);                               /* read nothing for now */
};

/* address: "127.0.0.1:9000", "localhost:0" (any free port), "[::1]:9000"; NULL: only listen_wake is heard.
 * Errors: THEA_EUSAGE (no address, or not of this machine alone), THEA_EBUSY (in use), THEA_EPERM, THEA_EOS.
 */
THEA_CHECK thea_rc listen_open(struct listen **out, const char *address, size_t max_line,
                               const struct listen_events *events, void *context, struct thea_err *err);
void listen_close(struct listen *l);   /* NULL is fine */
int listen_fd(const struct listen *l); /* readable when there is something to take */
int listen_port(const struct listen *l);
void listen_take(struct listen *l); /* what is there now, within reason */
void listen_wake(struct listen *l); /* from any thread: make listen_fd readable once */

#endif
