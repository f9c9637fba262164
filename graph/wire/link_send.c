/* The sender's half of a link: credit and sending (fabric.md section 3). */
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
    if (ln->window == 0 || ln->seq >= ln->limit_seq) return false;
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
    else if (ln->window != 0 && m->limit_seq - ln->window > m->ack_seq)
        link_fail(ln, THEA_EFRAME, "it gave credit for frames that it does not acknowledge");
}

void link_credit(struct link *ln, const struct link_message *m)
{
    check_credit(ln, m);
    if (ln->state == LINK_FAILED) return;
    if (ln->window == 0) {
        ln->window = m->limit_seq;
        if (ln->o.status != NULL) atomic_store(&ln->o.status->window, (uint32_t)ln->window);
    }
    ln->limit_seq = m->limit_seq;
    ln->limit_bytes = m->limit_bytes;
    ln->ack_seq = m->ack_seq;
}

bool link_ready(struct link *ln, uint64_t bytes)
{
    link_pump(ln);
    return ln->state == LINK_FAILED || ln->stopped || (ln->state == LINK_OPEN && has_credit(ln, bytes));
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
    nng_msg *m = NULL;
    thea_rc rc = link_encode_frame(&m, &numbered, err);
    if (rc != THEA_OK) return thea_fail_prefix(err, "link %u, port '%s'", ln->o.address.number, ln->o.port);
    link_pipe_send(ln->pipe, m);
    ln->seq++;
    ln->bytes += bytes;
    ln->eof = f->kind == FRAME_EOF;
    if (ln->o.status == NULL) return THEA_OK;
    atomic_fetch_add_explicit(&ln->o.status->frames, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&ln->o.status->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&ln->o.status->copied_bytes, bytes, memory_order_relaxed);
    return THEA_OK;
}

thea_rc link_send(struct link *ln, const struct frame *f, struct thea_err *err)
{
    assert(ln->role == LINK_SENDER && !ln->eof && ln->held_eof == NULL);
    link_pump(ln);
    if (ln->state == LINK_FAILED) return link_check(ln, err);
    uint64_t bytes = frame_tensor_bytes(f);
    if (!ln->stopped) {
        assert(ln->state == LINK_OPEN && has_credit(ln, bytes));
        return send_now(ln, f, bytes, err);
    }
    if (f->kind == FRAME_EOF) {
        ln->held_eof = frame_copy(f);
        link_try_finish(ln);
    } else if (ln->o.status != NULL) {
        atomic_fetch_add_explicit(&ln->o.status->unwanted, 1, memory_order_relaxed);
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
    if (!ln->eof || ln->ack_seq != ln->seq) return;
    if (!ln->bye_sent) {
        link_tell(ln, &(struct link_message){.kind = LINK_BYE, .reason = "end of input"});
        ln->bye_sent = true;
        ln->bye_ns = status_now_ns();
    }
    if (!ln->bye_got) return;
    /* The sender closes first: so the receiver's BYE cannot be lost in a socket that closes, and all frames
     * are in its memory. */
    ln->state = LINK_ENDED;
    link_pipe_end(ln->pipe, ln->session);
}
