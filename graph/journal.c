/* Writing a journal: see journal.h. */
#include "graph/journal_impl.h"

#include "graph/crc32c.h"
#include "graph/fault.h"
#include "graph/status.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PARTS_MAX = 16, NS_PER_MS = 1000000 };

thea_rc journal_fail(const char *doing, const char *path, struct thea_err *err)
{
    return thea_fail(err, THEA_EIO, "cannot %s '%s': %s", doing, path, strerror(errno));
}

thea_rc journal_flush(int fd, const char *path, struct thea_err *err)
{
    return fdatasync(fd) == 0 ? THEA_OK : journal_fail("flush", path, err);
}

/* The name of a file that was just made is on the disk, too. */
static thea_rc flush_directory(const char *path, struct thea_err *err)
{
    char *copy = strdup(path);
    if (copy == NULL) abort();
    thea_rc rc = THEA_OK;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL) rc = journal_fail("flush the directory of", path, err);
    if (fd >= 0) close(fd);
    free(copy);
    return rc;
}

/* --- opening --- */

static thea_rc lock(struct journal *j, struct thea_err *err)
{
    j->fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->fd < 0) return thea_fail_create(err, j->path, errno);
    int held;
    do held = flock(j->fd, LOCK_EX);
    while (held != 0 && errno == EINTR);
    return held == 0 ? THEA_OK : journal_fail("lock", j->path, err);
}

