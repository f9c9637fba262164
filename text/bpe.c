/* See bpe.h. A word is looked for in the cache; else cut into its first symbols (bytes, characters, fallback
 * bytes, unknowns) and merged. The cache holds short words in slots of a cache line each, key and all, one
 * place a word: bounded, and a hit is two loads and a compare. */
#include "text/bpe.h"

#include "text/bpe_load.h"
#include "text/bytelevel.h"
#include "text/merge.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { CACHE_BITS = 15, CACHE_KEY = 24, CACHE_TOKENS = 7 };

struct cached_word {
    unsigned char key[CACHE_KEY]; /* zero-padded */
    int32_t ids[CACHE_TOKENS];
    uint8_t ends[CACHE_TOKENS];
    uint8_t len, count; /* len 0: free */
} __attribute__((aligned(64)));

struct bpe {
    const struct vocab *vocab;
    struct bpe_config is;
    struct cached_word *cache;
    struct merge_word word;
    struct buf spelled;
};

thea_rc bpe_new(struct bpe **out, const struct place *p, struct vocab *v, bool bytelevel,
                struct thea_err *err)
{
    struct bpe *m = calloc(1, sizeof *m);
    if (m == NULL) abort();
    m->vocab = v;
    m->is.bytelevel = bytelevel;
    thea_rc rc = bpe_load(&m->is, p, v, err);
    if (rc == THEA_OK) {
        m->cache = aligned_alloc(64, sizeof *m->cache << CACHE_BITS);
        if (m->cache == NULL) abort();
        bpe_forget(m);
        *out = m;
    } else {
        bpe_free(m);
    }
    return rc;
}

void bpe_free(struct bpe *m)
{
    if (m == NULL) return;
    merge_table_fini(&m->is.merges);
    merge_word_fini(&m->word);
    buf_fini(&m->spelled);
    free(m->cache);
    free(m);
}

void token_list_fini(struct token_list *list)
{
    free(list->ids);
    free(list->ends);
    *list = (struct token_list){0};
}

void token_list_reserve(struct token_list *list, size_t n)
{
    if (list->cap - list->count >= n) return;
    size_t cap = list->cap < 256 ? 256 : list->cap;
    while (cap < list->count + n) cap *= 2;
    list->ids = realloc(list->ids, cap * sizeof *list->ids);
    list->ends = realloc(list->ends, cap * sizeof *list->ends);
    if (list->ids == NULL || list->ends == NULL) abort();
    list->cap = cap;
}

void token_list_add(struct token_list *list, int32_t id, int64_t end)
{
    token_list_reserve(list, 1);
    int64_t before = list->count > 0 ? list->ends[list->count - 1] : 0;
    list->ids[list->count] = id;
    list->ends[list->count++] = end > before ? end : before;
}

/* --- words to symbols --- */

struct unknown {
    bool pending;
    uint32_t end;
};

static void end_unknown(struct bpe *m, struct unknown *u)
{
    if (u->pending) merge_word_add(&m->word, m->is.unk, u->end);
    u->pending = false;
}

static void add_unknown(struct bpe *m, struct unknown *u, uint32_t end)
{
    if (m->is.unk < 0) return;
    if (!m->is.fuse_unk) end_unknown(m, u);
    *u = (struct unknown){true, end};
}

static void first_bytes(struct bpe *m, const char *text, size_t len)
{
    struct unknown u = {0};
    for (size_t i = 0; i < len; i++) {
        int32_t id = m->is.byte_ids[(unsigned char)text[i]];
        if (id < 0) {
            add_unknown(m, &u, (uint32_t)i + 1);
            continue;
        }
        end_unknown(m, &u);
        merge_word_add(&m->word, id, (uint32_t)i + 1);
    }
    end_unknown(m, &u);
}

static bool fall_back(struct bpe *m, const char *text, size_t start, size_t end)
{
    for (size_t i = start; i < end; i++)
        if (m->is.byte_ids[(unsigned char)text[i]] < 0) return false;
    for (size_t i = start; i < end; i++)
        merge_word_add(&m->word, m->is.byte_ids[(unsigned char)text[i]], (uint32_t)i + 1);
    return true;
}

static void first_characters(struct bpe *m, const char *text, size_t len)
{
    struct unknown u = {0};
    for (size_t i = 0, end; i < len; i = end) {
        end = i + utf8_length(text[i]);
        int32_t id = vocab_find(m->vocab, text + i, end - i);
        if (id >= 0 && m->vocab->entries[id].model) {
            end_unknown(m, &u);
            merge_word_add(&m->word, id, (uint32_t)end);
        } else if (!m->is.byte_fallback || !fall_back(m, text, i, end)) {
            add_unknown(m, &u, (uint32_t)end);
        }
    }
    end_unknown(m, &u);
}

