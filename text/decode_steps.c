/* See decode_steps.h. */
#include "text/decode_steps.h"

#include "text/utf8.h"

#include <string.h>

static const char *const supported[] = {"ByteLevel", "ByteFallback", "Fuse",     "Strip", "Replace",
                                        "Metaspace", "WordPiece",    "Sequence", NULL};

static thea_rc read_character(struct decode_step *d, const struct place *p, const char *key,
                              struct thea_err *err)
{
    const char *text;
    size_t len;
    thea_rc rc = place_string(p, key, &text, &len, err);
    if (rc != THEA_OK) return rc;
    if (utf8_count(text, len) != 1)
        return place_fail(p, err, "%s is %zu characters long, not 1", key, utf8_count(text, len));
    buf_add(&d->text, text, len);
    return THEA_OK;
}

static thea_rc read_strip(struct decode_step *d, const struct place *p, struct thea_err *err)
{
    int64_t start, stop;
    d->kind = DECODE_STRIP;
    thea_rc rc = read_character(d, p, "content", err);
    if (rc == THEA_OK) rc = place_int(p, "start", 0, &start, err);
    if (rc == THEA_OK) rc = place_int(p, "stop", 0, &stop, err);
    if (rc != THEA_OK) return rc;
    if (start < 0 || stop < 0)
        return place_fail(p, err, "start and stop must not be negative (%lld, %lld)", (long long)start,
                          (long long)stop);
    d->start = (size_t)start, d->stop = (size_t)stop;
    return THEA_OK;
}

static thea_rc read_replace(struct decode_step *d, const struct place *p, struct thea_err *err)
{
    struct pattern_text pattern;
    const char *content;
    size_t len;
    char where[512];
    d->kind = DECODE_REPLACE;
    thea_rc rc = place_pattern(p, &pattern, err);
    if (rc == THEA_OK) rc = place_string(p, "content", &content, &len, err);
    if (rc != THEA_OK) return rc;
    if (pattern.len == 0) return place_fail(p, err, "an empty pattern");
    buf_add(&d->text, pattern.text, pattern.len);
    buf_add(&d->content, content, len);
    if (!pattern.regex) return THEA_OK;
    d->kind = DECODE_REPLACE_REGEX;
    if (regex_new(&d->regex, pattern.text, pattern.len, err) != THEA_OK)
        return thea_fail_prefix(err, "%s", place_text(p, where, sizeof where));
    return regex_matches_empty(d->regex)
               ? place_fail(p, err, "a pattern that matches the empty text is not supported")
               : THEA_OK;
}

static thea_rc read_metaspace(struct decode_step *d, const struct place *p, struct thea_err *err)
{
    bool prefix;
    d->kind = DECODE_METASPACE;
    thea_rc rc = read_character(d, p, "replacement", err);
    if (rc == THEA_OK) rc = place_bool(p, "add_prefix_space", true, &prefix, err);
    if (rc == THEA_OK)
        d->drop_first =
            strcmp(json_text_or(p->node, "prepend_scheme", prefix ? "always" : "never"), "never") != 0;
    return rc;
}

static thea_rc read_wordpiece(struct decode_step *d, const struct place *p, struct thea_err *err)
{
    struct place prefix = place_member(p, "prefix");
    const char *text = "##";
    size_t len = 2;
    d->kind = DECODE_WORDPIECE;
    thea_rc rc = place_is_null(&prefix) ? THEA_OK : place_string(p, "prefix", &text, &len, err);
    if (rc == THEA_OK) buf_add(&d->text, text, len);
    return rc != THEA_OK ? rc : place_bool(p, "cleanup", true, &d->cleanup, err);
}

static thea_rc read_one(struct decode_step *d, const char *type, const struct place *p, struct thea_err *err)
{
    static const struct {
        const char *type;
        decode_kind kind;
    } plain[] = {
        {"ByteLevel", DECODE_BYTELEVEL}, {"ByteFallback", DECODE_BYTE_FALLBACK}, {"Fuse", DECODE_FUSE}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (strcmp(type, plain[i].type) != 0) continue;
        d->kind = plain[i].kind;
        return THEA_OK;
    }
    if (strcmp(type, "Strip") == 0) return read_strip(d, p, err);
    if (strcmp(type, "Replace") == 0) return read_replace(d, p, err);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(d, p, err);
    if (strcmp(type, "WordPiece") == 0) return read_wordpiece(d, p, err);
    return place_unsupported(p, err, type, supported);
}

thea_rc decode_steps_read(struct decode_step *steps, size_t *count, const struct place *p,
                          struct thea_err *err)
{
    const char *type;
    thea_rc rc = place_type(p, &type, err);
    if (rc != THEA_OK) return rc;
    if (strcmp(type, "Sequence") != 0) {
        if (*count == DECODE_STEPS_MAX) return place_fail(p, err, "more than %d steps", DECODE_STEPS_MAX);
        return read_one(&steps[(*count)++], type, p, err);
    }
    struct place list = place_member(p, "decoders");
    rc = place_expect(&list, JSON_LIST_, err);
    for (size_t i = 0; i < json_count(list.node) && rc == THEA_OK; i++) {
        struct place item = place_item(&list, i);
        rc = decode_steps_read(steps, count, &item, err);
    }
    return rc;
}

void decode_step_fini(struct decode_step *step)
{
    buf_fini(&step->text);
    buf_fini(&step->content);
    regex_free(step->regex);
}
