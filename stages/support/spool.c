/* A queue of bytes in files: see spool.h. */
#include "stages/support/spool.h"

#include "graph/fault.h"
#include "graph/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_DIGITS = 20, COPY_BYTES = 64 << 10 };

static thea_rc fail(const struct spool *s, thea_rc rc, const char *what, struct thea_err *err)
{
    return thea_fail(err, rc, "the spool of %s (%s): cannot %s: %s", s->name,
                     s->dir != NULL ? s->dir : "a temporary file", what, strerror(errno));
}

static char *path_of(const struct spool *s, uint64_t begin)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%0*llu", s->dir, NAME_DIGITS, (unsigned long long)begin) < 0) abort();
    return path;
}

static char *end_path(const struct spool *s)
{
    char *path = NULL;
    if (asprintf(&path, "%s/end", s->dir) < 0) abort();
    return path;
}

/* New names are there after a power cut, too. A file system that cannot sync a folder keeps them by other
 * means. */
static void sync_folder(const struct spool *s)
{
    int fd = s->dir != NULL ? open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

/* --- segments --- */

static void add_segment(struct spool *s, const struct spool_segment *segment)
{
    s->segments = reallocarray(s->segments, s->count + 1, sizeof *s->segments);
    if (s->segments == NULL) abort();
    s->segments[s->count++] = *segment;
    s->end = segment->begin + segment->size;
}

static thea_rc new_segment(struct spool *s, struct thea_err *err)
{
    struct spool_segment segment = {.begin = s->end};
    if (s->dir == NULL) {
        const char *dir = getenv("TMPDIR");
        segment.fd = open(dir != NULL && dir[0] != '\0' ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    } else {
        char *path = path_of(s, segment.begin);
        segment.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        free(path);
    }
    if (segment.fd < 0) return fail(s, THEA_ECREATE, "make a segment", err);
    sync_folder(s);
    add_segment(s, &segment);
    return THEA_OK;
}

/* The segment that more is written to, with room for a byte at least. */
static thea_rc last_segment(struct spool *s, struct spool_segment **out, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    if (s->count == 0 || s->segments[s->count - 1].size >= s->segment_bytes) rc = new_segment(s, err);
    if (rc == THEA_OK) *out = &s->segments[s->count - 1];
    return rc;
}

static void added(struct spool *s, struct spool_segment *last, size_t n)
{
    last->size += n;
    s->end += n;
}

/* --- adding --- */

static thea_rc end_here(struct spool *s, struct thea_err *err)
{
    s->ended = true;
    if (s->dir == NULL) return THEA_DONE;
    char *path = end_path(s);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    free(path);
    if (fd < 0) return fail(s, THEA_ECREATE, "note its end", err);
    close(fd);
    sync_folder(s);
    return THEA_DONE;
}

static ssize_t copy_some(const struct spool_segment *last, int fd, size_t room)
{
    char bytes[COPY_BYTES];
    ssize_t n = read(fd, bytes, room < sizeof bytes ? room : sizeof bytes);
    for (ssize_t at = 0; at < n;) {
        ssize_t wrote = pwrite(last->fd, bytes + at, (size_t)(n - at), (off_t)last->size + at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return -1;
        at += wrote;
    }
    return n;
}

/* Pipe to file and file to file go through the kernel alone. What is neither (a socket, a file that has no
 * size) is read and written: a byte of it is in this process for a moment. */
static ssize_t move_some(const struct spool_segment *last, int fd, size_t room)
{
    off_t at = (off_t)last->size;
    ssize_t n = splice(fd, NULL, last->fd, &at, room, SPLICE_F_NONBLOCK);
    if (n >= 0 || errno != EINVAL) return n;
    n = copy_file_range(fd, NULL, last->fd, &at, room, 0);
    return n > 0 ? n : copy_some(last, fd, room);
}

thea_rc spool_take(struct spool *s, int fd, struct thea_err *err)
{
    struct spool_segment *last = NULL;
    if (s->ended) return THEA_DONE;
    thea_rc rc = last_segment(s, &last, err);
    if (rc != THEA_OK) return rc;
    size_t room = (size_t)(s->segment_bytes - last->size);
    thea_fault("source.spool");
    ssize_t n = move_some(last, fd, room);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return THEA_AGAIN;
    if (n < 0) return fail(s, THEA_EIO, "take what comes", err);
    if (n == 0) return end_here(s, err);
    thea_fault("source.spooled");
    added(s, last, (size_t)n);
    return THEA_OK;
}

thea_rc spool_append(struct spool *s, const void *bytes, size_t n, struct thea_err *err)
{
    struct spool_segment *last = NULL;
    thea_rc rc = last_segment(s, &last, err);
    for (size_t at = 0; rc == THEA_OK && at < n;) {
        ssize_t wrote = pwrite(last->fd, (const char *)bytes + at, n - at, (off_t)(last->size + at));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            rc = fail(s, THEA_EIO, "be written", err);
            if (ftruncate(last->fd, (off_t)last->size) != 0)
                thea_warning("%s: cannot be cut again: %s", s->dir, strerror(errno));
            return rc;
        }
        at += (size_t)wrote;
        thea_fault("source.spool.half");
    }
    if (rc == THEA_OK) added(s, last, n);
    return rc;
}

thea_rc spool_sync(struct spool *s, struct thea_err *err)
{
    if (s->dir == NULL || s->synced == s->end) return THEA_OK;
    for (size_t i = s->count; i-- > 0 && s->segments[i].begin + s->segments[i].size > s->synced;)
        if (fdatasync(s->segments[i].fd) != 0) return fail(s, THEA_EIO, "be synced", err);
    s->synced = s->end;
    return THEA_OK;
}

bool spool_is_full(const struct spool *s)
{
    return s->end - s->begin >= s->max_bytes && s->count > 1;
}

/* --- reading and trimming --- */

ssize_t spool_read(void *spool, void *to, size_t room, uint64_t offset)
{
    const struct spool *s = spool;
    size_t low = 0, high = s->count; /* the last segment that begins at or before offset is below high */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->segments[middle].begin <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (offset < s->begin) {
        errno = EIO;
        return -1;
    }
    if (low == 0 || offset >= s->end) return 0;
    const struct spool_segment *segment = &s->segments[low - 1];
    uint64_t left = segment->begin + segment->size - offset;
    if (room > left) room = (size_t)left;
    ssize_t n;
    do n = pread(segment->fd, to, room, (off_t)(offset - segment->begin));
    while (n < 0 && errno == EINTR);
    return n;
}

/* The last segment stays: its name says where the next byte goes. */
void spool_trim(struct spool *s, uint64_t offset)
{
    size_t gone = 0;
    for (; gone + 1 < s->count; gone++) {
        const struct spool_segment *segment = &s->segments[gone];
        if (segment->begin + segment->size > offset) break;
        char *path = s->dir != NULL ? path_of(s, segment->begin) : NULL;
        if (path != NULL && unlink(path) != 0 && errno != ENOENT)
            thea_warning("%s: cannot be removed: %s", path, strerror(errno));
        free(path);
        close(segment->fd);
        thea_fault("source.trim");
    }
    s->count -= gone;
    memmove(s->segments, s->segments + gone, s->count * sizeof *s->segments);
    if (s->count > 0) s->begin = s->segments[0].begin;
}

/* --- opening --- */

static int is_segment(const struct dirent *e)
{
    return strlen(e->d_name) == NAME_DIGITS && strspn(e->d_name, "0123456789") == NAME_DIGITS;
}

static thea_rc open_segment(struct spool *s, const char *name, struct thea_err *err)
{
    struct spool_segment segment = {.begin = strtoull(name, NULL, 10)};
    struct stat at;
    char *path = path_of(s, segment.begin);
    segment.fd = open(path, O_RDWR | O_CLOEXEC);
    free(path);
    if (segment.fd < 0 || fstat(segment.fd, &at) != 0) {
        if (segment.fd >= 0) close(segment.fd);
        return fail(s, THEA_EIO, "be read", err);
    }
    segment.size = (uint64_t)at.st_size;
    if (s->count == 0) s->begin = segment.begin;
    bool follows = s->count == 0 || s->end == segment.begin;
    uint64_t end = s->end;
    add_segment(s, &segment);
    if (follows) return THEA_OK;
    return thea_fail(err, THEA_EDATA, "the spool of %s (%s): bytes %llu to %llu are missing", s->name, s->dir,
                     (unsigned long long)end, (unsigned long long)segment.begin);
}

static thea_rc open_segments(struct spool *s, struct thea_err *err)
{
    struct dirent **names = NULL;
    int count = scandir(s->dir, &names, is_segment, alphasort);
    if (count < 0) return fail(s, THEA_EIO, "be read", err);
    thea_rc rc = THEA_OK;
    for (int i = 0; i < count; i++) {
        if (rc == THEA_OK) rc = open_segment(s, names[i]->d_name, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

/* Bytes of the last segment behind its last newline; all of it if there is none. */
static uint64_t unfinished_line(const struct spool_segment *last)
{
    char bytes[4096];
    uint64_t at = last->size;
    while (at > 0) {
        size_t n = at < sizeof bytes ? (size_t)at : sizeof bytes;
        if (pread(last->fd, bytes, n, (off_t)(at - n)) != (ssize_t)n) break;
        const char *newline = memrchr(bytes, '\n', n);
        if (newline != NULL) return last->size - (at - n + (uint64_t)(newline - bytes) + 1);
        at -= n;
    }
    return last->size;
}

/* A record is appended by one process at a time, in one segment: half of one can only be at the very end. */
static thea_rc cut_line(struct spool *s, struct thea_err *err)
{
    struct spool_segment *last = s->count > 0 ? &s->segments[s->count - 1] : NULL;
    uint64_t cut = last != NULL ? unfinished_line(last) : 0;
    if (cut == 0) return THEA_OK;
    if (ftruncate(last->fd, (off_t)(last->size - cut)) != 0) return fail(s, THEA_EIO, "be cut", err);
    last->size -= cut;
    s->end -= cut;
    thea_info("the spool of %s: %llu bytes of an unfinished line are cut", s->name, (unsigned long long)cut);
    return THEA_OK;
}

static thea_rc make_folders(struct spool *s, const char *dir, const char *name, struct thea_err *err)
{
    if (asprintf(&s->dir, "%s/spool", dir) < 0) abort();
    bool made = mkdir(s->dir, 0700) == 0 || errno == EEXIST;
    free(s->dir);
    if (asprintf(&s->dir, "%s/spool/%s", dir, name) < 0) abort();
    for (char *p = s->dir + strlen(dir) + strlen("/spool/"); *p != '\0'; p++)
        if (*p == '/' || *p == ':') *p = '.';
    made = made && (mkdir(s->dir, 0700) == 0 || errno == EEXIST);
    return made ? THEA_OK : fail(s, THEA_ECREATE, "be made", err);
}

thea_rc spool_open(struct spool *s, const char *dir, const char *name, uint64_t max_bytes, bool whole_lines,
                   struct thea_err *err)
{
    *s = (struct spool){.name = name, .max_bytes = max_bytes, .segment_bytes = SPOOL_SEGMENT_BYTES};
    if (dir == NULL) return THEA_OK;
    thea_rc rc = make_folders(s, dir, name, err);
    if (rc == THEA_OK) rc = open_segments(s, err);
    if (rc == THEA_OK && whole_lines) rc = cut_line(s, err);
    if (rc != THEA_OK) return rc;
    char *path = end_path(s);
    s->ended = access(path, F_OK) == 0;
    free(path);
    return THEA_OK;
}

void spool_fini(struct spool *s)
{
    for (size_t i = 0; i < s->count; i++) close(s->segments[i].fd);
    free(s->segments);
    free(s->dir);
    *s = (struct spool){0};
}
