/* The life of a link: options, errors, time, the end: see link.h, and link_impl.h for the parts. */
#include "graph/wire/link_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REFUSED_PIPES = 5, QUEUE_SLACK = 16 };
#define WINDOW_BYTES_MAX ((uint64_t)1 << 62)

/* --- errors --- */

const char *link_other_end(const struct link *ln)
{
    return ln->role == LINK_SENDER ? "receiver" : "sender";
}

thea_rc link_fail(struct link *ln, thea_rc rc, const char *fmt, ...)
{
    if (ln->state == LINK_FAILED) return ln->trouble.rc;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *where = ln->met ? "" : ln->o.address.url;
    thea_fail(&ln->trouble, rc, "link %u, port '%s', %s %s%s%s%s: %s", ln->o.address.number, ln->o.port,
              link_other_end(ln), link_peer(ln), *where ? " (" : "", where, *where ? ")" : "", text);
    ln->state = LINK_FAILED;
    ln->wake_ns = 0;
    if (ln->met) link_pipe_shut(ln->pipe); /* nothing more is read; the connection is closed with the link */
    link_set_wake(ln->set);
    return rc;
}

thea_rc link_check(struct link *ln, struct thea_err *err)
{
    if (ln->spill != NULL) return link_spill_check(ln->spill, err);
    link_pump(ln);
    if (ln->state != LINK_FAILED) return THEA_OK;
    if (err != NULL) *err = ln->trouble;
    return ln->trouble.rc;
}

const char *link_peer(const struct link *ln)
{
    if (ln->spill != NULL) return link_spill_peer(ln->spill);
    return ln->peer[0] != '\0' ? ln->peer : "nobody yet";
}

void link_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void link_tell(struct link *ln, const struct link_message *m)
{
    struct link_packet *msg = NULL;
    struct thea_err err;
    if (ln->state != LINK_OPEN || ln->lost) return;
    thea_rc rc = link_encode_message(&msg, m, &err);
    if (rc == THEA_OK)
        link_pipe_send(ln->pipe, ln->session, msg);
    else
        link_fail(ln, rc, "%s", err.message);
}

/* --- time --- */

static void nobody_came(struct link *ln)
{
    char why[400] = "";
    double seconds = ln->o.reconnect_ms / 1000.0;
    if (ln->last_refusal[0] != '\0')
        snprintf(why, sizeof why, "; last refused: %s", ln->last_refusal);
    else if (ln->strangers > 0)
        snprintf(why, sizeof why, "; turned away: %u of another user", ln->strangers);
    else if (ln->greeting != 0)
        snprintf(why, sizeof why, "; somebody connected and said nothing");
    ln->lost = ln->met;
    if (ln->met)
        link_fail(ln, THEA_ETIMEOUT, "the connection was lost, and not made again within %.1f s%s", seconds,
                  why);
    else
        link_fail(ln, THEA_ETIMEOUT, "no %s came within %.1f s%s", link_other_end(ln), seconds, why);
}

/* A sender's pipes are closed before anybody spoke: is its place taken? True if so it is for good. */
static bool place_is_taken(struct link *ln, const struct link_news *news, uint64_t now, unsigned *unheard)
{
    *unheard = news->lost > ln->dropped ? news->lost - ln->dropped : 0;
    if (ln->role != LINK_SENDER || *unheard == 0) return false;
    if (ln->refused_ns == 0) ln->refused_ns = now;
    return !ln->o.lasting && !ln->met && *unheard >= REFUSED_PIPES &&
           now - ln->refused_ns >= LINK_TAKEN_MS * LINK_MS;
}

/* When there is something to look at while nobody is there. */
static uint64_t down_wake(const struct link *ln, uint64_t now)
{
    uint64_t wake = now < ln->give_up_ns ? ln->give_up_ns : 0;
    if (ln->greeting != 0 && (wake == 0 || ln->greeting_ns < wake)) wake = ln->greeting_ns;
    bool watched = ln->met && !ln->o.lasting && ln->watch_pid != 0;
    return watched && (wake == 0 || now + LINK_LIVES_MS * LINK_MS < wake) ? now + LINK_LIVES_MS * LINK_MS
                                                                          : wake;
}

