/* The run's socket: questions get answers in order, from several clients, and strangers get none.
 *
 * Whoever types `thea ps` on this machine meanwhile (another test, too) finds these sockets by their names
 * and asks them who they are: what these clients ask and do is not counted. */
#include "graph/control/run_socket.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct server {
    struct run_socket *socket;
    struct run_socket_ops ops;
    uint64_t last_id, gone_id;
    uint64_t ours; /* clients that asked our questions: a bit each */
    int answered;
    size_t padding; /* bytes put into each answer */
};

static struct json_node *echo(void *context, uint64_t id, const struct json_node *question)
{
    struct server *s = context;
    if (json_member(question, "ask") == NULL) {
        s->last_id = id;
        s->ours |= UINT64_C(1) << id % 64;
        s->answered++;
    }
    if (json_member(question, "refuse") != NULL) return run_socket_refusal(THEA_EBUSY, "not now");
    struct json_node *out = json_new_map();
    json_put(out, "echo", json_copy_node(question));
    char *padding = calloc(1, s->padding + 1);
    memset(padding, 'x', s->padding);
    json_put(out, "padding", json_new_string(padding));
    free(padding);
    return out;
}

static void note_gone(void *context, uint64_t id)
{
    struct server *s = context;
    if ((s->ours >> id % 64 & 1) != 0) s->gone_id = id;
}

static void open_server(struct server *s)
{
    struct thea_err err;
    *s = (struct server){.ops = {.answer = echo, .gone = note_gone, .context = s}};
    cr_assert_eq(run_socket_open(&s->socket, &s->ops, &err), THEA_OK, "%s", err.message);
}

static struct channel *connect_to(const struct server *s)
{
    struct channel *c;
    struct thea_err err;
    cr_assert_eq(run_socket_connect(&c, run_socket_name(s->socket), &err), THEA_OK, "%s", err.message);
    return c;
}

static void send_text(struct channel *c, const char *text)
{
    struct json_node *question;
    cr_assert_eq(json_parse(&question, text, strlen(text), "question", NULL), THEA_OK);
    cr_assert_eq(channel_send(c, question, NULL), THEA_OK);
}

/* Let the server work until the client has an answer, or has lost it. */
static thea_rc pump(struct server *s, struct channel *c, struct json_node **answer)
{
    for (int i = 0; i < 1000; i++) {
        thea_rc rc = channel_receive(c, answer, NULL);
        if (rc != THEA_AGAIN) return rc;
        struct pollfd p[2] = {{.fd = run_socket_fd(s->socket), .events = POLLIN},
                              {.fd = channel_fd(c), .events = POLLIN}};
        poll(p, 2, 1000);
        run_socket_handle(s->socket);
    }
    return THEA_ETIMEOUT;
}

static int64_t pump_number(struct server *s, struct channel *c)
{
    struct json_node *answer = NULL;
    cr_assert_eq(pump(s, c, &answer), THEA_OK);
    int64_t n = json_int(json_path(answer, "echo.n"));
    json_free(answer);
    return n;
}

Test(run_socket, answers_each_question_once_and_in_order)
{
    struct server s;
    open_server(&s);
    struct channel *c = connect_to(&s);
    send_text(c, "{\"n\": 1}");
    send_text(c, "{\"n\": 2}");
    cr_expect_eq(pump_number(&s, c), 1);
    cr_expect_eq(pump_number(&s, c), 2);
    cr_expect_eq(s.answered, 2);
    channel_free(c);
    run_socket_close(s.socket);
}

Test(run_socket, keeps_several_clients_apart)
{
    struct server s;
    open_server(&s);
    struct channel *a = connect_to(&s), *b = connect_to(&s);
    send_text(b, "{\"n\": 7}");
    send_text(a, "{\"n\": 5}");
    cr_expect_eq(pump_number(&s, b), 7);
    cr_expect_eq(pump_number(&s, a), 5);
    send_text(a, "{\"n\": 6}");
    cr_expect_eq(pump_number(&s, a), 6);
    uint64_t id_of_a = s.last_id;
    channel_free(a);
    for (int i = 0; i < 1000 && s.gone_id == 0; i++) {
        struct pollfd p = {.fd = run_socket_fd(s.socket), .events = POLLIN};
        poll(&p, 1, 1000);
        run_socket_handle(s.socket);
    }
    cr_expect_eq(s.gone_id, id_of_a, "the one that left is not the one that was told");
    send_text(b, "{\"n\": 8}");
    cr_expect_eq(pump_number(&s, b), 8);
    channel_free(b);
    run_socket_close(s.socket);
}

