/* The inside of a stage process, shared by stage_*.c and the tests' harness; nobody else includes it.
 *
 *   stage_options.c  the kind's own options           stage_stream.c  open streams, their attributes
 *   stage_common.c   the options of every stage       stage_carry.c   tensors that pass by
 *   stage_command.c  the whole command line           stage_output.c  what ops put, made into frames
 *   stage_help.c     --help, --describe               stage_step.c    one input frame, one op
 *   stage_ports.c    what is connected, what fits     stage_io.c      links, stdin, stdout
 *   stage_core.c     from table to open, and close    stage_source.c  a source's op
 *   stage_control.c  what a supervisor says           stage_outlets.c to which links a frame goes
 *   stage_tell.c     what it is told                  stage_route.c   which of several replicas gets a stream
 *   stage_flight.c   how many streams a supervised source may have under way
 *   stage_replay.c   which stream a source sends next stage_loop.c    the loop
 *   stage_epoch.c    forgetting, when a process died stage_relink.c  links that come and go
 *   stage_gather.c   documents computed together
 *
 * Invariant: the core (all but stage_io, stage_outlets, stage_stdio, stage_loop, stage_main) touches no
 * descriptor but the control channel's. Frames go out through struct stage_transport. */
#ifndef GRAPH_WIRE_STAGE_CORE_H
#define GRAPH_WIRE_STAGE_CORE_H

#include "graph/buf.h"
#include "graph/channel.h"
#include "graph/log.h"
#include "graph/ranges.h"
#include "graph/status.h"
#include "graph/wire/region.h"
#include "graph/wire/stage.h"
#include <signal.h>
#include <stdio.h>

enum {
    STAGE_PORTS_MAX = 32,        /* a set of ports is a uint32_t */
    STAGE_GENERATE_STREAMS = 16, /* streams a loop's head admits at a time */
    STAGE_FEEDBACK_WINDOW =
        64, /* frames; above what can be outstanding, so that a send on a feedback edge never waits */
    STAGE_BUCKETS = 256,
    STAGE_SOURCE_SHIFT = 40, /* a stream's id is source << 40 | index */
};

/* --- command line --- */
struct stage_endpoint {
    int port;
    bool feedback; /* the link that leads back to the head of a loop */
    bool by_hash;  /* streams are shared out by their ids, not by load: all who send to the group agree */
    bool first;    /* of its group */
    size_t group;  /* links that one --out names, by comma, share the port's streams out among them */
    const char *address;
};
struct stage_endpoints {
    struct stage_endpoint *items;
    size_t count;
};

struct stage_command {
    bool help, version, describe;
    int loudness; /* -q: -1, -v: 1, -vv: 2 */
    thea_color color;
    const char *name;
    int threads, window, source, in_flight, replica;
    int reconnect_ms;     /* how long a link may be down before that is told; 0: as long as link.h says */
    uint64_t spill_bytes; /* of each incoming link; 0: nothing waits on disk */
    int parent, status_fd, control_fd; /* 0, -1, -1: nobody's child */
    const char *run_dir;               /* NULL: by hand */
    uint64_t epoch;
    uint32_t incarnation;
    struct stage_endpoints in, out;
    const char *emit;        /* NULL: the default port */
    struct value_list texts; /* memory of name, ports, addresses */
};

/* What is known of a table's option after parsing. */
struct stage_setting {
    bool given;
    struct buf text;
};

/* --- ports --- */
struct stage_in {
    const struct stage_port *port;
    bool connected;
    char *shape; /* the table's, symbols that describe() fixed replaced by numbers */
};

struct stage_memory {
    void *data;
    size_t size;
};

