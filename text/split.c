/* See split.h. Parts come one by one, matches and what lies between; `place` puts each where the behavior
 * wants it. */
#include "text/split.h"

#include "text/bert.h"
#include "text/unicode.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

void span_list_add(struct span_list *list, size_t start, size_t end)
{
    if (list->count == list->cap) {
        list->cap = list->cap == 0 ? 256 : 2 * list->cap;
        list->at = realloc(list->at, list->cap * sizeof *list->at);
        if (list->at == NULL) abort();
    }
    list->at[list->count++] = (struct word_span){start, end};
}

void span_list_fini(struct span_list *list)
{
    free(list->at);
    *list = (struct span_list){0};
}

void split_fini(struct split *s)
{
    regex_free(s->regex);
    buf_fini(&s->string);
}

struct placing {
    const struct split *split;
    struct span_list *out;
    size_t base;          /* added to positions */
    size_t done;          /* up to where parts were placed */
    bool any, last_match; /* the part before: was there one, was it a match */
    bool open;            /* the span before may take this part too (Contiguous, MergedWith…) */
};

static void add(struct placing *p, size_t start, size_t end, bool join)
{
    if (join && p->open)
        p->out->at[p->out->count - 1].end = p->base + end;
    else
        span_list_add(p->out, p->base + start, p->base + end);
    p->open = true;
}

static void part(struct placing *p, size_t start, size_t end, bool match)
{
    match = match != p->split->invert;
    bool after_match = p->any && p->last_match;
    if (start < end) {
        switch (p->split->behavior) {
        case SPLIT_ISOLATED: add(p, start, end, false); break;
        case SPLIT_REMOVED:
            if (!match) add(p, start, end, false);
            break;
        case SPLIT_CONTIGUOUS: add(p, start, end, p->any && p->last_match == match); break;
        case SPLIT_WITH_PREVIOUS: add(p, start, end, match && !after_match); break;
        case SPLIT_WITH_NEXT: add(p, start, end, after_match && !match); break;
        }
        p->any = true, p->last_match = match;
    }
    p->done = end;
}

static void matched(struct placing *p, size_t start, size_t end)
{
    part(p, p->done, start, false);
    part(p, start, end, true);
}

static thea_rc by_regex(struct placing *p, const char *text, size_t len, struct thea_err *err)
{
    struct regex_walk w = {0};
    thea_rc rc;
    while ((rc = regex_next(p->split->regex, text, len, &w, err)) == THEA_OK) matched(p, w.start, w.end);
    return rc == THEA_DONE ? THEA_OK : rc;
}

static void by_string(struct placing *p, const char *text, size_t len)
{
    const struct buf *string = &p->split->string;
    const char *hit;
    if (string->len == 0) return;
    while ((hit = memmem(text + p->done, len - p->done, string->data, string->len)) != NULL)
        matched(p, (size_t)(hit - text), (size_t)(hit - text) + string->len);
}

static void by_class(struct placing *p, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t from = i;
        if (!unicode_is(utf8_next(text, &i), p->split->char_class)) continue;
        matched(p, from, i);
    }
}

/* White space, punctuation characters and words; the space is what matches. */
static void by_bert(struct placing *p, const char *text, size_t len)
{
    for (size_t at = 0, end; at < len; at = end) {
        end = bert_scan(text, len, at);
        part(p, at, end, bert_is_gap(text, at));
    }
}

static void by_scan(struct placing *p, const char *text, size_t len)
{
    for (size_t at = 0, end; at < len; at = end) {
        end = p->split->scan(text, len, at);
        matched(p, at, end);
    }
}

thea_rc split_apply(struct split *s, const char *text, size_t start, size_t end, struct span_list *out,
                    struct thea_err *err)
{
    struct placing p = {.split = s, .out = out, .base = start};
    thea_rc rc = THEA_OK;
    size_t len = end - start;
    switch (s->matcher) {
    case SPLIT_BY_REGEX: rc = by_regex(&p, text + start, len, err); break;
    case SPLIT_BY_SCAN: by_scan(&p, text + start, len); break;
    case SPLIT_BY_STRING: by_string(&p, text + start, len); break;
    case SPLIT_BY_BERT: by_bert(&p, text + start, len); break;
    case SPLIT_BY_CLASS: by_class(&p, text + start, len); break;
    }
    if (rc == THEA_OK) part(&p, p.done, len, false);
    return rc;
}
