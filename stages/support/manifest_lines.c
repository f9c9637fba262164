/* What the lines of a manifest say: see manifest.h. */
#include "stages/support/chars.h"
#include "stages/support/manifest_file.h"

#include <string.h>

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

struct json_node *manifest_line_base(const char *base)
{
    struct json_node *line = json_new_map();
    json_put(line, "manifest", json_new_int(MANIFEST_VERSION));
    json_put(line, "base", json_new_string(base));
    return line;
}

struct json_node *manifest_line_item(size_t item, const char *kind, const char *path, int64_t size,
                                     int64_t mtime_ns)
{
    struct json_node *line = line_of(item);
    json_put(line, "kind", json_new_string(kind));
    put_path(line, "path", path);
    if (size >= 0) json_put(line, "size", json_new_int(size));
    if (size >= 0) json_put(line, "mtime_ns", json_new_int(mtime_ns));
    return line;
}

struct json_node *manifest_line_listed(size_t items)
{
    struct json_node *line = json_new_map();
    json_put(line, "listed", json_new_int((int64_t)items));
    return line;
}

struct json_node *manifest_line_one(size_t item, uint64_t first)
{
    struct json_node *line = line_of(item);
    json_put(line, "first", json_new_int((int64_t)first));
    json_put(line, "count", json_new_int(1));
    return line;
}

struct json_node *manifest_line_records(const struct manifest_span *span)
{
    struct json_node *line = line_of(span->item);
    json_put(line, "first", json_new_int((int64_t)span->first));
    json_put(line, "count", json_new_int((int64_t)span->count));
    json_put(line, "offset", json_new_int((int64_t)span->offset));
    json_put(line, "end", json_new_int((int64_t)span->end));
    json_put(line, "line", json_new_int((int64_t)span->line));
    return line;
}

struct json_node *manifest_line_out(size_t item, const char *reason)
{
    struct json_node *line = line_of(item);
    json_put(line, "out", json_new_string(reason));
    return line;
}

struct json_node *manifest_line_moved(size_t item, const char *path)
{
    struct json_node *line = line_of(item);
    put_path(line, "moved", path);
    return line;
}

struct json_node *manifest_line_done(size_t item)
{
    struct json_node *line = line_of(item);
    json_put(line, "done", json_new_bool(true));
    return line;
}
