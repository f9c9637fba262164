/* The status page: one page of shared memory per process, written by the stage, read by its supervisor while
 * it lives and after its death. One writer (the stage's thread; counters of links also by nng's threads), any
 * reader; all counters only grow. A process without a supervisor has a private page, so the code is the same.
 * fabric.md section 11. */
#ifndef GRAPH_STATUS_H
#define GRAPH_STATUS_H

#include "graph/err.h"
#include <stdatomic.h>
#include <stdint.h>

enum {
    STATUS_MAGIC = 0x54485350,
    STATUS_VERSION = 3,
    STATUS_LINKS_MAX = 32,
    STATUS_WORK_MAX = 8, /* streams that one op works on */
    STATUS_PAGE_BYTES = 8192,
    STATUS_OP_BUCKETS = 120 /* of the times of ops; the last is open */
};

typedef enum { STATUS_STARTING, STATUS_RUNNING, STATUS_DRAINING, STATUS_DONE, STATUS_FAILED } status_state;

/* One end of a link. sent = delivered + unwanted + stale must hold at eof (fabric.md section 3). */
struct status_link {
    uint32_t number;  /* link number of the address, 0 = unused row */
    uint8_t outgoing; /* 1: this process sends */
    uint8_t closed;   /* 1: the link is no more; another may get the row */
    char port[22];
    _Atomic uint64_t frames;   /* sender: numbered frames handed to nng; receiver: delivered to the stage or
                                  dropped for a counted reason */
    _Atomic uint64_t unwanted; /* receiver: of those, discarded after STOP */
    _Atomic uint64_t stale;    /* receiver: of those, of an older epoch */
    _Atomic uint64_t bytes;
    _Atomic uint64_t copied_bytes;  /* sender: tensor bytes copied into messages ... */
    _Atomic uint64_t inlined_bytes; /* ... and those of tensors so small that this is faster (region.h) */
    _Atomic uint32_t queue;         /* receiver: frames waiting now; sender: sent and not consumed yet */
    _Atomic uint32_t window;        /* window in frames */
    /* receiver, where frames may wait on disk: taken off the link, in memory and on disk ... */
    _Atomic uint32_t spilled_frames;
    _Atomic uint64_t spilled_bytes; /* ... bytes on disk, of at most ... */
    _Atomic uint64_t spill_limit;   /* ... so many; 0: none may */
};

struct status_page {
    uint32_t magic, version;
    _Atomic uint32_t state;    /* status_state */
    _Atomic int32_t exit_rc;   /* thea_rc it will exit with, once state is FAILED */
    _Atomic uint64_t progress; /* bumped per frame and per block: "not hung" */
    _Atomic uint64_t frames_in, frames_out;
    _Atomic uint64_t tokens;          /* positions that passed */
    _Atomic uint64_t documents;       /* streams ended here */
    _Atomic uint64_t documents_total; /* a source knows how many will come: that number, else 0 */
    _Atomic uint64_t skipped;         /* inputs a source left out, each told in a warning */
    _Atomic uint64_t failed;          /* streams that ended with an error frame */
    _Atomic uint64_t bytes;           /* bytes read by a source, written by a sink */
    _Atomic uint64_t busy_ns, starved_ns, blocked_ns; /* in ops; waiting for input; waiting for credit */
    _Atomic uint64_t copied_bytes; /* tensor bytes copied in the stage: into stream state (joins, gathering),
                                      and into regions */
    _Atomic uint64_t started_ns;   /* CLOCK_MONOTONIC */
    _Atomic uint64_t pool_bytes;   /* of its own regions: they count for its memory limit */
    /* Is there something to do, and room for what comes of it? With both, and in an op, progress must grow:
     * a process whose progress stands still for its deadline hangs. */
    _Atomic uint32_t has_input, has_credit;
    /* The streams that the running op works on, as id + 1; 0: none. A crash accuses these and no others. */
    _Atomic uint64_t work_streams[STATUS_WORK_MAX];
    _Atomic uint32_t link_count;
    struct status_link links[STATUS_LINKS_MAX];
    /* What it is working on, for people: text guarded by a sequence lock (odd: being written). */
    _Atomic uint32_t work_seq;
    char work[256];            /* "docs/architecture.md, positions 2048-2559 of 9102" */
    char skipped_reasons[256]; /* "2 not UTF-8, 1 over 16 MiB" */
    /* How long ops took: counts by duration, four buckets to a factor of two. */
    _Atomic uint64_t op_counts[STATUS_OP_BUCKETS];
};
_Static_assert(sizeof(struct status_page) <= STATUS_PAGE_BYTES, "the status page is two pages");

/* Make a page backed by a memfd (close-on-exec; posix_spawn hands it on). Returns the descriptor in *fd. */
THEA_CHECK thea_rc status_create(struct status_page **out, int *fd, struct thea_err *err);
/* Map the page that --status FD names; checked (size, magic, version). fd < 0: a private page. */
THEA_CHECK thea_rc status_map(struct status_page **out, int fd, struct thea_err *err);
void status_unmap(struct status_page *page);

void status_set_work(struct status_page *page, const char *text);
/* Copy the work text out consistently; size at least 256. */
void status_get_work(const struct status_page *page, char *out, size_t size);
/* The streams it works on, or worked on when it died; returns how many. */
size_t status_get_streams(const struct status_page *page, uint64_t out[STATUS_WORK_MAX]);
uint64_t status_now_ns(void); /* CLOCK_MONOTONIC */

/* An op took so long; by the page's one writer. */
void status_count_op(struct status_page *page, uint64_t ns);
size_t status_op_bucket(uint64_t ns);       /* below STATUS_OP_BUCKETS */
uint64_t status_op_bound_ns(size_t bucket); /* durations in it are below this */

#endif
