/* Links with peers that are wrong, hostile or gone. They are plain sockets that speak nng's framing by hand
 * (SP over IPC: a greeting of 8 bytes, then a byte 1, a big-endian length and the body for each message), so
 * that they can do what nng would not. */
#include "tests/graph/wire/link_ends.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <endian.h>
#include <poll.h>
#include <stdio.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

TestSuite(link_peers, .timeout = 300);

/* --- a peer made by hand --- */

struct peer {
    int fd, listener;
    struct ends *e;
};

static const unsigned char greeting[8] = {0, 'S', 'P', 0, 0, 16, 0, 0}; /* 16: PAIR version 0 */

static int peer_socket(const struct ends *e, struct sockaddr_un *a, socklen_t *len)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    const char *name = e->tx_options.address.url + strlen("abstract://");
    strcpy(a->sun_path + 1, name);
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    return fd;
}

static void peer_write(const struct peer *p, const void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = send(p->fd, (const char *)bytes + at, n - at, MSG_NOSIGNAL);
        if (k <= 0) return; /* the other side has had enough: the test looks at what it says */
        at += (size_t)k;
    }
}

static bool peer_read(const struct peer *p, void *bytes, size_t n)
{
    struct timeval limit = {.tv_sec = 60};
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return recv(p->fd, bytes, n, MSG_WAITALL) == (ssize_t)n;
}

static void peer_greet(struct peer *p)
{
    unsigned char theirs[8];
    peer_write(p, greeting, sizeof greeting);
    cr_assert(peer_read(p, theirs, sizeof theirs));
    cr_assert_eq(memcmp(theirs, greeting, sizeof greeting), 0);
}

static struct peer peer_dial(struct ends *e)
{
    struct sockaddr_un a;
    socklen_t len;
    struct peer p = {.e = e, .listener = -1};
    p.fd = peer_socket(e, &a, &len);
    cr_assert_eq(connect(p.fd, (struct sockaddr *)&a, len), 0);
    peer_greet(&p);
    return p;
}

