/* The inside of a link, for graph/wire/link*.c only.
 *
 *   link_pipe.c   nng: the socket, its callbacks, the two queues between nng's threads and the stage's thread
 *   link_close.c  closing the socket
 *   link_hello.c  what the ends say first, and whether they fit
 *   link.c        the session: who may sit there, loss, ends, errors
 *   link_send.c   the sender's half: credit, sending
 *   link_recv.c   the receiver's half: the window, credit, stop
 *   link_set.c    what wakes the stage's thread
 *
 * Invariant: nng's threads touch nothing but struct link_pipe, under its lock, and the set's eventfd. All
 * else belongs to the stage's thread. */
#ifndef GRAPH_WIRE_LINK_IMPL_H
#define GRAPH_WIRE_LINK_IMPL_H

#include "graph/wire/link.h"

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>

/* --- messages in order, between threads --- */
struct link_queue {
    nng_msg **items;
    size_t count, first, cap;
};
void link_queue_push(struct link_queue *q, nng_msg *m); /* running out of memory aborts */
nng_msg *link_queue_pop(struct link_queue *q);          /* NULL: empty */
nng_msg *link_queue_at(const struct link_queue *q, size_t i);
void link_queue_clear(struct link_queue *q); /* frees the messages, keeps the memory */
void link_queue_fini(struct link_queue *q);

/* --- the nng side --- */
struct link_pipe {
    nng_socket socket;
    nng_dialer dialer;    /* of a sender */
    nng_aio *send, *recv; /* one of each: order is kept, and at most one message of ours is inside nng */
    struct link_set *set; /* NULL once closed; guarded by lock */
    atomic_bool news;     /* something changed since link_pipe_take */
    pthread_mutex_t lock; /* guards all below */
    struct link_queue in, out;
    size_t in_max;       /* with more than that unread, receiving pauses: nobody can fill our memory */
    bool dials, greeted; /* greeted: our HELLO is on its way on current */
    bool sending, receiving, shut; /* shut: take no pipe any more */
    uint32_t current;              /* pipe id that holds PAIR's only seat; 0: none */
    uint32_t removed;              /* id of the last pipe that went */
    unsigned lost;                 /* pipes that went */
    unsigned strangers;            /* peers of another user, turned away */
    struct {
        uint32_t id;
        int32_t pid;
    } seen; /* the last pipe that asked for the seat, and who is behind it by the kernel's word; -1: unknown
             */
    int32_t pid;    /* of current */
    nng_msg *hello; /* sent first on every pipe */
};

/* What changed since the last look; messages are in p's `in` order, moved to *in. */
struct link_news {
    uint32_t current;
    unsigned lost, strangers;
    int32_t pid;
};

/* *out is set also on failure, to be closed. Takes over hello. */
thea_rc link_pipe_open(struct link_pipe **out, struct link_set *set, const char *url, bool dial,
                       nng_msg *hello, size_t in_max, struct thea_err *err);
void link_pipe_watch_exit(void); /* once nng is in use: an exit must not wait for a close that hangs */
/* Close the socket, free all; returns soon whatever nng does. orderly: the peer sends nothing any more. NULL
 * is fine. */
void link_pipe_close(struct link_pipe *p, bool orderly);
void link_pipe_take(struct link_pipe *p, struct link_queue *in, struct link_news *news);
/* Stop receiving, take no other pipe, and wait until nng's threads have handed over what had arrived. */
void link_pipe_settle(struct link_pipe *p);
void link_pipe_end(struct link_pipe *p,
                   uint32_t id);          /* shut, and close the pipe of a session that has ended in order */
void link_pipe_shut(struct link_pipe *p); /* take no pipe any more, forget what is unsent */
void link_pipe_send(struct link_pipe *p, nng_msg *m); /* takes over m */
void link_pipe_redial_slowly(struct link_pipe *p);    /* it is closed again and again: do not storm */
void link_pipe_drop(uint32_t id);                     /* close that pipe */

/* Messages as nng bodies, encoded in place. NULL out of memory. */
thea_rc link_encode_frame(nng_msg **out, const struct frame *f, struct thea_err *err);
thea_rc link_encode_message(nng_msg **out, const struct link_message *m, struct thea_err *err);

/* --- who is at the other end --- */

