/* See merge.h. Short words (nearly all) look for the lowest rank again after each merge; long ones keep a
 * heap of candidate pairs, whose stale entries are recognised when they come up. */
#include "text/merge.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SHORT = 40 };
#define NO_KEY  UINT64_MAX
#define NO_RANK UINT32_MAX

static void *grow(void *old, size_t count, size_t each)
{
    void *p = realloc(old, count * each);
    if (p == NULL) abort();
    return p;
}

static inline uint64_t key_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static inline const struct merge_pair *find(const struct merge_table *t, int32_t left, int32_t right)
{
    uint64_t key = key_of(left, right), mask = ((uint64_t)1 << (64 - t->shift)) - 1;
    for (uint64_t i = key * 0x9E3779B97F4A7C15u >> t->shift;; i = (i + 1) & mask) {
        if (t->slots[i].key == key) return &t->slots[i];
        if (t->slots[i].key == NO_KEY) return NULL;
    }
}

void merge_table_init(struct merge_table *t, size_t count)
{
    t->shift = 58;
    while (t->shift > 8 && (size_t)1 << (64 - t->shift) < 2 * count) t->shift--;
    size_t size = (size_t)1 << (64 - t->shift);
    t->slots = grow(NULL, size, sizeof *t->slots);
    for (size_t i = 0; i < size; i++) t->slots[i].key = NO_KEY;
}

void merge_table_fini(struct merge_table *t)
{
    free(t->slots);
    t->slots = NULL;
}

void merge_table_put(struct merge_table *t, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    uint64_t key = key_of(left, right), mask = ((uint64_t)1 << (64 - t->shift)) - 1;
    uint64_t i = key * 0x9E3779B97F4A7C15u >> t->shift;
    while (t->slots[i].key != key && t->slots[i].key != NO_KEY) i = (i + 1) & mask;
    t->slots[i] = (struct merge_pair){key, rank, id};
}

struct candidate {
    uint64_t order;
    int32_t id;
}; /* order: rank, then position of the left symbol */
struct merge_scratch {
    int32_t *prev, *next;
    size_t cap;
    struct candidate *heap;
    size_t heap_count, heap_cap;
};

void merge_word_fini(struct merge_word *w)
{
    free(w->ids);
    free(w->ends);
    if (w->scratch != NULL) {
        free(w->scratch->prev);
        free(w->scratch->next);
        free(w->scratch->heap);
        free(w->scratch);
    }
    *w = (struct merge_word){0};
}

void merge_word_add(struct merge_word *w, int32_t id, uint32_t end)
{
    if (w->count == w->cap) {
        w->cap = w->cap == 0 ? 64 : 2 * w->cap;
        w->ids = grow(w->ids, w->cap, sizeof *w->ids);
        w->ends = grow(w->ends, w->cap, sizeof *w->ends);
    }
    w->ids[w->count] = id;
    w->ends[w->count++] = end;
}

static void merge_short(const struct merge_table *t, struct merge_word *w)
{
    uint32_t ranks[SHORT];
    int32_t merged[SHORT];
    size_t n = w->count;
    for (size_t i = 0; i + 1 < n; i++) {
        const struct merge_pair *p = find(t, w->ids[i], w->ids[i + 1]);
        ranks[i] = p != NULL ? p->rank : NO_RANK;
        merged[i] = p != NULL ? p->id : -1;
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) best = ranks[i] < ranks[best] ? i : best;
        if (ranks[best] == NO_RANK) break;
        w->ids[best] = merged[best];
        w->ends[best] = w->ends[best + 1];
        n--;
        for (size_t i = best + 1; i < n; i++) w->ids[i] = w->ids[i + 1], w->ends[i] = w->ends[i + 1];
        for (size_t i = best + 1; i + 1 < n; i++) ranks[i] = ranks[i + 1], merged[i] = merged[i + 1];
        for (size_t i = best > 0 ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const struct merge_pair *p = find(t, w->ids[i], w->ids[i + 1]);
            ranks[i] = p != NULL ? p->rank : NO_RANK;
            merged[i] = p != NULL ? p->id : -1;
        }
    }
    w->count = n;
}

static void heap_push(struct merge_scratch *s, struct candidate c)
{
    if (s->heap_count == s->heap_cap) {
        s->heap_cap = s->heap_cap == 0 ? 1024 : 2 * s->heap_cap;
        s->heap = grow(s->heap, s->heap_cap, sizeof *s->heap);
    }
    size_t i = s->heap_count++;
    for (; i > 0 && s->heap[(i - 1) / 2].order > c.order; i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = c;
}

static struct candidate heap_pop(struct merge_scratch *s)
{
    struct candidate top = s->heap[0], last = s->heap[--s->heap_count];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < s->heap_count) {
        if (child + 1 < s->heap_count && s->heap[child + 1].order < s->heap[child].order) child++;
        if (s->heap[child].order >= last.order) break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

static void consider(const struct merge_table *t, struct merge_scratch *s, const struct merge_word *w,
                     int32_t left)
{
    if (left < 0 || s->next[left] < 0) return;
    const struct merge_pair *p = find(t, w->ids[left], w->ids[s->next[left]]);
    if (p != NULL) heap_push(s, (struct candidate){(uint64_t)p->rank << 32 | (uint32_t)left, p->id});
}

static struct merge_scratch *linked(struct merge_word *w)
{
    if (w->scratch == NULL) {
        w->scratch = grow(NULL, 1, sizeof *w->scratch);
        *w->scratch = (struct merge_scratch){0};
    }
    struct merge_scratch *s = w->scratch;
    if (s->cap < w->count) {
        s->cap = w->count;
        s->prev = grow(s->prev, s->cap, sizeof *s->prev);
        s->next = grow(s->next, s->cap, sizeof *s->next);
    }
    for (size_t i = 0; i < w->count; i++)
        s->prev[i] = (int32_t)i - 1, s->next[i] = i + 1 < w->count ? (int32_t)i + 1 : -1;
    s->heap_count = 0;
    return s;
}

static void merge_long(const struct merge_table *t, struct merge_word *w)
{
    enum { GONE = -1 }; /* id of a symbol that its left neighbour took in */
    struct merge_scratch *s = linked(w);
    for (size_t i = 0; i + 1 < w->count; i++) consider(t, s, w, (int32_t)i);
    while (s->heap_count > 0) {
        struct candidate c = heap_pop(s);
        int32_t left = (int32_t)(uint32_t)c.order, right = s->next[left];
        if (w->ids[left] == GONE || right < 0) continue;
        const struct merge_pair *p = find(t, w->ids[left], w->ids[right]);
        if (p == NULL || p->id != c.id) continue;
        w->ids[left] = c.id;
        w->ends[left] = w->ends[right];
        w->ids[right] = GONE;
        s->next[left] = s->next[right];
        if (s->next[right] >= 0) s->prev[s->next[right]] = left;
        consider(t, s, w, s->prev[left]);
        consider(t, s, w, left);
    }
    size_t n = 0;
    for (int32_t i = w->count > 0 ? 0 : -1; i >= 0; i = s->next[i])
        w->ids[n] = w->ids[i], w->ends[n++] = w->ends[i];
    w->count = n;
}

void merge_apply(const struct merge_table *t, struct merge_word *w)
{
    if (w->count <= SHORT)
        merge_short(t, w);
    else
        merge_long(t, w);
}
