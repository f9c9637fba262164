/* What comes once and cannot be read again goes into a spool first: see load_impl.h and spool.h. A spool is
 * trimmed when its documents are committed and sinks have had the time to sync their journals. */
#include "stages/support/load_impl.h"

#include "graph/status.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* Sinks sync once a second; so much later what was committed is on disk. */
#define TRIM_AFTER_NS UINT64_C(10000000000)
#define TRIM_EVERY_NS UINT64_C(500000000)

static thea_rc open_feed(struct stage *st, struct load *l, struct feed *f, size_t item, struct thea_err *err)
{
    bool net = f == &l->net;
    f->item = item;
    f->open = true;
    pthread_mutex_init(&f->lock, NULL);
    char name[256];
    snprintf(name, sizeof name, net ? "%s.listen" : "%s", stage_name(st));
    return spool_open(&f->spool, stage_run_dir(st), name, (uint64_t)l->spool_bytes, net, err);
}

/* By hand standard input is read as it comes, unless other things come, too. */
thea_rc load_feed_open(struct stage *st, struct load *l, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    for (size_t i = 0; rc == THEA_OK && i < l->manifest.item_count; i++) {
        manifest_kind kind = l->manifest.items[i].kind;
        if (kind == ITEM_STDIN && (stage_run_dir(st) != NULL || load_is_live(l)))
            rc = open_feed(st, l, &l->in, i, err);
        if (kind == ITEM_LISTEN) rc = open_feed(st, l, &l->net, i, err);
    }
    return rc;
}

static void close_feed(struct feed *f)
{
    if (!f->open) return;
    spool_fini(&f->spool);
    pthread_mutex_destroy(&f->lock);
    f->open = false;
}

void load_feed_close(struct load *l)
{
    close_feed(&l->in);
    close_feed(&l->net);
}

struct feed *load_feed_of(struct load *l, size_t item)
{
    if (l->in.open && l->in.item == item) return &l->in;
    return l->net.open && l->net.item == item ? &l->net : NULL;
}

ssize_t load_feed_read(void *feed, void *to, size_t room, uint64_t offset)
{
    struct feed *f = feed;
    pthread_mutex_lock(&f->lock);
    ssize_t n = spool_read(&f->spool, to, room, offset);
    pthread_mutex_unlock(&f->lock);
    return n;
}

bool load_feed_ended(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    bool ended = f->spool.ended;
    pthread_mutex_unlock(&f->lock);
    return ended;
}

bool load_feed_full(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    bool full = spool_is_full(&f->spool);
    pthread_mutex_unlock(&f->lock);
    return full;
}

uint64_t load_feed_end(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    uint64_t end = f->spool.end;
    pthread_mutex_unlock(&f->lock);
    return end;
}

bool load_must_wait(struct load *l, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 0) > 0) return false;
    if (l->wait_count < LOAD_WAITS_MAX) l->waits[l->wait_count++] = fd;
    return true;
}

thea_rc load_feed_stdin(struct load *l, struct thea_err *err)
{
    if (l->in.spool.ended || load_must_wait(l, STDIN_FILENO)) return THEA_AGAIN;
    thea_rc rc = spool_take(&l->in.spool, STDIN_FILENO, err);
    return rc == THEA_DONE ? THEA_OK : rc;
}

static thea_rc sync_feed(struct feed *f, struct thea_err *err)
{
    if (!f->open) return THEA_OK;
    pthread_mutex_lock(&f->lock);
    thea_rc rc = spool_sync(&f->spool, err);
    pthread_mutex_unlock(&f->lock);
    return rc;
}

thea_rc load_feed_sync(struct load *l, struct thea_err *err)
{
    thea_rc rc = sync_feed(&l->in, err);
    return rc == THEA_OK ? sync_feed(&l->net, err) : rc;
}

/* --- trimming --- */

/* Where the first of the feed's records that is numbered `from` or later begins. */
static uint64_t offset_of(const struct load *l, const struct feed *f, uint64_t from)
{
    const struct manifest *m = &l->manifest;
    size_t i = m->span_count;
    while (i > 0 && m->spans[i - 1].first + m->spans[i - 1].count > from) i--;
    for (; i < m->span_count; i++)
        if (m->spans[i].item == f->item) return m->spans[i].offset;
    return m->items[f->item].reached;
}

/* Called with the feed's lock. */
static void trim(struct load *l, struct feed *f, uint64_t now_ns)
{
    if (f->spool.count < 2) return;
    if (f->trim_at > 0 && now_ns >= f->trim_ns) {
        spool_trim(&f->spool, f->trim_at);
        f->trim_at = 0;
    }
    if (f->trim_at > 0) return;
    uint64_t safe = offset_of(l, f, l->safe);
    if (safe < f->spool.segments[0].begin + f->spool.segments[0].size) return;
    f->trim_at = safe;
    f->trim_ns = l->manifest.fd >= 0 ? now_ns + TRIM_AFTER_NS : now_ns;
}

static void trim_feed(struct load *l, struct feed *f, uint64_t now_ns)
{
    if (!f->open) return;
    pthread_mutex_lock(&f->lock);
    trim(l, f, now_ns);
    pthread_mutex_unlock(&f->lock);
}

void load_feed_trim(struct stage *st, struct load *l)
{
    uint64_t now_ns = status_now_ns();
    if (l->id_base == UINT64_MAX || now_ns < l->trim_next_ns || (!l->in.open && !l->net.open)) return;
    l->trim_next_ns = now_ns + TRIM_EVERY_NS;
    if (l->manifest.fd < 0) l->safe = l->next; /* by hand nothing is sent again */
    while (l->safe < l->manifest.streams && stage_committed(st, l->id_base + l->safe)) l->safe++;
    manifest_settle(&l->manifest, l->safe);
    trim_feed(l, &l->in, now_ns);
    trim_feed(l, &l->net, now_ns);
}
