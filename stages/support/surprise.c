/* The most surprising lines: see surprise.h. One pass over tokens and lines side by side. */
#include "stages/support/surprise.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Tokens not yet used up by the lines before. */
struct cursor {
    const float *nll;
    const int64_t *ends;
    size_t count, first, at; /* at: index into nll */
};

/* Bytes a token stands for, within [0, len). */
static void span_of(const struct cursor *c, size_t i, size_t len, size_t *from, size_t *to)
{
    size_t token = c->first + i;
    int64_t a = token == 0 ? 0 : c->ends[token - 1], b = c->ends[token];
    *from = a < 0 ? 0 : (size_t)a > len ? len : (size_t)a;
    *to = b < 0 ? 0 : (size_t)b > len ? len : (size_t)b;
}

/* Bits of the bytes [start, end); the cursor moves past the tokens that end there. */
static double bits_between(struct cursor *c, size_t start, size_t end, size_t len)
{
    double bits = 0;
    for (; c->at < c->count; c->at++) {
        size_t from, to;
        span_of(c, c->at, len, &from, &to);
        if (from >= end) break;
        size_t low = from > start ? from : start, high = to < end ? to : end;
        if (high > low) bits += (double)c->nll[c->at] / M_LN2 * (double)(high - low) / (double)(to - from);
        if (to > end) break; /* the rest of it belongs to the next line */
    }
    return bits;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}

static void trim(struct surprise_line *line)
{
    while (line->len > 0 && is_blank(line->text[line->len - 1])) line->len--;
    while (line->len > 0 && is_blank(line->text[0])) line->text++, line->len--;
}

/* Keep the list sorted; a line equal to one that is there comes after it. */
static size_t keep(struct surprise_line *out, size_t have, size_t top, const struct surprise_line *line)
{
    size_t at = have;
    while (at > 0 && out[at - 1].bits_per_byte < line->bits_per_byte) at--;
    if (at == top) return have;
    size_t kept = have < top ? have + 1 : top;
    memmove(out + at + 1, out + at, (kept - at - 1) * sizeof *out);
    out[at] = *line;
    return kept;
}

size_t surprise_lines(struct surprise_line *out, size_t top, size_t min_bytes, const char *text, size_t len,
                      const float *nll, size_t count, size_t first, const int64_t *ends)
{
    struct cursor c = {.nll = nll, .ends = ends, .count = count, .first = first};
    size_t have = 0, number = 0;
    for (size_t start = 0; start < len;) {
        const char *newline = memchr(text + start, '\n', len - start);
        size_t end = newline != NULL ? (size_t)(newline - text) + 1 : len;
        double bits = bits_between(&c, start, end, len);
        struct surprise_line line = {.number = ++number,
                                     .bits_per_byte = bits / (double)(end - start),
                                     .text = text + start,
                                     .len = end - start};
        trim(&line);
        if (line.len > 0 && line.len >= min_bytes) have = keep(out, have, top, &line);
        start = end;
    }
    return have;
}
