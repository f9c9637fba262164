/* The inside of a link, for graph/wire/link*.c only.
 *
 * The nng side, on nng's threads:
 *   - link_pipe.c: the two queues between nng's threads and the stage's thread, and whom they serve
 *   - link_conn.c: one connection, messages in and out
 *   - link_door.c: listening, dialling and dialling again
 *   - link_tls.c: certificates and the token, for links between machines
 *   - link_beat.c: keep a connection alive, cut off one that says nothing
 *   - link_packet.c: encoded messages; link_queue.c: queues of them
 *
 * The session, on the stage's thread:
 *   - link.c: life, options, errors, time
 *   - link_hello.c: what the ends say first, and whether they fit
 *   - link_session.c: who sits at the other end: greeting, resume or reset, loss, goodbye
 *   - link_send.c: the sender's half: credit, sending
 *   - link_kept.c: the sender's frames that are not acknowledged
 *   - link_recv.c: the receiver's half: the window, credit, stop
 *   - link_cancel.c: streams that are not wanted any more
 *   - link_spill.c: a receiver with a thread of its own (link_spill_thread.c), and a queue on disk (spill.h)
 *   - link_pool.c: tensors that lie in shared memory instead of in messages
 *   - link_set.c: what wakes the stage's thread
 *
 * Invariant: nng's threads touch nothing but struct link_pipe, under its lock, and the set's eventfd. All
 * else belongs to the stage's thread. */
#ifndef GRAPH_WIRE_LINK_IMPL_H
#define GRAPH_WIRE_LINK_IMPL_H

#include "graph/wire/link.h"
#include "graph/wire/region.h"

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <pthread.h>
#include <stdatomic.h>

/* --- packets: messages as they go over the wire --- */

/* Encoded in place, once. A frame's packet is shared by the connection that writes it and the list of those
 * that are not acknowledged; nobody changes one that is shared. */
struct link_packet {
    unsigned char *bytes; /* in the same block */
    size_t size, room;    /* of the message, of the block */
    uint32_t conn;        /* that it came by */
    _Atomic uint32_t holders;
};
struct link_packet *link_packet_new(size_t size); /* its bytes at a 64-byte border; NULL: out of memory */
struct link_packet *link_packet_share(struct link_packet *p); /* p, for one holder more */
bool link_packet_is_shared(struct link_packet *p);
void link_packet_free(struct link_packet *p); /* by one of its holders; NULL is fine */
/* *out at a 64-byte border. Errors: as codec_encode_*. */
THEA_CHECK thea_rc link_encode_frame(struct link_packet **out, const struct frame *f, struct thea_err *err);
THEA_CHECK thea_rc link_encode_message(struct link_packet **out, const struct link_message *m,
                                       struct thea_err *err);

/* in order, between threads */
struct link_queue {
    struct link_packet **items;
    size_t count, first, cap;
};
void link_queue_push(struct link_queue *q, struct link_packet *m); /* running out of memory aborts */
struct link_packet *link_queue_pop(struct link_queue *q);          /* NULL: empty */
struct link_packet *link_queue_at(const struct link_queue *q, size_t i);
void link_queue_clear(struct link_queue *q); /* frees the packets, keeps the memory */
void link_queue_fini(struct link_queue *q);

/* --- the nng side --- */

/* What our HELLO on a pipe said of the peer: with its HELLO all that decides whether a session goes on. */
struct link_said {
    uint32_t peer_incarnation;
    int32_t peer_pid;
};

enum {
    LINK_GREETING_BYTES = 8,
    LINK_HEAD_MAX = 9,
    LINK_READ_BYTES = 16 << 10,
    LINK_WRITE_BYTES = 16 << 10,
    LINK_WRITE_PARTS = 8, /* as many as an nng operation takes */
    LINK_WRITE_LARGE = LINK_WRITE_PARTS / 2
};
typedef enum { CONN_GREETING, CONN_UP, CONN_CLOSED } link_conn_state;

