/* Removing old runs: see rundir_prune.h. Invariant: nothing is removed that has no report.json of a completed
 * run beside its run.json. */
#include "graph/control/rundir_prune.h"

#include "graph/buf.h"
#include "graph/json.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REPORT_MAX_BYTES = 16 << 20, WALK_DESCRIPTORS = 16 };

struct old_run {
    char *path;
    struct timespec ended;
};
struct old_runs {
    struct old_run *items;
    size_t count, room;
};

static bool is_completed(const char *path, struct timespec *ended)
{
    struct buf file = {0};
    struct stat st;
    struct json_node *report = NULL;
    buf_printf(&file, "%s/run.json", path);
    bool completed = access(file.data, F_OK) == 0;
    buf_clear(&file);
    buf_printf(&file, "%s/report.json", path);
    completed = completed && stat(file.data, &st) == 0 &&
                json_read_file(&report, file.data, REPORT_MAX_BYTES, NULL) == THEA_OK &&
                json_bool_or(report, "completed", false);
    if (completed) *ended = st.st_mtim;
    json_free(report);
    buf_fini(&file);
    return completed;
}

static bool is_live(const char *path)
{
    struct buf file = {0};
    buf_printf(&file, "%s/lock", path);
    int fd = open(file.data, O_RDWR | O_CLOEXEC);
    buf_fini(&file);
    if (fd < 0) return false;
    bool live = flock(fd, LOCK_EX | LOCK_NB) != 0;
    close(fd);
    return live;
}

static void add_run(struct old_runs *runs, const char *base, const char *name)
{
    struct buf path = {0};
    struct timespec ended;
    buf_printf(&path, "%s/%s", base, name);
    if (!is_completed(path.data, &ended) || is_live(path.data)) {
        buf_fini(&path);
        return;
    }
    if (runs->count == runs->room) {
        runs->room = runs->room == 0 ? 64 : runs->room * 2;
        runs->items = realloc(runs->items, runs->room * sizeof *runs->items);
        if (runs->items == NULL) abort();
    }
    runs->items[runs->count++] = (struct old_run){.path = buf_take(&path), .ended = ended};
}

static int newest_first(const void *a, const void *b)
{
    const struct timespec *x = &((const struct old_run *)a)->ended, *y = &((const struct old_run *)b)->ended;
    if (x->tv_sec != y->tv_sec) return x->tv_sec < y->tv_sec ? 1 : -1;
    return x->tv_nsec < y->tv_nsec ? 1 : x->tv_nsec > y->tv_nsec ? -1 : 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

void rundir_prune(const char *base, size_t keep)
{
    struct old_runs runs = {0};
    DIR *d = opendir(base);
    if (d == NULL) return;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        if (e->d_name[0] != '.' && e->d_type == DT_DIR) add_run(&runs, base, e->d_name);
    closedir(d);
    if (runs.count > 0) qsort(runs.items, runs.count, sizeof *runs.items, newest_first);
    for (size_t i = 0; i < runs.count; i++) {
        if (i >= keep)
            nftw(runs.items[i].path, remove_entry, WALK_DESCRIPTORS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
        free(runs.items[i].path);
    }
    free(runs.items);
}
