/* Directories as they change: see follow.h. */
#include "stages/support/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

struct watch {
    int wd;
    char *dir;
};

struct follow {
    int fd;
    const struct follow_events *events;
    void *context;
    void *watches; /* tree of struct watch, by wd */
    /* A file was moved from here; whether it was moved to a directory that we follow, the next event says. */
    uint32_t cookie;
    char *from;
};

static int by_wd(const void *a, const void *b)
{
    const struct watch *x = a, *y = b;
    return (x->wd > y->wd) - (x->wd < y->wd);
}

static void free_watch(void *node)
{
    struct watch *w = node;
    free(w->dir);
    free(w);
}

static void *need(void *memory)
{
    if (memory == NULL) abort();
    return memory;
}

thea_rc follow_open(struct follow **out, const struct follow_events *events, void *context,
                    struct thea_err *err)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) return thea_fail(err, THEA_EOS, "cannot follow directories (inotify): %s", strerror(errno));
    struct follow *f = need(calloc(1, sizeof *f));
    *f = (struct follow){.fd = fd, .events = events, .context = context};
    *out = f;
    return THEA_OK;
}

void follow_free(struct follow *f)
{
    if (f == NULL) return;
    tdestroy(f->watches, free_watch);
    free(f->from);
    close(f->fd);
    free(f);
}

int follow_fd(const struct follow *f)
{
    return f->fd;
}

static struct watch *find_watch(const struct follow *f, int wd)
{
    struct watch key = {.wd = wd}, **found = tfind(&key, &f->watches, by_wd);
    return found != NULL ? *found : NULL;
}

thea_rc follow_directory(struct follow *f, const char *dir, struct thea_err *err)
{
    const uint32_t mask = IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE |
                          IN_ONLYDIR | IN_EXCL_UNLINK;
    int wd = inotify_add_watch(f->fd, dir, mask);
    if (wd < 0 && errno == ENOSPC)
        return thea_fail(err, THEA_EOS,
                         "cannot follow '%s': too many directories are watched\n"
                         "  try        sysctl fs.inotify.max_user_watches=1000000",
                         dir);
    if (wd < 0) return thea_fail(err, THEA_ENOINPUT, "cannot follow '%s': %s", dir, strerror(errno));
    struct watch *w = find_watch(f, wd);
    if (w != NULL) { /* known, perhaps by the name it had before it was moved */
        free(w->dir);
        w->dir = need(strdup(dir));
        return THEA_OK;
    }
    w = need(calloc(1, sizeof *w));
    *w = (struct watch){.wd = wd, .dir = need(strdup(dir))};
    need(tsearch(w, &f->watches, by_wd));
    return THEA_OK;
}

/* --- events --- */

/* What was moved away and has not turned up is gone. */
static void settle_move(struct follow *f)
{
    if (f->from == NULL) return;
    f->events->gone(f->context, f->from);
    free(f->from);
    f->from = NULL;
}

static void take_move(struct follow *f, const struct inotify_event *e, const char *path)
{
    if (f->from != NULL && f->cookie == e->cookie) {
        f->events->moved(f->context, f->from, path);
        free(f->from);
        f->from = NULL;
    } else {
        f->events->written(f->context, path);
    }
}

/* A link to a file is whole when it is made, and nobody closes it. */
static bool is_link(const char *path)
{
    struct stat at;
    return lstat(path, &at) == 0 && (S_ISLNK(at.st_mode) || at.st_nlink > 1);
}

static void take_file(struct follow *f, const struct inotify_event *e, const char *path)
{
    if ((e->mask & IN_CREATE) != 0 && is_link(path)) f->events->written(f->context, path);
    if ((e->mask & IN_MOVED_TO) != 0) take_move(f, e, path);
    if ((e->mask & IN_MOVED_FROM) != 0) {
        f->cookie = e->cookie;
        f->from = need(strdup(path));
    }
    if ((e->mask & IN_CLOSE_WRITE) != 0) f->events->written(f->context, path);
    if ((e->mask & IN_MODIFY) != 0) f->events->grew(f->context, path);
    if ((e->mask & IN_DELETE) != 0) f->events->gone(f->context, path);
}

static void forget_watch(struct follow *f, int wd)
{
    struct watch *w = find_watch(f, wd);
    if (w == NULL) return;
    tdelete(w, &f->watches, by_wd);
    free_watch(w);
}

static void take_event(struct follow *f, const struct inotify_event *e)
{
    bool move_ends = (e->mask & IN_MOVED_TO) != 0 && e->cookie == f->cookie;
    if (!move_ends) settle_move(f);
    if ((e->mask & IN_Q_OVERFLOW) != 0) f->events->lost(f->context);
    if ((e->mask & IN_IGNORED) != 0) forget_watch(f, e->wd);
    const struct watch *w = find_watch(f, e->wd);
    char *path = NULL;
    if (w == NULL || e->len == 0) return;
    if (asprintf(&path, "%s%s%s", w->dir, strcmp(w->dir, "/") == 0 ? "" : "/", e->name) < 0) abort();
    if ((e->mask & IN_ISDIR) == 0)
        take_file(f, e, path);
    else if ((e->mask & (IN_CREATE | IN_MOVED_TO)) != 0)
        f->events->directory(f->context, path);
    free(path);
}

bool follow_read(struct follow *f)
{
    _Alignas(struct inotify_event) char bytes[1 << 16];
    bool any = false;
    for (;;) {
        ssize_t n = read(f->fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        any = true;
        for (const char *at = bytes; at < bytes + n;) {
            const struct inotify_event *e = (const void *)at;
            take_event(f, e);
            at += sizeof *e + e->len;
        }
    }
    settle_move(f);
    return any;
}

/* A read lease is given only for a file that nobody writes to. Should somebody open it in the moment that we
 * hold one, the kernel lets him wait and sends us a signal, which is one that does nothing. */
bool follow_is_being_written(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return false;
    bool written = fcntl(fd, F_SETSIG, SIGURG) == 0 && fcntl(fd, F_SETLEASE, F_RDLCK) != 0 && errno == EAGAIN;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    close(fd);
    return written;
}
