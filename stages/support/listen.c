/* Lines from a TCP port: see listen.h. Invariant: a connection holds at most one line in memory. */
#include "stages/support/listen.h"

#include "graph/buf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_AT_ONCE = 16, READ_BYTES = 64 << 10 };

struct connection {
    int fd; /* -1: free */
    struct buf line;
    bool too_long;
};

struct listen {
    int epoll, socket, wake;
    int port;
    size_t max_line;
    const struct listen_events *events;
    void *context;
    struct connection connections[LISTEN_CONNECTIONS_MAX];
};

/* --- addresses --- */

static thea_rc bad_address(const char *address, const char *what, struct thea_err *err)
{
    return thea_fail(err, THEA_EUSAGE,
                     "cannot listen on '%s': %s\n  accepted   127.0.0.1:PORT, localhost:PORT, [::1]:PORT",
                     address, what);
}

static bool is_loopback(const struct sockaddr_storage *at)
{
    if (at->ss_family == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)at)->sin6_addr);
    return ntohl(((const struct sockaddr_in *)at)->sin_addr.s_addr) >> 24 == 127;
}

static thea_rc parse_address(struct sockaddr_storage *at, socklen_t *len, const char *address,
                             struct thea_err *err)
{
    char host[64], *rest;
    const char *colon = strrchr(address, ':');
    size_t n = colon != NULL ? (size_t)(colon - address) : 0;
    if (n == 0 || n >= sizeof host) return bad_address(address, "it is no HOST:PORT", err);
    unsigned long port = strtoul(colon + 1, &rest, 10);
    if (colon[1] < '0' || colon[1] > '9' || *rest != '\0' || port > 65535)
        return bad_address(address, "the port must be a number from 0 to 65535", err);
    bool six = address[0] == '[' && address[n - 1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(six ? n - 2 : n), address + six);
    if (strcmp(host, "localhost") == 0) snprintf(host, sizeof host, "127.0.0.1");
    struct sockaddr_in *in = (struct sockaddr_in *)at;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)at;
    memset(at, 0, sizeof *at);
    at->ss_family = six ? AF_INET6 : AF_INET;
    *len = six ? sizeof *in6 : sizeof *in;
    if (six) in6->sin6_port = htons((uint16_t)port);
    if (!six) in->sin_port = htons((uint16_t)port);
    if (inet_pton(at->ss_family, host, six ? (void *)&in6->sin6_addr : (void *)&in->sin_addr) != 1)
        return bad_address(address, "the host is not an address", err);
    return is_loopback(at) ? THEA_OK : bad_address(address, "it can be reached from other machines", err);
}

static thea_rc open_socket(struct listen *l, const char *address, struct thea_err *err)
{
    struct sockaddr_storage at;
    socklen_t len;
    int on = 1;
    thea_rc rc = parse_address(&at, &len, address, err);
    if (rc != THEA_OK) return rc;
    l->socket = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->socket >= 0) setsockopt(l->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (l->socket < 0 || bind(l->socket, (struct sockaddr *)&at, len) != 0 || listen(l->socket, 64) != 0 ||
        getsockname(l->socket, (struct sockaddr *)&at, &len) != 0) {
        rc = errno == EADDRINUSE ? THEA_EBUSY : errno == EACCES ? THEA_EPERM : THEA_EOS;
        return thea_fail(err, rc, "cannot listen on '%s': %s", address, strerror(errno));
    }
    l->port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                             : ((struct sockaddr_in *)&at)->sin_port);
    return THEA_OK;
}

/* --- open and close --- */

static bool hear(struct listen *l, int fd, void *who)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = who};
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

thea_rc listen_open(struct listen **out, const char *address, size_t max_line,
                    const struct listen_events *events, void *context, struct thea_err *err)
{
    struct listen *l = calloc(1, sizeof *l);
    if (l == NULL) abort();
    l->socket = -1;
    l->max_line = max_line;
    l->events = events;
    l->context = context;
    for (size_t i = 0; i < LISTEN_CONNECTIONS_MAX; i++) l->connections[i].fd = -1;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    thea_rc rc = address != NULL ? open_socket(l, address, err) : THEA_OK;
    if (rc == THEA_OK && (l->epoll < 0 || l->wake < 0 || !hear(l, l->wake, &l->wake) ||
                          (l->socket >= 0 && !hear(l, l->socket, &l->socket))))
        rc = thea_fail(err, THEA_EOS, "cannot listen: %s", strerror(errno));
    if (rc == THEA_OK)
        *out = l;
    else
        listen_close(l);
    return rc;
}

static void hang_up(struct connection *c)
{
    if (c->fd >= 0) close(c->fd);
    buf_fini(&c->line);
    *c = (struct connection){.fd = -1};
}

void listen_close(struct listen *l)
{
    if (l == NULL) return;
    for (size_t i = 0; i < LISTEN_CONNECTIONS_MAX; i++) hang_up(&l->connections[i]);
    if (l->socket >= 0) close(l->socket);
    if (l->wake >= 0) close(l->wake);
    if (l->epoll >= 0) close(l->epoll);
    free(l);
}

int listen_fd(const struct listen *l)
{
    return l->epoll;
}

int listen_port(const struct listen *l)
{
    return l->port;
}

void listen_wake(struct listen *l)
{
    uint64_t one = 1;
    (void)!write(l->wake, &one, sizeof one); /* full: it is awake anyway */
}

/* --- lines --- */

static void end_line(struct listen *l, struct connection *c)
{
    if (c->too_long)
        l->events->too_long(l->context);
    else if (c->line.len > 0)
        l->events->line(l->context, c->line.data, c->line.len);
    c->too_long = false;
    buf_clear(&c->line);
}

static void take_bytes(struct listen *l, struct connection *c, const char *bytes, size_t n)
{
    while (n > 0) {
        const char *newline = memchr(bytes, '\n', n);
        size_t piece = newline != NULL ? (size_t)(newline - bytes) : n;
        c->too_long = c->too_long || c->line.len + piece > l->max_line;
        if (c->too_long) buf_clear(&c->line);
        if (!c->too_long) buf_add(&c->line, bytes, piece);
        if (newline == NULL) return;
        end_line(l, c);
        bytes += piece + 1;
        n -= piece + 1;
    }
}

static void read_some(struct listen *l, struct connection *c)
{
    char bytes[READ_BYTES];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n > 0) {
        take_bytes(l, c, bytes, (size_t)n);
        return;
    }
    end_line(l, c);
    hang_up(c);
}

static void accept_one(struct listen *l)
{
    int fd = accept4(l->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct connection *c = l->connections, *end = c + LISTEN_CONNECTIONS_MAX;
    if (fd < 0) return;
    while (c < end && c->fd >= 0) c++;
    if (c == end || !hear(l, fd, c)) {
        close(fd);
        return;
    }
    c->fd = fd;
}

void listen_take(struct listen *l)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    uint64_t ignored;
    int n = epoll_wait(l->epoll, events, EVENTS_AT_ONCE, 0);
    for (int i = 0; i < n; i++) {
        void *who = events[i].data.ptr;
        if (who == &l->wake)
            (void)!read(l->wake, &ignored, sizeof ignored);
        else if (who == &l->socket)
            accept_one(l);
        else if (!l->events->full(l->context))
            read_some(l, who);
    }
}