Test(run_socket, drops_a_client_that_speaks_no_json_and_goes_on)
{
    struct server s;
    open_server(&s);
    struct channel *bad = connect_to(&s), *good = connect_to(&s);
    cr_assert_eq(write(channel_fd(bad), "GET / HTTP/1.1\r\n\r\n", 18), 18);
    struct json_node *answer;
    cr_expect_eq(pump(&s, bad, &answer), THEA_DONE, "it was not dropped");
    send_text(good, "{\"n\": 3}");
    cr_expect_eq(pump_number(&s, good), 3);
    channel_free(bad);
    channel_free(good);
    run_socket_close(s.socket);
}

Test(run_socket, does_not_read_on_while_answers_wait)
{
    struct server s;
    open_server(&s);
    s.padding = 512 << 10; /* far above what a socket holds */
    struct channel *c = connect_to(&s);
    for (int i = 0; i < 20; i++) send_text(c, "{\"n\": 1}");
    for (int i = 0; i < 20; i++) run_socket_handle(s.socket);
    cr_expect_lt(s.answered, 3, "%d answers are held for a client that reads none", s.answered);
    for (int i = 0; i < 20; i++) cr_assert_eq(pump_number(&s, c), 1);
    cr_expect_eq(s.answered, 20, "%d answers", s.answered);
    channel_free(c);
    run_socket_close(s.socket);
}

Test(run_socket, closes_on_whoever_comes_when_all_places_are_taken)
{
    struct server s;
    struct channel *all[RUN_SOCKET_CLIENTS_MAX + 1];
    struct json_node *answer;
    open_server(&s);
    for (size_t i = 0; i <= RUN_SOCKET_CLIENTS_MAX; i++) {
        all[i] = connect_to(&s);
        run_socket_handle(s.socket);
    }
    cr_expect_eq(pump(&s, all[RUN_SOCKET_CLIENTS_MAX], &answer), THEA_DONE);
    send_text(all[0], "{\"n\": 4}");
    cr_expect_eq(pump_number(&s, all[0]), 4);
    for (size_t i = 0; i <= RUN_SOCKET_CLIENTS_MAX; i++) channel_free(all[i]);
    run_socket_close(s.socket);
}

Test(run_socket, nobody_is_there_after_it_closed)
{
    struct server s;
    struct thea_err err;
    struct channel *c;
    char name[RUN_SOCKET_NAME_BYTES];
    open_server(&s);
    strcpy(name, run_socket_name(s.socket));
    run_socket_close(s.socket);
    cr_expect_eq(run_socket_connect(&c, name, &err), THEA_ESERVICE);
}

Test(run_socket, a_client_learns_why_it_was_refused_and_when_the_run_ended)
{
    struct server s;
    struct thea_err err;
    struct json_node *answer = NULL;
    open_server(&s);
    struct channel *c = connect_to(&s);
    send_text(c, "{\"refuse\": true}");
    cr_assert_eq(pump(&s, c, &answer), THEA_OK);
    cr_expect_str_eq(json_text_or(answer, "error", ""), "not now");
    cr_expect_eq(json_int_or(answer, "code", 0), THEA_EBUSY);
    json_free(answer);
    cr_expect_eq(run_socket_ask(&answer, c, json_new_map(), 10, &err), THEA_ETIMEOUT, "nobody serves it");
    run_socket_close(s.socket);
    cr_expect_eq(run_socket_ask(&answer, c, json_new_map(), 1000, &err), THEA_ESERVICE);
    channel_free(c);
}

/* Another user can find the name; both ends must turn away. */
static int stranger(const char *name)
{
    struct channel *c;
    struct thea_err err;
    if (setgid(65534) != 0 || setuid(65534) != 0) return 99;
    if (run_socket_connect(&c, name, &err) != THEA_EPERM) return 1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path + 1, name, strlen(name));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    if (connect(fd, (const struct sockaddr *)&address, size) != 0) return 2;
    ssize_t ignored = send(fd, "{\"n\": 1}\n", 9, MSG_NOSIGNAL); /* it may be closed already */
    (void)ignored;
    char byte;
    return read(fd, &byte, 1) <= 0 ? 0 : 4; /* closed without a word */
}

Test(run_socket, turns_another_user_away)
{
    struct server s;
    int status = -1;
    if (geteuid() != 0) cr_skip("only root can become somebody else");
    open_server(&s);
    pid_t pid = fork();
    if (pid == 0) _exit(stranger(run_socket_name(s.socket)));
    while (waitpid(pid, &status, WNOHANG) == 0) {
        struct pollfd p = {.fd = run_socket_fd(s.socket), .events = POLLIN};
        poll(&p, 1, 10);
        run_socket_handle(s.socket);
    }
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", WEXITSTATUS(status));
    cr_expect_eq(s.answered, 0, "a stranger got an answer");
    run_socket_close(s.socket);
}
