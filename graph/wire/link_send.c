/* The sender's half of a link: credit and sending. */
#include "graph/wire/link_impl.h"

#include <assert.h>
#include <stdlib.h>

/* Are all frames sent so far consumed, as far as we were told? */
static bool all_consumed(const struct link *ln)
{
    return ln->seq + ln->window == ln->limit_seq;
}

static bool has_credit(const struct link *ln, uint64_t bytes)
{
    if (ln->window == 0 || ln->resuming || ln->seq >= ln->limit_seq) return false;
    if (bytes >= LINK_LARGE_BYTES && ln->large.count >= ln->large_window) return false;
    if (bytes == 0 || all_consumed(ln)) return true; /* a frame larger than the window passes alone */
    return ln->bytes <= ln->limit_bytes && bytes <= ln->limit_bytes - ln->bytes;
}

static void check_credit(struct link *ln, const struct link_message *m)
{
    if (ln->window == 0 && (m->limit_seq < 1 || m->limit_seq > LINK_WINDOW_FRAMES_MAX || m->ack_seq != 0))
        link_fail(ln, THEA_EFRAME, "its first credit is for %llu frames, expected 1 to %d",
                  (unsigned long long)m->limit_seq, LINK_WINDOW_FRAMES_MAX);
    else if (m->limit_seq < ln->limit_seq || m->limit_bytes < ln->limit_bytes || m->ack_seq < ln->ack_seq)
        link_fail(ln, THEA_EFRAME, "its credit went back (frames %llu after %llu)",
                  (unsigned long long)m->limit_seq, (unsigned long long)ln->limit_seq);
    else if (m->ack_seq > ln->seq)
        link_fail(ln, THEA_EFRAME, "it acknowledged %llu frames of %llu sent", (unsigned long long)m->ack_seq,
                  (unsigned long long)ln->seq);
    else if (ln->resuming && ln->kept.count > 0 && m->ack_seq < link_kept_at(&ln->kept, 0)->seq)
        link_fail(ln, THEA_EFRAME, "it wants frames again that it had acknowledged, from %llu",
                  (unsigned long long)m->ack_seq);
    else if (ln->window != 0 && m->limit_seq - ln->window > m->ack_seq)
        link_fail(ln, THEA_EFRAME, "it gave credit for frames that it does not acknowledge");
}

static void put(struct link *ln, struct link_packet *m)
{
    link_pipe_send(ln->pipe, ln->session, m);
}

/* The session's first credit says what the other end has: send it the rest again. */
static void resume(struct link *ln)
{
    ln->resuming = false;
    for (size_t i = 0; i < ln->kept.count; i++)
        put(ln, link_packet_share(link_kept_at(&ln->kept, i)->packet));
}

uint64_t link_waiting(const struct link *ln)
{
    return ln->window == 0 ? ln->kept.count : ln->seq + ln->window - ln->limit_seq;
}

/* How much of the window is taken, for people: of that for large frames, if there are any. */
static void show_in_flight(struct link *ln)
{
    bool large = ln->large.count > 0;
    uint64_t taken = large ? ln->large.count : link_waiting(ln);
    if (ln->o.status == NULL) return;
    atomic_store_explicit(&ln->o.status->queue, (uint32_t)taken, memory_order_relaxed);
    link_show_window(ln, large);
}

void link_open_sender(struct link *ln)
{
    ln->resuming = true;
}

void link_reset_sender(struct link *ln, uint64_t epoch)
{
    size_t stale = link_kept_restart(&ln->kept, epoch);
    if (ln->o.status != NULL) link_count(&ln->o.status->stale, stale);
    ln->seq = ln->kept.count;
    ln->bytes = ln->limit_seq = ln->limit_bytes = ln->ack_seq = ln->window = 0;
    ln->large.count = 0;
    for (size_t i = 0; i < ln->kept.count; i++) {
        const struct link_kept_frame *k = link_kept_at(&ln->kept, i);
        ln->bytes += k->bytes;
        if (k->bytes >= LINK_LARGE_BYTES) link_seqs_push(&ln->large, k->seq);
    }
    ln->stopped = false;
    ln->eof = false;
    link_pool_reset_sender(ln);
    show_in_flight(ln);
}

void link_retire(struct link *ln)
{
    if (ln->stopped_epoch < ln->o.epoch)
        ln->stopped = false; /* the receiver says it again if it still holds */
    if (ln->held_eof == NULL || ln->held_eof->epoch >= ln->o.epoch) return;
    free(ln->held_eof);
    ln->held_eof = NULL;
}

