/* A link: one end of one directed edge between two processes; bounded, ordered, lossless.
 * docs/architecture.md, "Links".
 *
 * One connection at a time. The receiver listens, the sender dials. HELLO first on every
 * pipe; windows by credit; STOP and BYE. Invariant: unconsumed frames <= the window, large ones among them <=
 * window_frames, and bytes <= window_bytes or a single frame. All calls are made by the stage's one thread;
 * nng's callbacks only queue messages, keep the pipe alive (PING) and wake that thread through the set's
 * eventfd.
 *
 * A pipe that is lost while both ends live is made again, and nothing is lost or repeated: the sender keeps
 * each frame until it is acknowledged. If the other end is another process than before, a lasting link starts
 * again from frame 0, and what was under way is dropped: whoever started that process sends it again, with a
 * higher epoch. A link that does not last (commands typed by hand) has no such somebody: a peer that died is
 * an error.
 *
 * With spill_bytes a receiver's frames are taken off the link as they come, whatever its owner does, and wait
 * in memory (a window) and on disk; the window's credit goes back at once, until the disk's share is full. */
#ifndef GRAPH_WIRE_LINK_H
#define GRAPH_WIRE_LINK_H

#include "graph/status.h"
#include "graph/wire/frame.h"
#include "graph/wire/region.h"

enum {
    LINK_WINDOW_FRAMES = 8,
    LINK_WINDOW_SMALL = 64, /* where nobody says how many: with frames below LINK_LARGE_BYTES */
    LINK_LARGE_BYTES = REGION_INLINE_MAX,
    LINK_WINDOW_FRAMES_MAX = 4096,
    LINK_RECONNECT_MS = 30000,
    LINK_BYE_MS = 2000,
    LINK_SILENCE_MS = 10000,
    LINK_SPILL_MIN = 65536
};
#define LINK_WINDOW_BYTES ((uint64_t)64 << 20)

/* abstract://thea-<run: 16 hex>-<link number>, ipc://PATH, tcp://127.0.0.1:PORT[#<run>-<link>] (loopback
 * only), tls+tcp://HOST:PORT[#<run>-<link>] (with the files of link_tls.c). */
struct link_address {
    char url[160];
    uint64_t run;
    uint32_t number;
    bool tls;
};
/* Errors: THEA_EUSAGE with what is accepted; an ipc path over 107 bytes and a tcp host that is not loopback
 * have their own messages. */
THEA_CHECK thea_rc link_address_parse(struct link_address *out, const char *text, struct thea_err *err);

struct link_options {
    struct link_address address;
    const char *port;       /* port name (of this end), for messages */
    const char *pattern;    /* "f32 [n, 128]"; compared when both sides fix it; "" accepts all */
    const char *stage;      /* own name, for messages: "layers/1" */
    uint64_t window_frames; /* receiver; 0: LINK_WINDOW_SMALL, LINK_WINDOW_FRAMES of them large */
    uint64_t window_bytes;  /* receiver; 0: LINK_WINDOW_BYTES */
    uint64_t
        spill_bytes; /* receiver: what its owner is not ready for waits on disk, at most so much; 0: none */
    const char *spill_dir; /* where, in a file without a name; NULL: TMPDIR, or /var/tmp */
    uint64_t epoch;        /* frames of older ones are dropped */
    uint32_t incarnation;  /* of this process */
    bool lasting;          /* somebody restarts processes and retires old frames by epochs: see above */
    int reconnect_ms;      /* how long to wait for a peer, at the start and again; 0: LINK_RECONNECT_MS */
    int silence_ms;        /* a peer that says nothing for so long is cut off; 0: LINK_SILENCE_MS */
    const char *tls_dir;   /* for tls+tcp: the directory of certificates and token; NULL: THEA_TLS_DIR */
    struct region_port
        *regions;               /* sender: tensors in its pools are read in place where that works; or NULL */
    struct status_link *status; /* counters, or NULL */
};

struct link;     /* one end */
struct link_set; /* what wakes the stage's thread: one eventfd for all its links */

THEA_CHECK thea_rc link_set_new(struct link_set **out, struct thea_err *err);
void link_set_free(struct link_set *set);
int link_set_fd(const struct link_set *set); /* readable when any link of the set has news; for poll(2) */
void link_set_clear(struct link_set *set);   /* consume the wake-up, before looking at the links */

