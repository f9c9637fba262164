/* The inside of the HTTP server, shared by http*.c alone. */
#ifndef GRAPH_HTTP_IMPL_H
#define GRAPH_HTTP_IMPL_H

#include "graph/http.h"

#include <microhttpd.h>
#include <stdint.h>

/* A connection, from its accept to its close. */
struct http_peer {
    struct http_peer *next, *before;
    int fd;
    uint64_t since_ns;          /* it was accepted, or its last reply left */
    size_t requests;            /* that came whole, or began to */
    struct http_held *exchange; /* under way; NULL */
    char address[64];           /* "127.0.0.1:40123" */
};

/* A request under way, from its headers to its reply. */
struct http_held {
    struct http_held *next, *before; /* of those that wait for http_answer */
    struct http *http;
    struct http_peer *peer;
    struct MHD_Connection *connection;
    struct buf body;
    char *method, *path;
    uint64_t begun_ns;
    bool too_large;
    bool whole;     /* a handler has it, or had */
    bool held;      /* its reply comes by http_answer */
    bool suspended; /* until then its connection sleeps */
    bool answered;
    bool timed_out;
    struct http_reply reply; /* answered */
    int status;              /* sent; 0: nothing yet */
    size_t sent_bytes;
};

struct http {
    struct MHD_Daemon *daemon;
    struct http_options o;
    size_t body_max;
    struct http_peer *peers;
    struct http_held *waiting;
    int epoll, timer; /* -1: it has a thread */
    bool quiet;       /* no more connections are accepted */
    char url[128];
};

/* http_listen.c: a socket that listens there, and its URL. */
THEA_CHECK thea_rc http_listen(int *fd, char url[128], const struct http_options *o, struct thea_err *err);

/* http_peer.c */
void http_peer_event(void *context, struct MHD_Connection *c, void **state,
                     enum MHD_ConnectionNotificationCode code); /* as MHD wants it */
struct http_peer *http_peer_of(struct MHD_Connection *c);
void http_peers_check(struct http *h); /* 408 to those whose request takes too long */

#endif
