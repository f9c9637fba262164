/* See pretokenize.h. What changes the text (Metaspace's ▁, a space before) comes first and once; then the
 * cuts, one after another. ByteLevel's alphabet is no change of text here: the model reads bytes. */
#include "text/pretokenize.h"

#include "text/bert.h"
#include "text/bert_unicode.h"
#include "text/split.h"
#include "text/unicode.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { SPLITS_MAX = 16 };
typedef enum { ALTER_NOTHING, ALTER_PREFIX_SPACE, ALTER_METASPACE } alteration;
typedef enum { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } prepend_scheme;

struct pretokenizer {
    alteration alter;
    struct buf replacement; /* Metaspace's ▁ */
    prepend_scheme scheme;
    bool bytelevel;
    struct split splits[SPLITS_MAX];
    size_t split_count;
    struct mapped altered;
    struct span_list lists[2];
};

static const char *const supported[] = {"ByteLevel",        "Split",       "Metaspace",
                                        "Digits",           "Punctuation", "WhitespaceSplit",
                                        "BertPreTokenizer", "Sequence",    NULL};

/* One more; NULL, and err filled (THEA_EDATA), when there are too many. */
static struct split *add_split(struct pretokenizer *pt, const struct place *p, struct thea_err *err)
{
    if (pt->split_count < SPLITS_MAX) return &pt->splits[pt->split_count++];
    (void)place_fail(p, err, "more than %d pre-tokenizers", SPLITS_MAX);
    return NULL;
}

static thea_rc read_behavior(struct split *s, const struct place *p, const char *fallback,
                             struct thea_err *err)
{
    static const char *const names[] = {
        [SPLIT_ISOLATED] = "Isolated",        [SPLIT_REMOVED] = "Removed",
        [SPLIT_CONTIGUOUS] = "Contiguous",    [SPLIT_WITH_PREVIOUS] = "MergedWithPrevious",
        [SPLIT_WITH_NEXT] = "MergedWithNext", NULL};
    struct place at = place_member(p, "behavior");
    const char *text = fallback;
    if (fallback == NULL || !place_is_null(&at)) {
        thea_rc rc = place_string(p, "behavior", &text, NULL, err);
        if (rc != THEA_OK) return rc;
    }
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], text) != 0) continue;
        s->behavior = (split_behavior)i;
        return THEA_OK;
    }
    return place_unsupported(&at, err, text, names);
}

static thea_rc use_pattern(struct split *s, const char *pattern, size_t len, const struct place *p,
                           struct thea_err *err)
{
    char where[512];
    s->scan = scan_find(pattern, len);
    s->matcher = s->scan != NULL ? SPLIT_BY_SCAN : SPLIT_BY_REGEX;
    if (regex_new(&s->regex, pattern, len, err) == THEA_OK) return THEA_OK;
    return thea_fail_prefix(err, "%s", place_text(p, where, sizeof where));
}

static thea_rc read_split(struct pretokenizer *pt, const struct place *p, struct thea_err *err)
{
    struct pattern_text pattern;
    struct split *s = add_split(pt, p, err);
    if (s == NULL) return THEA_EDATA;
    thea_rc rc = place_pattern(p, &pattern, err);
    if (rc == THEA_OK) rc = read_behavior(s, p, NULL, err);
    if (rc == THEA_OK) rc = place_bool(p, "invert", false, &s->invert, err);
    if (rc != THEA_OK) return rc;
    if (pattern.regex) return use_pattern(s, pattern.text, pattern.len, p, err);
    s->matcher = SPLIT_BY_STRING;
    buf_add(&s->string, pattern.text, pattern.len);
    return THEA_OK;
}

static thea_rc read_bytelevel(struct pretokenizer *pt, const struct place *p, struct thea_err *err)
{
    bool prefix, regex;
    thea_rc rc = place_bool(p, "add_prefix_space", true, &prefix, err);
    if (rc == THEA_OK) rc = place_bool(p, "use_regex", true, &regex, err);
    if (rc != THEA_OK) return rc;
    pt->bytelevel = true;
    if (prefix && (pt->split_count > 0 || pt->alter != ALTER_NOTHING))
        return place_fail(p, err, "add_prefix_space after another pre-tokenizer is not supported");
    if (prefix) pt->alter = ALTER_PREFIX_SPACE;
    if (!regex) return THEA_OK;
    struct split *s = add_split(pt, p, err);
    return s == NULL ? THEA_EDATA : use_pattern(s, SCAN_GPT2, strlen(SCAN_GPT2), p, err);
}

