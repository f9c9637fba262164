/* Passages: see snippet.h. */
#include "retrieval/snippet.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { STEM_MIN = 4, LEAD_PART = 4, WORDS_MAX = 64 };
#define SHORT_WEIGHT 0.25 /* of words below STEM_MIN letters: mostly grammar */

struct word {
    const char *at;
    size_t n;
    size_t count; /* in the text */
};
struct match {
    size_t at, n, word;
};
struct finder {
    struct word words[WORDS_MAX];
    size_t word_count;
    struct match *matches;
    size_t count, room;
};

/* --- words --- */

static bool in_word(char c)
{
    unsigned char u = (unsigned char)c;
    return (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') || u >= 0x80;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The next word of [*at, end): moves *at to its first byte, and returns its length; 0: there is none. */
static size_t next_word(const char **at, const char *end)
{
    while (*at < end && !in_word(**at)) (*at)++;
    const char *to = *at;
    while (to < end && in_word(*to)) to++;
    return (size_t)(to - *at);
}

static bool same(const char *a, size_t n, const char *b, size_t m)
{
    size_t shorter = n < m ? n : m;
    if (n != m && shorter < STEM_MIN) return false;
    for (size_t i = 0; i < shorter; i++)
        if (lower(a[i]) != lower(b[i])) return false;
    return true;
}

static void take_words(struct finder *f, const char *query)
{
    const char *end = query + strlen(query), *at = query;
    for (size_t n; f->word_count < WORDS_MAX && (n = next_word(&at, end)) > 0; at += n) {
        bool known = false;
        for (size_t i = 0; i < f->word_count && !known; i++)
            known = same(f->words[i].at, f->words[i].n, at, n);
        if (!known) f->words[f->word_count++] = (struct word){at, n, 0};
    }
}

static void add_match(struct finder *f, size_t at, size_t n, size_t word)
{
    if (f->count == f->room) {
        f->room = f->room * 2 + 16;
        f->matches = reallocarray(f->matches, f->room, sizeof *f->matches);
        if (f->matches == NULL) abort();
    }
    f->words[word].count++;
    f->matches[f->count++] = (struct match){at, n, word};
}

static void find_matches(struct finder *f, const char *text, size_t len)
{
    const char *end = text + len, *at = text;
    for (size_t n; (n = next_word(&at, end)) > 0; at += n)
        for (size_t i = 0; i < f->word_count; i++)
            if (same(f->words[i].at, f->words[i].n, at, n)) {
                add_match(f, (size_t)(at - text), n, i);
                break;
            }
}

/* --- the window --- */

static double window_weight(const struct finder *f, size_t first, size_t bytes)
{
    bool seen[WORDS_MAX] = {false};
    double weight = 0;
    for (size_t i = first; i < f->count; i++) {
        const struct match *m = &f->matches[i];
        if (m->at + m->n > f->matches[first].at + bytes) break;
        const struct word *w = &f->words[m->word];
        if (!seen[m->word]) weight += (w->n < STEM_MIN ? SHORT_WEIGHT : 1) / (double)(1 + w->count);
        seen[m->word] = true;
    }
    return weight;
}

/* Where the best window's first match is; 0 if nothing matches. */
static size_t best_place(const struct finder *f, size_t bytes)
{
    double best = 0;
    size_t place = 0;
    for (size_t i = 0; i < f->count; i++) {
        double weight = window_weight(f, i, bytes);
        if (weight <= best * (1 + 1e-9)) continue; /* of the same words, summed in another order: the first */
        best = weight;
        place = f->matches[i].at;
    }
    return place;
}

/* The passage begins with the line, if that is near, else with a word a little before. */
static size_t begin_of(const char *text, size_t place, size_t lead)
{
    size_t at = place;
    while (at > 0 && text[at - 1] != '\n' && place - at < lead) at--;
    if (at == 0 || text[at - 1] == '\n') return at;
    while (at < place && in_word(text[at - 1])) at++;
    return at;
}

/* --- printing --- */

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Does a character of two bytes that controls a terminal stand here (U+0080 to U+009F)? */
static bool is_c1(const char *at, const char *end)
{
    return end - at >= 2 && (unsigned char)at[0] == 0xc2 && (unsigned char)at[1] < 0xa0;
}

static bool is_blank(const char *at, const char *end)
{
    return (unsigned char)*at <= ' ' || *at == 0x7f || is_c1(at, end);
}

static void add_mark(struct snippet *s, size_t n)
{
    s->marks = reallocarray(s->marks, s->mark_count + 1, sizeof *s->marks);
    if (s->marks == NULL) abort();
    s->marks[s->mark_count++] = (struct snippet_mark){s->text.len, n};
}

static const struct match *match_at(const struct finder *f, size_t at)
{
    size_t low = 0, high = f->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (f->matches[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->count && f->matches[low].at == at ? &f->matches[low] : NULL;
}

static size_t skip_blanks(const char *text, size_t at, size_t len)
{
    while (at < len && is_blank(text + at, text + len)) at += is_c1(text + at, text + len) ? 2 : 1;
    return at;
}

static void add_word(struct snippet *s, const struct finder *f, const char *text, size_t at, size_t n)
{
    const struct match *m = match_at(f, at);
    if (m != NULL && m->n <= n) add_mark(s, m->n);
    buf_add(&s->text, text + at, n);
}

static size_t characters(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += !is_continuation(text[i]);
    return count;
}

/* The first `width` characters of what has no blank in it. */
static size_t cut(const char *text, size_t n, size_t width)
{
    size_t at = 0;
    for (; at < n && (width > 0 || is_continuation(text[at])); at++) width -= !is_continuation(text[at]);
    return at;
}

/* One piece up to the next blank or border of a word. */
static size_t piece_of(const char *text, size_t at, size_t len)
{
    size_t n = 1;
    while (at + n < len && !is_blank(text + at + n, text + len) &&
           in_word(text[at + n]) == in_word(text[at + n - 1]))
        n++;
    return n;
}

static void print_passage(struct snippet *s, const struct finder *f, const char *text, size_t at, size_t len,
                          size_t width)
{
    size_t used = 0;
    while (at < len && used < width) {
        bool blank = is_blank(text + at, text + len);
        at = skip_blanks(text, at, len);
        if (at == len) return;
        if (blank && s->text.len > 0) {
            buf_add_char(&s->text, ' ');
            used++;
        }
        size_t n = piece_of(text, at, len), wide = characters(text + at, n);
        if (used + wide > width) {
            if (used > width / 2) break; /* no half word, unless the passage is one long word */
            n = cut(text + at, n, width - used);
        }
        add_word(s, f, text, at, n);
        used += wide;
        at += n;
    }
    while (s->text.len > 0 && s->text.data[s->text.len - 1] == ' ') s->text.len--;
    if (skip_blanks(text, at, len) < len) buf_add_text(&s->text, "…");
}

static uint64_t line_of(const char *text, size_t at)
{
    uint64_t line = 1;
    for (size_t i = 0; i < at; i++) line += text[i] == '\n';
    return line;
}

void snippet_make(struct snippet *out, const char *text, size_t len, const char *query, size_t width)
{
    struct finder f = {0};
    *out = (struct snippet){0};
    take_words(&f, query);
    find_matches(&f, text, len);
    size_t begin = skip_blanks(text, begin_of(text, best_place(&f, width), width / LEAD_PART), len);
    if (begin < len) {
        out->line = line_of(text, begin);
        if (begin > 0 && text[begin - 1] != '\n' && skip_blanks(text, 0, len) < begin)
            buf_add_text(&out->text, "…");
        print_passage(out, &f, text, begin, len, width);
    }
    free(f.matches);
}

void snippet_fini(struct snippet *s)
{
    buf_fini(&s->text);
    free(s->marks);
    *s = (struct snippet){0};
}
