/* What a supervisor is told by this process: docs/architecture.md, "Control". */
#include "graph/wire/stage_core.h"

enum { RANGES_PER_MESSAGE = 8192 /* well below the longest line */, TELL_EVERY_NS = 1000000 };

static void tell(struct stage *st, struct json_node *m)
{
    struct stage_control *c = &st->control;
    struct thea_err err;
    if (channel_send(c->channel, m, &err) == THEA_OK || c->backlog_told) return;
    c->backlog_told = true;
    thea_warning("the supervisor is not told any more: %s", thea_err_message(&err));
}

static struct json_node *message(const char *did)
{
    struct json_node *m = json_new_map();
    json_put(m, "did", json_new_string(did));
    return m;
}

static struct json_node *stream_message(const char *did, uint64_t stream)
{
    struct json_node *m = message(did);
    json_put(m, "stream", json_new_int((int64_t)stream));
    return m;
}

void stage_tell_ready(struct stage *st)
{
    if (!stage_supervised(st)) return;
    struct json_node *m = message("ready");
    if (st->control.final) json_put(m, "final", json_new_bool(true));
    stage_tell_commits(st); /* what the journal holds is known by then */
    tell(st, m);
}

void stage_final(struct stage *st)
{
    st->control.final = true;
}

void stage_commit(struct stage *st, uint64_t stream)
{
    struct stage_control *c = &st->control;
    if (!stage_supervised(st) || ranges_has(&c->committed, stream)) return;
    ranges_add(&c->committed, stream, stream);
    atomic_fetch_add_explicit(&st->page->documents, 1, memory_order_relaxed);
    if (!ranges_has(&c->aside, stream)) {
        ranges_add(&c->owed, stream, stream);
        return;
    }
    atomic_fetch_add_explicit(&st->page->failed, 1, memory_order_relaxed);
    tell(st, stream_message("aside", stream));
}

void stage_commit_aside(struct stage *st, uint64_t stream)
{
    ranges_add(&st->control.aside, stream, stream);
    stage_commit(st, stream);
}

void stage_tell_commits(struct stage *st)
{
    struct ranges *owed = &st->control.owed;
    for (size_t i = 0; i < owed->count; i += RANGES_PER_MESSAGE) {
        size_t left = owed->count - i;
        struct ranges part = {.items = owed->items + i,
                              .count = left < RANGES_PER_MESSAGE ? left : RANGES_PER_MESSAGE};
        struct json_node *m = message("commit");
        json_put(m, "streams", ranges_print(&part));
        tell(st, m);
    }
    ranges_clear(owed);
}

void stage_tell_commits_now_and_then(struct stage *st)
{
    struct stage_control *c = &st->control;
    if (c->owed.count == 0) return;
    uint64_t now_ns = status_now_ns();
    if (now_ns - c->told_ns < TELL_EVERY_NS) return;
    c->told_ns = now_ns;
    stage_tell_commits(st);
}

void stage_tell_held(struct stage *st, uint64_t stream)
{
    if (!stage_supervised(st)) return;
    struct json_node *m = stream_message("held", stream);
    json_put(m, "epoch", json_new_int((int64_t)st->epoch));
    tell(st, m);
}

void stage_tell_failed(struct stage *st, const struct stage_stream *s)
{
    struct json_node *m = stream_message("failed", s->id);
    json_put(m, "attempt", json_new_int(s->attempt));
    json_put(m, "epoch", json_new_int((int64_t)st->epoch));
    json_put(m, "stage", json_new_string(stage_stream_text(s, "failed_in", st->name)));
    json_put(m, "reason", json_new_string(stage_stream_text(s, "error", "it failed in an earlier stage")));
    json_put(m, "id", json_new_string(stage_stream_text(s, "id", NULL)));
    tell(st, m);
}

void stage_tell_total(struct stage *st, uint64_t streams)
{
    struct json_node *m = message("total");
    json_put(m, "streams", json_new_int((int64_t)streams));
    tell(st, m);
}

void stage_tell_done(struct stage *st)
{
    if (!stage_supervised(st)) return;
    struct json_node *m = message(st->ops->outputs == NULL ? "done" : "passed");
    json_put(m, "epoch", json_new_int((int64_t)st->epoch));
    stage_tell_commits(st);
    tell(st, m);
}

void stage_tell_enough(struct stage *st)
{
    if (!stage_supervised(st) || st->ops->outputs != NULL || st->control.enough_told) return;
    st->control.enough_told = true;
    stage_tell_commits(st);
    tell(st, message("enough"));
}

void stage_tell_link(struct stage *st, const char *did, const char *address)
{
    struct json_node *m = message(did);
    json_put(m, "address", json_new_string(address));
    tell(st, m);
}

void stage_tell_link_down(struct stage *st, uint32_t number)
{
    if (!stage_supervised(st)) return;
    struct json_node *m = message("link_down");
    json_put(m, "link", json_new_int(number));
    tell(st, m);
}
