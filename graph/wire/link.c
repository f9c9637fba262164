/* The session of a link: who may sit at its other end, HELLO, loss, BYE, errors: see link.h, and link_impl.h
 * for the parts. */
#include "graph/wire/link_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REFUSED_PIPES = 5, QUEUE_SLACK = 16 };
#define MS               ((uint64_t)1000000)
#define WINDOW_BYTES_MAX ((uint64_t)1 << 62)

/* --- errors --- */

static const char *other_end(const struct link *ln)
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
    const char *where = ln->session != 0 ? "" : ln->o.address.url;
    thea_fail(&ln->trouble, rc, "link %u, port '%s', %s %s%s%s%s: %s", ln->o.address.number, ln->o.port,
              other_end(ln), link_peer(ln), *where ? " (" : "", where, *where ? ")" : "", text);
    ln->state = LINK_FAILED;
    ln->wake_ns = 0;
    if (ln->session != 0)
        link_pipe_settle(ln->pipe); /* nothing more is read; the pipe is closed with the link */
    link_set_wake(ln->set);
    return rc;
}

thea_rc link_check(struct link *ln, struct thea_err *err)
{
    link_pump(ln);
    if (ln->state != LINK_FAILED) return THEA_OK;
    if (err != NULL) *err = ln->trouble;
    return ln->trouble.rc;
}

const char *link_peer(const struct link *ln)
{
    return ln->peer[0] != '\0' ? ln->peer : "nobody yet";
}

void link_tell(struct link *ln, const struct link_message *m)
{
    nng_msg *msg = NULL;
    struct thea_err err;
    if (ln->lost) return;
    thea_rc rc = link_encode_message(&msg, m, &err);
    if (rc == THEA_OK)
        link_pipe_send(ln->pipe, msg);
    else
        link_fail(ln, rc, "%s", err.message);
}

/* --- greeting --- */

static void drop_greeting(struct link *ln)
{
    ln->dropped++;
    link_pipe_drop(ln->greeting);
}

/* What is in the seat is not our peer. A receiver waits for a better one, a sender has dialled the wrong
 * address. */
static void refuse_stranger(struct link *ln, const char *why)
{
    snprintf(ln->last_refusal, sizeof ln->last_refusal, "%.*s", (int)sizeof ln->last_refusal - 1, why);
    if (ln->role == LINK_SENDER) link_fail(ln, THEA_EFRAME, "%s", why);
}

static void tell_refuse(struct link *ln, const struct hello_difference *d)
{
    link_tell(ln, &(struct link_message){.kind = LINK_REFUSE,
                                         .reason = "the ends do not fit",
                                         .expected = d->expected,
                                         .found = d->found});
}

static void open_session(struct link *ln, uint32_t pipe)
{
    ln->session = pipe;
    ln->state = LINK_OPEN;
    if (ln->role == LINK_SENDER) return;
    link_tell_credit(ln);
    if (ln->stopped) link_tell(ln, &(struct link_message){.kind = LINK_STOP});
}

static void judge_hello(struct link *ln, const struct link_message *hello, uint32_t pipe, int32_t pid)
{
    struct hello_difference d;
    char why[600];
    hello_verdict verdict = link_hello_check(&ln->o, ln->role, hello, &d);
    if (verdict != HELLO_STRANGER) snprintf(ln->peer, sizeof ln->peer, "pid %d", pid > 0 ? pid : hello->pid);
    if (verdict == HELLO_FITS) {
        open_session(ln, pipe);
        return;
    }
    snprintf(why, sizeof why, "the other end does not fit: expected %s, found %s", d.expected, d.found);
    tell_refuse(ln, &d);
    ln->refused = true;
    ln->greeting_ns = status_now_ns() + LINK_REFUSE_MS * MS;
    if (verdict == HELLO_MISFIT)
        link_fail(ln, THEA_EFRAME, "%s", why);
    else
        refuse_stranger(ln, why);
}

static void begin_greeting(struct link *ln, uint32_t pipe)
{
    ln->greeting = pipe;
    ln->greeting_ns = status_now_ns() + LINK_HELLO_MS * MS;
    ln->refused = false;
}

/* A message while nobody sits there in order: HELLO, or its pipe is closed. */
static void greet(struct link *ln, nng_msg *m, const struct link_news *news)
{
    uint32_t pipe = (uint32_t)nng_msg_get_pipe(m).id;
    if (pipe != news->current || (pipe == ln->greeting && ln->refused)) return;
    if (ln->greeting != pipe) begin_greeting(ln, pipe);
    struct link_message hello;
    struct thea_err err = {0};
    thea_rc rc = codec_decode_link(&hello, nng_msg_body(m), nng_msg_len(m), &err);
    if (rc == THEA_OK && hello.kind == LINK_HELLO) {
        judge_hello(ln, &hello, pipe, news->pid);
        return;
    }
    char why[256];
    snprintf(why, sizeof why, "what answered does not speak this protocol (%.160s)",
             rc != THEA_OK ? err.message : "its first message is no HELLO");
    drop_greeting(ln);
    ln->refused = true;
    refuse_stranger(ln, why);
}

