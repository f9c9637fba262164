/* Closing a link's socket, and getting away when nng cannot.
 *
 * nng 1.5.2 may never return from nng_close: when a pipe is closed between the header and the body of a
 * message that arrives, its receive is neither finished nor cancelled (ipc_pipe_recv_cb resubmits to an aio
 * that is closed, which fails without a word), and nng's one thread for such work waits for it. A stage that
 * ends because a peer failed can meet that, and must end. So: nng reads nothing any more when a pipe is
 * closed by us in mid-stream (quiesce); closing has a thread of its own and a limit; and at exit nng's own
 * closing is left out if it is stuck. */
#include "graph/wire/link_impl.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { CLOSE_MS = 250, QUIET_MS = 10 };

static atomic_bool stuck;

static void leave(int status, void *context)
{
    (void)context;
    if (!atomic_load(&stuck)) return;
    fflush(NULL);
    _exit(status);
}

static void register_leave(void)
{
    on_exit(leave, NULL);
}

void link_pipe_watch_exit(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_leave);
}

static void *close_and_free(void *context)
{
    struct link_pipe *p = context;
    if (p->beat != NULL) nng_aio_stop(p->beat);
    if (p->send != NULL) nng_aio_stop(p->send);
    if (p->recv != NULL) nng_aio_stop(p->recv);
    if (p->socket.id != 0) nng_close(p->socket); /* waits for the pipe events too */
    nng_aio_free(p->beat);
    nng_aio_free(p->send);
    nng_aio_free(p->recv);
    link_queue_fini(&p->in);
    link_queue_fini(&p->out);
    link_hello_fini(&p->hello);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

/* With nobody receiving, nng takes one more message and then reads no further: wait until it has one, or none
 * has come for a while. */
static void quiesce(struct link_pipe *p)
{
    int fd;
    link_pipe_settle(p);
    if (nng_socket_get_int(p->socket, NNG_OPT_RECVFD, &fd) != 0) return;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    (void)poll(&readable, 1, QUIET_MS);
}

void link_pipe_close(struct link_pipe *p, bool orderly)
{
    if (p == NULL) return;
    link_pipe_shut(p);
    if (!orderly && p->recv != NULL) quiesce(p);
    pthread_mutex_lock(&p->lock);
    p->set = NULL;
    pthread_mutex_unlock(&p->lock);
    pthread_t thread;
    if (pthread_create(&thread, NULL, close_and_free, p) != 0) return;
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit); /* not clockjoin: ThreadSanitizer does not know it */
    limit.tv_nsec += CLOSE_MS * 1000000L;
    if (limit.tv_nsec >= 1000000000L) limit.tv_sec++, limit.tv_nsec -= 1000000000L;
    if (!atomic_load(&stuck) && pthread_timedjoin_np(thread, NULL, &limit) == 0) return;
    atomic_store(&stuck, true);
    pthread_detach(thread);
}
