/* The HTTP server, spoken to over real sockets. */
#include "graph/http.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int calls;

static void hello(void *context, const struct http_request *request, struct http_reply *reply)
{
    const char *who = http_query(request, "who");
    calls++;
    cr_assert_eq(*(int *)context, 42);
    buf_printf(&reply->body, "hello %s", who != NULL ? who : "nobody");
}

static void echo(void *context, const struct http_request *request, struct http_reply *reply)
{
    const char *type = http_header(request, "content-type");
    (void)context;
    calls++;
    reply->status = 202;
    reply->retry_after_s = 7;
    reply->type = type != NULL ? type : "text/plain";
    buf_add(&reply->body, request->body, request->body_len);
}

/* Its thread must leave the program's signals alone. */
static void mask(void *context, const struct http_request *request, struct http_reply *reply)
{
    sigset_t set;
    (void)context, (void)request;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    buf_printf(&reply->body, "%d %d", sigismember(&set, SIGTERM), sigismember(&set, SIGCHLD));
}

static const struct http_route routes[] = {
    {"GET", "/hello", hello}, {"POST", "/echo", echo}, {"GET", "/mask", mask}, {0}};
static int number = 42;

static struct http *open_server(bool thread)
{
    struct http *h;
    struct thea_err err;
    struct http_options o = {.address = "127.0.0.1:0",
                             .routes = routes,
                             .context = &number,
                             .body_max_bytes = 1000,
                             .thread = thread};
    cr_assert_eq(http_open(&h, &o, &err), THEA_OK, "%s", err.message);
    return h;
}

