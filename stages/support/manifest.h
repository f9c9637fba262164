/* What a source has found and how it numbered it: items (a file, standard input, a prompt, a listener) in the
 * order they were found, and spans (so many streams of this item follow). Kept in the run's directory, so
 * that a source that is started again numbers the same documents the same.
 *
 * On disk, DIR/manifest/NAME, a line is the CRC-32C of what follows it, a space, one JSON object:
 *   {"manifest": 1, "base": "/home/ann"}                                          first; ids are relative to
 * base
 *   {"item": 0, "kind": "file", "path": "/home/ann/a.md", "size": 6, "mtime_ns": …}   found
 *   {"listed": 1}                                                                 all that there was at the
 * start is found
 *   {"item": 0, "first": 0, "count": 1}                                           its streams; of records
 * also offset, end and line
 *   {"item": 1, "out": "binary"}                                                  left out: takes no index
 *   {"item": 2, "moved": "/home/ann/r.jsonl.1"}                                   the file has another name
 * now
 *   {"item": 2, "done": true}                                                     no more will come of it
 *
 * Invariant: streams are numbered from 0 without gaps, and a number is on disk before its stream's first
 * frame leaves (manifest_sync). */
#ifndef STAGES_SUPPORT_MANIFEST_H
#define STAGES_SUPPORT_MANIFEST_H

#include "graph/buf.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum { ITEM_FILE, ITEM_RECORDS, ITEM_STDIN, ITEM_PROMPT, ITEM_LISTEN } manifest_kind;

struct manifest_item {
    manifest_kind kind;
    char *path;             /* of a file; else a name for people */
    char *moved;            /* where that file is now; NULL: there */
    uint64_t inode;         /* of a file that grows, as this process has seen it; 0: not yet */
    int64_t size, mtime_ns; /* when it was found; -1: nobody looked */
    uint64_t first, count;  /* its first stream (count > 0), and how many it has so far */
    uint64_t reached, line; /* records: bytes and lines that are numbered */
    bool changed;           /* the file is not as it was found; said once */
    bool checked;           /* a text file: read to its end, and all good */
    bool done, left_out;    /* nothing more comes of it; no stream is its */
};

/* Streams first … first + count - 1. They are `count` items, one each; or, of one item, the records in bytes
 * [offset, end). */
struct manifest_span {
    uint64_t first, count;
    size_t item;
    uint64_t offset, end, line; /* end 0: one stream an item. line: lines of the file before offset */
};

struct manifest {
    int fd; /* -1: by hand, in memory alone */
    char *path, *base;
    struct manifest_item *items;
    size_t item_count, item_cap;
    struct manifest_span *spans;
    size_t span_count, span_cap;
    uint64_t streams; /* numbered so far */
    bool listed;
    struct buf unwritten;
    uint64_t size;       /* bytes on disk */
    uint64_t span_lines; /* of those that tell of records */
};

/* Read DIR/manifest/NAME, or make it; dir NULL: in memory alone, spans are forgotten as new ones come. A last
 * line that is cut off is removed. What was found but not listed to its end is forgotten: nothing of it was
 * sent. Errors: THEA_EDATA for a damaged one, THEA_EIO, THEA_ECREATE. manifest_fini also after a failure. */
THEA_CHECK thea_rc manifest_open(struct manifest *m, const char *dir, const char *name, struct thea_err *err);
void manifest_fini(struct manifest *m);

void manifest_set_base(struct manifest *m, const char *base); /* before the first item */
size_t manifest_add(struct manifest *m, manifest_kind kind, const char *path, int64_t size, int64_t mtime_ns);
void manifest_list_ends(struct manifest *m);
/* The next streams are this item's: one, or `count` records up to byte `end` and line `line` of it. */
void manifest_number(struct manifest *m, size_t item);
void manifest_number_records(struct manifest *m, size_t item, uint64_t count, uint64_t end, uint64_t line);
/* By hand alone: records that nobody has counted; then how many there were. */
void manifest_number_open(struct manifest *m, size_t item);
void manifest_number_counted(struct manifest *m, size_t item, uint64_t count);
void manifest_leave_out(struct manifest *m, size_t item, const char *reason);
void manifest_move(struct manifest *m, size_t item, const char *path);
void manifest_item_done(struct manifest *m, size_t item);
/* All that was said above is on disk when this returns THEA_OK. After THEA_EIO (a full disk) nothing of it
 * is. */
THEA_CHECK thea_rc manifest_sync(struct manifest *m, struct thea_err *err);

/* Streams below `safe` are committed, so nobody will look for one of them: spans of an item's records become
 * one, in memory, and in the file, which is written anew when it has many lines of such. So what a source
 * that never ends keeps does not grow. */
void manifest_settle(struct manifest *m, uint64_t safe);

/* The span that has stream `index`; NULL: not numbered yet (or forgotten). */
const struct manifest_span *manifest_find(const struct manifest *m, uint64_t index);

#endif
