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
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
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
    const char *path = load_path(l, item);
    if (stat(path, &at) == 0 && !S_ISREG(at.st_mode)) { /* a pipe: opened once, read as it comes */
        manifest_number(&l->manifest, item);
        return;
    }
    int fd = load_open_file(l, item);
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

/* A file that changed: behind as many records as were counted. */
static thea_rc skip_counted(struct load *l, uint64_t count, struct thea_err *err)
{
    while (count > 0) {
        thea_rc rc = records_skip(&l->counter, err);
        count -= rc == THEA_OK;
        if (rc == THEA_DONE) return THEA_OK;
        if (rc != THEA_OK && rc != THEA_EDOC) return rc;
    }
    return THEA_OK;
}

/* Go on where counting stopped. THEA_DONE: it is another file now, which has become another item. */
static thea_rc open_counter(struct load *l, size_t item, struct thea_err *err)
{
    struct stat at;
    int fd = load_open_file(l, item);
    if (fd < 0 || fstat(fd, &at) != 0) {
        int why = errno;
        if (fd >= 0) close(fd);
        return thea_fail(err, THEA_EDOC, "%s: %s", why == ENOENT ? "has vanished" : "unreadable",
                         strerror(why));
    }
    l->counting = item;
    l->counter = load_records(l, item, fd);
    l->counter.growing = l->follow;
    if (l->follow && load_follow_replaced(l, item, &at)) return THEA_DONE;
    const struct manifest_item *it = &l->manifest.items[item];
    if (!l->follow && load_changed(l, item, &at)) return skip_counted(l, it->count, err);
    l->counter.offset = it->reached;
    l->counter.line = it->line;
    if (lseek(fd, (off_t)it->reached, SEEK_SET) >= 0) return THEA_OK;
    return thea_fail(err, THEA_EDOC, "unreadable: %s", strerror(errno));
}

/* What comes once is kept in a spool, which never changes but for growing. */
static void open_feed_counter(struct load *l, size_t item, struct feed *feed)
{
    const struct manifest_item *it = &l->manifest.items[item];
    if (l->counter.name != NULL && l->counting == item) return;
    load_number_close(l);
    l->counting = item;
    l->counter = load_records(l, item, -1);
    l->counter.read_at = load_feed_read;
    l->counter.context = feed;
    l->counter.offset = it->reached;
    l->counter.line = it->line;
}

/* Count some records more, and number them. */
static thea_rc count_records(struct stage *st, struct load *l, size_t item, struct thea_err *err)
{
    struct records *r = &l->counter;
    uint64_t count = 0, begin = r->offset;
    r->whole = begin;
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
    bool further = r->whole > begin;
    if (further) manifest_number_records(&l->manifest, item, count, r->whole, r->line);
    if (rc == THEA_DONE) manifest_item_done(&l->manifest, item);
    if (rc == THEA_DONE || (rc == THEA_AGAIN && r->fd >= 0)) load_number_close(l);
    return rc == THEA_DONE || rc == THEA_EDOC || (rc == THEA_AGAIN && further) ? THEA_OK : rc;
}

/* A file of records cannot be opened. */
static void give_up_records(struct stage *st, struct load *l, size_t item, const char *reason)
{
    if (l->manifest.items[item].count > 0) /* its records fail one by one; those not counted nobody knows */
        manifest_item_done(&l->manifest, item);
    else if (strncmp(reason, "has vanished", strlen("has vanished")) == 0)
        manifest_number(&l->manifest, item);
    else
        leave_out_item(st, l, item, reason);
}

static thea_rc number_records(struct stage *st, struct load *l, size_t item, struct thea_err *err)
{
    if (l->manifest.fd < 0 && !l->follow) {
        manifest_number_open(&l->manifest, item);
        return THEA_OK;
    }
    bool open = l->counter.name != NULL && l->counting == item;
    if (!open) load_number_close(l);
    thea_rc rc = open ? THEA_OK : open_counter(l, item, err);
    if (rc == THEA_OK) return count_records(st, l, item, err);
    load_number_close(l);
    if (rc == THEA_EDOC && !l->manifest.items[item].done) give_up_records(st, l, item, err->message);
    return rc == THEA_EDOC || rc == THEA_DONE ? THEA_OK : rc;
}

static thea_rc number_fed(struct stage *st, struct load *l, size_t item, struct feed *feed,
                          struct thea_err *err)
{
    open_feed_counter(l, item, feed);
    l->counter.growing = !load_feed_ended(feed);
    thea_rc rc = count_records(st, l, item, err);
    if (rc != THEA_AGAIN || feed != &l->in) return rc;
    bool waiting = l->manifest.streams > l->next; /* documents that can leave do not wait for more */
    rc = load_feed_stdin(l, err);
    if (load_is_live(l) || waiting) l->wait_count = 0;
    return rc;
}

void load_number_counted(struct load *l)
{
    const struct manifest_span *span = &l->manifest.spans[0];
    manifest_number_counted(&l->manifest, span->item, l->next - span->first);
}

