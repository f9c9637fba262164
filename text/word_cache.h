/* Words that were tokenized before. Short words lie in slots of a cache line each, key and all, one place a
 * word: bounded, and a hit is two loads and a compare. */
#ifndef TEXT_WORD_CACHE_H
#define TEXT_WORD_CACHE_H

#include "text/mapped.h"
#include "text/token_list.h"

#include <string.h>

enum { WORD_CACHE_BITS = 15, WORD_CACHE_KEY = 24, WORD_CACHE_TOKENS = 7 };

struct cached_word {
    unsigned char key[WORD_CACHE_KEY]; /* zero-padded */
    int32_t ids[WORD_CACHE_TOKENS];
    uint8_t ends[WORD_CACHE_TOKENS];
    uint8_t len, count; /* len 0: free */
} __attribute__((aligned(64)));

struct word_cache {
    struct cached_word *words; /* 1 << WORD_CACHE_BITS */
};

void word_cache_init(struct word_cache *c);
void word_cache_fini(struct word_cache *c);
void word_cache_forget(struct word_cache *c); /* empty it (benches: a cold start) */

/* Where a word that was not found may be kept; word NULL: it is too long. */
struct word_slot {
    struct cached_word *word;
    uint64_t key[3];
    size_t len;
};
/* Keep the word's tokens, if they are few: ids, and where each ends in the word. */
void word_cache_put(const struct word_slot *slot, const int32_t *ids, const uint32_t *ends, size_t count);

static inline void word_cache_key(uint64_t key[3], const char *text, size_t len, size_t readable)
{
    static const unsigned char masks[2 * WORD_CACHE_KEY] = {255, 255, 255, 255, 255, 255, 255, 255,
                                                            255, 255, 255, 255, 255, 255, 255, 255,
                                                            255, 255, 255, 255, 255, 255, 255, 255};
    uint64_t mask[3];
    if (readable >= WORD_CACHE_KEY) {
        memcpy(key, text, WORD_CACHE_KEY);
        memcpy(mask, masks + WORD_CACHE_KEY - len, WORD_CACHE_KEY);
        for (int i = 0; i < 3; i++) key[i] &= mask[i];
    } else {
        memset(key, 0, WORD_CACHE_KEY);
        memcpy(key, text, len);
    }
}

static inline size_t word_cache_place(const uint64_t key[3], size_t len)
{
    uint64_t h = (key[0] ^ len) * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 29 ^ key[1]) * 0xBF58476D1CE4E5B9u;
    h = (h ^ h >> 32 ^ key[2]) * 0x94D049BB133111EBu;
    return (size_t)(h >> (64 - WORD_CACHE_BITS));
}

/* Append the tokens of the word [start, end) of the view if they are known; else false, and *slot is where to
 * put them. */
static inline bool word_cache_append(const struct word_cache *c, struct word_slot *slot,
                                     const struct mapped_view *v, size_t start, size_t end,
                                     struct token_list *out)
{
    slot->len = end - start;
    slot->word = NULL;
    if (slot->len > WORD_CACHE_KEY) return false;
    word_cache_key(slot->key, v->text + start, slot->len, v->len - start);
    struct cached_word *word = slot->word = &c->words[word_cache_place(slot->key, slot->len)];
    if (word->len != slot->len || memcmp(word->key, slot->key, WORD_CACHE_KEY) != 0) return false;
    token_list_reserve(out, WORD_CACHE_TOKENS);
    for (size_t i = 0; i < word->count; i++) {
        out->ids[out->count + i] = word->ids[i];
        out->ends[out->count + i] = mapped_end(v, start + word->ends[i]);
    }
    out->count += word->count;
    return true;
}

#endif
