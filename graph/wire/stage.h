/* A stage: one program, one table. The table gives a kind its name, options, ports and functions; stage_main
 * does the rest: the command line, --help, --describe, links or stdio, credit, ends, the status page. A test
 * calls the table without process or socket (tests/support/harness.h).
 *
 * The loop: wait, pick an input frame, run one op, send its outputs, consume. One call
 * of an op puts at most one frame on each output port, and is made only when every connected output has
 * credit for it. An op that has more to say returns THEA_AGAIN and is called again with the same input. So a
 * stage never waits inside an op, and needs no thread of its own.
 *
 * What passes by itself: tensors of the input frame beside the main tensor of the port it came by, and its
 * attributes, ride on the next output frame of that stream, unchanged (those of several inputs that made one
 * output are joined along their first dimension), on every output port. What no frame took goes with the
 * `end` frame. A tensor that the op puts itself replaces a passing one of the same name; stage_pass_nothing
 * keeps an input frame's from passing.
 *
 * Without --in, forward inputs are read from stdin (all of them count as connected, those of a STAGE_ONE_OF
 * group too); without --out, the ports that --emit names leave on stdout.
 *
 * A table's 40-line example: examples/stage/. */
#ifndef GRAPH_WIRE_STAGE_H
#define GRAPH_WIRE_STAGE_H

#include "graph/json.h"
#include "graph/value.h"
#include "graph/wire/frame.h"

struct stage;        /* the runtime's side of this process */
struct stage_stream; /* the runtime's side of one open stream */

struct stage_option {
    const char *name; /* as in YAML: "max_tokens" (on a command line: --max-tokens) */
    value_type type;
    const char *def;            /* default as text; NULL: none (field keeps zero; lists are empty) */
    const char *meaning;        /* one line, for --help and the docs */
    const char *unit;           /* "positions", "bytes", …; NULL */
    double min, max;            /* numbers, sizes, times, when min < max */
    const char *const *choices; /* VALUE_CHOICE (required), VALUE_NAMES (optional); NULL-terminated */
    size_t offset;              /* of its field in the stage's state, of the type that value.h says */
    unsigned flags;             /* STAGE_OPERANDS | … */
};
enum {
    STAGE_OPERANDS = 1, /* operands of the command line go here too (one option of a table) */
    STAGE_REQUIRED = 2,
    STAGE_CLI_ONLY = 4, /* not a key of pipeline files (layers --emit) */
    STAGE_HIDDEN = 8,   /* not shown by --help */
};

struct stage_port {
    const char *name;
    tensor_dtype dtype;
    const char *shape; /* "n", "n, hidden": words are symbols (stage_describe_dim gives them numbers), numbers
                          are fixed, "*" any */
    const char *meaning;
    const char *tensor; /* name of its main tensor, if not the port's; "hidden.*": a numbered family */
    unsigned flags;
};
enum {
    STAGE_OPTIONAL = 1, /* an input that may stay unconnected; inputs without it must be connected */
    STAGE_ONE_OF = 2,   /* exactly one of the inputs with this flag must be connected */
    /* An input at the far end of the edge that points back; or the output at its beginning, which leaves both
     * forward to its readers and back, by
     * --out feedback=ADDRESS or as one of several --out PORT=ADDRESS. Such an output needs its feedback edge
     * unless STAGE_OPTIONAL. */
    STAGE_FEEDBACK = 4,
    STAGE_DEFAULT = 8, /* the output that leaves on stdout when nobody says (without it: the first) */
};

struct stage_describe; /* collects what --describe prints beyond the table */

struct stage_ops {
    const char *kind;
    const char *summary;                /* one line: "one vector per stream from its hidden states" */
    const char *const *examples;        /* command lines for --help; NULL-terminated; may be NULL */
    const struct stage_option *options; /* ended by {0}; may be NULL */
    const struct stage_port *inputs;    /* ended by {0}; NULL: a source */
    const struct stage_port *outputs;   /* ended by {0}; NULL: a sink */
    size_t state_size;                  /* of the stage's state, zeroed, options filled in before open */
    size_t stream_size;                 /* of a stream's state, zeroed at the stream's first frame */
    bool aggregates;                    /* outputs are summaries: tensors do not pass by, attributes do */
    bool commits; /* a sink that calls stage_commit itself; for others the runtime does at a stream's end */

