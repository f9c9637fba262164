/* The thread of a receiving end whose frames may wait on disk: frames from the inner link to `ready`, through
 * the file where that is full. See link_spill_impl.h. */
#include "graph/wire/link_spill_impl.h"

#include "graph/log.h"

#include <stdio.h>

enum { TURN = 16 }; /* frames moved between two looks at what was ordered */

/* With the lock held: what the file has by now. */
static void show(struct link_spill *sp)
{
    sp->on_disk = spill_count(sp->file);
    if (sp->status == NULL) return;
    atomic_store_explicit(&sp->status->spilled_bytes, spill_bytes(sp->file), memory_order_relaxed);
    atomic_store_explicit(&sp->status->spilled_frames, (uint32_t)(sp->ready.count + sp->on_disk),
                          memory_order_relaxed);
}

void link_spill_fail(struct link_spill *sp, bool broken, const struct thea_err *err)
{
    pthread_mutex_lock(&sp->lock);
    sp->told.broken = sp->told.broken || broken;
    if (sp->told.trouble.rc == THEA_OK || broken) sp->told.trouble = *err;
    pthread_mutex_unlock(&sp->lock);
    link_set_wake(sp->owner);
}

/* --- in --- */

static bool has_room(struct link_spill *sp, uint64_t bytes)
{
    const struct link_options *o = &sp->inner->o;
    pthread_mutex_lock(&sp->lock);
    bool room = sp->ready.count < o->window_frames &&
                (sp->ready.count == 0 || sp->ready_bytes + bytes <= o->window_bytes);
    pthread_mutex_unlock(&sp->lock);
    return room;
}

static void push_ready(struct link_spill *sp, struct link_packet *m)
{
    pthread_mutex_lock(&sp->lock);
    link_queue_push(&sp->ready, m);
    sp->ready_bytes += m->size;
    show(sp);
    pthread_mutex_unlock(&sp->lock);
    link_set_wake(sp->owner);
}

/* A full disk is no error: frames wait where they would without a spill. */
static bool write_down(struct link_spill *sp, struct link_packet *m, uint64_t epoch)
{
    struct thea_err err = {0};
    thea_rc rc = spill_put(sp->file, m->bytes, m->size, epoch, &err);
    if (rc == THEA_OK) {
        pthread_mutex_lock(&sp->lock);
        show(sp);
        pthread_mutex_unlock(&sp->lock);
        link_packet_free(m);
        return true;
    }
    link_packet_free(m);
    if (rc == THEA_AGAIN) return false;
    sp->disk_failed = true;
    thea_warning("port '%s': no more input is put on disk for now: %s", sp->inner->o.port,
                 thea_err_message(&err));
    return false;
}

static uint64_t large_bytes(const struct frame *f)
{
    uint64_t n = 0;
    for (size_t i = 0; i < f->tensor_count; i++)
        if (f->tensors[i].size_bytes >= REGION_INLINE_MAX) n += f->tensors[i].size_bytes;
    return n;
}

/* False: there is no room for it, or it cannot be copied. */
static bool put(struct link_spill *sp, const struct frame *f)
{
    struct thea_err err;
    struct link_packet *m = NULL;
    uint64_t bytes = frame_tensor_bytes(f);
    bool direct = spill_count(sp->file) == 0 && has_room(sp, bytes);
    if (!direct && (sp->disk_failed || !spill_fits(sp->file, bytes))) return false;
    if (link_encode_frame(&m, f, &err) != THEA_OK) {
        link_spill_fail(sp, false, &err);
        return false;
    }
    if (direct) push_ready(sp, m);
    if (!direct && !write_down(sp, m, f->epoch)) return false;
    if (sp->status != NULL) link_count(&sp->status->copied_bytes, large_bytes(f));
    return true;
}