/* Listen, have the link dial, and greet. */
static struct peer peer_listen(struct ends *e)
{
    struct sockaddr_un a;
    socklen_t len;
    struct peer p = {.e = e};
    p.listener = peer_socket(e, &a, &len);
    cr_assert_eq(bind(p.listener, (struct sockaddr *)&a, len), 0);
    cr_assert_eq(listen(p.listener, 4), 0);
    ends_dial(e);
    p.fd = accept4(p.listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(p.fd, 0);
    peer_greet(&p);
    return p;
}

static void peer_close(struct peer *p)
{
    close(p->fd);
    if (p->listener >= 0) close(p->listener);
}

static void peer_bytes(struct peer *p, const void *bytes, size_t n)
{
    unsigned char head[9] = {1};
    uint64_t length = htobe64(n);
    memcpy(head + 1, &length, 8);
    peer_write(p, head, sizeof head);
    peer_write(p, bytes, n);
}

static void *test_alloc(void *context, size_t size)
{
    void **block = context;
    free(*block);
    return *block = aligned_alloc(64, size);
}

static void peer_message(struct peer *p, const struct link_message *m)
{
    void *block = NULL;
    size_t offset, size;
    cr_assert_eq(codec_encode_link(m, test_alloc, &block, &offset, &size, NULL), THEA_OK);
    peer_bytes(p, (char *)block + offset, size);
    free(block);
}

static void peer_frame(struct peer *p, const struct frame *f)
{
    void *block = NULL;
    size_t offset, size;
    cr_assert_eq(codec_encode_frame(f, test_alloc, &block, &offset, &size, NULL), THEA_OK);
    peer_bytes(p, (char *)block + offset, size);
    free(block);
}

static struct link_message hello_of(const struct ends *e, link_role role)
{
    return (struct link_message){.kind = LINK_HELLO,
                                 .version = WIRE_VERSION,
                                 .run = e->tx_options.address.run,
                                 .link = e->tx_options.address.number,
                                 .role = role,
                                 .pid = 77,
                                 .port = "by hand"};
}

/* The next link message of a kind, others passed over. free() *keep, which it borrows. */
static void peer_expect(struct peer *p, link_kind kind, struct link_message *out, void **keep)
{
    for (;;) {
        unsigned char head[9];
        cr_assert(peer_read(p, head, sizeof head), "no message of kind %d came", (int)kind);
        uint64_t length;
        memcpy(&length, head + 1, 8);
        length = be64toh(length);
        cr_assert_leq(length, 1 << 20);
        *keep = aligned_alloc(64, (length + 63) & ~(size_t)63);
        cr_assert(peer_read(p, *keep, length));
        struct thea_err err = {0};
        cr_assert_eq(codec_decode_link(out, *keep, length, &err), THEA_OK, "%s", err.message);
        if (out->kind == kind) return;
        free(*keep);
    }
}

static void wait_rx(struct ends *e, thea_rc want, const char *text)
{
    struct thea_err err = {0};
    cr_assert_eq(ends_wait_trouble(e->rx, e->rx_set, &err), want, "%s", err.message);
    cr_assert_not_null(strstr(err.message, text), "'%s' is not in '%s'", text, err.message);
    cr_assert_not_null(strstr(err.message, "link 3, port 'hidden'"), "%s", err.message);
}

static void wait_tx(struct ends *e, thea_rc want, const char *text)
{
    struct thea_err err = {0};
    cr_assert_eq(ends_wait_trouble(e->tx, e->set, &err), want, "%s", err.message);
    cr_assert_not_null(strstr(err.message, text), "'%s' is not in '%s'", text, err.message);
    cr_assert_not_null(strstr(err.message, "link 3, port 'residual'"), "%s", err.message);
}

/* A peer that has said a good HELLO to our receiver and got its credit. */
static struct peer good_sender(struct ends *e)
{
    struct peer p = peer_dial(e);
    struct link_message hello = hello_of(e, LINK_SENDER), m;
    peer_message(&p, &hello);
    void *keep;
    while (strcmp(link_peer(e->rx), "nobody yet") == 0) ends_poll(e->rx_set);
    peer_expect(&p, LINK_CREDIT, &m, &keep);
    free(keep);
    return p;
}

static struct peer good_receiver(struct ends *e, uint64_t frames)
{
    struct peer p = peer_listen(e);
    struct link_message hello = hello_of(e, LINK_RECEIVER);
    peer_message(&p, &hello);
    peer_message(&p,
                 &(struct link_message){.kind = LINK_CREDIT, .limit_seq = frames, .limit_bytes = 1 << 20});
    return p;
}

static void done(struct ends *e, struct peer *p)
{
    peer_close(p);
    ends_free(e);
}

/* --- at the door --- */

/* After a stranger was turned away the right sender is still served. */
static void expect_served(struct ends *e)
{
    ends_dial(e);
    ends_send(e, 5, 50);
    cr_assert_eq(ends_receive(e)->seq, 5);
    link_consume(e->rx);
    ends_finish(e);
}

Test(link_peers, garbage_from_a_stranger_does_no_harm)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = peer_dial(&e);
    peer_bytes(&p, "GET / HTTP/1.1\r\n\r\n", 18);
    ends_poll(e.set);
    peer_close(&p);
    expect_served(&e);
    ends_free(&e);
}

Test(link_peers, a_message_that_is_empty_does_no_harm)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = peer_dial(&e);
    peer_bytes(&p, "", 0);
    ends_poll(e.set);
    peer_close(&p);
    expect_served(&e);
    ends_free(&e);
}

Test(link_peers, a_frame_before_hello_is_not_taken)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = peer_dial(&e);
    peer_frame(&p, &(struct frame){.kind = FRAME_DATA});
    ends_poll(e.set);
    peer_close(&p);
    expect_served(&e);
    cr_assert_eq(e.rx_status->frames, 2);
    ends_free(&e);
}

