/* Normalization forms: see nf.h. The text is cut into segments that cannot influence each other: a segment
 * begins at a character that joins nothing before it (UNICODE_JOINS is a superset of what combines
 * backwards). A segment that comes out as it went in keeps its offsets; all bytes of one that changes stand
 * for the segment's end. utf8proc has the tables; the ordering of marks is ours, because its own is
 * quadratic. */
#include "text/nf.h"

#include "text/unicode.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct codes {
    utf8proc_int32_t *at;
    size_t count, cap;
};

static utf8proc_int32_t *codes_room(struct codes *c, size_t more)
{
    if (c->count + more > c->cap) {
        c->cap = 2 * (c->count + more);
        c->at = realloc(c->at, c->cap * sizeof *c->at);
        if (c->at == NULL) abort();
    }
    return c->at + c->count;
}

static int combining_class(utf8proc_int32_t code)
{
    return utf8proc_get_property(code)->combining_class;
}

/* Sort a run of marks by combining class, keeping the order of equals: counting sort. */
static void order_run(utf8proc_int32_t *run, size_t n, struct codes *scratch)
{
    size_t starts[257] = {0};
    scratch->count = 0;
    utf8proc_int32_t *sorted = codes_room(scratch, n);
    for (size_t i = 0; i < n; i++) starts[combining_class(run[i]) + 1]++;
    for (size_t i = 1; i < 257; i++) starts[i] += starts[i - 1];
    for (size_t i = 0; i < n; i++) sorted[starts[combining_class(run[i])]++] = run[i];
    memcpy(run, sorted, n * sizeof *run);
}

static void order_marks(struct codes *c, struct codes *scratch)
{
    for (size_t i = 0; i < c->count;) {
        size_t end = i;
        bool sorted = true;
        for (int last = 0; end < c->count; end++) {
            int class = combining_class(c->at[end]);
            if (class == 0) break;
            sorted = sorted && class >= last;
            last = class;
        }
        if (!sorted) order_run(c->at + i, end - i, scratch);
        i = end + 1;
    }
}

static void decompose(struct codes *c, const char *text, size_t len, nf_form form)
{
    utf8proc_option_t options = UTF8PROC_DECOMPOSE | (form == NF_KC || form == NF_KD ? UTF8PROC_COMPAT : 0);
    c->count = 0;
    for (size_t i = 0; i < len;) {
        int boundary = 0;
        utf8proc_int32_t code = (utf8proc_int32_t)utf8_next(text, &i);
        enum { MOST = 32 };    /* the longest decomposition is 18 */
        if (code == 0x11938) { /* of Unicode 13; the reference's decompositions are those of 12 */
            *codes_room(c, 1) = code;
            c->count++;
            continue;
        }
        utf8proc_ssize_t n = utf8proc_decompose_char(code, codes_room(c, MOST), MOST, options, &boundary);
        if (n > 0 && n <= MOST) c->count += (size_t)n;
    }
}

static void segment(struct mapped *out, const struct mapped_view *in, size_t at, size_t len, nf_form form,
                    struct codes *codes, struct codes *scratch)
{
    char stack[256];
    decompose(codes, in->text + at, len, form);
    order_marks(codes, scratch);
    if (form == NF_C || form == NF_KC) {
        utf8proc_ssize_t n = utf8proc_normalize_utf32(codes->at, (utf8proc_ssize_t)codes->count,
                                                      UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (n >= 0) codes->count = (size_t)n;
    }
    char *bytes = codes->count * UTF8_MAX <= sizeof stack ? stack : malloc(codes->count * UTF8_MAX);
    if (bytes == NULL) abort();
    size_t size = 0;
    for (size_t i = 0; i < codes->count; i++) size += utf8_put(bytes + size, (uint32_t)codes->at[i]);
    if (size == len && memcmp(bytes, in->text + at, len) == 0)
        mapped_copy(out, in, at, len);
    else
        mapped_add(out, bytes, size, mapped_end(in, at + len));
    if (bytes != stack) free(bytes);
}

/* Characters below this, alone in their segment, are as the form wants them. */
static uint32_t stable_below(nf_form form)
{
    return form == NF_C ? 0x300 : form == NF_D ? 0xC0 : 0xA0;
}

bool nf_is_stable(const struct mapped_view *in, nf_form form)
{
    uint32_t limit = stable_below(form);
    if (utf8_is_ascii(in->text, in->len)) return true;
    for (size_t i = 0; i < in->len;)
        if (utf8_next(in->text, &i) >= limit) return false;
    return true;
}

void nf_normalize(struct mapped *out, const struct mapped_view *in, nf_form form)
{
    struct codes codes = {0}, scratch = {0};
    uint32_t limit = stable_below(form);
    mapped_clear(out);
    for (size_t i = 0; i < in->len;) {
        size_t from = i, next, joined = 0;
        uint32_t first = utf8_next(in->text, &i);
        while (i < in->len && (next = i, unicode_is(utf8_next(in->text, &next), UNICODE_JOINS)))
            i = next, joined++;
        if (joined == 0 && first < limit)
            mapped_copy(out, in, from, i - from);
        else
            segment(out, in, from, i - from, form, &codes, &scratch);
    }
    free(codes.at);
    free(scratch.at);
}

/* Letters of Unicode 16 and 17, which the reference knows and utf8proc 2.8 does not yet. */
static const struct {
    uint32_t first, last, lower;
} newer[] = {
    {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x0264}, {0xA7CC, 0xA7CC, 0xA7CD},
    {0xA7CE, 0xA7CE, 0xA7CF},    {0xA7D2, 0xA7D2, 0xA7D3}, {0xA7D4, 0xA7D4, 0xA7D5},
    {0xA7DA, 0xA7DA, 0xA7DB},    {0xA7DC, 0xA7DC, 0x019B}, {0x10D50, 0x10D65, 0x10D70},
    {0x16EA0, 0x16EB8, 0x16EBB},
};

static uint32_t lowercase(uint32_t code)
{
    for (size_t i = 0; code >= newer[0].first && i < sizeof newer / sizeof *newer; i++)
        if (code >= newer[i].first && code <= newer[i].last) return newer[i].lower + (code - newer[i].first);
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}

void nf_lowercase(struct mapped *out, const struct mapped_view *in)
{
    mapped_clear(out);
    for (size_t i = 0; i < in->len;) {
        char bytes[2 * UTF8_MAX];
        size_t from = i;
        uint32_t code = utf8_next(in->text, &i);
        uint32_t lower = code == 0x130 ? 'i' : lowercase(code);
        if (lower == code) {
            mapped_copy(out, in, from, i - from);
            continue;
        }
        size_t n = utf8_put(bytes, lower);
        if (code == 0x130) n += utf8_put(bytes + n, 0x307); /* the one character whose lower case is two */
        mapped_add(out, bytes, n, mapped_end(in, i));
    }
}
