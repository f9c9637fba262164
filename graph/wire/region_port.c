/* The pools of one output port. See region.h.
 *
 * There is one pool in use, the newest; older ones wait until their last slot comes back. A larger one takes
 * its place when a frame does not fit a slot: shapes are often known only when the first frames are made.
 * Invariant: a frame's buffers are in one slot, but for the frame that made the pool grow. */
#include "graph/wire/region_impl.h"

#include "graph/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct region_port *region_port_new(const char *name)
{
    struct region_port *p = calloc(1, sizeof *p);
    if (p == NULL || (p->name = strdup(name)) == NULL) abort();
    p->inline_max = REGION_INLINE_MAX;
    const char *wish = getenv("THEA_REGIONS");
    p->failed = wish != NULL && strcmp(wish, "off") == 0;
    return p;
}

void region_port_free(struct region_port *p)
{
    if (p == NULL) return;
    while (p->pools != NULL) {
        struct region_pool *next = p->pools->next;
        region_pool_close(p->pools);
        p->pools = next;
    }
    free(p->name);
    free(p);
}

/* --- what there is --- */

static struct region_pool *current(const struct region_port *p)
{
    return p->pools != NULL && !p->pools->retired ? p->pools : NULL;
}

uint32_t region_port_oldest(const struct region_port *p)
{
    uint32_t oldest = p->last + 1;
    for (const struct region_pool *pool = p->pools; pool != NULL; pool = pool->next) oldest = pool->number;
    return oldest;
}

uint32_t region_port_pools(const struct region_port *p)
{
    uint32_t n = 0;
    for (const struct region_pool *pool = p->pools; pool != NULL; pool = pool->next) n++;
    return n;
}

uint64_t region_port_bytes(const struct region_port *p)
{
    uint64_t n = 0;
    for (const struct region_pool *pool = p->pools; pool != NULL; pool = pool->next) n += pool->bytes;
    return n;
}

uint32_t region_port_in_use(const struct region_port *p)
{
    uint32_t n = 0;
    for (const struct region_pool *pool = p->pools; pool != NULL; pool = pool->next)
        n += region_pool_in_use(pool);
    return n;
}

void region_port_sweep(struct region_port *p)
{
    for (struct region_pool **at = &p->pools; *at != NULL;) {
        struct region_pool *pool = *at;
        if (!pool->retired || region_pool_in_use(pool) > 0) {
            at = &pool->next;
            continue;
        }
        *at = pool->next;
        region_pool_close(pool);
    }
}

/* --- pools --- */

bool region_port_wanted(const struct region_port *p)
{
    for (const struct region_link *l = p->links; l != NULL; l = l->next)
        if (l->open && !l->refused) return true;
    return false;
}

/* One for the frame that is made, and as many as each reader may leave unconsumed. */
uint64_t region_port_slots(const struct region_port *p, uint64_t slot_bytes)
{
    uint64_t slots = 1;
    for (const struct region_link *l = p->links; l != NULL; l = l->next) {
        if (!l->open || l->refused) continue;
        uint64_t fit = l->bytes / slot_bytes;
        if (fit < 2) fit = 2;
        slots += fit < l->frames ? fit : l->frames;
    }
    return slots < REGION_SLOTS_MAX ? slots : REGION_SLOTS_MAX;
}

/* Grow by a quarter at least: documents that get longer one by one must not make a pool each. */
static uint64_t slot_bytes_for(const struct region_port *p, uint64_t bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), size = p->slot_bytes;
    if (bytes > size) size = bytes > size + size / 4 ? bytes : size + size / 4;
    return (size + page - 1) / page * page;
}

static struct region_pool *add_pool(struct region_port *p, uint64_t bytes)
{
    struct thea_err err;
    struct region_pool *pool = NULL;
    uint64_t slot_bytes = slot_bytes_for(p, bytes);
    if (p->failed || p->last + 1 - region_port_oldest(p) >= REGION_POOLS_MAX) return NULL;
    uint32_t slots = (uint32_t)region_port_slots(p, slot_bytes);
    if (region_pool_open(&pool, slots, slot_bytes, &err) != THEA_OK) {
        thea_warning("output '%s': no pool for %u frames, so their tensors are copied: %s", p->name, slots,
                     err.message);
        p->failed = true;
        return NULL;
    }
    if (p->pools != NULL) p->pools->retired = true;
    pool->number = ++p->last;
    pool->next = p->pools;
    p->pools = pool;
    p->slot_bytes = slot_bytes;
    for (struct region_link *l = p->links; l != NULL; l = l->next)
        l->mapped &= ~(UINT64_C(1) << pool->number % REGION_POOLS_MAX);
    region_port_sweep(p);
    return pool;
}

/* --- the frame being made --- */

static void *begin_slot(struct region_port *p, struct region_pool *pool, uint64_t bytes)
{
    struct region_held h = {.pool = pool};
    if (p->making_count == REGION_POOLS_MAX || !region_pool_take(pool, &h.slot)) return NULL;
    p->making[p->making_count++] = h;
    p->used = bytes;
    p->total += bytes;
    return pool->base + h.slot * pool->slot_bytes;
}

void *region_port_buffer(struct region_port *p, size_t bytes)
{
    if (bytes < p->inline_max || bytes > FRAME_MAX_BYTES || !region_port_wanted(p)) return NULL;
    uint64_t size = (bytes + REGION_ALIGNMENT - 1) & ~(uint64_t)(REGION_ALIGNMENT - 1);
    struct region_held *last = p->making_count > 0 ? &p->making[p->making_count - 1] : NULL;
    if (last != NULL && last->pool->slot_bytes - p->used >= size) {
        char *at = last->pool->base + last->slot * last->pool->slot_bytes + p->used;
        p->used += size;
        p->total += size;
        return at;
    }
    struct region_pool *pool = current(p);
    if (pool == NULL || last != NULL || pool->slot_bytes < size) pool = add_pool(p, p->total + size);
    return pool != NULL ? begin_slot(p, pool, size) : NULL;
}

bool region_port_has(const struct region_port *p, const void *data)
{
    for (const struct region_pool *pool = p->pools; pool != NULL; pool = pool->next)
        if (region_pool_has(pool, data)) return true;
    return false;
}

void region_port_done(struct region_port *p)
{
    if (p->making_count == 0) return;
    for (size_t i = 0; i < p->making_count; i++) region_pool_release(p->making[i].pool, p->making[i].slot);
    p->making_count = 0;
    p->used = p->total = 0;
    region_port_sweep(p);
}

bool region_port_ready(const struct region_port *p)
{
    const struct region_pool *pool = current(p);
    return pool == NULL || pool->free_count > 0 || !region_port_wanted(p);
}
