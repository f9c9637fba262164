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
        cr_assert_gt(poll(p, 2, 60000), 0, "no answer to %s", text);
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

/* --- replies that come later, and what is only on the caller's thread --- */

static struct http_held *held[4];
static size_t held_count;
static struct http_done last_done;
static char last_note[64], last_path[64];

static void hold(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    buf_add_text(&reply->body, "this is ignored");
    held[held_count++] = http_hold(request);
}

static void below(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    buf_add_text(&reply->body, request->path);
}

static void refuse(void *context, int status, const char *text, struct http_reply *reply)
{
    (void)context, (void)text;
    reply->status = status;
    buf_printf(&reply->body, "refused: %d", status);
}

static void remember(void *context, const struct http_done *done)
{
    (void)context;
    last_done = *done;
    snprintf(last_note, sizeof last_note, "%s", done->note);
    snprintf(last_path, sizeof last_path, "%s", done->path);
}

static const struct http_route later_routes[] = {
    {"POST", "/hold", hold}, {"GET", "/below/", below}, {"GET", "/hello", hello}, {0}};

static struct http *open_later(int timeout_s)
{
    struct http *h;
    struct thea_err err;
    struct http_options o = {.address = "127.0.0.1:0",
                             .routes = later_routes,
                             .context = &number,
                             .body_max_bytes = 1000,
                             .connections_max = 200,
                             .request_timeout_s = timeout_s,
                             .refuse = refuse,
                             .done = remember};
    cr_assert_eq(http_open(&h, &o, &err), THEA_OK, "%s", err.message);
    return h;
}

static int send_text(const struct http *h, const char *text)
{
    int fd = connect_to(h);
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    return fd;
}

/* Serve until something can be read from fd (-1: until `count` requests are held). */
static void serve_until(struct http *h, int fd, size_t count)
{
    for (int i = 0; i < 10000; i++) {
        struct pollfd p[2] = {{.fd = http_fd(h), .events = POLLIN}, {.fd = fd, .events = POLLIN}};
        if (fd < 0 && held_count >= count) return;
        cr_assert_gt(poll(p, 2, 60000), 0, "nothing happens");
        http_handle(h);
        if (fd >= 0 && p[1].revents != 0) return;
    }
    cr_assert_fail("it never came");
}

static char *rest_of(struct http *h, int fd)
{
    static char reply[4096];
    size_t len = 0;
    for (ssize_t got = 1; got > 0 && len<sizeof reply - 1; len += got> 0 ? (size_t)got : 0) {
        serve_until(h, fd, 0);
        got = read(fd, reply + len, sizeof reply - 1 - len);
    }
    reply[len] = '\0';
    close(fd);
    return reply;
}

static void answer(struct http_held *to, const char *text)
{
    struct http_reply reply = {.status = 200, .type = "text/plain", .note = "noted"};
    buf_add_text(&reply.body, text);
    http_answer(to, &reply);
}
#define HOLD "POST /hold HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"

Test(http_later, replies_come_in_any_order_and_others_are_served_meanwhile)
{
    struct http *h = open_later(0);
    int first = send_text(h, HOLD);
    serve_until(h, -1, 1);
    int second = send_text(h, HOLD);
    serve_until(h, -1, 2);
    expect_reply(ask(h, "GET /hello", LOCAL, ""), "200", "hello nobody");
    cr_expect(http_is_busy(h));
    answer(held[1], "two");
    expect_reply(rest_of(h, second), "200", "two");
    answer(held[0], "one");
    expect_reply(rest_of(h, first), "200", "one");
    cr_expect_str_eq(last_note, "noted");
    cr_expect_str_eq(last_path, "/hold");
    cr_expect_eq(last_done.status, 200);
    cr_expect_eq(last_done.body_bytes, 3);
    http_close(h);
}

Test(http_later, a_client_that_has_gone_takes_nothing_with_it)
{
    struct http *h = open_later(0);
    close(send_text(h, HOLD));
    serve_until(h, -1, 1);
    int other = send_text(h, HOLD);
    serve_until(h, -1, 2);
    answer(held[0], "for nobody");
    answer(held[1], "for you");
    expect_reply(rest_of(h, other), "200", "for you");
    http_close(h);
}

Test(http_later, what_is_not_answered_when_it_closes_gets_503)
{
    struct http *h = open_later(0);
    char reply[1024] = "";
    int fd = send_text(h, HOLD);
    serve_until(h, -1, 1);
    http_close(h);
    ssize_t n = read(fd, reply, sizeof reply - 1);
    cr_assert_gt(n, 0);
    expect_reply(reply, "503", "refused: 503");
    close(fd);
}

Test(http_later, a_route_can_stand_for_what_is_below_it)
{
    struct http *h = open_later(0);
    expect_reply(ask(h, "GET /below/a/b", LOCAL, ""), "200", "/below/a/b");
    expect_reply(ask(h, "GET /below/", LOCAL, ""), "404", "refused: 404");
    expect_reply(ask(h, "POST /below/x", LOCAL "Content-Length: 0\r\n", ""), "405", "refused: 405");
    http_close(h);
}

Test(http_later, a_request_that_is_not_whole_in_time_gets_408)
{
    static const char *const slow[] = {
        "", "GET /hello HT", "POST /hold HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nab"};
    struct http *h = open_later(1);
    for (size_t i = 0; i < sizeof slow / sizeof *slow; i++) {
        int fd = send_text(h, slow[i]);
        expect_reply(rest_of(h, fd), "408", "refused: 408");
    }
    cr_expect_eq(last_done.status, 408);
    cr_expect_eq(held_count, 0);
    expect_reply(ask(h, "GET /hello", LOCAL, ""), "200", "hello nobody");
    http_close(h);
}

Test(http_later, one_that_waits_for_its_answer_is_not_too_slow)
{
    struct http *h = open_later(1);
    int fd = send_text(h, HOLD);
    serve_until(h, -1, 1);
    char *late = rest_of(h, send_text(h, "GET /hel")); /* a whole time limit passes */
    expect_reply(late, "408", NULL);
    answer(held[0], "here");
    expect_reply(rest_of(h, fd), "200", "here");
    http_close(h);
}

Test(http_later, a_quiet_server_refuses_connections_and_serves_those_it_has)
{
    struct http *h = open_later(0);
    int fd = send_text(h, HOLD);
    serve_until(h, -1, 1);
    http_quiet(h);
    http_quiet(h);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    a.sin_port = htons((uint16_t)atoi(strrchr(http_url(h), ':') + 1));
    int other = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(other, (struct sockaddr *)&a, sizeof a), -1);
    close(other);
    answer(held[0], "still here");
    expect_reply(rest_of(h, fd), "200", "still here");
    http_close(h);
}

Test(http_later, addresses_of_this_machine_alone_are_known)
{
    cr_expect(http_is_loopback("127.0.0.1:80"));
    cr_expect(http_is_loopback("[::1]:80"));
    cr_expect(http_is_loopback(":80"));
    cr_expect_not(http_is_loopback("0.0.0.0:80"));
    cr_expect_not(http_is_loopback("10.1.2.3:80"));
    cr_expect_not(http_is_loopback("[2001:db8::1]:80"));
}