Test(link_peers, a_sender_of_another_run_is_refused_and_told_why)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = peer_dial(&e);
    struct link_message hello = hello_of(&e, LINK_SENDER), refuse;
    hello.run ^= 1;
    peer_message(&p, &hello);
    void *keep = NULL;
    for (int messages = 0; messages < 2;) { /* the refusal leaves when the receiver has looked at the HELLO */
        struct pollfd f[2] = {{.fd = link_set_fd(e.set), .events = POLLIN}, {.fd = p.fd, .events = POLLIN}};
        cr_assert_gt(poll(f, 2, 60000), 0);
        if (f[0].revents != 0) link_set_clear(e.set);
        if (f[1].revents == 0) continue;
        free(keep);
        peer_expect(&p, messages++ == 0 ? LINK_HELLO : LINK_REFUSE, &refuse, &keep);
    }
    char want[64];
    snprintf(want, sizeof want, "the sender of link 3 of run %016llx",
             (unsigned long long)e.tx_options.address.run);
    cr_assert_str_eq(refuse.expected, want);
    cr_assert_neq(strcmp(refuse.found, refuse.expected), 0);
    free(keep);
    peer_close(&p);
    expect_served(&e);
    ends_free(&e);
}

Test(link_peers, a_sender_that_dialled_another_runs_receiver_fails_at_once)
{
    struct ends e = ends_new((struct ends_options){0});
    struct link_address right = e.tx_options.address;
    ends_listen(&e);
    e.tx_options.address.number = 9;
    ends_dial(&e);
    struct thea_err err = {0};
    cr_assert_eq(ends_wait_trouble(e.tx, e.set, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "expected the receiver of link 9"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "found the receiver of link 3"), "%s", err.message);
    link_abort(e.tx);
    e.tx_options.address = right;
    expect_served(&e);
    ends_free(&e);
}

Test(link_peers, another_pattern_is_refused_at_both_ends)
{
    struct ends e =
        ends_open((struct ends_options){.tx_pattern = "f32 [n, 64]", .rx_pattern = "f32 [n, 128]"});
    wait_rx(&e, THEA_EFRAME, "expected f32 [n, 128], found f32 [n, 64] from port 'residual'");
    wait_tx(&e, THEA_EFRAME, "expected f32 [n, 64], found f32 [n, 128] from port 'hidden'");
    ends_free(&e);
}

Test(link_peers, another_version_is_refused)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = peer_dial(&e);
    struct link_message hello = hello_of(&e, LINK_SENDER);
    hello.version = 9;
    peer_message(&p, &hello);
    wait_rx(&e, THEA_EFRAME, "expected protocol version 1, found version 9");
    done(&e, &p);
}

Test(link_peers, a_refusal_is_passed_on_without_control_characters)
{
    struct ends e = ends_new((struct ends_options){0});
    struct peer p = good_receiver(&e, 4);
    ends_wait_ready(&e, 1);
    peer_message(&p, &(struct link_message){
                         .kind = LINK_REFUSE, .reason = "no", .expected = "\033[31mred", .found = "blue"});
    wait_tx(&e, THEA_EFRAME, "refused: no: expected ?[31mred, found blue");
    done(&e, &p);
}

Test(link_peers, one_who_connects_and_says_nothing_is_shown_out_and_the_next_served)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = peer_dial(&e);
    ends_dial(&e); /* finds the seat taken, until the silent one has had its time */
    ends_send(&e, 5, 50);
    cr_assert_eq(ends_receive(&e)->seq, 5);
    link_consume(e.rx);
    char byte[4096];
    while (recv(p.fd, byte, sizeof byte, 0) > 0) continue; /* our HELLO, then the end */
    peer_close(&p);
    ends_finish(&e);
    ends_free(&e);
}

Test(link_peers, a_second_sender_is_refused_and_nothing_is_lost)
{
    struct ends e = ends_open((struct ends_options){.window_frames = 4});
    ends_send(&e, 0, 10);
    cr_assert_eq(ends_receive(&e)->seq, 0);
    link_consume(e.rx);
    link_flush_credit(e.rx);
    struct link *second;
    struct status_link status = {0};
    struct link_options o = e.tx_options;
    o.status = &status;
    cr_assert_eq(link_dial(&second, e.set, &o, NULL), THEA_OK);
    struct thea_err err = {0};
    cr_assert_eq(ends_wait_trouble(second, e.set, &err), THEA_EBUSY, "%s", err.message);
    cr_assert_not_null(strstr(err.message, "the place is taken"), "%s", err.message);
    cr_assert_eq(status.frames, 0, "it never had credit, so it counts nothing as sent");
    for (uint64_t i = 1; i < 50; i++) {
        ends_send(&e, i, 10);
        cr_assert_eq(ends_receive(&e)->seq, i);
        link_consume(e.rx);
        link_flush_credit(e.rx);
    }
    link_abort(second);
    ends_finish(&e);
    cr_assert_eq(e.rx_status->frames, e.tx_status->frames);
    ends_free(&e);
}