/* The id of a word that is a token as it stands; -1 if it is none. */
static int32_t whole_word(struct bpe *m, const char *text, size_t len)
{
    int32_t id;
    if (m->is.bytelevel) {
        buf_clear(&m->spelled);
        bytelevel_encode(&m->spelled, text, len);
        id = vocab_find(m->vocab, m->spelled.data, m->spelled.len);
    } else {
        id = vocab_find(m->vocab, text, len);
    }
    return id >= 0 && m->vocab->entries[id].model ? id : -1;
}

/* The word's tokens into m->word. */
static void encode_word(struct bpe *m, const char *text, size_t len)
{
    m->word.count = 0;
    int32_t id = m->is.ignore_merges ? whole_word(m, text, len) : -1;
    if (id >= 0) {
        merge_word_add(&m->word, id, (uint32_t)len);
        return;
    }
    if (m->is.bytelevel)
        first_bytes(m, text, len);
    else
        first_characters(m, text, len);
    merge_apply(&m->is.merges, &m->word);
}

/* --- the cache --- */

static inline void load_key(uint64_t key[3], const char *text, size_t len, size_t readable)
{
    static const unsigned char masks[2 * CACHE_KEY] = {255, 255, 255, 255, 255, 255, 255, 255,
                                                       255, 255, 255, 255, 255, 255, 255, 255,
                                                       255, 255, 255, 255, 255, 255, 255, 255};
    uint64_t mask[3];
    if (readable >= CACHE_KEY) {
        memcpy(key, text, CACHE_KEY);
        memcpy(mask, masks + CACHE_KEY - len, CACHE_KEY);
        for (int i = 0; i < 3; i++) key[i] &= mask[i];
    } else {
        memset(key, 0, CACHE_KEY);
        memcpy(key, text, len);
    }
}

static inline size_t slot_of(const uint64_t key[3], size_t len)
{
    uint64_t h = (key[0] ^ len) * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 29 ^ key[1]) * 0xBF58476D1CE4E5B9u;
    h = (h ^ h >> 32 ^ key[2]) * 0x94D049BB133111EBu;
    return (size_t)(h >> (64 - CACHE_BITS));
}

static void remember(struct cached_word *slot, const uint64_t key[3], size_t len, const struct merge_word *w)
{
    if (w->count > CACHE_TOKENS) return;
    memcpy(slot->key, key, CACHE_KEY);
    slot->len = (uint8_t)len;
    slot->count = (uint8_t)w->count;
    for (size_t i = 0; i < w->count; i++) slot->ids[i] = w->ids[i], slot->ends[i] = (uint8_t)w->ends[i];
}

static void append_word(struct bpe *m, const struct mapped_view *v, size_t start, struct token_list *out)
{
    const struct merge_word *w = &m->word;
    for (size_t i = 0; i < w->count; i++) token_list_add(out, w->ids[i], mapped_end(v, start + w->ends[i]));
}

static void append_cached(struct bpe *m, const struct mapped_view *v, size_t start, size_t end,
                          struct token_list *out)
{
    size_t len = end - start;
    const char *text = v->text + start;
    uint64_t key[3];
    if (len > CACHE_KEY) {
        encode_word(m, text, len);
        append_word(m, v, start, out);
        return;
    }
    load_key(key, text, len, v->len - start);
    struct cached_word *slot = &m->cache[slot_of(key, len)];
    if (slot->len != len || memcmp(slot->key, key, CACHE_KEY) != 0) {
        encode_word(m, text, len);
        remember(slot, key, len, &m->word);
        append_word(m, v, start, out);
        return;
    }
    token_list_reserve(out, CACHE_TOKENS);
    for (size_t i = 0; i < slot->count; i++) {
        out->ids[out->count + i] = slot->ids[i];
        out->ends[out->count + i] = mapped_end(v, start + slot->ends[i]);
    }
    out->count += slot->count;
}

/* Where the next ▁ after another character is; end if there is none. */
static size_t next_mark(const char *text, size_t start, size_t end)
{
    enum { N = sizeof BPE_MARK - 1 };
    for (const char *at = text + start, *hit;
         (hit = memmem(at, (size_t)(text + end - at), BPE_MARK, N)) != NULL; at = hit + N)
        if (hit >= text + start + N ? memcmp(hit - N, BPE_MARK, N) != 0 : hit > text + start)
            return (size_t)(hit - text);
    return end;
}

void bpe_append(struct bpe *m, const struct mapped_view *v, size_t start, size_t end, struct token_list *out)
{
    if (!m->is.cut_at_marks) {
        append_cached(m, v, start, end, out);
        return;
    }
    for (size_t at = start, cut; at < end; at = cut)
        append_cached(m, v, at, cut = next_mark(v->text, at, end), out);
}

void bpe_forget(struct bpe *m)
{
    memset(m->cache, 0, sizeof *m->cache << CACHE_BITS);
}
