/* The front: see tokenizer.h. A text is cut at added tokens, the rest normalized, cut again at those that are
 * found in normalized text, then into words, then into tokens; every piece knows its way back to the
 * document. */
#include "text/tokenizer.h"

#include "text/added.h"
#include "text/bpe.h"
#include "text/bpe_load.h"
#include "text/decode.h"
#include "text/normalize.h"
#include "text/postprocess.h"
#include "text/pretokenize.h"
#include "text/tokenizer_internal.h"
#include "text/unicode.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_BYTES_MAX = 256 << 20 };
static const int64_t text_bytes_max = (int64_t)1 << 31;

struct tokenizer {
    struct vocab vocab;
    struct normalizer *normalizer;
    struct pretokenizer *pretokenizer;
    struct bpe *model;
    struct added_set raw, normalized; /* added tokens looked for before and after normalizing */
    struct template_ids template;
    struct decoder *decoder;
    scan_fn scan;
};

/* --- opening --- */

struct added_entry {
    const char *text;
    size_t len;
    struct added_token token;
    bool normalized, special;
};

static thea_rc read_added(struct added_entry *a, const struct place *p, struct thea_err *err)
{
    int64_t id;
    thea_rc rc = place_expect(p, JSON_MAP_, err);
    if (rc == THEA_OK) rc = place_string(p, "content", &a->text, &a->len, err);
    if (rc == THEA_OK) rc = place_int(p, "id", -1, &id, err);
    if (rc == THEA_OK) rc = place_bool(p, "special", false, &a->special, err);
    if (rc == THEA_OK) rc = place_bool(p, "normalized", !a->special, &a->normalized, err);
    if (rc == THEA_OK) rc = place_bool(p, "single_word", false, &a->token.single_word, err);
    if (rc == THEA_OK) rc = place_bool(p, "lstrip", false, &a->token.lstrip, err);
    if (rc == THEA_OK) rc = place_bool(p, "rstrip", false, &a->token.rstrip, err);
    if (rc != THEA_OK) return rc;
    if (a->len == 0) return place_fail(p, err, "its content is empty");
    if (id < 0 || id > VOCAB_ID_MAX)
        return place_fail(p, err, "'%.80s' has id %lld; ids go from 0 to %d", a->text, (long long)id,
                          VOCAB_ID_MAX);
    a->token.id = (int32_t)id;
    return THEA_OK;
}

static thea_rc take_id(struct vocab *v, const struct added_entry *a, const struct place *p,
                       struct thea_err *err)
{
    int32_t id = a->token.id, known = vocab_find(v, a->text, a->len);
    size_t n = 0;
    const char *other = vocab_text(v, id, &n);
    if (known >= 0 && known != id)
        return place_fail(p, err, "'%.80s' has id %d here and %d in the vocabulary", a->text, id, known);
    if (known < 0 && other != NULL)
        return place_fail(p, err, "'%.80s' has id %d, which is that of '%.*s'", a->text, id,
                          (int)(n < 80 ? n : 80), other);
    if (known >= 0) return THEA_OK;
    thea_rc rc = bpe_check_id(p, a->text, id, v->used, err);
    if (rc == THEA_OK && !vocab_add(v, a->text, a->len, id)) abort();
    return rc;
}

static thea_rc find_in_text(struct tokenizer *t, const struct added_entry *a, struct thea_err *err)
{
    struct mapped_view text = {.text = a->text, .len = a->len};
    if (!a->normalized) {
        added_set_add(&t->raw, a->text, a->len, a->token);
        return THEA_OK;
    }
    thea_rc rc = normalizer_apply(t->normalizer, &text, &text, err);
    if (rc != THEA_OK) return rc;
    added_set_add(&t->normalized, text.text, text.len, a->token);
    if (text.len != a->len || memcmp(text.text, a->text, a->len) != 0)
        vocab_say(&t->vocab, a->token.id, text.text, text.len);
    return THEA_OK;
}

/* Special tokens go first: of two that are found by the same text, they win. */
static thea_rc read_added_tokens(struct tokenizer *t, const struct place *file, struct thea_err *err)
{
    struct place list = place_member(file, "added_tokens");
    if (place_is_null(&list)) return THEA_OK;
    thea_rc rc = place_expect(&list, JSON_LIST_, err);
    for (size_t i = 0, n = json_count(list.node); i < 2 * n && rc == THEA_OK; i++) {
        struct place item = place_item(&list, i % n);
        struct added_entry a = {0};
        rc = read_added(&a, &item, err);
        if (rc != THEA_OK || a.special != (i < n)) continue;
        rc = take_id(&t->vocab, &a, &item, err);
        if (rc != THEA_OK) break;
        t->vocab.entries[a.token.id].special |= a.special;
        rc = find_in_text(t, &a, err);
    }
    return rc;
}

