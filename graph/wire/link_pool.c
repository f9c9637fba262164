/* Regions on a link: what its sender's pools are, said ahead of the frames that lie in them (region.h).
 *
 *   sender    POOL number, pid, fd, inode, slots, slot_bytes, oldest  >
 *             <  POOL_OK number, and why not if it could not be mapped    receiver
 *
 * Nothing of a pool is sent before the answer; without a mapping the bytes go in the messages. There is no
 * message that releases a slot: CREDIT says how many frames are consumed, and with a frame goes all it had.
 */
#include "graph/wire/link_impl.h"

#include "graph/log.h"

#include <stdlib.h>

void link_pool_init(struct link *ln)
{
    if (ln->role == LINK_RECEIVER)
        ln->maps = region_maps_new();
    else if (ln->o.regions != NULL)
        ln->regions = region_link_new(ln->o.regions);
}

void link_pool_fini(struct link *ln)
{
    region_link_free(ln->regions);
    region_maps_free(ln->maps);
    region_maps_free(ln->orphan_maps);
}

/* --- sender --- */

void link_pool_window(struct link *ln)
{
    if (ln->regions != NULL && ln->same_host)
        region_link_open(ln->regions, ln->large_window, ln->limit_bytes);
}

void link_pool_resume(struct link *ln)
{
    if (ln->regions != NULL) region_link_resume(ln->regions);
}

void link_pool_tell(struct link *ln)
{
    struct region_offer o;
    if (ln->regions == NULL || ln->state != LINK_OPEN) return;
    while (region_link_offer(ln->regions, &o))
        link_tell(ln, &(struct link_message){.kind = LINK_POOL,
                                             .pool = o.number,
                                             .oldest_pool = o.oldest,
                                             .slots = o.slots,
                                             .slot_bytes = o.slot_bytes,
                                             .pid = o.pid,
                                             .fd = o.fd,
                                             .inode = o.inode,
                                             .host = o.host});
}

bool link_pool_settled(const struct link *ln)
{
    return ln->regions == NULL || region_link_settled(ln->regions);
}

void link_pool_answered(struct link *ln, const struct link_message *m)
{
    char reason[256];
    bool mapped = m->reason[0] == '\0';
    if (ln->regions == NULL || !region_link_answer(ln->regions, m->pool, mapped))
        link_fail(ln, THEA_EFRAME, "it answers for pool %u, of which it was not told", m->pool);
    else if (!mapped && region_link_refused(ln->regions))
        thea_warning("link %u, port '%s': tensors are copied, for %s cannot read them in place: %s",
                     ln->o.address.number, ln->o.port, link_peer(ln),
                     link_clean(reason, sizeof reason, m->reason));
}

struct tensor *link_pool_take(struct link *ln, const struct frame *f)
{
    uint64_t copied = 0, inlined = 0;
    struct tensor *tensors = f->tensors;
    if (ln->regions != NULL)
        tensors = region_link_take(ln->regions, f, ln->seq, &copied, &inlined);
    else
        for (size_t i = 0; i < f->tensor_count; i++)
            *(f->tensors[i].size_bytes < REGION_INLINE_MAX ? &inlined : &copied) += f->tensors[i].size_bytes;
    if (ln->o.status == NULL) return tensors;
    link_count(&ln->o.status->copied_bytes, copied);
    link_count(&ln->o.status->inlined_bytes, inlined);
    return tensors;
}

void link_pool_release(struct link *ln)
{
    if (ln->regions == NULL || ln->window == 0) return;
    region_link_release(ln->regions, ln->limit_seq - ln->window);
    link_pool_tell(ln);
}

/* The message of a kept frame with its bytes in it, or NULL if they are there already. */
static struct link_packet *inlined(struct link *ln, const struct link_packet *p, struct codec_arena *arena)
{
    struct frame f;
    struct thea_err err;
    struct link_packet *whole = NULL;
    bool any = false;
    thea_rc rc = codec_decode_frame_on_link(&f, p->bytes, p->size, arena, &err);
    for (size_t i = 0; rc == THEA_OK && i < f.tensor_count; i++) {
        if (!f.tensors[i].in_region) continue;
        f.tensors[i].data = region_link_data(ln->regions, &f.tensors[i].region);
        f.tensors[i].in_region = false;
        if (ln->o.status != NULL) link_count(&ln->o.status->copied_bytes, f.tensors[i].size_bytes);
        any = true;
    }
    if (rc == THEA_OK && any) rc = link_encode_frame(&whole, &f, &err);
    if (rc != THEA_OK) link_fail(ln, rc, "%s", err.message);
    return whole;
}

void link_pool_reset_sender(struct link *ln)
{
    if (ln->regions == NULL) return;
    struct codec_arena *arena = codec_arena_new();
    if (arena == NULL) abort();
    for (size_t i = 0; i < ln->kept.count; i++) {
        struct link_packet *whole = inlined(ln, link_kept_at(&ln->kept, i)->packet, arena);
        if (whole != NULL) link_kept_replace(&ln->kept, i, whole);
    }
    codec_arena_free(arena);
    region_link_close(ln->regions);
}

/* --- receiver --- */

void link_pool_offered(struct link *ln, const struct link_message *m)
{
    struct thea_err err = {0};
    struct region_offer o = {.number = m->pool,
                             .oldest = m->oldest_pool,
                             .slots = m->slots,
                             .slot_bytes = m->slot_bytes,
                             .pid = m->pid,
                             .fd = m->fd,
                             .inode = m->inode,
                             .host = m->host};
    thea_rc rc = region_maps_add(ln->maps, &o, &err);
    if (o.number == 0) return; /* only that older ones are gone */
    link_tell(ln, &(struct link_message){
                      .kind = LINK_POOL_OK, .pool = o.number, .reason = rc == THEA_OK ? "" : err.message});
}

/* What its owner has in hand is read until it is consumed, whoever sends from now on. */
void link_pool_reset_receiver(struct link *ln)
{
    if (ln->orphan != NULL && ln->orphan_maps == NULL)
        ln->orphan_maps = ln->maps;
    else
        region_maps_free(ln->maps);
    ln->maps = region_maps_new();
}

void link_pool_orphan_gone(struct link *ln)
{
    region_maps_free(ln->orphan_maps);
    ln->orphan_maps = NULL;
}