/* Down: give up at last, close a pipe that says nothing, notice that our place is taken or our peer dead. */
static void check_down(struct link *ln, const struct link_news *news, uint64_t now)
{
    unsigned unheard;
    if (news->current != ln->greeting) link_begin_greeting(ln, news->current);
    if (ln->greeting != 0 && now >= ln->greeting_ns) {
        link_drop_greeting(ln);
        ln->greeting_ns = now + LINK_HELLO_MS * LINK_MS;
    }
    if (place_is_taken(ln, news, now, &unheard))
        link_fail(ln, THEA_EBUSY,
                  "the place is taken: its receiver closed %u connections unheard, as it does when it has a "
                  "sender already",
                  unheard);
    else if (ln->met && !link_may_come_back(ln))
        link_lost_for_good(ln);
    else if (now >= ln->give_up_ns && !ln->o.lasting)
        nobody_came(ln);
    ln->wake_ns = ln->state == LINK_DOWN ? down_wake(ln, now) : 0;
}

/* Open: only a goodbye has a deadline, and credit that is owed. */
static void check_open(struct link *ln, uint64_t now)
{
    ln->wake_ns = 0;
    if (ln->role == LINK_SENDER) link_try_finish(ln);
    if (ln->state != LINK_OPEN) return;
    if (ln->credit_ns != 0 && now >= ln->credit_ns) link_tell_credit(ln);
    ln->wake_ns = ln->credit_ns;
    if (ln->bye_ns == 0) return;
    uint64_t end_ns = ln->bye_ns + LINK_BYE_MS * LINK_MS;
    if (ln->wake_ns == 0 || end_ns < ln->wake_ns) ln->wake_ns = end_ns;
    if (now < end_ns) return;
    ln->wake_ns = 0;
    ln->state = LINK_ENDED; /* all is acknowledged; it was only slow to say so */
    link_pipe_end(ln->pipe);
}

/* Has the session's pipe gone? */
static bool is_gone(const struct link *ln, const struct link_news *news)
{
    return ln->state == LINK_OPEN && !ln->lost && news->current != ln->session;
}

static void take_news(struct link *ln, struct link_news *news)
{
    link_pipe_take(ln->pipe, &ln->news, news);
    ln->strangers = news->strangers;
    link_handle_all(ln, news);
    if (is_gone(ln, news)) link_lose(ln, news);
    uint64_t next = ln->role == LINK_RECEIVER ? ln->arrived
                    : ln->kept.count > 0      ? link_kept_at(&ln->kept, 0)->seq
                                              : ln->seq;
    atomic_store_explicit(&ln->pipe->next_seq, next, memory_order_relaxed);
}

void link_pump(struct link *ln)
{
    if (ln->state == LINK_FAILED || ln->state == LINK_ENDED) return;
    bool news = atomic_load_explicit(&ln->pipe->news, memory_order_acquire);
    uint64_t now = news || ln->wake_ns != 0 ? status_now_ns() : 0;
    if (!news && (ln->wake_ns == 0 || now < ln->wake_ns)) return;
    struct link_news what;
    take_news(ln, &what);
    uint64_t wake = ln->wake_ns;
    if (ln->state == LINK_DOWN)
        check_down(ln, &what, now);
    else if (ln->state == LINK_OPEN)
        check_open(ln, now);
    if (ln->wake_ns != wake) link_set_timer(ln->set);
}

/* --- epochs --- */

uint64_t link_epoch(struct link *ln)
{
    if (ln->spill != NULL) return link_spill_epoch(ln->spill);
    link_pump(ln);
    return ln->peer_epoch;
}