static thea_rc number_stdin(struct stage *st, struct load *l, size_t item, struct thea_err *err)
{
    struct feed *feed = load_feed_of(l, item);
    bool records = l->format == FORMAT_JSONL || l->format == FORMAT_TOKENS;
    if (records && feed != NULL) return number_fed(st, l, item, feed, err);
    if (records)
        manifest_number_open(&l->manifest, item);
    else
        manifest_number(&l->manifest, item);
    return THEA_OK;
}

static thea_rc number_item(struct stage *st, struct load *l, size_t item, struct thea_err *err)
{
    switch (l->manifest.items[item].kind) {
    case ITEM_FILE: number_file(st, l, item); return THEA_OK;
    case ITEM_RECORDS: return number_records(st, l, item, err);
    case ITEM_STDIN: return number_stdin(st, l, item, err);
    case ITEM_LISTEN: return number_fed(st, l, item, load_feed_of(l, item), err);
    default: manifest_number(&l->manifest, item); return THEA_OK;
    }
}

/* --- which item is next --- */

static bool is_growing(const struct load *l, size_t item)
{
    manifest_kind kind = l->manifest.items[item].kind;
    return load_is_live(l) && kind != ITEM_FILE && kind != ITEM_PROMPT && (kind != ITEM_RECORDS || l->follow);
}

static void add_growing(struct load *l, size_t item)
{
    l->growing = reallocarray(l->growing, l->growing_count + 1, sizeof *l->growing);
    if (l->growing == NULL) abort();
    l->growing[l->growing_count++] = (struct growing){.item = item, .fresh = true};
}

/* Of the items that grow, those with news take turns. */
static struct growing *next_growing(struct load *l)
{
    for (size_t i = 0; i < l->growing_count;) {
        if (l->manifest.items[l->growing[i].item].done)
            l->growing[i] = l->growing[--l->growing_count];
        else
            i++;
    }
    for (size_t i = 0; i < l->growing_count; i++) {
        struct growing *g = &l->growing[l->turn++ % l->growing_count];
        if (g->fresh) return g;
    }
    return NULL;
}

/* OK: an item is further; AGAIN: it waits; DONE: there is none. */
static thea_rc number_next(struct stage *st, struct load *l, struct thea_err *err)
{
    for (; l->at < l->manifest.item_count; l->at++) {
        if (l->manifest.items[l->at].done) continue;
        if (!is_growing(l, l->at)) return number_item(st, l, l->at, err);
        add_growing(l, l->at);
    }
    struct growing *g = next_growing(l);
    if (g == NULL) return THEA_DONE;
    thea_rc rc = number_item(st, l, g->item, err);
    if (rc == THEA_AGAIN) g->fresh = false;
    return rc == THEA_AGAIN ? THEA_OK : rc;
}

/* --- in order --- */

static void wake(struct load *l, const struct feed *f)
{
    for (size_t i = 0; f->open && i < l->growing_count; i++)
        if (l->growing[i].item == f->item) l->growing[i].fresh = true;
}

/* Has something happened to a live source? Else it is noted what it waits for. */
static thea_rc look_live(struct load *l, struct thea_err *err)
{
    bool in = l->in.open && !l->in.spool.ended, net = l->listener != NULL && !load_feed_full(&l->net);
    struct pollfd fds[] = {{.fd = l->follower != NULL ? follow_fd(l->follower) : -1, .events = POLLIN},
                           {.fd = in ? STDIN_FILENO : -1, .events = POLLIN},
                           {.fd = net ? listen_fd(l->listener) : -1, .events = POLLIN}};
    l->wait_count = 0;
    if (poll(fds, 3, 0) <= 0) {
        for (size_t i = 0; i < 3; i++)
            if (fds[i].fd >= 0) l->waits[l->wait_count++] = fds[i].fd;
        return THEA_AGAIN;
    }
    if (fds[1].revents != 0) wake(l, &l->in);
    if (fds[2].revents != 0) {
        listen_take(l->listener);
        wake(l, &l->net);
        if (l->listen_failed.rc != THEA_OK) {
            *err = l->listen_failed;
            return err->rc;
        }
    }
    thea_rc rc = fds[0].revents != 0 ? load_follow_take(l, err) : THEA_OK;
    return rc == THEA_OK ? THEA_AGAIN : rc;
}

thea_rc load_number(struct stage *st, struct load *l, struct thea_err *err)
{
    size_t most = l->manifest.fd >= 0 ? l->ahead : 1;
    uint64_t streams = l->manifest.streams;
    thea_rc rc = THEA_OK;
    for (size_t n = 0; rc == THEA_OK && n < most; n++) rc = number_next(st, l, err);
    if (rc != THEA_OK && rc != THEA_AGAIN && rc != THEA_DONE) return rc;
    if (l->ahead < AHEAD_MAX) l->ahead *= 2;
    thea_rc synced = load_feed_sync(l, err);
    if (synced == THEA_OK) synced = manifest_sync(&l->manifest, err);
    if (synced != THEA_OK) return synced;
    if (manifest_find(&l->manifest, streams) != NULL) return THEA_OK;
    if (rc == THEA_DONE && load_is_live(l)) return look_live(l, err);
    return rc == THEA_OK ? THEA_AGAIN : rc;
}
