/* The HTTP server: see http.h. Invariant: a handler is called once for each whole request, and what it wrote
 * is the whole reply. */
#include "graph/http.h"

#include "graph/value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { BACKLOG = 64, TICK_S = 5, RUNS_MAX = 64 };

struct http {
    struct MHD_Daemon *daemon;
    const struct http_route *routes;
    void *context;
    size_t body_max;
    bool any_host;
    int epoll, timer; /* -1: it has a thread */
    char url[128];
};

/* A request under way. */
struct exchange {
    struct buf body;
    bool too_large;
};

/* --- addresses --- */

static thea_rc parse_port(uint16_t *port, const char *text, const char *whole, struct thea_err *err)
{
    struct value v;
    struct value_limits limits = {0, 65535, NULL};
    if (value_parse(&v, VALUE_INT, &limits, text, NULL) != THEA_OK)
        return thea_fail(err, THEA_EUSAGE, "'%s' is no port in '%s': 0 (any free one) to 65535", text, whole);
    *port = (uint16_t)v.integer;
    return THEA_OK;
}

struct address {
    struct sockaddr_storage bytes;
    socklen_t size;
    bool loopback;
};

static void set_v4(struct address *a, struct in_addr host, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host};
    memcpy(&a->bytes, &in, sizeof in);
    a->size = sizeof in;
    a->loopback = ntohl(host.s_addr) >> 24 == 127;
}

static void set_v6(struct address *a, const struct in6_addr *host, uint16_t port)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = *host};
    memcpy(&a->bytes, &in, sizeof in);
    a->size = sizeof in;
    a->loopback = IN6_IS_ADDR_LOOPBACK(host);
}

/* "127.0.0.1:0", "localhost:80", "[::1]:80", ":80" and "80" on loopback. */
static thea_rc parse_address(struct address *out, const char *text, struct thea_err *err)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;
    uint16_t port = 0;
    struct in_addr v4 = {.s_addr = htonl(INADDR_LOOPBACK)};
    struct in6_addr v6;
    thea_rc rc = parse_port(&port, colon != NULL ? colon + 1 : text, text, err);
    if (rc != THEA_OK) return rc;
    bool brackets = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(brackets ? n - 2 : n), text + brackets);
    bool named = host[0] == '\0' || strcmp(host, "localhost") == 0;
    if (!brackets && (named || inet_pton(AF_INET, host, &v4) == 1))
        set_v4(out, v4, port);
    else if (brackets && inet_pton(AF_INET6, host, &v6) == 1)
        set_v6(out, &v6, port);
    else
        return thea_fail(err, THEA_EUSAGE,
                         "'%s' is no address to listen on: HOST:PORT with an IP address, as 127.0.0.1:8080, "
                         "localhost:0 or [::1]:8080",
                         text);
    return THEA_OK;
}

static void make_url(char url[128], const struct address *a)
{
    char host[INET6_ADDRSTRLEN] = "";
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    memcpy(&in, &a->bytes, sizeof in);
    memcpy(&in6, &a->bytes, sizeof in6);
    bool six = a->bytes.ss_family == AF_INET6;
    inet_ntop(a->bytes.ss_family, six ? (const void *)&in6.sin6_addr : (const void *)&in.sin_addr, host,
              sizeof host);
    snprintf(url, 128, six ? "http://[%s]:%u" : "http://%s:%u", host,
             (unsigned)ntohs(six ? in6.sin6_port : in.sin_port));
}

static thea_rc listen_failed(const char *address, int error, struct thea_err *err)
{
    if (error == EADDRINUSE)
        return thea_fail(err, THEA_EBUSY, "%s is in use: give another port, or 0 for any free one", address);
    thea_rc rc = error == EACCES ? THEA_EPERM : THEA_EOS;
    return thea_fail(err, rc, "cannot listen on %s: %s", address, strerror(error));
}

