/* The inside of a manifest, shared by manifest.c and manifest_file.c alone. */
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

/* manifest_file.c */
void manifest_file_add(struct manifest *m,
                       struct json_node *line); /* takes over line; to be written by manifest_sync */
void manifest_file_close(struct manifest *m);

#endif
