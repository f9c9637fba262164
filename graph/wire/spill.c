/* The disk queue: see spill.h. Invariant: file offset = position % limit, and the bytes from head to tail are
 * a whole number of records, each a header and a string. */
#include "graph/wire/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct header {
    uint64_t size, epoch;
};

/* Records of one epoch that follow each other. */
struct run {
    uint64_t epoch, at, count;
};

struct spill {
    char *dir;
    int fd; /* -1: there is no file yet */
    uint64_t limit;
    uint64_t head, tail; /* positions; they only grow while something is in the queue */
    uint64_t count;
    struct run *runs; /* oldest first */
    size_t run_count;
};

struct spill *spill_new(const char *dir, uint64_t limit_bytes)
{
    struct spill *s = calloc(1, sizeof *s);
    const char *temporary = getenv("TMPDIR");
    if (dir == NULL) dir = temporary != NULL && temporary[0] != '\0' ? temporary : "/var/tmp";
    if (s == NULL || (s->dir = strdup(dir)) == NULL) abort();
    s->fd = -1;
    s->limit = limit_bytes;
    return s;
}

void spill_free(struct spill *s)
{
    if (s == NULL) return;
    if (s->fd >= 0) close(s->fd);
    free(s->dir);
    free(s->runs);
    free(s);
}

uint64_t spill_bytes(const struct spill *s)
{
    return s->tail - s->head;
}

uint64_t spill_count(const struct spill *s)
{
    return s->count;
}

bool spill_fits(const struct spill *s, uint64_t size)
{
    uint64_t room = s->limit - spill_bytes(s);
    return room >= sizeof(struct header) && size <= room - sizeof(struct header);
}

/* --- the file --- */

/* Where the file system has no files without a name (NFS), a named one is unlinked at once. */
static thea_rc open_file(struct spill *s, struct thea_err *err)
{
    if (s->fd >= 0) return THEA_OK;
    s->fd = open(s->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (s->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
        char *name = NULL;
        if (asprintf(&name, "%s/.spill-XXXXXX", s->dir) < 0) abort();
        s->fd = mkostemp(name, O_CLOEXEC);
        if (s->fd >= 0) unlink(name);
        free(name);
    }
    if (s->fd >= 0) return THEA_OK;
    return thea_fail(err, THEA_ECREATE, "cannot make a file in %s: %s", s->dir, strerror(errno));
}

/* One call to the kernel: as many bytes as lie together in the file. */
static ssize_t transfer_some(const struct spill *s, bool out, uint64_t at, char *bytes, uint64_t size)
{
    uint64_t offset = at % s->limit, together = s->limit - offset;
    size_t n = (size_t)(size < together ? size : together);
    return out ? pwrite(s->fd, bytes, n, (off_t)offset) : pread(s->fd, bytes, n, (off_t)offset);
}

static thea_rc transfer(const struct spill *s, bool out, uint64_t at, void *bytes, uint64_t size,
                        struct thea_err *err)
{
    for (uint64_t done = 0; done < size;) {
        ssize_t n = transfer_some(s, out, at + done, (char *)bytes + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return thea_fail(err, THEA_EIO, "cannot %s the file of what waits, in %s: %s",
                             out ? "write" : "read", s->dir, n < 0 ? strerror(errno) : "it is too short");
        done += (uint64_t)n;
    }
    return THEA_OK;
}

/* Nothing is in the queue: its disk space goes back, and positions begin anew. */
static void give_back(struct spill *s)
{
    if (s->count > 0) return;
    s->head = s->tail = 0;
    s->run_count = 0;
    if (s->fd >= 0 && ftruncate(s->fd, 0) != 0) {
        close(s->fd); /* so it goes, too */
        s->fd = -1;
    }
}

/* --- records --- */

static void count_in(struct spill *s, uint64_t epoch)
{
    struct run *last = s->run_count > 0 ? &s->runs[s->run_count - 1] : NULL;
    if (last == NULL || last->epoch != epoch) {
        s->runs = reallocarray(s->runs, s->run_count + 1, sizeof *s->runs);
        if (s->runs == NULL) abort();
        last = &s->runs[s->run_count++];
        *last = (struct run){.epoch = epoch, .at = s->tail};
    }
    last->count++;
    s->count++;
}

static void forget_first_run(struct spill *s)
{
    memmove(s->runs, s->runs + 1, --s->run_count * sizeof *s->runs);
}

thea_rc spill_put(struct spill *s, const void *bytes, uint64_t size, uint64_t epoch, struct thea_err *err)
{
    struct header h = {size, epoch};
    if (!spill_fits(s, size)) return THEA_AGAIN;
    thea_rc rc = open_file(s, err);
    if (rc == THEA_OK) rc = transfer(s, true, s->tail, &h, sizeof h, err);
    if (rc == THEA_OK) rc = transfer(s, true, s->tail + sizeof h, (void *)(uintptr_t)bytes, size, err);
    if (rc != THEA_OK) {
        give_back(s);
        return rc;
    }
    count_in(s, epoch);
    s->tail += sizeof h + size;
    return THEA_OK;
}

thea_rc spill_next(struct spill *s, uint64_t *size, struct thea_err *err)
{
    struct header h;
    if (s->count == 0) return THEA_AGAIN;
    thea_rc rc = transfer(s, false, s->head, &h, sizeof h, err);
    if (rc != THEA_OK) return rc;
    if (h.epoch != s->runs[0].epoch || h.size > spill_bytes(s) - sizeof h)
        return thea_fail(err, THEA_EIO, "what waits in a file in %s has changed", s->dir);
    *size = h.size;
    return THEA_OK;
}

thea_rc spill_take(struct spill *s, void *bytes, uint64_t size, struct thea_err *err)
{
    thea_rc rc = transfer(s, false, s->head + sizeof(struct header), bytes, size, err);
    if (rc != THEA_OK) return rc;
    s->head += sizeof(struct header) + size;
    s->count--;
    if (--s->runs[0].count == 0) forget_first_run(s);
    give_back(s);
    return THEA_OK;
}

uint64_t spill_drop(struct spill *s, uint64_t epoch)
{
    uint64_t dropped = 0;
    while (s->run_count > 0 && s->runs[0].epoch < epoch) {
        dropped += s->runs[0].count;
        forget_first_run(s);
        s->head = s->run_count > 0 ? s->runs[0].at : s->tail;
    }
    s->count -= dropped;
    if (dropped > 0) give_back(s);
    return dropped;
}