/* One connection. Its operations run on nng's threads; it is freed by the stage's thread. */
struct link_conn {
    struct link_conn *next; /* of its pipe */
    struct link_pipe *pipe;
    uint32_t id; /* not 0 */
    int32_t pid; /* of the peer, by the kernel's word; -1: unknown */
    link_conn_state state;
    nng_stream *stream;
    nng_aio *rx, *tx;
    bool reading, writing; /* an operation of rx, tx is under way */
    uint64_t began_ns;
    uint64_t failed_ns; /* it could not be written to then; what it still brings is read; 0: it can */
    /* what is being read: what is missing of a packet, then whatever is there */
    struct link_packet *packet; /* that is not complete, or NULL */
    size_t packet_got;
    unsigned char in[LINK_READ_BYTES];
    size_t in_got; /* less than a head between two reads */
    /* what is being written: heads and small packets in one piece, large ones where they are */
    unsigned char out[LINK_WRITE_BYTES];
    size_t out_used;
    nng_iov parts[LINK_WRITE_PARTS]; /* what is left of it, from first_part on */
    unsigned part_count, first_part;
    struct link_packet *large[LINK_WRITE_LARGE];
    unsigned large_count;
};

struct link_pipe {
    struct link_set *set; /* NULL once closed; guarded by lock */
    atomic_bool news;     /* something changed since link_pipe_take */
    _Atomic uint64_t
        next_seq;         /* for HELLO: frames below are in our memory (receiver), oldest kept (sender) */
    pthread_mutex_t lock; /* guards all below */
    /* link_door.c */
    nng_stream_dialer *dialer; /* of a sender */
    nng_stream_listener *listener;
    nng_aio *door; /* accepts, dials, or sleeps before it dials again */
    bool door_busy, sleeping;
    uint32_t redial_ms; /* the longest sleep before the next dial */
    struct link_conn *conns;
    size_t head_size; /* of a message on the wire */
    uint32_t last_id;
    /* the seat */
    struct link_conn *conn;    /* that has the only seat, NULL: none */
    uint32_t current;          /* its id; 0 */
    bool greeted;              /* our HELLO is on its way on it */
    uint32_t session;          /* its id, once both HELLOs were found to fit */
    struct link_said said;     /* in our HELLO on it */
    struct link_queue in, out; /* out: for `current` alone */
    size_t in_max;             /* with more than that unread, receiving pauses: nobody can fill our memory */
    bool shut;                 /* take no connection any more, receive no more */
    unsigned lost;             /* connections that had the seat, or came for it and were closed */
    unsigned strangers;        /* peers of another user, turned away */
    struct link_message hello; /* said first on every connection; its texts are ours */
    /* silence, link_beat.c */
    nng_aio *beat;
    uint64_t silence_ns, beat_ns; /* beat_ns: when the next beat is due */
    uint64_t heard_ns, spoke_ns;  /* on current */
    uint64_t echo_ns;             /* a PONG is owed for the PING of then; 0: none */
    uint64_t rtt_ns;              /* of the last PONG */
};

/* What changed since the last look; messages are in p's `in` order, moved to *in. */
struct link_news {
    uint32_t current;
    unsigned lost, strangers;
    int32_t pid;
    struct link_said said;
};

/* *out is set also on failure, to be closed. Takes over hello's texts. */
thea_rc link_pipe_open(struct link_pipe **out, struct link_set *set, const struct link_options *o, bool dial,
                       const struct link_message *hello, size_t in_max, struct thea_err *err);
void link_pipe_close(struct link_pipe *p); /* close all, free all. NULL is fine */
void link_pipe_take(struct link_pipe *p, struct link_queue *in, struct link_news *news);
void link_pipe_shut(
    struct link_pipe *p); /* take no connection any more, receive no more, forget what is unsent */
void link_pipe_end(struct link_pipe *p); /* shut, and close: the session has ended in order */
/* Takes over m. It is dropped if that connection has gone meanwhile. */
void link_pipe_send(struct link_pipe *p, uint32_t id, struct link_packet *m);
/* A session begins on this connection, with that process: later HELLOs say so. */
void link_pipe_session(struct link_pipe *p, uint32_t id, const struct link_said *peer);
void link_pipe_epoch(struct link_pipe *p, uint64_t epoch);
void link_pipe_drop(struct link_pipe *p, uint32_t id); /* close that connection */

