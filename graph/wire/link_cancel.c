/* Streams of a link that its receiver does not want any more, as both ends remember them: the sender to throw
 * their frames away, the receiver to discard those that were under way. Bound to an epoch: in the next one
 * the same stream is wanted again. */
#include "graph/wire/link_impl.h"

#include <stdlib.h>
#include <string.h>

static void remove_at(struct link_cancels *c, size_t i)
{
    c->count--;
    memmove(&c->items[i], &c->items[i + 1], (c->count - i) * sizeof *c->items);
}

static struct link_cancelled *find(const struct link_cancels *c, uint64_t stream)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->items[i].stream == stream) return &c->items[i];
    return NULL;
}

void link_cancels_add(struct link_cancels *c, struct link_cancelled what)
{
    struct link_cancelled *known = find(c, what.stream);
    if (known != NULL) {
        bool later =
            what.epoch > known->epoch || (what.epoch == known->epoch && what.attempt > known->attempt);
        if (later) *known = what;
        return;
    }
    if (c->items == NULL) c->items = malloc(LINK_CANCELLED_MAX * sizeof *c->items);
    if (c->items == NULL) abort();
    if (c->count == LINK_CANCELLED_MAX) remove_at(c, 0);
    c->items[c->count++] = what;
}

bool link_cancels_has(const struct link_cancels *c, uint64_t stream, uint32_t attempt, uint64_t epoch)
{
    const struct link_cancelled *known = find(c, stream);
    return known != NULL && epoch == known->epoch && attempt <= known->attempt;
}

static bool ends_its_stream(const struct frame *f)
{
    return f->kind == FRAME_END || f->kind == FRAME_ERROR || f->kind == FRAME_CANCEL;
}

bool link_cancels_match(struct link_cancels *c, const struct frame *f)
{
    struct link_cancelled *known = c->count > 0 && f->kind != FRAME_EOF ? find(c, f->stream) : NULL;
    if (known == NULL || f->epoch < known->epoch) return false;
    bool match = f->epoch == known->epoch && f->attempt <= known->attempt;
    if (!match || ends_its_stream(f)) remove_at(c, (size_t)(known - c->items));
    return match;
}

void link_cancels_retire(struct link_cancels *c, uint64_t epoch)
{
    for (size_t i = c->count; i-- > 0;)
        if (c->items[i].epoch < epoch) remove_at(c, i);
}

void link_cancels_fini(struct link_cancels *c)
{
    free(c->items);
    *c = (struct link_cancels){0};
}