void link_set_epoch(struct link *ln, uint64_t e)
{
    if (ln->spill != NULL) {
        link_spill_set_epoch(ln->spill, e);
        return;
    }
    assert(e >= ln->o.epoch);
    ln->o.epoch = e;
    link_pipe_epoch(ln->pipe, e);
    link_cancels_retire(&ln->cancels, e);
    if (ln->role == LINK_SENDER)
        link_retire(ln);
    else if (ln->stopped)
        link_tell(ln, &(struct link_message){.kind = LINK_STOP, .epoch = e});
}

bool link_missing(struct link *ln)
{
    if (ln->spill != NULL) return link_spill_missing(ln->spill);
    link_pump(ln);
    return ln->o.lasting && ln->state == LINK_DOWN && status_now_ns() >= ln->give_up_ns;
}

/* --- life --- */

static void destroy(struct link *ln)
{
    link_set_remove(ln->set, ln);
    link_pipe_close(ln->pipe);
    link_queue_fini(&ln->news);
    link_queue_fini(&ln->queue);
    codec_arena_free(ln->arena);
    codec_arena_free(ln->probe);
    link_pool_fini(ln);
    link_packet_free(ln->orphan);
    link_kept_fini(&ln->kept);
    link_seqs_fini(&ln->large);
    link_cancels_fini(&ln->cancels);
    free(ln->held_eof);
    free((char *)(uintptr_t)ln->o.port);
    free((char *)(uintptr_t)ln->o.pattern);
    free((char *)(uintptr_t)ln->o.stage);
    link_token_free(ln->token);
    link_set_wake(ln->set); /* what was read here on behalf of other links may be news to the caller */
    free(ln);
}

static const char *own_text(const char *text)
{
    char *copy = strdup(text != NULL ? text : "");
    if (copy == NULL) abort();
    return copy;
}

static void take_options(struct link *ln, const struct link_options *o)
{
    ln->o = *o;
    ln->o.port = own_text(o->port);
    ln->o.pattern = own_text(o->pattern);
    ln->o.stage = own_text(o->stage);
    if (o->window_frames == 0) ln->o.window_frames = LINK_WINDOW_FRAMES;
    if (o->window_bytes == 0) ln->o.window_bytes = LINK_WINDOW_BYTES;
    if (o->reconnect_ms == 0) ln->o.reconnect_ms = LINK_RECONNECT_MS;
    if (o->silence_ms == 0) ln->o.silence_ms = LINK_SILENCE_MS;
    if (ln->o.window_bytes > WINDOW_BYTES_MAX) ln->o.window_bytes = WINDOW_BYTES_MAX;
    if (ln->role == LINK_RECEIVER) {
        ln->large_window = ln->o.window_frames;
        ln->window = o->window_frames == 0 ? LINK_WINDOW_SMALL : ln->o.window_frames;
    }
    ln->give_up_ns = status_now_ns() + (uint64_t)ln->o.reconnect_ms * LINK_MS;
    ln->wake_ns = ln->give_up_ns;
}

/* How many of the frames that come just now may be under way: for people. */
void link_show_window(const struct link *ln, bool large)
{
    uint64_t frames = large ? ln->large_window : ln->window;
    if (ln->o.status != NULL)
        atomic_store_explicit(&ln->o.status->window, (uint32_t)frames, memory_order_relaxed);
}

static void init_status(struct link *ln)
{
    struct status_link *s = ln->o.status;
    if (s == NULL) return;
    s->number = ln->o.address.number;
    s->outgoing = ln->role == LINK_SENDER;
    snprintf(s->port, sizeof s->port, "%.*s", (int)sizeof s->port - 1, ln->o.port);
    link_show_window(ln, true);
}

