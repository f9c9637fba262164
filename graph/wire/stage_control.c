/* What a supervisor says to this process: docs/architecture.md, "Control".
 *
 * Invariant: hearing changes nothing that a running op could see but stage_total, stage_unfinished,
 * stage_committed and stage_draining; the loop obeys between two ops. */
#include "graph/wire/stage_core.h"
#include "graph/wire/stage_tap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEAR_EVERY_NS = 1000000 };

thea_rc stage_control_open(struct stage *st, struct thea_err *err)
{
    struct stage_control *c = &st->control;
    st->epoch = c->epoch = st->command.epoch;
    if (st->command.control_fd < 0) return THEA_OK;
    thea_rc rc = channel_adopt(&c->channel, st->command.control_fd, err);
    return rc == THEA_OK ? rc : thea_fail_prefix(err, "--control");
}

void stage_control_close(struct stage *st)
{
    struct stage_control *c = &st->control;
    stage_taps_free(st);
    channel_free(c->channel);
    ranges_fini(&c->committed);
    ranges_fini(&c->owed);
    ranges_fini(&c->aside);
    free(c->totals);
    for (size_t i = 0; i < c->order_count; i++) json_free(c->orders[i]);
    free(c->orders);
    *c = (struct stage_control){0};
}

/* --- reading a message --- */

static thea_rc take_number(uint64_t *out, const struct json_node *m, const char *key, struct thea_err *err)
{
    const struct json_node *n = json_member(m, key);
    if (json_kind(n) != JSON_INT_ || json_int(n) < 0)
        return thea_fail(err, THEA_EFRAME, "the supervisor says '%s' without a number '%s'",
                         json_text_or(m, "do", "?"), key);
    *out = (uint64_t)json_int(n);
    return THEA_OK;
}

static thea_rc obey_epoch(struct stage *st, const struct json_node *m, struct thea_err *err)
{
    uint64_t epoch = 0;
    thea_rc rc = take_number(&epoch, m, "epoch", err);
    if (rc == THEA_OK) stage_epoch_heard(st, epoch);
    return rc;
}

static thea_rc obey_commit(struct stage *st, const struct json_node *m, struct thea_err *err)
{
    if (ranges_read(&st->control.committed, json_member(m, "streams"), err) != THEA_OK) {
        thea_fail_prefix(err, "the supervisor says 'commit'");
        return err != NULL ? err->rc = THEA_EFRAME : THEA_EFRAME;
    }
    stage_replay_committed(st);
    return THEA_OK;
}

static thea_rc obey_retry(struct stage *st, const struct json_node *m, struct thea_err *err)
{
    uint64_t stream = 0, attempt = 0;
    thea_rc rc = take_number(&stream, m, "stream", err);
    if (rc == THEA_OK) rc = take_number(&attempt, m, "attempt", err);
    if (rc == THEA_OK) stage_replay_retry(st, stream, (uint32_t)attempt);
    return rc;
}

static thea_rc obey_aside(struct stage *st, const struct json_node *m, struct thea_err *err)
{
    uint64_t stream = 0, attempt = 0;
    thea_rc rc = take_number(&stream, m, "stream", err);
    if (rc == THEA_OK) rc = take_number(&attempt, m, "attempt", err);
    if (rc == THEA_OK)
        stage_replay_aside(st, stream, (uint32_t)attempt, json_int_or(m, "tries", 0),
                           json_bool_or(m, "unread", false), json_text_or(m, "reason", "it was given up"));
    return rc;
}

static thea_rc obey_only(struct stage *st, const struct json_node *m, struct thea_err *err)
{
    return take_number(&st->replay.only, m, "stream", err);
}

