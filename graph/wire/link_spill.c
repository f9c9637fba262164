/* The owner's side of a receiving end whose frames may wait on disk: see link_spill_impl.h. */
#include "graph/wire/link_spill_impl.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* --- life --- */

static void destroy(struct link_spill *sp)
{
    spill_free(sp->file);
    link_set_free(sp->set);
    link_queue_fini(&sp->ready);
    link_cancels_fini(&sp->orders.cancels);
    link_cancels_fini(&sp->cancels);
    codec_arena_free(sp->arena);
    pthread_mutex_destroy(&sp->lock);
    free(sp);
}

/* Signals are for the owner's thread: they end its waits. */
static thea_rc start(struct link_spill *sp, struct thea_err *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rv = pthread_create(&sp->thread, NULL, link_spill_serve, sp);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rv == 0 ? THEA_OK : thea_fail(err, THEA_EOS, "cannot start a thread: %s", strerror(rv));
}

thea_rc link_spill_open(struct link_spill **out, struct link_set *set, const struct link_options *o,
                        struct thea_err *err)
{
    struct link_spill *sp = calloc(1, sizeof *sp);
    struct link_options inner = *o;
    if (sp == NULL || (sp->arena = codec_arena_new()) == NULL) abort();
    inner.spill_bytes = 0;
    sp->owner = set;
    sp->lasting = o->lasting;
    sp->status = o->status;
    sp->epoch = sp->orders.epoch = o->epoch;
    sp->file = spill_new(o->spill_dir, o->spill_bytes);
    pthread_mutex_init(&sp->lock, NULL);
    if (sp->status != NULL) atomic_store(&sp->status->spill_limit, o->spill_bytes);
    thea_rc rc = link_set_new(&sp->set, err);
    if (rc == THEA_OK) rc = link_listen(&sp->inner, sp->set, &inner, err);
    if (rc == THEA_OK) rc = start(sp, err);
    if (rc == THEA_OK) {
        *out = sp;
        return THEA_OK;
    }
    link_abort(sp->inner);
    destroy(sp);
    return rc;
}

/* The thread ends; the link behind it is ours from then on. */
static void take_over(struct link_spill *sp)
{
    pthread_mutex_lock(&sp->lock);
    sp->orders.leave = true;
    pthread_mutex_unlock(&sp->lock);
    link_set_wake(sp->set);
    pthread_join(sp->thread, NULL);
}

thea_rc link_spill_close(struct link_spill *sp, struct thea_err *err)
{
    take_over(sp);
    thea_rc rc = link_close(sp->inner, err);
    destroy(sp);
    return rc;
}

void link_spill_abort(struct link_spill *sp)
{
    take_over(sp);
    link_abort(sp->inner);
    destroy(sp);
}

/* --- frames --- */

static bool decode_head(struct link_spill *sp)
{
    if (sp->head_decoded) return true;
    pthread_mutex_lock(&sp->lock);
    struct link_packet *m = sp->ready.count > 0 ? link_queue_at(&sp->ready, 0) : NULL;
    pthread_mutex_unlock(&sp->lock);
    if (m == NULL) return false;
    struct thea_err err;
    thea_rc rc = codec_decode_frame(&sp->head, m->bytes, m->size, sp->arena, &err);
    if (rc != THEA_OK) link_spill_fail(sp, true, &err); /* the disk gave back something else */
    sp->head_decoded = rc == THEA_OK;
    return sp->head_decoded;
}

/* As in link_recv.c: what no one needs any more is counted and given back. */
static bool discarded(struct link_spill *sp, bool peeked)
{
    const struct frame *f = &sp->head;
    bool eof = f->kind == FRAME_EOF, stale = f->epoch < sp->epoch && (sp->lasting || !eof);
    bool unwanted = !stale && !peeked && !eof && (sp->stopped || link_cancels_match(&sp->cancels, f));
    if (!stale && !unwanted) return false;
    if (sp->status != NULL) link_count(stale ? &sp->status->stale : &sp->status->unwanted, 1);
    link_spill_consume(sp);
    return true;
}