Test(link_peers, a_second_receiver_cannot_take_the_address)
{
    struct ends e = ends_half((struct ends_options){0});
    struct link *second;
    struct thea_err err = {0};
    cr_assert_eq(link_listen(&second, e.set, &e.rx_options, &err), THEA_EBUSY);
    cr_assert_not_null(strstr(err.message, "cannot listen: Address in use"), "%s", err.message);
    expect_served(&e);
    ends_free(&e);
}

Test(link_peers, nobody_comes_in_time)
{
    struct ends e = ends_half((struct ends_options){.reconnect_ms = 50});
    wait_rx(&e, THEA_ETIMEOUT, "no sender came within 0.1 s");
    ends_free(&e);
    e = ends_new((struct ends_options){.reconnect_ms = 50});
    ends_dial(&e);
    wait_tx(&e, THEA_ETIMEOUT, "no receiver came within 0.1 s");
    cr_assert(link_ready(e.tx, 0), "a failed link lets its user on to the error");
    ends_free(&e);
}

/* Another user connects, waits until it is shown out, and says by its exit status that it was. Before nng has
 * threads: a fork takes none along. */
static pid_t connect_as_another(const struct ends *e, int go)
{
    struct sockaddr_un a;
    socklen_t len;
    int fd = peer_socket(e, &a, &len);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid > 0) {
        close(fd);
        return pid;
    }
    char byte;
    alarm(60);
    if (setuid(65534) != 0 || read(go, &byte, 1) != 1 || connect(fd, (struct sockaddr *)&a, len) != 0)
        _exit(2);
    while (recv(fd, &byte, 1, 0) > 0) continue;
    _exit(0);
}

Test(link_peers, another_user_is_turned_away_and_named_if_nobody_else_comes)
{
    if (geteuid() != 0) cr_skip_test("needs root, to be another user");
    struct ends e = ends_new((struct ends_options){.reconnect_ms = 5000}); /* for the other to come in */
    int go[2], status;
    cr_assert_eq(pipe(go), 0);
    pid_t pid = connect_as_another(&e, go[0]);
    ends_listen(&e);
    cr_assert_eq(write(go[1], "!", 1), 1);
    wait_rx(&e, THEA_ETIMEOUT, "turned away: 1 of another user");
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0, "its connection was closed");
    ends_free(&e);
}

/* --- in the session --- */

Test(link_peers, a_gap_is_an_error)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = good_sender(&e);
    peer_frame(&p, &(struct frame){.link_seq = 0});
    peer_frame(&p, &(struct frame){.link_seq = 2});
    ends_receive(&e);
    link_consume(e.rx);
    const struct frame *f;
    struct thea_err err = {0};
    thea_rc rc;
    while ((rc = link_peek(e.rx, &f, &err)) == THEA_AGAIN) ends_poll(e.set);
    cr_assert_eq(rc, THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "frame 2 came where 1 was due: a gap"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "sender pid"), "%s", err.message);
    done(&e, &p);
}

static void expect_peek_error(struct ends *e, const char *text)
{
    const struct frame *f;
    struct thea_err err = {0};
    thea_rc rc;
    while ((rc = link_peek(e->rx, &f, &err)) == THEA_AGAIN || rc == THEA_OK) {
        if (rc == THEA_OK)
            link_consume(e->rx);
        else
            ends_poll(e->set);
    }
    cr_assert_eq(rc, THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, text), "'%s' is not in '%s'", text, err.message);
}