/* --- session --- */

static void refused_by_peer(struct link *ln, const struct link_message *m)
{
    char reason[128], expected[256], found[256];
    link_fail(ln, THEA_EFRAME, "refused: %s: expected %s, found %s",
              link_clean(reason, sizeof reason, m->reason),
              link_clean(expected, sizeof expected, m->expected), link_clean(found, sizeof found, m->found));
}

static void got_bye(struct link *ln, const struct link_message *m)
{
    char reason[128];
    ln->bye_got = true;
    if (ln->role == LINK_RECEIVER && !link_ends_with_eof(ln))
        link_fail(ln, THEA_ECLOSED, "it said goodbye before its eof frame (%s)",
                  link_clean(reason, sizeof reason, m->reason));
    if (ln->role == LINK_SENDER && !ln->eof)
        link_fail(ln, THEA_ECLOSED, "it said goodbye before it had all (%s)",
                  link_clean(reason, sizeof reason, m->reason));
}

static void handle_link_message(struct link *ln, const struct link_message *m)
{
    bool from_receiver = ln->role == LINK_SENDER;
    switch (m->kind) {
    case LINK_HELLO: break; /* said again: one that waited for a pipe that went */
    case LINK_CREDIT:
    case LINK_STOP:
        if (!from_receiver)
            link_fail(ln, THEA_EFRAME, "a sender sent credit or STOP");
        else if (m->kind == LINK_STOP)
            ln->stopped = true;
        else
            link_credit(ln, m);
        break;
    case LINK_BYE: got_bye(ln, m); break;
    case LINK_REFUSE: refused_by_peer(ln, m); break;
    default: break; /* of a later part of the protocol, none of which is needed to be safe */
    }
}

/* A message of the session. Takes over m. */
static void handle(struct link *ln, nng_msg *m)
{
    codec_kind kind = codec_identify(nng_msg_body(m), nng_msg_len(m));
    if (kind == CODEC_FRAME && ln->role == LINK_RECEIVER) {
        link_arrive(ln, m);
        return;
    }
    struct link_message message;
    struct thea_err err;
    if (kind == CODEC_FRAME)
        link_fail(ln, THEA_EFRAME, "a receiver sent a frame");
    else if (codec_decode_link(&message, nng_msg_body(m), nng_msg_len(m), &err) != THEA_OK)
        link_fail(ln, THEA_EFRAME, "%s", err.message);
    else
        handle_link_message(ln, &message);
    nng_msg_free(m);
}

static void handle_all(struct link *ln, const struct link_news *news)
{
    for (nng_msg *m; (m = link_queue_pop(&ln->news)) != NULL;) {
        bool ours = ln->state == LINK_OPEN && (uint32_t)nng_msg_get_pipe(m).id == ln->session;
        if (ours) {
            handle(ln, m);
            continue;
        }
        if (ln->state == LINK_DOWN) greet(ln, m, news);
        nng_msg_free(m);
    }
}

/* The session's pipe is gone. What had arrived is handled first: it may hold the eof or the BYE that make
 * this an orderly end. */
static void lose(struct link *ln)
{
    struct link_news news;
    link_pipe_settle(ln->pipe);
    link_pipe_take(ln->pipe, &ln->news, &news);
    handle_all(ln, &news);
    ln->lost = true;
    if (ln->state != LINK_OPEN) return;
    if (ln->role == LINK_RECEIVER) {
        if (ln->eof)
            ln->state = LINK_ENDED;
        else if (!link_ends_with_eof(ln))
            link_fail(ln, THEA_ECLOSED, "lost before its eof frame, after %llu frames",
                      (unsigned long long)ln->arrived);
        return;
    }
    if (ln->eof && ln->bye_got && ln->ack_seq == ln->seq)
        ln->state = LINK_ENDED;
    else
        link_fail(ln, THEA_ECLOSED, "lost before its goodbye, with %llu of %llu frames acknowledged",
                  (unsigned long long)ln->ack_seq, (unsigned long long)ln->seq);
}

/* --- time --- */

static void nobody_came(struct link *ln)
{
    char why[400] = "";
    if (ln->last_refusal[0] != '\0')
        snprintf(why, sizeof why, "; last refused: %s", ln->last_refusal);
    else if (ln->strangers > 0)
        snprintf(why, sizeof why, "; turned away: %u of another user", ln->strangers);
    else if (ln->greeting != 0)
        snprintf(why, sizeof why, "; somebody connected and said nothing");
    link_fail(ln, THEA_ETIMEOUT, "no %s came within %.1f s%s", other_end(ln), ln->o.reconnect_ms / 1000.0,
              why);
}

