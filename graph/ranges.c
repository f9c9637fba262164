/* A set of numbers as ranges: see ranges.h. */
#include "graph/ranges.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void ranges_fini(struct ranges *r)
{
    free(r->items);
    *r = (struct ranges){0};
}

void ranges_clear(struct ranges *r)
{
    r->count = 0;
}

/* The first range that does not end before n; count if all do. */
static size_t find(const struct ranges *r, uint64_t n)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->items[middle].last < n)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool ranges_has(const struct ranges *r, uint64_t n)
{
    size_t at = find(r, n);
    return at < r->count && r->items[at].first <= n;
}

/* Put `with` in the place of items [from, to). */
static void replace(struct ranges *r, size_t from, size_t to, const struct range *with, size_t n)
{
    size_t tail = r->count - to, count = from + n + tail;
    if (count > r->cap) {
        r->cap = count * 2;
        r->items = reallocarray(r->items, r->cap, sizeof *r->items);
        if (r->items == NULL) abort();
    }
    if (tail > 0) memmove(r->items + from + n, r->items + to, tail * sizeof *r->items);
    if (n > 0) memcpy(r->items + from, with, n * sizeof *with);
    r->count = count;
}

void ranges_add(struct ranges *r, uint64_t first, uint64_t last)
{
    assert(first <= last);
    struct range all = {first, last};
    size_t from = find(r, first > 0 ? first - 1 : 0), to = from; /* also one that ends just before */
    for (; to < r->count && (last == UINT64_MAX || r->items[to].first <= last + 1); to++) {
        if (r->items[to].first < all.first) all.first = r->items[to].first;
        if (r->items[to].last > all.last) all.last = r->items[to].last;
    }
    replace(r, from, to, &all, 1);
}

void ranges_remove(struct ranges *r, uint64_t n)
{
    if (!ranges_has(r, n)) return;
    size_t at = find(r, n), left = 0;
    struct range old = r->items[at], rest[2];
    if (old.first < n) rest[left++] = (struct range){old.first, n - 1};
    if (n < old.last) rest[left++] = (struct range){n + 1, old.last};
    replace(r, at, at + 1, rest, left);
}

uint64_t ranges_total(const struct ranges *r)
{
    uint64_t n = 0;
    for (size_t i = 0; i < r->count; i++) n += r->items[i].last - r->items[i].first + 1;
    return n;
}

uint64_t ranges_next_missing(const struct ranges *r, uint64_t from)
{
    size_t at = find(r, from);
    if (at == r->count || from < r->items[at].first) return from;
    return r->items[at].last == UINT64_MAX ? UINT64_MAX : r->items[at].last + 1;
}

struct json_node *ranges_print(const struct ranges *r)
{
    struct json_node *list = json_new_list();
    for (size_t i = 0; i < r->count; i++) {
        struct json_node *pair = json_new_list();
        json_append(pair, json_new_int((int64_t)r->items[i].first));
        json_append(pair, json_new_int((int64_t)r->items[i].last));
        json_append(list, pair);
    }
    return list;
}

thea_rc ranges_read(struct ranges *r, const struct json_node *list, struct thea_err *err)
{
    if (json_kind(list) != JSON_LIST_)
        return thea_fail(err, THEA_EDATA, "ranges are a list of [first, last], not %s",
                         json_kind_name(json_kind(list)));
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json_node *pair = json_item(list, i), *first = json_item(pair, 0),
                               *last = json_item(pair, 1);
        if (json_count(pair) != 2 || json_kind(first) != JSON_INT_ || json_kind(last) != JSON_INT_)
            return thea_fail(err, THEA_EDATA, "range %zu is not a list of two integers", i);
        if (json_int(first) < 0 || json_int(last) < json_int(first))
            return thea_fail(err, THEA_EDATA, "range %zu runs from %" PRId64 " to %" PRId64, i,
                             json_int(first), json_int(last));
        ranges_add(r, (uint64_t)json_int(first), (uint64_t)json_int(last));
    }
    return THEA_OK;
}
