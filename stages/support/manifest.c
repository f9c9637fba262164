/* Numbering streams, and finding them again: see manifest.h. The file: manifest_file.c; its lines:
 * manifest_lines.c; all of them anew: manifest_rewrite.c. */
#include "stages/support/manifest.h"

#include "stages/support/manifest_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SPAN_RECORDS_MAX = 256, SETTLE_SPANS = 16, REWRITE_LINES = 4096 };

static void *more_room(void *items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap) return items;
    *cap = *cap == 0 ? 16 : *cap * 2;
    items = reallocarray(items, *cap, size);
    if (items == NULL) abort();
    return items;
}

static char *copy(const char *text)
{
    char *c = strdup(text);
    if (c == NULL) abort();
    return c;
}

/* --- the effect of each line, the same when it is said and when it is read again --- */

void manifest_take_base(struct manifest *m, const char *base)
{
    free(m->base);
    m->base = copy(base);
}

size_t manifest_take_item(struct manifest *m, manifest_kind kind, const char *path, int64_t size,
                          int64_t mtime_ns)
{
    m->items = more_room(m->items, m->item_count, &m->item_cap, sizeof *m->items);
    m->items[m->item_count] =
        (struct manifest_item){.kind = kind, .path = copy(path), .size = size, .mtime_ns = mtime_ns};
    return m->item_count++;
}

/* One stream of the item behind those that `last` ends with? */
static bool continues(const struct manifest_span *last, size_t item)
{
    return last->end == 0 && last->item + last->count == item;
}

static struct manifest_span *add_span(struct manifest *m, const struct manifest_span *span)
{
    if (m->fd < 0) m->span_count = 0; /* nobody will seek */
    m->spans = more_room(m->spans, m->span_count, &m->span_cap, sizeof *m->spans);
    m->spans[m->span_count] = *span;
    return &m->spans[m->span_count++];
}

void manifest_take_one(struct manifest *m, size_t item)
{
    struct manifest_item *it = &m->items[item];
    struct manifest_span *last = m->span_count > 0 ? &m->spans[m->span_count - 1] : NULL;
    it->first = m->streams;
    it->count = 1;
    it->done = true;
    if (last != NULL && m->fd >= 0 && continues(last, item))
        last->count++;
    else
        add_span(m, &(struct manifest_span){.first = m->streams, .count = 1, .item = item});
    m->streams++;
}

void manifest_take_records(struct manifest *m, size_t item, uint64_t count, uint64_t end, uint64_t line)
{
    struct manifest_item *it = &m->items[item];
    assert(end > it->reached);
    m->span_lines++;
    if (it->count == 0) it->first = m->streams;
    struct manifest_span *last = m->span_count > 0 ? &m->spans[m->span_count - 1] : NULL;
    if (last != NULL && m->fd >= 0 && last->end == it->reached && last->item == item &&
        last->count + count <= SPAN_RECORDS_MAX) {
        last->count += count; /* what trickles in does not need a span a record */
        last->end = end;
    } else if (count > 0)
        add_span(m, &(struct manifest_span){.first = m->streams,
                                            .count = count,
                                            .item = item,
                                            .offset = it->reached,
                                            .end = end,
                                            .line = it->line});
    it->count += count;
    it->reached = end;
    it->line = line;
    m->streams += count;
}

void manifest_take_move(struct manifest *m, size_t item, const char *path)
{
    free(m->items[item].moved);
    m->items[item].moved = copy(path);
}

/* --- saying it --- */

static const char *const kinds[] = {"file", "records", "stdin", "prompt", "listen", NULL};

bool manifest_kind_of(const char *name, manifest_kind *kind)
{
    for (unsigned i = 0; name != NULL && kinds[i] != NULL; i++) {
        if (strcmp(kinds[i], name) != 0) continue;
        *kind = i;
        return true;
    }
    return false;
}

void manifest_set_base(struct manifest *m, const char *base)
{
    manifest_file_add(m, manifest_line_base(base));
    manifest_take_base(m, base);
}

size_t manifest_add(struct manifest *m, manifest_kind kind, const char *path, int64_t size, int64_t mtime_ns)
{
    manifest_file_add(m, manifest_line_item(m->item_count, kinds[kind], path, size, mtime_ns));
    return manifest_take_item(m, kind, path, size, mtime_ns);
}