struct stage_out {
    const struct stage_port *port;
    bool connected; /* someone reads it */
    bool emitted;   /* on stdout */
    char *shape;
    uint64_t largest; /* tensor bytes of its largest frame so far */
    /* The frame being put by the running op. */
    struct stage_stream *stream; /* NULL: nothing put */
    bool kind_set, position_set;
    frame_kind kind;
    uint64_t position;
    struct tensor *tensors; /* FRAME_TENSORS_MAX */
    size_t tensor_count;
    struct attr attrs[FRAME_ATTRS_MAX];
    struct frame frame;
    /* Memory of stage_buffer, and of joined passing tensors: shared where a link reads it, else private. */
    struct region_port *regions; /* NULL: no link reads this port */
    struct stage_memory *buffers;
    size_t buffer_count, buffer_used;
};

/* --- streams --- */
typedef enum {
    STREAM_OPEN,
    STREAM_HELD,
    STREAM_GATHERED,
    STREAM_OVER
} stage_stream_phase; /* OVER: frames that still come are dropped */

struct stage_attr {
    char *key;
    attr_type type;
    char *text;
    int64_t integer;
    double number;
    uint32_t owed; /* outputs that have not sent its newest value */
};

/* Bytes of passing tensors that outlived their input frame. */
struct stage_carried {
    struct tensor tensor; /* name and data are owned: name, bytes.data */
    char *name;
    struct buf bytes;
    uint32_t owed; /* outputs that have not sent it */
};

struct stage_stream {
    struct stage_stream *next; /* in its bucket */
    struct stage *stage;
    uint64_t id;
    stage_stream_phase phase;
    void *state;
    bool begun;
    uint32_t ended; /* inputs that delivered end (or an error) */
    struct stage_attr *attrs;
    size_t attr_count;
    struct stage_carried *carried;
    size_t carried_count;
    uint64_t seq[STAGE_PORTS_MAX];
    uint64_t position; /* one past the newest input row */
    uint64_t trace_id, created_ns;
    uint32_t attempt, origin;
    bool again;     /* it is dropped, and will come again */
    bool aside;     /* its error frame gives it up */
    bool cancelled; /* its error frame takes it back: the run drains */
};

/* --- runs that survive crashes --- */
#define STAGE_NONE UINT64_MAX
enum { STAGE_IN_FLIGHT = 16, STAGE_WAITS_MAX = 4 };

struct stage_known_total {
    unsigned source;
    uint64_t streams;
};

/* What the supervisor has said, obeyed between two ops, and what it has not been told yet. */
struct stage_control {
    struct channel *channel; /* NULL: nobody supervises */
    uint64_t heard_ns;       /* when we last listened */
    uint64_t told_ns;        /* when commits were last told in passing */
    uint64_t epoch;          /* the highest heard of, from the supervisor or a link */
    bool draining, finishing;
    bool news;  /* for tick() */
    bool final; /* a sink that cannot take back what it prints */
    bool enough_told, backlog_told;
    struct ranges committed; /* a sink's own; for a source: in every sink */
    struct ranges owed;      /* of those, not told */
    struct ranges aside;     /* a sink's: given up */
    struct stage_known_total *totals;
    size_t total_count;
    struct json_node **orders; /* about links: for the loop */
    size_t order_count;
};

/* A stream that was tried more than once, or is given up. */
struct stage_try {
    uint64_t stream;
    uint32_t attempt;
    char *aside; /* why it is given up; NULL: it is not */
    bool unread; /* and source() must not be called for it: it dies of it */
    int64_t tries;
};

/* How much of a source is under way. */
struct stage_sent {
    uint64_t stream, bytes;
};
struct stage_flight {
    struct stage_sent *sent; /* of each stream that is open */
    size_t count, cap;
    uint64_t bytes;                 /* of all those */
    uint64_t turn_ns, done, before; /* commits since then, and in the turn before */
};