nng_msg *link_hello_make(const struct link_options *o, link_role role, struct thea_err *err);
typedef enum {
    HELLO_FITS,
    HELLO_STRANGER,
    HELLO_MISFIT
} hello_verdict; /* stranger: not of this run and link; misfit: it is, and cannot work */
/* Texts for REFUSE and for our own message, on a verdict that is not HELLO_FITS. */
struct hello_difference {
    char expected[256], found[256];
};
hello_verdict link_hello_check(const struct link_options *o, link_role role, const struct link_message *hello,
                               struct hello_difference *d);
/* Can what a sender's port makes go into a receiver's? "f32 [n, 128]": dtype and rank equal, fixed sizes
 * equal; "" and shape [*] fit all. */
bool link_patterns_fit(const char *a, const char *b);
/* Text of a peer made fit for a message: cut, without control characters. Returns out. */
const char *link_clean(char *out, size_t size, const char *text);

/* --- one end --- */
typedef enum { LINK_DOWN, LINK_OPEN, LINK_ENDED, LINK_FAILED } link_state;

struct link {
    struct link *next; /* in the set */
    struct link_set *set;
    struct link_options o; /* its texts are ours */
    link_role role;
    link_state state;
    struct link_pipe *pipe;
    struct thea_err trouble; /* with LINK_FAILED */
    char peer[64];           /* "pid 4123" */
    uint64_t wake_ns;        /* when time itself is news; 0: never */
    struct link_queue news;  /* scratch of link_pump */

    /* before OPEN */
    uint64_t give_up_ns;    /* nobody came until then */
    uint32_t greeting;      /* the pipe in the seat that has not said HELLO; 0: none */
    uint64_t greeting_ns;   /* it is closed then */
    bool refused;           /* it was told REFUSE: what it says is of no interest */
    unsigned dropped;       /* pipes that we closed ourselves */
    unsigned strangers;     /* peers of another user, turned away */
    uint64_t refused_ns;    /* sender: when the other side first closed a pipe unheard */
    char last_refusal[256]; /* for the message when nobody better comes */

    /* OPEN */
    uint32_t session; /* pipe id; every message must carry it */
    bool lost;        /* the session's pipe is gone */
    uint64_t seq;     /* sender: next number; receiver: number of the queue's first frame = frames consumed */
    uint64_t bytes;   /* tensor bytes sent; consumed */
    uint64_t limit_seq, limit_bytes, ack_seq; /* sender: as told; receiver: as last told */
    uint64_t window;                          /* frames; sender: from the first CREDIT, 0 before */
    bool stopped;
    bool eof; /* sender: handed over; receiver: consumed */
    bool bye_sent, bye_got;
    uint64_t bye_ns; /* our BYE went out then */

    /* receiver */
    struct link_queue queue; /* frames that are here and not consumed */
    uint64_t queued_bytes;   /* of their messages */
    uint64_t arrived;        /* frames so far */
    struct frame head;       /* the decoded first frame of queue, over arena */
    bool head_decoded;
    struct codec_arena *arena, *probe;
    uint64_t probed; /* `arrived` when the queue's end was last looked at for eof ... */
    bool probe_eof;  /* ... and what was found */
    /* sender */
    struct frame *held_eof; /* eof of a stopped link that waits for credit */
};

/* A sender believes that its place is taken (LINK_TAKEN_MS) only after a silent stranger in it would have
 * been shown out (LINK_HELLO_MS). */
enum { LINK_HELLO_MS = 1000, LINK_REFUSE_MS = 200, LINK_TAKEN_MS = 3000 };

void link_pump(struct link *ln); /* handle all news; never blocks */
thea_rc link_fail(struct link *ln, thea_rc rc, const char *fmt, ...)
    THEA_PRINTF(3, 4);                                         /* the first trouble stays */
void link_tell(struct link *ln, const struct link_message *m); /* send a link message */
/* link_recv.c */
void link_arrive(struct link *ln, nng_msg *m); /* a frame came; takes over m */
void link_tell_credit(struct link *ln);
bool link_ends_with_eof(struct link *ln); /* eof is here, consumed or not */
/* link_send.c */
void link_credit(struct link *ln, const struct link_message *m); /* CREDIT came */
void link_try_finish(struct link *ln);                           /* BYE, once all is acknowledged */
/* link_set.c */
void link_set_add(struct link_set *set, struct link *ln);
void link_set_remove(struct link_set *set, struct link *ln);
void link_set_wake(struct link_set *set);  /* any thread */
void link_set_timer(struct link_set *set); /* a link's wake_ns changed */
void link_set_wait(struct link_set *set);  /* flush credit, sleep until news, pump all */

#endif
