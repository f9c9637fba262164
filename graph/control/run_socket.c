/* The run's socket: see run_socket.h. Invariant: a client whose answers wait to be sent is not read, so that
 * nobody can make the run remember more than one answer for each client. */
#include "graph/control/run_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 16, EVENTS = 16 };

struct client {
    struct channel *channel; /* NULL: a free place */
    uint64_t id;
};

struct run_socket {
    struct run_socket_ops ops;
    int listener, epoll;
    char name[RUN_SOCKET_NAME_BYTES];
    struct client clients[RUN_SOCKET_CLIENTS_MAX];
    uint64_t next_id;
};

/* --- addresses --- */

static socklen_t make_address(struct sockaddr_un *address, const char *name)
{
    size_t n = strlen(name);
    if (n > sizeof address->sun_path - 1) n = sizeof address->sun_path - 1;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path + 1, name, n);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

bool run_socket_same_user(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

thea_rc run_socket_listen(int *fd, char name[RUN_SOCKET_NAME_BYTES], const char *prefix, int type,
                          struct thea_err *err)
{
    uint64_t random[2];
    struct sockaddr_un address;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return thea_fail(err, THEA_EOS, "no random numbers: %s", strerror(errno));
    snprintf(name, RUN_SOCKET_NAME_BYTES, "%.12s%016llx%016llx", prefix, (unsigned long long)random[0],
             (unsigned long long)random[1]);
    socklen_t size = make_address(&address, name);
    *fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd >= 0 && bind(*fd, (const struct sockaddr *)&address, size) == 0 && listen(*fd, BACKLOG) == 0)
        return THEA_OK;
    thea_rc rc = thea_fail(err, THEA_EOS, "cannot listen on a socket: %s", strerror(errno));
    if (*fd >= 0) close(*fd);
    return rc;
}

/* --- the run's side --- */

thea_rc run_socket_open(struct run_socket **out, const struct run_socket_ops *ops, struct thea_err *err)
{
    struct run_socket *s = calloc(1, sizeof *s);
    if (s == NULL) abort();
    s->ops = *ops;
    s->listener = -1;
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    thea_rc rc = THEA_OK;
    if (s->epoll < 0) rc = thea_fail(err, THEA_EOS, "epoll_create1: %s", strerror(errno));
    if (rc == THEA_OK) rc = run_socket_listen(&s->listener, s->name, "thea-run-", SOCK_STREAM, err);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (rc == THEA_OK && epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->listener, &event) != 0)
        rc = thea_fail(err, THEA_EOS, "epoll_ctl: %s", strerror(errno));
    if (rc != THEA_OK) {
        run_socket_close(s);
        return rc;
    }
    *out = s;
    return THEA_OK;
}

const char *run_socket_name(const struct run_socket *s)
{
    return s->name;
}

int run_socket_fd(const struct run_socket *s)
{
    return s->epoll;
}

void run_socket_close(struct run_socket *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < RUN_SOCKET_CLIENTS_MAX; i++) channel_free(s->clients[i].channel);
    if (s->listener >= 0) close(s->listener);
    if (s->epoll >= 0) close(s->epoll);
    free(s);
}

static struct client *free_place(struct run_socket *s)
{
    for (size_t i = 0; i < RUN_SOCKET_CLIENTS_MAX; i++)
        if (s->clients[i].channel == NULL) return &s->clients[i];
    return NULL;
}

/* Strangers, and whoever comes when all places are taken, see the connection close. */
static void take_client(struct run_socket *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    struct client *place = free_place(s);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = place};
    if (place == NULL || !run_socket_same_user(fd) || channel_adopt(&place->channel, fd, NULL) != THEA_OK) {
        close(fd);
        return;
    }
    place->id = ++s->next_id;
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) == 0) return;
    channel_free(place->channel);
    place->channel = NULL;
}

static void drop_client(struct run_socket *s, struct client *c)
{
    channel_free(c->channel); /* the epoll set forgets a descriptor that is closed */
    c->channel = NULL;
    if (s->ops.gone != NULL) s->ops.gone(s->ops.context, c->id);
}

