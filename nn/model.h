/* A model, or the part of one that a process owns: embedding (if it has block 0), blocks first..last, final
 * norm and head (if it has the last). A model is a list of blocks; a family (nn/families) maps config.json
 * and tensor names to that list. Computed in f32 whatever the file's dtype. */
#ifndef NN_MODEL_H
#define NN_MODEL_H

#include "graph/err.h"
#include "kernels/kernels.h"
#include "nn/workers.h"

/* A causal model (a decoder) takes a document in chunks and keeps a state for each: model_forward. One that
 * is not (an encoder) sees whole documents, several in one batch: model_encode. model_info says which it is.
 */

/* How an encoder's vector is made of its hidden states, and what it does with documents that are shorter than
 * it could take. The order is that of the names in pool's and layers' options. */
typedef enum { MODEL_POOL_MEAN, MODEL_POOL_LAST, MODEL_POOL_CLS, MODEL_POOL_POOLER } model_pooling;
typedef enum { MODEL_PAD_NONE, MODEL_PAD_MAX } model_padding;

/* What config.json says, checked; the same for every family. */
struct model_info {
    const char *family;     /* "lfm2", "llama" */
    const char *model_type; /* of config.json */
    const char *dtype;      /* of the weights, as the config says: "bfloat16"; "" if it does not */
    size_t hidden, vocab, blocks, heads, kv_heads, head_size, feed_forward, context, conv_taps;
    size_t attention_blocks;
    uint64_t parameters;
    int bos, eos; /* -1 if none */
    bool tied, causal;
    int pad;               /* the token that fills up; -1 if none */
    model_padding padding; /* of encoders, unless the user says otherwise */
    model_pooling
        pooling;       /* what the family does with hidden states, unless files or the user say otherwise */
    bool normalize;    /* and whether the vector then gets length 1 */
    size_t max_length; /* tokens of a document that count, special ones included: `context`, or what
                          sentence_bert_config.json says if that is less */
    uint64_t kv_bytes_per_token; /* all blocks, f32 */
    uint64_t state_bytes;        /* per stream, beside the KV cache */
};

/* Read config.json alone (no weights). Errors: THEA_ENOINPUT, THEA_EDATA (unknown model_type with the list of
 * those known; a value that is missing, of the wrong type or impossible, by its name). */
THEA_CHECK thea_rc model_read_info(struct model_info *out, const char *dir, struct thea_err *err);
/* FLOP a token of each block at `context` tokens (attention averaged over the positions), and of the head.
 * costs has info->blocks entries (free it). */
THEA_CHECK thea_rc model_costs(double **costs, double *head, const char *dir, size_t context,
                               struct thea_err *err);

struct model;       /* one part, loaded */
struct model_state; /* one stream's KV caches and convolution states in that part */

/* Blocks first..last inclusive, from 0; last may be SIZE_MAX for "to the end". workers and kernels are
 * borrowed. Errors: as model_read_info; THEA_EDATA for weights that are missing or have another shape (the
 * first dozen by name, and how many more); THEA_EUSAGE for blocks that do not exist; THEA_EOS. */
THEA_CHECK thea_rc model_open(struct model **out, const char *dir, size_t first, size_t last,
                              struct workers *workers, const struct kernels *kernels, struct thea_err *err);
void model_close(struct model *m);
const struct model_info *model_info(const struct model *m);
bool model_has_embedding(const struct model *m); /* owns block 0 */
bool model_has_head(const struct model *m);      /* owns the last block */
size_t model_first(const struct model *m);
size_t model_last(const struct model *m);
/* Called once per finished block, for the status page; may be NULL. */
void model_on_block(struct model *m, void (*done)(void *context), void *context);

THEA_CHECK thea_rc model_state_new(struct model_state **out, struct model *m, struct thea_err *err);
void model_state_free(struct model_state *s);
uint64_t model_state_bytes(const struct model_state *s); /* touched memory */

/* x [n,C] = what enters block 0 for tokens [n] of one document, the first of them at `position`: a decoder's
 * embedding rows; an encoder's LayerNorm(word + type + position). types [n], or NULL: all of type 0. Errors:
 * THEA_EDOC for an id outside the vocabulary, for more positions than an encoder has. */
