/* A small HTTP/1.1 server, over libmicrohttpd: fixed routes, whole requests, whole replies.
 *
 * Either it lives on the caller's thread (poll http_fd, call http_handle), or with `thread` on one of its
 * own, in which all signals are blocked; then handlers run there, one at a time. On the caller's thread a
 * reply may also come later (http_hold). It listens on loopback alone
 * unless asked otherwise, and answers only requests whose Host is this machine's: a web page elsewhere cannot
 * have a browser ask for it. */
#ifndef GRAPH_HTTP_H
#define GRAPH_HTTP_H

#include "graph/buf.h"
#include <stdbool.h>
#include <stdint.h>

enum { HTTP_CONNECTIONS_MAX = 64, HTTP_IDLE_S = 30, HTTP_BODY_MAX_BYTES = 1 << 20 };

struct http_request {
    const char *method, *path; /* "GET" (also for HEAD), "POST"; without the query */
    const char *body;          /* of POST; followed by a NUL that body_len does not count */
    size_t body_len;
    void *connection_, *exchange_; /* ours */
};
/* Of "?stage=layers", decoded; of the request's headers. NULL if not there. Borrowed. */
const char *http_query(const struct http_request *r, const char *key);
const char *http_header(const struct http_request *r, const char *name);

struct http_reply {
    int status;        /* 200 */
    const char *type;  /* "text/plain; charset=utf-8"; not copied */
    struct buf body;   /* taken over */
    int retry_after_s; /* 0: no such header */
    bool close;        /* the connection ends with it */
    char note[64];     /* for `done`: what else there is to say */
};

struct http_route {
    const char *method, *path; /* a whole path; ending in "/": what is below it */
    void (*handle)(void *context, const struct http_request *request, struct http_reply *reply);
};

/* For a log: a request that was answered, or broken off (status 0: nothing was sent). */
struct http_done {
    const char *client, *method, *path, *note;
    int status;
    size_t body_bytes; /* of the reply */
    uint64_t taken_ns; /* from its headers on */
};

struct http_options {
    const char *address;             /* "127.0.0.1:8080", "localhost:0", "[::1]:0"; port 0: any free one */
    const struct http_route *routes; /* ended by {0}; kept by pointer */
    void *context;
    size_t body_max_bytes; /* of a request; a larger one gets 413. 0: HTTP_BODY_MAX_BYTES */
    bool thread;
    bool any_address;         /* others than loopback are accepted; then Host is not looked at */
    unsigned connections_max; /* 0: HTTP_CONNECTIONS_MAX; more wait to be accepted, or are refused */
    int request_timeout_s;    /* on the caller's thread: a request that is not whole by then gets 408; 0: no
                                 limit */
    /* The reply to what no handler gets: 403, 404, 405, 408, 413. NULL: the text, plain. */
    void (*refuse)(void *context, int status, const char *text, struct http_reply *reply);
    void (*done)(void *context, const struct http_done *done); /* NULL: nobody wants to know */
};

/* Can the address be reached from this machine alone? True also for what is none: http_open says so. */
bool http_is_loopback(const char *address);

struct http;

/* Errors: THEA_EUSAGE (an address that is none, or not loopback), THEA_EBUSY (in use), THEA_EPERM, THEA_EOS.
 */
THEA_CHECK thea_rc http_open(struct http **out, const struct http_options *o, struct thea_err *err);
const char *http_url(const struct http *h); /* "http://127.0.0.1:40123" */
int http_fd(const struct http *h);          /* without `thread`: readable when there is something to handle */
void http_handle(struct http *h);           /* what is there now; never blocks but in handlers */
bool http_is_busy(const struct http *h);    /* requests are under way, or their replies */
void http_quiet(struct http *h);            /* accept no more connections; on the caller's thread */

/* In a handler on the caller's thread: the reply comes later, what the handler leaves in its own is ignored.
 * The request stays, and is borrowed no longer. Each is to be answered once, also if its client has gone
 * (which only then shows); what http_close still finds gets 503. */
struct http_held *http_hold(const struct http_request *r);
void http_answer(struct http_held *held, struct http_reply *reply); /* takes reply->body over */

void http_close(struct http *h); /* open connections are cut; NULL is fine */

#endif
