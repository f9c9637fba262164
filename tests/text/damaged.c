/* Damaged and unsupported tokenizer.json files: each is refused with its own message that names the place.
 * One good file, one change a case. */
#include "tests/text/support.h"

#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char good[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
    "\"added_tokens\":[{\"id\":5,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
    "\"normalized\":false,\"special\":true}],"
    "\"normalizer\":null,\"pre_tokenizer\":null,"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\","
    "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"
    "\"pair\":[],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[5],\"tokens\":[\"<s>\"]}}},"
    "\"decoder\":null,"
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
    "\"end_of_word_suffix\":null,\"fuse_unk\":false,"
    "\"byte_fallback\":false,\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"c\":3,\"abc\":4},\"merges\":[\"a "
    "b\",[\"ab\",\"c\"]]}}";

struct damage {
    const char *find, *put, *says;
};

static const struct damage damages[] = {
    /* the file */
    {good, "", "not valid JSON"},
    {"}}", "}", "not valid JSON"},
    {good, "[1, 2]", "a map expected, a list"},
    {good, "{\"hello\": 1}", "no \"model\" in it"},
    {"\"a\":0,", "\"a\":0,\"a\":1,", "not valid JSON"},
    {"\"a\":0,", "\"\\ud800\":0,", "not valid JSON"},
    /* the model */
    {"\"model\":{", "\"model\":[],\"x\":{", "model: a map expected, a list"},
    {"\"type\":\"BPE\"", "\"type\":\"WordLevel\"",
     "model: 'WordLevel' is not supported; supported: BPE, WordPiece"},
    {"\"type\":\"BPE\"", "\"type\":\"Unigram\"", "model: 'Unigram' is not supported"},
    {"\"type\":\"BPE\"", "\"type\":7", "model.type: a string expected, an integer"},
    {"\"dropout\":null", "\"dropout\":0.1", "model.dropout: dropout is not supported"},
    {"\"continuing_subword_prefix\":null", "\"continuing_subword_prefix\":\"##\"",
     "model.continuing_subword_prefix: '##' is not supported"},
    {"\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"</w>\"",
     "model.end_of_word_suffix: '</w>' is not supported"},
    {"\"fuse_unk\":false", "\"fuse_unk\":\"no\"", "model.fuse_unk: a boolean expected, a string"},
    {"\"unk_token\":null", "\"unk_token\":\"<unk>\"",
     "model.unk_token: the unknown token '<unk>' is not in the vocabulary"},
    {"\"unk_token\":null", "\"unk_token\":3", "model.unk_token: a string expected, an integer"},
    /* the vocabulary */
    {"\"vocab\":{", "\"words\":{", "model.vocab: a map expected, but it is missing"},
    {"\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"c\":3,\"abc\":4}", "\"vocab\":[\"a\"]",
     "model.vocab: a map expected, a list"},
    {"\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"c\":3,\"abc\":4}", "\"vocab\":{}",
     "model.vocab: no tokens in it"},
    {"\"b\":1", "\"b\":0", "tokens 'b' and 'a' have the same id 0"},
    {"\"b\":1", "\"b\":-1", "token 'b' has id -1; ids go from 0"},
    {"\"b\":1", "\"b\":99999999999", "token 'b' has id 99999999999; ids go from 0"},
    {"\"b\":1", "\"b\":1000000", "token 'b' has id 1000000 in a vocabulary of 5 tokens"},
    {"\"b\":1", "\"b\":\"1\"", "the id of token 'b' is a string, not an integer"},
    {"\"b\":1", "\"b\":1.5", "the id of token 'b' is a number, not an integer"},
    /* merges */
    {"\"merges\":", "\"rules\":", "model.merges: a list expected, but it is missing"},
    {"\"a b\"", "\"a x\"", "model.merges[0]: the right token 'x' is not in the vocabulary"},
    {"\"a b\"", "\"x b\"", "model.merges[0]: the left token 'x' is not in the vocabulary"},
    {"\"a b\"", "\"b a\"", "model.merges[0]: the merged token 'ba' is not in the vocabulary"},
    {"\"a b\"", "\"ab\"", "model.merges[0]: 'ab' is not two tokens with one space between"},
    {"\"a b\"", "\"a b c\"", "model.merges[0]: 'a b c' is not two tokens"},
    {"[\"ab\",\"c\"]", "[\"ab\"]", "model.merges[1]: a pair expected"},
    {"[\"ab\",\"c\"]", "[\"ab\",3]", "model.merges[1]: item 1 is an integer, not a string"},
    {"[\"ab\",\"c\"]", "17", "model.merges[1]: a pair expected"},
    /* added tokens */
    {"\"added_tokens\":[", "\"added_tokens\":{},\"y\":[", "added_tokens: a list expected, a map"},
    {"\"content\":\"<s>\",", "", "added_tokens[0].content: a string expected, but it is missing"},
    {"\"content\":\"<s>\"", "\"content\":\"\"", "added_tokens[0]: its content is empty"},
    {"\"id\":5,\"content\":\"<s>\"", "\"id\":4,\"content\":\"<s>\"",
     "added_tokens[0]: '<s>' has id 4, which is that of 'abc'"},
    {"\"id\":5,\"content\":\"<s>\"", "\"id\":5,\"content\":\"ab\"",
     "added_tokens[0]: 'ab' has id 5 here and 2 in the vocabulary"},
    {"\"id\":5,\"content\":\"<s>\"", "\"id\":16777216,\"content\":\"<s>\"",
     "added_tokens[0]: '<s>' has id 16777216; ids go from 0"},
    {"\"id\":5,\"content\":\"<s>\"", "\"id\":9999999,\"content\":\"<s>\"",
     "token '<s>' has id 9999999 in a vocabulary of 5 tokens"},
    {"\"lstrip\":false", "\"lstrip\":1", "added_tokens[0].lstrip: a boolean expected, an integer"},
    /* the normalizer */
    {"\"normalizer\":null", "\"normalizer\":{\"type\":\"Nmt\"}",
     "normalizer: 'Nmt' is not supported; supported: NFC"},
    {"\"normalizer\":null",
     "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Precompiled\"}]}",
     "normalizer.normalizers[1]: 'Precompiled' is not supported"},
    {"\"normalizer\":null", "\"normalizer\":{\"type\":\"Sequence\"}",
     "normalizer.normalizers: a list expected, but it is missing"},
    {"\"normalizer\":null", "\"normalizer\":\"NFC\"", "normalizer: a map expected, a string"},
    {"\"normalizer\":null", "\"normalizer\":{\"type\":\"Replace\",\"content\":\"x\"}",
     "normalizer.pattern: a map expected, but it is missing"},
    {"\"normalizer\":null",
     "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Glob\":\"x\"},\"content\":\"x\"}",
     "normalizer.pattern: neither \"String\" nor \"Regex\""},
    {"\"normalizer\":null",
     "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x*\"},\"content\":\"y\"}",
     "normalizer: a pattern that matches the empty text"},
    /* the pre-tokenizer */
    {"\"pre_tokenizer\":null", "\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}",
     "pre_tokenizer: 'UnicodeScripts' is not supported; supported: ByteLevel, Split"},
    {"\"pre_tokenizer\":null",
     "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\"}",
     "pre_tokenizer: regex: missing closing parenthesis"},
    {"\"pre_tokenizer\":null",
     "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},\"behavior\":\"Isolated\"}",
     "pre_tokenizer: regex: && at byte 2 is not supported"},
    {"\"pre_tokenizer\":null",
     "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Shredded\"}",
     "pre_tokenizer.behavior: 'Shredded' is not supported; supported: Isolated, Removed"},
    {"\"pre_tokenizer\":null", "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"}}",
     "pre_tokenizer.behavior: a string expected, but it is missing"},
    {"\"pre_tokenizer\":null", "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"__\"}",
     "pre_tokenizer: replacement is 2 characters long"},
    {"\"pre_tokenizer\":null",
     "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"last\"}",
     "pre_tokenizer.prepend_scheme: 'last' is not supported; supported: always, first, never"},
    {"\"pre_tokenizer\":null",
     "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\",\"add_prefix_"
     "space\":false},{\"type\":\"Digits\"}]}",
     "pre_tokenizer.pretokenizers[1]: a pre-tokenizer after ByteLevel is not supported"},
    {"\"byte_fallback\":false", "\"byte_fallback\":3", "model.byte_fallback: a boolean expected, an integer"},
    /* the post-processor */
    {"\"type\":\"TemplateProcessing\"", "\"type\":\"Fancy\"",
     "post_processor: 'Fancy' is not supported; supported: TemplateProcessing"},
    {"\"special_tokens\":{\"<s>\":", "\"special_tokens\":{\"<x>\":",
     "names special token '<s>', which special_tokens does not have"},
    {"\"ids\":[5]", "\"ids\":[77]", "special token '<s>' has id 77, which the vocabulary does not have"},
    {"\"ids\":[5]", "\"ids\":[\"5\"]", "ids[0]: an integer expected, a string"},
    {"{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}", "{\"SpecialToken\":{\"id\":\"<s>\"}}",
     "post_processor.single: the template has no place for the text"},
    {"{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}}", "{\"Sequence\":{\"id\":\"A\"}}",
     "post_processor.single[1]: the text stands twice"},
    {"{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}}", "{\"Token\":{}}",
     "post_processor.single[0].SpecialToken: a map expected, but it is missing"},
    /* the decoder */
    {"\"decoder\":null", "\"decoder\":{\"type\":\"CTC\"}",
     "decoder: 'CTC' is not supported; supported: ByteLevel"},
    {"\"decoder\":null", "\"decoder\":{\"type\":\"Strip\",\"content\":\"xx\"}",
     "decoder: content is 2 characters long, not 1"},
    {"\"decoder\":null", "\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":-1}",
     "decoder: start and stop must not be negative (-1, 0)"},
    {"\"decoder\":null", "\"decoder\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"\"}",
     "decoder: an empty pattern"},
    {"\"decoder\":null", "\"decoder\":{\"type\":\"Sequence\",\"decoders\":7}",
     "decoder.decoders: a list expected, an integer"},
};
enum { DAMAGES = sizeof damages / sizeof *damages };

