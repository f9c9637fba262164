/* The session of a link: greeting, resume or reset, loss, goodbye.
 *
 * Invariant: whether a session goes on is decided by what the two HELLOs of its pipe say and nothing else, so
 * that both ends decide alike. It goes on if each end is, to the other's knowledge, the process it was. Else
 * both begin at frame 0. */
#include "graph/wire/link_impl.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- greeting --- */

void link_drop_greeting(struct link *ln)
{
    ln->dropped++;
    link_pipe_drop(ln->pipe, ln->greeting);
}

void link_begin_greeting(struct link *ln, uint32_t pipe)
{
    ln->greeting = pipe;
    ln->greeting_ns = status_now_ns() + LINK_HELLO_MS * LINK_MS;
    ln->refused = false;
}

/* What is in the seat is not our peer. A receiver waits for a better one, a sender that has never met its
 * receiver has dialled the wrong address. */
static void refuse_stranger(struct link *ln, const char *why)
{
    snprintf(ln->last_refusal, sizeof ln->last_refusal, "%.*s", (int)sizeof ln->last_refusal - 1, why);
    if (ln->role == LINK_SENDER && !ln->met) link_fail(ln, THEA_EFRAME, "%s", why);
}

static const char not_permitted[] = "not permitted"; /* of a REFUSE: that it leads to THEA_EPERM */

static void refuse(struct link *ln, hello_verdict verdict, const struct hello_difference *d)
{
    char why[600];
    struct link_packet *msg;
    struct link_message m = {.kind = LINK_REFUSE,
                             .reason = verdict == HELLO_FORBIDDEN ? not_permitted : "the ends do not fit",
                             .expected = d->expected,
                             .found = d->found};
    if (link_encode_message(&msg, &m, NULL) == THEA_OK) link_pipe_send(ln->pipe, ln->greeting, msg);
    ln->refused = true;
    ln->greeting_ns = status_now_ns() + LINK_REFUSE_MS * LINK_MS;
    snprintf(why, sizeof why, "the other end does not fit: expected %s, found %s", d->expected, d->found);
    if (verdict == HELLO_MISFIT)
        link_fail(ln, THEA_EFRAME, "%s", why);
    else
        refuse_stranger(ln, why);
}

/* Does the session go on? */
static bool same_pair(const struct link *ln, const struct link_said *said, const struct link_message *hello)
{
    return ln->met && said->peer_pid == hello->pid && said->peer_incarnation == hello->incarnation &&
           hello->peer_pid == (int32_t)getpid() && hello->peer_incarnation == ln->o.incarnation;
}

/* Is it the process that should be here: none that was replaced, and on a link that does not last, none but
 * the first? */
static hello_verdict check_process(const struct link *ln, const struct link_message *hello,
                                   struct hello_difference *d)
{
    if (!ln->met) return HELLO_FITS;
    if (ln->o.lasting && hello->incarnation < ln->known.peer_incarnation) {
        snprintf(d->expected, sizeof d->expected, "incarnation %u or later", ln->known.peer_incarnation);
        snprintf(d->found, sizeof d->found, "incarnation %u, which was replaced", hello->incarnation);
        return HELLO_STRANGER;
    }
    if (!ln->o.lasting && (hello->pid != ln->known.peer_pid)) {
        snprintf(d->expected, sizeof d->expected, "pid %d, whose connection was lost", ln->known.peer_pid);
        snprintf(d->found, sizeof d->found, "pid %d", hello->pid);
        return HELLO_STRANGER;
    }
    return HELLO_FITS;
}

static void know_peer(struct link *ln, const struct link_message *hello, const struct link_news *news)
{
    bool here = news->pid > 0 || strcmp(hello->host, ln->pipe->hello.host) == 0;
    int32_t pid = news->pid > 0 ? news->pid : hello->pid;
    ln->watch_pid = here ? pid : 0;
    ln->same_host = strcmp(hello->host, region_host()) == 0;
    snprintf(ln->peer, sizeof ln->peer, "pid %d", pid);
    ln->known = (struct link_said){hello->incarnation, hello->pid};
    if (hello->epoch > ln->peer_epoch) ln->peer_epoch = hello->epoch;
}

