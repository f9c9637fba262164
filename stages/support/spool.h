/* Bytes that come once (a pipe, a network peer), kept until the results of what they say are safe: a queue of
 * bytes in files, numbered from 0 since the run began. What is below `begin` was trimmed; it ends at `end`,
 * where more is added.
 *
 * On disk: DIR/spool/NAME/ has segments, each named by the number of its first byte (20 digits), and a file
 * `end` once no more will come. By hand (dir NULL) segments are files without a name: nothing is left behind.
 *
 * Invariant: a byte taken from a pipe is at every moment in the pipe or in a segment, never in this process
 * alone. */
#ifndef STAGES_SUPPORT_SPOOL_H
#define STAGES_SUPPORT_SPOOL_H

#include "graph/err.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { SPOOL_SEGMENT_BYTES = 16 << 20 };

struct spool_segment {
    uint64_t begin, size;
    int fd;
};

struct spool {
    char *dir;        /* NULL: by hand */
    const char *name; /* for messages; borrowed */
    uint64_t segment_bytes, max_bytes;
    struct spool_segment *segments; /* in order, without gaps */
    size_t count;
    uint64_t begin, end, synced;
    bool ended;
};

/* max_bytes: at most so much is kept (spool_is_full), but always two segments. whole_lines: what an earlier
 * process left of a line without its newline is cut off. spool_fini also after a failure. Errors:
 * THEA_ECREATE, THEA_EIO, THEA_EDATA (a segment is missing). */
THEA_CHECK thea_rc spool_open(struct spool *s, const char *dir, const char *name, uint64_t max_bytes,
                              bool whole_lines, struct thea_err *err);
void spool_fini(struct spool *s);

/* Move what a pipe has, or copy what another descriptor has: at most one segment's worth. THEA_AGAIN: nothing
 * is there (if fd does not block); THEA_DONE: its end, which is remembered. */
THEA_CHECK thea_rc spool_take(struct spool *s, int fd, struct thea_err *err);
/* Add bytes; all of them or none are there afterwards. */
THEA_CHECK thea_rc spool_append(struct spool *s, const void *bytes, size_t n, struct thea_err *err);
THEA_CHECK thea_rc spool_sync(struct spool *s, struct thea_err *err); /* what is there survives a power cut */
bool spool_is_full(const struct spool *s);
/* As pread(2), with a struct spool as context; 0 at the end. Errno is EIO for what was trimmed. */
ssize_t spool_read(void *spool, void *to, size_t room, uint64_t offset);
void spool_trim(struct spool *s, uint64_t offset); /* bytes below offset are not needed: whole segments go */

#endif