static char *changed(const struct damage *d)
{
    struct buf text = {0};
    const char *at = strstr(good, d->find);
    if (strcmp(d->find, "}}") == 0) at = good + strlen(good) - 2; /* the end of the file */
    cr_assert_not_null(at, "nothing to change: %s", d->find);
    buf_add(&text, good, (size_t)(at - good));
    buf_add_text(&text, d->put);
    buf_add_text(&text, at + strlen(d->find));
    return buf_take(&text);
}

Test(damaged, the_unchanged_file_is_good)
{
    struct tokenizer *t = open_text(good);
    struct token_list got = encode(t, "abcab", 5, true);
    cr_assert_eq(got.count, 3);
    cr_assert(got.ids[0] == 5 && got.ids[1] == 4 && got.ids[2] == 2);
    token_list_fini(&got);
    tokenizer_close(t);
}

ParameterizedTestParameters(damaged, each_damage_has_its_own_message)
{
    static size_t index[DAMAGES];
    for (size_t i = 0; i < DAMAGES; i++) index[i] = i;
    return cr_make_param_array(size_t, index, DAMAGES);
}

ParameterizedTest(size_t *i, damaged, each_damage_has_its_own_message)
{
    const struct damage *d = &damages[*i];
    struct tokenizer *t = NULL;
    struct thea_err err = {0};
    char *text = changed(d);
    thea_rc rc = tokenizer_parse(&t, text, strlen(text), "tokenizer.json", &err);
    cr_assert_eq(rc, THEA_EDATA, "accepted, or another error: %s", text);
    cr_assert_null(t);
    cr_assert_eq(strncmp(err.message, "tokenizer.json", 14), 0, "the file is not named: %s", err.message);
    cr_assert_not_null(strstr(err.message, d->says), "expected '%s' in:\n%s", d->says, err.message);
    free(text);
}

