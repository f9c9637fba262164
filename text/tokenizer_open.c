/* Opening a tokenizer.json: every part is read and checked here, so that no text can meet a feature that is
 * missing. */
#include "text/bert.h"
#include "text/tokenizer_internal.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"
#include "text/vocab_load.h"
#include "text/vocab_txt.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 256 << 20 };

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
    thea_rc rc = vocab_check_id(p, a->text, id, v->used, err);
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
    thea_rc rc = normalizer_apply(t->normalizer, &text, false, &text, err);
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
        struct place item = place_item(&list, i < n ? i : i - n);
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

/* First of all: of a Unigram file, say that, not that its normalizer is unknown. */
static thea_rc model_type(const char **type, const struct place *file, struct thea_err *err)
{
    static const char *const supported[] = {"BPE", "WordPiece", NULL};
    struct place model = place_member(file, "model"), type_at = place_member(&model, "type");
    *type = "BPE"; /* old files leave it out */
    if (model.node == NULL)
        return place_fail(file, err,
                          "no \"model\" in it: this is no tokenizer.json of the tokenizers library");
    thea_rc rc = place_expect(&model, JSON_MAP_, err);
    if (rc == THEA_OK && (!place_is_null(&type_at) || json_member(model.node, "merges") == NULL))
        rc = place_type(&model, type, err);
    if (rc != THEA_OK) return rc;
    for (size_t i = 0; supported[i] != NULL; i++)
        if (strcmp(*type, supported[i]) == 0) return THEA_OK;
    return place_unsupported(&model, err, *type, supported);
}

static thea_rc read_model(struct tokenizer *t, const char *type, const struct place *file,
                          struct thea_err *err)
{
    struct place model = place_member(file, "model");
    bool bytelevel = pretokenizer_is_bytelevel(t->pretokenizer);
    vocab_init(&t->vocab, json_count(json_member(model.node, "vocab")));
    if (strcmp(type, "BPE") == 0) return bpe_new(&t->bpe, &model, &t->vocab, bytelevel, err);
    if (bytelevel)
        return place_fail(&model, err, "WordPiece after a ByteLevel pre-tokenizer is not supported");
    return wordpiece_new(&t->wordpiece, &model, &t->vocab, err);
}

static void choose_scanner(struct tokenizer *t)
{
    t->scan = pretokenizer_scan(t->pretokenizer);
    t->skip_gaps = pretokenizer_is_bert(t->pretokenizer);
    if (t->skip_gaps) t->scan = bert_scan;
}

/* An added token that is looked for in normalized text could lie across any border. */
static void choose_border(struct tokenizer *t)
{
    t->part = BORDER_PART;
    if (t->normalized.count > 0) return;
    t->border = border_of_bert(t->normalizer, t->pretokenizer);
    if (t->border == NULL) t->border = border_of_marks(t->normalizer, t->pretokenizer, t->bpe);
}

static thea_rc build(struct tokenizer *t, const struct place *file, struct thea_err *err)
{
    struct place normalizer = place_member(file, "normalizer"),
                 pretokenizer = place_member(file, "pre_tokenizer");
    struct place post = place_member(file, "post_processor"), decoder = place_member(file, "decoder");
    const char *type;
    unicode_init();
    thea_rc rc = place_expect(file, JSON_MAP_, err);
    if (rc == THEA_OK) rc = model_type(&type, file, err);
    if (rc == THEA_OK) rc = normalizer_new(&t->normalizer, &normalizer, err);
    if (rc == THEA_OK) rc = pretokenizer_new(&t->pretokenizer, &pretokenizer, err);
    if (rc == THEA_OK) rc = read_model(t, type, file, err);
    if (rc == THEA_OK) rc = read_added_tokens(t, file, err);
    if (rc == THEA_OK) rc = template_read(&t->template, &post, &t->vocab, err);
    if (rc == THEA_OK) rc = decoder_new(&t->decoder, &decoder, err);
    if (rc == THEA_OK) choose_scanner(t);
    if (rc == THEA_OK) choose_border(t);
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

/* A directory's tokenizer.json, or the vocab.txt of older BERTs when there is none. */
static thea_rc read_directory(struct json_node **out, const char *dir, struct buf *file, struct thea_err *err)
{
    struct buf config = {0};
    buf_printf(file, "%s/vocab.txt", dir);
    bool old = access(file->data, F_OK) == 0;
    buf_clear(file);
    buf_printf(file, "%s/tokenizer.json", dir);
    if (!old || access(file->data, F_OK) == 0) return json_read_file(out, file->data, FILE_BYTES_MAX, err);
    buf_clear(file);
    buf_printf(file, "%s/vocab.txt", dir);
    buf_printf(&config, "%s/tokenizer_config.json", dir);
    thea_rc rc = vocab_txt_read(out, file->data, config.data, err);
    buf_fini(&config);
    return rc;
}

thea_rc tokenizer_open(struct tokenizer **out, const char *path, struct thea_err *err)
{
    struct stat st;
    struct json_node *node = NULL;
    struct buf file = {0};
    thea_rc rc;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        rc = read_directory(&node, path, &file, err);
    } else {
        buf_add_text(&file, path);
        rc = json_read_file(&node, path, FILE_BYTES_MAX, err);
    }
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
    bpe_free(t->bpe);
    wordpiece_free(t->wordpiece);
    vocab_fini(&t->vocab);
    added_set_fini(&t->raw);
    added_set_fini(&t->normalized);
    template_fini(&t->template);
    decoder_free(t->decoder);
    free(t);
}
