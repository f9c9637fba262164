/* How connections of a link come to be: a receiver listens, a sender dials, and dials again when its
 * connection was lost or closed. Invariant: `door`, the one operation, is begun with the pipe's lock held. */
#include "graph/wire/link_impl.h"

#include <nng/supplemental/util/platform.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REDIAL_MIN_MS = 10, REDIAL_MAX_MS = 200, ADDRESS_TRIES = 100, ADDRESS_WAIT_MS = 10, CONNS_MAX = 8 };

static size_t count_conns(const struct link_pipe *p, bool open_only)
{
    size_t n = 0;
    for (const struct link_conn *c = p->conns; c != NULL; c = c->next)
        n += !open_only || c->state != CONN_CLOSED;
    return n;
}

/* Sleep a while before dialling again, longer each time that no session came of it; never in step with
 * others. */
static void sleep_before_dial(struct link_pipe *p)
{
    uint32_t limit = p->redial_ms == 0 ? REDIAL_MIN_MS : p->redial_ms;
    p->redial_ms = limit * 2 < REDIAL_MAX_MS ? limit * 2 : REDIAL_MAX_MS;
    p->sleeping = true;
    nng_sleep_aio((nng_duration)(1 + nng_random() % limit), p->door);
}

/* A closed connection counts until the stage's thread has freed it: so strangers cannot fill our memory. */
void link_door_next(struct link_pipe *p)
{
    if (p->door_busy || p->shut || p->door == NULL || count_conns(p, false) >= CONNS_MAX) return;
    if (p->dialer != NULL && count_conns(p, true) > 0) return;
    p->door_busy = true;
    if (p->listener != NULL)
        nng_stream_listener_accept(p->listener, p->door);
    else
        sleep_before_dial(p);
}

static void on_door(void *context)
{
    struct link_pipe *p = context;
    int rv = nng_aio_result(p->door);
    pthread_mutex_lock(&p->lock);
    bool slept = p->sleeping;
    p->sleeping = false;
    if (slept && rv == 0 && !p->shut) {
        nng_stream_dialer_dial(p->dialer, p->door);
        pthread_mutex_unlock(&p->lock);
        return;
    }
    p->door_busy = false;
    nng_stream *stream = !slept && rv == 0 ? nng_aio_get_output(p->door, 0) : NULL;
    if (stream != NULL) link_conn_new(p, stream);
    /* A listener that fails (no descriptors) tries again with the next beat. */
    if (rv == 0 || p->dialer != NULL) link_door_next(p);
    pthread_mutex_unlock(&p->lock);
}

static thea_rc failure(struct thea_err *err, const char *url, const char *what, int rv)
{
    thea_rc rc = rv == NNG_EADDRINUSE ? THEA_EBUSY : rv == NNG_EPERM ? THEA_EPERM : THEA_EOS;
    return thea_fail(err, rc, "%s: %s: %s", url, what, nng_strerror(rv));
}

/* Listen; an address just given up by another process is free a moment later. */
static int listen_patiently(nng_stream_listener *listener)
{
    int rv = NNG_EADDRINUSE;
    for (int i = 0; i < ADDRESS_TRIES && rv == NNG_EADDRINUSE; i++) {
        if (i > 0) nanosleep(&(struct timespec){.tv_nsec = ADDRESS_WAIT_MS * 1000000L}, NULL);
        rv = nng_stream_listener_listen(listener);
    }
    return rv;
}

/* Certificates, for what goes from machine to machine. */
static thea_rc use_tls(struct link_pipe *p, const struct link_options *o, struct thea_err *err)
{
    nng_tls_config *config = NULL;
    if (!o->address.tls) return THEA_OK;
    thea_rc rc = link_tls_config(&config, o, p->dialer != NULL, err);
    if (rc != THEA_OK) return rc;
    int rv = p->dialer != NULL ? nng_stream_dialer_set_ptr(p->dialer, NNG_OPT_TLS_CONFIG, config)
                               : nng_stream_listener_set_ptr(p->listener, NNG_OPT_TLS_CONFIG, config);
    nng_tls_config_free(config); /* the door holds it */
    return rv == 0 ? THEA_OK : failure(err, o->address.url, "cannot use TLS", rv);
}

thea_rc link_door_open(struct link_pipe *p, const struct link_options *o, bool dial, struct thea_err *err)
{
    const char *url = o->address.url, *what = dial ? "cannot dial" : "cannot listen";
    bool unix_socket = strncmp(url, "ipc://", 6) == 0 || strncmp(url, "abstract://", 11) == 0;
    p->head_size = unix_socket ? LINK_HEAD_MAX : LINK_HEAD_MAX - 1;
    int rv = nng_aio_alloc(&p->door, on_door, p);
    if (rv == 0)
        rv = dial ? nng_stream_dialer_alloc(&p->dialer, url) : nng_stream_listener_alloc(&p->listener, url);
    if (rv != 0) return failure(err, url, what, rv);
    thea_rc rc = use_tls(p, o, err);
    if (rc != THEA_OK) return rc;
    if (!dial && (rv = listen_patiently(p->listener)) != 0) return failure(err, url, what, rv);
    pthread_mutex_lock(&p->lock);
    if (dial) {
        p->door_busy = true;
        nng_stream_dialer_dial(p->dialer, p->door);
    } else {
        link_door_next(p);
    }
    pthread_mutex_unlock(&p->lock);
    return THEA_OK;
}

void link_door_close(struct link_pipe *p)
{
    if (p->dialer != NULL) nng_stream_dialer_close(p->dialer);
    if (p->listener != NULL) nng_stream_listener_close(p->listener);
    if (p->door != NULL) nng_aio_stop(p->door);
    nng_aio_free(p->door);
    if (p->dialer != NULL) nng_stream_dialer_free(p->dialer);
    if (p->listener != NULL) nng_stream_listener_free(p->listener);
    p->door = NULL;
}
