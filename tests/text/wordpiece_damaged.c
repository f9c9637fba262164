/* Damaged WordPiece files: of tokenizer.json one change a case; of vocab.txt and tokenizer_config.json what
 * people really have, and what is refused. */
#include "tests/text/support.h"

#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char good[] =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"[UNK]\",\"special\":true}],"
    "\"truncation\":{\"max_length\":2,\"strategy\":\"LongestFirst\",\"stride\":0},"
    "\"padding\":{\"strategy\":{\"Fixed\":9},\"direction\":\"Right\",\"pad_id\":0,\"pad_token\":\"[PAD]\"},"
    "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
    "\"strip_accents\":null,\"lowercase\":true},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
    "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",2],\"cls\":[\"[CLS]\",1]},"
    "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},"
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
    "\"max_input_chars_per_word\":100,\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"##b\":4}}}";

struct damage {
    const char *find, *put, *says;
};
static const struct damage damages[] = {
    {"\"unk_token\":\"[UNK]\"", "\"unk_token\":\"<unk>\"",
     "model.unk_token: the unknown token '<unk>' is not in the vocabulary"},
    {"\"unk_token\":\"[UNK]\"", "\"unk_token\":5", "model.unk_token: a string expected, an integer"},
    {"\"continuing_subword_prefix\":\"##\"", "\"continuing_subword_prefix\":[]",
     "model.continuing_subword_prefix: a string expected, a list"},
    {":100", ":0", "model.max_input_chars_per_word: 0; 1 to 1024 are accepted"},
    {":100", ":1000000000", "model.max_input_chars_per_word: 1000000000; 1 to 1024"},
    {":100", ":\"100\"", "model.max_input_chars_per_word: an integer expected, a string"},
    {"\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"##b\":4}", "\"vocab\":{}",
     "model.vocab: no tokens in it"},
    {"\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"##b\":4}", "\"vocab\":[\"[UNK]\"]",
     "model.vocab: a map expected, a list"},
    {"\"##b\":4", "\"##b\":3", "have the same id 3"},
    {"\"##b\":4", "\"##b\":-4", "token '##b' has id -4; ids go from 0"},
    {"\"##b\":4", "\"##b\":4444444", "token '##b' has id 4444444 in a vocabulary of 5 tokens"},
    {"\"lowercase\":true", "\"lowercase\":\"yes\"", "normalizer.lowercase: a boolean expected, a string"},
    {"\"strip_accents\":null", "\"strip_accents\":0",
     "normalizer.strip_accents: a boolean expected, an integer"},
    {"\"clean_text\":true", "\"clean_text\":{}", "normalizer.clean_text: a boolean expected, a map"},
    {"\"cleanup\":true", "\"cleanup\":1", "decoder.cleanup: a boolean expected, an integer"},
    {"\"prefix\":\"##\",\"cleanup\"", "\"prefix\":2,\"cleanup\"",
     "decoder.prefix: a string expected, an integer"},
    {"[\"[CLS]\",1]", "[\"[CLS]\",77]", "special token 'cls' has id 77, which the vocabulary does not have"},
    {"[\"[CLS]\",1]", "[\"[CLS]\"]", "post_processor.cls: [\"token\", id] expected"},
    {"{\"type\":\"BertPreTokenizer\"}", "{\"type\":\"ByteLevel\"}",
     "model: WordPiece after a ByteLevel pre-tokenizer is not supported"},
};
enum { DAMAGES = sizeof damages / sizeof *damages };

Test(wordpiece_damaged, the_unchanged_file_is_good_and_its_truncation_and_padding_are_ignored)
{
    struct tokenizer *t = open_text(good);
    struct token_list got = encode(t, "ab A ab", 7, true);
    const int32_t want[] = {1, 3, 4, 3, 3, 4, 2};
    cr_assert(got.count == 7 && memcmp(got.ids, want, sizeof want) == 0);
    token_list_fini(&got);
    tokenizer_close(t);
}

ParameterizedTestParameters(wordpiece_damaged, each_damage_has_its_own_message)
{
    static size_t index[DAMAGES];
    for (size_t i = 0; i < DAMAGES; i++) index[i] = i;
    return cr_make_param_array(size_t, index, DAMAGES);
}

ParameterizedTest(size_t *i, wordpiece_damaged, each_damage_has_its_own_message)
{
    const struct damage *d = &damages[*i];
    struct tokenizer *t = NULL;
    struct thea_err err = {0};
    struct buf text = {0};
    const char *at = strstr(good, d->find);
    cr_assert_not_null(at, "nothing to change: %s", d->find);
    buf_add(&text, good, (size_t)(at - good));
    buf_add_text(&text, d->put);
    buf_add_text(&text, at + strlen(d->find));
    thea_rc rc = tokenizer_parse(&t, text.data, text.len, "tokenizer.json", &err);
    cr_assert_eq(rc, THEA_EDATA, "accepted, or another error: %s", text.data);
    cr_assert_null(t);
    cr_assert_not_null(strstr(err.message, d->says), "expected '%s' in:\n%s", d->says, err.message);
    buf_fini(&text);
}

Test(wordpiece_damaged, every_beginning_of_a_good_file_is_refused)
{
    for (size_t n = 0; n + 1 < sizeof good; n++) {
        struct tokenizer *t = NULL;
        struct thea_err err = {0};
        cr_assert_eq(tokenizer_parse(&t, good, n, "tokenizer.json", &err), THEA_EDATA, "%zu bytes", n);
    }
}

