/* One step of `layers`: rows of a document through this part's blocks, and what they give on each output.
 * stages/layers.c decides which rows. */
#ifndef STAGES_SUPPORT_LAYERS_STEP_H
#define STAGES_SUPPORT_LAYERS_STEP_H

#include "graph/wire/stage.h"
#include "nn/model.h"

enum { LAYERS_IN_TOKENS, LAYERS_IN_RESIDUAL, LAYERS_IN_FEEDBACK };
enum {
    LAYERS_OUT_NLL,
    LAYERS_OUT_FINAL,
    LAYERS_OUT_LOGITS,
    LAYERS_OUT_HIDDEN,
    LAYERS_OUT_NEXT,
    LAYERS_OUT_RESIDUAL,
    LAYERS_OUT_COUNT
};
enum { LAYERS_NAME_BYTES = 32 };

struct layers {
    /* options */
    const char *model_name;
    struct value_range blocks;
    int64_t chunk, split; /* split is for whoever plans the processes */
    int dtype;
    /* open */
    char *dir;
    struct workers *workers;
    struct model *model;
    size_t hidden, vocab, step; /* step: positions of one output frame at most */
    float *x;                   /* [step, hidden]: the residual stream, unless it leaves on a port */
    float *final;               /* [1 + step, hidden]: the last row of the chunk before, then this chunk's */
    char (*hidden_names)[LAYERS_NAME_BYTES];
};

struct layers_document {
    struct model_state *state;
    int32_t *tokens; /* [step]: of the chunk being filled; with a residual, of the rows being worked on */
    size_t filled;
    uint64_t position; /* of the first row of that chunk */
    size_t taken;      /* rows of the input frame that are done, while it is called again */
    float *last;       /* [hidden]: final state of the position before `position` */
    bool marked;       /* in a loop: `next` goes out at marks, not at the end */
};

/* One step: rows [position, +n) of a document through this part. */
struct layers_step {
    struct stage *st;
    struct stage_stream *s;
    struct layers *l;
    struct layers_document *doc;
    const int32_t *tokens; /* [n], or NULL when they did not come along */
    float *x;              /* [n, hidden] */
    size_t n;
    bool mark; /* the document waits for `next` after the last row */
};

/* The room for a step's x: where the next part will read it, if there is one. Valid until the op returns. */
float *layers_room(struct stage *st, struct layers *l, size_t n);
/* w->x holds the rows that enter this part; they are run and put, and the document moves on. Errors:
 * THEA_EDOC, THEA_EFRAME. */
THEA_CHECK thea_rc layers_run(struct layers_step *w, struct thea_err *err);
/* Put the logits of the last position, if anyone reads them. */
void layers_put_next(struct stage *st, struct stage_stream *s);
/* "Sample now": the last part answers with the logits of the last position, the others pass the mark on;
 * where there were rows, layers_run has. Errors: THEA_EDOC for an empty prompt. */
THEA_CHECK thea_rc layers_answer_mark(struct stage *st, struct stage_stream *s, bool had_rows,
                                      struct thea_err *err);

#endif
