/* The receiver's half of a link: the window, credit, stop.
 * Invariant: a frame stays in `queue` until it is consumed, and no more are there than were allowed. */
#include "graph/wire/link_impl.h"

#include <assert.h>

/* What a frame's message may have beside the tensor bytes that its sender pays for: names, attributes,
 * padding. */
enum { PROBE_BYTES = 4096, CREDIT_LATE_MS = 2 };
#define OVERHEAD_MAX ((uint64_t)FRAME_ATTRS_MAX * ATTR_TEXT_MAX + ((uint64_t)1 << 20))

void link_tell_credit(struct link *ln)
{
    ln->credit_ns = 0;
    ln->large_owed = 0;
    ln->ack_seq = ln->arrived;
    ln->limit_seq = ln->seq + ln->window;
    ln->limit_bytes = ln->bytes + ln->o.window_bytes;
    link_tell(ln, &(struct link_message){.kind = LINK_CREDIT,
                                         .ack_seq = ln->ack_seq,
                                         .limit_seq = ln->limit_seq,
                                         .limit_bytes = ln->limit_bytes,
                                         .large = (uint32_t)ln->large_window});
}

/* Is this much in memory what an honest sender may have sent? A first check, before anything is decoded:
 * tensors are checked one by one when their turn comes. The largest message may be a frame that passed alone.
 */
static bool too_much(const struct link *ln)
{
    uint64_t allowed = ln->o.window_bytes + ln->queue.count * OVERHEAD_MAX;
    if (ln->queued_bytes <= allowed) return false;
    uint64_t largest = 0;
    for (size_t i = 0; i < ln->queue.count; i++) {
        uint64_t n = link_queue_at(&ln->queue, i)->size;
        if (n > largest) largest = n;
    }
    return ln->queued_bytes - largest > allowed;
}

static void tell_cancel(struct link *ln, const struct link_cancelled *what)
{
    link_tell(
        ln, &(struct link_message){
                .kind = LINK_CANCEL, .stream = what->stream, .attempt = what->attempt, .epoch = what->epoch});
}

static void set_queue_gauge(struct link *ln)
{
    if (ln->o.status != NULL)
        atomic_store_explicit(&ln->o.status->queue, (uint32_t)ln->queue.count, memory_order_relaxed);
}

void link_arrive(struct link *ln, struct link_packet *m)
{
    ln->queued_bytes += m->size;
    link_queue_push(&ln->queue, m);
    ln->arrived++;
    set_queue_gauge(ln);
    if (ln->eof)
        link_fail(ln, THEA_EFRAME, "frames came after its eof frame");
    else if (ln->arrived > ln->limit_seq)
        link_fail(ln, THEA_EFRAME, "it sent frame %llu with credit for %llu",
                  (unsigned long long)ln->arrived - 1, (unsigned long long)ln->limit_seq);
    else if (too_much(ln))
        link_fail(ln, THEA_EFRAME, "it sent %llu bytes into a window of %llu",
                  (unsigned long long)ln->queued_bytes, (unsigned long long)ln->o.window_bytes);
}

/* The first frame's number and bytes against what its sender was allowed. */
static bool head_is_due(struct link *ln)
{
    const struct frame *f = &ln->head;
    if (f->link_seq != ln->seq) {
        link_fail(ln, THEA_EFRAME, "frame %llu came where %llu was due: %s", (unsigned long long)f->link_seq,
                  (unsigned long long)ln->seq, f->link_seq < ln->seq ? "a repeat" : "a gap");
        return false;
    }
    /* limit_bytes was told with `limit_seq - window` frames consumed; a frame that comes right after those
     * may be of any size. */
    uint64_t bytes = frame_tensor_bytes(f), before = ln->limit_seq - ln->window;
    if (bytes == 0 || ln->seq == before || ln->bytes + bytes <= ln->limit_bytes) return true;
    link_fail(ln, THEA_EFRAME, "frame %llu has %llu tensor bytes, its credit was for %llu",
              (unsigned long long)f->link_seq, (unsigned long long)bytes,
              (unsigned long long)(ln->limit_bytes > ln->bytes ? ln->limit_bytes - ln->bytes : 0));
    return false;
}

