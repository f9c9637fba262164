/* The control channel: messages between a supervisor and one replica, or a run and a command that asks it.
 * Each is one JSON object on a line, so that a person can read along. It never carries data or the end of a
 * stream.
 *
 * Between a supervisor and its child: a socketpair that the child inherits (--control FD). It needs no
 * address, no handshake and no reconnection, and its end is the other side's death. What is said:
 * docs/architecture.md, "Control". Used from one thread; nothing here blocks. */
#ifndef GRAPH_CHANNEL_H
#define GRAPH_CHANNEL_H

#include "graph/json.h"

enum { CHANNEL_LINE_MAX = 1 << 20, CHANNEL_BACKLOG_MAX = 64 << 20 };

struct channel;

/* Both ends of a new pair: ours, and a descriptor for the child (close-on-exec; posix_spawn's dup2 hands it
 * on). */
THEA_CHECK thea_rc channel_pair(struct channel **ours, int *theirs, struct thea_err *err);
/* Take over a connected stream socket; it is made non-blocking. Errors: THEA_EUSAGE if fd is no socket. */
THEA_CHECK thea_rc channel_adopt(struct channel **out, int fd, struct thea_err *err);
void channel_free(struct channel *c); /* closes; NULL is fine */
int channel_fd(const struct channel *c);
short channel_events(
    const struct channel *c); /* what to poll for now: POLLIN, with POLLOUT while a backlog waits */

/* Send `message` (taken over), or keep it until the socket takes it: channel_flush. Order is kept. A channel
 * whose other end is gone swallows it: channel_receive tells. Errors: THEA_EIO if the backlog is over its
 * limit. */
THEA_CHECK thea_rc channel_send(struct channel *c, struct json_node *message, struct thea_err *err);
void channel_flush(struct channel *c);
bool channel_idle(const struct channel *c); /* nothing waits to be sent */
/* The next message (free it with json_free). THEA_AGAIN: none now. THEA_DONE: the other end is gone and all
 * it said was read. Errors: THEA_EFRAME (not JSON, or a line over CHANNEL_LINE_MAX). */
THEA_CHECK thea_rc channel_receive(struct channel *c, struct json_node **out, struct thea_err *err);

#endif