/* What there is to say when no frame is ready: trouble, and the end, only after all that came before. */
static thea_rc at_end(struct link_spill *sp, struct thea_err *err)
{
    pthread_mutex_lock(&sp->lock);
    bool empty = sp->ready.count == 0 && sp->on_disk == 0;
    thea_rc rc = empty && sp->told.done ? THEA_DONE : THEA_AGAIN;
    if (sp->told.trouble.rc != THEA_OK && (empty || sp->told.broken)) {
        rc = sp->told.trouble.rc;
        if (err != NULL) *err = sp->told.trouble;
    }
    pthread_mutex_unlock(&sp->lock);
    return rc;
}

thea_rc link_spill_peek(struct link_spill *sp, const struct frame **out, struct thea_err *err)
{
    for (bool peeked = sp->head_decoded; decode_head(sp); peeked = false) {
        if (discarded(sp, peeked)) continue;
        *out = &sp->head;
        return THEA_OK;
    }
    return at_end(sp, err);
}

void link_spill_consume(struct link_spill *sp)
{
    assert(sp->head_decoded);
    pthread_mutex_lock(&sp->lock);
    struct link_packet *m = link_queue_pop(&sp->ready);
    sp->ready_bytes -= m->size;
    bool behind = sp->on_disk > 0 || sp->waits;
    if (sp->status != NULL)
        atomic_store_explicit(&sp->status->spilled_frames, (uint32_t)(sp->ready.count + sp->on_disk),
                              memory_order_relaxed);
    pthread_mutex_unlock(&sp->lock);
    sp->head_decoded = false;
    link_packet_free(m);
    if (behind) link_set_wake(sp->set);
}

/* --- orders and news --- */

void link_spill_stop(struct link_spill *sp)
{
    sp->stopped = true;
    pthread_mutex_lock(&sp->lock);
    sp->orders.stop = true;
    pthread_mutex_unlock(&sp->lock);
    link_set_wake(sp->set);
}

void link_spill_cancel(struct link_spill *sp, uint64_t stream, uint32_t attempt)
{
    struct link_cancelled what = {stream, sp->epoch, attempt};
    link_cancels_add(&sp->cancels, what);
    pthread_mutex_lock(&sp->lock);
    link_cancels_add(&sp->orders.cancels, what);
    pthread_mutex_unlock(&sp->lock);
    link_set_wake(sp->set);
}

void link_spill_set_epoch(struct link_spill *sp, uint64_t epoch)
{
    assert(epoch >= sp->epoch);
    sp->epoch = epoch;
    link_cancels_retire(&sp->cancels, epoch);
    pthread_mutex_lock(&sp->lock);
    sp->orders.epoch = epoch;
    pthread_mutex_unlock(&sp->lock);
    link_set_wake(sp->set);
}

uint64_t link_spill_epoch(struct link_spill *sp)
{
    pthread_mutex_lock(&sp->lock);
    uint64_t epoch = sp->told.epoch;
    pthread_mutex_unlock(&sp->lock);
    return epoch;
}

bool link_spill_missing(struct link_spill *sp)
{
    pthread_mutex_lock(&sp->lock);
    bool missing = sp->told.missing;
    pthread_mutex_unlock(&sp->lock);
    return missing;
}

thea_rc link_spill_check(struct link_spill *sp, struct thea_err *err)
{
    thea_rc rc = at_end(sp, err);
    return rc == THEA_AGAIN || rc == THEA_DONE ? THEA_OK : rc;
}

const char *link_spill_peer(struct link_spill *sp)
{
    pthread_mutex_lock(&sp->lock);
    memcpy(sp->peer, sp->told.peer, sizeof sp->peer);
    pthread_mutex_unlock(&sp->lock);
    return sp->peer[0] != '\0' ? sp->peer : "nobody yet";
}