/* A source's streams: what is in flight, what is next. */
struct stage_replay {
    struct ranges open; /* sent in this epoch, not committed */
    uint64_t at;        /* the index that source() would start next; STAGE_NONE: only seek() can tell it */
    uint64_t aim;       /* the index that it is to start */
    uint64_t started;   /* one past the highest index started here */
    uint64_t total;     /* indices there are; STAGE_NONE: not known */
    uint64_t told;      /* how many the supervisor was told of */
    uint64_t only;      /* this stream alone; STAGE_NONE: any */
    bool paused, abandon;
    struct stage_flight flight;
    struct stage_try *tries;
    size_t try_count;
};

/* The frames that one op put, one a port (NULL: none), on their way out. May wait for byte credit; never for
 * frame credit. */
struct stage_transport {
    thea_rc (*send)(struct stage *st, struct frame *const *frames, struct thea_err *err);
    void *context;
};

struct stage_current { /* the input frame being worked on */
    const struct frame *frame;
    struct stage_stream *stream; /* NULL: nothing to do with it */
    uint32_t ports;              /* inputs it is for */
    uint32_t todo;               /* of those, whose op has not returned OK yet */
    uint32_t owed;               /* outputs that have not taken its passing tensors */
    bool held, gathered;         /* stage_hold, stage_gather was called in this end() */
};

/* Streams that wait for batch(), and those that it has done. */
struct stage_gathering {
    size_t count;                /* GATHERED, ready or not */
    bool due, idle;              /* batch() is to be called, and how */
    struct stage_stream **ready; /* their end() is to be called, the first first */
    size_t ready_count;
    struct frame end; /* stands for the one that ended the first of them */
};

struct stage_skip {
    char *reason;
    uint64_t count;
};

struct stage {
    const struct stage_ops *ops;
    const char *name;
    struct stage_command command;
    struct stage_setting *settings; /* one an option of the table */
    size_t setting_count;
    struct value_list *lists; /* memory behind list options, one an option */
    void *state;
    struct stage_in in[STAGE_PORTS_MAX];
    struct stage_out out[STAGE_PORTS_MAX];
    int in_count, out_count;
    struct stage_describe *described;
    struct stage_stream *buckets[STAGE_BUCKETS];
    size_t open_streams; /* OPEN or HELD */
    struct stage_current current;
    struct stage_gathering gathering;
    struct stage_stream *source_stream;
    int waits[STAGE_WAITS_MAX]; /* of a source whose op found nothing: what it waits for */
    size_t wait_count;
    struct stage_stream *closing; /* its last frame (end or error) is to be sent next */
    frame_kind closing_kind;
    bool opened, sent, enough, source_done, on_terminal;
    struct stage_transport transport;
    struct stage_control control;
    struct stage_replay replay; /* a source's */
    struct stage_taps *taps;    /* NULL: nobody looks */
    uint64_t epoch;
    struct status_page *page; /* never NULL once open */
    struct stage_skip *skips;
    size_t skip_count;
    uint64_t waited_ns;              /* of the running op, for input */
    int trace_fd;                    /* THEA_TRACE, or -1 */
    volatile sig_atomic_t *draining; /* NULL: never */
};

/* stage_options.c */
extern const char *const stage_no_names[];    /* {NULL} */
char *stage_dash_name(const char *option);    /* "max_tokens" -> "max-tokens"; free it */
char stage_option_letter(const char *option); /* 'm', 'o', 'f', or 0 */
void stage_options_init(struct stage *st);
void stage_options_fini(struct stage *st);
THEA_CHECK thea_rc stage_option_take(struct stage *st, size_t option, const char *text, struct thea_err *err);
/* Environment and defaults where nothing was given, then every field of the state. */
THEA_CHECK thea_rc stage_options_fill(struct stage *st, struct thea_err *err);
/* First required option that has no value, or NULL. */
const struct stage_option *stage_option_missing(const struct stage *st);
size_t stage_option_count(const struct stage_ops *ops);

/* stage_command.c */
THEA_CHECK thea_rc stage_command_parse(struct stage *st, int argc, char *const *argv, struct thea_err *err);
void stage_command_fini(struct stage_command *c);

