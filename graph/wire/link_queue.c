/* Queues of packets: see link_impl.h. */
#include "graph/wire/link_impl.h"

#include <stdlib.h>

static void make_room(struct link_queue *q)
{
    if (q->count < q->cap) return;
    size_t cap = q->cap == 0 ? 16 : q->cap * 2;
    struct link_packet **items = malloc(cap * sizeof(struct link_packet *));
    if (items == NULL) abort();
    for (size_t i = 0; i < q->count; i++) items[i] = link_queue_at(q, i);
    free((void *)q->items);
    *q = (struct link_queue){.items = items, .count = q->count, .cap = cap};
}

void link_queue_push(struct link_queue *q, struct link_packet *p)
{
    make_room(q);
    q->items[(q->first + q->count) & (q->cap - 1)] = p;
    q->count++;
}

struct link_packet *link_queue_at(const struct link_queue *q, size_t i)
{
    return q->items[(q->first + i) & (q->cap - 1)];
}

struct link_packet *link_queue_pop(struct link_queue *q)
{
    if (q->count == 0) return NULL;
    struct link_packet *p = q->items[q->first];
    q->first = (q->first + 1) & (q->cap - 1);
    q->count--;
    return p;
}

void link_queue_clear(struct link_queue *q)
{
    for (struct link_packet *p; (p = link_queue_pop(q)) != NULL;) link_packet_free(p);
}

void link_queue_fini(struct link_queue *q)
{
    link_queue_clear(q);
    free((void *)q->items);
    *q = (struct link_queue){0};
}