THEA_CHECK thea_rc model_embed(struct model *m, float *x, const int32_t *tokens, const int32_t *types,
                               size_t n, size_t position, struct thea_err *err);
/* Run this part's blocks over x [n,C] in place, for positions [s->position, +n), which then advance.
 * after_block (may be NULL) sees x after each block: for --emit hidden. Errors: THEA_EOS (no memory for the
 * cache), THEA_EDOC (longer than the reserve). */
THEA_CHECK thea_rc model_forward(struct model *m, struct model_state *s, float *x, size_t n,
                                 void (*after_block)(void *context, size_t block, const float *x, size_t n),
                                 void *context, struct thea_err *err);

/* Rows [at, at + n) of a batch are one document, from its position 0 on. */
struct span {
    size_t at, n;
};
/* Run an encoder's blocks over x [n,C] in place: whole documents one after the other, which the spans cover
 * in order without a gap; n is at most model_batch_rows. A document's rows do not depend on its batch mates.
 * after_block as above. Errors: THEA_EDOC for a span longer than the model's context. */
THEA_CHECK thea_rc model_encode(struct model *m, float *x, size_t n, const struct span *spans,
                                size_t span_count,
                                void (*after_block)(void *context, size_t block, const float *x, size_t n),
                                void *context, struct thea_err *err);
/* The same of a part with the last block, when only each document's first position is wanted: what follows
 * the last mixer is done for that one alone. x [i] becomes that of document i, i < span_count, with
 * model_encode's bits; the other rows are used up. */
THEA_CHECK thea_rc model_encode_first(struct model *m, float *x, size_t n, const struct span *spans,
                                      size_t span_count, struct thea_err *err);
size_t model_batch_rows(const struct model *m); /* the context at least */
/* Long convolutions' filters are kept as spectra, as many as fit into so many bytes; the others are made
 * again for each batch. The answers are the same. Errors: THEA_EOS. */
#define MODEL_FILTER_MEMORY (UINT64_C(1) << 30)
THEA_CHECK thea_rc model_limit_filters(struct model *m, uint64_t bytes, struct thea_err *err);
/* The limit that would have kept all filters made so far; 0: the one that is set did. */
uint64_t model_filters_wanted(const struct model *m);

/* Backward through an encoder's blocks. x [n,C] is what entered the first block (it is run forward again, and
 * left as it was); d [n,C] comes in as the gradient of the last block's output and leaves as that of x.
 * Gradients of parameters are added to g, under the tensors' names without the family's prefix. after_block
 * (may be NULL) sees d after each block, the last one first: the gradient of the block's input. Holds
 * 2 * blocks + 1 times x. Errors: THEA_EOS; THEA_EUSAGE for a family without backward. */
struct gradients;
THEA_CHECK thea_rc model_backward(struct model *m, const float *x, float *d, size_t n,
                                  const struct span *spans, size_t span_count, struct gradients *g,
                                  void (*after_block)(void *context, size_t block, const float *d, size_t n),
                                  void *context, struct thea_err *err);
/* Backward of model_embed: adds to the tables' gradients; d [n,C] is that of its x and is used up. Every row
 * of the word table gets its mathematical gradient, that of the pad token too. Errors: THEA_EOS. */
THEA_CHECK thea_rc model_embed_backward(struct model *m, float *d, const int32_t *tokens,
                                        const int32_t *types, size_t n, size_t position, struct gradients *g,
                                        struct thea_err *err);

/* y [n,C] = final norm of x [n,C]; y may be x. An encoder has none: y = x. */
void model_final(struct model *m, float *y, const float *x, size_t n);
/* logits [n,V] of final [n,C]. */
void model_logits(struct model *m, float *logits, const float *final, size_t n);
/* nll [n] = log-sum-exp(logits) - logits[target], of final [n,C] and targets [n]; tiles of the vocabulary,
 * never all logits at once. */
THEA_CHECK thea_rc model_nll(struct model *m, float *nll, const float *final, const int32_t *targets,
                             size_t n, struct thea_err *err);

#endif