static thea_rc read_model(struct tokenizer *t, const struct place *file, struct thea_err *err)
{
    static const char *const supported[] = {"BPE", NULL};
    struct place model = place_member(file, "model"), type_at = place_member(&model, "type");
    const char *type = "BPE"; /* old files leave it out */
    if (model.node == NULL)
        return place_fail(file, err,
                          "no \"model\" in it: this is no tokenizer.json of the tokenizers library");
    thea_rc rc = place_expect(&model, JSON_MAP_, err);
    if (rc == THEA_OK && (!place_is_null(&type_at) || json_member(model.node, "merges") == NULL))
        rc = place_type(&model, &type, err);
    if (rc != THEA_OK) return rc;
    if (strcmp(type, "BPE") != 0) return place_unsupported(&model, err, type, supported);
    vocab_init(&t->vocab, json_count(json_member(model.node, "vocab")));
    return bpe_new(&t->model, &model, &t->vocab, pretokenizer_is_bytelevel(t->pretokenizer), err);
}

static thea_rc build(struct tokenizer *t, const struct place *file, struct thea_err *err)
{
    struct place normalizer = place_member(file, "normalizer"),
                 pretokenizer = place_member(file, "pre_tokenizer");
    struct place post = place_member(file, "post_processor"), decoder = place_member(file, "decoder");
    unicode_init();
    thea_rc rc = place_expect(file, JSON_MAP_, err);
    if (rc == THEA_OK) rc = normalizer_new(&t->normalizer, &normalizer, err);
    if (rc == THEA_OK) rc = pretokenizer_new(&t->pretokenizer, &pretokenizer, err);
    if (rc == THEA_OK) rc = read_model(t, file, err);
    if (rc == THEA_OK) rc = read_added_tokens(t, file, err);
    if (rc == THEA_OK) rc = template_read(&t->template, &post, &t->vocab, err);
    if (rc == THEA_OK) rc = decoder_new(&t->decoder, &decoder, err);
    if (rc == THEA_OK) t->scan = pretokenizer_scan(t->pretokenizer);
    return rc; /* "truncation" and "padding" are the batches' of training scripts: documents here are neither
                  cut nor padded */
}

static thea_rc from_json(struct tokenizer **out, const struct json_node *node, const char *what,
                         struct thea_err *err)
{
    struct place file = {.node = node, .name = what};
    struct tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL) abort();
    thea_rc rc = build(t, &file, err);
    if (rc == THEA_OK)
        *out = t;
    else
        tokenizer_close(t);
    return rc;
}

thea_rc tokenizer_parse(struct tokenizer **out, const char *json, size_t len, const char *what,
                        struct thea_err *err)
{
    struct json_node *node = NULL;
    thea_rc rc = json_parse(&node, json, len, what, err);
    if (rc == THEA_OK) rc = from_json(out, node, what, err);
    json_free(node);
    return rc;
}

thea_rc tokenizer_open(struct tokenizer **out, const char *path, struct thea_err *err)
{
    struct stat st;
    struct json_node *node = NULL;
    struct buf file = {0};
    bool directory = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    buf_printf(&file, "%s%s", path, directory ? "/tokenizer.json" : "");
    thea_rc rc = json_read_file(&node, file.data, FILE_BYTES_MAX, err);
    if (rc == THEA_OK) rc = from_json(out, node, file.data, err);
    json_free(node);
    buf_fini(&file);
    return rc;
}

void tokenizer_close(struct tokenizer *t)
{
    if (t == NULL) return;
    normalizer_free(t->normalizer);
    pretokenizer_free(t->pretokenizer);
    bpe_free(t->model);
    vocab_fini(&t->vocab);
    added_set_fini(&t->raw);
    added_set_fini(&t->normalized);
    template_fini(&t->template);
    decoder_free(t->decoder);
    free(t);
}

size_t tokenizer_vocab_size(const struct tokenizer *t)
{
    return t->vocab.size;
}

int32_t tokenizer_id(const struct tokenizer *t, const char *token)
{
    return vocab_find(&t->vocab, token, strlen(token));
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->vocab.size && t->vocab.entries[id].special;
}

void tokenizer_forget_words(struct tokenizer *t)
{
    bpe_forget(t->model);
}

void tokenizer_use_regex(struct tokenizer *t)
{
    pretokenizer_use_regex(t->pretokenizer);
    t->scan = NULL;
}

/* --- encoding --- */

