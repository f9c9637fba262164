/* What the files of nn/model*.c share: see model.h. */
#ifndef NN_MODEL_IMPL_H
#define NN_MODEL_IMPL_H

#include "nn/embedding.h"
#include "nn/families/family.h"
#include "nn/filter.h"
#include "nn/head.h"
#include "nn/model.h"

enum {
    ROWS_MAX = 1024,       /* of one pass through a sublayer: bounds the workspace, whatever the chunk */
    BATCH_ROWS_MIN = 4096, /* an encoder's batch has room for so many, or for one longest document */
    SUBLAYER_PREFIX = 128,
};

struct sublayer {
    const struct sublayer_kind *kind;
    void *self;
    size_t state_at; /* offset of its state */
    char prefix[SUBLAYER_PREFIX];
    const char *const *names;
};

struct model {
    struct model_config *config;
    struct weights *weights;
    struct loader loader;
    struct workers *workers;
    const struct kernels *kernels;
    size_t first, last;
    struct sublayer *sublayers; /* [2 * blocks] */
    size_t sublayer_count;
    struct embedding embedding;
    struct head head;            /* of a decoder */
    struct filter_bank *filters; /* NULL: no long convolutions */
    size_t state_bytes;
    float *inv; /* [D/2] */
    float *workspace;
    size_t workspace_bytes, batch_rows;
    float *cos, *sin;
    size_t table_position, table_rows; /* what cos and sin hold */
    struct run run;
    void (*on_block)(void *context);
    void *on_block_context;
};

/* Every sublayer's `prepare`, with a bank of filters that keeps limit_bytes of spectra. Errors: THEA_EOS. */
THEA_CHECK thea_rc model_prepare(struct model *m, uint64_t limit_bytes, struct thea_err *err);
/* The largest workspace width of this part's sublayers that are `whole`, or of those that are not. */
size_t model_width(const struct model *m, bool whole);

#endif