static thea_rc link_open(struct link **out, struct link_set *set, const struct link_options *o,
                         link_role role, struct thea_err *err)
{
    if (o->window_frames > LINK_WINDOW_FRAMES_MAX)
        return thea_fail(err, THEA_EUSAGE, "port '%s': a window of %llu frames; accepted are 1 to %d",
                         o->port, (unsigned long long)o->window_frames, LINK_WINDOW_FRAMES_MAX);
    struct link *ln = calloc(1, sizeof *ln);
    struct codec_arena *arena = codec_arena_new();
    if (ln == NULL || arena == NULL) {
        free(ln);
        codec_arena_free(arena);
        return thea_fail(err, THEA_EOS, "out of memory");
    }
    ln->set = set;
    ln->role = role;
    ln->arena = arena;
    take_options(ln, o);
    link_pool_init(ln);
    init_status(ln);
    link_set_add(set, ln);
    size_t in_max = (role == LINK_RECEIVER ? ln->window : 0) + QUEUE_SLACK;
    char *token;
    thea_rc rc = link_token_read(&token, &ln->o, err);
    ln->token = token;
    if (rc == THEA_OK) {
        struct link_message hello;
        link_hello_make(&hello, &ln->o, role, role == LINK_SENDER ? token : NULL);
        rc = link_pipe_open(&ln->pipe, set, &ln->o, role == LINK_SENDER, &hello, in_max, err);
    }
    if (rc == THEA_OK)
        *out = ln;
    else
        link_abort(ln);
    return rc;
}

/* What is seen of a receiver whose frames may wait on disk. */
static thea_rc open_spill(struct link **out, struct link_set *set, const struct link_options *o,
                          struct thea_err *err)
{
    struct link *ln = calloc(1, sizeof *ln);
    if (ln == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    ln->set = set;
    thea_rc rc = link_spill_open(&ln->spill, set, o, err);
    if (rc == THEA_OK)
        *out = ln;
    else
        free(ln);
    return rc;
}

static thea_rc close_spill(struct link *ln, struct thea_err *err)
{
    thea_rc rc = link_spill_close(ln->spill, err);
    link_set_wake(ln->set);
    free(ln);
    return rc;
}

thea_rc link_listen(struct link **out, struct link_set *set, const struct link_options *o,
                    struct thea_err *err)
{
    if (o->spill_bytes > 0) return open_spill(out, set, o, err);
    return link_open(out, set, o, LINK_RECEIVER, err);
}

thea_rc link_dial(struct link **out, struct link_set *set, const struct link_options *o, struct thea_err *err)
{
    return link_open(out, set, o, LINK_SENDER, err);
}

/* A receiver that closes reads on until eof, so that its sender is never stuck. */
static void read_on(struct link *ln)
{
    const struct frame *f;
    if (!ln->eof) link_stop(ln);
    while (link_peek(ln, &f, NULL) == THEA_OK) link_consume(ln);
}

/* All has arrived, as the owner knows: say goodbye to whoever is there, for LINK_BYE_MS at most. */
static thea_rc close_lasting(struct link *ln, struct thea_err *err)
{
    ln->closing = true;
    ln->bye_ns = status_now_ns();
    ln->wake_ns = ln->bye_ns; /* look at once */
    if (ln->role == LINK_RECEIVER) {
        link_tell_credit(ln);
        link_tell_bye(ln);
    }
    thea_rc rc = link_check(ln, err);
    while (rc == THEA_OK && ln->state == LINK_OPEN) {
        link_set_timer(ln->set);
        link_set_wait(ln->set);
        rc = link_check(ln, err);
    }
    destroy(ln);
    return rc;
}

thea_rc link_close(struct link *ln, struct thea_err *err)
{
    if (ln->spill != NULL) return close_spill(ln, err);
    if (ln->o.lasting) return close_lasting(ln, err);
    assert(ln->role == LINK_RECEIVER || ln->eof || ln->held_eof != NULL || ln->state == LINK_FAILED);
    for (;;) {
        if (ln->role == LINK_RECEIVER) read_on(ln);
        thea_rc rc = link_check(ln, err);
        if (rc != THEA_OK || ln->state == LINK_ENDED) {
            destroy(ln);
            return rc;
        }
        link_set_wait(ln->set);
    }
}

void link_abort(struct link *ln)
{
    if (ln == NULL) return;
    if (ln->spill == NULL) {
        destroy(ln);
        return;
    }
    link_spill_abort(ln->spill);
    free(ln);
}