Test(damaged, a_unigram_file_is_refused_for_its_model_first)
{
    struct tokenizer *t = NULL;
    struct thea_err err = {0};
    const char *json =
        "{\"normalizer\":{\"type\":\"Precompiled\"},\"pre_tokenizer\":{\"type\":\"Whitespace\"},"
        "\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}";
    cr_assert_eq(tokenizer_parse(&t, json, strlen(json), "tokenizer.json", &err), THEA_EDATA);
    cr_assert_str_eq(err.message,
                     "tokenizer.json: model: 'Unigram' is not supported; supported: BPE, WordPiece");
}

Test(damaged, every_beginning_of_a_good_file_is_refused)
{
    for (size_t n = 0; n + 1 < sizeof good; n++) {
        struct tokenizer *t = NULL;
        struct thea_err err = {0};
        cr_assert_eq(tokenizer_parse(&t, good, n, "tokenizer.json", &err), THEA_EDATA, "%zu bytes", n);
    }
}

Test(damaged, a_file_that_is_not_there_is_no_input)
{
    struct tokenizer *t = NULL;
    struct thea_err err = {0};
    cr_assert_eq(tokenizer_open(&t, "/nonexistent/tokenizer.json", &err), THEA_ENOINPUT);
    cr_assert_not_null(strstr(err.message, "/nonexistent/tokenizer.json"), "%s", err.message);
}

Test(damaged, a_huge_file_is_refused_unread)
{
    char path[] = "/tmp/thea-huge-XXXXXX";
    struct tokenizer *t = NULL;
    struct thea_err err = {0};
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(ftruncate(fd, (off_t)257 << 20), 0);
    thea_rc rc = tokenizer_open(&t, path, &err);
    close(fd);
    unlink(path);
    cr_assert_eq(rc, THEA_EDATA);
    cr_assert_not_null(strstr(err.message, "larger than"), "%s", err.message);
}

Test(damaged, deep_nesting_is_refused)
{
    struct buf text = {0};
    struct tokenizer *t = NULL;
    struct thea_err err = {0};
    for (int i = 0; i < 100000; i++) buf_add_text(&text, "{\"normalizer\":");
    cr_assert_eq(tokenizer_parse(&t, text.data, text.len, "tokenizer.json", &err), THEA_EDATA);
    buf_fini(&text);
    for (int i = 0; i < 40; i++)
        buf_add_text(&text,
                     i == 0 ? "{\"model\":{},\"normalizer\":" : "{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < 40; i++) buf_add_text(&text, i == 39 ? "}" : "]}");
    cr_assert_eq(tokenizer_parse(&t, text.data, text.len, "tokenizer.json", &err), THEA_EDATA);
    cr_assert_not_null(strstr(err.message, "nested deeper"), "%s", err.message);
    buf_fini(&text);
}