/* Listen, or start to dial. Does not wait for the peer. Options are copied.
 * Errors: THEA_EOS, THEA_EPERM, THEA_EBUSY (address in use, after a second of retries); tls+tcp without what
 * it needs: THEA_EUSAGE, THEA_EPERM (a secret that others may read). */
THEA_CHECK thea_rc link_listen(struct link **out, struct link_set *set, const struct link_options *o,
                               struct thea_err *err);
THEA_CHECK thea_rc link_dial(struct link **out, struct link_set *set, const struct link_options *o,
                             struct thea_err *err);

/* --- receiver --- */
/* The next frame, if one is here: THEA_OK; THEA_AGAIN: none now; THEA_DONE: after the eof frame, when the
 * sender has said BYE or may (never on a lasting link: there eof is a frame like others, and more may come
 * after it). *out borrows the message until link_consume. The same frame is returned until consumed, except
 * that frames older than the own epoch are dropped here, peeked before or not: after link_set_epoch consume
 * what you hold, or peek anew. Errors: THEA_EFRAME (bad bytes, gap, repeat: the peer is dropped); and of a
 * link that does not last THEA_ECLOSED (lost before its eof; the message names link and peer), THEA_ETIMEOUT
 * (nobody came within reconnect_ms). */
THEA_CHECK thea_rc link_peek(struct link *ln, const struct frame **out, struct thea_err *err);
void link_consume(struct link *ln); /* the peeked frame's op has returned: its credit goes back */
/* No more is wanted: later frames are discarded and counted until eof. Idempotent; outlives epochs. */
void link_stop(struct link *ln);
/* Nothing more of this stream is wanted, up to this attempt, in the present epoch: its frames that come are
 * discarded and counted as unwanted, the one that ends it among them. */
void link_cancel(struct link *ln, uint64_t stream, uint32_t attempt);
void link_flush_credit(struct link *ln); /* send what credit is owed; call before sleeping */

/* --- sender --- */
/* May one frame with `bytes` tensor bytes be sent now? Credit allows it, or the link is stopped (it will be
 * thrown away). */
bool link_ready(struct link *ln, uint64_t bytes);
bool link_stopped(struct link *ln);
/* Frames that were sent and are not consumed, as far as is known. */
uint64_t link_waiting(const struct link *ln);
/* Has the receiver cancelled this stream? Its frames are thrown away by link_send until the one that ends it.
 */
bool link_cancelled(struct link *ln, uint64_t stream, uint32_t attempt);
/* Encode and queue f (link_seq, sent_ns are set here). Requires link_ready. f and its tensors are free when
 * it returns. Errors: THEA_EFRAME (over frame_max), THEA_ECLOSED (peer lost; names it), THEA_ETIMEOUT. */
THEA_CHECK thea_rc link_send(struct link *ln, const struct frame *f, struct thea_err *err);

/* --- both --- */
/* The highest epoch known at the other end, by its HELLO or its frames; 0 before. */
uint64_t link_epoch(struct link *ln);
/* The own epoch is e from now on: said in later HELLOs, older frames are dropped. Never lower it. */
void link_set_epoch(struct link *ln, uint64_t e);
/* Nobody has been at the other end for reconnect_ms: to be reported. Only of a lasting link; it goes on
 * waiting. */
bool link_missing(struct link *ln);
/* The link's trouble, if any, without waiting: THEA_OK, or the error that peek or send would give. */
THEA_CHECK thea_rc link_check(struct link *ln, struct thea_err *err);
/* Orderly end: sender after its eof frame (waits until all is acknowledged, no limit but the peer's life),
 * receiver after DONE or link_stop + eof. Sends BYE, waits for the peer's up to LINK_BYE_MS, closes, frees.
 * A lasting link: when its owner knows that all has arrived; takes LINK_BYE_MS at most in all. */
THEA_CHECK thea_rc link_close(struct link *ln, struct thea_err *err);
/* Close now and free, losing what is in flight; for a stage that fails. NULL is fine. */
void link_abort(struct link *ln);
const char *link_peer(const struct link *ln); /* "pid 4123" or "nobody yet" */

#endif
