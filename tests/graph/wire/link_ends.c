/* Two ends of a link: see link_ends.h. */
#include "tests/graph/wire/link_ends.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { DEADLINE_S = 60 };

/* A port that was free a moment ago. */
static int free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

struct ends ends_new(struct ends_options o)
{
    struct ends e = {.own_sets = true};
    e.tx_status = calloc(1, sizeof *e.tx_status);
    e.rx_status = calloc(1, sizeof *e.rx_status);
    uint64_t run;
    cr_assert_eq(getrandom(&run, sizeof run, 0), sizeof run);
    char address[128];
    if (o.ipc) {
        strcpy(e.dir, "/tmp/thea-link-XXXXXX");
        cr_assert_not_null(mkdtemp(e.dir));
        snprintf(address, sizeof address, "ipc://%s/socket#%016llx-3", e.dir, (unsigned long long)run);
    } else if (o.tcp) {
        snprintf(address, sizeof address, "tcp://127.0.0.1:%d#%016llx-3", free_port(),
                 (unsigned long long)run);
    } else {
        snprintf(address, sizeof address, "abstract://thea-%016llx-3", (unsigned long long)run);
    }
    struct link_options common = {.stage = "test",
                                  .epoch = o.epoch,
                                  .lasting = o.lasting,
                                  .silence_ms = o.silence_ms,
                                  .reconnect_ms = o.reconnect_ms};
    struct thea_err err = {0};
    cr_assert_eq(link_address_parse(&common.address, address, &err), THEA_OK, "%s", err.message);
    e.tx_options = e.rx_options = common;
    e.tx_options.port = "residual";
    e.rx_options.port = "hidden";
    e.tx_options.pattern = o.tx_pattern;
    e.rx_options.pattern = o.rx_pattern;
    e.rx_options.window_frames = o.window_frames;
    e.rx_options.window_bytes = o.window_bytes;
    e.rx_options.spill_bytes = o.spill_bytes;
    e.rx_options.spill_dir = o.spill_dir;
    cr_assert_eq(link_set_new(&e.set, NULL), THEA_OK);
    e.rx_set = e.set;
    if (o.two_sets) cr_assert_eq(link_set_new(&e.rx_set, NULL), THEA_OK);
    return e;
}

void ends_use_sets(struct ends *e, struct link_set *tx_set, struct link_set *rx_set)
{
    link_set_free(e->set);
    if (e->rx_set != e->set) link_set_free(e->rx_set);
    e->set = tx_set;
    e->rx_set = rx_set;
    e->own_sets = false;
}

void ends_listen(struct ends *e)
{
    struct thea_err err = {0};
    e->rx_options.status = e->rx_status;
    cr_assert_eq(link_listen(&e->rx, e->rx_set, &e->rx_options, &err), THEA_OK, "%s", err.message);
}

void ends_dial(struct ends *e)
{
    struct thea_err err = {0};
    e->tx_options.status = e->tx_status;
    cr_assert_eq(link_dial(&e->tx, e->set, &e->tx_options, &err), THEA_OK, "%s", err.message);
}

struct ends ends_half(struct ends_options o)
{
    struct ends e = ends_new(o);
    ends_listen(&e);
    return e;
}

struct ends ends_open(struct ends_options o)
{
    struct ends e = ends_half(o);
    ends_dial(&e);
    return e;
}

void ends_free(struct ends *e)
{
    link_abort(e->tx);
    link_abort(e->rx);
    free(e->tx_status);
    free(e->rx_status);
    if (e->own_sets && e->rx_set != e->set) link_set_free(e->rx_set);
    if (e->own_sets) link_set_free(e->set);
    if (e->dir[0] != '\0') {
        char path[64];
        snprintf(path, sizeof path, "%s/socket", e->dir);
        unlink(path);
        cr_assert_eq(rmdir(e->dir), 0);
    }
}

