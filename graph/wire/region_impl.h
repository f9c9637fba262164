/* The sender's inside of regions, for graph/wire/region_*.c and their tests only. */
#ifndef GRAPH_WIRE_REGION_IMPL_H
#define GRAPH_WIRE_REGION_IMPL_H

#include "graph/wire/region.h"

struct region_slot {
    uint32_t references;
    uint64_t generation;
};

struct region_pool {
    struct region_pool *next; /* older */
    uint32_t number, slots;
    uint64_t slot_bytes, bytes;
    int fd;
    uint64_t inode;
    char *base;
    struct region_slot *slot;
    uint32_t *free; /* a stack: what was freed last is still in the cache */
    uint32_t free_count;
    bool retired; /* no slot of it is given out any more */
};

/* All its memory is there when it returns. Errors: THEA_EOS. */
THEA_CHECK thea_rc region_pool_open(struct region_pool **out, uint32_t slots, uint64_t slot_bytes,
                                    struct thea_err *err);
void region_pool_close(struct region_pool *pool);                /* NULL is fine */
bool region_pool_take(struct region_pool *pool, uint32_t *slot); /* with one reference; false: none is free */
void region_pool_refer(struct region_pool *pool, uint32_t slot); /* one more, to a slot in use */
void region_pool_release(struct region_pool *pool, uint32_t slot);      /* one less */
bool region_pool_has(const struct region_pool *pool, const void *data); /* is data in it? */
uint32_t region_pool_in_use(const struct region_pool *pool);
struct region_offer region_pool_offer(const struct region_pool *pool);

/* A frame of a link that its reader has not consumed. */
struct region_held {
    uint64_t seq;
    struct region_pool *pool;
    uint32_t slot;
};

struct region_link {
    struct region_link *next; /* in its port */
    struct region_port *port;
    bool open, refused;       /* refused: it copies, until another reader comes */
    uint64_t frames, bytes;   /* the reader's window */
    uint32_t asked, answered; /* newest pools announced, answered */
    uint32_t told_oldest;
    uint64_t mapped;          /* pools that the reader has: bit number % REGION_POOLS_MAX */
    struct region_held *held; /* ring, oldest first */
    size_t first, count, cap; /* cap: a power of two */
    struct tensor *tensors;   /* FRAME_TENSORS_MAX, of the frame being sent */
};

struct region_port {
    char *name;
    struct region_pool *pools; /* newest first; the first gives slots unless it is retired */
    uint32_t last;             /* number of the newest pool ever */
    uint64_t slot_bytes;       /* of the newest pool ever */
    uint64_t inline_max;       /* REGION_INLINE_MAX, except where it is measured */
    bool failed;               /* no memory for a pool: told once, not tried again */
    struct region_link *links;
    /* The frame being made: its slots, and how much of the newest is used. */
    struct region_held making[REGION_POOLS_MAX]; /* seq is not used */
    size_t making_count;
    uint64_t used, total; /* bytes in the last slot; in all slots of this frame */
};

bool region_port_wanted(const struct region_port *p); /* does any link take regions? */
uint64_t region_port_slots(const struct region_port *p, uint64_t slot_bytes); /* that its links may need */
/* Close what is retired and unused. */
void region_port_sweep(struct region_port *p);
uint32_t region_port_oldest(
    const struct region_port *p); /* lowest number of a pool that still exists, or that will */

#endif
