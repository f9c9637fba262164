/* A client of HTTP servers on this machine, for tests: whole requests, whole replies, one connection for
 * many. Every wait has a deadline. No assertions: usable from several threads. */
#ifndef TESTS_SUPPORT_WEB_H
#define TESTS_SUPPORT_WEB_H

#include "graph/buf.h"
#include <stdbool.h>

struct web_reply {
    int status; /* 0: the connection ended, or nothing came in time */
    struct buf head, body;
};
void web_reply_fini(struct web_reply *r);

int web_connect(int port); /* -1: refused */
bool web_send(int fd, const char *bytes, size_t n);
/* The next reply on the connection; the memory of *out is used again. */
bool web_read(int fd, struct web_reply *out, double deadline_s);
/* A request on a connection that stays; head: further header lines, each with its "\r\n"; body NULL: none. */
bool web_ask(int fd, const char *method, const char *path, const char *head, const char *body,
             struct web_reply *out);
/* On a connection of its own. */
bool web_once(int port, const char *method, const char *path, const char *head, const char *body,
              struct web_reply *out);

#endif