static thea_rc open_listener(int *fd, char url[128], const struct http_options *o, struct thea_err *err)
{
    struct address a;
    int on = 1;
    thea_rc rc = parse_address(&a, o->address, err);
    if (rc != THEA_OK) return rc;
    if (!a.loopback && !o->any_address)
        return thea_fail(
            err, THEA_EUSAGE,
            "%s is not on loopback: anybody could read it there\n  listen on 127.0.0.1 and forward "
            "the port: ssh -L 8080:127.0.0.1:PORT HOST",
            o->address);
    *fd = socket(a.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) return listen_failed(o->address, errno, err);
    setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(*fd, (const struct sockaddr *)&a.bytes, a.size) != 0 || listen(*fd, BACKLOG) != 0 ||
        getsockname(*fd, (struct sockaddr *)&a.bytes, &a.size) != 0) {
        rc = listen_failed(o->address, errno, err);
        close(*fd);
        return rc;
    }
    make_url(url, &a);
    return THEA_OK;
}

/* --- requests --- */

const char *http_query(const struct http_request *r, const char *key)
{
    return MHD_lookup_connection_value(r->connection_, MHD_GET_ARGUMENT_KIND, key);
}

const char *http_header(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection_, MHD_HEADER_KIND, name);
}

static enum MHD_Result send_reply(struct MHD_Connection *c, struct http_reply *reply, const char *allow)
{
    char seconds[16];
    size_t size = reply->body.len;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, buf_take(&reply->body), MHD_RESPMEM_MUST_FREE);
    if (response == NULL) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", reply->type != NULL ? reply->type : "text/plain");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Content-Security-Policy", "default-src 'self'");
    if (allow != NULL) MHD_add_response_header(response, "Allow", allow);
    if (reply->retry_after_s > 0) {
        snprintf(seconds, sizeof seconds, "%d", reply->retry_after_s);
        MHD_add_response_header(response, "Retry-After", seconds);
    }
    enum MHD_Result result = MHD_queue_response(c, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_text(struct MHD_Connection *c, int status, const char *text, const char *allow)
{
    struct http_reply reply = {.status = status, .type = "text/plain; charset=utf-8"};
    buf_printf(&reply.body, "%s\n", text);
    return send_reply(c, &reply, allow);
}

static bool host_is(const char *host, const char *name)
{
    size_t n = strlen(name);
    return strncasecmp(host, name, n) == 0 && (host[n] == '\0' || host[n] == ':');
}

/* A name that leads here by somebody else's DNS is not ours. HTTP/1.0 may have no Host. */
static bool host_is_ours(const struct http *h, struct MHD_Connection *c)
{
    const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host");
    return h->any_host || host == NULL || host_is(host, "localhost") || host_is(host, "127.0.0.1") ||
           host_is(host, "[::1]") || host_is(host, h->url + strlen("http://"));
}

/* A browser says which page made it send something; only pages of this server may. */
static bool origin_is_ours(struct MHD_Connection *c, const char *method)
{
    const char *origin = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Origin");
    const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host");
    if (origin == NULL || strcmp(method, "GET") == 0) return true;
    return host != NULL && strncmp(origin, "http://", 7) == 0 && strcasecmp(origin + 7, host) == 0;
}

static enum MHD_Result dispatch(struct http *h, struct MHD_Connection *c, const char *path,
                                const char *method, const struct exchange *e)
{
    const char *allow = NULL, *same = strcmp(method, "HEAD") == 0 ? "GET" : method;
    if (!host_is_ours(h, c) || !origin_is_ours(c, same))
        return send_text(c, 403, "this server is for its own machine", NULL);
    if (e->too_large) return send_text(c, 413, "the request is too large", NULL);
    for (const struct http_route *r = h->routes; r->path != NULL; r++) {
        if (strcmp(r->path, path) != 0) continue;
        allow = r->method;
        if (strcmp(r->method, same) != 0) continue;
        struct http_request request = {.method = same,
                                       .path = path,
                                       .body = buf_text(&e->body),
                                       .body_len = e->body.len,
                                       .connection_ = c};
        struct http_reply reply = {.status = 200, .type = "text/plain; charset=utf-8"};
        r->handle(h->context, &request, &reply);
        return send_reply(c, &reply, NULL);
    }
    if (allow != NULL) return send_text(c, 405, "not this method", allow);
    return send_text(c, 404, "there is nothing here", NULL);
}

static bool says_too_large(const struct http *h, struct MHD_Connection *c)
{
    const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length");
    return length != NULL && strtoull(length, NULL, 10) > h->body_max;
}

/* Called when the headers are here, with each piece of the body, and at its end. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **state)
{
    struct http *h = context;
    struct exchange *e = *state;
    (void)version;
    if (e == NULL) {
        e = calloc(1, sizeof *e);
        if (e == NULL) return MHD_NO;
        *state = e;
        e->too_large = says_too_large(h, c);
        return e->too_large ? dispatch(h, c, path, method, e) : MHD_YES;
    }
    if (*size == 0) return dispatch(h, c, path, method, e);
    if (e->body.len + *size > h->body_max)
        e->too_large = true; /* the rest is read and thrown away */
    else
        buf_add(&e->body, data, *size);
    *size = 0;
    return MHD_YES;
}