void link_credit(struct link *ln, const struct link_message *m)
{
    check_credit(ln, m);
    if (ln->state == LINK_FAILED) return;
    bool is_first = ln->window == 0;
    if (is_first) {
        ln->window = m->limit_seq;
        ln->large_window = m->large != 0 && m->large < ln->window ? m->large : ln->window;
    }
    ln->limit_seq = m->limit_seq;
    ln->limit_bytes = m->limit_bytes;
    ln->ack_seq = m->ack_seq;
    link_seqs_drop(&ln->large, ln->limit_seq - ln->window);
    show_in_flight(ln);
    if (is_first) link_pool_window(ln);
    link_pool_release(ln);
    link_kept_acknowledge(&ln->kept, m->ack_seq);
    if (ln->resuming) resume(ln);
}

bool link_ready(struct link *ln, uint64_t bytes)
{
    link_pump(ln);
    if (ln->state == LINK_FAILED || ln->stopped) return true;
    link_pool_tell(ln);
    return ln->state == LINK_OPEN && has_credit(ln, bytes) && link_pool_settled(ln);
}

bool link_stopped(struct link *ln)
{
    link_pump(ln);
    return ln->stopped;
}

static thea_rc send_now(struct link *ln, const struct frame *f, uint64_t bytes, struct thea_err *err)
{
    struct frame numbered = *f;
    numbered.link_seq = ln->seq;
    numbered.sent_ns = status_now_ns();
    numbered.tensors = link_pool_take(ln, f);
    struct link_packet *m = NULL;
    thea_rc rc = link_encode_frame(&m, &numbered, err);
    if (rc != THEA_OK) return thea_fail_prefix(err, "link %u, port '%s'", ln->o.address.number, ln->o.port);
    link_kept_push(&ln->kept, (struct link_kept_frame){link_packet_share(m), ln->seq, bytes, f->epoch});
    if (ln->state == LINK_OPEN && !ln->resuming)
        put(ln, m);
    else
        link_packet_free(m); /* the pipe went just now: it is sent when the next is there */
    if (bytes >= LINK_LARGE_BYTES) link_seqs_push(&ln->large, ln->seq);
    ln->seq++;
    ln->bytes += bytes;
    ln->eof = f->kind == FRAME_EOF && !ln->o.lasting;
    if (ln->o.status == NULL) return THEA_OK;
    show_in_flight(ln);
    link_count(&ln->o.status->frames, 1);
    link_count(&ln->o.status->bytes, bytes);
    return THEA_OK;
}

bool link_cancelled(struct link *ln, uint64_t stream, uint32_t attempt)
{
    link_pump(ln);
    return link_cancels_has(&ln->cancels, stream, attempt, ln->o.epoch);
}

/* Does nobody want this frame? The one that ends a cancelled stream goes, so that the other end can forget
 * it. */
static bool is_unwanted(struct link *ln, const struct frame *f)
{
    if (ln->stopped) return true;
    return link_cancels_match(&ln->cancels, f) &&
           link_cancels_has(&ln->cancels, f->stream, f->attempt, f->epoch);
}

thea_rc link_send(struct link *ln, const struct frame *f, struct thea_err *err)
{
    assert(ln->role == LINK_SENDER && !ln->eof && (ln->held_eof == NULL || ln->o.lasting));
    link_pump(ln);
    if (ln->state == LINK_FAILED) return link_check(ln, err);
    uint64_t bytes = frame_tensor_bytes(f);
    if (!is_unwanted(ln, f)) {
        assert(ln->state != LINK_OPEN || has_credit(ln, bytes));
        return send_now(ln, f, bytes, err);
    }
    if (ln->stopped && f->kind == FRAME_EOF) {
        free(ln->held_eof);
        ln->held_eof = frame_copy(f);
        link_try_finish(ln);
    } else if (ln->o.status != NULL) {
        link_count(&ln->o.status->unwanted, 1);
    }
    return link_check(ln, err);
}

/* A stopped link's eof waits here for credit; it has no tensors, so it needs one frame of it. */
static void send_held(struct link *ln)
{
    if (ln->held_eof == NULL || !has_credit(ln, 0)) return;
    struct thea_err err;
    ln->held_eof->tensor_count = 0;
    thea_rc rc = send_now(ln, ln->held_eof, 0, &err);
    free(ln->held_eof);
    ln->held_eof = NULL;
    if (rc != THEA_OK) link_fail(ln, rc, "%s", err.message);
}

void link_try_finish(struct link *ln)
{
    if (ln->state != LINK_OPEN) return;
    send_held(ln);
    bool last = ln->o.lasting ? ln->closing : ln->eof;
    if (!last || ln->ack_seq != ln->seq) return;
    link_tell_bye(ln);
    if (!ln->bye_got) return;
    /* The sender closes first: so the receiver's BYE cannot be lost in a socket that closes, and all frames
     * are in its memory. */
    ln->state = LINK_ENDED;
    link_pipe_end(ln->pipe);
}