/* Between the parts of the pipe; the lock is held. nng calls back later, from threads of its own. */
void link_pipe_queue(struct link_pipe *p, const struct link_message *m);
void link_pipe_up(struct link_pipe *p, struct link_conn *c); /* it is greeted, and may take the seat */
void link_pipe_received(struct link_conn *c, struct link_packet *m); /* takes over m */
bool link_pipe_may_read(const struct link_conn *c);
struct link_packet *link_pipe_next(struct link_conn *c);       /* to be written on it; NULL: nothing */
void link_pipe_lost(struct link_pipe *p, struct link_conn *c); /* close it, and let another have the seat */
void link_pipe_tell(struct link_pipe *p); /* the stage's thread has something to look at */
/* link_conn.c */
void link_conn_new(struct link_pipe *p, nng_stream *stream); /* takes over stream; begins to greet */
void link_conn_read(struct link_conn *c);                    /* start the next read, if it may */
void link_conn_write(struct link_conn *c);                   /* start the next write, if there is something */
struct link_conn *link_conn_take_closed(struct link_pipe *p); /* one that can be freed, off the list; NULL */
void link_conn_free(struct link_conn *c);                     /* lock not held; waits for its callbacks */
/* link_door.c */
THEA_CHECK thea_rc link_door_open(struct link_pipe *p, const struct link_options *o, bool dial,
                                  struct thea_err *err);
void link_door_next(struct link_pipe *p);  /* accept or dial, if there is room */
void link_door_close(struct link_pipe *p); /* lock not held */

/* link_tls.c */
/* *out NULL if the address needs none. Errors: THEA_EUSAGE, THEA_EPERM (others may read it). */
THEA_CHECK thea_rc link_token_read(char **out, const struct link_options *o, struct thea_err *err);
bool link_token_equal(const char *ours, const char *theirs); /* in time that tells nothing but the length */
void link_token_free(const char *token);                     /* and overwrite it */
THEA_CHECK thea_rc link_tls_config(nng_tls_config **out, const struct link_options *o, bool dial,
                                   struct thea_err *err);
/* link_beat.c */
int link_beat_start(struct link_pipe *p, int silence_ms);              /* an nng error */
bool link_beat_took(struct link_pipe *p, const struct link_packet *m); /* lock held: was it a PING or PONG? */
struct link_packet *link_beat_pong(struct link_pipe *p); /* lock held: the PONG that is owed, or NULL */

/* --- who is at the other end --- */

/* token: what a sender says over TLS; NULL: nothing */
void link_hello_make(struct link_message *out, const struct link_options *o, link_role role,
                     const char *token);
void link_hello_fini(struct link_message *hello);
typedef enum {
    HELLO_FITS,
    HELLO_STRANGER,
    HELLO_FORBIDDEN,
    HELLO_MISFIT
} hello_verdict; /* stranger: not of this run and link; forbidden: without the right token; misfit: it is of
                    this link, and cannot work */
/* Texts for REFUSE and for our own message, on a verdict that is not HELLO_FITS. */
struct hello_difference {
    char expected[256], found[256];
};
hello_verdict link_hello_check(const struct link *ln, const struct link_message *hello,
                               struct hello_difference *d);
/* Can what a sender's port makes go into a receiver's? "f32 [n, 128]": dtype and rank equal, fixed sizes
 * equal; "" and shape [*] fit all. */
bool link_patterns_fit(const char *a, const char *b);
/* Text of a peer made fit for a message: cut, without control characters. Returns out. */
const char *link_clean(char *out, size_t size, const char *text);
bool link_process_lives(int32_t pid); /* and is not a zombie */

/* --- frames that are kept until they are acknowledged --- */
struct link_kept_frame {
    struct link_packet *packet;
    uint64_t seq, bytes, epoch;
};
struct link_kept {
    struct link_kept_frame *items;
    size_t count, first, cap;
};
void link_kept_push(struct link_kept *k, struct link_kept_frame frame); /* takes over the packet */
void link_kept_acknowledge(struct link_kept *k, uint64_t ack_seq);
/* The other end is new: drop what is older than epoch, number the rest from 0. Returns how many went. */
size_t link_kept_restart(struct link_kept *k, uint64_t epoch);
void link_kept_replace(struct link_kept *k, size_t i, struct link_packet *p); /* takes over p */
const struct link_kept_frame *link_kept_at(const struct link_kept *k, size_t i);
void link_kept_fini(struct link_kept *k);

/* Numbers in ascending order. */
struct link_seqs {
    uint64_t *items;
    size_t count, first, cap;
};
void link_seqs_push(struct link_seqs *s, uint64_t seq);
void link_seqs_drop(struct link_seqs *s, uint64_t below);
void link_seqs_fini(struct link_seqs *s);

