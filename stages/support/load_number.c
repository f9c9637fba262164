/* Which documents there are, in order, ahead of their emission: see load_impl.h.
 *
 * A text file is read to its end before it gets a number, so that a document is either whole or left out by
 * name. Records are counted, some hundred ahead. What was decided is on disk before any of it is emitted; to
 * sync once for many, it looks further ahead the longer it runs. */
#include "graph/log.h"
#include "stages/support/load_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AHEAD_MAX = 64, RECORDS_MAX = 256, COUNT_BYTES = 4 << 20 };

/* --- leaving out --- */

void load_leave_out(struct stage *st, struct load *l, const char *name, const char *reason)
{
    stage_skipped(st, name, reason);
    if (l->expected > 0) stage_expect(st, (uint64_t)--l->expected);
}

void load_leave_out_line(struct stage *st, struct load *l, const struct records *r)
{
    char name[PATH_MAX + 32], limit[TEXT_READER_LIMIT], reason[64];
    snprintf(name, sizeof name, "%s:%llu", r->name, (unsigned long long)r->line);
    snprintf(reason, sizeof reason, "over %s", text_reader_limit(limit, r->max_bytes));
    load_leave_out(st, l, name, reason);
}

static void leave_out_item(struct stage *st, struct load *l, size_t item, const char *reason)
{
    load_leave_out(st, l, load_name(l, item), reason);
    manifest_leave_out(&l->manifest, item, reason);
}

/* --- a file that changed --- */

bool load_changed(struct load *l, size_t item, const struct stat *now)
{
    struct manifest_item *it = &l->manifest.items[item];
    int64_t mtime_ns = now->st_mtim.tv_sec * INT64_C(1000000000) + now->st_mtim.tv_nsec;
    bool noted = it->size >= 0, same = it->size == now->st_size && it->mtime_ns == mtime_ns;
    it->size = now->st_size;
    it->mtime_ns = mtime_ns;
    it->checked = it->checked && same;
    if (!noted || same) return it->changed;
    if (!it->changed)
        thea_warning("%s: changed since it was found: it is taken as it is now", load_name(l, item));
    return it->changed = true;
}

/* --- text --- */

/* Numbered, or left out. One that has vanished gets its number and fails under it, so that it is not lost
 * without a word. */
static void number_file(struct stage *st, struct load *l, size_t item)
{
    char reason[160];
    struct stat at;
    uint64_t bytes = 0;
    const char *path = l->manifest.items[item].path;
    if (stat(path, &at) == 0 && !S_ISREG(at.st_mode)) { /* a pipe: opened once, read as it comes */
        manifest_number(&l->manifest, item);
        return;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno == ENOENT) {
        manifest_number(&l->manifest, item);
        return;
    }
    bool good = fd >= 0 && fstat(fd, &at) == 0;
    if (!good) snprintf(reason, sizeof reason, "unreadable: %s", strerror(errno));
    if (good) load_changed(l, item, &at);
    good = good && text_reader_check(fd, (uint64_t)l->max_bytes, &bytes, reason, sizeof reason);
    if (fd >= 0) close(fd);
    if (good) manifest_number(&l->manifest, item);
    if (good)
        l->manifest.items[item].checked = bytes == (uint64_t)at.st_size; /* not so below /proc */
    else
        leave_out_item(st, l, item, reason);
}

/* --- records --- */

struct records load_records(const struct load *l, size_t item, int fd)
{
    return (struct records){.fd = fd,
                            .name = load_name(l, item),
                            .tokens_only = l->format == FORMAT_TOKENS,
                            .max_bytes = (uint64_t)l->max_bytes};
}

void load_number_close(struct load *l)
{
    if (l->counter.name != NULL && l->counter.fd >= 0) close(l->counter.fd);
    records_fini(&l->counter);
    l->counter = (struct records){0};
}

/* Go on where counting stopped; in a file that changed, behind as many records as were counted. */
static thea_rc open_counter(struct load *l, size_t item, struct thea_err *err)
{
    const struct manifest_item *it = &l->manifest.items[item];
    struct stat at;
    int fd = open(it->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &at) != 0) {
        int why = errno;
        if (fd >= 0) close(fd);
        return thea_fail(err, THEA_EDOC, "unreadable: %s", strerror(why));
    }
    l->counting = item;
    l->counter = load_records(l, item, fd);
    bool changed = load_changed(l, item, &at);
    if (!changed && it->reached > 0) {
        l->counter.offset = it->reached;
        l->counter.line = it->line;
        if (lseek(fd, (off_t)it->reached, SEEK_SET) >= 0) return THEA_OK;
        return thea_fail(err, THEA_EDOC, "unreadable: %s", strerror(errno));
    }
    thea_rc rc = THEA_OK;
    for (uint64_t i = 0; i < it->count && rc != THEA_DONE;) {
        rc = records_skip(&l->counter, err);
        i += rc == THEA_OK;
        if (rc == THEA_EIO) return rc;
    }
    return THEA_OK;
}

