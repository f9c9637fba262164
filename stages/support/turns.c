/* Order of results: see turns.h. */
#include "stages/support/turns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned source_of(uint64_t stream)
{
    return (unsigned)(stream >> TURNS_SOURCE_SHIFT);
}

static uint64_t index_of(uint64_t stream)
{
    return stream & ((UINT64_C(1) << TURNS_SOURCE_SHIFT) - 1);
}

static bool before(uint64_t a, uint64_t b)
{
    return index_of(a) != index_of(b) ? index_of(a) < index_of(b) : source_of(a) < source_of(b);
}

static struct turns_source *find_source(struct turns *t, unsigned number)
{
    for (size_t i = 0; i < t->source_count; i++)
        if (t->sources[i].number == number) return &t->sources[i];
    t->sources = reallocarray(t->sources, t->source_count + 1, sizeof *t->sources);
    if (t->sources == NULL) abort();
    t->sources[t->source_count] = (struct turns_source){number, UINT64_MAX};
    return &t->sources[t->source_count++];
}

void turns_source(struct turns *t, unsigned number, uint64_t total)
{
    find_source(t, number)->total = total;
}

thea_rc turns_take_sources(struct turns *t, const struct value_list *sources, struct thea_err *err)
{
    for (size_t i = 0; i < sources->count; i++) {
        struct value v;
        struct value_limits limits = {0, 65535, NULL};
        if (value_parse(&v, VALUE_INT, &limits, sources->items[i], err) != THEA_OK)
            return thea_fail_prefix(err, "--sources");
        turns_source(t, (unsigned)v.integer, UINT64_MAX);
    }
    return THEA_OK;
}

void turns_learn_totals(struct turns *t, const struct stage *st)
{
    for (size_t i = 0; i < t->source_count; i++) t->sources[i].total = stage_total(st, t->sources[i].number);
}

struct turn *turns_join(struct turns *t, const struct stage_stream *s, const struct frame *in)
{
    char fallback[40];
    uint64_t stream = stage_stream_id(s);
    struct turn *turn = calloc(1, sizeof *turn), **at = &t->first;
    snprintf(fallback, sizeof fallback, "stream-%llu", (unsigned long long)stream);
    if (turn == NULL || (turn->id = strdup(stage_stream_text(s, "id", fallback))) == NULL) abort();
    turn->stream = stream;
    turn->attempt = in != NULL ? in->attempt : 0;
    (void)find_source(t, source_of(stream));
    while (*at != NULL && (t->order != TURNS_INPUT || before((*at)->stream, stream))) at = &(*at)->next;
    turn->next = *at;
    *at = turn;
    return turn;
}

/* The first stream, by index and source, whose turn is not over. UINT64_MAX: none will come. */
static uint64_t expected(const struct turns *t)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < t->source_count; i++) {
        uint64_t base = (uint64_t)t->sources[i].number << TURNS_SOURCE_SHIFT;
        uint64_t stream = ranges_next_missing(&t->gone, base);
        if (stream - base < t->sources[i].total && (first == UINT64_MAX || before(stream, first)))
            first = stream;
    }
    return first;
}

struct turn *turns_next(const struct turns *t)
{
    struct turn *turn = t->first;
    if (t->order == TURNS_COMPLETION)
        while (turn != NULL && !turn->done) turn = turn->next;
    if (turn == NULL || t->order != TURNS_INPUT) return turn;
    return turn->stream == expected(t) ? turn : NULL;
}

void turns_drop(struct turns *t, struct turn *turn)
{
    struct turn **at = &t->first;
    while (*at != turn) at = &(*at)->next;
    *at = turn->next;
    gather_fini(&turn->data);
    free(turn->aside);
    free(turn->notes);
    free(turn->id);
    free(turn);
}

void turns_leave(struct turns *t, struct turn *turn)
{
    ranges_add(&t->gone, turn->stream, turn->stream);
    turns_drop(t, turn);
}

void turns_drop_all(struct turns *t)
{
    while (t->first != NULL) turns_drop(t, t->first);
}

void turns_fini(struct turns *t)
{
    turns_drop_all(t);
    ranges_fini(&t->gone);
    free(t->sources);
    *t = (struct turns){0};
}
