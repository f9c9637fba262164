/* A family: how one architecture's config.json and tensor names become a list of blocks. One file a family;
 * the build collects the folder (X(lfm2) means that lfm2.c defines family_lfm2). */
#ifndef NN_FAMILIES_FAMILY_H
#define NN_FAMILIES_FAMILY_H

#include "nn/blocks/block.h"
#include "nn/model.h"
#include "nn/rope.h"

enum { FAMILY_BLOCKS_MAX = 240 };

/* One block of the model: its mixer and its feed-forward, each a sublayer with tensor names by role. */
struct block_spec {
    const struct sublayer_kind *mixer, *feed_forward;
    const char *const *mixer_names,
        *const *feed_forward_names; /* by role (block.h); after "<prefix><block number>." */
};

/* Of an encoder's feed-forward: GELU by erf, its approximation by tanh, ReLU. */
typedef enum { ACTIVATION_GELU, ACTIVATION_GELU_TANH, ACTIVATION_RELU } activation;

struct model_config {
    struct model_info info;
    const struct family *family;
    struct rope rope;
    float eps;
    bool head_norm; /* q and k are normed per head */
    bool conv_bias, attention_bias, feed_forward_bias;
    const char *prefix;                                       /* "model.layers." */
    const char *embedding_name, *final_norm_name, *head_name; /* head_name is the embedding's when tied */
    /* Encoders; all NULL in decoders, which have final_norm_name and head_name instead. */
    const char *position_name, *type_name; /* tables beside embedding_name: [context, C], [types, C] */
    const char *embedding_norm_name, *embedding_norm_bias_name;
    const char *pooler_name,
        *pooler_bias_name; /* dense [C, C] of the first row; read by pool, not by layers */
    size_t types;
    struct {
        size_t blocks;                        /* on the diagonal of the feed-forward's matrices */
        size_t filter_width, filter_features; /* of the networks that make the long convolutions' filters */
    } monarch;
    activation activation;
    struct block_spec blocks[FAMILY_BLOCKS_MAX]; /* [info.blocks] */
};

struct family {
    const char *name;
    const char *const *model_types; /* NULL-terminated */
    /* Fill out from c; `out` is zeroed but for family, info.family, info.model_type and info.dtype. */
    void (*read)(struct model_config *out, struct config *c);
    /* How the names of a file differ from those above. Lists end with NULL; a list may be NULL. */
    const char *const
        *prefixes; /* stripped from the front of a file's names, in this order, each where it is */
    const char *const *buffers; /* patterns (fnmatch) of tensors that are not weights: as if not there */
    const char *const *rests;   /* patterns of weights that a file may have and this program does not use */
    bool strict; /* any other weight that no sublayer, embedding or pooler asks for is an error */
};

/* Read and check dir/config.json. *out is freed with free(). */
THEA_CHECK thea_rc model_config_read(struct model_config **out, const char *dir, struct thea_err *err);
/* The same from JSON text; `path` is how messages name it. */
THEA_CHECK thea_rc model_config_parse(struct model_config **out, const char *text, size_t len,
                                      const char *path, struct thea_err *err);

#endif
