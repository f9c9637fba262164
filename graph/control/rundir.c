/* The run directory: see rundir.h. Invariant: whoever holds the flock on `lock` owns the directory; a run
 * whose supervisor is gone has none. */
#include "graph/control/rundir.h"
#include "graph/control/rundir_internal.h"

#include "graph/control/rundir_prune.h"
#include "graph/control/rundir_temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEEP_RUNS = 20, SAME_SECOND_MAX = 1000 };

static char *join(const char *a, const char *b)
{
    struct buf text = {0};
    buf_add_text(&text, a);
    buf_add_text(&text, b);
    return buf_take(&text);
}

/* mkdir -p; new directories are ours alone. */
static int make_path(const char *path)
{
    char *copy = join(path, "/");
    int rc = 0;
    for (char *slash = strchr(copy + 1, '/'); slash != NULL && rc == 0; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST) rc = errno;
        *slash = '/';
    }
    struct stat st;
    if (rc == 0 && stat(path, &st) != 0) rc = errno;
    if (rc == 0 && !S_ISDIR(st.st_mode)) rc = ENOTDIR;
    free(copy);
    return rc;
}

char *rundir_base(void)
{
    const char *runs = getenv("THEA_RUNS"), *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (runs != NULL && runs[0] != '\0') return join(runs, "");
    if (state != NULL && state[0] == '/') return join(state, "/thea/runs");
    if (home != NULL && home[0] == '/') return join(home, "/.local/state/thea/runs");
    return NULL;
}

static thea_rc make_default(char **path, const char *pipeline, struct thea_err *err)
{
    char *base = rundir_base(), stamp[32];
    if (base == NULL)
        return thea_fail(err, THEA_ECREATE,
                         "no place for the run directory: neither THEA_RUNS, XDG_STATE_HOME nor HOME is set\n"
                         "  set THEA_RUNS to a directory for runs, or give one: --run-dir DIR");
    int failed = make_path(base);
    if (failed != 0) {
        thea_fail(err, THEA_ECREATE,
                  "cannot make the directory for runs %s: %s\n"
                  "  set THEA_RUNS to a directory that can be written, or give one: --run-dir DIR",
                  base, strerror(failed));
        free(base);
        return THEA_ECREATE;
    }
    rundir_prune(base, KEEP_RUNS);
    rundir_temporary_prune(base);
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &local);
    struct buf at = {0};
    int made = -1;
    for (int n = 1; n <= SAME_SECOND_MAX && made != 0; n++) {
        buf_clear(&at);
        buf_printf(&at, "%s/%s-%s", base, pipeline, stamp);
        if (n > 1) buf_printf(&at, "-%d", n);
        made = mkdir(at.data, 0700);
        if (made != 0 && errno != EEXIST) break;
    }
    if (made != 0)
        thea_fail(err, THEA_ECREATE,
                  "cannot make the run directory %s: %s\n"
                  "  set THEA_RUNS to a directory that can be written, or give one: --run-dir DIR",
                  at.data, strerror(errno));
    free(base);
    *path = buf_take(&at);
    return made == 0 ? THEA_OK : THEA_ECREATE;
}

static thea_rc make_named(char **path, const char *dir, struct thea_err *err)
{
    int failed = make_path(dir);
    if (failed != 0)
        return thea_fail(err, THEA_ECREATE, "cannot make the run directory %s: %s", dir, strerror(failed));
    *path = realpath(dir, NULL);
    if (*path == NULL)
        return thea_fail(err, THEA_ECREATE, "cannot use the run directory %s: %s", dir, strerror(errno));
    if (chmod(*path, 0700) != 0)
        return thea_fail(err, THEA_EPERM, "the run directory %s is not ours: %s", dir, strerror(errno));
    return THEA_OK;
}

thea_rc rundir_take_lock(struct rundir *r, struct thea_err *err)
{
    r->fd = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->fd < 0)
        return thea_fail(err, THEA_ECREATE, "cannot open the run directory %s: %s", r->path, strerror(errno));
    r->lock_fd = openat(r->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (r->lock_fd < 0)
        return thea_fail(err, THEA_ECREATE, "cannot write in the run directory %s: %s", r->path,
                         strerror(errno));
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) == 0) return THEA_OK;
    return thea_fail(err, THEA_EBUSY,
                     "a run is going on in %s\n  wait for its end, or give another: --run-dir DIR", r->path);
}

static bool is_fresh(const struct rundir *r)
{
    DIR *d = opendir(r->path);
    if (d == NULL) return false;
    bool fresh = true;
    for (const struct dirent *e = readdir(d); e != NULL && fresh; e = readdir(d))
        fresh = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, "lock") == 0;
    closedir(d);
    return fresh;
}

static thea_rc check_fresh(struct rundir *r, struct thea_err *err)
{
    if (is_fresh(r)) return THEA_OK;
    if (faccessat(r->fd, "run.json", F_OK, 0) == 0)
        return thea_fail(err, THEA_EUSAGE,
                         "%s holds a run that has ended\n  go on with it: thea run --resume %s\n"
                         "  or give a new directory, or remove that one first: rm -r %s",
                         r->path, r->path, r->path);
    unlinkat(r->fd, "lock", 0); /* ours, in somebody's directory */
    return thea_fail(err, THEA_EUSAGE,
                     "%s is not empty and holds no run\n  give a new or an empty directory: --run-dir DIR",
                     r->path);
}