/* Plain text without added tokens, normalized. */
static thea_rc encode_words(struct tokenizer *t, const struct mapped_view *v, struct token_list *out,
                            struct thea_err *err)
{
    const struct word_span *words;
    struct mapped_view text;
    size_t count;
    if (t->scan != NULL) {
        for (size_t at = 0, end; at < v->len; at = end) {
            end = t->scan(v->text, v->len, at);
            bpe_append(t->model, v, at, end, out);
        }
        return THEA_OK;
    }
    thea_rc rc = pretokenizer_apply(t->pretokenizer, v, &text, &words, &count, err);
    for (size_t i = 0; rc == THEA_OK && i < count; i++)
        bpe_append(t->model, &text, words[i].start, words[i].end, out);
    return rc;
}

static thea_rc encode_piece(struct tokenizer *t, const struct mapped_view *piece, struct token_list *out,
                            struct thea_err *err)
{
    struct mapped_view v;
    struct added_walk w = {0};
    thea_rc rc = normalizer_apply(t->normalizer, piece, &v, err);
    while (rc == THEA_OK && added_next(&t->normalized, v.text, v.len, &w)) {
        struct mapped_view part = mapped_part(&v, w.start, w.end - w.start);
        if (w.id >= 0)
            token_list_add(out, w.id, mapped_end(&v, w.end));
        else
            rc = encode_words(t, &part, out, err);
    }
    return rc;
}

static int64_t last_end(const struct token_list *list)
{
    return list->count > 0 ? list->ends[list->count - 1] : 0;
}

/* Tokens that swallow spaces can overlap the token after them; offsets never go back. */
static void make_monotone(struct token_list *list)
{
    for (size_t i = 1; i < list->count; i++)
        if (list->ends[i] < list->ends[i - 1]) list->ends[i] = list->ends[i - 1];
}

thea_rc tokenizer_encode(struct tokenizer *t, const char *text, size_t len, bool special,
                         struct token_list *out, struct thea_err *err)
{
    struct mapped_view document = {.text = text, .len = len};
    struct added_walk w = {0};
    size_t bad;
    thea_rc rc = THEA_OK;
    out->count = 0;
    if ((int64_t)len >= text_bytes_max)
        return thea_fail(err, THEA_EDOC, "a text of %zu bytes; at most %lld can be tokenized at once", len,
                         (long long)text_bytes_max - 1);
    if (!utf8_valid(text, len, &bad)) return thea_fail(err, THEA_EDOC, "not valid UTF-8 at byte %zu", bad);
    for (size_t i = 0; special && i < t->template.before.count; i++)
        token_list_add(out, t->template.before.at[i], 0);
    while (rc == THEA_OK && added_next(&t->raw, text, len, &w)) {
        struct mapped_view piece = mapped_part(&document, w.start, w.end - w.start);
        if (w.id >= 0)
            token_list_add(out, w.id, (int64_t)w.end);
        else
            rc = encode_piece(t, &piece, out, err);
    }
    make_monotone(out);
    for (size_t i = 0; special && i < t->template.after.count; i++)
        token_list_add(out, t->template.after.at[i], last_end(out));
    return rc;
}

/* --- decoding --- */

struct token_decoder {
    const struct tokenizer *tokenizer;
    struct decoder_state *state;
    bool skip_special;
};

thea_rc token_decoder_new(struct token_decoder **out, struct tokenizer *t, bool skip_special,
                          struct thea_err *err)
{
    struct token_decoder *d = calloc(1, sizeof *d);
    if (d == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    *d = (struct token_decoder){
        .tokenizer = t, .state = decoder_state_new(t->decoder), .skip_special = skip_special};
    *out = d;
    return THEA_OK;
}

void token_decoder_free(struct token_decoder *d)
{
    if (d == NULL) return;
    decoder_state_free(d->state);
    free(d);
}

thea_rc token_decoder_push(struct token_decoder *d, const int32_t *ids, size_t n, struct buf *out,
                           struct thea_err *err)
{
    const struct vocab *v = &d->tokenizer->vocab;
    thea_rc rc = THEA_OK;
    for (size_t i = 0; i < n && rc == THEA_OK; i++) {
        size_t len;
        const char *text = vocab_said(v, ids[i], &len);
        if (text == NULL)
            return thea_fail(err, THEA_EDOC, "token id %d is not in the vocabulary (ids below %zu)", ids[i],
                             v->size);
        if (d->skip_special && v->entries[ids[i]].special) continue;
        rc = decoder_push(d->state, text, len, out, err);
    }
    return rc;
}

thea_rc token_decoder_flush(struct token_decoder *d, struct buf *out, struct thea_err *err)
{
    return decoder_flush(d->state, out, err);
}

thea_rc tokenizer_decode(struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                         struct buf *out, struct thea_err *err)
{
    struct token_decoder *d = NULL;
    thea_rc rc = token_decoder_new(&d, t, skip_special, err);
    if (rc == THEA_OK) rc = token_decoder_push(d, ids, n, out, err);
    if (rc == THEA_OK) rc = token_decoder_flush(d, out, err);
    token_decoder_free(d);
    return rc;
}