static thea_rc obey_total(struct stage *st, const struct json_node *m, struct thea_err *err)
{
    struct stage_control *c = &st->control;
    uint64_t source = 0, streams = 0;
    thea_rc rc = take_number(&source, m, "source", err);
    if (rc == THEA_OK) rc = take_number(&streams, m, "streams", err);
    if (rc != THEA_OK) return rc;
    c->totals = reallocarray(c->totals, c->total_count + 1, sizeof *c->totals);
    if (c->totals == NULL) abort();
    c->totals[c->total_count++] = (struct stage_known_total){(unsigned)source, streams};
    c->news = true;
    return THEA_OK;
}

static thea_rc obey_plain(struct stage *st, const struct json_node *m, struct thea_err *err)
{
    const char *word = json_text_or(m, "do", "");
    struct stage_control *c = &st->control;
    (void)err;
    if (strcmp(word, "all") == 0) st->replay.only = STAGE_NONE;
    if (strcmp(word, "pause") == 0) st->replay.paused = true;
    if (strcmp(word, "go") == 0) st->replay.paused = false;
    if (strcmp(word, "drain") == 0) c->draining = c->news = true;
    if (strcmp(word, "finish") == 0) c->finishing = true;
    return THEA_OK;
}

/* About links: the loop does that. */
static thea_rc obey_later(struct stage *st, const struct json_node *m, struct thea_err *err)
{
    struct stage_control *c = &st->control;
    (void)err;
    c->orders = reallocarray(c->orders, c->order_count + 1, sizeof *c->orders);
    if (c->orders == NULL) abort();
    c->orders[c->order_count++] = json_copy_node(m);
    return THEA_OK;
}

static const struct {
    const char *word;
    thea_rc (*obey)(struct stage *st, const struct json_node *m, struct thea_err *err);
} words[] = {{"epoch", obey_epoch},   {"commit", obey_commit},   {"retry", obey_retry},
             {"aside", obey_aside},   {"only", obey_only},       {"all", obey_plain},
             {"pause", obey_plain},   {"go", obey_plain},        {"drain", obey_plain},
             {"total", obey_total},   {"link_add", obey_later},  {"link_drop", obey_later},
             {"tap", stage_tap_obey}, {"untap", stage_tap_obey}, {"finish", obey_plain}};

static thea_rc obey(struct stage *st, const struct json_node *m, struct thea_err *err)
{
    const char *word = json_text_or(m, "do", "");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, word) == 0) return words[i].obey(st, m, err);
    return thea_fail(err, THEA_EFRAME, "the supervisor says '%s', which no stage knows", word);
}

thea_rc stage_control_hear(struct stage *st, bool now, struct thea_err *err)
{
    struct stage_control *c = &st->control;
    if (!stage_supervised(st)) return THEA_OK;
    uint64_t now_ns = status_now_ns();
    if (!now && now_ns - c->heard_ns < HEAR_EVERY_NS) return THEA_OK;
    c->heard_ns = now_ns;
    channel_flush(c->channel);
    for (;;) {
        struct json_node *m = NULL;
        thea_rc rc = channel_receive(c->channel, &m, err);
        if (rc == THEA_AGAIN) return THEA_OK;
        if (rc == THEA_DONE) return thea_fail(err, THEA_ECLOSED, "the supervisor is gone");
        if (rc == THEA_OK) rc = obey(st, m, err);
        json_free(m);
        if (rc != THEA_OK) return rc;
    }
}

/* --- what a kind may ask --- */

const char *stage_run_dir(const struct stage *st)
{
    return st->command.run_dir;
}

bool stage_committed(const struct stage *st, uint64_t stream)
{
    return ranges_has(&st->control.committed, stream);
}

uint64_t stage_total(const struct stage *st, unsigned source)
{
    uint64_t streams = UINT64_MAX; /* a later word about a source replaces the one before */
    for (size_t i = 0; i < st->control.total_count; i++)
        if (st->control.totals[i].source == source) streams = st->control.totals[i].streams;
    return streams;
}

bool stage_unfinished(const struct stage *st)
{
    return st->control.draining;
}

bool stage_draining(const struct stage *st)
{
    return st->control.draining || (st->draining != NULL && *st->draining != 0);
}