/* Decode the queue's first message into head. False: none, or the link has failed. */
static bool decode_head(struct link *ln)
{
    if (ln->head_decoded) return true;
    if (ln->queue.count == 0) return false;
    struct link_packet *m = link_queue_at(&ln->queue, 0);
    struct thea_err err;
    thea_rc rc = codec_decode_frame_on_link(&ln->head, m->bytes, m->size, ln->arena, &err);
    if (rc == THEA_OK) rc = region_maps_resolve(ln->maps, &ln->head, &err);
    if (rc != THEA_OK) link_fail(ln, rc, "frame %llu: %s", (unsigned long long)ln->seq, err.message);
    ln->head_decoded = rc == THEA_OK && head_is_due(ln);
    if (ln->head_decoded && ln->head.epoch > ln->peer_epoch) ln->peer_epoch = ln->head.epoch;
    return ln->head_decoded;
}

/* Give back what came of the session that ended. What its owner has in hand stays until it is consumed. */
void link_reset_receiver(struct link *ln)
{
    struct status_link *s = ln->o.status;
    if (ln->head_decoded && ln->orphan == NULL) ln->orphan = link_queue_pop(&ln->queue);
    if (s != NULL) link_count(&s->stale, ln->queue.count), link_count(&s->frames, ln->queue.count);
    link_queue_clear(&ln->queue);
    ln->queued_bytes = ln->arrived = ln->probed = 0;
    ln->seq = ln->bytes = 0;
    ln->probe_eof = ln->eof = false;
    set_queue_gauge(ln);
    link_pool_reset_receiver(ln);
}

void link_open_receiver(struct link *ln)
{
    link_tell_credit(ln);
    if (ln->stopped && !ln->eof)
        link_tell(ln, &(struct link_message){.kind = LINK_STOP, .epoch = ln->o.epoch});
    for (size_t i = 0; i < ln->cancels.count; i++) tell_cancel(ln, &ln->cancels.items[i]);
    if (ln->eof) link_tell_bye(ln);
}

/* Is the peeked frame, or the queue's first, of no use any more? It is counted and given back. What the owner
 * has seen is only taken away when an epoch has retired it. */
static bool discarded(struct link *ln, bool peeked)
{
    const struct frame *f = &ln->head;
    struct status_link *s = ln->o.status;
    bool eof = f->kind == FRAME_EOF;
    bool stale = ln->orphan != NULL || (f->epoch < ln->o.epoch && (ln->o.lasting || !eof));
    bool unwanted = !stale && !peeked && !eof && (ln->stopped || link_cancels_match(&ln->cancels, f));
    if (!stale && !unwanted) return false;
    if (s != NULL) link_count(stale ? &s->stale : &s->unwanted, 1);
    link_consume(ln);
    return true;
}

thea_rc link_peek(struct link *ln, const struct frame **out, struct thea_err *err)
{
    if (ln->spill != NULL) return link_spill_peek(ln->spill, out, err);
    assert(ln->role == LINK_RECEIVER);
    link_pump(ln);
    if (ln->state == LINK_FAILED && !ln->lost)
        return link_check(ln, err); /* of a peer that died, all that came is still good */
    for (bool peeked = ln->head_decoded; decode_head(ln); peeked = false) {
        if (discarded(ln, peeked)) continue;
        *out = &ln->head;
        return THEA_OK;
    }
    if (ln->state == LINK_FAILED) return link_check(ln, err);
    return ln->eof ? THEA_DONE : THEA_AGAIN;
}

void link_tell_bye(struct link *ln)
{
    if (ln->bye_sent || ln->state != LINK_OPEN) return;
    link_tell(ln, &(struct link_message){.kind = LINK_BYE, .reason = "end of input"});
    ln->bye_sent = true;
    if (ln->bye_ns == 0) ln->bye_ns = status_now_ns();
}

static void finish(struct link *ln)
{
    ln->eof = true;
    if (ln->queue.count > 0) {
        link_fail(ln, THEA_EFRAME, "frames came after its eof frame");
        return;
    }
    if (ln->lost) {
        ln->state = LINK_ENDED;
        return;
    }
    link_tell_credit(ln);
    link_tell_bye(ln);
}