/* stage_common.c: the options that every stage has, by number */
struct stage_common {
    const char *name;
    char letter;
    const char *argument; /* NULL: takes no value */
    const char *meaning;  /* NULL: given by a supervisor, not offered to people */
};
const struct stage_common *stage_common_at(const struct stage_ops *ops,
                                           size_t i); /* as this kind offers them; NULL at the end */
int stage_common_find(const struct stage_ops *ops, const char *name, size_t len); /* -1 if none */
int stage_common_letter(char letter);                                             /* -1 if none */
bool stage_common_takes_value(int id);
THEA_CHECK thea_rc stage_common_take(struct stage *st, int id, const char *text, struct thea_err *err);
const char *stage_command_keep(struct stage_command *c, const char *text); /* a copy that lives as long */
THEA_CHECK thea_rc stage_common_threads(
    struct stage_command *c, struct thea_err *err); /* THEA_THREADS, where --threads says nothing */

/* stage_ports.c: which ports are connected, and their shapes */
THEA_CHECK thea_rc stage_ports_connect(struct stage *st,
                                       struct thea_err *err); /* from --in and --out; before describe */
THEA_CHECK thea_rc stage_ports_emit(struct stage *st,
                                    struct thea_err *err); /* stdout's ports; after describe */
void stage_ports_resolve(struct stage *st);                /* symbols to numbers; after describe */
int stage_find_port(const struct stage_port *ports, const char *name); /* -1 if none */
void stage_list_ports(struct buf *out, const struct stage_port *ports, const char *between,
                      unsigned without_flags);
bool stage_port_takes(const struct stage_port *port, const char *tensor); /* is it the port's main tensor? */
bool stage_reads_stdin(const struct stage *st);                           /* forward inputs without --in */
bool stage_writes_stdout(const struct stage *st); /* outputs without --out but for --out feedback */
bool stage_has_feedback(const struct stage *st);  /* a connected feedback input */
THEA_CHECK thea_rc stage_check_frame(const struct stage *st, uint32_t ports, const struct frame *f,
                                     struct thea_err *err);

/* stage_control.c: what a supervisor says */
static inline bool stage_supervised(const struct stage *st)
{
    return st->control.channel != NULL;
}
THEA_CHECK thea_rc stage_control_open(struct stage *st, struct thea_err *err);
void stage_control_close(struct stage *st);
/* Take in what the supervisor has said. Cheap: listens once a millisecond, or at once with `now`. Nothing is
 * obeyed that would disturb a running op. Errors: THEA_ECLOSED (the supervisor is gone), THEA_EFRAME. */
THEA_CHECK thea_rc stage_control_hear(struct stage *st, bool now, struct thea_err *err);

/* stage_tell.c: what a supervisor is told; without one all of this does nothing */
void stage_tell_ready(struct stage *st);
void stage_tell_commits(struct stage *st); /* those owed */
/* The same, once a millisecond: between ops. Who is about to sleep tells them all. */
void stage_tell_commits_now_and_then(struct stage *st);
void stage_tell_failed(struct stage *st, const struct stage_stream *s);
void stage_tell_held(struct stage *st, uint64_t stream); /* whole, but it waits for its turn */
void stage_tell_total(struct stage *st, uint64_t streams);
void stage_tell_done(
    struct stage *st); /* eof of this epoch: a sink has written all, others have passed it on */
void stage_tell_enough(struct stage *st);                                     /* once */
void stage_tell_link(struct stage *st, const char *did, const char *address); /* "linked", "left" */
void stage_tell_link_down(struct stage *st, uint32_t number);

/* stage_epoch.c: forgetting, when a process died */
bool stage_epoch_due(const struct stage *st);
void stage_epoch_heard(struct stage *st, uint64_t epoch); /* a peer is that far */
void stage_epoch_take(struct stage *st); /* streams, what is to be sent, the kind's own: all go */
void stage_stream_again(struct stage *st, struct stage_stream *s); /* forget it: it comes again */

