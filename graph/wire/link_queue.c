/* Queues of messages, and encoding into messages: see link_impl.h. */
#include "graph/wire/link_impl.h"

#include <stdlib.h>

enum { ALIGNMENT = 64 };

/* --- queues --- */

static void make_room(struct link_queue *q)
{
    if (q->count < q->cap) return;
    size_t cap = q->cap == 0 ? 16 : q->cap * 2;
    nng_msg **items = malloc(cap * sizeof(nng_msg *));
    if (items == NULL) abort();
    for (size_t i = 0; i < q->count; i++) items[i] = link_queue_at(q, i);
    free((void *)q->items);
    *q = (struct link_queue){.items = items, .count = q->count, .cap = cap};
}

void link_queue_push(struct link_queue *q, nng_msg *m)
{
    make_room(q);
    q->items[(q->first + q->count) & (q->cap - 1)] = m;
    q->count++;
}

nng_msg *link_queue_at(const struct link_queue *q, size_t i)
{
    return q->items[(q->first + i) & (q->cap - 1)];
}

nng_msg *link_queue_pop(struct link_queue *q)
{
    if (q->count == 0) return NULL;
    nng_msg *m = q->items[q->first];
    q->first = (q->first + 1) & (q->cap - 1);
    q->count--;
    return m;
}

void link_queue_clear(struct link_queue *q)
{
    for (nng_msg *m; (m = link_queue_pop(q)) != NULL;) nng_msg_free(m);
}

void link_queue_fini(struct link_queue *q)
{
    link_queue_clear(q);
    free((void *)q->items);
    *q = (struct link_queue){0};
}

/* --- encoding into messages --- */

/* The body is a little larger than the frame's bound, so that the frame can begin at a 64-byte border of
 * memory. */
struct body {
    nng_msg *msg;
    size_t skip;
};

static void *body_alloc(void *context, size_t size)
{
    struct body *b = context;
    nng_msg_free(b->msg);
    b->msg = NULL;
    if (nng_msg_alloc(&b->msg, size + ALIGNMENT) != 0) return NULL;
    uintptr_t at = (uintptr_t)nng_msg_body(b->msg);
    b->skip = (ALIGNMENT - at % ALIGNMENT) % ALIGNMENT;
    return (char *)nng_msg_body(b->msg) + b->skip;
}

/* Cut the body to the message that lies in it. Takes no copy. */
static nng_msg *body_cut(struct body *b, size_t offset, size_t size)
{
    nng_msg_trim(b->msg, b->skip + offset);
    nng_msg_chop(b->msg, nng_msg_len(b->msg) - size);
    return b->msg;
}

nng_msg *link_message_new(size_t size)
{
    struct body b = {0};
    return body_alloc(&b, size) != NULL ? body_cut(&b, 0, size) : NULL;
}

thea_rc link_encode_frame(nng_msg **out, const struct frame *f, struct thea_err *err)
{
    struct body b = {0};
    size_t offset, size;
    thea_rc rc = codec_encode_frame(f, body_alloc, &b, &offset, &size, err);
    if (rc == THEA_OK)
        *out = body_cut(&b, offset, size);
    else
        nng_msg_free(b.msg);
    return rc;
}

thea_rc link_encode_message(nng_msg **out, const struct link_message *m, struct thea_err *err)
{
    struct body b = {0};
    size_t offset, size;
    thea_rc rc = codec_encode_link(m, body_alloc, &b, &offset, &size, err);
    if (rc == THEA_OK)
        *out = body_cut(&b, offset, size);
    else
        nng_msg_free(b.msg);
    return rc;
}
