/* A model directory in the making: see model_dir.h. */
#include "bin/thea/support/model_dir.h"

#include "graph/buf.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES_MAX = 256 << 20, NESTING_MAX = 4 };

static char *join(const char *dir, const char *name)
{
    struct buf b = {0};
    buf_printf(&b, "%s/%s", dir, name);
    return buf_take(&b);
}

/* DIR/.NAME.thea for DIR/NAME; *path without slashes at its end. */
static void name_paths(struct model_dir *d, const char *path)
{
    struct buf work = {0};
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    d->path = strndup(path, n);
    if (d->path == NULL) abort();
    const char *slash = strrchr(d->path, '/'), *name = slash != NULL ? slash + 1 : d->path;
    buf_printf(&work, "%.*s.%s.thea", (int)(name - d->path), d->path, name);
    d->work = buf_take(&work);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *walk)
{
    (void)st, (void)flag;
    return walk->level > 0 ? remove(path) : 0;
}

static thea_rc lock(struct model_dir *d, struct thea_err *err)
{
    if (mkdir(d->work, 0777) != 0 && errno != EEXIST)
        return thea_fail(err, THEA_ECREATE, "cannot create %s: %s", d->path, strerror(errno));
    d->lock = open(d->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->lock < 0) return thea_fail(err, THEA_ECREATE, "cannot create %s: %s", d->work, strerror(errno));
    if (flock(d->lock, LOCK_EX | LOCK_NB) == 0) return THEA_OK;
    close(d->lock);
    d->lock = -1;
    return thea_fail(err, THEA_EBUSY, "%s is being written by another process", d->path);
}

static thea_rc already_there(const char *path, struct thea_err *err)
{
    return thea_fail(err, THEA_ECREATE, "%s is there already; it must be new, nothing is overwritten", path);
}

thea_rc model_dir_begin(struct model_dir *d, const char *path, struct thea_err *err)
{
    struct stat st;
    *d = (struct model_dir){.lock = -1};
    if (lstat(path, &st) == 0) return already_there(path, err);
    if (errno != ENOENT) return thea_fail(err, THEA_ECREATE, "cannot create %s: %s", path, strerror(errno));
    name_paths(d, path);
    thea_rc rc = lock(d, err);
    if (rc == THEA_OK) nftw(d->work, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return rc;
}

static bool fits(const char *name, const char *const *patterns)
{
    for (; *patterns != NULL; patterns++)
        if (fnmatch(*patterns, name, FNM_CASEFOLD) == 0) return true;
    return false;
}

/* Weights, in whatever container, and what is written anew. */
static bool is_left_out(const char *name)
{
    static const char *const patterns[] = {
        ".*",          "config.json", "*.safetensors", "*.bin", "*.index.json", "*.gguf",
        "*.pt",        "*.pth",       "*.ckpt",        "*.h5",  "*.msgpack",    "*.onnx",
        "*.onnx_data", "*.tflite",    "*.ot",          "*.npz", "*.mlmodel",    NULL};
    return fits(name, patterns);
}

static thea_rc write_new(const char *path, const void *bytes, size_t n, struct thea_err *err)
{
    FILE *f = fopen(path, "wxe");
    if (f == NULL) return thea_fail(err, THEA_ECREATE, "cannot create %s: %s", path, strerror(errno));
    bool good = fwrite(bytes, 1, n, f) == n && fflush(f) == 0 && fsync(fileno(f)) == 0;
    int failed = errno;
    good = fclose(f) == 0 && good;
    return good ? THEA_OK : thea_fail(err, THEA_EIO, "cannot write %s: %s", path, strerror(failed));
}

static thea_rc copy_file(const char *to, const char *from, off_t size, struct thea_err *err)
{
    FILE *f = fopen(from, "re");
    if (f == NULL) return thea_fail(err, THEA_EIO, "cannot read %s: %s", from, strerror(errno));
    struct buf bytes = {0};
    char *room = buf_reserve(&bytes, (size_t)size + 1);
    size_t n = fread(room, 1, (size_t)size + 1, f);
    thea_rc rc = ferror(f) || n != (size_t)size
                     ? thea_fail(err, THEA_EIO, "cannot read %s: it changed, or %s", from, strerror(errno))
                     : write_new(to, room, n, err);
    fclose(f);
    buf_fini(&bytes);
    return rc;
}

static thea_rc copy_directory(const char *to, const char *from, int depth, struct thea_err *err);

/* At the top weights are left out; a folder's belong to it. */
static thea_rc copy_entry(const char *to, const char *from, const char *name, int depth, struct thea_err *err)
{
    struct stat st;
    char *source = join(from, name), *target = join(to, name);
    thea_rc rc = THEA_OK;
    if (stat(source, &st) != 0) {
        rc = thea_fail(err, THEA_EIO, "cannot read %s: %s", source, strerror(errno));
    } else if (S_ISREG(st.st_mode) && (depth > 0 || !is_left_out(name)) && st.st_size <= COPY_BYTES_MAX) {
        rc = copy_file(target, source, st.st_size, err);
    } else if (S_ISDIR(st.st_mode) && depth < NESTING_MAX &&
               (depth > 0 || (isdigit((unsigned char)name[0]) && strchr(name, '_') != NULL))) {
        rc = mkdir(target, 0777) == 0
                 ? copy_directory(target, source, depth + 1, err)
                 : thea_fail(err, THEA_ECREATE, "cannot create %s: %s", target, strerror(errno));
    }
    free(source);
    free(target);
    return rc;
}

static thea_rc copy_directory(const char *to, const char *from, int depth, struct thea_err *err)
{
    DIR *dir = opendir(from);
    if (dir == NULL) return thea_fail(err, THEA_EIO, "cannot read %s: %s", from, strerror(errno));
    thea_rc rc = THEA_OK;
    for (struct dirent *e; rc == THEA_OK && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.') rc = copy_entry(to, from, e->d_name, depth, err);
    closedir(dir);
    return rc;
}

thea_rc model_dir_copy(const struct model_dir *d, const char *from, struct thea_err *err)
{
    return copy_directory(d->work, from, 0, err);
}

thea_rc model_dir_write(const struct model_dir *d, const char *file, const char *text, struct thea_err *err)
{
    char *path = join(d->work, file);
    thea_rc rc = write_new(path, text, strlen(text), err);
    free(path);
    return rc;
}

/* Some file systems cannot refuse to replace: there a directory that came meanwhile is replaced only if
 * empty. */
static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    return errno == EINVAL || errno == ENOSYS ? rename(from, to) : -1;
}

thea_rc model_dir_finish(struct model_dir *d, struct thea_err *err)
{
    if (fsync(d->lock) != 0) return thea_fail(err, THEA_EIO, "cannot write %s: %s", d->path, strerror(errno));
    if (rename_new(d->work, d->path) != 0)
        return errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR
                   ? already_there(d->path, err)
                   : thea_fail(err, THEA_EIO, "cannot name %s: %s", d->path, strerror(errno));
    close(d->lock);
    free(d->work);
    free(d->path);
    *d = (struct model_dir){.lock = -1};
    return THEA_OK;
}

void model_dir_abandon(struct model_dir *d)
{
    if (d->lock >= 0) {
        nftw(d->work, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        rmdir(d->work);
        close(d->lock);
    }
    free(d->work);
    free(d->path);
    *d = (struct model_dir){.lock = -1};
}