static thea_rc read_scheme(struct pretokenizer *pt, const struct place *p, struct thea_err *err)
{
    static const char *const names[] = {
        [PREPEND_ALWAYS] = "always", [PREPEND_FIRST] = "first", [PREPEND_NEVER] = "never", NULL};
    struct place at = place_member(p, "prepend_scheme");
    bool prefix;
    thea_rc rc = place_bool(p, "add_prefix_space", true, &prefix, err);
    if (rc != THEA_OK) return rc;
    pt->scheme = prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    if (place_is_null(&at)) return THEA_OK;
    rc = place_expect(&at, JSON_TEXT_, err);
    if (rc != THEA_OK) return rc;
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], json_text(at.node, NULL)) != 0) continue;
        pt->scheme = (prepend_scheme)i;
        return THEA_OK;
    }
    return place_unsupported(&at, err, json_text(at.node, NULL), names);
}

static thea_rc read_metaspace(struct pretokenizer *pt, const struct place *p, struct thea_err *err)
{
    const char *text;
    size_t len;
    bool split;
    if (pt->split_count > 0 || pt->alter != ALTER_NOTHING)
        return place_fail(p, err, "Metaspace after another pre-tokenizer is not supported");
    thea_rc rc = place_string(p, "replacement", &text, &len, err);
    if (rc == THEA_OK && utf8_count(text, len) != 1)
        return place_fail(p, err, "replacement is %zu characters long, not 1", utf8_count(text, len));
    if (rc == THEA_OK) rc = read_scheme(pt, p, err);
    if (rc == THEA_OK) rc = place_bool(p, "split", true, &split, err);
    if (rc != THEA_OK) return rc;
    pt->alter = ALTER_METASPACE;
    buf_add(&pt->replacement, text, len);
    if (!split) return THEA_OK;
    struct split *s = add_split(pt, p, err);
    if (s == NULL) return THEA_EDATA;
    s->matcher = SPLIT_BY_STRING;
    s->behavior = SPLIT_WITH_NEXT;
    buf_add(&s->string, text, len);
    return THEA_OK;
}

static thea_rc read_class(struct pretokenizer *pt, const char *type, const struct place *p,
                          struct thea_err *err)
{
    bool each = false;
    struct split *s = add_split(pt, p, err);
    if (s == NULL) return THEA_EDATA;
    s->matcher = SPLIT_BY_CLASS;
    if (strcmp(type, "Digits") == 0) {
        thea_rc rc = place_bool(p, "individual_digits", false, &each, err);
        s->char_class = UNICODE_NUMBER;
        s->behavior = each ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
        return rc;
    }
    if (strcmp(type, "BertPreTokenizer") == 0) {
        bert_unicode_init();
        s->matcher = SPLIT_BY_BERT;
        s->behavior = SPLIT_REMOVED;
        return THEA_OK;
    }
    if (strcmp(type, "Punctuation") == 0) {
        s->char_class = UNICODE_PUNCTUATION;
        return read_behavior(s, p, "Isolated", err);
    }
    s->char_class = UNICODE_SPACE;
    s->behavior = SPLIT_REMOVED;
    return THEA_OK;
}

static thea_rc read_one(struct pretokenizer *pt, const struct place *p, struct thea_err *err);

static thea_rc read_sequence(struct pretokenizer *pt, const struct place *p, struct thea_err *err)
{
    struct place list = place_member(p, "pretokenizers");
    thea_rc rc = place_expect(&list, JSON_LIST_, err);
    for (size_t i = 0; rc == THEA_OK && i < json_count(list.node); i++) {
        struct place item = place_item(&list, i);
        if (pt->bytelevel) return place_fail(&item, err, "a pre-tokenizer after ByteLevel is not supported");
        rc = read_one(pt, &item, err);
    }
    return rc;
}

static thea_rc read_one(struct pretokenizer *pt, const struct place *p, struct thea_err *err)
{
    const char *type;
    thea_rc rc = place_type(p, &type, err);
    if (rc != THEA_OK) return rc;
    if (strcmp(type, "Sequence") == 0) return read_sequence(pt, p, err);
    if (strcmp(type, "ByteLevel") == 0) return read_bytelevel(pt, p, err);
    if (strcmp(type, "Split") == 0) return read_split(pt, p, err);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(pt, p, err);
    if (strcmp(type, "Digits") == 0 || strcmp(type, "Punctuation") == 0 ||
        strcmp(type, "WhitespaceSplit") == 0 || strcmp(type, "BertPreTokenizer") == 0)
        return read_class(pt, type, p, err);
    return place_unsupported(p, err, type, supported);
}