    /* Options are parsed; no input has come. May check them and fill in what is fixed now (dimensions, ports,
     * blocks) for --describe. Called by `check` often: open no sockets, load no weights. Not called by
     * --describe while a required option is missing. May be NULL. */
    thea_rc (*describe)(struct stage *st, struct stage_describe *d, struct thea_err *err);
    /* Get ready: load the model, open the output. */
    thea_rc (*open)(struct stage *st, struct thea_err *err);
    /* A source's op: start a stream (stage_start), or put one frame of the current one, or end it
     * (stage_finish). Returns OK or AGAIN to be called again, DONE when there is nothing more (eof follows).
     */
    thea_rc (*source)(struct stage *st, struct thea_err *err);
    /* A source's: the next calls of source() emit stream `index` from its beginning, whatever came before: in
     * the middle of a stream (its struct stage_stream is gone by now), after DONE, or first thing in a new
     * process. It is one that was started before (in this process or in one before it: the manifest knows
     * it), or the first that was not. Streams after it follow in order, unless seek is called again. A stream
     * that cannot be had any more still starts, and then fails (THEA_EDOC): indices keep their meaning. May
     * be NULL: then a run cannot go on after a crash. */
    thea_rc (*seek)(struct stage *st, uint64_t index, struct thea_err *err);
    /* A stream's first frame is here (of kind data or end). May be NULL. */
    thea_rc (*begin)(struct stage *st, struct stage_stream *s, const struct frame *in, struct thea_err *err);
    /* A data or mark frame on input `port` (index into inputs). OK: consumed. AGAIN: call again with the same
     * frame. THEA_EDOC: the stream is bad; the runtime puts an error frame in its place and drops the rest.
     * Any other error ends the stage. */
    thea_rc (*frame)(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                     struct thea_err *err);
    /* `end` came on all forward inputs. May put frames (AGAIN: call again). Afterwards the runtime sends
     * `end` on all outputs, unless stage_hold was called (a loop's head), and frees the stream. May be NULL.
     */
    thea_rc (*end)(struct stage *st, struct stage_stream *s, struct thea_err *err);
    /* Documents that are computed together. end() has gathered some (stage_gather): called after each of
     * them, and with `idle` when no input waits. Runs none or some, putting nothing, and calls stage_ready
     * for those that are done; with `idle` for one at least. Errors end the stage. NULL: it gathers none. */
    thea_rc (*batch)(struct stage *st, bool idle, struct thea_err *err);
    /* An error frame ended the stream (reason in its attribute "error"). Sinks report it; others may leave it
     * NULL: it is passed on. With a supervisor a sink's is called only for a stream that was given up after
     * its tries (attributes "error", "tries"): it takes its turn, and stage_commit says that it is done with.
     */
    thea_rc (*failed)(struct stage *st, struct stage_stream *s, const struct frame *in, struct thea_err *err);
    /* Free what a stream's state owns; always called, also when a run is broken off. May be NULL. */
    void (*drop)(struct stage *st, struct stage_stream *s);
    /* Another process of the run died: all streams have been dropped (stage_comes_again was true for each),
     * and those not committed come again from their beginning. Forget what the state keeps of them beside the
     * streams' own: turns, buffers, what is half written. May be NULL. */
    void (*reset)(struct stage *st);
    /* Time has passed (twice a second, while nothing comes), or stage_total or stage_unfinished has changed:
     * a sink lets go on what waited for that. May be NULL. */
    thea_rc (*tick)(struct stage *st, struct thea_err *err);
    /* eof came on all inputs, all streams have ended: a sink writes what is left. Once in a process. Not
     * called after stage_enough or when the run is broken off. May be NULL. */
    thea_rc (*finish)(struct stage *st, struct thea_err *err);
    /* Free what the state owns. Called after open, whether it failed or not. May be NULL. */
    void (*close)(struct stage *st);
};

/* main() of a stage: through STAGE_MAIN below. Returns the exit status. */
int stage_main(int argc, char **argv, const struct stage_ops *ops);
/* A stage's file ends with STAGE_MAIN(pool_ops): the table becomes visible to tests, main is left out there.
 */