void manifest_list_ends(struct manifest *m)
{
    manifest_file_add(m, manifest_line_listed(m->item_count));
    m->listed = true;
}

void manifest_number(struct manifest *m, size_t item)
{
    manifest_file_add(m, manifest_line_one(item, m->streams));
    manifest_take_one(m, item);
}

void manifest_number_records(struct manifest *m, size_t item, uint64_t count, uint64_t end, uint64_t line)
{
    struct manifest_span span = {m->streams, count, item, m->items[item].reached, end, line};
    manifest_file_add(m, manifest_line_records(&span));
    manifest_take_records(m, item, count, end, line);
}

void manifest_number_open(struct manifest *m, size_t item)
{
    assert(m->fd < 0);
    m->items[item].first = m->streams;
    add_span(m, &(struct manifest_span){
                    .first = m->streams, .count = UINT64_MAX, .item = item, .end = UINT64_MAX});
}

void manifest_number_counted(struct manifest *m, size_t item, uint64_t count)
{
    assert(m->fd < 0 && m->span_count == 1 && m->spans[0].item == item);
    m->items[item].count = m->spans[0].count = count;
    m->items[item].done = true;
    m->streams += count;
}

void manifest_leave_out(struct manifest *m, size_t item, const char *reason)
{
    manifest_file_add(m, manifest_line_out(item, reason));
    m->items[item].done = m->items[item].left_out = true;
}

void manifest_move(struct manifest *m, size_t item, const char *path)
{
    manifest_file_add(m, manifest_line_moved(item, path));
    manifest_take_move(m, item, path);
}

void manifest_item_done(struct manifest *m, size_t item)
{
    manifest_file_add(m, manifest_line_done(item));
    m->items[item].done = true;
}

/* --- forgetting what is committed --- */

/* The first `count` spans: those of an item's records become one, where the item's first is. So other streams
 * have their numbers than had; nobody asks for one of them any more. Returns how many spans are left. */
static size_t join_spans(struct manifest *m, size_t count)
{
    size_t kept = 0;
    uint64_t streams = 0;
    struct manifest_span **of_item = calloc(m->item_count + 1, sizeof(void *));
    if (of_item == NULL) abort();
    for (size_t i = 0; i < count; i++) {
        struct manifest_span span = m->spans[i], *same = span.end > 0 ? of_item[span.item] : NULL;
        if (same != NULL) {
            same->count += span.count;
            same->end = span.end;
        } else {
            of_item[span.item] = &m->spans[kept];
            m->spans[kept++] = span;
        }
    }
    for (size_t i = 0; i < kept; streams += m->spans[i++].count) m->spans[i].first = streams;
    free(of_item);
    return kept;
}

void manifest_settle(struct manifest *m, uint64_t safe)
{
    size_t settled = 0;
    while (settled < m->span_count && m->spans[settled].first + m->spans[settled].count <= safe) settled++;
    if (m->fd < 0 || settled < SETTLE_SPANS) return;
    size_t kept = join_spans(m, settled);
    m->span_count -= settled - kept;
    memmove(m->spans + kept, m->spans + settled, (m->span_count - kept) * sizeof *m->spans);
    if (m->unwritten.len == 0 && m->span_lines > REWRITE_LINES + 2 * (uint64_t)m->span_count)
        manifest_rewrite(m, kinds);
}

/* --- finding it --- */

const struct manifest_span *manifest_find(const struct manifest *m, uint64_t index)
{
    size_t low = 0, high = m->span_count; /* the last span that begins at or before index is below high */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->spans[middle].first <= index)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return NULL;
    const struct manifest_span *span = &m->spans[low - 1];
    return index - span->first < span->count ? span : NULL;
}

void manifest_forget_all(struct manifest *m)
{
    for (size_t i = 0; i < m->item_count; i++) {
        free(m->items[i].path);
        free(m->items[i].moved);
    }
    free(m->base);
    m->base = NULL;
    m->item_count = m->span_count = 0;
    m->streams = 0;
    m->listed = false;
}

void manifest_fini(struct manifest *m)
{
    manifest_forget_all(m);
    manifest_file_close(m);
    free(m->items);
    free(m->spans);
    m->items = NULL;
    m->spans = NULL;
    m->item_cap = m->span_cap = 0;
}
