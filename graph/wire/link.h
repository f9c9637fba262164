/* A link: one end of one directed edge between two processes; bounded, ordered, lossless. fabric.md sections
 * 1-4 and 11.
 *
 * One nng PAIR0 socket for the link's life. The receiver listens, the sender dials. HELLO first on every
 * pipe; windows by credit; STOP and BYE. Invariant: unconsumed frames <= window_frames, and bytes <=
 * window_bytes or a single frame. All calls are made by the stage's one thread; nng's callbacks only queue
 * messages and wake that thread through the set's eventfd. */
#ifndef GRAPH_WIRE_LINK_H
#define GRAPH_WIRE_LINK_H

#include "graph/status.h"
#include "graph/wire/frame.h"

enum { LINK_WINDOW_FRAMES = 8, LINK_WINDOW_FRAMES_MAX = 4096, LINK_RECONNECT_MS = 30000, LINK_BYE_MS = 2000 };
#define LINK_WINDOW_BYTES ((uint64_t)64 << 20)

/* abstract://thea-<run: 16 hex>-<link number>, ipc://PATH, tcp://127.0.0.1:PORT[#<run>-<link>] (loopback
 * only). */
struct link_address {
    char url[160];
    uint64_t run;
    uint32_t number;
};
/* Errors: THEA_EUSAGE with what is accepted; an ipc path over 107 bytes and a tcp host that is not loopback
 * have their own messages. */
THEA_CHECK thea_rc link_address_parse(struct link_address *out, const char *text, struct thea_err *err);

struct link_options {
    struct link_address address;
    const char *port;       /* port name (of this end), for messages */
    const char *pattern;    /* "f32 [n, 128]"; compared when both sides fix it; "" accepts all */
    const char *stage;      /* own name, for messages: "layers/1" */
    uint64_t window_frames; /* receiver; 0: LINK_WINDOW_FRAMES */
    uint64_t window_bytes;  /* receiver; 0: LINK_WINDOW_BYTES */
    uint64_t epoch;
    uint32_t incarnation;
    int reconnect_ms;           /* how long to wait for a peer at the start; 0: LINK_RECONNECT_MS */
    struct status_link *status; /* counters, or NULL */
};

struct link;     /* one end */
struct link_set; /* what wakes the stage's thread: one eventfd for all its links */

THEA_CHECK thea_rc link_set_new(struct link_set **out, struct thea_err *err);
void link_set_free(struct link_set *set);
int link_set_fd(const struct link_set *set); /* readable when any link of the set has news; for poll(2) */
void link_set_clear(struct link_set *set);   /* consume the wake-up, before looking at the links */

/* Listen, or start to dial. Does not wait for the peer. Options are copied.
 * Errors: THEA_EOS, THEA_EPERM, THEA_EBUSY (address in use, after a second of retries). */
THEA_CHECK thea_rc link_listen(struct link **out, struct link_set *set, const struct link_options *o,
                               struct thea_err *err);
THEA_CHECK thea_rc link_dial(struct link **out, struct link_set *set, const struct link_options *o,
                             struct thea_err *err);

/* --- receiver --- */
/* The next frame, if one is here: THEA_OK; THEA_AGAIN: none now; THEA_DONE: after the eof frame, when the
 * sender has said BYE or may. *out borrows the message until link_consume. Errors: THEA_EFRAME (bad bytes,
 * gap, repeat: the peer is dropped), THEA_ECLOSED (lost before its eof; the message names link and peer),
 * THEA_ETIMEOUT (nobody came within reconnect_ms). The same frame is returned until consumed. */
THEA_CHECK thea_rc link_peek(struct link *ln, const struct frame **out, struct thea_err *err);
void link_consume(struct link *ln); /* the peeked frame's op has returned: its credit goes back */
void link_stop(
    struct link *ln); /* no more is wanted: later frames are discarded and counted until eof. Idempotent. */
void link_flush_credit(struct link *ln); /* send what credit is owed; call before sleeping */

/* --- sender --- */
/* May one frame with `bytes` tensor bytes be sent now? Credit allows it, or the link is stopped (it will be
 * thrown away). */
bool link_ready(struct link *ln, uint64_t bytes);
bool link_stopped(struct link *ln);
/* Encode and queue f (link_seq, sent_ns are set here). Requires link_ready. f and its tensors are free when
 * it returns. Errors: THEA_EFRAME (over frame_max), THEA_ECLOSED (peer lost; names it), THEA_ETIMEOUT. */
THEA_CHECK thea_rc link_send(struct link *ln, const struct frame *f, struct thea_err *err);

/* --- both --- */
/* The link's trouble, if any, without waiting: THEA_OK, or the error that peek or send would give. */
THEA_CHECK thea_rc link_check(struct link *ln, struct thea_err *err);
/* Orderly end: sender after its eof frame (waits until all is acknowledged, no limit but the peer's life),
 * receiver after DONE or link_stop + eof. Sends BYE, waits for the peer's up to LINK_BYE_MS, closes, frees.
 */
THEA_CHECK thea_rc link_close(struct link *ln, struct thea_err *err);
/* Close now and free, losing what is in flight; for a stage that fails. NULL is fine. */
void link_abort(struct link *ln);
const char *link_peer(const struct link *ln); /* "pid 4123" or "nobody yet" */

#endif
