/* Packets, and encoding into them: see link_impl.h. A few large blocks are kept for the next packets, in any
 * thread: memory fresh from the kernel costs as much again as the copy into it, and malloc gives back what is
 * freed. */
#include "graph/wire/link_impl.h"

#include <stdlib.h>

enum { ALIGNMENT = 64, SPARES = 4, SPARE_MIN = 128 << 10, SPARE_MAX = 8 << 20 };
_Static_assert(sizeof(struct link_packet) <= ALIGNMENT, "a packet's bytes begin one border behind it");

static struct {
    pthread_mutex_t lock;
    struct link_packet *items[SPARES];
    unsigned next; /* is replaced when all are taken */
} spares = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool is_spare_size(size_t room)
{
    return room >= SPARE_MIN && room <= SPARE_MAX;
}

/* One that fits and wastes no more than half of itself, or NULL. */
static struct link_packet *take_spare(size_t room)
{
    struct link_packet *found = NULL;
    if (!is_spare_size(room)) return NULL;
    pthread_mutex_lock(&spares.lock);
    for (size_t i = 0; i < SPARES && found == NULL; i++) {
        struct link_packet *p = spares.items[i];
        if (p == NULL || p->room < room || p->room / 2 > room) continue;
        found = p;
        spares.items[i] = NULL;
    }
    pthread_mutex_unlock(&spares.lock);
    return found;
}

static void keep_or_free(struct link_packet *p)
{
    size_t at = 0;
    if (!is_spare_size(p->room)) {
        free(p);
        return;
    }
    pthread_mutex_lock(&spares.lock);
    while (at < SPARES && spares.items[at] != NULL) at++;
    if (at == SPARES) at = spares.next++ % SPARES;
    struct link_packet *replaced = spares.items[at];
    spares.items[at] = p;
    pthread_mutex_unlock(&spares.lock);
    free(replaced);
}

struct link_packet *link_packet_new(size_t size)
{
    if (size > SIZE_MAX / 2) return NULL;
    size_t room = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    struct link_packet *p = take_spare(room);
    if (p == NULL) {
        p = aligned_alloc(ALIGNMENT, ALIGNMENT + room);
        if (p == NULL) return NULL;
        p->room = room;
    }
    p->bytes = (unsigned char *)p + ALIGNMENT;
    p->size = size;
    p->conn = 0;
    atomic_init(&p->holders, 1);
    return p;
}

struct link_packet *link_packet_share(struct link_packet *p)
{
    atomic_fetch_add_explicit(&p->holders, 1, memory_order_relaxed);
    return p;
}

bool link_packet_is_shared(struct link_packet *p)
{
    return atomic_load_explicit(&p->holders, memory_order_acquire) > 1; /* what the others read is read */
}

void link_packet_free(struct link_packet *p)
{
    if (p != NULL && atomic_fetch_sub_explicit(&p->holders, 1, memory_order_acq_rel) == 1) keep_or_free(p);
}

/* --- encoding --- */

static void *packet_alloc(void *context, size_t size)
{
    struct link_packet **p = context;
    link_packet_free(*p);
    *p = link_packet_new(size);
    return *p != NULL ? (*p)->bytes : NULL;
}

/* The message is a part of the block, which was allocated for the largest that it might have been. */
static thea_rc cut(struct link_packet **out, struct link_packet *p, size_t offset, size_t size, thea_rc rc)
{
    if (rc == THEA_OK) {
        p->bytes += offset;
        p->size = size;
        *out = p;
    } else {
        link_packet_free(p);
    }
    return rc;
}

thea_rc link_encode_frame(struct link_packet **out, const struct frame *f, struct thea_err *err)
{
    struct link_packet *p = NULL;
    size_t offset = 0, size = 0;
    thea_rc rc = codec_encode_frame(f, packet_alloc, &p, &offset, &size, err);
    return cut(out, p, offset, size, rc);
}

thea_rc link_encode_message(struct link_packet **out, const struct link_message *m, struct thea_err *err)
{
    struct link_packet *p = NULL;
    size_t offset = 0, size = 0;
    thea_rc rc = codec_encode_link(m, packet_alloc, &p, &offset, &size, err);
    return cut(out, p, offset, size, rc);
}
