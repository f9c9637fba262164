/* Open streams: found by id, with their attributes. Invariant: the kind's drop() runs exactly once for every
 * stream whose state exists. */
#include "graph/wire/stage_core.h"

#include <stdlib.h>
#include <string.h>

static struct stage_stream **bucket_of(struct stage *st, uint64_t id)
{
    return &st->buckets[(id * UINT64_C(0x9E3779B97F4A7C15)) >> 56];
}

struct stage_stream *stage_stream_find(struct stage *st, uint64_t id)
{
    struct stage_stream *s = *bucket_of(st, id);
    while (s != NULL && s->id != id) s = s->next;
    return s;
}

struct stage_stream *stage_stream_new(struct stage *st, uint64_t id)
{
    struct stage_stream *s = calloc(1, sizeof *s), **bucket = bucket_of(st, id);
    if (s == NULL) abort();
    s->state = calloc(1, st->ops->stream_size + 1);
    if (s->state == NULL) abort();
    s->stage = st;
    s->id = id;
    s->next = *bucket;
    *bucket = s;
    st->open_streams++;
    return s;
}

static void drop_state(struct stage *st, struct stage_stream *s)
{
    if (s->state == NULL) return;
    stage_gather_remove(st, s);
    if (st->ops->drop != NULL) st->ops->drop(st, s);
    free(s->state);
    s->state = NULL;
    for (size_t i = 0; i < s->attr_count; i++) {
        free(s->attrs[i].key);
        free(s->attrs[i].text);
    }
    free(s->attrs);
    s->attrs = NULL;
    s->attr_count = 0;
    stage_carry_free(s);
    st->open_streams--;
    if (st->source_stream == s) st->source_stream = NULL;
}

static void free_stream(struct stage *st, struct stage_stream *s)
{
    drop_state(st, s);
    if (st->closing == s) st->closing = NULL;
    if (st->current.stream == s) st->current.stream = NULL;
    free(s);
}

void stage_stream_forget(struct stage *st, struct stage_stream *s)
{
    struct stage_stream **at = bucket_of(st, s->id);
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    free_stream(st, s);
}

void stage_stream_retire(struct stage *st, struct stage_stream *s)
{
    stage_gather_remove(st, s);
    s->phase = STREAM_OVER;
    if (stage_stream_complete(st, s))
        stage_stream_forget(st, s);
    else
        drop_state(st, s);
}

void stage_streams_drop(struct stage *st)
{
    for (size_t i = 0; i < STAGE_BUCKETS; i++)
        for (struct stage_stream *s; (s = st->buckets[i]) != NULL;) {
            st->buckets[i] = s->next;
            free_stream(st, s);
        }
}

bool stage_stream_complete(const struct stage *st, const struct stage_stream *s)
{
    return stage_inputs_complete(st, s->ended);
}

bool stage_inputs_complete(const struct stage *st, uint32_t ended_ports)
{
    bool one_of = false, one_of_ended = false;
    for (int i = 0; i < st->in_count; i++) {
        unsigned flags = st->in[i].port->flags;
        bool ended = (ended_ports >> i & 1) != 0;
        if (!st->in[i].connected || (flags & STAGE_FEEDBACK) != 0) continue;
        if ((flags & STAGE_ONE_OF) != 0) {
            one_of = true;
            one_of_ended = one_of_ended || ended;
        } else if (!ended)
            return false;
    }
    return !one_of || one_of_ended;
}

uint32_t stage_connected_outs(const struct stage *st)
{
    uint32_t outs = 0;
    for (int i = 0; i < st->out_count; i++) outs |= (uint32_t)st->out[i].connected << i;
    return outs;
}

/* --- attributes --- */

static struct stage_attr *find_attr(const struct stage_stream *s, const char *key)
{
    for (size_t i = 0; i < s->attr_count; i++)
        if (strcmp(s->attrs[i].key, key) == 0) return &s->attrs[i];
    return NULL;
}

static bool same_value(const struct stage_attr *mine, const struct attr *a)
{
    if (mine->type != a->type) return false;
    if (a->type == ATTR_TEXT) return strcmp(mine->text, a->text) == 0;
    return a->type == ATTR_INT ? mine->integer == a->integer : mine->number == a->number;
}

thea_rc stage_stream_set(struct stage *st, struct stage_stream *s, const struct attr *a, struct thea_err *err)
{
    struct stage_attr *mine = find_attr(s, a->key);
    if (mine != NULL && same_value(mine, a)) return THEA_OK;
    if (mine == NULL && s->attr_count == FRAME_ATTRS_MAX)
        return thea_fail(err, THEA_EDOC, "the stream has more than %d attributes ('%s' is one too many)",
                         FRAME_ATTRS_MAX, a->key);
    if (mine == NULL) {
        s->attrs = realloc(s->attrs, (s->attr_count + 1) * sizeof *s->attrs);
        if (s->attrs == NULL) abort();
        mine = &s->attrs[s->attr_count++];
        *mine = (struct stage_attr){.key = strdup(a->key)};
        if (mine->key == NULL) abort();
    }
    free(mine->text);
    mine->text = NULL;
    mine->type = a->type;
    mine->owed = stage_connected_outs(st);
    if (a->type == ATTR_INT) mine->integer = a->integer;
    if (a->type == ATTR_FLOAT) mine->number = a->number;
    if (a->type == ATTR_TEXT && (mine->text = strdup(a->text)) == NULL) abort();
    return THEA_OK;
}

thea_rc stage_stream_merge(struct stage *st, struct stage_stream *s, const struct frame *in,
                           struct thea_err *err)
{
    for (size_t i = 0; i < in->attr_count; i++) {
        thea_rc rc = stage_stream_set(st, s, &in->attrs[i], err);
        if (rc != THEA_OK) return rc;
    }
    return THEA_OK;
}

const char *stage_stream_text(const struct stage_stream *s, const char *key, const char *fallback)
{
    const struct stage_attr *a = find_attr(s, key);
    return a != NULL && a->type == ATTR_TEXT ? a->text : fallback;
}

int64_t stage_stream_int(const struct stage_stream *s, const char *key, int64_t fallback)
{
    const struct stage_attr *a = find_attr(s, key);
    return a != NULL && a->type == ATTR_INT ? a->integer : fallback;
}

/* An op sets too many only by a mistake of its program. */
static void put_attr(struct stage *st, struct stage_stream *s, const struct attr *a)
{
    struct thea_err err = {0};
    thea_rc rc = stage_stream_set(st, s, a, &err);
    if (rc != THEA_OK) thea_warning("%s", thea_err_message(&err));
}

void stage_put_text(struct stage *st, struct stage_stream *s, const char *key, const char *text)
{
    put_attr(st, s, &(struct attr){.key = key, .type = ATTR_TEXT, .text = text});
}

void stage_put_int(struct stage *st, struct stage_stream *s, const char *key, int64_t value)
{
    put_attr(st, s, &(struct attr){.key = key, .type = ATTR_INT, .integer = value});
}

void stage_put_number(struct stage *st, struct stage_stream *s, const char *key, double value)
{
    put_attr(st, s, &(struct attr){.key = key, .type = ATTR_FLOAT, .number = value});
}

/* --- what ops do with streams --- */

void *stage_stream_state(struct stage_stream *s)
{
    return s->state;
}

uint64_t stage_stream_id(const struct stage_stream *s)
{
    return s->id;
}

bool stage_held(const struct stage_stream *s)
{
    return s->phase == STREAM_HELD;
}
