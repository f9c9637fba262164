/* Where the HTTP server listens: see http_impl.h. */
#include "graph/http_impl.h"

#include "graph/value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 256 };

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

bool http_is_loopback(const char *address)
{
    struct address a;
    return parse_address(&a, address, NULL) != THEA_OK || a.loopback;
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

thea_rc http_listen(int *fd, char url[128], const struct http_options *o, struct thea_err *err)
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
