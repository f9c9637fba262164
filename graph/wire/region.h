/* Regions: tensor bytes that lie in the sender's shared memory and are read in place by the next process of
 * the same host and user. A frame then names (pool, slot, generation, offset, size) instead of carrying the
 * bytes.
 *
 *   region_pool.c  one pool: a sealed memfd cut into slots             } the sender's process: one
 *   region_port.c  the pools of one output port, memory for its ops    } region_port an output,
 *   region_link.c  what one link was told of them, and what it holds   } one region_link a link
 *   region_map.c   the receiver's process: pools of others, mapped read-only
 *   region_works.c whether all this works here
 *
 * Invariants. Reference counts are in the owner's private memory: nothing that another process does or fails
 * to do, dying included, can lock or corrupt them. A slot is written again only when every link that was
 * given it has said that its frame is consumed; where a link ends without saying so, the whole pool is
 * retired: its slots are never used again, and the kernel keeps its pages for as long as a reader maps them.
 * What a frame names is checked against what was announced and mapped, so that a wrong one is an error and
 * never a fault. Nothing here has a name in a file system, so nothing is left behind whoever is killed.
 *
 * One thread: the stage's. */
#ifndef GRAPH_WIRE_REGION_H
#define GRAPH_WIRE_REGION_H

#include "graph/wire/frame.h"

/* Tensors below REGION_INLINE_MAX bytes ride in the message: measured, docs/performance.md. */
enum { REGION_ALIGNMENT = 64, REGION_INLINE_MAX = 4096, REGION_POOLS_MAX = 64, REGION_SLOTS_MAX = 65536 };

/* What a sender says of a pool (message POOL); all that a reader in any language needs to map it. */
struct region_offer {
    uint32_t number; /* counts from 1 within the port */
    uint32_t oldest; /* pools below it are no longer named by any frame */
    uint32_t slots;
    uint64_t slot_bytes; /* a multiple of the page size */
    int32_t pid, fd;     /* /proc/<pid>/fd/<fd>, on the host that has this key: */
    uint64_t inode;
    const char *host;
};

/* Boot id and pid namespace: equal in two processes if a pid means the same process to both. Any thread. */
const char *region_host(void);

/* --- the sender's process --- */

struct region_port;
struct region_link;

/* The pools of one output port; none exists before the first region_port_buffer, and none ever with
 * THEA_REGIONS=off in the environment. name: of the port, for messages; copied. Aborts without memory. */
struct region_port *region_port_new(const char *name);
/* Readers keep what they have mapped. All its links must be closed, or never be used again. NULL is fine. */
void region_port_free(struct region_port *p);

/* 64-byte aligned shared memory for one tensor of the frame that is being made, or NULL: it is too small, no
 * link of the port takes regions, or no slot is free; the caller then uses memory of its own, and the link
 * copies. All buffers of a frame share one slot where they fit; else a pool of larger slots is made, and used
 * from then on. So nothing is allocated once the largest frame was seen. */
void *region_port_buffer(struct region_port *p, size_t bytes);
bool region_port_has(const struct region_port *p, const void *data); /* is it in one of its pools? */
/* The frame is sent on all links, or dropped: its maker's own references go. */
void region_port_done(struct region_port *p);
/* Can the next frame have a slot? A stage asks before it runs an op. True where no slots are needed. With all
 * frames of one size credit implies it: a pool has one slot more than its links may have unconsumed frames.
 */
bool region_port_ready(const struct region_port *p);

uint64_t region_port_bytes(const struct region_port *p);  /* shared memory of all its pools */
uint32_t region_port_in_use(const struct region_port *p); /* slots with a reference, over all pools */
uint32_t region_port_pools(const struct region_port *p);

/* One link's share. It takes part once region_link_open was called. */
struct region_link *region_link_new(struct region_port *p);
/* What it still holds retires its pools. NULL is fine. */
void region_link_free(struct region_link *l);
/* A session begins with a reader that knows no pool (a reset): what was held before retires its pools.
 * frames, bytes: the reader's window. */
void region_link_open(struct region_link *l, uint64_t frames, uint64_t bytes);
/* Nobody is there, and who was there will not come back: as region_link_free, but it can be opened again. */
void region_link_close(struct region_link *l);
/* A session goes on with the same reader: what it did not answer is asked again. */
void region_link_resume(struct region_link *l);
/* The next thing to tell the reader, if there is one. */
bool region_link_offer(struct region_link *l, struct region_offer *out);
/* The reader's answer to pool `number`. Not mapped: this link copies from now on; but if the pool is retired
 * meanwhile, it may well be that it was not there any more, so the next one is offered. False: it was never
 * asked. */
bool region_link_answer(struct region_link *l, uint32_t number, bool mapped);
bool region_link_refused(const struct region_link *l); /* it copies */
/* No answer is owed and nothing is to be told: a frame may go. */
bool region_link_settled(const struct region_link *l);
/* f's tensors as they leave on this link as frame `seq`: those in a slot that the reader has mapped name
 * their region and take a reference, until region_link_release. Returns the tensors, valid until the next
 * call; *copied, *inlined: bytes of the others, from REGION_INLINE_MAX on and below. */
struct tensor *region_link_take(struct region_link *l, const struct frame *f, uint64_t seq, uint64_t *copied,
                                uint64_t *inlined);
/* Frames below `consumed` were consumed: their references go. Absolute, so that a lost message loses nothing.
 */
void region_link_release(struct region_link *l, uint64_t consumed);

/* Where in this process a region lies that was named on this link and is not released. */
const void *region_link_data(const struct region_link *l, const struct tensor_region *r);

/* --- the receiver's process --- */

struct region_maps; /* the pools of one link's sender */
struct region_maps *region_maps_new(void);
void region_maps_free(struct region_maps *m); /* NULL is fine */
/* Map what was offered, once; unmap those below o->oldest. Errors: THEA_EPERM, THEA_EFRAME, THEA_EOS with the
 * reason why it cannot be read in place: another host or user, no permission, not the file that was
 * announced, not sealed, too short. */
THEA_CHECK thea_rc region_maps_add(struct region_maps *m, const struct region_offer *o, struct thea_err *err);
/* Give f's tensors that lie in regions their data, and make them plain tensors. Errors: THEA_EFRAME: a pool
 * that is not mapped, a slot or bytes outside of it, a slot whose later use was already seen. */
THEA_CHECK thea_rc region_maps_resolve(struct region_maps *m, struct frame *f, struct thea_err *err);
uint32_t region_maps_count(const struct region_maps *m);

/* Do regions work in this place? Makes a pool and reads it through /proc, as two processes would. Errors: why
 * not. */
THEA_CHECK thea_rc region_works(struct thea_err *err);

#endif
