/* See vocab_txt.h. Of equal lines the last counts, as in the reference. */
#include "text/vocab_txt.h"

#include "graph/buf.h"
#include "text/reader.h"
#include "text/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 64 << 20 };

static const char *const classes[] = {
    "BertTokenizer",    "BertTokenizerFast",    "DistilBertTokenizer",     "DistilBertTokenizerFast",
    "ElectraTokenizer", "ElectraTokenizerFast", "MobileBertTokenizer",     "MobileBertTokenizerFast",
    "MPNetTokenizer",   "MPNetTokenizerFast",   "PreTrainedTokenizerFast", NULL};

struct special {
    const char *key, *text;
};
static const struct special specials[] = {{"unk_token", "[UNK]"},
                                          {"cls_token", "[CLS]"},
                                          {"sep_token", "[SEP]"},
                                          {"pad_token", "[PAD]"},
                                          {"mask_token", "[MASK]"}};
enum { UNK, CLS, SEP, SPECIALS = sizeof specials / sizeof *specials };

/* --- the files --- */

static thea_rc read_text(struct buf *text, const char *path, struct thea_err *err)
{
    size_t bad, got;
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return thea_fail(err, errno == ENOENT ? THEA_ENOINPUT : THEA_EIO, "%s: %s", path, strerror(errno));
    while (text->len <= FILE_BYTES_MAX && (got = fread(buf_reserve(text, 1 << 16), 1, 1 << 16, file)) > 0)
        text->len += got;
    bool failed = ferror(file) != 0;
    fclose(file);
    if (failed) return thea_fail(err, THEA_EIO, "%s: cannot be read", path);
    if (text->len > FILE_BYTES_MAX)
        return thea_fail(err, THEA_EDATA, "%s: larger than %d MiB", path, FILE_BYTES_MAX >> 20);
    if (!utf8_valid(buf_text(text), text->len, &bad))
        return thea_fail(err, THEA_EDATA, "%s: not valid UTF-8 at byte %zu", path, bad);
    return THEA_OK;
}

static struct json_node *read_vocab(const char *text, size_t len)
{
    struct json_node *vocab = json_new_map();
    struct buf line = {0};
    int64_t id = 0;
    for (size_t at = 0, end; at < len; at = end + 1, id++) {
        const char *newline = memchr(text + at, '\n', len - at);
        end = newline != NULL ? (size_t)(newline - text) : len;
        size_t n = end - at;
        if (n > 0 && text[at + n - 1] == '\r') n--;
        buf_clear(&line);
        buf_add(&line, text + at, n);
        json_put(vocab, buf_text(&line), json_new_int(id));
    }
    buf_fini(&line);
    return vocab;
}

/* --- the tokenizer.json that says the same --- */

/* A special token's text: "[CLS]", or {"content": "[CLS]", …}. */
static const char *special_text(const struct json_node *config, const struct special *s)
{
    const struct json_node *node = json_member(config, s->key);
    const char *text =
        json_kind(node) == JSON_MAP_ ? json_text_or(node, "content", NULL) : json_text(node, NULL);
    return text != NULL ? text : s->text;
}

static struct json_node *added_token(const char *text, int64_t id)
{
    struct json_node *token = json_new_map();
    json_put(token, "id", json_new_int(id));
    json_put(token, "content", json_new_string(text));
    json_put(token, "special", json_new_bool(true));
    json_put(token, "normalized", json_new_bool(false));
    return token;
}

static bool has_id(const struct json_node *list, int64_t id)
{
    for (size_t i = 0; i < json_count(list); i++)
        if (json_int_or(json_item(list, i), "id", -1) == id) return true;
    return false;
}