thea_rc journal_open_output(struct journal *j, struct thea_err *err)
{
    struct stat at;
    if (j->spent) return THEA_OK;
    if (j->out_fd < 0) j->out_fd = open(j->name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    if (j->out_fd < 0) return thea_fail_create(err, j->name, errno);
    if (fstat(j->out_fd, &at) != 0 || !S_ISREG(at.st_mode))
        return thea_fail(err, THEA_ECREATE, "cannot write '%s': it is no regular file", j->name);
    if ((uint64_t)at.st_size == j->tail) return THEA_OK;
    if (ftruncate(j->out_fd, (off_t)j->tail) != 0) return journal_fail("cut", j->name, err);
    return journal_flush(j->out_fd, j->name, err);
}

thea_rc journal_open(struct journal **out, const struct journal_options *o, struct thea_err *err)
{
    struct journal *j = calloc(1, sizeof *j);
    if (j == NULL || (j->path = strdup(o->path)) == NULL) abort();
    j->fd = j->out_fd = -1;
    j->interval_ns = o->sync_interval_ns != 0 ? o->sync_interval_ns : (uint64_t)JOURNAL_SYNC_MS * NS_PER_MS;
    thea_rc rc = lock(j, err);
    if (rc == THEA_OK) rc = journal_recover(j, o, err);
    if (rc == THEA_OK) rc = journal_open_output(j, err);
    if (rc == THEA_OK) rc = flush_directory(j->name, err);
    if (rc == THEA_OK) rc = flush_directory(j->path, err);
    if (rc == THEA_OK && !j->recovered) rc = journal_sync(j, err);
    j->synced_ns = status_now_ns();
    if (rc == THEA_OK)
        *out = j;
    else
        journal_close(j);
    return rc;
}

void journal_close(struct journal *j)
{
    if (j == NULL) return;
    if (j->out_fd >= 0) close(j->out_fd);
    if (j->fd >= 0) close(j->fd);
    ranges_fini(&j->streams);
    ranges_fini(&j->asides);
    free(j->name);
    free(j->path);
    free(j);
}

const struct journal_found *journal_found(const struct journal *j)
{
    return &j->found;
}

const struct ranges *journal_asides(const struct journal *j)
{
    return &j->asides;
}

const struct ranges *journal_streams(const struct journal *j)
{
    return &j->streams;
}

unsigned journal_file(const struct journal *j)
{
    return j->file;
}

uint64_t journal_tail(const struct journal *j)
{
    return j->tail;
}

const char *journal_output(const struct journal *j)
{
    return j->name;
}

int journal_output_fd(const struct journal *j)
{
    return j->out_fd;
}

/* --- writing --- */

/* What could not be written whole, goes: both files end where they did. (Should that fail, too, recovery does
 * it.) */
static void take_back(const struct journal *j)
{
    (void)!ftruncate(j->out_fd, (off_t)j->tail);
    (void)!ftruncate(j->fd, (off_t)j->at);
}

/* half: a fault point in the middle. */
static thea_rc put_at(int fd, uint64_t at, const char *from, size_t n, const char *half)
{
    for (size_t first = fault_armed ? n / 2 : 0; n > 0;) {
        ssize_t put = pwrite(fd, from, first > 0 ? first : n, (off_t)at);
        if (first > 0) thea_fault(half);
        first = 0;
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return THEA_EIO;
        from += put;
        at += (uint64_t)put;
        n -= (size_t)put;
    }
    return THEA_OK;
}

/* One write() for the whole line: the commit point of what it says. */
thea_rc journal_append(struct journal *j, struct json_node *json, struct thea_err *err)
{
    struct buf line = {0};
    journal_line_add(&line, json);
    thea_rc rc = put_at(j->fd, j->at, line.data, line.len, "sink.half_line");
    if (rc != THEA_OK) {
        journal_fail("write", j->path, err);
        take_back(j);
    } else {
        j->at += line.len;
        j->unsynced = true;
        j->found.done = false;
    }
    buf_fini(&line);
    return rc;
}

static struct json_node *stream_line(journal_kind kind, uint64_t stream)
{
    struct json_node *line = journal_line_new(kind);
    json_put(line, "stream", json_new_int((int64_t)stream));
    return line;
}

static struct json_node *commit_line(const struct journal *j, uint64_t stream, uint32_t attempt, uint64_t len,
                                     uint32_t crc)
{
    struct json_node *line = stream_line(JOURNAL_COMMIT, stream);
    json_put(line, "attempt", json_new_int(attempt));
    json_put(line, "file", json_new_int(j->file));
    json_put(line, "off", json_new_int((int64_t)j->tail));
    json_put(line, "len", json_new_int((int64_t)len));
    json_put(line, "crc", json_new_int(crc));
    return line;
}

thea_rc journal_commit(struct journal *j, uint64_t stream, uint32_t attempt, const struct iovec *parts,
                       size_t count, struct thea_err *err)
{
    uint64_t len = 0;
    uint32_t crc = 0;
    assert(!ranges_has(&j->streams, stream));
    thea_fault("sink.bytes");
    for (size_t i = 0; i < count; i++) {
        if (put_at(j->out_fd, j->tail + len, parts[i].iov_base, parts[i].iov_len, "sink.half_bytes") !=
            THEA_OK) {
            thea_rc rc = journal_fail("write", j->name, err);
            take_back(j);
            return rc;
        }
        crc = crc32c(crc, parts[i].iov_base, parts[i].iov_len);
        len += parts[i].iov_len;
    }
    thea_fault("sink.line");
    thea_rc rc = journal_append(j, commit_line(j, stream, attempt, len, crc), err);
    if (rc != THEA_OK) return rc;
    thea_fault("sink.committed");
    j->tail += len;
    j->unsynced_bytes += len;
    ranges_add(&j->streams, stream, stream);
    return THEA_OK;
}

thea_rc journal_aside(struct journal *j, uint64_t stream, uint32_t tries, const char *reason,
                      struct thea_err *err)
{
    struct json_node *line = stream_line(JOURNAL_ASIDE, stream);
    json_put(line, "tries", json_new_int(tries));
    json_put(line, "reason", json_new_string(reason));
    thea_rc rc = journal_append(j, line, err);
    if (rc != THEA_OK) return rc;
    ranges_add(&j->streams, stream, stream);
    ranges_add(&j->asides, stream, stream);
    return THEA_OK;
}

thea_rc journal_cancel(struct journal *j, uint64_t stream, struct thea_err *err)
{
    thea_rc rc = journal_append(j, stream_line(JOURNAL_CANCEL, stream), err);
    if (rc == THEA_OK) ranges_add(&j->streams, stream, stream);
    return rc;
}

/* --- to the disk --- */

thea_rc journal_sync(struct journal *j, struct thea_err *err)
{
    if (!j->unsynced) return THEA_OK;
    thea_fault("sink.sync");
    thea_rc rc = journal_flush(j->out_fd, j->name, err);
    thea_fault("sink.half_sync");
    if (rc == THEA_OK) rc = journal_flush(j->fd, j->path, err);
    if (rc != THEA_OK) return rc;
    thea_fault("sink.sync_line");
    struct json_node *line = journal_line_new(JOURNAL_SYNC);
    json_put(line, "file", json_new_int(j->file));
    json_put(line, "size", json_new_int((int64_t)j->tail));
    rc = journal_append(j, line, err);
    if (rc != THEA_OK) return rc;
    j->unsynced = false;
    j->unsynced_bytes = 0;
    j->synced_ns = status_now_ns();
    return THEA_OK;
}

thea_rc journal_tick(struct journal *j, struct thea_err *err)
{
    if (!j->unsynced || j->interval_ns == UINT64_MAX) return THEA_OK;
    if (j->unsynced_bytes < JOURNAL_SYNC_BYTES && status_now_ns() - j->synced_ns < j->interval_ns)
        return THEA_OK;
    return journal_sync(j, err);
}

/* The line is on the disk before the file is made: no file is there that the journal does not know. */
thea_rc journal_rotate(struct journal *j, const char *name, struct thea_err *err)
{
    struct json_node *line = journal_line_new(JOURNAL_ROTATE);
    json_put(line, "file", json_new_int(j->file + 1));
    json_put(line, "name", json_new_string(name));
    thea_rc rc = journal_sync(j, err);
    if (rc == THEA_OK)
        rc = journal_append(j, line, err);
    else
        json_free(line);
    if (rc == THEA_OK) rc = journal_flush(j->fd, j->path, err);
    if (rc != THEA_OK) return rc;
    thea_fault("sink.rotate");
    close(j->out_fd);
    free(j->name);
    j->out_fd = -1;
    j->name = strdup(name);
    if (j->name == NULL) abort();
    j->file++;
    j->tail = 0;
    rc = journal_open_output(j, err);
    if (rc == THEA_OK) rc = flush_directory(j->name, err);
    return rc == THEA_OK ? journal_sync(j, err) : rc; /* from now on the file before may be taken away */
}

thea_rc journal_done(struct journal *j, struct thea_err *err)
{
    if (j->found.done) return THEA_OK;
    thea_rc rc = journal_sync(j, err);
    thea_fault("sink.done");
    if (rc == THEA_OK) rc = journal_append(j, journal_line_new(JOURNAL_DONE), err);
    if (rc == THEA_OK) rc = journal_flush(j->fd, j->path, err);
    if (rc != THEA_OK) return rc;
    j->unsynced = false;
    j->found.done = true;
    return THEA_OK;
}
