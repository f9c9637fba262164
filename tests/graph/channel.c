/* The control channel: order, both ways, backlog, foreign bytes, the other side's end. */
#include "graph/channel.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct ends {
    struct channel *a, *b;
};

static struct ends make(void)
{
    struct ends e = {0};
    int fd = -1;
    cr_assert_eq(channel_pair(&e.a, &fd, NULL), THEA_OK);
    cr_assert_eq(channel_adopt(&e.b, fd, NULL), THEA_OK);
    return e;
}

static struct json_node *number(int64_t n)
{
    struct json_node *m = json_new_map();
    json_put(m, "n", json_new_int(n));
    return m;
}

static int64_t receive_number(struct channel *c)
{
    struct json_node *m = NULL;
    struct thea_err err;
    cr_assert_eq(channel_receive(c, &m, &err), THEA_OK);
    int64_t n = json_int_or(m, "n", -1);
    json_free(m);
    return n;
}

Test(channel, messages_arrive_in_order_both_ways)
{
    struct ends e = make();
    struct json_node *m = NULL;
    cr_assert_eq(channel_receive(e.b, &m, NULL), THEA_AGAIN);
    for (int i = 0; i < 100; i++) cr_assert_eq(channel_send(e.a, number(i), NULL), THEA_OK);
    cr_assert_eq(channel_send(e.b, number(7), NULL), THEA_OK);
    for (int i = 0; i < 100; i++) cr_assert_eq(receive_number(e.b), i);
    cr_assert_eq(receive_number(e.a), 7);
    cr_assert_eq(channel_receive(e.b, &m, NULL), THEA_AGAIN);
    channel_free(e.a);
    channel_free(e.b);
}

Test(channel, what_the_socket_does_not_take_waits_and_follows_in_order)
{
    struct ends e = make();
    int sent = 0;
    while (channel_idle(e.a) || sent < 50000) cr_assert_eq(channel_send(e.a, number(sent++), NULL), THEA_OK);
    cr_assert_eq(channel_events(e.a), POLLIN | POLLOUT);
    for (int i = 0; i < sent; i++) {
        struct json_node *m = NULL;
        while (channel_receive(e.b, &m, NULL) == THEA_AGAIN) channel_flush(e.a);
        cr_assert_eq(json_int_or(m, "n", -1), i);
        json_free(m);
    }
    cr_assert(channel_idle(e.a));
    cr_assert_eq(channel_events(e.a), POLLIN);
    channel_free(e.a);
    channel_free(e.b);
}

Test(channel, the_other_sides_end_comes_after_all_it_said)
{
    struct ends e = make();
    struct json_node *m = NULL;
    cr_assert_eq(channel_send(e.a, number(1), NULL), THEA_OK);
    channel_free(e.a);
    cr_assert_eq(receive_number(e.b), 1);
    cr_assert_eq(channel_receive(e.b, &m, NULL), THEA_DONE);
    cr_assert_eq(channel_send(e.b, number(2), NULL), THEA_OK); /* swallowed: the caller learns by receiving */
    cr_assert_eq(channel_receive(e.b, &m, NULL), THEA_DONE);
    channel_free(e.b);
}

Test(channel, bytes_that_are_not_json_are_an_error)
{
    int fds[2];
    struct channel *c = NULL;
    struct json_node *m = NULL;
    struct thea_err err = {0};
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    cr_assert_eq(channel_adopt(&c, fds[0], NULL), THEA_OK);
    cr_assert_eq(write(fds[1], "{\"n\": 1}\nnoise\n", 15), 15);
    cr_assert_eq(receive_number(c), 1);
    cr_assert_eq(channel_receive(c, &m, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "control message"), "%s", err.message);
    channel_free(c);
    close(fds[1]);
}

Test(channel, a_line_without_an_end_is_refused_at_its_limit)
{
    struct ends e = make();
    struct json_node *m = NULL;
    struct thea_err err = {0};
    static char noise[64 << 10];
    thea_rc rc = THEA_AGAIN;
    memset(noise, 'x', sizeof noise);
    for (size_t sent = 0; rc == THEA_AGAIN && sent < 4 * (size_t)CHANNEL_LINE_MAX;) {
        ssize_t n = send(channel_fd(e.a), noise, sizeof noise, MSG_DONTWAIT);
        if (n > 0) sent += (size_t)n;
        rc = channel_receive(e.b, &m, &err);
    }
    cr_assert_eq(rc, THEA_EFRAME);
    channel_free(e.a);
    channel_free(e.b);
}

Test(channel, a_descriptor_that_is_no_socket_is_refused)
{
    struct channel *c = NULL;
    struct thea_err err = {0};
    cr_assert_eq(channel_adopt(&c, STDIN_FILENO, &err), THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, "not a stream socket"));
}
