/* Tapping a live run: see tap_run.h. Invariant: nothing here can hold a stage up; what we are too slow for,
 * it skips and counts. */
#include "bin/thea/support/tap_run.h"

#include "bin/thea/support/tap_print.h"
#include "graph/control/run_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PACKET_BYTES = 256 << 10,
    FIXED_POLLS = 2, /* the run, new processes; then each process */
    REST_MS = 100,   /* after a look: a wake-up a frame would take more from the run than the frames do */
    NICENESS = 10
};

struct source {
    int fd;
    char *process;
    int64_t skipped;
};

struct taps {
    const struct tap_options *o;
    int listener;
    struct source *items;
    size_t count;
    int64_t shown;
    char *packet;
};

static thea_rc cannot_write(int why, struct thea_err *err)
{
    if (why == EPIPE) return THEA_DONE;
    return thea_fail(err, THEA_EIO, "cannot write stdout: %s", strerror(why));
}

thea_rc tap_show(const struct json_node *frame, bool json, struct thea_err *err)
{
    struct buf out = {0};
    if (json) {
        char *line = json_print(frame, 0, 9);
        buf_printf(&out, "%s\n", line);
        free(line);
    } else {
        tap_print(frame, &out);
    }
    bool good = fwrite(buf_text(&out), 1, out.len, stdout) == out.len;
    int failed = errno;
    buf_fini(&out);
    return good ? THEA_OK : cannot_write(failed, err);
}

thea_rc tap_flush(struct thea_err *err)
{
    return fflush(stdout) == 0 ? THEA_OK : cannot_write(errno, err);
}

static void take_process(struct taps *t)
{
    int fd = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    if (!run_socket_same_user(fd)) {
        close(fd);
        return;
    }
    t->items = reallocarray(t->items, t->count + 1, sizeof *t->items);
    if (t->items == NULL) abort();
    t->items[t->count++] = (struct source){.fd = fd};
}

static void drop_process(struct taps *t, size_t i)
{
    close(t->items[i].fd);
    free(t->items[i].process);
    t->items[i] = t->items[--t->count];
}

static void note_skipped(struct source *s, const struct json_node *frame)
{
    if (s->process == NULL) s->process = strdup(json_text_or(frame, "process", "?"));
    if (s->process == NULL) abort();
    s->skipped = json_int_or(frame, "skipped", s->skipped);
}

/* All packets that are there. THEA_AGAIN: that was all; THEA_DONE: enough was shown. */
static thea_rc take_frames(struct taps *t, size_t i, struct thea_err *err)
{
    for (;;) {
        if (t->shown == t->o->limit) return THEA_DONE;
        ssize_t n = recv(t->items[i].fd, t->packet, PACKET_BYTES, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return THEA_AGAIN;
        if (n <= 0) {
            drop_process(t, i);
            return THEA_AGAIN;
        }
        struct json_node *frame = NULL;
        thea_rc rc = json_parse(&frame, t->packet, (size_t)n, "tapped frame", err);
        if (rc != THEA_OK) return rc;
        note_skipped(&t->items[i], frame);
        rc = tap_show(frame, t->o->json, err);
        json_free(frame);
        if (rc != THEA_OK) return rc;
        t->shown++;
    }
}

static thea_rc take_all(struct taps *t, const struct pollfd *polls, size_t count, struct thea_err *err)
{
    for (size_t i = count; i-- > 0;) { /* backwards: one that goes is replaced by the last */
        if (polls != NULL && polls[FIXED_POLLS + i].revents == 0) continue;
        thea_rc rc = take_frames(t, i, err);
        if (rc != THEA_AGAIN) return rc;
    }
    return tap_flush(err);
}

static thea_rc watch(struct taps *t, const struct runs_entry *run, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    while (rc == THEA_OK) {
        size_t count = t->count;
        struct pollfd *polls = calloc(FIXED_POLLS + count, sizeof *polls);
        if (polls == NULL) abort();
        polls[0] = (struct pollfd){.fd = channel_fd(run->channel), .events = POLLIN};
        polls[1] = (struct pollfd){.fd = t->listener, .events = POLLIN};
        for (size_t i = 0; i < count; i++)
            polls[FIXED_POLLS + i] = (struct pollfd){.fd = t->items[i].fd, .events = POLLIN};
        int ready = poll(polls, FIXED_POLLS + count, -1);
        if (ready > 0) rc = take_all(t, polls, count, err);
        if (ready > 0 && polls[1].revents != 0) take_process(t);
        bool ended = ready > 0 && polls[0].revents != 0;
        if (rc == THEA_OK && ready > 0 && !ended) poll(polls, FIXED_POLLS, REST_MS);
        free(polls);
        if (rc != THEA_OK || !ended) continue;
        rc = take_all(t, NULL, t->count, err); /* its last words */
        return rc == THEA_OK ? THEA_DONE : rc;
    }
    return rc;
}

static void tell_skipped(const struct taps *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->items[i].skipped > 0)
            fprintf(stderr, "%s: %lld frames passed without a copy, so as not to slow it down\n",
                    t->items[i].process, (long long)t->items[i].skipped);
}

static thea_rc ask(struct runs_entry *run, const struct tap_options *o, const char *address,
                   struct thea_err *err)
{
    struct json_node *question = json_new_map(), *answer = NULL;
    json_put(question, "ask", json_new_string("tap"));
    json_put(question, "glob", json_new_string(o->glob));
    json_put(question, "address", json_new_string(address));
    json_put(question, "values", json_new_int(o->values));
    if (o->port != NULL) json_put(question, "port", json_new_string(o->port));
    thea_rc rc = run_socket_ask(&answer, run->channel, question, RUNS_ANSWER_MS, err);
    json_free(answer);
    return rc;
}

thea_rc tap_run(struct runs_entry *run, const struct tap_options *o, struct thea_err *err)
{
    char address[RUN_SOCKET_NAME_BYTES];
    struct taps t = {.o = o, .packet = malloc(PACKET_BYTES)};
    if (t.packet == NULL) abort();
    thea_rc rc = run_socket_listen(&t.listener, address, "thea-tap-", SOCK_SEQPACKET, err);
    if (rc == THEA_OK) {
        rc = ask(run, o, address, err);
        (void)setpriority(PRIO_PROCESS, 0, NICENESS); /* refused: as we are, then */
        if (rc == THEA_OK) rc = watch(&t, run, err);
        if (rc == THEA_DONE) rc = tap_flush(err);
        tell_skipped(&t);
        close(t.listener);
    }
    while (t.count > 0) drop_process(&t, t.count - 1);
    free(t.items);
    free(t.packet);
    return rc == THEA_DONE ? THEA_OK : rc;
}
