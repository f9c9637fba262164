/* Which stream a supervised source sends next.
 *
 * Of its indices some are committed, some are open (sent in this epoch, not committed); the next is the
 * smallest that is neither. So a new epoch needs no list: nothing is open any more, and what is not committed
 * comes again in order; a retry takes one stream out of the open ones. When the source does not stand where
 * the next stream begins, it seeks.
 *
 * Invariant: at most in_flight streams are open (stage_flight.c). So everything behind a source is bounded,
 * too: what sinks hold back for the order, the replay, the set of what is committed. */
#include "graph/wire/stage_core.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static uint64_t base_of(const struct stage *st)
{
    return (uint64_t)st->command.source << STAGE_SOURCE_SHIFT;
}

static bool is_mine(const struct stage *st, uint64_t stream)
{
    return st->ops->inputs == NULL && stream >> STAGE_SOURCE_SHIFT == (uint64_t)st->command.source;
}

void stage_replay_init(struct stage *st)
{
    st->replay = (struct stage_replay){.total = STAGE_NONE, .told = STAGE_NONE, .only = STAGE_NONE};
}

static void forget_try(struct stage_replay *r, size_t i)
{
    free(r->tries[i].aside);
    r->tries[i] = r->tries[--r->try_count];
}

void stage_replay_fini(struct stage *st)
{
    struct stage_replay *r = &st->replay;
    while (r->try_count > 0) forget_try(r, r->try_count - 1);
    free(r->tries);
    ranges_fini(&r->open);
    stage_flight_fini(&r->flight);
    stage_replay_init(st);
}

void stage_replay_epoch(struct stage *st)
{
    ranges_clear(&st->replay.open);
    stage_flight_clear(&st->replay.flight);
    st->replay.at = STAGE_NONE;
    st->replay.abandon = false;
}

void stage_replay_lost(struct stage *st)
{
    st->replay.at = STAGE_NONE;
}

/* --- what the supervisor says --- */

void stage_replay_committed(struct stage *st)
{
    struct stage_replay *r = &st->replay;
    const struct ranges *committed = &st->control.committed;
    for (size_t i = r->open.count; i-- > 0;) {
        struct range open = r->open.items[i];
        for (uint64_t s = open.first; s <= open.last; s++)
            if (ranges_has(committed, s)) ranges_remove(&r->open, s);
    }
    for (size_t i = r->try_count; i-- > 0;)
        if (ranges_has(committed, r->tries[i].stream)) forget_try(r, i);
    stage_flight_commit(&r->flight, committed, status_now_ns());
}

static struct stage_try *find_try(const struct stage_replay *r, uint64_t stream)
{
    for (size_t i = 0; i < r->try_count; i++)
        if (r->tries[i].stream == stream) return &r->tries[i];
    return NULL;
}

const struct stage_try *stage_replay_try(const struct stage *st, uint64_t stream)
{
    return find_try(&st->replay, stream);
}

/* The stream is to be sent again, whatever of it is under way. */
static struct stage_try *again(struct stage *st, uint64_t stream, uint32_t attempt)
{
    struct stage_replay *r = &st->replay;
    struct stage_try *t = find_try(r, stream);
    if (t == NULL) {
        r->tries = reallocarray(r->tries, r->try_count + 1, sizeof *r->tries);
        if (r->tries == NULL) abort();
        t = &r->tries[r->try_count++];
        *t = (struct stage_try){.stream = stream};
    }
    t->attempt = attempt > t->attempt ? attempt : t->attempt;
    ranges_remove(&r->open, stream);
    if (st->source_stream != NULL && st->source_stream->id == stream) r->abandon = true;
    return t;
}

void stage_replay_retry(struct stage *st, uint64_t stream, uint32_t attempt)
{
    if (is_mine(st, stream) && !stage_committed(st, stream)) (void)again(st, stream, attempt);
}

void stage_replay_aside(struct stage *st, uint64_t stream, uint32_t attempt, int64_t tries, bool unread,
                        const char *reason)
{
    if (!is_mine(st, stream) || stage_committed(st, stream)) return;
    struct stage_try *t = again(st, stream, attempt);
    free(t->aside);
    t->aside = strdup(reason);
    if (t->aside == NULL) abort();
    t->tries = tries;
    t->unread = unread;
}

