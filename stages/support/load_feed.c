/* What comes once and cannot be read again goes into a spool first: see load_impl.h and spool.h. Trimmed when
 * its documents are committed and a sink has had the time to sync its journal. */
#include "stages/support/load_impl.h"

#include "graph/status.h"

#include <poll.h>
#include <unistd.h>

/* Sinks sync once a second; so much later what was committed is on disk. */
#define TRIM_AFTER_NS UINT64_C(10000000000)

thea_rc load_feed_open(struct stage *st, struct load *l, struct thea_err *err)
{
    const char *dir = stage_run_dir(st);
    for (size_t i = 0; i < l->manifest.item_count; i++) {
        if (l->manifest.items[i].kind != ITEM_STDIN || dir == NULL) continue;
        l->in_item = i;
        return spool_open(&l->in, dir, stage_name(st), UINT64_MAX, false, err);
    }
    return THEA_OK;
}

void load_feed_close(struct load *l)
{
    spool_fini(&l->in);
}

struct spool *load_spool(struct load *l, size_t item)
{
    return l->manifest.items[item].kind == ITEM_STDIN && l->in.name != NULL ? &l->in : NULL;
}

thea_rc load_feed(struct load *l, size_t item, struct thea_err *err)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&p, 1, PIPE_WAIT_MS) <= 0) return THEA_AGAIN; /* a signal, too: it may ask us to end */
    thea_rc rc = spool_take(load_spool(l, item), STDIN_FILENO, err);
    return rc == THEA_DONE ? THEA_OK : rc;
}

/* --- trimming --- */

/* Where the first record of the spool that is numbered `from` or later begins. */
static uint64_t spool_offset(const struct load *l, size_t item, uint64_t from)
{
    const struct manifest *m = &l->manifest;
    size_t i = m->span_count;
    while (i > 0 && m->spans[i - 1].first + m->spans[i - 1].count > from) i--;
    for (; i < m->span_count; i++)
        if (m->spans[i].item == item) return m->spans[i].offset;
    return m->items[item].reached;
}

/* Of the spooled item's records, those before this byte are committed. */
static uint64_t safe_bytes(const struct stage *st, struct load *l, size_t item)
{
    while (l->safe < l->manifest.streams && stage_committed(st, l->id_base + l->safe)) l->safe++;
    return spool_offset(l, item, l->safe);
}

void load_trim(struct stage *st, struct load *l)
{
    if (l->in.count < 2 || l->id_base == UINT64_MAX) return;
    uint64_t now_ns = status_now_ns();
    if (l->trim_at > 0 && now_ns >= l->trim_ns) {
        spool_trim(&l->in, l->trim_at);
        l->trim_at = 0;
    }
    if (l->trim_at > 0) return;
    uint64_t safe = safe_bytes(st, l, l->in_item);
    if (safe < l->in.segments[0].begin + l->in.segments[0].size) return;
    l->trim_at = safe;
    l->trim_ns = now_ns + TRIM_AFTER_NS;
}
