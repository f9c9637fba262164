/* The "model" of a tokenizer.json of type BPE, checked and indexed. */
#ifndef TEXT_BPE_LOAD_H
#define TEXT_BPE_LOAD_H

#include "text/merge.h"
#include "text/reader.h"
#include "text/vocab.h"

#define BPE_MARK "\xE2\x96\x81" /* ▁, SentencePiece's space */

struct bpe_config {
    struct merge_table merges;
    bool bytelevel; /* set by the caller */
    bool byte_fallback, fuse_unk, ignore_merges;
    bool cut_at_marks;     /* no merge joins something that ends in another character to something that begins
                              with ▁: words may be cut there */
    int32_t unk;           /* -1: unknown symbols are dropped */
    int32_t byte_ids[256]; /* byte-level: of each byte; with fallback: of <0xXX>; -1: none */
};

/* Fills c and v (empty before). On failure c->merges may be set and is to be freed. */
THEA_CHECK thea_rc bpe_load(struct bpe_config *c, const struct place *model, struct vocab *v,
                            struct thea_err *err);

#endif