/* The frame of a session that ended: no credit goes back for it. */
static void consume_orphan(struct link *ln)
{
    link_packet_free(ln->orphan);
    ln->orphan = NULL;
    ln->head_decoded = false;
    link_pool_orphan_gone(ln);
}

static void give_back(struct link *ln)
{
    uint64_t frames_owed = ln->seq + ln->window - ln->limit_seq,
             bytes_owed = ln->bytes + ln->o.window_bytes - ln->limit_bytes;
    if (frames_owed * 4 >= ln->window || ln->large_owed * 4 >= ln->large_window ||
        bytes_owed >= ln->o.window_bytes / 4)
        link_tell_credit(ln);
}

void link_consume(struct link *ln)
{
    if (ln->spill != NULL) {
        link_spill_consume(ln->spill);
        return;
    }
    assert(ln->head_decoded);
    uint64_t bytes = frame_tensor_bytes(&ln->head);
    bool eof = ln->head.kind == FRAME_EOF && !ln->o.lasting;
    if (ln->o.status != NULL) {
        link_count(&ln->o.status->frames, 1);
        link_count(&ln->o.status->bytes, bytes);
    }
    if (ln->orphan != NULL) {
        consume_orphan(ln);
        return;
    }
    struct link_packet *m = link_queue_pop(&ln->queue);
    ln->queued_bytes -= m->size;
    link_packet_free(m);
    ln->head_decoded = false;
    ln->seq++;
    ln->bytes += bytes;
    ln->large_owed += bytes >= LINK_LARGE_BYTES;
    link_show_window(ln, bytes >= LINK_LARGE_BYTES);
    set_queue_gauge(ln);
    if (eof)
        finish(ln);
    else
        give_back(ln);
}

void link_stop(struct link *ln)
{
    if (ln->spill != NULL) {
        link_spill_stop(ln->spill);
        return;
    }
    if (ln->stopped) return;
    ln->stopped = true;
    if (!ln->eof) link_tell(ln, &(struct link_message){.kind = LINK_STOP, .epoch = ln->o.epoch});
}

void link_cancel(struct link *ln, uint64_t stream, uint32_t attempt)
{
    if (ln->spill != NULL) {
        link_spill_cancel(ln->spill, stream, attempt);
        return;
    }
    struct link_cancelled what = {stream, ln->o.epoch, attempt};
    link_cancels_add(&ln->cancels, what);
    tell_cancel(ln, &what);
}

bool link_ends_with_eof(struct link *ln)
{
    if (ln->eof || ln->queue.count == 0) return ln->eof;
    if (ln->probed == ln->arrived) return ln->probe_eof;
    ln->probed = ln->arrived;
    ln->probe_eof = false;
    struct link_packet *m = link_queue_at(&ln->queue, ln->queue.count - 1);
    if (m->size > PROBE_BYTES) return false;
    if (ln->probe == NULL) ln->probe = codec_arena_new();
    struct frame f;
    ln->probe_eof = ln->probe != NULL &&
                    codec_decode_frame(&f, m->bytes, m->size, ln->probe, NULL) == THEA_OK &&
                    f.kind == FRAME_EOF;
    return ln->probe_eof;
}

/* Less than a quarter of the window is owed, and none of it is large: its sender can go on. Only before a
 * frame as large as the window it may wait until all is consumed, and then for this. So a small frame that
 * comes alone costs no message back. */
static void tell_credit_later(struct link *ln)
{
    ln->credit_ns = status_now_ns() + CREDIT_LATE_MS * LINK_MS;
    if (ln->wake_ns != 0 && ln->wake_ns <= ln->credit_ns) return;
    ln->wake_ns = ln->credit_ns;
    link_set_timer(ln->set);
}

void link_flush_credit(struct link *ln)
{
    if (ln->spill != NULL || ln->role != LINK_RECEIVER || ln->state != LINK_OPEN || ln->lost || ln->eof)
        return;
    bool owed = ln->seq + ln->window != ln->limit_seq;
    /* Only a sender that is at its end waits for an acknowledgement alone. */
    if (ln->large_owed > 0 || (ln->ack_seq != ln->arrived && link_ends_with_eof(ln)))
        link_tell_credit(ln);
    else if (owed && ln->credit_ns == 0)
        tell_credit_later(ln);
}
