/* The merges of BPE and their application: the pair of lowest rank first, leftmost among equals, until none
 * is left. */
#ifndef TEXT_MERGE_H
#define TEXT_MERGE_H

#include <stddef.h>
#include <stdint.h>

struct merge_pair {
    uint64_t key;
    uint32_t rank;
    int32_t id;
};
struct merge_table {
    struct merge_pair *slots;
    int shift;
}; /* open addressing; size 2^(64 - shift) */

void merge_table_init(struct merge_table *t, size_t count);
void merge_table_fini(struct merge_table *t);
void merge_table_put(struct merge_table *t, int32_t left, int32_t right, uint32_t rank,
                     int32_t id); /* the last of equal pairs counts */

/* Symbols of a word, in order: id, and where it ends in the word. Merged in place; zero-initialise, memory is
 * kept. */
struct merge_word {
    int32_t *ids;
    uint32_t *ends;
    size_t count, cap;
    struct merge_scratch *scratch;
};
void merge_word_fini(struct merge_word *w);
void merge_word_add(struct merge_word *w, int32_t id, uint32_t end);
/* Time O(n log n). */
void merge_apply(const struct merge_table *t, struct merge_word *w);

#endif