static void open_session(struct link *ln, const struct link_message *hello, const struct link_news *news)
{
    bool goes_on = same_pair(ln, &news->said, hello);
    ln->session = news->current;
    ln->state = LINK_OPEN;
    ln->bye_sent = ln->bye_got = false;
    know_peer(ln, hello, news);
    if (ln->met && !goes_on) {
        link_cancels_retire(&ln->cancels, UINT64_MAX);
        if (ln->role == LINK_SENDER)
            link_reset_sender(ln, hello->epoch);
        else
            link_reset_receiver(ln);
    }
    if (goes_on) link_pool_resume(ln);
    ln->met = true;
    link_pipe_session(ln->pipe, ln->session, &ln->known);
    if (ln->role == LINK_SENDER)
        link_open_sender(ln);
    else
        link_open_receiver(ln);
}

static void judge_hello(struct link *ln, const struct link_message *hello, const struct link_news *news)
{
    struct hello_difference d;
    hello_verdict verdict = link_hello_check(ln, hello, &d);
    if (verdict == HELLO_FITS) verdict = check_process(ln, hello, &d);
    if (verdict == HELLO_FITS) {
        open_session(ln, hello, news);
        return;
    }
    if (verdict == HELLO_MISFIT)
        snprintf(ln->peer, sizeof ln->peer, "pid %d", news->pid > 0 ? news->pid : hello->pid);
    refuse(ln, verdict, &d);
}

/* The other end refuses us, whom we may have found to fit. */
static void refused_by_peer(struct link *ln, const struct link_message *m)
{
    char reason[128], expected[256], found[256];
    thea_rc rc = strcmp(m->reason, not_permitted) == 0 ? THEA_EPERM : THEA_EFRAME;
    link_fail(ln, rc, "refused: %s: expected %s, found %s", link_clean(reason, sizeof reason, m->reason),
              link_clean(expected, sizeof expected, m->expected), link_clean(found, sizeof found, m->found));
}

/* A message while nobody sits there in order: HELLO, or its pipe is closed. */
static void greet(struct link *ln, struct link_packet *m, const struct link_news *news)
{
    uint32_t pipe = m->conn;
    if (pipe != news->current || (pipe == ln->greeting && ln->refused)) return;
    if (ln->greeting != pipe) link_begin_greeting(ln, pipe);
    struct link_message hello;
    struct thea_err err = {0};
    thea_rc rc = codec_decode_link(&hello, m->bytes, m->size, &err);
    if (rc == THEA_OK && hello.kind == LINK_HELLO) {
        judge_hello(ln, &hello, news);
        return;
    }
    char why[256];
    snprintf(why, sizeof why, "what answered does not speak this protocol (%.160s)",
             rc != THEA_OK ? err.message : "its first message is no HELLO");
    link_drop_greeting(ln);
    ln->refused = true;
    refuse_stranger(ln, why);
}

/* --- session --- */

static void got_bye(struct link *ln, const struct link_message *m)
{
    char reason[128];
    ln->bye_got = true;
    if (ln->o.lasting) return;
    if (ln->role == LINK_RECEIVER && !link_ends_with_eof(ln))
        link_fail(ln, THEA_ECLOSED, "it said goodbye before its eof frame (%s)",
                  link_clean(reason, sizeof reason, m->reason));
    if (ln->role == LINK_SENDER && !ln->eof)
        link_fail(ln, THEA_ECLOSED, "it said goodbye before it had all (%s)",
                  link_clean(reason, sizeof reason, m->reason));
}

static void handle_of_receiver(struct link *ln, const struct link_message *m)
{
    if (ln->role != LINK_SENDER) {
        link_fail(ln, THEA_EFRAME, "a sender sent credit, STOP or CANCEL");
        return;
    }
    if (m->kind == LINK_CREDIT) {
        link_credit(ln, m);
    } else if (m->epoch >= ln->o.epoch && m->kind == LINK_STOP) {
        ln->stopped = true;
        ln->stopped_epoch = m->epoch;
    } else if (m->epoch >= ln->o.epoch) {
        link_cancels_add(&ln->cancels, (struct link_cancelled){m->stream, m->epoch, m->attempt});
    }
}