Test(link_peers, a_repeat_is_an_error)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = good_sender(&e);
    peer_frame(&p, &(struct frame){.link_seq = 0});
    peer_frame(&p, &(struct frame){.link_seq = 0});
    expect_peek_error(&e, "frame 0 came where 1 was due: a repeat");
    done(&e, &p);
}

Test(link_peers, more_frames_than_credit_is_an_error)
{
    struct ends e = ends_half((struct ends_options){.window_frames = 2});
    struct peer p = good_sender(&e);
    for (uint64_t i = 0; i < 3; i++) peer_frame(&p, &(struct frame){.link_seq = i});
    wait_rx(&e, THEA_EFRAME, "it sent frame 2 with credit for 2");
    done(&e, &p);
}

Test(link_peers, more_bytes_than_credit_is_an_error)
{
    static char data[10000];
    struct tensor small = tensor_1d("x", TENSOR_U8, data, 1000),
                  large = tensor_1d("x", TENSOR_U8, data, 9500);
    struct ends e = ends_half((struct ends_options){.window_frames = 64, .window_bytes = 10000});
    struct peer p = good_sender(&e);
    peer_frame(&p, &(struct frame){.link_seq = 0, .tensors = &small, .tensor_count = 1});
    peer_frame(&p, &(struct frame){.link_seq = 1, .tensors = &large, .tensor_count = 1});
    expect_peek_error(&e, "frame 1 has 9500 tensor bytes, its credit was for 9000");
    done(&e, &p);
}

Test(link_peers, memory_beyond_the_window_is_not_given_to_a_flood)
{
    static char data[8 << 20];
    struct tensor t = tensor_1d("x", TENSOR_U8, data, sizeof data);
    struct ends e = ends_half((struct ends_options){.window_frames = 8, .window_bytes = 1000});
    struct peer p = good_sender(&e);
    for (uint64_t i = 0; i < 4; i++)
        peer_frame(&p, &(struct frame){.link_seq = i, .tensors = &t, .tensor_count = 1});
    wait_rx(&e, THEA_EFRAME, "into a window of 1000");
    done(&e, &p);
}

Test(link_peers, a_damaged_frame_names_its_number_and_its_field)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = good_sender(&e);
    peer_frame(&p, &(struct frame){.link_seq = 0});
    peer_bytes(&p, "\x40\0\0\0THF1 and then nothing of sense", 34);
    expect_peek_error(&e, "frame 1: frame: damaged");
    done(&e, &p);
}

Test(link_peers, frames_after_eof_are_an_error)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = good_sender(&e);
    peer_frame(&p, &(struct frame){.link_seq = 0, .kind = FRAME_EOF});
    peer_frame(&p, &(struct frame){.link_seq = 1});
    struct thea_err err = {0};
    const struct frame *f;
    thea_rc rc = THEA_OK;
    while (rc != THEA_EFRAME) {
        rc = link_peek(e.rx, &f, &err);
        if (rc == THEA_OK)
            link_consume(e.rx);
        else if (rc != THEA_EFRAME)
            ends_poll(e.set);
    }
    cr_assert_not_null(strstr(err.message, "after its eof"), "%s", err.message);
    done(&e, &p);
}

Test(link_peers, a_sender_that_gives_credit_is_an_error)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = good_sender(&e);
    peer_message(&p, &(struct link_message){.kind = LINK_CREDIT, .limit_seq = 5});
    wait_rx(&e, THEA_EFRAME, "a sender sent credit");
    done(&e, &p);
}

Test(link_peers, a_goodbye_before_eof_is_an_error)
{
    struct ends e = ends_half((struct ends_options){0});
    struct peer p = good_sender(&e);
    peer_message(&p, &(struct link_message){.kind = LINK_BYE, .reason = "tired"});
    wait_rx(&e, THEA_ECLOSED, "goodbye before its eof frame (tired)");
    done(&e, &p);
}

Test(link_peers, a_receiver_that_sends_a_frame_is_an_error)
{
    struct ends e = ends_new((struct ends_options){0});
    struct peer p = good_receiver(&e, 4);
    peer_frame(&p, &(struct frame){0});
    wait_tx(&e, THEA_EFRAME, "a receiver sent a frame");
    done(&e, &p);
}