/* Everything the client asks, until an answer does not go out at once. */
static thea_rc serve(struct run_socket *s, struct client *c)
{
    channel_flush(c->channel);
    while (channel_idle(c->channel)) {
        struct json_node *question;
        thea_rc rc = channel_receive(c->channel, &question, NULL);
        if (rc != THEA_OK) return rc;
        struct json_node *answer = s->ops.answer(s->ops.context, c->id, question);
        json_free(question);
        rc = channel_send(c->channel, answer, NULL);
        if (rc != THEA_OK) return rc;
    }
    return THEA_AGAIN;
}

static void handle_client(struct run_socket *s, struct client *c, uint32_t events)
{
    bool broken = (events & (EPOLLERR | EPOLLHUP)) != 0 && (events & EPOLLIN) == 0;
    if (broken || serve(s, c) != THEA_AGAIN) {
        drop_client(s, c);
        return;
    }
    struct epoll_event event = {.events = channel_idle(c->channel) ? EPOLLIN : EPOLLOUT, .data.ptr = c};
    epoll_ctl(s->epoll, EPOLL_CTL_MOD, channel_fd(c->channel), &event);
}

void run_socket_handle(struct run_socket *s)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(s->epoll, events, EVENTS, 0);
    for (int i = 0; i < n; i++) {
        struct client *c = events[i].data.ptr;
        if (c == NULL)
            take_client(s);
        else if (c->channel != NULL)
            handle_client(s, c, events[i].events);
    }
}

struct json_node *run_socket_refusal(thea_rc rc, const char *reason)
{
    struct json_node *out = json_new_map();
    json_put(out, "error", json_new_string(reason));
    json_put(out, "code", json_new_int(rc));
    return out;
}

/* --- the client's side --- */

thea_rc run_socket_connect(struct channel **out, const char *name, struct thea_err *err)
{
    struct sockaddr_un address;
    socklen_t size = make_address(&address, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return thea_fail(err, THEA_EOS, "cannot make a socket: %s", strerror(errno));
    thea_rc rc = THEA_OK;
    if (connect(fd, (const struct sockaddr *)&address, size) != 0)
        rc = thea_fail(err, THEA_ESERVICE, "the run is not there: %s", strerror(errno));
    else if (!run_socket_same_user(fd))
        rc = thea_fail(err, THEA_EPERM, "the run belongs to another user");
    if (rc == THEA_OK) rc = channel_adopt(out, fd, err);
    if (rc != THEA_OK) close(fd);
    return rc;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static thea_rc wait_answer(struct json_node **answer, struct channel *c, int64_t deadline_ms,
                           struct thea_err *err)
{
    for (;;) {
        thea_rc rc = channel_receive(c, answer, err);
        if (rc == THEA_DONE) return thea_fail(err, THEA_ESERVICE, "the run has just ended");
        if (rc != THEA_AGAIN) return rc;
        int64_t left = deadline_ms - now_ms();
        if (left <= 0)
            return thea_fail(err, THEA_ETIMEOUT,
                             "the run does not answer: is it stopped? (SIGCONT lets it go on)");
        struct pollfd p = {.fd = channel_fd(c), .events = channel_events(c)};
        if (poll(&p, 1, (int)left) > 0 && (p.revents & POLLOUT) != 0) channel_flush(c);
    }
}

thea_rc run_socket_ask(struct json_node **answer, struct channel *c, struct json_node *question,
                       int timeout_ms, struct thea_err *err)
{
    thea_rc rc = channel_send(c, question, err);
    if (rc == THEA_OK) rc = wait_answer(answer, c, now_ms() + timeout_ms, err);
    if (rc != THEA_OK) return rc;
    const char *refused = json_text_or(*answer, "error", NULL);
    if (refused == NULL) return THEA_OK;
    rc = (thea_rc)json_int_or(*answer, "code", THEA_ESERVICE);
    if (rc < THEA_EUSAGE) rc = THEA_ESERVICE;
    thea_fail(err, rc, "%s", refused);
    json_free(*answer);
    *answer = NULL;
    return rc;
}