#ifdef THEA_NO_MAIN
#define STAGE_MAIN(ops) extern const struct stage_ops ops
#else
#define STAGE_MAIN(ops)                                                                                      \
    int main(int argc, char **argv)                                                                          \
    {                                                                                                        \
        return stage_main(argc, argv, &(ops));                                                               \
    }                                                                                                        \
    extern const struct stage_ops ops
#endif

/* --- in any op --- */
void *stage_state(struct stage *st);              /* the state_size bytes, options filled in */
void *stage_stream_state(struct stage_stream *s); /* the stream_size bytes */
uint64_t stage_stream_id(const struct stage_stream *s);
const char *stage_name(const struct stage *st); /* "layers/1" */
int stage_threads(const struct stage *st);      /* --threads, 1 at least */
bool stage_connected(const struct stage *st,
                     int out_port); /* does anyone read this output? (stdio: is it emitted?) */
bool stage_input_connected(const struct stage *st, int in_port);
bool stage_on_terminal(const struct stage *st);                  /* a sink's stdout is a terminal */
bool stage_option_set(const struct stage *st, const char *name); /* given by the user, not the default */
const struct frame *stage_frame(const struct stage *st); /* the input frame of the running op (in end(): the
                                                            one that ended it); NULL in a source */
/* Attributes that came with the stream (all of its frames so far; the newest value of a key). */
const char *stage_stream_text(const struct stage_stream *s, const char *key, const char *fallback);
int64_t stage_stream_int(const struct stage_stream *s, const char *key, int64_t fallback);

/* --- output --- */
/* 64-byte aligned memory for one tensor of the frame being put on `port`, valid until the op returns; reused
 * from call to call. Where the next stage is on this host it is shared memory: write results straight into it
 * and nothing is copied. Several calls give several buffers. */
void *stage_buffer(struct stage *st, int port, size_t bytes);
/* Add a tensor to the frame that leaves on `port` when this op returns. Data must stay valid until then.
 * Ports that nobody reads are ignored. At most FRAME_TENSORS_MAX a frame (assert). */
void stage_put(struct stage *st, struct stage_stream *s, int port, const struct tensor *t);
void stage_put_position(struct stage *st, int port,
                        uint64_t position); /* of the frame being put; else the input frame's */
void stage_put_kind(struct stage *st, int port,
                    frame_kind kind); /* FRAME_MARK: "sample now"; else FRAME_DATA; a kind alone makes a frame
                                         without tensors */
void stage_put_text(struct stage *st, struct stage_stream *s, const char *key,
                    const char *text); /* attributes of the stream, sent once */
void stage_put_int(struct stage *st, struct stage_stream *s, const char *key, int64_t value);
void stage_put_number(struct stage *st, struct stage_stream *s, const char *key, double value);

/* In frame(): what lies beside this frame's main tensor goes no further. (Attributes do.) */
void stage_pass_nothing(struct stage *st);

/* --- streams --- */
/* A source begins its next stream. Index counts from 0 and makes the stream's id. The frames put next belong
 * to it. One at a time: the stream before must be finished, in an earlier op. */
struct stage_stream *stage_start(struct stage *st, uint64_t index);
/* The stream ends here: after this op `end` goes out on all outputs; later frames of it that still arrive are
 * dropped (a sampler that has its stop token; a source at the end of a document). */
void stage_finish(struct stage *st, struct stage_stream *s);
/* In end(): keep the stream open and send no `end`: it goes on by feedback (a loop's head after the prompt).
 * When `end` comes back on the feedback port, end() is called again. */
void stage_hold(struct stage *st, struct stage_stream *s);
bool stage_held(const struct stage_stream *s);
/* In end(): keep the stream open and send no `end` yet: it waits for batch(). After stage_ready its end() is
 * called again, stage_gathered is true, and it puts what the batch has made of it (AGAIN: call again) with
 * positions of its own; then `end` goes out. Its stage_stream may be kept until drop(). */
void stage_gather(struct stage *st, struct stage_stream *s);
bool stage_gathered(const struct stage_stream *s);
/* In batch(): this stream is done. The ready ones' end() are called in this order, before any other input. */
void stage_ready(struct stage *st, struct stage_stream *s);
/* In batch(): it works on this stream, too; who dies of one accuses all of them. */
void stage_working_with(struct stage *st, const struct stage_stream *s);
/* A sink that has enough: STOP goes up all inputs; the stage ends quietly with status 0. */
void stage_enough(struct stage *st);
/* The run is draining (SIGTERM): a source should return DONE at its next call; the runtime also sees to it.
 */