/* No pointers: parameters cross into another process. */
struct credit_case {
    char want[64];
    struct {
        uint64_t ack, seq, bytes;
    } first, second;
};

ParameterizedTestParameters(link_peers, credit_that_cannot_be_is_an_error)
{
    static struct credit_case cases[] = {
        {"first credit is for 0 frames", {0, 0, 0}, {0, 0, 0}},
        {"first credit is for 5000 frames", {0, 5000, 0}, {0, 5000, 0}},
        {"credit went back", {0, 4, 100}, {0, 3, 100}},
        {"credit went back", {0, 4, 100}, {0, 4, 99}},
        {"acknowledged 1 frames of 0 sent", {0, 4, 100}, {1, 4, 100}},
        {"credit for frames that it does not acknowledge", {0, 4, 100}, {0, 5, 100}},
    };
    return cr_make_param_array(struct credit_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct credit_case *c, link_peers, credit_that_cannot_be_is_an_error)
{
    struct ends e = ends_new((struct ends_options){0});
    struct peer p = peer_listen(&e);
    struct link_message hello = hello_of(&e, LINK_RECEIVER);
    peer_message(&p, &hello);
    peer_message(&p, &(struct link_message){.kind = LINK_CREDIT,
                                            .ack_seq = c->first.ack,
                                            .limit_seq = c->first.seq,
                                            .limit_bytes = c->first.bytes});
    peer_message(&p, &(struct link_message){.kind = LINK_CREDIT,
                                            .ack_seq = c->second.ack,
                                            .limit_seq = c->second.seq,
                                            .limit_bytes = c->second.bytes});
    wait_tx(&e, THEA_EFRAME, c->want);
    done(&e, &p);
}

/* --- gone --- */

Test(link_peers, a_sender_lost_before_eof_is_named_after_all_it_sent_was_read)
{
    struct ends e = ends_open((struct ends_options){0});
    for (uint64_t i = 0; i < 3; i++) ends_send(&e, i, 10);
    ends_receive(&e);
    ends_wait_queued(&e, 3);
    link_abort(e.tx);
    e.tx = NULL;
    struct thea_err err = {0};
    cr_assert_eq(ends_wait_trouble(e.rx, e.set, &err), THEA_ECLOSED);
    for (uint64_t i = 0; i < 3; i++) {
        cr_assert_eq(ends_receive(&e)->seq, i, "what came is still good");
        link_consume(e.rx);
    }
    const struct frame *f;
    cr_assert_eq(link_peek(e.rx, &f, &err), THEA_ECLOSED);
    char want[96];
    snprintf(want, sizeof want,
             "link 3, port 'hidden', sender pid %d: lost before its eof frame, after 3 frames",
             (int)getpid());
    cr_assert_str_eq(err.message, want);
    cr_assert_eq(link_close(e.rx, &err), THEA_ECLOSED);
    e.rx = NULL;
    ends_free(&e);
}

Test(link_peers, a_receiver_lost_before_its_goodbye_is_named)
{
    struct ends e = ends_open((struct ends_options){0});
    ends_send(&e, 0, 10);
    ends_receive(&e);
    link_abort(e.rx);
    e.rx = NULL;
    wait_tx(&e, THEA_ECLOSED, "lost before its goodbye, with 0 of 1 frames acknowledged");
    struct thea_err err = {0};
    cr_assert_eq(link_send(e.tx, &(struct frame){0}, &err), THEA_ECLOSED, "a send says so too");
    ends_free(&e);
}

Test(link_peers, a_closing_sender_does_not_wait_for_a_receiver_that_is_gone)
{
    struct ends e = ends_open((struct ends_options){0});
    ends_send(&e, 0, 10);
    cr_assert_eq(link_send(e.tx, &(struct frame){.kind = FRAME_EOF}, NULL), THEA_OK);
    ends_receive(&e);
    link_abort(e.rx);
    e.rx = NULL;
    struct thea_err err = {0};
    cr_assert_eq(link_close(e.tx, &err), THEA_ECLOSED, "%s", err.message);
    e.tx = NULL;
    ends_free(&e);
}