/* The special tokens, and what "added_tokens_decoder" has: {"30522": {"content": …}, …}. */
static struct json_node *added_tokens(const struct json_node *config, const struct json_node *vocab)
{
    struct json_node *list = json_new_list();
    for (struct json_iter it = json_iter(json_member(config, "added_tokens_decoder")); json_next(&it);) {
        int64_t id = strtoll(it.key, NULL, 10);
        struct json_node *token =
            json_kind(it.value) == JSON_MAP_ ? json_copy_node(it.value) : json_new_map();
        json_put(token, "id", json_new_int(id));
        json_append(list, token);
    }
    for (size_t i = 0; i < SPECIALS; i++) {
        const char *text = special_text(config, &specials[i]);
        const struct json_node *id = json_member(vocab, text);
        if (id != NULL && !has_id(list, json_int(id))) json_append(list, added_token(text, json_int(id)));
    }
    return list;
}

static struct json_node *of_type(const char *type)
{
    struct json_node *node = json_new_map();
    json_put(node, "type", json_new_string(type));
    return node;
}

static struct json_node *normalizer(const struct json_node *config)
{
    static const char *const keys[][2] = {{"lowercase", "do_lower_case"},
                                          {"strip_accents", "strip_accents"},
                                          {"handle_chinese_chars", "tokenize_chinese_chars"}};
    struct json_node *node = of_type("BertNormalizer");
    for (size_t i = 0; i < 3; i++) {
        const struct json_node *value = json_member(config, keys[i][1]);
        if (value != NULL) json_put(node, keys[i][0], json_copy_node(value));
    }
    return node;
}

static struct json_node *pair_of(const char *text, const struct json_node *vocab)
{
    const struct json_node *id = json_member(vocab, text);
    struct json_node *pair = json_new_list();
    json_append(pair, json_new_string(text));
    json_append(pair, id != NULL ? json_copy_node(id) : json_new_null());
    return pair;
}

static struct json_node *post_processor(const struct json_node *config, const struct json_node *vocab)
{
    struct json_node *node = of_type("BertProcessing");
    json_put(node, "cls", pair_of(special_text(config, &specials[CLS]), vocab));
    json_put(node, "sep", pair_of(special_text(config, &specials[SEP]), vocab));
    return node;
}

static struct json_node *assemble(const struct json_node *config, struct json_node *vocab)
{
    struct json_node *file = json_new_map(), *model = of_type("WordPiece");
    json_put(file, "added_tokens", added_tokens(config, vocab));
    json_put(file, "normalizer", normalizer(config));
    json_put(file, "pre_tokenizer", of_type("BertPreTokenizer"));
    json_put(file, "post_processor", post_processor(config, vocab));
    json_put(file, "decoder", of_type("WordPiece"));
    json_put(model, "unk_token", json_new_string(special_text(config, &specials[UNK])));
    json_put(model, "vocab", vocab);
    json_put(file, "model", model);
    return file;
}

/* What would make another tokenizer of it. */
static thea_rc check_config(const struct json_node *config, const char *path, struct thea_err *err)
{
    struct place file = {.node = config, .name = path}, class = place_member(&file, "tokenizer_class"),
                 basic = place_member(&file, "do_basic_tokenize");
    const char *name = json_text(class.node, NULL);
    thea_rc rc = config != NULL ? place_expect(&file, JSON_MAP_, err) : THEA_OK;
    if (rc != THEA_OK) return rc;
    if (!json_bool_or(config, "do_basic_tokenize", true))
        return place_fail(&basic, err, "false is not supported: words would not be cut at spaces");
    for (size_t i = 0; name != NULL && classes[i] != NULL; i++)
        if (strcmp(name, classes[i]) == 0) return THEA_OK;
    return name != NULL ? place_unsupported(&class, err, name, classes) : THEA_OK;
}

thea_rc vocab_txt_read(struct json_node **out, const char *path, const char *config_path,
                       struct thea_err *err)
{
    struct buf text = {0};
    struct json_node *config = NULL;
    thea_rc rc = THEA_OK;
    if (access(config_path, F_OK) == 0) rc = json_read_file(&config, config_path, FILE_BYTES_MAX, err);
    if (rc == THEA_OK) rc = check_config(config, config_path, err);
    if (rc == THEA_OK) rc = read_text(&text, path, err);
    if (rc == THEA_OK) *out = assemble(config, read_vocab(buf_text(&text), text.len));
    json_free(config);
    buf_fini(&text);
    return rc;
}
