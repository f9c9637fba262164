/* How many streams a supervised source may have under way, where nobody has said it: IN_FLIGHT, or more of
 * small ones that come to their end quickly, up to as many as did in a tenth of a second. So a pipeline of
 * tiny documents is not held up by the way that each commit takes back to the source; and what is under way
 * costs no more memory, and no more time to drain or to do again after a crash, than a few large ones. */
#include "graph/wire/stage_core.h"

#include <stdlib.h>

enum { MANY = 256, MANY_BYTES = 1 << 20, TURN_NS = 100000000 };

void stage_flight_fini(struct stage_flight *f)
{
    free(f->sent);
    *f = (struct stage_flight){0};
}

void stage_flight_clear(struct stage_flight *f)
{
    f->count = 0;
    f->bytes = 0;
}

static struct stage_sent *find(struct stage_flight *f, uint64_t stream)
{
    for (size_t i = f->count; i-- > 0;)
        if (f->sent[i].stream == stream) return &f->sent[i];
    return NULL;
}

static void forget(struct stage_flight *f, struct stage_sent *s)
{
    f->bytes -= s->bytes;
    *s = f->sent[--f->count];
}

void stage_flight_start(struct stage_flight *f, uint64_t stream)
{
    struct stage_sent *before = find(f, stream); /* it begins again */
    if (before != NULL) forget(f, before);
    if (f->count == f->cap) {
        f->cap = f->cap == 0 ? 64 : f->cap * 2;
        f->sent = reallocarray(f->sent, f->cap, sizeof *f->sent);
        if (f->sent == NULL) abort();
    }
    f->sent[f->count++] = (struct stage_sent){.stream = stream};
}

void stage_flight_send(struct stage_flight *f, uint64_t stream, uint64_t bytes)
{
    struct stage_sent *s = find(f, stream);
    if (s == NULL) return;
    s->bytes += bytes;
    f->bytes += bytes;
}

/* In this tenth of a second, and in the one before. */
static void turn(struct stage_flight *f, uint64_t now_ns)
{
    if (now_ns - f->turn_ns < TURN_NS) return;
    f->before = now_ns - f->turn_ns < 2 * (uint64_t)TURN_NS ? f->done : 0;
    f->done = 0;
    f->turn_ns = now_ns;
}

void stage_flight_commit(struct stage_flight *f, const struct ranges *committed, uint64_t now_ns)
{
    turn(f, now_ns);
    for (size_t i = f->count; i-- > 0;) {
        if (!ranges_has(committed, f->sent[i].stream)) continue;
        forget(f, &f->sent[i]);
        f->done++;
    }
}

bool stage_flight_has_room(struct stage_flight *f, int limit, uint64_t open, uint64_t now_ns)
{
    if (limit > 0) return open < (uint64_t)limit;
    if (open < STAGE_IN_FLIGHT) return true;
    turn(f, now_ns);
    return open < MANY && f->bytes < MANY_BYTES && (open < f->done || open < f->before);
}