/* --- vocab.txt and tokenizer_config.json --- */

static void write_file(const char *dir, const char *name, const char *text, size_t len)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(text, 1, len, file), len);
    cr_assert_eq(fclose(file), 0);
}

/* Opens a directory of these two (config may be NULL); the directory goes again. */
static thea_rc open_pair(struct tokenizer **t, const char *vocab, size_t len, const char *config,
                         struct thea_err *err)
{
    char dir[] = "/tmp/thea-vocab-XXXXXX", path[256];
    *t = NULL;
    cr_assert_not_null(mkdtemp(dir));
    write_file(dir, "vocab.txt", vocab, len);
    if (config != NULL) write_file(dir, "tokenizer_config.json", config, strlen(config));
    thea_rc rc = tokenizer_open(t, dir, err);
    snprintf(path, sizeof path, "%s/vocab.txt", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
    unlink(path);
    rmdir(dir);
    return rc;
}

#define WORDS "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\nA\n"

static void expect(const char *vocab, const char *config, const char *text, const int32_t *ids, size_t n)
{
    struct tokenizer *t;
    struct thea_err err = {0};
    thea_rc rc = open_pair(&t, vocab, strlen(vocab), config, &err);
    cr_assert_eq(rc, THEA_OK, "%s", err.message);
    struct token_list got = encode(t, text, strlen(text), true);
    char *want = ids_text(ids, n), *have = ids_text(got.ids, got.count);
    cr_assert(got.count == n && memcmp(got.ids, ids, n * sizeof *ids) == 0, "'%s': expected %s, got %s", text,
              want, have);
    free(want);
    free(have);
    token_list_fini(&got);
    tokenizer_close(t);
}
#define IDS(vocab, config, text, ...)                                                                        \
    expect(vocab, config, text, (const int32_t[]){__VA_ARGS__},                                              \
           sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

Test(vocab_txt, without_a_config_is_for_lower_case)
{
    IDS(WORDS, NULL, "AB a [UNK]", 2, 4, 5, 4, 1, 3);
}

Test(vocab_txt, is_read_as_the_config_says)
{
    IDS(WORDS, "{\"do_lower_case\": false}", "Ab a", 2, 6, 5, 4, 3);
    IDS(WORDS "<s>\n",
        "{\"cls_token\": {\"content\": \"<s>\", \"lstrip\": false}, \"tokenizer_class\": "
        "\"BertTokenizer\"}",
        "a<s>", 7, 4, 7, 3);
    IDS(WORDS "\xC3\xA9\n", "{\"strip_accents\": false}", "\xC3\x89", 2, 7, 3);
    IDS(WORDS, "{\"added_tokens_decoder\": {\"7\": {\"content\": \"<new>\", \"special\": true}}}", "a<new>b",
        2, 4, 7, 1, 3);
}

Test(vocab_txt, may_have_other_line_ends_blank_lines_and_doubles)
{
    IDS("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\na\r\n##b\r\n", NULL, "ab", 2, 4, 5, 3);
    IDS("[PAD]\n[UNK]\n[CLS]\n[SEP]\n\na\n\na", NULL, "a", 2, 7, 3);
}

struct refusal {
    const char *vocab;
    size_t len;
    const char *config;
    const char *says;
};
#define TEXT(text) text, sizeof(text) - 1

Test(vocab_txt, what_is_damaged_or_another_tokenizers_is_refused)
{
    static const struct refusal refusals[] = {
        {TEXT(WORDS), "{\"do_basic_tokenize\": false}",
         "tokenizer_config.json: do_basic_tokenize: false is not"},
        {TEXT(WORDS), "{\"tokenizer_class\": \"BertJapaneseTokenizer\"}",
         "tokenizer_config.json: tokenizer_class: 'BertJapaneseTokenizer' is not supported; supported: "
         "BertTok"},
        {TEXT(WORDS), "{\"do_lower_case\": 3}", "normalizer.lowercase: a boolean expected, an integer"},
        {TEXT(WORDS), "[]", "tokenizer_config.json: a map expected, a list"},
        {TEXT(WORDS), "{\"do_lower_case\"", "tokenizer_config.json"},
        {TEXT(WORDS), "{\"cls_token\": \"<s>\"}", "post_processor.cls: [\"token\", id] expected"},
        {TEXT(WORDS), "{\"added_tokens_decoder\": {\"4\": {\"content\": \"x\"}}}",
         "'x' has id 4, which is that of"},
        {TEXT(WORDS), "{\"added_tokens_decoder\": {\"4\": 5}}",
         "content: a string expected, but it is missing"},
        {TEXT("[PAD]\n[UNK]\n[CLS]\n"), NULL, "post_processor.sep: [\"token\", id] expected"},
        {TEXT("[CLS]\n[SEP]\na\n"), NULL, "the unknown token '[UNK]' is not in the vocabulary"},
        {TEXT(""), NULL, "model.vocab: no tokens in it"},
        {TEXT("[UNK]\n[CLS]\n[SEP]\n\xFF\n"), NULL, "vocab.txt: not valid UTF-8 at byte 18"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        struct tokenizer *t;
        struct thea_err err = {0};
        cr_assert_eq(open_pair(&t, r->vocab, r->len, r->config, &err), THEA_EDATA, "case %zu: %s", i,
                     err.message);
        cr_assert_not_null(strstr(err.message, r->says), "case %zu: expected '%s' in:\n%s", i, r->says,
                           err.message);
    }
}
