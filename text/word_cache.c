/* See word_cache.h. */
#include "text/word_cache.h"

#include <stdlib.h>

void word_cache_init(struct word_cache *c)
{
    c->words = aligned_alloc(64, sizeof *c->words << WORD_CACHE_BITS);
    if (c->words == NULL) abort();
    word_cache_forget(c);
}

void word_cache_fini(struct word_cache *c)
{
    free(c->words);
}

void word_cache_forget(struct word_cache *c)
{
    memset(c->words, 0, sizeof *c->words << WORD_CACHE_BITS);
}

void word_cache_put(const struct word_slot *slot, const int32_t *ids, const uint32_t *ends, size_t count)
{
    struct cached_word *word = slot->word;
    if (word == NULL || count > WORD_CACHE_TOKENS) return;
    memcpy(word->key, slot->key, WORD_CACHE_KEY);
    word->len = (uint8_t)slot->len;
    word->count = (uint8_t)count;
    for (size_t i = 0; i < count; i++) word->ids[i] = ids[i], word->ends[i] = (uint8_t)ends[i];
}
