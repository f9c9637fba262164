/* A set of numbers, kept as ranges: ids of streams that are committed, in flight, owed. Small while they are
 * mostly without gaps. */
#ifndef GRAPH_RANGES_H
#define GRAPH_RANGES_H

#include "graph/json.h"

struct range {
    uint64_t first, last; /* both belong to it */
};
struct ranges {          /* zeroed: empty */
    struct range *items; /* ascending; neither overlapping nor touching */
    size_t count, cap;
};

void ranges_fini(struct ranges *r);
void ranges_clear(struct ranges *r); /* keeps the memory */
bool ranges_has(const struct ranges *r, uint64_t n);
void ranges_add(struct ranges *r, uint64_t first, uint64_t last); /* first <= last */
void ranges_remove(struct ranges *r, uint64_t n);
uint64_t ranges_total(const struct ranges *r); /* how many numbers */
/* The smallest number >= from that is not in the set; UINT64_MAX if there is none. */
uint64_t ranges_next_missing(const struct ranges *r, uint64_t from);

/* [[first, last], …] */
struct json_node *ranges_print(const struct ranges *r);
/* Add such a list's. Errors: THEA_EDATA with what was found; then some of them may have been added. */
THEA_CHECK thea_rc ranges_read(struct ranges *r, const struct json_node *list, struct thea_err *err);

#endif
