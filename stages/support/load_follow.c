/* Items that come while a source runs: see load_impl.h and follow.h.
 *
 * A text file is a document once it is complete, and is read once; what is written to it later is not read. A
 * file of records grows: each whole line is a document. Renamed, it is still the same file; cut short or
 * replaced, a new one. */
#include "stages/support/load_impl.h"

#include "graph/log.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

struct path {
    char *path;
    size_t item;
};

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct path *)a)->path, ((const struct path *)b)->path);
}

static void free_path(void *node)
{
    struct path *p = node;
    free(p->path);
    free(p);
}

static size_t find_path(const struct load *l, const char *path)
{
    struct path key = {.path = (char *)(uintptr_t)path}, **found = tfind(&key, &l->tree, by_path);
    return found != NULL ? (*found)->item : LOAD_NONE;
}

static void forget_path(struct load *l, const char *path)
{
    struct path key = {.path = (char *)(uintptr_t)path}, **found = tfind(&key, &l->tree, by_path);
    if (found == NULL) return;
    struct path *p = *found;
    tdelete(&key, &l->tree, by_path);
    free_path(p);
}

static void know_path(struct load *l, const char *path, size_t item)
{
    forget_path(l, path);
    struct path *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    *p = (struct path){.path = strdup(path), .item = item};
    if (p->path == NULL || tsearch(p, &l->tree, by_path) == NULL) abort();
}

static bool is_file(manifest_kind kind)
{
    return kind == ITEM_FILE || kind == ITEM_RECORDS;
}

/* --- files that are found --- */

static bool is_regular(const char *path)
{
    struct stat at;
    return stat(path, &at) == 0 && S_ISREG(at.st_mode);
}

static void found(struct load *l, const char *path)
{
    struct thea_err err = {0};
    if (find_path(l, path) != LOAD_NONE || !is_regular(path)) return;
    if (load_list_file(l, path, &err) == THEA_OK) know_path(l, path, l->manifest.item_count - 1);
}

/* The walk's files, but those that are being written: they are told when they are complete. */
static void take_walk(struct load *l)
{
    for (size_t i = 0; i < l->walk.count; i++) {
        const char *path = l->walk.files[i];
        if (load_path_is_records(l, path) || !follow_is_being_written(path)) found(l, path);
    }
    glob_walk_fini(&l->walk);
}

static void scan(struct load *l)
{
    for (size_t i = 0; i < l->pattern_count; i++) {
        glob_walk_below(&l->walk, &l->patterns[i], l->patterns[i].dir);
        take_walk(l);
    }
}

static bool is_wanted(const struct load *l, const char *path)
{
    for (size_t i = 0; i < l->pattern_count; i++)
        if (glob_pattern_fits(&l->walk, &l->patterns[i], path)) return true;
    return false;
}

/* --- what happens --- */

static void freshen(struct load *l, size_t item)
{
    for (size_t i = 0; i < l->growing_count; i++)
        if (l->growing[i].item == item || item == LOAD_NONE) l->growing[i].fresh = true;
}

static void on_written(void *context, const char *path)
{
    struct load *l = stage_state(context);
    size_t item = find_path(l, path);
    if (item == LOAD_NONE) {
        if (is_wanted(l, path)) found(l, path);
    } else if (l->manifest.items[item].kind == ITEM_RECORDS) {
        freshen(l, item);
    } else if (l->manifest.items[item].done) {
        thea_info("%s: was written to after it was read: it is not read again", load_name(l, item));
    }
}

static void on_grew(void *context, const char *path)
{
    const struct load *l = stage_state(context);
    size_t item = find_path(l, path);
    bool grows =
        item != LOAD_NONE ? l->manifest.items[item].kind == ITEM_RECORDS : load_path_is_records(l, path);
    if (grows) on_written(context, path);
}

static void on_directory(void *context, const char *path)
{
    struct load *l = stage_state(context);
    for (size_t i = 0; i < l->pattern_count; i++) {
        glob_walk_below(&l->walk, &l->patterns[i], path);
        take_walk(l);
    }
}