/* Down: give up at last, close a pipe that says nothing, notice that our place is taken. */
static void check_down(struct link *ln, const struct link_news *news, uint64_t now)
{
    if (news->current != ln->greeting) begin_greeting(ln, news->current);
    if (ln->greeting != 0 && now >= ln->greeting_ns) {
        drop_greeting(ln);
        ln->greeting_ns = now + LINK_HELLO_MS * MS;
    }
    unsigned unheard = news->lost > ln->dropped ? news->lost - ln->dropped : 0;
    if (ln->role == LINK_SENDER && unheard > 0 && ln->refused_ns == 0) {
        ln->refused_ns = now;
        link_pipe_redial_slowly(ln->pipe);
    }
    if (unheard >= REFUSED_PIPES && ln->refused_ns != 0 && now - ln->refused_ns >= LINK_TAKEN_MS * MS)
        link_fail(ln, THEA_EBUSY,
                  "the place is taken: its receiver closed %u connections unheard, as it does when it has a "
                  "sender already",
                  unheard);
    else if (now >= ln->give_up_ns)
        nobody_came(ln);
    ln->wake_ns = ln->state != LINK_DOWN                                  ? 0
                  : ln->greeting != 0 && ln->greeting_ns < ln->give_up_ns ? ln->greeting_ns
                                                                          : ln->give_up_ns;
}

/* Open: only a goodbye has a deadline. */
static void check_open(struct link *ln, uint64_t now)
{
    ln->wake_ns = 0;
    if (ln->role == LINK_SENDER) link_try_finish(ln);
    if (ln->state != LINK_OPEN || !ln->bye_sent) return;
    ln->wake_ns = ln->bye_ns + LINK_BYE_MS * MS;
    if (now < ln->wake_ns) return;
    ln->wake_ns = 0;
    ln->state = LINK_ENDED; /* all is acknowledged; it was only slow to say so */
    link_pipe_end(ln->pipe, ln->session);
}

void link_pump(struct link *ln)
{
    if (ln->state == LINK_FAILED || ln->state == LINK_ENDED) return;
    bool news = atomic_load_explicit(&ln->pipe->news, memory_order_acquire);
    uint64_t now = news || ln->wake_ns != 0 ? status_now_ns() : 0;
    if (!news && (ln->wake_ns == 0 || now < ln->wake_ns)) return;
    struct link_news what;
    link_pipe_take(ln->pipe, &ln->news, &what);
    ln->strangers = what.strangers;
    handle_all(ln, &what);
    if (ln->state == LINK_OPEN && !ln->lost && what.current != ln->session) lose(ln);
    uint64_t wake = ln->wake_ns;
    if (ln->state == LINK_DOWN)
        check_down(ln, &what, now);
    else if (ln->state == LINK_OPEN)
        check_open(ln, now);
    if (ln->wake_ns != wake) link_set_timer(ln->set);
}

/* --- life --- */

static void destroy(struct link *ln)
{
    link_set_remove(ln->set, ln);
    link_pipe_close(ln->pipe, ln->state == LINK_ENDED);
    link_queue_fini(&ln->news);
    link_queue_fini(&ln->queue);
    codec_arena_free(ln->arena);
    codec_arena_free(ln->probe);
    free(ln->held_eof);
    free((char *)(uintptr_t)ln->o.port);
    free((char *)(uintptr_t)ln->o.pattern);
    free((char *)(uintptr_t)ln->o.stage);
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
    if (ln->o.window_bytes > WINDOW_BYTES_MAX) ln->o.window_bytes = WINDOW_BYTES_MAX;
    if (ln->role == LINK_RECEIVER) ln->window = ln->o.window_frames;
    ln->give_up_ns = status_now_ns() + (uint64_t)ln->o.reconnect_ms * MS;
    ln->wake_ns = ln->give_up_ns;
}

static void init_status(struct link *ln)
{
    struct status_link *s = ln->o.status;
    if (s == NULL) return;
    s->number = ln->o.address.number;
    s->outgoing = ln->role == LINK_SENDER;
    snprintf(s->port, sizeof s->port, "%.*s", (int)sizeof s->port - 1, ln->o.port);
    atomic_store(&s->window, (uint32_t)ln->window);
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
    init_status(ln);
    link_set_add(set, ln);
    size_t in_max = (role == LINK_RECEIVER ? ln->o.window_frames : 0) + QUEUE_SLACK;
    nng_msg *hello = link_hello_make(&ln->o, role, err);
    thea_rc rc = hello == NULL ? THEA_EOS
                               : link_pipe_open(&ln->pipe, set, o->address.url, role == LINK_SENDER, hello,
                                                in_max, err);
    if (rc == THEA_OK)
        *out = ln;
    else
        link_abort(ln);
    return rc;
}

thea_rc link_listen(struct link **out, struct link_set *set, const struct link_options *o,
                    struct thea_err *err)
{
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

thea_rc link_close(struct link *ln, struct thea_err *err)
{
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
    if (ln != NULL) destroy(ln);
}
