/* Files by name, glob and directory: see glob_walk.h. */
#include "stages/support/glob_walk.h"

#include "graph/buf.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct names {
    char **items;
    size_t count, cap;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(a, b);
}

static char *join(const char *dir, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s%s%s", dir, strcmp(dir, "/") == 0 ? "" : "/", name) < 0) abort();
    return path;
}

/* Takes over path. */
static void add_file(struct glob_walk *w, char *path)
{
    w->matched++;
    char **found = tsearch(path, &w->seen, by_path);
    if (found == NULL) abort();
    if (*found != path) {
        free(path);
        return;
    }
    if (w->count == w->cap) {
        w->cap = w->cap == 0 ? 64 : w->cap * 2;
        w->files = reallocarray(w->files, w->cap, sizeof *w->files);
        if (w->files == NULL) abort();
    }
    w->files[w->count++] = path;
}

static bool is_excluded(struct glob_walk *w, const char *name)
{
    for (size_t i = 0; w->exclude != NULL && i < w->exclude->count; i++) {
        if (fnmatch(w->exclude->items[i], name, 0) != 0) continue;
        w->excluded++;
        return true;
    }
    return false;
}

/* Sorted names in a directory. One that cannot be read is reported and has none. */
static struct names list_directory(struct glob_walk *w, const char *dir)
{
    struct names names = {0};
    DIR *d = opendir(dir);
    if (d == NULL) {
        char reason[128];
        snprintf(reason, sizeof reason, "unreadable: %s", strerror(errno));
        w->skipped(w->context, dir, reason);
        return names;
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (names.count == names.cap) {
            names.cap = names.cap == 0 ? 32 : names.cap * 2;
            names.items = reallocarray(names.items, names.cap, sizeof *names.items);
            if (names.items == NULL) abort();
        }
        names.items[names.count] = strdup(e->d_name);
        if (names.items[names.count++] == NULL) abort();
    }
    closedir(d);
    if (names.count > 0) qsort(names.items, names.count, sizeof *names.items, by_text);
    return names;
}

static void names_fini(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->items[i]);
    free(names->items);
}

/* What a user has named cannot be had. */
static thea_rc fail_named(const char *operand, int why, struct thea_err *err)
{
    bool missing = why == ENOENT || why == ENOTDIR || why == ELOOP;
    bool forbidden = why == EACCES || why == EPERM;
    return thea_fail(err,
                     missing     ? THEA_ENOINPUT
                     : forbidden ? THEA_EPERM
                                 : THEA_EIO,
                     "'%s': %s", operand, strerror(why));
}

typedef enum { ENTRY_FILE, ENTRY_DIRECTORY, ENTRY_LINKED_DIRECTORY, ENTRY_OTHER, ENTRY_NONE } entry_kind;

static entry_kind kind_of(const char *path)
{
    struct stat link, at;
    if (lstat(path, &link) != 0) return ENTRY_NONE;
    if (stat(path, &at) != 0) return ENTRY_OTHER; /* a link to nothing */
    if (S_ISREG(at.st_mode)) return ENTRY_FILE;
    if (!S_ISDIR(at.st_mode)) return ENTRY_OTHER;
    return S_ISLNK(link.st_mode) ? ENTRY_LINKED_DIRECTORY : ENTRY_DIRECTORY;
}

/* A file that a pattern or a descent has found; takes over path. */
static void found(struct glob_walk *w, char *path, entry_kind kind)
{
    if (kind == ENTRY_FILE) {
        add_file(w, path);
        return;
    }
    if (kind == ENTRY_OTHER) w->skipped(w->context, path, "not a regular file");
    free(path);
}

static void match(struct glob_walk *w, const char *dir, char *const *parts);

/* `path` fits parts[0]: it is what is looked for, or the way to it. Takes over path. */
static void step(struct glob_walk *w, char *path, char *const *parts, entry_kind kind)
{
    if (parts[1] == NULL) {
        found(w, path, kind);
        return;
    }
    if (kind == ENTRY_DIRECTORY || kind == ENTRY_LINKED_DIRECTORY) match(w, path, parts + 1);
    free(path);
}

/* Files below dir that fit the components `parts` (NULL-terminated, not empty). `**` lets the rest fit here
 * or in any directory below. */
static void match(struct glob_walk *w, const char *dir, char *const *parts)
{
    assert(parts[0] != NULL);
    char *const every[] = {(char *)(uintptr_t) "*", NULL};
    bool deep = strcmp(parts[0], "**") == 0;
    char *const *rest = !deep ? parts : parts[1] != NULL ? parts + 1 : every;
    bool literal = strpbrk(rest[0], "*?[") == NULL;
    if (literal) {
        char *path = join(dir, rest[0]);
        step(w, path, rest, kind_of(path));
        if (!deep) return;
    }
    struct names names = list_directory(w, dir);
    for (size_t i = 0; i < names.count; i++) {
        bool fits = !literal && fnmatch(rest[0], names.items[i], 0) == 0;
        if ((!fits && !deep) || is_excluded(w, names.items[i])) continue;
        char *path = join(dir, names.items[i]);
        entry_kind kind = kind_of(path);
        if (deep && kind == ENTRY_DIRECTORY) match(w, path, parts);
        if (fits)
            step(w, path, rest, kind);
        else
            free(path);
    }
    names_fini(&names);
}

/* Cut a pattern at its slashes, in place; NULL-terminated. */
static char **split_parts(char *text)
{
    size_t count = 0;
    char **parts = calloc(strlen(text) + 2, sizeof *parts);
    if (parts == NULL) abort();
    for (char *save = NULL, *part = strtok_r(text, "/", &save); part != NULL;
         part = strtok_r(NULL, "/", &save)) {
        bool again = count > 0 && strcmp(part, "**") == 0 && strcmp(parts[count - 1], "**") == 0;
        if (!again && strcmp(part, ".") != 0) parts[count++] = part;
    }
    return parts;
}