static void handle_pool(struct link *ln, const struct link_message *m)
{
    if ((ln->role == LINK_SENDER) != (m->kind == LINK_POOL_OK))
        link_fail(ln, THEA_EFRAME,
                  m->kind == LINK_POOL ? "a receiver offered a pool" : "a sender answered for a pool");
    else if (m->kind == LINK_POOL)
        link_pool_offered(ln, m);
    else
        link_pool_answered(ln, m);
}

static void handle_link_message(struct link *ln, const struct link_message *m)
{
    switch (m->kind) {
    case LINK_CREDIT:
    case LINK_STOP:
    case LINK_CANCEL: handle_of_receiver(ln, m); break;
    case LINK_BYE: got_bye(ln, m); break;
    case LINK_POOL:
    case LINK_POOL_OK: handle_pool(ln, m); break;
    case LINK_REFUSE: refused_by_peer(ln, m); break;
    case LINK_HELLO: /* said again */
    default: break;  /* of a later part of the protocol, none of which is needed to be safe */
    }
}

/* A message of the session. Takes over m. */
static void handle(struct link *ln, struct link_packet *m)
{
    codec_kind kind = codec_identify(m->bytes, m->size);
    if (kind == CODEC_FRAME && ln->role == LINK_RECEIVER) {
        link_arrive(ln, m);
        return;
    }
    struct link_message message;
    struct thea_err err;
    if (kind == CODEC_FRAME)
        link_fail(ln, THEA_EFRAME, "a receiver sent a frame");
    else if (codec_decode_link(&message, m->bytes, m->size, &err) != THEA_OK)
        link_fail(ln, THEA_EFRAME, "%s", err.message);
    else
        handle_link_message(ln, &message);
    link_packet_free(m);
}

void link_handle_all(struct link *ln, const struct link_news *news)
{
    for (struct link_packet *m; (m = link_queue_pop(&ln->news)) != NULL;) {
        uint32_t pipe = m->conn;
        if (ln->state == LINK_OPEN && !ln->lost && pipe == ln->session) {
            handle(ln, m);
            continue;
        }
        /* The next pipe speaks: the session's is gone, and brings nothing any more. */
        if (ln->state == LINK_OPEN && !ln->lost && pipe == news->current) link_lose(ln, news);
        if (ln->state == LINK_DOWN) greet(ln, m, news);
        link_packet_free(m);
    }
}

/* --- loss --- */

/* Can the process that was there still come back? One in our own process that left has left for good. */
bool link_may_come_back(const struct link *ln)
{
    if (ln->o.lasting || ln->watch_pid == 0) return true;
    return ln->watch_pid != (int32_t)getpid() && link_process_lives(ln->watch_pid);
}

void link_lost_for_good(struct link *ln)
{
    ln->lost = true;
    if (ln->role == LINK_RECEIVER)
        link_fail(ln, THEA_ECLOSED, "lost before its eof frame, after %llu frames",
                  (unsigned long long)ln->arrived);
    else
        link_fail(ln, THEA_ECLOSED, "lost before its goodbye, with %llu of %llu frames acknowledged",
                  (unsigned long long)ln->ack_seq, (unsigned long long)ln->seq);
}

static void go_down(struct link *ln, const struct link_news *news)
{
    ln->state = LINK_DOWN;
    ln->session = 0;
    ln->greeting = 0;
    ln->refused = false;
    ln->last_refusal[0] = '\0';
    ln->dropped = news->lost;
    ln->refused_ns = 0;
    ln->resuming = false;
    ln->give_up_ns = status_now_ns() + (uint64_t)ln->o.reconnect_ms * LINK_MS;
    ln->wake_ns = ln->give_up_ns;
    if (!ln->closing) ln->bye_ns = 0;
}

/* Was it an orderly end, or will it be one when what came has been read? */
static bool ends_well(struct link *ln)
{
    if (ln->o.lasting) return false;
    if (ln->role == LINK_RECEIVER) return link_ends_with_eof(ln);
    return ln->eof && ln->ack_seq == ln->seq && (ln->bye_got || link_may_come_back(ln));
}

void link_lose(struct link *ln, const struct link_news *news)
{
    if (ends_well(ln)) {
        ln->lost = true;
        if (ln->role == LINK_SENDER || ln->eof) ln->state = LINK_ENDED;
        link_pipe_shut(ln->pipe);
    } else if (link_may_come_back(ln)) {
        go_down(ln, news);
    } else {
        link_lost_for_good(ln);
    }
}