/* --- streams that are not wanted --- */
enum { LINK_CANCELLED_MAX = 1024 }; /* with more, the oldest is forgotten: its frames come, and do no harm */
struct link_cancelled {
    uint64_t stream, epoch;
    uint32_t attempt;
};
struct link_cancels {
    struct link_cancelled *items;
    size_t count;
};
void link_cancels_add(struct link_cancels *c, struct link_cancelled what);
bool link_cancels_has(const struct link_cancels *c, uint64_t stream, uint32_t attempt, uint64_t epoch);
/* Is f of a cancelled stream? Forgets a stream that f ends, or that a later attempt replaces. */
bool link_cancels_match(struct link_cancels *c, const struct frame *f);
void link_cancels_retire(struct link_cancels *c, uint64_t epoch); /* forget what is older */
void link_cancels_fini(struct link_cancels *c);

/* --- one end --- */
typedef enum { LINK_DOWN, LINK_OPEN, LINK_ENDED, LINK_FAILED } link_state;

struct link_spill;

struct link {
    struct link_spill *spill; /* not NULL: all of this receiver is in there, and nothing below is used */
    struct link *next;        /* in the set */
    struct link_set *set;
    struct link_options o; /* its texts are ours; epoch: the own one now */
    const char *token;     /* that both ends must have; NULL: none is needed */
    link_role role;
    link_state state;
    struct link_pipe *pipe;
    struct thea_err trouble; /* with LINK_FAILED */
    char peer[64];           /* "pid 4123" */
    uint64_t wake_ns;        /* when time itself is news; 0: never */
    struct link_queue news;  /* scratch of link_pump */

    /* the peer of the last session */
    bool met; /* there was one */
    struct link_said known;
    int32_t watch_pid;   /* its process, if that can be looked at from here; 0: cannot tell */
    uint64_t peer_epoch; /* the highest heard of */
    bool same_host;      /* and the same pid namespace */

    /* DOWN */
    uint64_t give_up_ns;    /* nobody came until then */
    uint32_t greeting;      /* the pipe in the seat that has not said HELLO; 0: none */
    uint64_t greeting_ns;   /* it is closed then */
    bool refused;           /* it was told REFUSE: what it says is of no interest */
    unsigned dropped;       /* pipes that we closed ourselves, or that went before */
    unsigned strangers;     /* peers of another user, turned away */
    uint64_t refused_ns;    /* sender: when the other side first closed a connection unheard */
    char last_refusal[256]; /* for the message when nobody better comes */

    /* OPEN */
    uint32_t session; /* pipe id; every message must carry it */
    bool lost;        /* the session's pipe is gone for good; what came is still to be read */
    uint64_t seq;     /* sender: next number; receiver: number of the queue's first frame = frames consumed */
    uint64_t bytes;   /* tensor bytes sent; consumed */
    uint64_t limit_seq, limit_bytes, ack_seq; /* sender: as told; receiver: as last told */
    uint64_t window;                          /* frames; sender: from the first CREDIT, 0 before */
    uint64_t large_window;                    /* of those, large ones */
    bool stopped;
    bool eof;                        /* sender: handed over; receiver: consumed. Never on a lasting link */
    bool bye_sent, bye_got, closing; /* closing: link_close of a lasting link */
    uint64_t bye_ns;                 /* we began to say BYE then; 0: not yet */

    struct link_cancels cancels;
    /* receiver */
    struct link_queue queue; /* frames that are here and not consumed */
    uint64_t queued_bytes;   /* of their messages */
    uint64_t arrived;        /* frames so far */
    uint64_t large_owed;     /* large frames consumed since the last credit */
    uint64_t credit_ns;      /* a little credit is owed: it goes then at the latest; 0: none, or all of it */
    struct frame head;       /* the decoded first frame of queue, over arena */
    bool head_decoded;
    struct link_packet
        *orphan; /* the frame that was peeked when its session ended: head is over it, until it is consumed */
    struct region_maps *maps, *orphan_maps; /* the sender's pools; those that the orphan lies in */
    struct codec_arena *arena, *probe;
    uint64_t probed; /* `arrived` when the queue's end was last looked at for eof ... */
    bool probe_eof;  /* ... and what was found */
    /* sender */
    struct region_link *regions; /* NULL: all bytes go in messages */
    struct link_kept kept;
    struct link_seqs large; /* numbers of large frames that are not consumed */
    bool resuming;          /* kept frames wait for the session's first CREDIT to be sent again */
    uint64_t stopped_epoch; /* the epoch that STOP was for */
    struct frame *held_eof; /* eof of a stopped link that waits for credit */
};

/* A sender believes that its place is taken (LINK_TAKEN_MS) only after a silent stranger in it would have
 * been shown out (LINK_HELLO_MS). */