thea_rc rundir_create(struct rundir *out, const char *dir, const char *pipeline, struct thea_err *err)
{
    *out = (struct rundir){.fd = -1, .lock_fd = -1};
    thea_rc rc = dir == NULL ? make_default(&out->path, pipeline, err) : make_named(&out->path, dir, err);
    if (rc == THEA_OK) rc = rundir_take_lock(out, err);
    if (rc == THEA_OK) rc = check_fresh(out, err);
    if (rc == THEA_OK && mkdirat(out->fd, "logs", 0700) != 0)
        rc = thea_fail(err, THEA_ECREATE, "cannot make %s/logs: %s", out->path, strerror(errno));
    if (rc != THEA_OK) {
        rundir_close(out);
        return rc;
    }
    rundir_set_name(out);
    return THEA_OK;
}

void rundir_set_name(struct rundir *r)
{
    char *base = rundir_base(), *real = base != NULL ? realpath(base, NULL) : NULL;
    char *path = realpath(r->path, NULL);
    const char *slash = strrchr(r->path, '/'), *last = path != NULL ? strrchr(path, '/') : NULL;
    r->name = join(slash != NULL ? slash + 1 : r->path, "");
    r->by_name = real != NULL && last != NULL && strlen(real) == (size_t)(last - path) &&
                 memcmp(real, path, strlen(real)) == 0;
    free(base);
    free(real);
    free(path);
}

void rundir_close(struct rundir *r)
{
    if (r->fd >= 0) close(r->fd);
    if (r->lock_fd >= 0) close(r->lock_fd);
    free(r->path);
    free(r->name);
    *r = (struct rundir){.fd = -1, .lock_fd = -1};
}

/* "layers/1:0" is layers.p1.r0.log: a process's name, without the slash and colon. */
static char *log_name(const char *process)
{
    struct buf name = {0};
    buf_add_text(&name, "logs/");
    for (const char *at = process; *at != '\0'; at++) {
        if (*at == '/')
            buf_add_text(&name, ".p");
        else if (*at == ':')
            buf_add_text(&name, ".r");
        else
            buf_add_char(&name, *at);
    }
    buf_add_text(&name, ".log");
    return buf_take(&name);
}

static char *rundir_file(const struct rundir *r, const char *name)
{
    struct buf path = {0};
    buf_printf(&path, "%s/%s", r->path, name);
    return buf_take(&path);
}

char *rundir_log_path(const struct rundir *r, const char *process)
{
    char *name = log_name(process), *path = rundir_file(r, name);
    free(name);
    return path;
}

thea_rc rundir_open_log(int *fd, struct rundir *r, const char *process, struct thea_err *err)
{
    char *name = log_name(process);
    *fd = openat(r->fd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    thea_rc rc = THEA_OK;
    if (*fd < 0)
        rc = thea_fail(err, THEA_ECREATE, "cannot make the log %s/%s: %s", r->path, name, strerror(errno));
    free(name);
    return rc;
}

static int write_and_sync(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        text += n;
        len -= (size_t)n;
    }
    return fsync(fd) == 0 ? 0 : errno;
}

thea_rc rundir_write(struct rundir *r, const char *name, const char *text, size_t len, struct thea_err *err)
{
    char *temporary = join(name, ".new");
    int failed = 0, fd = openat(r->fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        failed = errno;
    else {
        failed = write_and_sync(fd, text, len);
        if (close(fd) != 0 && failed == 0) failed = errno;
        if (failed == 0 && renameat(r->fd, temporary, r->fd, name) != 0) failed = errno;
        if (failed == 0 && fsync(r->fd) != 0) failed = errno; /* the new name, too, survives a power cut */
        if (failed != 0) unlinkat(r->fd, temporary, 0);
    }
    free(temporary);
    if (failed != 0)
        return thea_fail(err, THEA_EIO, "cannot write %s/%s: %s", r->path, name, strerror(failed));
    return THEA_OK;
}

/* --- the epoch, and lines that are added --- */

thea_rc rundir_read_epoch(uint64_t *epoch, const struct rundir *r, struct thea_err *err)
{
    char text[32] = "", *rest;
    *epoch = 0;
    int fd = openat(r->fd, "epoch", O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return THEA_OK;
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    int failed = errno;
    if (fd >= 0) close(fd);
    if (n < 0) return thea_fail(err, THEA_EIO, "cannot read %s/epoch: %s", r->path, strerror(failed));
    *epoch = strtoull(text, &rest, 10);
    if (rest == text || *rest != '\n')
        return thea_fail(err, THEA_EDATA, "%s/epoch is damaged: '%.20s' where a number is expected", r->path,
                         text);
    return THEA_OK;
}

thea_rc rundir_write_epoch(struct rundir *r, uint64_t epoch, struct thea_err *err)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%llu\n", (unsigned long long)epoch);
    return rundir_write(r, "epoch", text, (size_t)n, err);
}

thea_rc rundir_append(struct rundir *r, const char *name, const char *line, struct thea_err *err)
{
    char *text = join(line, "\n");
    int failed = 0, fd = openat(r->fd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        failed = errno;
    else {
        failed = write_and_sync(fd, text, strlen(text));
        close(fd);
    }
    free(text);
    if (failed != 0)
        return thea_fail(err, THEA_EIO, "cannot write %s/%s: %s", r->path, name, strerror(failed));
    return THEA_OK;
}
