/* Temporary directories of runs: see rundir_temporary.h. Invariant: one is removed by who holds its lock, so
 * never while its owner lives. */
#include "graph/control/rundir_temporary.h"

#include "graph/buf.h"
#include "graph/control/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WALK_DESCRIPTORS = 16, TRIES = 8 };
#define PREFIX ".query-"

static void make_parents(char *path)
{
    for (char *c = path + 1; *c != '\0'; c++) {
        if (*c != '/') continue;
        *c = '\0';
        (void)mkdir(path, 0700); /* what is there already is fine; what cannot be made is told by mkdtemp */
        *c = '/';
    }
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st, (void)kind, (void)walk;
    (void)remove(path);
    return 0;
}

static void remove_all(const char *path)
{
    nftw(path, remove_entry, WALK_DESCRIPTORS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* The directory, locked; -1: it has an owner, or is gone. */
static int lock(const char *path)
{
    struct stat at, now;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &at) == 0 && stat(path, &now) == 0 &&
        at.st_ino == now.st_ino && at.st_dev == now.st_dev)
        return fd;
    close(fd);
    return -1;
}

thea_rc rundir_temporary_make(struct rundir_temporary *out, struct thea_err *err)
{
    char *base = rundir_base();
    *out = (struct rundir_temporary){.lock = -1};
    if (base != NULL) rundir_temporary_prune(base);
    /* Between its making and its locking somebody may find it without an owner, and remove it. */
    for (int i = 0; i < TRIES && out->lock < 0; i++) {
        struct buf path = {0};
        buf_printf(&path, "%s/" PREFIX "XXXXXX", base != NULL ? base : "/tmp");
        make_parents(path.data);
        free(out->path);
        out->path = buf_take(&path);
        if (mkdtemp(out->path) == NULL) break;
        out->lock = lock(out->path);
    }
    free(base);
    if (out->lock >= 0) return THEA_OK;
    thea_rc rc =
        thea_fail(err, THEA_ECREATE, "cannot create the run directory '%s': %s", out->path, strerror(errno));
    free(out->path);
    out->path = NULL;
    return rc;
}

void rundir_temporary_remove(struct rundir_temporary *d)
{
    if (d->lock < 0) return;
    remove_all(d->path);
    close(d->lock);
    free(d->path);
    *d = (struct rundir_temporary){.lock = -1};
}

void rundir_temporary_prune(const char *base)
{
    DIR *d = opendir(base);
    if (d == NULL) return;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        struct buf path = {0};
        if (strncmp(e->d_name, PREFIX, sizeof PREFIX - 1) != 0) continue;
        buf_printf(&path, "%s/%s", base, e->d_name);
        int fd = lock(path.data);
        if (fd >= 0) remove_all(path.data);
        if (fd >= 0) close(fd);
        buf_fini(&path);
    }
    closedir(d);
}