/* --- what is next --- */

/* The smallest index that is neither committed nor open. */
static uint64_t next_index(const struct stage *st)
{
    uint64_t at = base_of(st), before;
    do {
        before = at;
        at = ranges_next_missing(&st->control.committed, at);
        at = ranges_next_missing(&st->replay.open, at);
    } while (at != before);
    return at - base_of(st);
}

/* Indices that may be sent at all. */
static uint64_t limit_of(const struct stage *st)
{
    const struct stage_replay *r = &st->replay;
    return stage_draining(st) && r->started < r->total ? r->started : r->total;
}

/* Index of the stream that is to be sent alone; STAGE_NONE: it is not ours, or under way. */
static uint64_t only_index(const struct stage *st)
{
    uint64_t stream = st->replay.only;
    bool open = ranges_has(&st->replay.open, stream);
    return is_mine(st, stream) && !open && !stage_committed(st, stream) ? stream - base_of(st) : STAGE_NONE;
}

static thea_rc seek(struct stage *st, uint64_t index, struct thea_err *err)
{
    struct stage_replay *r = &st->replay;
    if (r->at == index) return THEA_OK;
    if (st->ops->seek == NULL)
        return thea_fail(err, THEA_ESOFTWARE,
                         "%s cannot send document %" PRIu64 " again: a source of kind %s cannot go back",
                         st->name, index, st->ops->kind);
    thea_rc rc = st->ops->seek(st, index, err);
    r->at = rc == THEA_OK ? index : STAGE_NONE;
    return rc;
}

thea_rc stage_replay_next(struct stage *st, struct thea_err *err)
{
    struct stage_replay *r = &st->replay;
    uint64_t limit = limit_of(st), next = next_index(st);
    if (limit != r->told) stage_tell_total(st, r->told = limit);
    if (next >= limit && r->open.count == 0) return THEA_DONE;
    if (r->only != STAGE_NONE) next = only_index(st);
    if (next >= limit || r->paused) return THEA_AGAIN;
    if (!stage_flight_has_room(&r->flight, st->command.in_flight, ranges_total(&r->open), status_now_ns()))
        return THEA_AGAIN;
    r->aim = next;
    return stage_replay_unread(st) ? THEA_OK : seek(st, next, err);
}

bool stage_replay_unread(const struct stage *st)
{
    const struct stage_try *t = find_try(&st->replay, stage_replay_aim(st));
    return t != NULL && t->aside != NULL && t->unread;
}

uint64_t stage_replay_aim(const struct stage *st)
{
    return base_of(st) + st->replay.aim;
}

/* --- what the source did --- */

void stage_replay_start(struct stage *st, struct stage_stream *s)
{
    struct stage_replay *r = &st->replay;
    const struct stage_try *t = find_try(r, s->id);
    uint64_t index = s->id - base_of(st);
    ranges_add(&r->open, s->id, s->id);
    stage_flight_start(&r->flight, s->id);
    r->at = index + 1;
    if (r->started < r->at) r->started = r->at;
    if (t == NULL) return;
    s->attempt = t->attempt;
    s->aside = t->aside != NULL;
}

thea_rc stage_replay_end(struct stage *st, struct thea_err *err)
{
    struct stage_replay *r = &st->replay;
    r->at = STAGE_NONE;
    if (r->aim < r->started && !stage_draining(st))
        return thea_fail(err, THEA_ESOFTWARE,
                         "%s has no document %" PRIu64 " any more, of %" PRIu64 " that it sent", st->name,
                         r->aim, r->started);
    r->started = r->total = r->aim; /* when it drains, what a pipe has not brought stays for a resume */
    return THEA_OK;
}

void stage_replay_cancel(struct stage *st, uint64_t stream)
{
    struct stage_replay *r = &st->replay;
    ranges_remove(&r->open, stream);
    if (r->started > stream - base_of(st)) r->started = stream - base_of(st);
}
