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

static bool excludes(const struct glob_walk *w, const char *name)
{
    for (size_t i = 0; w->exclude != NULL && i < w->exclude->count; i++)
        if (fnmatch(w->exclude->items[i], name, 0) == 0) return true;
    return false;
}

static bool is_excluded(struct glob_walk *w, const char *name)
{
    bool excluded = excludes(w, name);
    w->excluded += excluded;
    return excluded;
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
    assert(parts != NULL && parts[0] != NULL);
    if (w->entered != NULL) w->entered(w->context, dir);
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

/* --- patterns --- */

static void take_parts(struct glob_pattern *p, const char *text)
{
    p->text = strdup(text);
    if (p->text == NULL) abort();
    p->parts = split_parts(p->text);
}

static thea_rc init_glob(struct glob_pattern *p, const char *operand, struct thea_err *err)
{
    char *fixed = strdup(operand);
    if (fixed == NULL) abort();
    char *wild = fixed + strcspn(fixed, "*?[");
    while (wild > fixed && wild[-1] != '/') wild--;
    take_parts(p, wild);
    *wild = '\0';
    p->dir = realpath(fixed[0] == '\0' ? "." : fixed, NULL);
    thea_rc rc = THEA_OK;
    if (p->dir == NULL)
        rc = thea_fail(err, THEA_ENOINPUT, "no file matches '%s': '%s': %s", operand, fixed, strerror(errno));
    free(fixed);
    return rc;
}

static thea_rc init_directory(struct glob_pattern *p, const char *operand, struct thea_err *err)
{
    take_parts(p, "**");
    p->dir = realpath(operand, NULL);
    DIR *readable = p->dir != NULL ? opendir(p->dir) : NULL;
    if (readable == NULL) return fail_named(operand, errno, err);
    closedir(readable);
    return THEA_OK;
}

static thea_rc init_file(struct glob_pattern *p, const char *operand, struct thea_err *err)
{
    p->dir = absolute(operand);
    if (p->dir == NULL) return fail_named(operand, errno, err);
    char *slash = strrchr(p->dir, '/');
    take_parts(p, slash + 1);
    slash[slash == p->dir] = '\0';
    return THEA_OK;
}

static bool is_glob(const char *operand, int why)
{
    return strpbrk(operand, "*?[") != NULL && (why == ENOENT || why == ENOTDIR);
}

thea_rc glob_pattern_init(struct glob_pattern *p, const char *operand, struct thea_err *err)
{
    struct stat at;
    *p = (struct glob_pattern){0};
    if (stat(operand, &at) == 0)
        return S_ISDIR(at.st_mode) ? init_directory(p, operand, err) : init_file(p, operand, err);
    return is_glob(operand, errno) ? init_glob(p, operand, err) : fail_named(operand, errno, err);
}

void glob_pattern_fini(struct glob_pattern *p)
{
    free(p->dir);
    free(p->parts);
    free(p->text);
    *p = (struct glob_pattern){0};
}

static bool part_fits(const struct glob_walk *w, const char *part, const char *name)
{
    if (strpbrk(part, "*?[") == NULL) return strcmp(part, name) == 0;
    return fnmatch(part, name, 0) == 0 && !excludes(w, name);
}

static char *const every_name[] = {(char *)(uintptr_t) "*", NULL};

/* What may follow `**`. */
static char *const *behind_stars(char *const *parts)
{
    return parts[1] != NULL ? parts + 1 : every_name;
}

static bool parts_fit(const struct glob_walk *w, char *const *parts, char *const *names)
{
    if (names[0] == NULL) return false;
    if (strcmp(parts[0], "**") == 0) {
        if (parts_fit(w, behind_stars(parts), names)) return true;
        return names[1] != NULL && !excludes(w, names[0]) && parts_fit(w, parts, names + 1);
    }
    if (!part_fits(w, parts[0], names[0])) return false;
    return parts[1] != NULL ? parts_fit(w, parts + 1, names + 1) : names[1] == NULL;
}

/* The names below p->dir that lead to path; NULL: it is not below. *text is their memory. */
static char **names_below(const struct glob_pattern *p, const char *path, char **text)
{
    const char *rest = glob_walk_relative(path, p->dir);
    if (rest == path) rest = strcmp(path, p->dir) == 0 ? "" : NULL;
    *text = rest != NULL ? strdup(rest) : NULL;
    return *text != NULL ? split_parts(*text) : NULL;
}

bool glob_pattern_fits(const struct glob_walk *w, const struct glob_pattern *p, const char *path)
{
    char *text, **names = names_below(p, path, &text);
    bool fits = names != NULL && parts_fit(w, p->parts, names);
    free(names);
    free(text);
    return fits;
}

/* Walk on from where `names` lead, by all ways that the parts allow. */
static void match_below(struct glob_walk *w, const char *dir, char *const *parts, char *const *names)
{
    if (names[0] == NULL) {
        match(w, dir, parts);
        return;
    }
    char *below = join(dir, names[0]);
    bool deep = strcmp(parts[0], "**") == 0;
    char *const *next = deep ? behind_stars(parts) : parts;
    if (deep && !excludes(w, names[0])) match_below(w, below, parts, names + 1);
    if (next[1] != NULL && part_fits(w, next[0], names[0])) match_below(w, below, next + 1, names + 1);
    free(below);
}

static void sort_from(struct glob_walk *w, size_t before)
{
    if (w->count > before + 1) qsort(w->files + before, w->count - before, sizeof *w->files, by_text);
}

void glob_walk_below(struct glob_walk *w, const struct glob_pattern *p, const char *from)
{
    size_t before = w->count;
    char *text, **names = names_below(p, from, &text);
    if (names != NULL) match_below(w, p->dir, p->parts, names);
    free(names);
    free(text);
    sort_from(w, before);
}

/* --- operands --- */

static thea_rc add_pattern(struct glob_walk *w, const char *operand, struct thea_err *err)
{
    struct glob_pattern p;
    thea_rc rc = glob_pattern_init(&p, operand, err);
    if (rc == THEA_OK) match(w, p.dir, p.parts);
    if (rc == THEA_OK && w->matched == 0) rc = matches_nothing(w, operand, p.dir, err);
    glob_pattern_fini(&p);
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
        return S_ISDIR(at.st_mode) ? add_pattern(w, operand, err)
                                   : add_named(w, operand, S_ISREG(at.st_mode), err);
    int why = errno;
    if (is_glob(operand, why)) return add_pattern(w, operand, err);
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
    sort_from(w, before);
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
