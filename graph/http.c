/* The HTTP server: see http.h. Invariant: a handler is called once for each whole request, and what it wrote
 * is the whole reply. */
#include "graph/http_impl.h"

#include "graph/status.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { TICK_S = 5, RUNS_MAX = 64 };

/* --- requests --- */

const char *http_query(const struct http_request *r, const char *key)
{
    return MHD_lookup_connection_value(r->connection_, MHD_GET_ARGUMENT_KIND, key);
}

const char *http_header(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection_, MHD_HEADER_KIND, name);
}

static enum MHD_Result send_reply(struct http_held *e, struct http_reply *reply, const char *allow)
{
    char seconds[16];
    size_t size = reply->body.len;
    e->status = reply->status;
    e->sent_bytes = size;
    if (reply != &e->reply) memcpy(e->reply.note, reply->note, sizeof reply->note);
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
    if (reply->status == 401) MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (reply->close) MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result result = MHD_queue_response(e->connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return result;
}

/* What no handler gets. */
static enum MHD_Result refuse(struct http_held *e, int status, const char *text, const char *allow)
{
    const struct http_options *o = &e->http->o;
    struct http_reply reply = {.status = status, .type = "text/plain; charset=utf-8"};
    e->whole = true;
    if (o->refuse != NULL)
        o->refuse(o->context, status, text, &reply);
    else
        buf_printf(&reply.body, "%s\n", text);
    return send_reply(e, &reply, allow);
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
    return h->o.any_address || host == NULL || host_is(host, "localhost") || host_is(host, "127.0.0.1") ||
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

static bool path_is(const char *route, const char *path)
{
    size_t n = strlen(route);
    if (n > 1 && route[n - 1] == '/') return strncmp(route, path, n) == 0 && path[n] != '\0';
    return strcmp(route, path) == 0;
}

/* A reply that comes later: the connection sleeps until then. */
static enum MHD_Result wait_for_answer(struct http_held *e)
{
    if (e->answered) return send_reply(e, &e->reply, NULL);
    e->suspended = true;
    MHD_suspend_connection(e->connection);
    return MHD_YES;
}

static enum MHD_Result handle(struct http_held *e, const struct http_route *r, const char *method)
{
    struct http_request request = {.method = method,
                                   .path = e->path,
                                   .body = buf_text(&e->body),
                                   .body_len = e->body.len,
                                   .connection_ = e->connection,
                                   .exchange_ = e};
    struct http_reply reply = {.status = 200, .type = "text/plain; charset=utf-8"};
    e->whole = true;
    r->handle(e->http->o.context, &request, &reply);
    if (!e->held) return send_reply(e, &reply, NULL);
    buf_fini(&reply.body);
    buf_fini(&e->body); /* it may be large, and the wait long */
    return wait_for_answer(e);
}

static enum MHD_Result dispatch(struct http_held *e)
{
    const char *allow = NULL, *same = strcmp(e->method, "HEAD") == 0 ? "GET" : e->method;
    if (!host_is_ours(e->http, e->connection) || !origin_is_ours(e->connection, same))
        return refuse(e, 403, "this server is for its own machine", NULL);
    if (e->too_large) return refuse(e, 413, "the request is too large", NULL);
    for (const struct http_route *r = e->http->o.routes; r->path != NULL; r++) {
        if (!path_is(r->path, e->path)) continue;
        allow = r->method;
        if (strcmp(r->method, same) == 0) return handle(e, r, same);
    }
    if (allow != NULL) return refuse(e, 405, "not this method", allow);
    return refuse(e, 404, "there is nothing here", NULL);
}

/* --- replies that come later --- */

struct http_held *http_hold(const struct http_request *r)
{
    struct http_held *e = r->exchange_;
    e->held = true;
    e->next = e->http->waiting;
    if (e->next != NULL) e->next->before = e;
    e->http->waiting = e;
    return e;
}

static void stop_waiting(struct http_held *e)
{
    if (e->before != NULL)
        e->before->next = e->next;
    else
        e->http->waiting = e->next;
    if (e->next != NULL) e->next->before = e->before;
}

void http_answer(struct http_held *e, struct http_reply *reply)
{
    stop_waiting(e);
    e->reply = *reply;
    reply->body = (struct buf){0};
    e->answered = true;
    if (e->suspended) MHD_resume_connection(e->connection);
}

/* --- what the library tells --- */

static bool says_too_large(const struct http *h, struct MHD_Connection *c)
{
    const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length");
    return length != NULL && strtoull(length, NULL, 10) > h->body_max;
}

static struct http_held *begin_exchange(struct http *h, struct MHD_Connection *c, const char *path,
                                        const char *method)
{
    struct http_held *e = calloc(1, sizeof *e);
    if (e == NULL) abort();
    *e = (struct http_held){.http = h,
                            .peer = http_peer_of(c),
                            .connection = c,
                            .method = strdup(method),
                            .path = strdup(path),
                            .begun_ns = status_now_ns(),
                            .too_large = says_too_large(h, c)};
    if (e->method == NULL || e->path == NULL) abort();
    if (e->peer != NULL) {
        e->peer->exchange = e;
        e->peer->requests++;
    }
    return e;
}

/* Called when the headers are here, with each piece of the body, at its end, and when a sleeping connection
 * wakes. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **state)
{
    struct http_held *e = *state;
    (void)version;
    if (e == NULL) {
        *state = e = begin_exchange(context, c, path, method);
        return e->too_large ? dispatch(e) : MHD_YES;
    }
    if (*size == 0) return e->answered ? send_reply(e, &e->reply, NULL) : dispatch(e);
    if (e->body.len + *size > e->http->body_max)
        e->too_large = true; /* the rest is read and thrown away */
    else
        buf_add(&e->body, data, *size);
    *size = 0;
    return MHD_YES;
}

static void tell_done(const struct http_held *e, uint64_t now_ns)
{
    struct http_done done = {.client = e->peer != NULL ? e->peer->address : "?",
                             .method = e->method,
                             .path = e->path,
                             .note = e->reply.note,
                             .status = e->timed_out ? 408 : e->status,
                             .body_bytes = e->sent_bytes,
                             .taken_ns = now_ns - e->begun_ns};
    if (e->http->o.done != NULL) e->http->o.done(e->http->o.context, &done);
}

static void on_end(void *context, struct MHD_Connection *c, void **state,
                   enum MHD_RequestTerminationCode code)
{
    struct http_held *e = *state;
    uint64_t now_ns = status_now_ns();
    (void)context, (void)c, (void)code;
    *state = NULL;
    if (e == NULL) return;
    tell_done(e, now_ns);
    if (e->peer != NULL) {
        e->peer->exchange = NULL;
        e->peer->since_ns = now_ns;
    }
    buf_fini(&e->body);
    buf_fini(&e->reply.body);
    free(e->method);
    free(e->path);
    free(e);
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
    time_t every_s = h->o.request_timeout_s > 0 ? 1 : TICK_S;
    struct itimerspec tick = {{every_s, 0}, {every_s, 0}};
    h->epoll = epoll_create1(EPOLL_CLOEXEC);
    h->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return info != NULL && h->epoll >= 0 && h->timer >= 0 && timerfd_settime(h->timer, 0, &tick, NULL) == 0 &&
           add_fd(h->epoll, info->epoll_fd) && add_fd(h->epoll, h->timer);
}

static struct MHD_Daemon *start(struct http *h, int listener, bool thread)
{
    unsigned flags = MHD_USE_EPOLL | (thread ? MHD_USE_INTERNAL_POLLING_THREAD : MHD_ALLOW_SUSPEND_RESUME),
             connections = h->o.connections_max > 0 ? h->o.connections_max : HTTP_CONNECTIONS_MAX;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* its thread inherits that */
    struct MHD_Daemon *daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT,
        connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_S, MHD_OPTION_NOTIFY_COMPLETED,
        on_end, NULL, MHD_OPTION_NOTIFY_CONNECTION, http_peer_event, h, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return daemon;
}

thea_rc http_open(struct http **out, const struct http_options *o, struct thea_err *err)
{
    struct http *h = calloc(1, sizeof *h);
    int listener = -1;
    if (h == NULL) abort();
    *h = (struct http){.o = *o,
                       .body_max = o->body_max_bytes > 0 ? o->body_max_bytes : HTTP_BODY_MAX_BYTES,
                       .epoll = -1,
                       .timer = -1};
    thea_rc rc = http_listen(&listener, h->url, o, err);
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
    if (read(h->timer, &ticks, sizeof ticks) > 0) http_peers_check(h); /* else it was a connection */
    for (int i = 0; i < RUNS_MAX; i++) {                               /* 0: there is more to do at once */
        MHD_UNSIGNED_LONG_LONG wait;
        MHD_run(h->daemon);
        wait_ms = MHD_get_timeout(h->daemon, &wait) == MHD_YES ? (uint64_t)wait : UINT64_MAX;
        if (wait_ms > 0) break;
    }
}

void http_quiet(struct http *h)
{
    if (!h->quiet) close(MHD_quiesce_daemon(h->daemon)); /* who connects now is refused */
    h->quiet = true;
}

void http_close(struct http *h)
{
    if (h == NULL) return;
    while (h->waiting != NULL) {
        struct http_reply reply = {.status = 503, .type = "text/plain; charset=utf-8"};
        if (h->o.refuse != NULL) h->o.refuse(h->o.context, 503, "the server ends", &reply);
        http_answer(h->waiting, &reply);
    }
    if (h->daemon != NULL) {
        if (h->epoll >= 0) MHD_run(h->daemon); /* what was answered leaves */
        MHD_stop_daemon(h->daemon);
    }
    if (h->timer >= 0) close(h->timer);
    if (h->epoll >= 0) close(h->epoll);
    free(h);
}
