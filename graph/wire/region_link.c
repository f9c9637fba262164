/* One link's share in its port's pools: what its reader was told, and what it has not consumed. See region.h.
 *
 * Invariant: a reference is taken for each slot of each frame that went, and given back when the reader's
 * count of consumed frames has passed it. Where that can no longer happen the pool is retired. */
#include "graph/wire/region_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct region_link *region_link_new(struct region_port *p)
{
    struct region_link *l = calloc(1, sizeof *l);
    if (l == NULL || (l->tensors = calloc(FRAME_TENSORS_MAX, sizeof *l->tensors)) == NULL) abort();
    l->port = p;
    l->next = p->links;
    p->links = l;
    return l;
}

/* Nobody says any more when the reader is done with these: their pools give out no slot again. */
static void abandon(struct region_link *l)
{
    for (; l->count > 0; l->count--) {
        struct region_held *h = &l->held[l->first];
        h->pool->retired = true;
        region_pool_release(h->pool, h->slot);
        l->first = (l->first + 1) & (l->cap - 1);
    }
    region_port_sweep(l->port);
}

/* Pools that no link takes, or that have too few slots for the links there are, make room for others. */
static void retire_unfit(struct region_port *p)
{
    struct region_pool *pool = p->pools;
    if (pool == NULL) return;
    if (!region_port_wanted(p) || pool->slots < region_port_slots(p, pool->slot_bytes)) pool->retired = true;
    region_port_sweep(p);
}

void region_link_free(struct region_link *l)
{
    if (l == NULL) return;
    abandon(l);
    for (struct region_link **at = &l->port->links; *at != NULL; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    retire_unfit(l->port);
    free(l->held);
    free(l->tensors);
    free(l);
}

void region_link_open(struct region_link *l, uint64_t frames, uint64_t bytes)
{
    abandon(l);
    l->open = true;
    l->refused = false;
    l->frames = frames;
    l->bytes = bytes;
    l->asked = l->answered = 0;
    l->mapped = 0;
    l->told_oldest = 0;
    retire_unfit(l->port);
}

void region_link_close(struct region_link *l)
{
    abandon(l);
    l->open = false;
    retire_unfit(l->port);
}

void region_link_resume(struct region_link *l)
{
    l->asked = l->answered; /* a pool, or its answer, may have been lost with the pipe */
    l->told_oldest = 0;
}

/* --- telling the reader --- */

static const struct region_pool *next_to_tell(const struct region_link *l)
{
    const struct region_pool *next = NULL;
    for (const struct region_pool *pool = l->port->pools; pool != NULL && pool->number > l->asked;
         pool = pool->next)
        next = pool;
    return next;
}

bool region_link_offer(struct region_link *l, struct region_offer *out)
{
    if (!l->open || l->refused) return false;
    const struct region_pool *pool = next_to_tell(l);
    uint32_t oldest = region_port_oldest(l->port);
    if (pool == NULL && (oldest <= 1 || oldest == l->told_oldest)) return false;
    *out = pool != NULL ? region_pool_offer(pool) : (struct region_offer){.host = region_host()};
    out->oldest = oldest;
    l->told_oldest = oldest;
    if (pool != NULL) l->asked = pool->number;
    return true;
}

static bool is_in_use(const struct region_port *p, uint32_t number)
{
    for (const struct region_pool *pool = p->pools; pool != NULL; pool = pool->next)
        if (pool->number == number) return !pool->retired;
    return false;
}

bool region_link_answer(struct region_link *l, uint32_t number, bool mapped)
{
    if (number == 0 || number > l->asked) return false;
    if (number <= l->answered) return true; /* said again */
    l->answered = number;
    if (mapped) {
        l->mapped |= UINT64_C(1) << number % REGION_POOLS_MAX;
        return true;
    }
    if (!is_in_use(l->port, number)) return true;
    l->refused = true;
    retire_unfit(l->port);
    return true;
}

bool region_link_refused(const struct region_link *l)
{
    return l->refused;
}

bool region_link_settled(const struct region_link *l)
{
    return !l->open || l->refused || (l->asked == l->answered && next_to_tell(l) == NULL);
}

/* --- frames --- */

static struct region_pool *find_pool(const struct region_link *l, const struct tensor *t)
{
    if (!l->open || l->refused || t->size_bytes < l->port->inline_max) return NULL;
    for (struct region_pool *pool = l->port->pools; pool != NULL; pool = pool->next)
        if (region_pool_has(pool, t->data))
            return (l->mapped >> pool->number % REGION_POOLS_MAX & 1) != 0 ? pool : NULL;
    return NULL;
}

const void *region_link_data(const struct region_link *l, const struct tensor_region *r)
{
    for (const struct region_pool *pool = l->port->pools; pool != NULL; pool = pool->next)
        if (pool->number == r->pool) return pool->base + r->slot * pool->slot_bytes + r->offset;
    assert(!"a region of no pool");
    return NULL;
}

static void push(struct region_link *l, struct region_held h)
{
    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 16 : l->cap * 2;
        struct region_held *held = malloc(cap * sizeof *held);
        if (held == NULL) abort();
        for (size_t i = 0; i < l->count; i++) held[i] = l->held[(l->first + i) & (l->cap - 1)];
        free(l->held);
        l->held = held;
        l->cap = cap;
        l->first = 0;
    }
    l->held[(l->first + l->count++) & (l->cap - 1)] = h;
}

/* One reference a frame and slot, however many of its tensors lie there. */
static void hold(struct region_link *l, struct region_pool *pool, uint32_t slot, uint64_t seq)
{
    for (size_t i = l->count; i > 0; i--) {
        const struct region_held *h = &l->held[(l->first + i - 1) & (l->cap - 1)];
        if (h->seq != seq) break;
        if (h->pool == pool && h->slot == slot) return;
    }
    region_pool_refer(pool, slot);
    push(l, (struct region_held){seq, pool, slot});
}

static bool name_region(struct region_link *l, struct tensor *t, uint64_t seq)
{
    struct region_pool *pool = find_pool(l, t);
    if (pool == NULL) return false;
    uint64_t at = (uint64_t)((const char *)t->data - pool->base);
    uint32_t slot = (uint32_t)(at / pool->slot_bytes);
    at %= pool->slot_bytes;
    if (pool->slot[slot].references == 0 || t->size_bytes > pool->slot_bytes - at) return false;
    hold(l, pool, slot, seq);
    t->in_region = true;
    t->region = (struct tensor_region){pool->number, slot, pool->slot[slot].generation, at};
    return true;
}

struct tensor *region_link_take(struct region_link *l, const struct frame *f, uint64_t seq, uint64_t *copied,
                                uint64_t *inlined)
{
    *copied = *inlined = 0;
    for (size_t i = 0; i < f->tensor_count; i++) {
        struct tensor *t = &l->tensors[i];
        *t = f->tensors[i];
        if (!name_region(l, t, seq))
            *(t->size_bytes < l->port->inline_max ? inlined : copied) += t->size_bytes;
    }
    return l->tensors;
}

void region_link_release(struct region_link *l, uint64_t consumed)
{
    size_t before = l->count;
    while (l->count > 0 && l->held[l->first].seq < consumed) {
        region_pool_release(l->held[l->first].pool, l->held[l->first].slot);
        l->first = (l->first + 1) & (l->cap - 1);
        l->count--;
    }
    if (l->count != before) region_port_sweep(l->port);
}
