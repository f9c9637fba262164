/* The inside of a manifest, shared by manifest.c and manifest_*.c alone. */
#ifndef STAGES_SUPPORT_MANIFEST_FILE_H
#define STAGES_SUPPORT_MANIFEST_FILE_H

#include "graph/json.h"
#include "stages/support/manifest.h"

enum { MANIFEST_VERSION = 1 };

/* manifest.c */
void manifest_take_base(struct manifest *m, const char *base);
size_t manifest_take_item(struct manifest *m, manifest_kind kind, const char *path, int64_t size,
                          int64_t mtime_ns);
void manifest_take_one(struct manifest *m, size_t item);
void manifest_take_records(struct manifest *m, size_t item, uint64_t count, uint64_t end, uint64_t line);
void manifest_take_move(struct manifest *m, size_t item, const char *path);
bool manifest_kind_of(const char *name, manifest_kind *kind);
void manifest_forget_all(struct manifest *m); /* what is in memory */

/* manifest_lines.c: each line as JSON. The span's `line` is here that of its end. */
struct json_node *manifest_line_base(const char *base);
struct json_node *manifest_line_item(size_t item, const char *kind, const char *path, int64_t size,
                                     int64_t mtime_ns);
struct json_node *manifest_line_listed(size_t items);
struct json_node *manifest_line_one(size_t item, uint64_t first);
struct json_node *manifest_line_records(const struct manifest_span *span);
struct json_node *manifest_line_out(size_t item, const char *reason);
struct json_node *manifest_line_moved(size_t item, const char *path);
struct json_node *manifest_line_done(size_t item);

/* manifest_rewrite.c: the file says the same in as few lines as spans need; kinds: names by manifest_kind. If
 * that fails, it stays as it is, with a warning. */
void manifest_rewrite(struct manifest *m, const char *const *kinds);

/* manifest_file.c */
/* All of what waits into fd, from its beginning, and on the disk. */
bool manifest_file_write(int fd, const struct buf *lines);
void manifest_file_add(struct manifest *m,
                       struct json_node *line); /* takes over line; to be written by manifest_sync */
void manifest_file_print(struct buf *to, struct json_node *line); /* the same, into a buffer */
void manifest_file_close(struct manifest *m);

#endif