thea_rc pretokenizer_new(struct pretokenizer **out, const struct place *p, struct thea_err *err)
{
    struct pretokenizer *pt = calloc(1, sizeof *pt);
    if (pt == NULL) abort();
    unicode_init();
    thea_rc rc = place_is_null(p) ? THEA_OK : read_one(pt, p, err);
    if (rc != THEA_OK)
        pretokenizer_free(pt);
    else
        *out = pt;
    return rc;
}

void pretokenizer_free(struct pretokenizer *p)
{
    if (p == NULL) return;
    for (size_t i = 0; i < p->split_count; i++) split_fini(&p->splits[i]);
    for (int i = 0; i < 2; i++) span_list_fini(&p->lists[i]);
    mapped_fini(&p->altered);
    buf_fini(&p->replacement);
    free(p);
}

bool pretokenizer_is_bytelevel(const struct pretokenizer *p)
{
    return p->bytelevel;
}

bool pretokenizer_is_bert(const struct pretokenizer *p)
{
    return p->alter == ALTER_NOTHING && p->split_count == 1 && p->splits[0].matcher == SPLIT_BY_BERT;
}

bool pretokenizer_is_nothing(const struct pretokenizer *p)
{
    return p->alter == ALTER_NOTHING && p->split_count == 0;
}

bool pretokenizer_marks_spaces(const struct pretokenizer *p, const char *mark, bool *cuts)
{
    const struct split *s = &p->splits[0];
    *cuts = p->split_count == 1 && s->matcher == SPLIT_BY_STRING && s->behavior == SPLIT_WITH_NEXT &&
            !s->invert && strcmp(buf_text(&s->string), mark) == 0;
    return p->alter == ALTER_METASPACE && strcmp(buf_text(&p->replacement), mark) == 0 &&
           (p->split_count == 0 || *cuts);
}

scan_fn pretokenizer_scan(const struct pretokenizer *p)
{
    const struct split *s = &p->splits[0];
    if (p->alter != ALTER_NOTHING || p->split_count != 1 || s->matcher != SPLIT_BY_SCAN) return NULL;
    return s->behavior == SPLIT_ISOLATED || (s->behavior == SPLIT_REMOVED && s->invert) ? s->scan : NULL;
}

void pretokenizer_use_regex(struct pretokenizer *p)
{
    for (size_t i = 0; i < p->split_count; i++)
        if (p->splits[i].matcher == SPLIT_BY_SCAN) p->splits[i].matcher = SPLIT_BY_REGEX;
}

static void put_metaspaces(struct pretokenizer *p, const struct mapped_view *in)
{
    const struct buf *mark = &p->replacement;
    bool begins =
        in->text[0] == ' ' || (in->len >= mark->len && memcmp(in->text, mark->data, mark->len) == 0);
    if (!begins && (p->scheme == PREPEND_ALWAYS || (p->scheme == PREPEND_FIRST && in->base == 0)))
        mapped_add(&p->altered, mark->data, mark->len, in->base);
    for (size_t i = 0, from; i < in->len;) {
        for (from = i; i < in->len && in->text[i] != ' ';) i++;
        mapped_copy(&p->altered, in, from, i - from);
        if (i < in->len) mapped_add(&p->altered, mark->data, mark->len, mapped_end(in, i + 1)), i++;
    }
}

static struct mapped_view alter(struct pretokenizer *p, const struct mapped_view *in)
{
    if (p->alter == ALTER_NOTHING || in->len == 0 || (p->alter == ALTER_PREFIX_SPACE && in->text[0] == ' '))
        return *in;
    mapped_clear(&p->altered);
    if (p->alter == ALTER_METASPACE) {
        put_metaspaces(p, in);
    } else {
        mapped_add(&p->altered, " ", 1, in->base);
        mapped_copy(&p->altered, in, 0, in->len);
    }
    return mapped_view(&p->altered, in->base);
}

thea_rc pretokenizer_apply(struct pretokenizer *p, const struct mapped_view *in, struct mapped_view *text,
                           const struct word_span **words, size_t *count, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    struct span_list *have = &p->lists[0], *make = &p->lists[1];
    *text = alter(p, in);
    have->count = 0;
    if (text->len > 0) span_list_add(have, 0, text->len);
    for (size_t i = 0; i < p->split_count && rc == THEA_OK; i++) {
        make->count = 0;
        for (size_t k = 0; k < have->count && rc == THEA_OK; k++)
            rc = split_apply(&p->splits[i], text->text, have->at[k].start, have->at[k].end, make, err);
        struct span_list *swap = have;
        have = make, make = swap;
    }
    *words = have->at;
    *count = have->count;
    return rc;
}