static void on_moved(void *context, const char *from, const char *to)
{
    struct load *l = stage_state(context);
    size_t item = find_path(l, from);
    if (item == LOAD_NONE) {
        on_written(context, to);
        return;
    }
    forget_path(l, from);
    know_path(l, to, item);
    manifest_move(&l->manifest, item, to);
    if (l->manifest.items[item].kind == ITEM_RECORDS && !l->manifest.items[item].done)
        thea_info("%s: is now %s, and read on there", load_name(l, item), to);
    freshen(l, item);
}

static void on_gone(void *context, const char *path)
{
    struct load *l = stage_state(context);
    size_t item = find_path(l, path);
    if (item == LOAD_NONE) return;
    forget_path(l, path);
    if (l->manifest.items[item].kind != ITEM_RECORDS || l->manifest.items[item].done) return;
    thea_warning("%s: is gone after %llu records", load_name(l, item),
                 (unsigned long long)l->manifest.items[item].count);
    manifest_item_done(&l->manifest, item);
}

static void on_lost(void *context)
{
    struct load *l = stage_state(context);
    l->lost = true;
}

static const struct follow_events events = {on_written, on_grew, on_directory, on_moved, on_gone, on_lost};

bool load_follow_replaced(struct load *l, size_t item, const struct stat *now)
{
    struct manifest_item *it = &l->manifest.items[item];
    bool shorter = (uint64_t)now->st_size < it->reached, other = it->inode != 0 && it->inode != now->st_ino;
    it->inode = now->st_ino;
    if (!shorter && !other) return false;
    thea_warning("%s: %s after %llu records: it is read from its beginning", load_name(l, item),
                 other ? "was replaced" : "was cut short", (unsigned long long)it->count);
    char *path = strdup(load_path(l, item));
    if (path == NULL) abort();
    manifest_item_done(&l->manifest, item);
    know_path(l, path, manifest_add(&l->manifest, ITEM_RECORDS, path, now->st_size, 0));
    free(path);
    return true;
}

/* A directory that could not be followed. */
static thea_rc pass_failure(const struct load *l, struct thea_err *err)
{
    if (l->follow_failed.rc != THEA_OK) *err = l->follow_failed;
    return l->follow_failed.rc;
}

thea_rc load_follow_take(struct load *l, struct thea_err *err)
{
    if (l->follower == NULL) return THEA_OK;
    (void)follow_read(l->follower);
    if (l->lost) {
        l->lost = false;
        freshen(l, LOAD_NONE);
        scan(l);
    }
    return pass_failure(l, err);
}

int load_open_file(struct load *l, size_t item)
{
    const int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY;
    int fd = open(load_path(l, item), flags);
    if (fd >= 0 || errno != ENOENT || l->follower == NULL) return fd;
    (void)follow_read(l->follower); /* has it another name by now? */
    return open(load_path(l, item), flags);
}

/* --- from the start --- */

static void entered(void *context, const char *dir)
{
    struct load *l = stage_state(context);
    struct thea_err err = {0};
    thea_rc rc = follow_directory(l->follower, dir, &err);
    if (rc == THEA_EOS) l->follow_failed = err; /* else it is gone again, or closed to us: the walk tells */
}

static thea_rc add_pattern(struct load *l, const char *operand, struct thea_err *err)
{
    l->patterns = reallocarray(l->patterns, l->pattern_count + 1, sizeof *l->patterns);
    if (l->patterns == NULL) abort();
    return glob_pattern_init(&l->patterns[l->pattern_count++], operand, err);
}

thea_rc load_follow_open(struct stage *st, struct load *l, struct thea_err *err)
{
    for (size_t i = 0; i < l->manifest.item_count; i++)
        if (is_file(l->manifest.items[i].kind)) know_path(l, load_path(l, i), i);
    l->walk.entered = entered;
    thea_rc rc = follow_open(&l->follower, &events, st, err);
    for (size_t i = 0; rc == THEA_OK && i < l->paths.count; i++)
        if (strcmp(l->paths.items[i], "-") != 0) rc = add_pattern(l, l->paths.items[i], err);
    if (rc == THEA_OK) scan(l);
    return rc == THEA_OK ? pass_failure(l, err) : rc;
}

void load_follow_close(struct load *l)
{
    follow_free(l->follower);
    for (size_t i = 0; i < l->pattern_count; i++) glob_pattern_fini(&l->patterns[i]);
    free(l->patterns);
    tdestroy(l->tree, free_path);
}
