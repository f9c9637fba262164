/* Which replica gets a stream: see stage_route.h. Streams are kept in a table of open addressing; there are
 * as many as are open at this sender. */
#include "graph/wire/stage_route.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_MIN = 64 };

struct stage_routed {
    uint64_t stream;
    size_t member; /* STAGE_ROUTE_NONE: the place is free */
};

/* Every bit of the result depends on every bit of x (the finalizer of splitmix64). */
static uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

void stage_route_init(struct stage_route *r, stage_route_rule rule)
{
    *r = (struct stage_route){.rule = rule};
}

void stage_route_fini(struct stage_route *r)
{
    free(r->members);
    free(r->streams);
    *r = (struct stage_route){0};
}

/* --- members --- */

size_t stage_route_add(struct stage_route *r, bool live)
{
    size_t member = 0;
    while (member < r->count && !r->members[member].gone) member++;
    if (member == r->count) {
        r->members = reallocarray(r->members, r->count + 1, sizeof *r->members);
        if (r->members == NULL) abort();
        r->count++;
    }
    r->members[member] = (struct stage_route_member){.coming = live && r->rule == ROUTE_BY_HASH};
    return member;
}

void stage_route_leave(struct stage_route *r, size_t member)
{
    assert(member < r->count);
    r->members[member].leaving = true;
}

bool stage_route_left(const struct stage_route *r, size_t member)
{
    if (member >= r->count || !r->members[member].leaving) return false;
    return r->rule == ROUTE_BY_HASH ? r->members[member].left : r->members[member].open == 0;
}

void stage_route_drop(struct stage_route *r, size_t member)
{
    assert(member < r->count && r->members[member].open == 0);
    r->members[member].gone = true;
}

/* --- the table --- */

static size_t place_of(const struct stage_route *r, uint64_t stream)
{
    size_t at = mixed(stream) & (r->stream_room - 1);
    while (r->streams[at].member != STAGE_ROUTE_NONE && r->streams[at].stream != stream)
        at = (at + 1) & (r->stream_room - 1);
    return at;
}

static void set_room(struct stage_route *r, size_t room)
{
    struct stage_routed *old = r->streams;
    size_t old_room = r->stream_room;
    r->streams = reallocarray(NULL, room, sizeof *r->streams);
    if (r->streams == NULL) abort();
    r->stream_room = room;
    for (size_t i = 0; i < room; i++) r->streams[i].member = STAGE_ROUTE_NONE;
    for (size_t i = 0; i < old_room; i++)
        if (old[i].member != STAGE_ROUTE_NONE) r->streams[place_of(r, old[i].stream)] = old[i];
    free(old);
}

static void keep(struct stage_route *r, uint64_t stream, size_t member)
{
    if ((r->stream_count + 1) * 2 > r->stream_room)
        set_room(r, r->stream_room > 0 ? r->stream_room * 2 : ROOM_MIN);
    r->streams[place_of(r, stream)] = (struct stage_routed){stream, member};
    r->stream_count++;
    r->members[member].open++;
}

/* Those after a place that is freed move up, or they would not be found any more. */
static void free_place(struct stage_route *r, size_t hole)
{
    size_t mask = r->stream_room - 1;
    for (size_t at = (hole + 1) & mask; r->streams[at].member != STAGE_ROUTE_NONE; at = (at + 1) & mask) {
        size_t home = mixed(r->streams[at].stream) & mask;
        if (((at - home) & mask) < ((at - hole) & mask)) continue; /* its home is after the hole */
        r->streams[hole] = r->streams[at];
        hole = at;
    }
    r->streams[hole].member = STAGE_ROUTE_NONE;
}

void stage_route_forget(struct stage_route *r, uint64_t stream)
{
    if (r->stream_count == 0) return;
    size_t at = place_of(r, stream);
    if (r->streams[at].member == STAGE_ROUTE_NONE) return;
    r->members[r->streams[at].member].open--;
    r->stream_count--;
    free_place(r, at);
}

void stage_route_clear(struct stage_route *r)
{
    for (size_t i = 0; i < r->stream_room; i++) r->streams[i].member = STAGE_ROUTE_NONE;
    for (size_t i = 0; i < r->count; i++) {
        r->members[i].open = 0;
        r->members[i].coming = false;
        r->members[i].left = r->members[i].leaving;
    }
    r->stream_count = 0;
}

/* --- choosing --- */

static bool takes_new(const struct stage_route *r, size_t member)
{
    return !r->members[member].leaving && !r->members[member].gone;
}

/* By hash the choice changes with epochs alone. */
static bool counts(const struct stage_route_member *m)
{
    return !m->coming && !m->left && !m->gone;
}

/* Rendezvous: a member that comes or goes changes the choice of no stream but its own. */
static size_t by_hash(const struct stage_route *r, uint64_t stream)
{
    size_t best = STAGE_ROUTE_NONE;
    uint64_t most = 0;
    for (size_t i = 0; i < r->count; i++) {
        uint64_t weight = mixed(mixed(stream) ^ mixed((i + 1) * UINT64_C(0x9E3779B97F4A7C15)));
        if (!counts(&r->members[i]) || (best != STAGE_ROUTE_NONE && weight <= most)) continue;
        best = i;
        most = weight;
    }
    return best;
}

static size_t by_load(struct stage_route *r, stage_route_load *load, const void *context)
{
    size_t best = STAGE_ROUTE_NONE, least = 0;
    for (size_t k = 0; k < r->count; k++) {
        size_t i = (r->turn + k) % r->count;
        if (!takes_new(r, i)) continue;
        size_t waiting = load != NULL ? load(context, i) : 0;
        size_t all = waiting == STAGE_ROUTE_NONE ? waiting : waiting + r->members[i].open;
        if (best != STAGE_ROUTE_NONE && all >= least) continue;
        best = i;
        least = all;
    }
    if (best != STAGE_ROUTE_NONE) r->turn = best + 1;
    return best;
}

static size_t by_origin(const struct stage_route *r, uint32_t origin)
{
    return origin < r->count && !r->members[origin].gone ? origin : STAGE_ROUTE_NONE;
}

size_t stage_route_find(const struct stage_route *r, uint64_t stream, uint32_t origin)
{
    if (r->rule == ROUTE_BY_HASH) return by_hash(r, stream);
    if (r->rule == ROUTE_BY_ORIGIN) return by_origin(r, origin);
    return r->stream_count > 0 ? r->streams[place_of(r, stream)].member : STAGE_ROUTE_NONE;
}

size_t stage_route_of(struct stage_route *r, uint64_t stream, uint32_t origin, stage_route_load *load,
                      const void *context)
{
    size_t member = stage_route_find(r, stream, origin);
    if (member != STAGE_ROUTE_NONE || r->rule != ROUTE_BY_LOAD) return member;
    member = by_load(r, load, context);
    if (member != STAGE_ROUTE_NONE) keep(r, stream, member);
    return member;
}
