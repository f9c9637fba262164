/* See web.h. */
#include "tests/support/web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DEADLINE_S = 240 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void web_reply_fini(struct web_reply *r)
{
    buf_fini(&r->head);
    buf_fini(&r->body);
}

int web_connect(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    a.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool web_send(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* More bytes behind `to`; false at the connection's end or the deadline. */
static bool read_more(int fd, struct buf *to, double deadline)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    double left = deadline - now();
    if (left <= 0 || poll(&p, 1, (int)(left * 1000) + 1) <= 0) return false;
    ssize_t n = read(fd, buf_reserve(to, 1 << 16), 1 << 16);
    if (n <= 0) return false;
    to->len += (size_t)n;
    to->data[to->len] = '\0';
    return true;
}

bool web_read(int fd, struct web_reply *out, double deadline_s)
{
    double deadline = now() + deadline_s;
    const char *end, *length;
    out->status = 0;
    buf_clear(&out->head);
    buf_clear(&out->body);
    while ((end = strstr(buf_text(&out->head), "\r\n\r\n")) == NULL)
        if (!read_more(fd, &out->head, deadline)) return false;
    size_t head = (size_t)(end + 4 - out->head.data);
    buf_add(&out->body, out->head.data + head, out->head.len - head);
    out->head.len = head;
    out->head.data[head] = '\0';
    length = strcasestr(out->head.data, "\r\nContent-Length:");
    size_t want = length != NULL ? strtoul(length + strlen("\r\nContent-Length:"), NULL, 10) : 0;
    while (out->body.len < want)
        if (!read_more(fd, &out->body, deadline)) return false;
    out->status = atoi(out->head.data + strlen("HTTP/1.1 "));
    return true;
}

bool web_ask(int fd, const char *method, const char *path, const char *head, const char *body,
             struct web_reply *out)
{
    struct buf text = {0};
    buf_printf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, path, head != NULL ? head : "");
    if (body != NULL)
        buf_printf(&text, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    buf_printf(&text, "\r\n%s", body != NULL ? body : "");
    bool good = web_send(fd, text.data, text.len);
    buf_fini(&text);
    return good && web_read(fd, out, DEADLINE_S);
}

bool web_once(int port, const char *method, const char *path, const char *head, const char *body,
              struct web_reply *out)
{
    int fd = web_connect(port);
    out->status = 0;
    bool good = fd >= 0 && web_ask(fd, method, path, head, body, out);
    if (fd >= 0) close(fd);
    return good;
}