/* stage_flight.c: how many streams may be under way */
void stage_flight_fini(struct stage_flight *f);
void stage_flight_clear(struct stage_flight *f); /* nothing is open */
void stage_flight_start(struct stage_flight *f, uint64_t stream);
void stage_flight_send(struct stage_flight *f, uint64_t stream, uint64_t bytes);
void stage_flight_commit(struct stage_flight *f, const struct ranges *committed, uint64_t now_ns);
/* May another be started, where so many are open? limit: as somebody said; 0: nobody did. */
bool stage_flight_has_room(struct stage_flight *f, int limit, uint64_t open, uint64_t now_ns);

/* stage_replay.c: which stream a supervised source sends next */
void stage_replay_init(struct stage *st);
void stage_replay_fini(struct stage *st);
void stage_replay_epoch(struct stage *st);
void stage_replay_committed(struct stage *st); /* control.committed has grown */
void stage_replay_retry(struct stage *st, uint64_t stream, uint32_t attempt);
void stage_replay_aside(struct stage *st, uint64_t stream, uint32_t attempt, int64_t tries, bool unread,
                        const char *reason);
/* Between two ops, with no stream open: OK: call source(), it stands where it should (but see
 * stage_replay_unread); AGAIN: nothing may be
 * started now; DONE: all is committed and nothing more will come. */
THEA_CHECK thea_rc stage_replay_next(struct stage *st, struct thea_err *err);
bool stage_replay_unread(const struct stage *st); /* the next is given up, and source() is not to see it */
void stage_replay_start(struct stage *st, struct stage_stream *s); /* source() has started it */
uint64_t stage_replay_aim(const struct stage *st); /* id of the stream that source() is to start */
void stage_replay_lost(struct stage *st);          /* source() stands nobody knows where */
THEA_CHECK thea_rc stage_replay_end(struct stage *st, struct thea_err *err); /* source() has nothing more */
void stage_replay_cancel(struct stage *st, uint64_t stream); /* it will not be committed in this run */
const struct stage_try *stage_replay_try(const struct stage *st, uint64_t stream); /* NULL: its first */

/* stage_source.c */
/* A source's op, or the sending of its stream's end. AGAIN: call again; OK: nothing to do until the
 * supervisor says more; DONE: nothing more will come. */
THEA_CHECK thea_rc stage_source_step(struct stage *st, struct thea_err *err);

/* stage_help.c */
struct stage_describe *stage_describe_new(void);
void stage_describe_free(struct stage_describe *d);
uint64_t stage_describe_find_dim(const struct stage_describe *d, const char *symbol,
                                 size_t len);                            /* 0: not fixed */
const char *stage_describe_find_default(const struct stage_describe *d); /* NULL: the table's */
void stage_help_print(const struct stage *st, FILE *to);
char *stage_describe_print(const struct stage *st); /* JSON text; free it */

/* stage_core.c: the life of a stage */
THEA_CHECK thea_rc stage_init(struct stage *st, const struct stage_ops *ops, int argc, char *const *argv,
                              struct thea_err *err);
THEA_CHECK thea_rc stage_describe_call(struct stage *st, struct thea_err *err);
THEA_CHECK thea_rc stage_open(struct stage *st, struct status_page *page, struct thea_err *err);
void stage_fini(struct stage *st); /* drops streams, closes */

/* stage_stream.c */
struct stage_stream *stage_stream_find(struct stage *st, uint64_t id);
struct stage_stream *stage_stream_new(struct stage *st, uint64_t id);
void stage_stream_retire(struct stage *st,
                         struct stage_stream *s); /* its state goes; the rest too once all inputs ended */
void stage_stream_forget(struct stage *st, struct stage_stream *s);
void stage_streams_drop(struct stage *st);
bool stage_stream_complete(const struct stage *st,
                           const struct stage_stream *s); /* end on all connected forward inputs */