void ends_poll(struct link_set *set)
{
    struct pollfd p = {.fd = link_set_fd(set), .events = POLLIN};
    cr_assert_gt(poll(&p, 1, DEADLINE_S * 1000), 0, "nothing happened for %d s", DEADLINE_S);
    link_set_clear(set);
}

void ends_settle(struct ends *e)
{
    struct pollfd p = {.fd = link_set_fd(e->set), .events = POLLIN};
    while (poll(&p, 1, 100) > 0) link_set_clear(e->set);
}

void ends_wait_ready(struct ends *e, uint64_t bytes)
{
    while (!link_ready(e->tx, bytes)) ends_poll(e->set);
    struct thea_err err = {0};
    cr_assert_eq(link_check(e->tx, &err), THEA_OK, "%s", err.message);
}

void ends_wait_stopped(struct ends *e)
{
    while (!link_stopped(e->tx)) ends_poll(e->set);
}

void ends_wait_queued(struct ends *e, uint32_t frames)
{
    while (e->rx_status->queue < frames) ends_poll(e->rx_set);
}

void ends_send(struct ends *e, uint64_t seq, size_t bytes)
{
    static unsigned char *data;
    static size_t size;
    if (bytes > size) {
        data = realloc(data, bytes);
        size = bytes;
        for (size_t i = 0; i < size; i++) data[i] = (unsigned char)i;
    }
    struct tensor t = tensor_1d("residual", TENSOR_U8, data, bytes);
    struct frame f = {
        .seq = seq, .epoch = e->tx_options.epoch, .port = "residual", .tensors = &t, .tensor_count = 1};
    ends_wait_ready(e, bytes);
    struct thea_err err = {0};
    cr_assert_eq(link_send(e->tx, &f, &err), THEA_OK, "%s", err.message);
}

const struct frame *ends_receive(struct ends *e)
{
    const struct frame *f;
    struct thea_err err = {0};
    thea_rc rc;
    while ((rc = link_peek(e->rx, &f, &err)) == THEA_AGAIN) {
        link_flush_credit(e->rx);
        ends_poll(e->rx_set);
    }
    cr_assert_eq(rc, THEA_OK, "%s", err.message);
    return f;
}

void ends_finish(struct ends *e)
{
    struct thea_err err = {0};
    const struct frame *f;
    ends_wait_ready(e, 0);
    cr_assert_eq(link_send(e->tx, &(struct frame){.kind = FRAME_EOF, .epoch = e->tx_options.epoch}, &err),
                 THEA_OK, "%s", err.message);
    do {
        f = ends_receive(e);
        bool eof = f->kind == FRAME_EOF;
        link_consume(e->rx);
        if (eof) break;
    } while (true);
    ends_close_tx(e);
    ends_close_rx(e);
}

void ends_close_tx(struct ends *e)
{
    struct thea_err err = {0};
    cr_assert_eq(link_close(e->tx, &err), THEA_OK, "%s", err.message);
    e->tx = NULL;
}

void ends_close_rx(struct ends *e)
{
    struct thea_err err = {0};
    cr_assert_eq(link_close(e->rx, &err), THEA_OK, "%s", err.message);
    e->rx = NULL;
}

void *ends_loop_far(void *two_ends)
{
    struct ends **e = two_ends;
    cr_assert_eq(ends_receive(e[0])->kind, FRAME_EOF);
    link_consume(e[0]->rx);
    ends_wait_ready(e[1], 0);
    cr_assert_eq(link_send(e[1]->tx, &(struct frame){.kind = FRAME_EOF}, NULL), THEA_OK);
    ends_close_tx(e[1]);
    ends_close_rx(e[0]);
    return NULL;
}

thea_rc ends_wait_trouble(struct link *ln, struct link_set *set, struct thea_err *err)
{
    thea_rc rc;
    while ((rc = link_check(ln, err)) == THEA_OK) ends_poll(set);
    return rc;
}
