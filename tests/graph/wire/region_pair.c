/* See region_pair.h. */
#include "tests/graph/wire/region_pair.h"

#include <criterion/criterion.h>
#include <string.h>

struct pair pair_new(int readers, uint64_t frames, uint64_t bytes)
{
    struct pair p = {.port = region_port_new("x"), .readers = readers};
    for (int i = 0; i < readers; i++) {
        p.reader[i].link = region_link_new(p.port);
        p.reader[i].maps = region_maps_new();
        region_link_open(p.reader[i].link, frames, bytes);
    }
    return p;
}

void pair_free(struct pair *p)
{
    for (int i = 0; i < p->readers; i++) {
        region_link_free(p->reader[i].link);
        region_maps_free(p->reader[i].maps);
    }
    region_port_free(p->port);
}

void pair_settle(struct pair *p, int i)
{
    struct region_offer o;
    struct thea_err err = {0};
    while (region_link_offer(p->reader[i].link, &o)) {
        cr_assert_eq(region_maps_add(p->reader[i].maps, &o, &err), THEA_OK, "%s", err.message);
        if (o.slots > 0) cr_assert(region_link_answer(p->reader[i].link, o.number, true));
    }
    cr_assert(region_link_settled(p->reader[i].link));
}

static void read_frame(struct pair_reader *r, const struct frame *f)
{
    uint64_t copied, inlined;
    struct thea_err err = {0};
    struct frame there = *f;
    there.tensors = region_link_take(r->link, f, r->sent++, &copied, &inlined);
    cr_assert_eq(copied, 0);
    for (size_t i = 0; i < f->tensor_count; i++) {
        cr_assert(there.tensors[i].in_region || there.tensors[i].size_bytes < REGION_INLINE_MAX);
        if (there.tensors[i].in_region) there.tensors[i].data = NULL;
    }
    cr_assert_eq(region_maps_resolve(r->maps, &there, &err), THEA_OK, "%s", err.message);
    for (size_t i = 0; i < f->tensor_count; i++) {
        const struct tensor *t = &there.tensors[i];
        cr_assert_not(t->in_region);
        cr_assert_eq((uintptr_t)t->data % REGION_ALIGNMENT, 0);
        cr_assert_neq(t->data, f->tensors[i].data, "mapped a second time, not the sender's own memory");
        cr_assert_eq(memcmp(t->data, f->tensors[i].data, t->size_bytes), 0);
    }
}

void pair_send(struct pair *p, size_t n, unsigned char fill)
{
    char *data = region_port_buffer(p->port, n);
    cr_assert_not_null(data);
    memset(data, fill, n);
    struct tensor t = tensor_1d("x", TENSOR_U8, data, n);
    for (int i = 0; i < p->readers; i++) {
        pair_settle(p, i);
        read_frame(&p->reader[i], &(struct frame){.tensors = &t, .tensor_count = 1});
    }
    region_port_done(p->port);
}

void pair_consume(struct pair *p, int i, uint64_t frames)
{
    p->reader[i].consumed += frames;
    region_link_release(p->reader[i].link, p->reader[i].consumed);
}

struct region_offer pair_offer(const struct pair *p)
{
    cr_assert_not_null(p->port->pools);
    struct region_offer o = region_pool_offer(p->port->pools);
    o.oldest = 1;
    return o;
}
