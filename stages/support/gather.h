/* One document's result while it gathers: in memory, and from 1 MiB on in a file without a name. */
#ifndef STAGES_SUPPORT_GATHER_H
#define STAGES_SUPPORT_GATHER_H

#include "graph/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum { GATHER_MEMORY_BYTES = 1 << 20 };

struct gather { /* zeroed: empty */
    struct buf memory;
    bool spilled;
    int fd; /* while spilled */
    void *view;
    size_t bytes, view_bytes;
};

/* beside: a path in the directory of which the file is made; NULL: all stays in memory. Errors: THEA_EIO,
 * THEA_ECREATE. */
THEA_CHECK thea_rc gather_add(struct gather *g, const char *beside, const void *bytes, size_t n,
                              struct thea_err *err);
/* All of it in one piece, valid until the next call. Errors: THEA_EIO. */
THEA_CHECK thea_rc gather_view(struct gather *g, const char **bytes, struct thea_err *err);
void gather_clear(struct gather *g);
void gather_fini(struct gather *g);

#endif