bool stage_inputs_complete(
    const struct stage *st,
    uint32_t ended_ports); /* the set has all connected forward inputs, and one of a ONE_OF group */
THEA_CHECK thea_rc stage_stream_merge(struct stage *st, struct stage_stream *s, const struct frame *in,
                                      struct thea_err *err);
THEA_CHECK thea_rc stage_stream_set(struct stage *st, struct stage_stream *s, const struct attr *a,
                                    struct thea_err *err);
uint32_t stage_connected_outs(const struct stage *st);

/* stage_carry.c */
bool stage_passes(const struct stage *st,
                  const struct tensor *t); /* of the current input frame: does it pass by? */
THEA_CHECK thea_rc stage_carry_add(struct stage *st,
                                   struct thea_err *err); /* frames' own -> streams', what no output took */
THEA_CHECK thea_rc stage_carry_take(struct stage *st, struct stage_stream *s, int port,
                                    struct thea_err *err); /* into port's tensors */
void stage_carry_sent(struct stage_stream *s, int port);
void stage_carry_free(struct stage_stream *s);

/* stage_output.c */
void stage_outputs_reset(struct stage *st);
THEA_CHECK thea_rc stage_outputs_send(struct stage *st, struct thea_err *err); /* what the op put */
THEA_CHECK thea_rc stage_outputs_send_last(
    struct stage *st, struct thea_err *err); /* end or error of st->closing, then retire it */
THEA_CHECK thea_rc stage_outputs_send_eof(struct stage *st, struct thea_err *err);
void stage_out_fini(struct stage_out *o);

/* stage_step.c */
/* Begin with an input frame for the inputs `ports`. It must stay valid until stage_step says OK. */
THEA_CHECK thea_rc stage_take(struct stage *st, uint32_t ports, const struct frame *in, struct thea_err *err);
/* One op on it, or the sending of a stream's end. THEA_OK: done with the frame; THEA_AGAIN: call again. Every
 * call may send one frame a port. */
THEA_CHECK thea_rc stage_step(struct stage *st, struct thea_err *err);
/* After an op: its frames go out; a document's error turns into the stream's end. */
THEA_CHECK thea_rc stage_after_op(struct stage *st, struct stage_stream *s, thea_rc rc, struct thea_err *err);
/* An error frame ends the stream; `reason` goes with it. */
void stage_fail_stream(struct stage *st, struct stage_stream *s, const char *reason);
/* The closing frame shares the step if the op has sent nothing, for there is credit for one frame a port. */
THEA_CHECK thea_rc stage_close_stream(struct stage *st, struct thea_err *err);

/* stage_gather.c: documents that are computed together */
void stage_gather_add(struct stage *st, struct stage_stream *s);
void stage_gather_remove(struct stage *st, const struct stage_stream *s); /* its state goes */
void stage_gather_idle(struct stage *st);                                 /* no input waits */
/* Is there something to do before the next input frame? If that is a stream's end, it becomes the current. */
bool stage_gather_due(struct stage *st);
/* One batch(), one end() of what is ready, or the sending of its end. OK: done with it; AGAIN: call again. */
THEA_CHECK thea_rc stage_gather_step(struct stage *st, struct thea_err *err);
void stage_gather_fini(struct stage *st);

/* stage_status.c */
void stage_trace_open(struct stage *st);
/* The row of a link. One that comes back gets its own again, and counts on; where all rows are taken, a link
 * gets that of one that was closed. NULL: as many are open as there are rows. */
struct status_link *stage_status_row(struct stage *st, const char *port, uint32_t number, bool outgoing);
void stage_status_row_closed(struct stage *st, uint32_t number, bool outgoing);
uint64_t stage_op_begin(struct stage *st);
void stage_note_stream(struct stage *st, uint64_t id); /* the op works on it; STAGE_NONE: on none */
void stage_op_end(struct stage *st, uint64_t begin_ns, const struct stage_stream *s, const struct frame *in);

#endif
