/* See normalize.h. Each step writes into one of two buffers in turn; a step that changes nothing passes its
 * input on. */
#include "text/normalize.h"

#include "text/bert.h"
#include "text/nf.h"
#include "text/regex.h"
#include "text/unicode.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 16 };

typedef enum { STEP_FORM, STEP_LOWERCASE, STEP_PREPEND, STEP_REPLACE, STEP_STRIP, STEP_BERT } step_kind;

struct step {
    step_kind kind;
    nf_form form;
    struct buf pattern, content; /* prepend: content */
    struct regex *regex;         /* replace: instead of pattern */
    bool left, right;            /* strip */
    struct bert_options bert;
};

struct normalizer {
    struct step steps[STEPS_MAX];
    size_t count;
    struct mapped buffers[2], scratch;
};

static const char *const supported[] = {"NFC",     "NFD",     "NFKC",  "NFKD",           "Lowercase",
                                        "Prepend", "Replace", "Strip", "BertNormalizer", "Sequence",
                                        NULL};

static thea_rc read_replace(struct step *s, const struct place *p, struct thea_err *err)
{
    struct pattern_text pattern;
    const char *content;
    size_t len;
    thea_rc rc = place_pattern(p, &pattern, err);
    if (rc == THEA_OK) rc = place_string(p, "content", &content, &len, err);
    if (rc != THEA_OK) return rc;
    s->kind = STEP_REPLACE;
    buf_add(&s->content, content, len);
    buf_add(&s->pattern, pattern.text, pattern.len);
    if (!pattern.regex) return THEA_OK;
    char where[512];
    if (regex_new(&s->regex, pattern.text, pattern.len, err) != THEA_OK)
        return thea_fail_prefix(err, "%s", place_text(p, where, sizeof where));
    return regex_matches_empty(s->regex)
               ? place_fail(p, err, "a pattern that matches the empty text is not supported")
               : THEA_OK;
}

static thea_rc read_simple(struct step *s, const char *type, const struct place *p, struct thea_err *err)
{
    static const char *const forms[] = {[NF_C] = "NFC", [NF_D] = "NFD", [NF_KC] = "NFKC", [NF_KD] = "NFKD"};
    for (int f = NF_C; f <= NF_KD; f++) {
        if (strcmp(type, forms[f]) != 0) continue;
        s->kind = STEP_FORM;
        s->form = (nf_form)f;
        return THEA_OK;
    }
    if (strcmp(type, "Lowercase") == 0) {
        s->kind = STEP_LOWERCASE;
        return THEA_OK;
    }
    if (strcmp(type, "Replace") == 0) return read_replace(s, p, err);
    if (strcmp(type, "BertNormalizer") == 0) {
        s->kind = STEP_BERT;
        return bert_options_read(&s->bert, p, err);
    }
    if (strcmp(type, "Strip") == 0) {
        s->kind = STEP_STRIP;
        thea_rc rc = place_bool(p, "strip_left", true, &s->left, err);
        return rc != THEA_OK ? rc : place_bool(p, "strip_right", true, &s->right, err);
    }
    if (strcmp(type, "Prepend") != 0) return place_unsupported(p, err, type, supported);
    const char *text;
    size_t len;
    thea_rc rc = place_string(p, "prepend", &text, &len, err);
    if (rc != THEA_OK) return rc;
    s->kind = STEP_PREPEND;
    buf_add(&s->content, text, len);
    return THEA_OK;
}

static thea_rc read_steps(struct normalizer *n, const struct place *p, struct thea_err *err)
{
    const char *type;
    thea_rc rc = place_type(p, &type, err);
    if (rc != THEA_OK) return rc;
    if (strcmp(type, "Sequence") != 0) {
        if (n->count == STEPS_MAX) return place_fail(p, err, "more than %d steps", STEPS_MAX);
        return read_simple(&n->steps[n->count++], type, p, err);
    }
    struct place list = place_member(p, "normalizers");
    rc = place_expect(&list, JSON_LIST_, err);
    for (size_t i = 0; rc == THEA_OK && i < json_count(list.node); i++) {
        struct place item = place_item(&list, i);
        rc = read_steps(n, &item, err);
    }
    return rc;
}

thea_rc normalizer_new(struct normalizer **out, const struct place *p, struct thea_err *err)
{
    *out = NULL;
    if (place_is_null(p)) return THEA_OK;
    struct normalizer *n = calloc(1, sizeof *n);
    if (n == NULL) abort();
    unicode_init();
    thea_rc rc = read_steps(n, p, err);
    if (rc != THEA_OK)
        normalizer_free(n);
    else
        *out = n;
    return rc;
}

