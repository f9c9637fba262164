/* See vocab.h. */
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_bytes(const char *text, size_t len)
{
    uint64_t h = len * 0x9E3779B97F4A7C15u;
    for (; len >= 8; text += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        h = (h ^ word) * 0x9FB21C651E98DF25u;
        h ^= h >> 32;
    }
    uint64_t rest = 0;
    if (len > 0) memcpy(&rest, text, len);
    h = (h ^ rest) * 0x9FB21C651E98DF25u;
    return h ^ h >> 29;
}

static void *grow(void *old, size_t count, size_t each)
{
    void *p = realloc(old, count * each);
    if (p == NULL) abort();
    return p;
}

void vocab_init(struct vocab *v, size_t expected)
{
    *v = (struct vocab){.slot_count = 64};
    while (v->slot_count < expected * 2) v->slot_count *= 2;
    v->slots = grow(NULL, v->slot_count, sizeof *v->slots);
    memset(v->slots, -1, v->slot_count * sizeof *v->slots);
}

void vocab_fini(struct vocab *v)
{
    buf_fini(&v->arena);
    free(v->entries);
    free(v->slots);
    *v = (struct vocab){0};
}

/* The slot that holds the text, or the free one where it belongs. */
static size_t slot_of(const struct vocab *v, const char *text, size_t len)
{
    size_t i = hash_bytes(text, len) & (v->slot_count - 1);
    for (; v->slots[i] >= 0; i = (i + 1) & (v->slot_count - 1)) {
        const struct vocab_entry *e = &v->entries[v->slots[i]];
        if (e->len == len && (len == 0 || memcmp(v->arena.data + e->at, text, len) == 0)) break;
    }
    return i;
}

static void rehash(struct vocab *v)
{
    int32_t *old = v->slots;
    size_t count = v->slot_count;
    v->slot_count *= 2;
    v->slots = grow(NULL, v->slot_count, sizeof *v->slots);
    memset(v->slots, -1, v->slot_count * sizeof *v->slots);
    for (size_t i = 0; i < count; i++) {
        if (old[i] < 0) continue;
        const struct vocab_entry *e = &v->entries[old[i]];
        v->slots[slot_of(v, buf_text(&v->arena) + e->at, e->len)] = old[i];
    }
    free(old);
}

bool vocab_add(struct vocab *v, const char *text, size_t len, int32_t id)
{
    size_t at = (size_t)id;
    if (at >= v->cap) {
        size_t cap = v->cap == 0 ? 256 : v->cap;
        while (cap <= at) cap *= 2;
        v->entries = grow(v->entries, cap, sizeof *v->entries);
        memset(v->entries + v->cap, 0, (cap - v->cap) * sizeof *v->entries);
        v->cap = cap;
    }
    if (v->entries[at].used) return false;
    if ((v->used + 1) * 2 > v->slot_count) rehash(v);
    size_t slot = slot_of(v, text, len);
    if (v->slots[slot] >= 0) return false;
    uint32_t from = (uint32_t)v->arena.len; /* files are far smaller than 4 GiB */
    v->entries[at] = (struct vocab_entry){
        .at = from, .len = (uint32_t)len, .said = from, .said_len = (uint32_t)len, .used = true};
    buf_add(&v->arena, text, len);
    v->slots[slot] = id;
    v->used++;
    if (at >= v->size) v->size = at + 1;
    return true;
}

int32_t vocab_find(const struct vocab *v, const char *text, size_t len)
{
    return v->slots[slot_of(v, text, len)];
}

const char *vocab_text(const struct vocab *v, int32_t id, size_t *len)
{
    if (id < 0 || (size_t)id >= v->size || !v->entries[id].used) return NULL;
    *len = v->entries[id].len;
    return v->arena.data + v->entries[id].at;
}

const char *vocab_said(const struct vocab *v, int32_t id, size_t *len)
{
    if (vocab_text(v, id, len) == NULL) return NULL;
    *len = v->entries[id].said_len;
    return v->arena.data + v->entries[id].said;
}

void vocab_say(struct vocab *v, int32_t id, const char *text, size_t len)
{
    v->entries[id].said = (uint32_t)v->arena.len;
    v->entries[id].said_len = (uint32_t)len;
    buf_add(&v->arena, text, len);
}
