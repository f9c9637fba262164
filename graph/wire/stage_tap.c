/* Taps: see stage_tap.h. */
#include "graph/wire/stage_tap.h"

#include "graph/wire/frame_json.h"
#include "graph/wire/stage_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FREE_NS ((uint64_t)200000) /* spent before shares are counted: the first frames come at once */

struct tap {
    int fd;
    char *address, *port; /* port NULL: every output, or of a sink every input */
    size_t values;
    uint64_t since_ns, spent_ns, skipped;
};

struct stage_taps {
    struct tap items[STAGE_TAPS_MAX];
    size_t count;
};

/* --- coming and going --- */

static bool same_user(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

static thea_rc dial(int *fd, const char *name, struct thea_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    if (n == 0 || n > sizeof address.sun_path - 1)
        return thea_fail(err, THEA_EFRAME, "a tap at an address of %zu bytes", n);
    memcpy(address.sun_path + 1, name, n);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
    *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd >= 0 && connect(*fd, (const struct sockaddr *)&address, size) == 0 && same_user(*fd))
        return THEA_OK;
    thea_rc rc = thea_fail(err, THEA_ESERVICE, "nobody to tap for: %s", strerror(errno));
    if (*fd >= 0) close(*fd);
    return rc;
}

static void remove_tap(struct stage *st, size_t i)
{
    struct stage_taps *taps = st->taps;
    close(taps->items[i].fd);
    free(taps->items[i].address);
    free(taps->items[i].port);
    taps->items[i] = taps->items[--taps->count];
    if (taps->count > 0) return;
    free(taps);
    st->taps = NULL;
}

void stage_taps_free(struct stage *st)
{
    while (st->taps != NULL) remove_tap(st, st->taps->count - 1);
}

static char *copy_text(const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    if (copy == NULL && text != NULL) abort();
    return copy;
}

static void add_tap(struct stage *st, const struct json_node *m)
{
    struct thea_err err;
    int fd = -1;
    const char *address = json_text_or(m, "address", "");
    int64_t values = json_int_or(m, "values", 0);
    if (st->taps != NULL && st->taps->count == STAGE_TAPS_MAX) {
        thea_warning("there are %d taps already", STAGE_TAPS_MAX);
        return;
    }
    if (dial(&fd, address, &err) != THEA_OK) {
        thea_info("%s", thea_err_message(&err)); /* it may have looked and gone */
        return;
    }
    if (st->taps == NULL) st->taps = calloc(1, sizeof *st->taps);
    if (st->taps == NULL) abort();
    st->taps->items[st->taps->count++] = (struct tap){.fd = fd,
                                                      .address = copy_text(address),
                                                      .port = copy_text(json_text_or(m, "port", NULL)),
                                                      .values = values > 0 ? (size_t)values : 0,
                                                      .since_ns = status_now_ns()};
}

thea_rc stage_tap_obey(struct stage *st, const struct json_node *message, struct thea_err *err)
{
    (void)err;
    if (strcmp(json_text_or(message, "do", ""), "tap") == 0) {
        add_tap(st, message);
        return THEA_OK;
    }
    for (size_t i = 0; st->taps != NULL && i < st->taps->count; i++) {
        if (strcmp(st->taps->items[i].address, json_text_or(message, "address", "")) != 0) continue;
        remove_tap(st, i);
        break;
    }
    return THEA_OK;
}

/* --- frames --- */

/* One packet a frame, so that it arrives whole or not at all. False: nobody looks any more. */
static bool offer(struct tap *tap, const struct stage *st, const char *side, const struct frame *f)
{
    size_t values = tap->values;
    for (;;) {
        struct json_node *copy = frame_json(f, values);
        json_put(copy, "process", json_new_string(st->name));
        json_put(copy, "side", json_new_string(side));
        json_put(copy, "skipped", json_new_int((int64_t)tap->skipped));
        char *text = json_print(copy, 0, 9);
        size_t n = strlen(text);
        json_free(copy);
        bool fits = n <= STAGE_TAP_BYTES_MAX;
        ssize_t sent = fits ? send(tap->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
        int failed = fits ? errno : EMSGSIZE;
        free(text);
        if (sent >= 0) return true;
        if (failed == EMSGSIZE && values > 0) {
            values = 0; /* its header at least */
            continue;
        }
        tap->skipped++;
        return failed == EAGAIN || failed == EWOULDBLOCK || failed == EMSGSIZE || failed == EINTR ||
               failed == ENOBUFS;
    }
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* At most one part in STAGE_TAP_SHARE of the stage's time. */
static bool may_spend(const struct tap *tap, uint64_t now_ns)
{
    return tap->spent_ns <= FREE_NS + (now_ns - tap->since_ns) / STAGE_TAP_SHARE;
}

/* False: nobody looks any more. */
static bool tell(struct tap *tap, const struct stage *st, const char *side, const struct frame *f)
{
    if (!may_spend(tap, status_now_ns())) {
        tap->skipped++;
        return true;
    }
    uint64_t begin_ns = cpu_ns();
    bool alive = offer(tap, st, side, f);
    tap->spent_ns += cpu_ns() - begin_ns;
    return alive;
}

static void tap_all(struct stage *st, const char *side, bool by_default, const char *port,
                    const struct frame *f)
{
    for (size_t i = 0; st->taps != NULL && i < st->taps->count;) {
        struct tap *tap = &st->taps->items[i];
        bool wanted = tap->port != NULL ? strcmp(tap->port, port) == 0 : by_default;
        if (!wanted || tell(tap, st, side, f))
            i++;
        else
            remove_tap(st, i);
    }
}

void stage_tap_out(struct stage *st, int port, const struct frame *f)
{
    if (st->taps != NULL) tap_all(st, "out", true, st->out[port].port->name, f);
}

void stage_tap_in(struct stage *st, uint32_t ports, const struct frame *f)
{
    if (st->taps == NULL || ports == 0) return;
    tap_all(st, "in", st->out_count == 0, st->in[__builtin_ctz(ports)].port->name, f);
}
