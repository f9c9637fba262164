/* The inside of the kind `write-index`, shared by stages/write_index.c and index_turns.c: documents that wait
 * for their turn, and what of them is in the index but not committed yet.
 *
 * While a document waits, its turn's data is its text, then its vector, then its metadata (JSON), then a
 * footer with the three lengths. */
#ifndef STAGES_SUPPORT_INDEX_TURNS_H
#define STAGES_SUPPORT_INDEX_TURNS_H

#include "graph/value.h"
#include "graph/wire/stage.h"
#include "retrieval/fingerprint.h"
#include "retrieval/index.h"
#include "stages/support/turns.h"

enum { PORT_VECTOR, PORT_DOCS };

struct write_index {
    const char *model, *output;
    struct value_list sources;

    bool kept; /* a supervisor keeps what is not committed, and sends it again */
    struct turns turns;
    struct index_writer *index;
    struct ranges waiting;   /* streams put since the last commit */
    uint64_t committed_ns;   /* when that was over; on the monotonic clock */
    uint64_t commit_cost_ns; /* how long it took */
};

struct document { /* of a stream */
    struct turn *turn;
    float *vector;
    size_t dimension;
    bool has_text;
};

/* A word of our own for this run: made once, in RUN_DIR/journal/NAME. free() it. Errors: THEA_EDATA,
 * THEA_ECREATE, THEA_EIO. */
THEA_CHECK thea_rc run_word(char **out, const char *run_dir, const char *name, struct thea_err *err);
/* The document is whole: put all that belongs to it into its turn. */
THEA_CHECK thea_rc index_turns_pack(struct write_index *w, struct stage_stream *s, const struct document *d,
                                    struct thea_err *err);
/* Put into the index what has its turn. Commit, if all: whatever is there; else if it is worth its time. */
THEA_CHECK thea_rc index_turns_flush(struct stage *st, struct write_index *w, bool all, struct thea_err *err);

#endif
