/* What wakes a stage's thread: an eventfd that nng's threads write and a timerfd for deadlines, behind one
 * epoll descriptor. */
#include "graph/wire/link_impl.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct link_set {
    int epoll_fd, event_fd, timer_fd;
    atomic_bool signalled; /* the eventfd was written since it was cleared: one write is enough */
    uint64_t timer_ns;     /* what the timer is set to; 0: off */
    struct link *links;
};

static bool watch(struct link_set *set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return fd >= 0 && epoll_ctl(set->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

thea_rc link_set_new(struct link_set **out, struct thea_err *err)
{
    struct link_set *set = calloc(1, sizeof *set);
    if (set == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    set->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    set->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    set->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (set->epoll_fd < 0 || !watch(set, set->event_fd) || !watch(set, set->timer_fd)) {
        thea_rc rc = thea_fail(err, THEA_EOS, "links: %s", strerror(errno));
        link_set_free(set);
        return rc;
    }
    *out = set;
    return THEA_OK;
}

void link_set_free(struct link_set *set)
{
    if (set == NULL) return;
    if (set->timer_fd >= 0) close(set->timer_fd);
    if (set->event_fd >= 0) close(set->event_fd);
    if (set->epoll_fd >= 0) close(set->epoll_fd);
    free(set);
}

int link_set_fd(const struct link_set *set)
{
    return set->epoll_fd;
}

void link_set_wake(struct link_set *set)
{
    if (atomic_exchange(&set->signalled, true)) return;
    ssize_t n = write(set->event_fd, &(uint64_t){1}, sizeof(uint64_t));
    (void)n; /* cannot fail: the counter is far from full */
}

void link_set_clear(struct link_set *set)
{
    uint64_t count;
    ssize_t n = read(set->event_fd, &count, sizeof count);
    if (set->timer_ns != 0 && read(set->timer_fd, &count, sizeof count) > 0) set->timer_ns = 0;
    (void)n;
    atomic_exchange(&set->signalled, false); /* after the read: what comes from now on writes again */
    for (struct link *ln = set->links; ln != NULL; ln = ln->next) link_pump(ln);
    link_set_timer(set);
}

void link_set_timer(struct link_set *set)
{
    uint64_t next = 0;
    for (const struct link *ln = set->links; ln != NULL; ln = ln->next)
        if (ln->wake_ns != 0 && (next == 0 || ln->wake_ns < next)) next = ln->wake_ns;
    if (next == set->timer_ns) return;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(next / 1000000000u), .tv_nsec = (long)(next % 1000000000u)}};
    timerfd_settime(set->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    set->timer_ns = next;
}

void link_set_add(struct link_set *set, struct link *ln)
{
    ln->next = set->links;
    set->links = ln;
    link_set_timer(set);
}

void link_set_remove(struct link_set *set, struct link *ln)
{
    for (struct link **at = &set->links; *at != NULL; at = &(*at)->next)
        if (*at == ln) {
            *at = ln->next;
            break;
        }
    link_set_timer(set);
}

void link_set_wait(struct link_set *set)
{
    for (struct link *ln = set->links; ln != NULL; ln = ln->next) link_flush_credit(ln);
    struct pollfd p = {.fd = set->epoll_fd, .events = POLLIN};
    (void)poll(&p, 1, -1); /* EINTR: the caller looks again */
    link_set_clear(set);
}
