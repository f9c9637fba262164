/* One step of `layers`: rows of a document through this part's blocks, and what they give on each output.
 * layers_chunk.c decides which rows. */
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
enum { LAYERS_GIVE_ALL, LAYERS_GIVE_FIRST }; /* option `rows` */
enum { LAYERS_NAME_BYTES = 32, LAYERS_OF_CAUSAL = 3 };
extern const int layers_of_causal[LAYERS_OF_CAUSAL]; /* outputs that an encoder does not have */

/* An encoder's documents that wait for their batch, and what the last batch made: layers_encode.c. */
struct layers_batch {
    struct stage_stream **waiting; /* in the order of their ends */
    size_t count, room;
    size_t rows;        /* of those that wait */
    bool first_only;    /* of the last block's output only first positions are wanted */
    size_t budget, pad; /* rows of a batch; a document's tokens at least, 0: not padded */
    float *x, *hidden;  /* [rows, C] of the last batch; [blocks + 1, rows, C] if anyone reads hidden */
    size_t x_bytes;
    size_t x_rows, made; /* rows that there is room for; rows of the last batch */
    struct span *spans;
    int32_t closing;                   /* what the model's tokenizer puts last: [SEP] */
    bool asked_closing, knows_closing; /* asked when a document was cut; there was a tokenizer */
    bool many, advised; /* a second batch has begun; the user knows of filters made again and again */
};

/* An encoder's document: gathered whole, then a part of a batch. */
struct layers_gathered {
    int32_t *tokens; /* [rows] once it is whole */
    float *residual; /* [rows, C] in a part that has no embedding */
    size_t rows, room;
    uint64_t came; /* tokens or rows so far; of more than the model takes the last one is kept */
    int32_t last;
    bool has_tokens;
    size_t at, sent; /* its first row in the batch; rows that have left */
    size_t left_out; /* rows that were computed and do not leave */
};

struct layers {
    /* options */
    const char *model_name, *pad;
    struct value_range blocks;
    int64_t chunk, split, batch, filter_memory; /* split is for whoever plans the processes */
    int dtype, rows;                            /* rows: LAYERS_GIVE_… */
    /* open */
    char *dir;
    struct workers *workers;
    struct model *model;
    size_t hidden, vocab, step; /* step: positions of one output frame at most */
    float *x;                   /* [step, hidden]: the residual stream, unless it leaves on a port */
    float *final;               /* [1 + step, hidden]: the last row of the chunk before, then this chunk's */
    char (*hidden_names)[LAYERS_NAME_BYTES];
    struct layers_batch batched; /* of an encoder */
};

struct layers_document {
    struct model_state *state;
    int32_t *tokens; /* [step]: of the chunk being filled; with a residual, of the rows being worked on */
    size_t filled;
    uint64_t position;               /* of the first row of that chunk */
    size_t taken;                    /* rows of the input frame that are done, while it is called again */
    float *last;                     /* [hidden]: final state of the position before `position` */
    bool marked;                     /* in a loop: `next` goes out at marks, not at the end */
    struct layers_gathered gathered; /* of an encoder, which uses nothing of the above */
};

/* Does what is connected fit the model and the part? outputs: the table. Errors: THEA_EUSAGE. */
THEA_CHECK thea_rc layers_check(const struct stage *st, const struct layers *l,
                                const struct stage_port *outputs, struct thea_err *err);
thea_rc layers_wants_residual(const struct layers *l, struct thea_err *err); /* this part got tokens */
thea_rc layers_wants_tokens(const struct layers *l, struct thea_err *err);   /* this one a residual */

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
