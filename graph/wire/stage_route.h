/* Which of several replicas of a consumer gets a stream. A route is one --out PORT=ADDRESS,ADDRESS,…; its
 * members are the links to the replicas, by the replica's number.
 *
 * By load: a stream goes to the member with the least to do when its first frame is sent, and stays, so that
 * its frames keep their order and a replica sees whole streams. By hash: of the stream's id over the members,
 * where the consumer joins several inputs: all who send to it agree without a word. By origin: a frame that
 * goes back to the head of its loop goes to the replica named by frame.origin.
 *
 * Invariant: between two calls of stage_route_clear a stream has one member, whoever comes or goes, until it
 * is forgotten. */
#ifndef GRAPH_WIRE_STAGE_ROUTE_H
#define GRAPH_WIRE_STAGE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { ROUTE_BY_LOAD, ROUTE_BY_HASH, ROUTE_BY_ORIGIN } stage_route_rule;

#define STAGE_ROUTE_NONE SIZE_MAX

struct stage_route_member {
    size_t open;        /* streams that it has, by load */
    bool coming;        /* by hash: it counts from the next epoch on */
    bool leaving, gone; /* gets no new streams; is there no more */
    bool left;          /* by hash: it leaves, and an epoch has begun since */
};

struct stage_route {
    stage_route_rule rule;
    struct stage_route_member *members;
    size_t count; /* also those that are gone */
    struct stage_routed *streams;
    size_t stream_count, stream_room;
    size_t turn; /* the member after the one chosen last: equals take turns */
};

/* What waits at a member beside its open streams, in frames; STAGE_ROUTE_NONE: it cannot take one now (it is
 * chosen only if none can). NULL: nothing anywhere. */
typedef size_t stage_route_load(const void *context, size_t member);

void stage_route_init(struct stage_route *r, stage_route_rule rule);
void stage_route_fini(struct stage_route *r);
/* One member more: the lowest number that is free. `live`: streams are under way. By hash it then counts from
 * the next epoch on, for their choice must not change. */
size_t stage_route_add(struct stage_route *r, bool live);
/* No new streams; it keeps those it has. By hash: from the next epoch on. */
void stage_route_leave(struct stage_route *r, size_t member);
bool stage_route_left(const struct stage_route *r,
                      size_t member);                        /* it is leaving and has no stream any more */
void stage_route_drop(struct stage_route *r, size_t member); /* its link is closed */

/* The member that has the stream, or gets it now. STAGE_ROUTE_NONE: nobody is there to take it; by origin
 * also if that replica is gone. */
size_t stage_route_of(struct stage_route *r, uint64_t stream, uint32_t origin, stage_route_load *load,
                      const void *context);
/* The same without choosing. STAGE_ROUTE_NONE: the stream is new. */
size_t stage_route_find(const struct stage_route *r, uint64_t stream, uint32_t origin);
void stage_route_forget(struct stage_route *r, uint64_t stream); /* its end or error was sent */
void stage_route_clear(
    struct stage_route *r); /* a new epoch: nobody has anything; who was leaving has left */

#endif
