/* See bert.h. Most text is ASCII, which needs one pass; only a piece with other characters is decomposed.
 * Lower-casing ASCII before the decomposition and not after it makes no difference: nothing is composed. */
#include "text/bert.h"

#include "text/bert_unicode.h"
#include "text/nf.h"
#include "text/utf8.h"

thea_rc bert_options_read(struct bert_options *o, const struct place *p, struct thea_err *err)
{
    bert_unicode_init();
    thea_rc rc = place_bool(p, "clean_text", true, &o->clean_text, err);
    if (rc == THEA_OK) rc = place_bool(p, "handle_chinese_chars", true, &o->chinese_chars, err);
    if (rc == THEA_OK) rc = place_bool(p, "lowercase", true, &o->lowercase, err);
    return rc != THEA_OK ? rc : place_bool(p, "strip_accents", o->lowercase, &o->strip_accents, err);
}

static void add_code(const struct bert_options *o, struct mapped *out, const struct mapped_view *in,
                     size_t from, size_t end)
{
    size_t at = from;
    uint32_t code = utf8_next(in->text, &at);
    if (o->clean_text && bert_is(code, BERT_DROPPED)) return;
    if (o->clean_text && bert_is(code, BERT_SPACE)) {
        mapped_add(out, " ", 1, mapped_end(in, end));
    } else if (o->chinese_chars && bert_is(code, BERT_CJK)) {
        mapped_add(out, " ", 1, mapped_end(in, from));
        mapped_copy(out, in, from, end - from);
        mapped_add(out, " ", 1, mapped_end(in, end));
    } else {
        mapped_copy(out, in, from, end - from);
    }
}

/* A run of ASCII from `at` on; returns where it ends. */
static size_t add_ascii(const struct bert_options *o, struct mapped *out, const struct mapped_view *in,
                        size_t at)
{
    int32_t *ends = mapped_reserve(out, in->len - at);
    char *text = out->text.data + out->text.len;
    size_t n = 0;
    for (; at < in->len && (unsigned char)in->text[at] < 0x80; at++) {
        char c = in->text[at];
        uint8_t what = bert_table[(unsigned char)c];
        if (o->clean_text && (what & BERT_DROPPED)) continue;
        if (o->clean_text && (what & BERT_SPACE)) c = ' ';
        if (o->lowercase && c >= 'A' && c <= 'Z') c = (char)(c + ('a' - 'A'));
        text[n] = c;
        ends[n++] = (int32_t)mapped_end(in, at + 1);
    }
    mapped_added(out, n);
    return at;
}

static void clean(const struct bert_options *o, struct mapped *out, const struct mapped_view *in)
{
    mapped_clear(out);
    for (size_t at = 0; at < in->len;) {
        at = add_ascii(o, out, in, at);
        if (at == in->len) break;
        size_t end = at + utf8_length(in->text[at]);
        add_code(o, out, in, at, end);
        at = end;
    }
}

static void drop_marks(struct mapped *out, const struct mapped_view *in)
{
    mapped_clear(out);
    for (size_t from = 0, at = 0; from < in->len; from = at)
        if (!bert_is(utf8_next(in->text, &at), BERT_MARK)) mapped_copy(out, in, from, at - from);
}

void bert_normalize(const struct bert_options *o, struct mapped *out, const struct mapped_view *in,
                    struct mapped *scratch)
{
    clean(o, out, in);
    struct mapped_view v = mapped_view(out, in->base);
    if (utf8_is_ascii(v.text, v.len)) return;
    if (o->strip_accents) {
        nf_normalize(scratch, &v, NF_D);
        v = mapped_view(scratch, in->base);
        drop_marks(out, &v);
        v = mapped_view(out, in->base);
    }
    if (!o->lowercase) return;
    nf_lowercase(scratch, &v);
    struct mapped swap = *out;
    *out = *scratch;
    *scratch = swap;
}

/* --- words --- */

bool bert_is_gap(const char *text, size_t pos)
{
    return bert_is(utf8_next(text, &pos), BERT_SPACE);
}

size_t bert_scan(const char *text, size_t len, size_t pos)
{
    size_t end = pos;
    uint8_t first = bert_table[utf8_next(text, &end)];
    if (first & BERT_PUNCTUATION) return end;
    for (size_t next = end; end < len; end = next) {
        uint8_t what = bert_table[utf8_next(text, &next)];
        if ((what & BERT_PUNCTUATION) || (what & BERT_SPACE) != (first & BERT_SPACE)) break;
    }
    return end;
}