static bool take_in(struct link_spill *sp)
{
    const struct frame *f;
    struct thea_err err = {0};
    bool moved = false, waits = false;
    thea_rc rc = THEA_OK;
    for (int i = 0; i < TURN && !waits && (rc = link_peek(sp->inner, &f, &err)) == THEA_OK; i++) {
        waits = !put(sp, f);
        if (waits) break;
        link_consume(sp->inner);
        moved = true;
    }
    pthread_mutex_lock(&sp->lock);
    sp->waits = waits;
    sp->told.done = rc == THEA_DONE;
    pthread_mutex_unlock(&sp->lock);
    if (rc != THEA_OK && rc != THEA_AGAIN && rc != THEA_DONE) link_spill_fail(sp, false, &err);
    return moved;
}

/* --- out --- */

/* The file's first frame becomes ready. AGAIN: it has none, or there is no room. */
static thea_rc read_back(struct link_spill *sp, struct thea_err *err)
{
    uint64_t size;
    thea_rc rc = spill_next(sp->file, &size, err);
    if (rc != THEA_OK) return rc;
    if (!has_room(sp, size)) return THEA_AGAIN;
    struct link_packet *m = link_packet_new(size);
    if (m == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    rc = spill_take(sp->file, m->bytes, size, err);
    if (rc == THEA_OK)
        push_ready(sp, m);
    else
        link_packet_free(m);
    return rc;
}

static bool hand_on(struct link_spill *sp)
{
    struct thea_err err = {0};
    thea_rc rc = THEA_AGAIN;
    bool moved = false;
    for (int i = 0; i < TURN && (rc = read_back(sp, &err)) == THEA_OK; i++) moved = true;
    if (rc != THEA_OK && rc != THEA_AGAIN) link_spill_fail(sp, true, &err);
    if (spill_count(sp->file) == 0) sp->disk_failed = false;
    return moved;
}

/* --- orders --- */

static void drop_old(struct link_spill *sp, uint64_t epoch)
{
    uint64_t stale = spill_drop(sp->file, epoch);
    if (sp->status != NULL) link_count(&sp->status->stale, stale);
    pthread_mutex_lock(&sp->lock);
    show(sp);
    pthread_mutex_unlock(&sp->lock);
}

/* False: leave. */
static bool obey(struct link_spill *sp)
{
    pthread_mutex_lock(&sp->lock);
    uint64_t epoch = sp->orders.epoch;
    bool stop = sp->orders.stop, leave = sp->orders.leave;
    struct link_cancels cancels = sp->orders.cancels;
    sp->orders.cancels = (struct link_cancels){0};
    pthread_mutex_unlock(&sp->lock);
    if (epoch > sp->inner->o.epoch) {
        link_set_epoch(sp->inner, epoch);
        drop_old(sp, epoch);
    }
    if (stop) link_stop(sp->inner);
    for (size_t i = 0; i < cancels.count; i++)
        link_cancel(sp->inner, cancels.items[i].stream, cancels.items[i].attempt);
    link_cancels_fini(&cancels);
    return !leave;
}

static void tell(struct link_spill *sp)
{
    uint64_t epoch = link_epoch(sp->inner);
    bool missing = link_missing(sp->inner);
    pthread_mutex_lock(&sp->lock);
    bool news = epoch != sp->told.epoch || missing != sp->told.missing || sp->told.done;
    sp->told.epoch = epoch;
    sp->told.missing = missing;
    snprintf(sp->told.peer, sizeof sp->told.peer, "%s", link_peer(sp->inner));
    pthread_mutex_unlock(&sp->lock);
    if (news) link_set_wake(sp->owner);
}

/* The owner may find it out as well. */
static bool is_broken(struct link_spill *sp)
{
    pthread_mutex_lock(&sp->lock);
    bool broken = sp->told.broken;
    pthread_mutex_unlock(&sp->lock);
    return broken;
}

void *link_spill_serve(void *context)
{
    struct link_spill *sp = context;
    while (obey(sp)) {
        bool in = !is_broken(sp) && take_in(sp), out = !is_broken(sp) && hand_on(sp);
        tell(sp);
        if (in || out)
            link_set_clear(sp->set);
        else
            link_set_wait(sp->set);
    }
    return NULL;
}
