/* A queue of byte strings on disk: first in, first out, bounded in bytes. It is there for bursts and not for
 * keeps: one file without a name, so that nothing is left behind whoever is killed, written in a circle, so
 * that it never takes more than its limit, and given back to the file system when the last string was taken.
 *
 * Each string has an epoch; epochs only grow from one string to the next. One thread. */
#ifndef GRAPH_WIRE_SPILL_H
#define GRAPH_WIRE_SPILL_H

#include "graph/err.h"

#include <stdbool.h>
#include <stdint.h>

struct spill;

/* dir NULL: TMPDIR, or /var/tmp. No file is made before the first string. Aborts without memory. */
struct spill *spill_new(const char *dir, uint64_t limit_bytes);
void spill_free(struct spill *s); /* NULL is fine */
/* Behind all others. Errors: THEA_AGAIN: with it there would be more than the limit; THEA_ECREATE, THEA_EIO:
 * not taken, the queue is as it was. */
THEA_CHECK thea_rc spill_put(struct spill *s, const void *bytes, uint64_t size, uint64_t epoch,
                             struct thea_err *err);
/* The first one's size. Errors: THEA_AGAIN: the queue is empty; THEA_EIO. */
THEA_CHECK thea_rc spill_next(struct spill *s, uint64_t *size, struct thea_err *err);
/* Take the first one, of the size that spill_next said. Errors: THEA_EIO. */
THEA_CHECK thea_rc spill_take(struct spill *s, void *bytes, uint64_t size, struct thea_err *err);
/* Forget those of older epochs, unread; how many that were. */
uint64_t spill_drop(struct spill *s, uint64_t epoch);
bool spill_fits(const struct spill *s, uint64_t size); /* would spill_put say THEA_AGAIN? */
uint64_t spill_bytes(const struct spill *s);           /* taken of the limit now */
uint64_t spill_count(const struct spill *s);

#endif
