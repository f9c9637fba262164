/* See bpe_load.h. */
#include "text/bpe_load.h"

#include "text/bytelevel.h"
#include "text/utf8.h"
#include "text/vocab_load.h"

#include <stdio.h>
#include <string.h>

struct side {
    const char *text;
    size_t len;
};

/* "left right" or ["left", "right"]. */
static thea_rc read_pair(const struct place *p, struct side pair[2], struct thea_err *err)
{
    struct side whole = {0};
    whole.text = json_text(p->node, &whole.len);
    if (whole.text != NULL) {
        const char *space = memchr(whole.text, ' ', whole.len);
        const char *second =
            space == NULL ? NULL : memchr(space + 1, ' ', whole.len - (size_t)(space + 1 - whole.text));
        if (space == NULL || second != NULL)
            return place_fail(p, err, "'%.80s' is not two tokens with one space between", whole.text);
        pair[0] = (struct side){whole.text, (size_t)(space - whole.text)};
        pair[1] = (struct side){space + 1, whole.len - pair[0].len - 1};
        return THEA_OK;
    }
    if (json_count(p->node) != 2 || json_kind(p->node) != JSON_LIST_)
        return place_fail(p, err, "a pair expected: \"left right\" or [\"left\", \"right\"]");
    for (size_t i = 0; i < 2; i++) {
        pair[i].text = json_text(json_item(p->node, i), &pair[i].len);
        if (pair[i].text == NULL)
            return place_fail(p, err, "item %zu is %s, not a string", i,
                              json_kind_name(json_kind(json_item(p->node, i))));
    }
    return THEA_OK;
}

static thea_rc find_side(const struct vocab *v, const struct place *p, const char *text, size_t len,
                         const char *what, int32_t *id, struct thea_err *err)
{
    *id = vocab_find(v, text, len);
    if (*id >= 0) return THEA_OK;
    return place_fail(p, err, "%s '%.*s' is not in the vocabulary", what, (int)(len < 80 ? len : 80), text);
}

enum { MARK_BYTES = sizeof BPE_MARK - 1 };

static bool begins_with_mark(struct side s)
{
    return s.len >= MARK_BYTES && memcmp(s.text, BPE_MARK, MARK_BYTES) == 0;
}

static bool ends_with_mark(struct side s)
{
    return s.len >= MARK_BYTES && memcmp(s.text + s.len - MARK_BYTES, BPE_MARK, MARK_BYTES) == 0;
}

static thea_rc read_merge(struct bpe_config *c, const struct vocab *v, const struct place *p, uint32_t rank,
                          struct buf *joined, struct thea_err *err)
{
    struct side pair[2] = {{0}};
    int32_t left, right, both;
    thea_rc rc = read_pair(p, pair, err);
    if (rc == THEA_OK) rc = find_side(v, p, pair[0].text, pair[0].len, "the left token", &left, err);
    if (rc == THEA_OK) rc = find_side(v, p, pair[1].text, pair[1].len, "the right token", &right, err);
    if (rc != THEA_OK) return rc;
    buf_clear(joined);
    buf_add(joined, pair[0].text, pair[0].len);
    buf_add(joined, pair[1].text, pair[1].len);
    rc = find_side(v, p, joined->data, joined->len, "the merged token", &both, err);
    if (rc != THEA_OK) return rc;
    merge_table_put(&c->merges, left, right, rank, both);
    if (begins_with_mark(pair[1]) && !ends_with_mark(pair[0])) c->cut_at_marks = false;
    return THEA_OK;
}

static thea_rc read_merges(struct bpe_config *c, const struct vocab *v, const struct place *model,
                           struct thea_err *err)
{
    struct place list = place_member(model, "merges");
    struct buf joined = {0};
    thea_rc rc = place_expect(&list, JSON_LIST_, err);
    size_t count = json_count(list.node);
    if (rc == THEA_OK) merge_table_init(&c->merges, count);
    for (size_t i = 0; i < count && rc == THEA_OK; i++) {
        struct place p = place_item(&list, i);
        rc = read_merge(c, v, &p, (uint32_t)i, &joined, err);
    }
    buf_fini(&joined);
    return rc;
}

static void find_bytes(struct bpe_config *c, const struct vocab *v)
{
    for (int b = 0; b < 256; b++) {
        char text[8];
        size_t n = c->bytelevel ? utf8_put(text, bytelevel_char((unsigned char)b))
                                : (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        int32_t id = vocab_find(v, text, n);
        c->byte_ids[b] = id >= 0 && v->entries[id].model ? id : -1;
    }
}

static thea_rc find_unknown(struct bpe_config *c, const struct vocab *v, const struct place *model,
                            struct thea_err *err)
{
    struct place p = place_member(model, "unk_token");
    const char *text;
    size_t len;
    c->unk = -1;
    if (place_is_null(&p)) return THEA_OK;
    thea_rc rc = place_string(model, "unk_token", &text, &len, err);
    return rc != THEA_OK ? rc : find_side(v, &p, text, len, "the unknown token", &c->unk, err);
}

/* Unknown marks could be fused with unknown neighbours; of a dropped character both neighbours meet. */
static bool keeps_marks_apart(const struct bpe_config *c, const struct vocab *v)
{
    int32_t mark = vocab_find(v, BPE_MARK, MARK_BYTES);
    bool all_bytes = c->byte_fallback;
    for (int b = 0; b < 256; b++) all_bytes = all_bytes && c->byte_ids[b] >= 0;
    return mark >= 0 && v->entries[mark].model && (c->unk >= 0 || all_bytes);
}

/* What this model does not do, if the file asks for it. */
static thea_rc refuse_others(const struct place *model, struct thea_err *err)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    struct place p = place_member(model, "dropout");
    if (json_number_or(model->node, "dropout", 0) != 0)
        return place_fail(&p, err, "dropout is not supported: encoding would be random");
    for (size_t i = 0; i < 2; i++) {
        p = place_member(model, affixes[i]);
        size_t n = 0;
        json_text(p.node, &n);
        if (n > 0)
            return place_fail(&p, err, "'%.40s' is not supported; supported: none", json_text(p.node, NULL));
    }
    return THEA_OK;
}

thea_rc bpe_load(struct bpe_config *c, const struct place *model, struct vocab *v, struct thea_err *err)
{
    struct place p = place_member(model, "byte_fallback");
    thea_rc rc = refuse_others(model, err);
    if (rc == THEA_OK) rc = place_bool(model, "byte_fallback", false, &c->byte_fallback, err);
    if (rc == THEA_OK) rc = place_bool(model, "fuse_unk", false, &c->fuse_unk, err);
    if (rc == THEA_OK) rc = place_bool(model, "ignore_merges", false, &c->ignore_merges, err);
    if (rc == THEA_OK && c->byte_fallback && c->bytelevel)
        return place_fail(&p, err, "byte_fallback together with a ByteLevel pre-tokenizer is not supported");
    if (rc == THEA_OK) rc = vocab_load(v, model, err);
    c->cut_at_marks = !c->bytelevel && !c->ignore_merges;
    if (rc == THEA_OK) rc = read_merges(c, v, model, err);
    if (rc == THEA_OK) rc = find_unknown(c, v, model, err);
    if (rc != THEA_OK) return rc;
    find_bytes(c, v);
    if (!keeps_marks_apart(c, v)) c->cut_at_marks = false;
    return THEA_OK;
}
