/* A sender's frames that are not acknowledged yet: what is sent again when a pipe was lost. Invariant: their
 * numbers follow each other without a gap, and no more are there than credit allowed. And the numbers of
 * those that are large and not consumed. */
#include "graph/wire/link_impl.h"

#include <stdlib.h>
#include <string.h>

static struct link_kept_frame *item(const struct link_kept *k, size_t i)
{
    return &k->items[(k->first + i) & (k->cap - 1)];
}

const struct link_kept_frame *link_kept_at(const struct link_kept *k, size_t i)
{
    return item(k, i);
}

void link_kept_push(struct link_kept *k, struct link_kept_frame frame)
{
    if (k->count == k->cap) {
        size_t cap = k->cap == 0 ? 16 : k->cap * 2;
        struct link_kept_frame *items = malloc(cap * sizeof *items);
        if (items == NULL) abort();
        for (size_t i = 0; i < k->count; i++) items[i] = *item(k, i);
        free(k->items);
        *k = (struct link_kept){.items = items, .count = k->count, .cap = cap};
    }
    *item(k, k->count++) = frame;
}

void link_kept_replace(struct link_kept *k, size_t i, struct link_packet *packet)
{
    link_packet_free(item(k, i)->packet);
    item(k, i)->packet = packet;
}

static void drop_first(struct link_kept *k)
{
    link_packet_free(item(k, 0)->packet);
    k->first = (k->first + 1) & (k->cap - 1);
    k->count--;
}

void link_kept_acknowledge(struct link_kept *k, uint64_t ack_seq)
{
    while (k->count > 0 && item(k, 0)->seq < ack_seq) drop_first(k);
}

/* The connection that is gone may still write the packet: then another gets the number. */
static struct link_packet *renumbered(struct link_packet *p, uint64_t seq)
{
    if (link_packet_is_shared(p)) {
        struct link_packet *copy = link_packet_new(p->size);
        if (copy == NULL) abort();
        memcpy(copy->bytes, p->bytes, p->size);
        link_packet_free(p);
        p = copy;
    }
    codec_renumber_frame(p->bytes, seq);
    return p;
}

size_t link_kept_restart(struct link_kept *k, uint64_t epoch)
{
    size_t before = k->count, kept = 0;
    for (size_t i = 0; i < before; i++) {
        struct link_kept_frame f = *item(k, i);
        if (f.epoch < epoch) {
            link_packet_free(f.packet);
            continue;
        }
        f.seq = kept;
        f.packet = renumbered(f.packet, f.seq);
        *item(k, kept++) = f;
    }
    k->count = kept;
    return before - kept;
}

void link_kept_fini(struct link_kept *k)
{
    while (k->count > 0) drop_first(k);
    free(k->items);
    *k = (struct link_kept){0};
}

/* --- numbers --- */

void link_seqs_push(struct link_seqs *s, uint64_t seq)
{
    if (s->count == s->cap) {
        size_t cap = s->cap == 0 ? 16 : s->cap * 2;
        uint64_t *items = reallocarray(NULL, cap, sizeof *items);
        if (items == NULL) abort();
        for (size_t i = 0; i < s->count; i++) items[i] = s->items[(s->first + i) & (s->cap - 1)];
        free(s->items);
        *s = (struct link_seqs){.items = items, .count = s->count, .cap = cap};
    }
    s->items[(s->first + s->count++) & (s->cap - 1)] = seq;
}

void link_seqs_drop(struct link_seqs *s, uint64_t below)
{
    while (s->count > 0 && s->items[s->first] < below) {
        s->first = (s->first + 1) & (s->cap - 1);
        s->count--;
    }
}

void link_seqs_fini(struct link_seqs *s)
{
    free(s->items);
    *s = (struct link_seqs){0};
}