static thea_rc matches_nothing(const struct glob_walk *w, const char *operand, const char *where,
                               struct thea_err *err)
{
    struct buf excluded = {0};
    for (size_t i = 0; w->exclude != NULL && i < w->exclude->count; i++)
        buf_printf(&excluded, "%s%s", i > 0 ? ", " : "", w->exclude->items[i]);
    if (w->excluded > 0)
        thea_fail(err, THEA_ENOINPUT,
                  "no file matches '%s'\n  looked below  %s\n  left out      %zu names, by exclude: %s",
                  operand, where, w->excluded, buf_text(&excluded));
    else
        thea_fail(err, THEA_ENOINPUT, "no file matches '%s'\n  looked below  %s", operand, where);
    buf_fini(&excluded);
    return THEA_ENOINPUT;
}

static thea_rc add_glob(struct glob_walk *w, const char *operand, struct thea_err *err)
{
    char *text = strdup(operand), *fixed = text;
    if (text == NULL) abort();
    char *wild = text + strcspn(text, "*?[");
    while (wild > text && wild[-1] != '/') wild--;
    char *rest = strdup(wild);
    if (rest == NULL) abort();
    *wild = '\0';
    char *dir = realpath(fixed[0] == '\0' ? "." : fixed, NULL);
    thea_rc rc = THEA_OK;
    if (dir == NULL) {
        rc = thea_fail(err, THEA_ENOINPUT, "no file matches '%s': '%s': %s", operand, fixed, strerror(errno));
    } else {
        char **parts = split_parts(rest);
        match(w, dir, parts);
        if (w->matched == 0) rc = matches_nothing(w, operand, dir, err);
        free(parts);
    }
    free(dir);
    free(rest);
    free(text);
    return rc;
}

/* realpath of the directory, the last name as it is: a linked file keeps its own name. NULL: errno. */
static char *absolute(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL) abort();
    char *slash = strrchr(copy, '/'), *result = NULL;
    const char *name = slash != NULL ? slash + 1 : copy;
    char *last = strdup(name);
    if (last == NULL) abort();
    if (slash != NULL) slash[1] = '\0';
    char *dir = realpath(slash != NULL ? copy : ".", NULL);
    if (dir != NULL) result = join(dir, last);
    free(dir);
    free(last);
    free(copy);
    return result;
}

static thea_rc add_directory(struct glob_walk *w, const char *operand, struct thea_err *err)
{
    char *dir = realpath(operand, NULL);
    DIR *readable = dir != NULL ? opendir(dir) : NULL;
    thea_rc rc = readable != NULL ? THEA_OK : fail_named(operand, errno, err);
    if (readable != NULL) closedir(readable);
    char *parts[] = {(char *)(uintptr_t) "**", NULL};
    if (rc == THEA_OK) match(w, dir, parts);
    if (rc == THEA_OK && w->matched == 0) rc = matches_nothing(w, operand, dir, err);
    free(dir);
    return rc;
}

/* A regular file that is named must be readable now: to find that out when its turn comes is too late. A pipe
 * is not opened, its writer would notice; and it keeps the name it has in this process: /dev/fd/63. */
static thea_rc add_named(struct glob_walk *w, const char *operand, bool regular, struct thea_err *err)
{
    int fd = regular ? open(operand, O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;
    char *path = !regular ? strdup(operand) : fd >= 0 ? absolute(operand) : NULL;
    thea_rc rc = path != NULL ? THEA_OK : fail_named(operand, errno, err);
    if (fd >= 0) close(fd);
    if (rc == THEA_OK) add_file(w, path);
    return rc;
}

static thea_rc add_operand(struct glob_walk *w, const char *operand, struct thea_err *err)
{
    struct stat at;
    if (stat(operand, &at) == 0)
        return S_ISDIR(at.st_mode) ? add_directory(w, operand, err)
                                   : add_named(w, operand, S_ISREG(at.st_mode), err);
    int why = errno;
    if (strpbrk(operand, "*?[") != NULL && (why == ENOENT || why == ENOTDIR))
        return add_glob(w, operand, err);
    if (lstat(operand, &at) == 0 && why == ENOENT)
        return thea_fail(err, THEA_ENOINPUT, "'%s' is a symbolic link to a file that is missing", operand);
    return fail_named(operand, why, err);
}

thea_rc glob_walk_add(struct glob_walk *w, const char *operand, struct thea_err *err)
{
    size_t before = w->count;
    w->excluded = w->matched = 0;
    if (operand[0] == '\0') return thea_fail(err, THEA_ENOINPUT, "an empty path names no file");
    thea_rc rc = add_operand(w, operand, err);
    if (w->count > before + 1) qsort(w->files + before, w->count - before, sizeof *w->files, by_text);
    return rc;
}

static void keep(void *path)
{
    (void)path; /* the list frees it */
}

void glob_walk_fini(struct glob_walk *w)
{
    tdestroy(w->seen, keep);
    for (size_t i = 0; i < w->count; i++) free(w->files[i]);
    free(w->files);
    w->seen = NULL;
    w->files = NULL;
    w->count = w->cap = 0;
}

const char *glob_walk_relative(const char *path, const char *base)
{
    size_t n = strlen(base);
    if (strcmp(base, "/") == 0) return path[0] == '/' && path[1] != '\0' ? path + 1 : path;
    return strncmp(path, base, n) == 0 && path[n] == '/' && path[n + 1] != '\0' ? path + n + 1 : path;
}
