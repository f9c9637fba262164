/* A receiving end whose frames may wait on disk (link_options.spill_bytes). Its owner sees a link like any
 * other. Behind it a thread has the real one to itself, takes frames off it as soon as they come, and so
 * gives their credit back while the owner's op still runs:
 *
 *   sender ~~> inner link --> ready (memory, up to a window) --> link_peek, link_consume
 *                   |             ^
 *                   +--> spill ---+   once ready is full, and until the file is empty again
 *
 * What is taken is copied, so the sender's regions are free by then. Where there is no room in either, frames
 * stay in the inner link, whose credit then stops, as it does without a spill.
 *
 * A file dies with its process. That loses nothing: for its sender a new process is a new session, in a new
 * epoch, and whatever was not committed comes again.
 *
 * Invariant: frames leave in the order in which they came; `inner`, its set and the file belong to the thread
 * until it was joined. */
#include "graph/wire/link_impl.h"

#include "graph/log.h"
#include "graph/wire/spill.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURN = 16 }; /* frames moved between two looks at what was ordered */

struct link_spill {
    struct link *inner;
    struct link_set *set;   /* wakes the thread */
    struct link_set *owner; /* wakes the owner */
    struct spill *file;
    bool disk_failed; /* nothing is written until the file is empty */
    pthread_t thread;
    struct status_link *status; /* NULL: nobody counts */

    pthread_mutex_t lock; /* guards what follows */
    struct link_queue ready;
    uint64_t ready_bytes;
    uint64_t on_disk; /* frames */
    bool waits;       /* a frame waits for room in either */
    struct {          /* to the thread */
        uint64_t epoch;
        bool stop, leave;
        struct link_cancels cancels;
    } orders;
    struct { /* by the thread */
        uint64_t epoch;
        bool missing, done, broken;
        struct thea_err trouble; /* rc THEA_OK: none */
        char peer[64];
    } told;

    /* the owner's */
    bool lasting, stopped;
    uint64_t epoch;
    struct link_cancels cancels;
    struct codec_arena *arena;
    struct frame head; /* the decoded first frame of ready */
    bool head_decoded;
    char peer[64];
};

/* With the lock held. */
static void show(const struct link_spill *sp, uint64_t file_bytes)
{
    if (sp->status == NULL) return;
    atomic_store_explicit(&sp->status->spilled_bytes, file_bytes, memory_order_relaxed);
    atomic_store_explicit(&sp->status->spilled_frames, (uint32_t)(sp->ready.count + sp->on_disk),
                          memory_order_relaxed);
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    if (n > 0) link_count(counter, n);
}

/* --- the thread: in --- */

/* broken: what is still on its way to the owner is lost, too. */
static void fail(struct link_spill *sp, bool broken, const struct thea_err *err)
{
    pthread_mutex_lock(&sp->lock);
    sp->told.broken = sp->told.broken || broken;
    if (sp->told.trouble.rc == THEA_OK || broken) sp->told.trouble = *err;
    pthread_mutex_unlock(&sp->lock);
    link_set_wake(sp->owner);
}

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
    sp->on_disk = spill_count(sp->file);
    show(sp, spill_bytes(sp->file));
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
        sp->on_disk = spill_count(sp->file);
        show(sp, spill_bytes(sp->file));
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
        fail(sp, false, &err);
        return false;
    }
    if (direct) push_ready(sp, m);
    if (!direct && !write_down(sp, m, f->epoch)) return false;
    if (sp->status != NULL) count(&sp->status->copied_bytes, large_bytes(f));
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
    if (rc != THEA_OK && rc != THEA_AGAIN && rc != THEA_DONE) fail(sp, false, &err);
    return moved;
}

/* --- the thread: out --- */

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
    if (rc != THEA_OK && rc != THEA_AGAIN) fail(sp, true, &err);
    if (spill_count(sp->file) == 0) sp->disk_failed = false;
    return moved;
}

/* --- the thread: orders --- */

static void drop_old(struct link_spill *sp, uint64_t epoch)
{
    uint64_t stale = spill_drop(sp->file, epoch);
    if (sp->status != NULL) count(&sp->status->stale, stale);
    pthread_mutex_lock(&sp->lock);
    sp->on_disk = spill_count(sp->file);
    show(sp, spill_bytes(sp->file));
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

static void *serve(void *context)
{
    struct link_spill *sp = context;
    while (obey(sp)) {
        bool in = !sp->told.broken && take_in(sp), out = !sp->told.broken && hand_on(sp);
        tell(sp);
        if (in || out)
            link_set_clear(sp->set);
        else
            link_set_wait(sp->set);
    }
    return NULL;
}

/* --- the owner: life --- */

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
    int rv = pthread_create(&sp->thread, NULL, serve, sp);
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

/* --- the owner: frames --- */

static bool decode_head(struct link_spill *sp)
{
    if (sp->head_decoded) return true;
    pthread_mutex_lock(&sp->lock);
    struct link_packet *m = sp->ready.count > 0 ? link_queue_at(&sp->ready, 0) : NULL;
    pthread_mutex_unlock(&sp->lock);
    if (m == NULL) return false;
    struct thea_err err;
    thea_rc rc = codec_decode_frame(&sp->head, m->bytes, m->size, sp->arena, &err);
    if (rc != THEA_OK) fail(sp, true, &err); /* the disk gave back something else */
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
    if (sp->status != NULL) count(stale ? &sp->status->stale : &sp->status->unwanted, 1);
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

/* --- the owner: orders and news --- */

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
