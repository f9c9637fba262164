/* A small HTTP/1.1 server, over libmicrohttpd: fixed routes, whole requests, whole replies.
 *
 * Either it lives on the caller's thread (poll http_fd, call http_handle), or with `thread` on one of its
 * own, in which all signals are blocked; then handlers run there, one at a time. It listens on loopback alone
 * unless asked otherwise, and answers only requests whose Host is this machine's: a web page elsewhere cannot
 * have a browser ask for it. */
#ifndef GRAPH_HTTP_H
#define GRAPH_HTTP_H

#include "graph/buf.h"
#include <stdbool.h>

enum { HTTP_CONNECTIONS_MAX = 64, HTTP_IDLE_S = 30, HTTP_BODY_MAX_BYTES = 1 << 20 };

struct http_request {
    const char *method, *path; /* "GET" (also for HEAD), "POST"; without the query */
    const char *body;          /* of POST; followed by a NUL that body_len does not count */
    size_t body_len;
    void *connection_; /* ours */
};
/* Of "?stage=layers", decoded; of the request's headers. NULL if not there. Borrowed. */
const char *http_query(const struct http_request *r, const char *key);
const char *http_header(const struct http_request *r, const char *name);

struct http_reply {
    int status;        /* 200 */
    const char *type;  /* "text/plain; charset=utf-8"; not copied */
    struct buf body;   /* taken over */
    int retry_after_s; /* 0: no such header */
};

struct http_route {
    const char *method, *path; /* whole paths */
    void (*handle)(void *context, const struct http_request *request, struct http_reply *reply);
};

struct http_options {
    const char *address;             /* "127.0.0.1:8080", "localhost:0", "[::1]:0"; port 0: any free one */
    const struct http_route *routes; /* ended by {0}; kept by pointer */
    void *context;
    size_t body_max_bytes; /* of a request; a larger one gets 413. 0: HTTP_BODY_MAX_BYTES */
    bool thread;
    bool any_address; /* others than loopback are accepted; then Host is not looked at */
};

struct http;

/* Errors: THEA_EUSAGE (an address that is none, or not loopback), THEA_EBUSY (in use), THEA_EPERM, THEA_EOS.
 */
THEA_CHECK thea_rc http_open(struct http **out, const struct http_options *o, struct thea_err *err);
const char *http_url(const struct http *h); /* "http://127.0.0.1:40123" */
int http_fd(const struct http *h);          /* without `thread`: readable when there is something to handle */
void http_handle(struct http *h);           /* what is there now; never blocks but in handlers */
void http_close(struct http *h);            /* open connections are cut; NULL is fine */

#endif
