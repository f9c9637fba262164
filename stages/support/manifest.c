/* Numbering streams, and finding them again: see manifest.h. The file: manifest_file.c. */
#include "stages/support/manifest.h"

#include "graph/json.h"
#include "stages/support/chars.h"
#include "stages/support/manifest_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SPAN_RECORDS_MAX = 256 };

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

static struct json_node *line_of(size_t item)
{
    struct json_node *line = json_new_map();
    json_put(line, "item", json_new_int((int64_t)item));
    return line;
}

/* A file's name may be any bytes, JSON takes only UTF-8: others stand there in hexadecimal, too. */
static void put_path(struct json_node *line, const char *key, const char *path)
{
    json_put(line, key, json_new_string(path));
    if (chars_valid(path, strlen(path), NULL) == strlen(path)) return;
    struct buf hex = {0};
    for (; *path != '\0'; path++) buf_printf(&hex, "%02x", (unsigned char)*path);
    json_put(line, "hex", json_new_string(buf_text(&hex)));
    buf_fini(&hex);
}

void manifest_set_base(struct manifest *m, const char *base)
{
    struct json_node *line = json_new_map();
    json_put(line, "manifest", json_new_int(MANIFEST_VERSION));
    json_put(line, "base", json_new_string(base));
    manifest_file_add(m, line);
    manifest_take_base(m, base);
}

size_t manifest_add(struct manifest *m, manifest_kind kind, const char *path, int64_t size, int64_t mtime_ns)
{
    struct json_node *line = line_of(m->item_count);
    json_put(line, "kind", json_new_string(kinds[kind]));
    put_path(line, "path", path);
    if (size >= 0) json_put(line, "size", json_new_int(size));
    if (size >= 0) json_put(line, "mtime_ns", json_new_int(mtime_ns));
    manifest_file_add(m, line);
    return manifest_take_item(m, kind, path, size, mtime_ns);
}

void manifest_list_ends(struct manifest *m)
{
    struct json_node *line = json_new_map();
    json_put(line, "listed", json_new_int((int64_t)m->item_count));
    manifest_file_add(m, line);
    m->listed = true;
}

void manifest_number(struct manifest *m, size_t item)
{
    struct json_node *line = line_of(item);
    json_put(line, "first", json_new_int((int64_t)m->streams));
    json_put(line, "count", json_new_int(1));
    manifest_file_add(m, line);
    manifest_take_one(m, item);
}

void manifest_number_records(struct manifest *m, size_t item, uint64_t count, uint64_t end, uint64_t at_line)
{
    struct json_node *line = line_of(item);
    json_put(line, "first", json_new_int((int64_t)m->streams));
    json_put(line, "count", json_new_int((int64_t)count));
    json_put(line, "offset", json_new_int((int64_t)m->items[item].reached));
    json_put(line, "end", json_new_int((int64_t)end));
    json_put(line, "line", json_new_int((int64_t)at_line));
    manifest_file_add(m, line);
    manifest_take_records(m, item, count, end, at_line);
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
    struct json_node *line = line_of(item);
    json_put(line, "out", json_new_string(reason));
    manifest_file_add(m, line);
    m->items[item].done = m->items[item].left_out = true;
}

void manifest_move(struct manifest *m, size_t item, const char *path)
{
    struct json_node *line = line_of(item);
    put_path(line, "moved", path);
    manifest_file_add(m, line);
    manifest_take_move(m, item, path);
}

void manifest_item_done(struct manifest *m, size_t item)
{
    struct json_node *line = line_of(item);
    json_put(line, "done", json_new_bool(true));
    manifest_file_add(m, line);
    m->items[item].done = true;
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