bool stage_draining(const struct stage *st);

/* --- runs that survive crashes: with a supervisor alone (docs/architecture.md, "Control") --- */
/* The run's directory, where a source keeps its manifest and a sink its journal; NULL: by hand, nothing is
 * kept. */
const char *stage_run_dir(const struct stage *st);
/* A sink: this stream's result is where it should be (or, after failed(), its failure is); its source may
 * forget it. Frames of it that still come are dropped before any op. Once for each stream; in open() for
 * those that a journal of an earlier start names. Without a supervisor nobody hears it. */
void stage_commit(struct stage *st, uint64_t stream);
/* The same of a stream that the sink itself gives up: it has no result, and the run ends with status 1. */
void stage_commit_aside(struct stage *st, uint64_t stream);
/* Is this stream's result committed? A source: in every sink. (Its frames need not be sent again.) */
bool stage_committed(const struct stage *st, uint64_t stream);
/* In drop(): will the stream come again, from its beginning? (Another process died, or a new attempt is
 * here.) */
bool stage_comes_again(const struct stage_stream *s);
/* A sink: so many streams come of a source, UINT64_MAX while nobody knows. Ids are source << 40 | index. */
uint64_t stage_total(const struct stage *st, unsigned source);
/* A sink, in open(): what it prints cannot be taken back (a pipe, a terminal, a table), so its death ends the
 * run. */
void stage_final(struct stage *st);
/* A sink: does the run only drain? Then what is not whole stays for `thea run --resume`. */
bool stage_unfinished(const struct stage *st);

/* --- what people see --- */
void stage_skipped(struct stage *st, const char *name,
                   const char *reason); /* a source left an input out: warning, counted by reason */
void stage_expect(struct stage *st, uint64_t documents); /* a source knows how many will come */
void stage_count_tokens(struct stage *st, uint64_t n);   /* positions that passed; tokenize or layers */
void stage_count_bytes(struct stage *st, uint64_t n);
void stage_waited(struct stage *st, uint64_t ns); /* a source's op waited so long for its input: not busy */
/* A source whose source() says AGAIN and has put nothing: it need not be called again before one of these
 * descriptors can be read (or half a second has passed, or a signal came). STAGE_WAITS_MAX of them, said anew
 * in each op. */
void stage_wait_fd(struct stage *st, int fd);
void stage_progress(struct stage *st); /* inside a long op, once per block: "not hung" */
void stage_working_on(struct stage *st, const char *fmt, ...)
    THEA_PRINTF(2, 3); /* for crash reports; the runtime sets "<id>, positions p-q" itself */

/* --- in describe() --- */
void stage_describe_dim(struct stage_describe *d, const char *symbol, uint64_t n);
/* The output that leaves on stdout when nobody says, where that depends on the options or the model; instead
 * of STAGE_DEFAULT. */
void stage_describe_default(struct stage_describe *d, const char *out_port);
/* With these options the stage has this output alone: `check` knows no other. */
void stage_describe_only(struct stage_describe *d, const char *out_port);
/* With these options the stage does not have this output. */
void stage_describe_without(struct stage_describe *d, int out_port);
/* Of each stream this input reads the first row alone, or (only_first false) it reads every row; an input of
 * which neither is said takes what comes. */
void stage_describe_reads(struct stage_describe *d, int in_port, bool only_first);
/* With its option of this name set to `first` the stage gives the first row of each stream alone on this
 * output. In a pipeline that does not set the option, `first` it is where all that reads the stage reads that
 * alone. */
void stage_describe_first_by(struct stage_describe *d, int out_port, const char *option);
/* For kinds that split: cost of each block in FLOP a token (at 2,048 tokens), and what the first and last
 * part carry besides. */
void stage_describe_blocks(struct stage_describe *d, size_t count, const double *costs, double first_extra,
                           double last_extra);
void stage_describe_resolved(struct stage_describe *d, const char *option,
                             const char *value); /* model: the absolute path of what was found */
void stage_describe_note(struct stage_describe *d, const char *key,
                         struct json_node *value); /* anything else; takes over value */

#endif
