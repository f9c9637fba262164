/* A port and readers of it in one process, for the tests of regions: what links do, without links. */
#ifndef TESTS_GRAPH_WIRE_REGION_PAIR_H
#define TESTS_GRAPH_WIRE_REGION_PAIR_H

#include "graph/wire/region_impl.h"

enum { PAIR_READERS = 2 };

struct pair_reader {
    struct region_link *link;
    struct region_maps *maps;
    uint64_t sent, consumed;
};

struct pair {
    struct region_port *port;
    struct pair_reader reader[PAIR_READERS];
    int readers;
};

/* So many readers with windows of `frames` frames and `bytes` bytes. */
struct pair pair_new(int readers, uint64_t frames, uint64_t bytes);
void pair_free(struct pair *p);
/* Everything that is to be told goes to reader i, which maps it and answers. */
void pair_settle(struct pair *p, int i);
/* A frame of one u8 tensor of n bytes, each `fill`, to all readers; what each can read is compared. Tensors
 * of that size must ride in regions. */
void pair_send(struct pair *p, size_t n, unsigned char fill);
void pair_consume(struct pair *p, int i, uint64_t frames);
/* The offer of the port's newest pool. */
struct region_offer pair_offer(const struct pair *p);

#endif