enum { LINK_HELLO_MS = 1000, LINK_REFUSE_MS = 200, LINK_TAKEN_MS = 3000, LINK_LIVES_MS = 20 };
#define LINK_MS ((uint64_t)1000000)

void link_pump(struct link *ln); /* handle all news; never blocks */
thea_rc link_fail(struct link *ln, thea_rc rc, const char *fmt, ...)
    THEA_PRINTF(3, 4);                                         /* the first trouble stays */
void link_tell(struct link *ln, const struct link_message *m); /* send a link message, in a session */
const char *link_other_end(const struct link *ln);             /* "receiver" or "sender" */
void link_show_window(const struct link *ln, bool large);
void link_count(_Atomic uint64_t *counter, uint64_t n); /* of the status row */
/* link_session.c */
void link_handle_all(struct link *ln, const struct link_news *news);
void link_lose(struct link *ln,
               const struct link_news *news);   /* the session's pipe is gone, all it brought is handled */
void link_lost_for_good(struct link *ln);       /* it will not come back: the error that says so */
bool link_may_come_back(const struct link *ln); /* the process that was there */
void link_drop_greeting(struct link *ln);
void link_begin_greeting(struct link *ln, uint32_t pipe);
/* link_recv.c */
void link_arrive(struct link *ln, struct link_packet *m); /* a frame came; takes over m */
void link_open_receiver(struct link *ln);                 /* a session begins: say what is wanted */
void link_reset_receiver(struct link *ln);                /* ... with a new sender */
bool link_ends_with_eof(struct link *ln);                 /* eof is here, consumed or not */
void link_tell_credit(struct link *ln);
void link_tell_bye(struct link *ln);
/* link_send.c */
void link_open_sender(struct link *ln);
void link_reset_sender(struct link *ln, uint64_t epoch);
void link_retire(struct link *ln);                               /* the own epoch has risen */
void link_credit(struct link *ln, const struct link_message *m); /* CREDIT came */
void link_try_finish(struct link *ln);                           /* BYE, once all is acknowledged */
/* link_pool.c */
void link_pool_init(struct link *ln);
void link_pool_fini(struct link *ln);
void link_pool_window(struct link *ln); /* a session with a new receiver, whose window is known now */
void link_pool_resume(struct link *ln); /* a session goes on */
/* The receiver is new: what is kept for it gets its bytes into the messages, for it has no pool mapped. */
void link_pool_reset_sender(struct link *ln);
void link_pool_tell(struct link *ln); /* of pools that the receiver has not heard of */
bool link_pool_settled(const struct link *ln);
void link_pool_answered(struct link *ln, const struct link_message *m); /* POOL_OK came */
struct tensor *link_pool_take(struct link *ln,
                              const struct frame *f); /* f's tensors as they leave, counted */
void link_pool_release(struct link *ln);              /* CREDIT came */
void link_pool_offered(struct link *ln, const struct link_message *m); /* POOL came */
void link_pool_reset_receiver(struct link *ln);                        /* the sender is new */
void link_pool_orphan_gone(struct link *ln);                           /* it was consumed */
/* link_spill.c: what link.h says, of a receiver with spill_bytes */
THEA_CHECK thea_rc link_spill_open(struct link_spill **out, struct link_set *set,
                                   const struct link_options *o, struct thea_err *err);
THEA_CHECK thea_rc link_spill_close(struct link_spill *sp, struct thea_err *err);
void link_spill_abort(struct link_spill *sp);
THEA_CHECK thea_rc link_spill_peek(struct link_spill *sp, const struct frame **out, struct thea_err *err);
void link_spill_consume(struct link_spill *sp);
void link_spill_stop(struct link_spill *sp);
void link_spill_cancel(struct link_spill *sp, uint64_t stream, uint32_t attempt);
void link_spill_set_epoch(struct link_spill *sp, uint64_t epoch);
uint64_t link_spill_epoch(struct link_spill *sp);
bool link_spill_missing(struct link_spill *sp);
THEA_CHECK thea_rc link_spill_check(struct link_spill *sp, struct thea_err *err);
const char *link_spill_peer(struct link_spill *sp);
/* link_set.c */
void link_set_add(struct link_set *set, struct link *ln);
void link_set_remove(struct link_set *set, struct link *ln);
void link_set_wake(struct link_set *set);  /* any thread */
void link_set_timer(struct link_set *set); /* a link's wake_ns changed */
void link_set_wait(struct link_set *set);  /* flush credit, sleep until news, pump all */

#endif
