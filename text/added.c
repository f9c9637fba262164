/* See added.h. */
#include "text/added.h"

#include "text/unicode.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

static uint32_t new_node(struct added_set *set, unsigned char byte)
{
    if (set->node_count == set->node_cap) {
        set->node_cap = set->node_cap == 0 ? 64 : 2 * set->node_cap;
        set->nodes = realloc(set->nodes, set->node_cap * sizeof *set->nodes);
        if (set->nodes == NULL) abort();
    }
    set->nodes[set->node_count] = (struct added_node){.byte = byte, .token = -1};
    return (uint32_t)set->node_count++;
}

/* 0 (the root is nobody's child): none. */
static uint32_t child_of(const struct added_set *set, uint32_t node, unsigned char byte)
{
    uint32_t child = set->nodes[node].child;
    while (child != 0 && set->nodes[child].byte != byte) child = set->nodes[child].sibling;
    return child;
}

static uint32_t child_for(struct added_set *set, uint32_t node, unsigned char byte)
{
    uint32_t child = child_of(set, node, byte);
    if (child != 0) return child;
    child = new_node(set, byte);
    set->nodes[child].sibling = set->nodes[node].child;
    set->nodes[node].child = child;
    return child;
}

void added_set_add(struct added_set *set, const char *text, size_t len, struct added_token token)
{
    if (len == 0) return;
    if (set->node_count == 0) {
        new_node(set, 0);
        set->only_first = (unsigned char)text[0];
        unicode_init();
    }
    uint32_t node = 0;
    for (size_t i = 0; i < len; i++) node = child_for(set, node, (unsigned char)text[i]);
    if (set->nodes[node].token >= 0) return;
    if (set->count == set->cap) {
        set->cap = set->cap == 0 ? 16 : 2 * set->cap;
        set->tokens = realloc(set->tokens, set->cap * sizeof *set->tokens);
        if (set->tokens == NULL) abort();
    }
    set->nodes[node].token = (int32_t)set->count;
    set->tokens[set->count++] = token;
    set->first[(unsigned char)text[0]] = true;
    if (set->only_first != (unsigned char)text[0]) set->only_first = -1;
}

void added_set_fini(struct added_set *set)
{
    free(set->tokens);
    free(set->nodes);
    *set = (struct added_set){0};
}

/* The longest token that begins at `at`; NULL if none. */
static const struct added_token *longest(const struct added_set *set, const char *text, size_t len, size_t at,
                                         size_t *end)
{
    const struct added_token *found = NULL;
    uint32_t node = 0;
    for (size_t i = at; i < len && (node = child_of(set, node, (unsigned char)text[i])) != 0; i++) {
        if (set->nodes[node].token < 0) continue;
        found = &set->tokens[set->nodes[node].token];
        *end = i + 1;
    }
    return found;
}

static size_t next_candidate(const struct added_set *set, const char *text, size_t len, size_t at)
{
    if (set->only_first >= 0) {
        const char *hit = memchr(text + at, set->only_first, len - at);
        return hit == NULL ? len : (size_t)(hit - text);
    }
    while (at < len && !set->first[(unsigned char)text[at]]) at++;
    return at;
}

static bool is_class_at(const char *text, size_t at, int what)
{
    return unicode_is(utf8_next(text, &at), what);
}

static bool stands_alone(const char *text, size_t len, size_t start, size_t end)
{
    if (start > 0 && is_class_at(text, utf8_before(text, start), UNICODE_WORD)) return false;
    return end == len || !is_class_at(text, end, UNICODE_WORD);
}

/* The next token from at_ on, into the walk's token fields. */
static bool find_token(const struct added_set *set, const char *text, size_t len, struct added_walk *w)
{
    while ((w->at_ = next_candidate(set, text, len, w->at_)) < len) {
        size_t start = w->at_, end = 0;
        const struct added_token *token = longest(set, text, len, start, &end);
        if (token == NULL) {
            w->at_++;
            continue;
        }
        w->at_ = end;
        if (token->single_word && !stands_alone(text, len, start, end)) continue;
        while (token->lstrip && start > w->from_ &&
               is_class_at(text, utf8_before(text, start), UNICODE_SPACE))
            start = utf8_before(text, start);
        while (token->rstrip && end < len && is_class_at(text, end, UNICODE_SPACE))
            end += utf8_length(text[end]);
        w->token_start_ = start, w->token_end_ = end, w->pending_ = token->id + 1;
        return true;
    }
    return false;
}

bool added_next(const struct added_set *set, const char *text, size_t len, struct added_walk *w)
{
    if (w->pending_ == 0 && (set->count == 0 || w->at_ >= len || !find_token(set, text, len, w))) {
        if (w->from_ >= len) return false;
        w->start = w->from_, w->end = w->from_ = w->at_ = len, w->id = -1;
        return true;
    }
    if (w->from_ < w->token_start_) {
        w->start = w->from_, w->end = w->from_ = w->token_start_, w->id = -1;
        return true;
    }
    w->start = w->token_start_, w->end = w->from_ = w->token_end_, w->id = w->pending_ - 1;
    w->pending_ = 0;
    return true;
}