void normalizer_free(struct normalizer *n)
{
    if (n == NULL) return;
    for (size_t i = 0; i < n->count; i++) {
        buf_fini(&n->steps[i].pattern);
        buf_fini(&n->steps[i].content);
        regex_free(n->steps[i].regex);
    }
    for (int i = 0; i < 2; i++) mapped_fini(&n->buffers[i]);
    mapped_fini(&n->scratch);
    free(n);
}

bool normalizer_is_cased_bert(const struct normalizer *n)
{
    for (size_t i = 0; n != NULL && i < n->count; i++)
        if (n->steps[i].kind == STEP_BERT) return !n->steps[i].bert.lowercase;
    return false;
}

bool normalizer_is_bert(const struct normalizer *n)
{
    return n == NULL || (n->count == 1 && n->steps[0].kind == STEP_BERT);
}

bool normalizer_marks_spaces(const struct normalizer *n, const char *mark)
{
    bool marks = false;
    for (size_t i = 0; n != NULL && i < n->count; i++) {
        const struct step *s = &n->steps[i];
        bool spaces = s->kind == STEP_REPLACE && s->regex == NULL &&
                      strcmp(buf_text(&s->pattern), " ") == 0 && strcmp(buf_text(&s->content), mark) == 0;
        if (!spaces && s->kind != STEP_PREPEND) return false;
        marks = marks || spaces;
    }
    return marks;
}

static void replace_match(const struct step *s, const struct mapped_view *in, size_t *done, size_t start,
                          size_t end, struct mapped *to)
{
    mapped_copy(to, in, *done, start - *done);
    mapped_add(to, s->content.data, s->content.len, mapped_end(in, end));
    *done = end;
}

static thea_rc replace(const struct step *s, const struct mapped_view *in, struct mapped *to,
                       struct thea_err *err)
{
    size_t done = 0;
    thea_rc rc = THEA_DONE;
    mapped_clear(to);
    if (s->regex != NULL) {
        struct regex_walk w = {0};
        while ((rc = regex_next(s->regex, in->text, in->len, &w, err)) == THEA_OK)
            replace_match(s, in, &done, w.start, w.end, to);
    } else if (s->pattern.len > 0) {
        const char *hit;
        while ((hit = memmem(in->text + done, in->len - done, s->pattern.data, s->pattern.len)) != NULL)
            replace_match(s, in, &done, (size_t)(hit - in->text), (size_t)(hit - in->text) + s->pattern.len,
                          to);
    }
    mapped_copy(to, in, done, in->len - done);
    return rc == THEA_DONE ? THEA_OK : rc;
}

static struct mapped_view strip(const struct step *s, const struct mapped_view *in)
{
    size_t from = 0, end = in->len, at;
    while (s->left && from < end && (at = from, unicode_is(utf8_next(in->text, &at), UNICODE_SPACE)))
        from = at;
    while (s->right && end > from) {
        size_t before = utf8_before(in->text, end);
        at = before;
        if (!unicode_is(utf8_next(in->text, &at), UNICODE_SPACE)) break;
        end = before;
    }
    return mapped_part(in, from, end - from);
}

static thea_rc apply(const struct step *s, struct mapped_view *v, struct mapped *to, struct mapped *scratch,
                     struct thea_err *err)
{
    int64_t base = v->base;
    switch (s->kind) {
    case STEP_STRIP: *v = strip(s, v); return THEA_OK;
    case STEP_FORM:
        if (nf_is_stable(v, s->form)) return THEA_OK;
        nf_normalize(to, v, s->form);
        break;
    case STEP_LOWERCASE: nf_lowercase(to, v); break;
    case STEP_BERT: bert_normalize(&s->bert, to, v, scratch); break;
    case STEP_PREPEND:
        mapped_clear(to);
        mapped_add(to, s->content.data, s->content.len, base);
        mapped_copy(to, v, 0, v->len);
        break;
    case STEP_REPLACE: {
        thea_rc rc = replace(s, v, to, err);
        if (rc != THEA_OK) return rc;
        break;
    }
    }
    *v = mapped_view(to, base);
    return THEA_OK;
}

thea_rc normalizer_apply(struct normalizer *n, const struct mapped_view *in, bool goes_on,
                         struct mapped_view *out, struct thea_err *err)
{
    *out = *in;
    thea_rc rc = THEA_OK;
    for (size_t i = 0; n != NULL && i < n->count && rc == THEA_OK && out->len > 0; i++) {
        struct mapped *to = &n->buffers[0];
        if (goes_on && n->steps[i].kind == STEP_PREPEND) continue;
        if (out->text >= buf_text(&to->text) && out->text <= buf_text(&to->text) + to->text.len)
            to = &n->buffers[1];
        rc = apply(&n->steps[i], out, to, &n->scratch, err);
    }
    return rc;
}
