/* What is done: a stream is committed when every sink says so, or has enough; then its source may forget it.
 * The run is done when every sink is. */
#include "graph/control/supervisor.h"

enum { RANGES_PER_MESSAGE = 8192 }; /* far below the longest line of a channel */

static bool counts(const struct child *c)
{
    return c->process->sink && !c->control.enough;
}

/* The first part of [from, last] that is in r. */
static bool next_part(const struct ranges *r, uint64_t from, uint64_t last, struct range *out)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->items[middle].last < from)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == r->count || r->items[low].first > last) return false;
    out->first = r->items[low].first > from ? r->items[low].first : from;
    out->last = r->items[low].last < last ? r->items[low].last : last;
    return true;
}

/* The first part of [from, last] that every sink has. */
static bool next_common(const struct supervisor *s, uint64_t from, uint64_t last, struct range *out)
{
    *out = (struct range){from, last};
    for (size_t i = 0; i < s->count; i++) {
        struct range part;
        if (!counts(&s->children[i])) continue;
        if (!next_part(&s->children[i].control.committed, out->first, last, &part)) return false;
        bool moved = part.first > out->first;
        out->first = part.first;
        out->last = moved || part.last < out->last ? part.last : out->last;
        if (moved) i = SIZE_MAX; /* those before may not have it: once more from the beginning */
    }
    return true;
}

static void owe(struct supervisor *s, struct range part)
{
    while (part.first <= part.last) {
        uint64_t end = part.first | ((UINT64_C(1) << SUPERVISOR_SOURCE_SHIFT) - 1);
        if (end > part.last) end = part.last;
        struct child *source = supervisor_source_of(s, part.first);
        if (source != NULL) ranges_add(&source->control.owed, part.first, end);
        if (end == UINT64_MAX) return;
        part.first = end + 1;
    }
}

static void clear_suspects(struct supervisor *s, struct range part)
{
    for (size_t i = s->suspects.count; i-- > 0;) {
        uint64_t stream = s->suspects.items[i];
        if (stream >= part.first && stream <= part.last) supervisor_cleared(s, stream, status_now_ns());
    }
}

static void settle(struct supervisor *s, struct range part)
{
    uint64_t before = ranges_total(&s->committed);
    ranges_add(&s->committed, part.first, part.last);
    if (ranges_total(&s->committed) == before) return;
    owe(s, part);
    clear_suspects(s, part);
    supervisor_forget_troubles(s, part.first, part.last);
    s->deaths = 0; /* it goes forward */
    for (size_t i = 0; i < s->count; i++) s->children[i].deaths = 0;
}

static void settle_common(struct supervisor *s, uint64_t first, uint64_t last)
{
    struct range part;
    while (first <= last && next_common(s, first, last, &part)) {
        settle(s, part);
        if (part.last == UINT64_MAX) return;
        first = part.last + 1;
    }
}

void supervisor_committed(struct supervisor *s, struct child *sink, uint64_t first, uint64_t last)
{
    ranges_add(&sink->control.committed, first, last);
    settle_common(s, first, last);
}

void supervisor_has_enough(struct supervisor *s, struct child *sink)
{
    sink->control.enough = true;
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        if (!counts(c)) continue; /* the others hold it up: what one of them has is all that there can be */
        for (size_t k = 0; k < c->control.committed.count; k++)
            settle_common(s, c->control.committed.items[k].first, c->control.committed.items[k].last);
        return;
    }
}

static void tell(struct supervisor *s, struct child *source, const struct ranges *streams)
{
    for (size_t i = 0; i < streams->count; i += RANGES_PER_MESSAGE) {
        size_t left = streams->count - i;
        struct ranges some = {.items = streams->items + i,
                              .count = left < RANGES_PER_MESSAGE ? left : RANGES_PER_MESSAGE};
        struct json_node *m = supervisor_word("commit");
        json_put(m, "streams", ranges_print(&some));
        supervisor_say(s, source, m);
    }
}

void supervisor_tell_commits(struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        if (c->control.owed.count == 0) continue;
        if (c->control.channel != NULL) tell(s, c, &c->control.owed);
        ranges_clear(&c->control.owed); /* one that is not there is told all when it comes */
    }
}

void supervisor_tell_committed(struct supervisor *s, struct child *source)
{
    uint64_t first = source->control.source << SUPERVISOR_SOURCE_SHIFT,
             last = first | ((UINT64_C(1) << SUPERVISOR_SOURCE_SHIFT) - 1);
    struct ranges own = {0};
    struct range part;
    while (first <= last && next_part(&s->committed, first, last, &part)) {
        ranges_add(&own, part.first, part.last);
        first = part.last + 1;
    }
    tell(s, source, &own);
    ranges_fini(&own);
    ranges_clear(&source->control.owed);
}

static bool all_done(const struct supervisor *s)
{
    size_t sinks = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        if (!c->process->sink) continue;
        sinks++;
        if (!c->control.enough && c->control.done_epoch != s->epoch) return false;
    }
    return sinks > 0;
}

void supervisor_finish(struct supervisor *s, uint64_t now_ns)
{
    if (s->phase > SUPERVISOR_DRAINING || s->recover_ns != 0 || supervisor_any_waits(s) || !all_done(s))
        return;
    struct json_node *m = supervisor_word("finish");
    supervisor_tell_commits(s);
    supervisor_say_all(s, m);
    json_free(m);
    s->finished_ns = now_ns;
    supervisor_enter(s, SUPERVISOR_FINISHING, now_ns + SUPERVISOR_FINISH_MS * SUPERVISOR_NS_PER_MS);
}
