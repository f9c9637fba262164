/* Output of a sink: see outlet.h. A whole file is an unnamed one (O_TMPFILE) that is linked and renamed at
 * the end. */
#include "stages/support/outlet.h"

#include "graph/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *name_of(const struct outlet *o)
{
    return o->path != NULL ? o->path : "stdout";
}

static thea_rc cannot_write(const struct outlet *o, int why, struct thea_err *err)
{
    return thea_fail(err, THEA_EIO, "cannot write %s%s%s: %s", o->path != NULL ? "'" : "", name_of(o),
                     o->path != NULL ? "'" : "", strerror(why));
}

char *outlet_directory(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL) abort();
    char *dir = strdup(dirname(copy));
    if (dir == NULL) abort();
    free(copy);
    return dir;
}

/* NFS and others */
static bool no_unnamed_files(int why)
{
    return why == EOPNOTSUPP || why == EISDIR;
}

/* An unnamed file in dir; where the file system has none (NFS), a named one that is unlinked at once. -1:
 * errno. */
static int open_unnamed(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (fd >= 0 || !no_unnamed_files(errno)) return fd;
    char *name = NULL;
    if (asprintf(&name, "%s/.thea-XXXXXX", dir) < 0) abort();
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0) unlink(name);
    free(name);
    return fd;
}

thea_rc outlet_spill(int *fd, const char *path, struct thea_err *err)
{
    char *dir = outlet_directory(path);
    *fd = open_unnamed(dir);
    int why = errno;
    free(dir);
    return *fd >= 0 ? THEA_OK : thea_fail_create(err, path, why);
}

static thea_rc open_whole(struct outlet *o, struct thea_err *err)
{
    struct stat at;
    char *target = realpath(o->path, NULL); /* a link stays a link: the file it leads to is replaced */
    if (target != NULL) {
        free(o->path);
        o->path = target;
        if (stat(o->path, &at) == 0 && !S_ISREG(at.st_mode))
            return thea_fail(err, THEA_ECREATE, "cannot create '%s': it is there and no regular file",
                             o->path);
        if (access(o->path, W_OK) != 0) return thea_fail_create(err, o->path, errno);
    }
    char *dir = outlet_directory(o->path);
    const char *slash = strrchr(o->path, '/');
    if (asprintf(&o->temporary, "%s/.%.200s.thea", dir, slash != NULL ? slash + 1 : o->path) < 0) abort();
    o->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (o->fd < 0 && no_unnamed_files(errno)) {
        unlink(o->temporary);
        o->fd = open(o->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        o->named = o->fd >= 0;
    }
    int why = errno;
    free(dir);
    return o->fd >= 0 ? THEA_OK : thea_fail_create(err, o->path, why);
}

thea_rc outlet_open(struct outlet *o, const char *path, outlet_how how, struct thea_err *err)
{
    *o = (struct outlet){.fd = STDOUT_FILENO, .whole = how == OUTLET_WHOLE};
    if (strcmp(path, "-") == 0) return THEA_OK;
    o->fd = -1;
    o->path = strdup(path);
    if (o->path == NULL) abort();
    if (o->whole) return open_whole(o, err);
    int start = how == OUTLET_APPEND ? O_APPEND : O_TRUNC;
    o->fd = open(path, O_WRONLY | O_CREAT | start | O_CLOEXEC | O_NOCTTY, 0666);
    return o->fd >= 0 ? THEA_OK : thea_fail_create(err, path, errno);
}

thea_rc outlet_write(struct outlet *o, const void *bytes, size_t n, struct thea_err *err)
{
    const char *from = bytes;
    while (n > 0 && !o->enough) {
        ssize_t put = write(o->fd, from, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EPIPE) {
            o->enough = true;
            break;
        }
        if (put < 0) return cannot_write(o, errno, err);
        from += put;
        n -= (size_t)put;
        o->bytes += (uint64_t)put;
    }
    return THEA_OK;
}

thea_rc outlet_rewrite(struct outlet *o, uint64_t at, const void *bytes, size_t n, struct thea_err *err)
{
    const char *from = bytes;
    while (n > 0) {
        ssize_t put = pwrite(o->fd, from, n, (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return cannot_write(o, errno, err);
        from += put;
        at += (uint64_t)put;
        n -= (size_t)put;
    }
    return THEA_OK;
}

/* A name is on the disk once its directory is. */
static void flush_directory(const char *path)
{
    char *dir = outlet_directory(path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!fsync(fd);
        close(fd);
    }
    free(dir);
}

/* Give an unnamed file a name. */
static bool name_it(const struct outlet *o, const char *name)
{
    char from[64];
    snprintf(from, sizeof from, "/proc/self/fd/%d", o->fd);
    return linkat(AT_FDCWD, from, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;
}

/* A target that is there is replaced at once, by a file that has a name beside it for a moment. One that a
 * process left that died in that moment goes. */
static bool replace(struct outlet *o)
{
    if (!o->named) {
        unlink(o->temporary);
        if (!name_it(o, o->temporary)) return false;
        o->named = true;
    }
    thea_fault("sink.replace");
    if (rename(o->temporary, o->path) != 0) return false;
    o->named = false;
    return true;
}

static thea_rc name_file(struct outlet *o, struct thea_err *err)
{
    thea_fault("sink.rename");
    bool done = !o->named && name_it(o, o->path);
    if (!done && (o->named || errno == EEXIST)) done = replace(o);
    if (!done) return thea_fail_create(err, o->path, errno);
    thea_fault("sink.renamed");
    flush_directory(o->path);
    return THEA_OK;
}

thea_rc outlet_commit(struct outlet *o, struct thea_err *err)
{
    if (o->fd < 0 || o->path == NULL) return THEA_OK;
    /* EINVAL, ENOTSUP: a pipe or a device, which has nothing to flush */
    if (fsync(o->fd) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS)
        return cannot_write(o, errno, err);
    thea_rc rc = o->whole ? name_file(o, err) : THEA_OK;
    int fd = o->fd;
    o->fd = -1;
    if (close(fd) != 0 && rc == THEA_OK) rc = cannot_write(o, errno, err);
    return rc;
}

void outlet_close(struct outlet *o)
{
    if (o->fd >= 0 && o->path != NULL) close(o->fd);
    o->fd = -1;
    if (o->named) unlink(o->temporary);
    o->named = false;
    free(o->temporary);
    free(o->path);
    o->temporary = o->path = NULL;
}