static int connect_to(const struct http *h)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    a.sin_port = htons((uint16_t)atoi(strrchr(http_url(h), ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* Send `text` and read until the server closes, serving it meanwhile if it has no thread. */
static char *exchange(struct http *h, const char *text, size_t n)
{
    static char reply[65536];
    size_t len = 0;
    int fd = connect_to(h);
    cr_assert_eq(send(fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
    for (int i = 0; i < 10000 && len < sizeof reply - 1; i++) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = http_fd(h), .events = POLLIN}};
        cr_assert_gt(poll(p, 2, 10000), 0, "no answer to %s", text);
        if (p[1].revents != 0) http_handle(h);
        if (p[0].revents == 0) continue;
        ssize_t got = read(fd, reply + len, sizeof reply - 1 - len);
        if (got <= 0) break;
        len += (size_t)got;
    }
    reply[len] = '\0';
    close(fd);
    return reply;
}

static char *ask(struct http *h, const char *request, const char *headers, const char *body)
{
    char text[8192];
    int n =
        snprintf(text, sizeof text, "%s HTTP/1.1\r\nConnection: close\r\n%s\r\n%s", request, headers, body);
    return exchange(h, text, (size_t)n);
}

static void expect_reply(const char *reply, const char *status, const char *body)
{
    cr_expect_eq(strncmp(reply + strlen("HTTP/1.1 "), status, 3), 0, "no %s: %s", status, reply);
    const char *end = strstr(reply, "\r\n\r\n");
    cr_assert_not_null(end, "%s", reply);
    if (body != NULL) cr_expect_str_eq(end + 4, body);
}

#define LOCAL "Host: localhost\r\n"

Test(http, a_route_answers_and_reads_its_query_on_the_callers_thread)
{
    struct http *h = open_server(false);
    expect_reply(ask(h, "GET /hello?who=a%20b", LOCAL, ""), "200", "hello a b");
    expect_reply(ask(h, "GET /hello", "Host: 127.0.0.1:80\r\n", ""), "200", "hello nobody");
    char *reply = ask(h, "HEAD /hello", LOCAL, "");
    expect_reply(reply, "200", "");
    cr_expect_not_null(strstr(reply, "Content-Length: 12\r\n"), "%s", reply);
    cr_expect_not_null(strstr(reply, "nosniff"));
    http_close(h);
}

Test(http, a_body_arrives_whole_on_the_servers_thread)
{
    struct http *h = open_server(true);
    char *reply = ask(h, "POST /echo", LOCAL "Content-Type: a/b\r\nContent-Length: 5\r\n", "12345");
    expect_reply(reply, "202", "12345");
    cr_expect_not_null(strstr(reply, "Content-Type: a/b\r\n"));
    cr_expect_not_null(strstr(reply, "Retry-After: 7\r\n"));
    reply = ask(h, "POST /echo", LOCAL "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    expect_reply(reply, "202", "abcde");
    http_close(h);
}

Test(http, signals_do_not_go_to_its_thread)
{
    struct http *h = open_server(true);
    expect_reply(ask(h, "GET /mask", LOCAL, ""), "200", "1 1");
    http_close(h);
}

Test(http, what_is_not_there_is_told)
{
    struct http *h = open_server(true);
    expect_reply(ask(h, "GET /nothing", LOCAL, ""), "404", NULL);
    expect_reply(ask(h, "GET /hello/", LOCAL, ""), "404", NULL);
    char *reply = ask(h, "DELETE /hello", LOCAL, "");
    expect_reply(reply, "405", NULL);
    cr_expect_not_null(strstr(reply, "Allow: GET\r\n"), "%s", reply);
    cr_expect_eq(calls, 0);
    http_close(h);
}

Test(http, a_body_over_the_limit_is_refused_said_in_advance_or_not)
{
    struct http *h = open_server(true);
    char body[1200], chunks[1300];
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    expect_reply(ask(h, "POST /echo", LOCAL "Content-Length: 1199\r\n", body), "413", NULL);
    expect_reply(ask(h, "POST /echo", LOCAL "Content-Length: 99999999999999999999\r\n", "x"), "413", NULL);
    snprintf(chunks, sizeof chunks, "4af\r\n%s\r\n0\r\n\r\n", body);
    expect_reply(ask(h, "POST /echo", LOCAL "Transfer-Encoding: chunked\r\n", chunks), "413", NULL);
    cr_expect_eq(calls, 0);
    http_close(h);
}

Test(http, another_hosts_name_and_another_pages_post_are_refused)
{
    struct http *h = open_server(true);
    expect_reply(ask(h, "GET /hello", "Host: evil.example\r\n", ""), "403", NULL);
    expect_reply(ask(h, "GET /hello", "Host: localhost.evil.example\r\n", ""), "403", NULL);
    expect_reply(ask(h, "POST /echo", LOCAL "Origin: http://evil.example\r\nContent-Length: 1\r\n", "x"),
                 "403", NULL);
    expect_reply(ask(h, "POST /echo", LOCAL "Origin: null\r\nContent-Length: 1\r\n", "x"), "403", NULL);
    cr_expect_eq(calls, 0);
    expect_reply(ask(h, "POST /echo", LOCAL "Origin: http://localhost\r\nContent-Length: 1\r\n", "x"), "202",
                 "x");
    http_close(h);
}

Test(http, garbage_is_refused_and_the_server_lives_on)
{
    struct http *h = open_server(false);
    static const char bytes[] = "\x16\x03\x01\x02\0\x01\0\r\n\r\n\r\n";
    exchange(h, bytes, sizeof bytes - 1);
    exchange(h, "GET\r\n\r\n", 7);
    expect_reply(ask(h, "GET /hello", LOCAL, ""), "200", "hello nobody");
    http_close(h);
}

Test(http, several_connections_are_served_at_once)
{
    struct http *h = open_server(false);
    int idle = connect_to(h), half = connect_to(h);
    cr_assert_eq(write(half, "GET /hel", 8), 8);
    expect_reply(ask(h, "GET /hello", LOCAL, ""), "200", "hello nobody");
    close(idle);
    close(half);
    http_close(h);
}

static thea_rc try_address(const char *address, bool any, struct thea_err *err)
{
    struct http *h = NULL;
    struct http_options o = {.address = address, .routes = routes, .context = &number, .any_address = any};
    thea_rc rc = http_open(&h, &o, err);
    if (rc == THEA_OK) http_close(h);
    return rc;
}

Test(http, addresses_that_are_none_or_not_loopback_are_refused)
{
    static const char *const wrong[] = {
        "",       "x",     "127.0.0.1",     "127.0.0.1:",   "127.0.0.1:65536", "host:1",
        "::1:80", "[::1]", "[127.0.0.1]:0", "127.0.0.1:-1", "0.0.0.0:0",       "[::]:0"};
    struct thea_err err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect_eq(try_address(wrong[i], false, &err), THEA_EUSAGE, "'%s': %s", wrong[i], err.message);
    static const char *const right[] = {"127.0.0.1:0", "localhost:0", "127.9.9.9:0", ":0", "0"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        cr_expect_eq(try_address(right[i], false, &err), THEA_OK, "'%s': %s", right[i], err.message);
    cr_expect_eq(try_address("0.0.0.0:0", true, &err), THEA_OK, "%s", err.message);
}

Test(http, a_port_in_use_is_said_to_be)
{
    struct thea_err err;
    struct http *h = open_server(false);
    cr_expect_eq(try_address(http_url(h) + strlen("http://"), false, &err), THEA_EBUSY);
    cr_expect_not_null(strstr(err.message, "in use"), "%s", err.message);
    http_close(h);
}