/* What comes once is kept in a spool, which never changes but for growing. */
static void open_spool_counter(struct load *l, size_t item, struct spool *spool)
{
    const struct manifest_item *it = &l->manifest.items[item];
    if (l->counter.name != NULL) return;
    l->counter = load_records(l, item, -1);
    l->counter.read_at = spool_read;
    l->counter.context = spool;
    l->counter.offset = it->reached;
    l->counter.line = it->line;
    l->counting = item;
}

/* Count some records more, and number them. */
static thea_rc count_records(struct stage *st, struct load *l, size_t item, struct thea_err *err)
{
    struct records *r = &l->counter;
    uint64_t count = 0, begin = r->offset;
    thea_rc rc = THEA_OK;
    while (count < RECORDS_MAX && r->offset - begin < COUNT_BYTES) {
        rc = records_skip(r, err);
        if (rc == THEA_EDOC)
            load_leave_out_line(st, l, r);
        else if (rc != THEA_OK)
            break;
        else
            count++;
    }
    if (r->offset > l->manifest.items[item].reached)
        manifest_number_records(&l->manifest, item, count, r->offset, r->line);
    if (rc == THEA_DONE) manifest_item_done(&l->manifest, item);
    if (rc == THEA_DONE || (rc == THEA_AGAIN && r->fd >= 0)) load_number_close(l);
    if (rc == THEA_AGAIN && r->offset > begin) rc = THEA_OK;
    return rc == THEA_DONE || rc == THEA_EDOC ? THEA_OK : rc;
}

static thea_rc number_records(struct stage *st, struct load *l, size_t item, struct thea_err *err)
{
    if (l->manifest.fd < 0) {
        manifest_number_open(&l->manifest, item);
        return THEA_OK;
    }
    thea_rc rc = l->counter.name != NULL ? THEA_OK : open_counter(l, item, err);
    if (rc == THEA_OK) return count_records(st, l, item, err);
    load_number_close(l);
    if (rc != THEA_EDOC) return rc;
    if (l->manifest.items[item].count > 0) /* its records fail one by one, those not counted are unknown */
        manifest_item_done(&l->manifest, item);
    else if (errno == ENOENT)
        manifest_number(&l->manifest, item);
    else
        leave_out_item(st, l, item, err->message);
    return THEA_OK;
}

static thea_rc number_spooled(struct stage *st, struct load *l, size_t item, struct spool *spool,
                              struct thea_err *err)
{
    open_spool_counter(l, item, spool);
    l->counter.growing = !spool->ended;
    thea_rc rc = count_records(st, l, item, err);
    if (rc != THEA_AGAIN) return rc;
    return load_feed(l, item, err);
}

void load_number_counted(struct load *l)
{
    const struct manifest_span *span = &l->manifest.spans[0];
    manifest_number_counted(&l->manifest, span->item, l->next - span->first);
}

static thea_rc number_stdin(struct stage *st, struct load *l, size_t item, struct thea_err *err)
{
    struct spool *spool = load_spool(l, item);
    bool records = l->format == FORMAT_JSONL || l->format == FORMAT_TOKENS;
    if (records && spool != NULL) return number_spooled(st, l, item, spool, err);
    if (records)
        manifest_number_open(&l->manifest, item);
    else
        manifest_number(&l->manifest, item);
    return THEA_OK;
}

/* --- in order --- */

static thea_rc number_item(struct stage *st, struct load *l, size_t item, struct thea_err *err)
{
    switch (l->manifest.items[item].kind) {
    case ITEM_FILE: number_file(st, l, item); return THEA_OK;
    case ITEM_RECORDS: return number_records(st, l, item, err);
    case ITEM_STDIN: return number_stdin(st, l, item, err);
    default: manifest_number(&l->manifest, item); return THEA_OK;
    }
}

thea_rc load_number(struct stage *st, struct load *l, struct thea_err *err)
{
    size_t most = l->manifest.fd >= 0 ? l->ahead : 1;
    thea_rc rc = THEA_OK;
    size_t begun = l->at;
    for (size_t n = 0; rc == THEA_OK && n < most; n++) {
        while (l->at < l->manifest.item_count && l->manifest.items[l->at].done) l->at++;
        if (l->at == l->manifest.item_count) break;
        rc = number_item(st, l, l->at, err);
    }
    if (rc != THEA_OK && rc != THEA_AGAIN) return rc;
    bool waits = rc == THEA_AGAIN && l->manifest.unwritten.len == 0;
    if (waits) return rc;
    if (l->at == l->manifest.item_count && l->at == begun) return THEA_DONE;
    if (l->ahead < AHEAD_MAX) l->ahead *= 2;
    rc = spool_sync(&l->in, err);
    return rc == THEA_OK ? manifest_sync(&l->manifest, err) : rc;
}
