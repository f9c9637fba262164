/* Who is connected, and who takes too long: see http_impl.h. libmicrohttpd closes what is silent; who sends a
 * byte now and then would stay for ever, and a request that is not whole cannot be answered through it. So
 * the answer goes out on the socket itself, which is then shut: the library sees an end. */
#include "graph/http_impl.h"

#include "graph/status.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void write_address(char out[64], const struct sockaddr *at)
{
    char host[INET6_ADDRSTRLEN] = "?";
    struct sockaddr_in in = {0};
    struct sockaddr_in6 in6 = {0};
    if (at != NULL && at->sa_family == AF_INET6) {
        memcpy(&in6, at, sizeof in6);
        inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
        snprintf(out, 64, "[%s]:%u", host, (unsigned)ntohs(in6.sin6_port));
    } else if (at != NULL && at->sa_family == AF_INET) {
        memcpy(&in, at, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        snprintf(out, 64, "%s:%u", host, (unsigned)ntohs(in.sin_port));
    } else {
        snprintf(out, 64, "?");
    }
}

static void begin(struct http *h, struct MHD_Connection *c, void **state)
{
    const union MHD_ConnectionInfo *fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD),
                                   *at = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct http_peer *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    p->fd = fd != NULL ? fd->connect_fd : -1;
    p->since_ns = status_now_ns();
    write_address(p->address, at != NULL ? at->client_addr : NULL);
    p->next = h->peers;
    if (p->next != NULL) p->next->before = p;
    h->peers = p;
    *state = p;
}

static void end(struct http *h, struct http_peer *p)
{
    if (p->before != NULL)
        p->before->next = p->next;
    else
        h->peers = p->next;
    if (p->next != NULL) p->next->before = p->before;
    free(p);
}

void http_peer_event(void *context, struct MHD_Connection *c, void **state,
                     enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        begin(context, c, state);
    } else if (*state != NULL) {
        end(context, *state);
        *state = NULL;
    }
}

struct http_peer *http_peer_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

bool http_is_busy(const struct http *h)
{
    for (const struct http_peer *p = h->peers; p != NULL; p = p->next)
        if (p->exchange != NULL) return true;
    return false;
}

static void hang_up(struct http *h, struct http_peer *p, bool say)
{
    struct http_reply reply = {.status = 408, .type = "text/plain; charset=utf-8"};
    struct buf text = {0};
    static const char why[] = "the request did not come whole in time";
    if (h->o.refuse != NULL)
        h->o.refuse(h->o.context, 408, why, &reply);
    else
        buf_printf(&reply.body, "%s\n", why);
    buf_printf(&text,
               "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: "
               "%zu\r\n\r\n%s",
               reply.type, reply.body.len, buf_text(&reply.body));
    if (say) (void)!send(p->fd, text.data, text.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(p->fd, SHUT_RDWR);
    buf_fini(&text);
    buf_fini(&reply.body);
    p->fd = -1;
}

/* A first request has so long from the connection on; a later one begins nobody knows when, and has the time
 * in which the library waits for a silent peer besides. */
void http_peers_check(struct http *h)
{
    uint64_t now_ns = status_now_ns(), limit_ns = (uint64_t)h->o.request_timeout_s * 1000000000;
    for (struct http_peer *p = h->peers; limit_ns > 0 && p != NULL; p = p->next) {
        struct http_held *e = p->exchange;
        if (p->fd < 0 || (e != NULL && e->whole)) continue;
        bool later = e == NULL && p->requests > 0;
        uint64_t from_ns = e != NULL ? e->begun_ns : p->since_ns;
        uint64_t most_ns = later ? limit_ns + HTTP_IDLE_S * UINT64_C(1000000000) : limit_ns;
        if (now_ns - from_ns < most_ns) continue;
        if (e != NULL) e->timed_out = true;
        hang_up(h, p, !later);
    }
}