static void on_end(void *context, struct MHD_Connection *c, void **state,
                   enum MHD_RequestTerminationCode code)
{
    struct exchange *e = *state;
    (void)context, (void)c, (void)code;
    if (e != NULL) buf_fini(&e->body);
    free(e);
    *state = NULL;
}

/* --- life --- */

static bool add_fd(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* One descriptor for the caller to poll: news of connections, and now and then a look for idle ones. */
static bool open_polling(struct http *h)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct itimerspec tick = {{TICK_S, 0}, {TICK_S, 0}};
    h->epoll = epoll_create1(EPOLL_CLOEXEC);
    h->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return info != NULL && h->epoll >= 0 && h->timer >= 0 && timerfd_settime(h->timer, 0, &tick, NULL) == 0 &&
           add_fd(h->epoll, info->epoll_fd) && add_fd(h->epoll, h->timer);
}

static struct MHD_Daemon *start(struct http *h, int listener, bool thread)
{
    unsigned flags = MHD_USE_EPOLL | (thread ? MHD_USE_INTERNAL_POLLING_THREAD : 0);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* its thread inherits that */
    struct MHD_Daemon *daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_S,
        MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return daemon;
}

thea_rc http_open(struct http **out, const struct http_options *o, struct thea_err *err)
{
    struct http *h = calloc(1, sizeof *h);
    int listener = -1;
    if (h == NULL) abort();
    *h = (struct http){.routes = o->routes,
                       .context = o->context,
                       .body_max = o->body_max_bytes > 0 ? o->body_max_bytes : HTTP_BODY_MAX_BYTES,
                       .any_host = o->any_address,
                       .epoll = -1,
                       .timer = -1};
    thea_rc rc = open_listener(&listener, h->url, o, err);
    if (rc != THEA_OK) goto out;
    h->daemon = start(h, listener, o->thread);
    if (h->daemon == NULL) {
        rc = thea_fail(err, THEA_EOS, "cannot start an HTTP server on %s: %s", o->address, strerror(errno));
        close(listener);
        goto out;
    }
    if (!o->thread && !open_polling(h))
        rc = thea_fail(err, THEA_EOS, "cannot poll an HTTP server: %s", strerror(errno));
out:
    if (rc == THEA_OK)
        *out = h;
    else
        http_close(h);
    return rc;
}

const char *http_url(const struct http *h)
{
    return h->url;
}

int http_fd(const struct http *h)
{
    return h->epoll;
}

void http_handle(struct http *h)
{
    uint64_t ticks, wait_ms;
    ssize_t ignored = read(h->timer, &ticks, sizeof ticks);
    (void)ignored;                       /* nothing there: it was a connection */
    for (int i = 0; i < RUNS_MAX; i++) { /* 0: there is more to do at once */
        MHD_UNSIGNED_LONG_LONG wait;
        MHD_run(h->daemon);
        wait_ms = MHD_get_timeout(h->daemon, &wait) == MHD_YES ? (uint64_t)wait : UINT64_MAX;
        if (wait_ms > 0) break;
    }
}

void http_close(struct http *h)
{
    if (h == NULL) return;
    if (h->daemon != NULL) MHD_stop_daemon(h->daemon);
    if (h->timer >= 0) close(h->timer);
    if (h->epoll >= 0) close(h->epoll);
    free(h);
}
