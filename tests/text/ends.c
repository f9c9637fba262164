/* Where tokens end in the document: exact bytes while nothing changes the text, and never nonsense when
 * something does. */
#include "tests/text/support.h"

#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct tokenizer *t;
    const char *name;
    size_t line;
    bool exact;
};

static void check_case(void *context, const struct json_node *line)
{
    struct check *c = context;
    size_t len;
    const char *text = json_text(json_member(line, "text"), &len);
    struct token_list got = encode(c->t, text, len, true);
    int64_t before = 0;
    c->line++;
    for (size_t i = 0; i < got.count; i++) {
        cr_assert(got.ends[i] >= before && got.ends[i] <= (int64_t)len,
                  "%s line %zu: token %zu ends at %lld after %lld of %zu", c->name, c->line, i,
                  (long long)got.ends[i], (long long)before, len);
        if (c->exact && !tokenizer_is_special(c->t, got.ids[i])) {
            struct buf said = decode(c->t, &got.ids[i], 1, false);
            size_t n = (size_t)(got.ends[i] - before);
            bool whole = memmem(said.data, said.len, "\xEF\xBF\xBD", 3) ==
                         NULL; /* else part of a character: only its length can be told */
            cr_assert(!whole || (said.len == n && memcmp(said.data, text + before, n) == 0),
                      "%s line %zu: token %zu says '%s'", c->name, c->line, i, said.data);
            cr_assert_gt(n, 0);
            buf_fini(&said);
        }
        before = got.ends[i];
    }
    if (len > 0)
        cr_assert_eq(before, (int64_t)len, "%s line %zu: the last token ends at %lld of %zu", c->name,
                     c->line, (long long)before, len);
    token_list_fini(&got);
}

ParameterizedTestParameters(ends, grow_to_the_texts_length)
{
    static size_t index[GOLDEN_TOKENIZERS];
    for (size_t i = 0; i < GOLDEN_TOKENIZERS; i++) index[i] = i;
    return cr_make_param_array(size_t, index, GOLDEN_TOKENIZERS);
}

ParameterizedTest(size_t *i, ends, grow_to_the_texts_length)
{
    struct check c = {.name = golden_tokenizers[*i], .t = open_golden(golden_tokenizers[*i])};
    const char *exact[] = {"tokenizers/bytelevel-gpt2", "tokenizers/bytelevel-llama3",
                           "tokenizers/bytelevel-removed", "tokenizers/bytelevel-lfm2"};
    for (size_t k = 0; k < 4; k++) c.exact = c.exact || strcmp(c.name, exact[k]) == 0;
    each_line(c.name, "cases.jsonl", check_case, &c);
    tokenizer_close(c.t);
}

static void expect_ends(const char *json, const char *text, bool special, const int64_t *ends, size_t n)
{
    struct tokenizer *t = open_text(json);
    struct token_list got = encode(t, text, strlen(text), special);
    cr_assert_eq(got.count, n, "'%s' has %zu tokens", text, got.count);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(got.ends[i], ends[i], "'%s': token %zu ends at %lld, not %lld", text, i,
                     (long long)got.ends[i], (long long)ends[i]);
    token_list_fini(&got);
    tokenizer_close(t);
}
#define ENDS(json, text, special, ...)                                                                       \
    expect_ends(json, text, special, (const int64_t[]){__VA_ARGS__},                                         \
                sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

#define LETTERS                                                                                              \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\xE2\x96\x81\":3,\"\xE2\x96\x81"      \
    "a\":4,\"\xC3\xA9\":5,\"e\":6,\"\xCC\x81\":7,\"x\":8},\"merges\":[\"a b\",[\"\xE2\x96\x81\",\"a\"]]}"

Test(ends, a_composed_character_ends_where_its_parts_did)
{
    ENDS("{\"normalizer\":{\"type\":\"NFC\"}," LETTERS "}",
         "ae\xCC\x81"
         "ab",
         false, 1, 4, 6);
}

Test(ends, the_parts_of_a_decomposed_character_end_together)
{
    ENDS("{\"normalizer\":{\"type\":\"NFD\"}," LETTERS "}", "a\xC3\xA9x", false, 1, 3, 3, 4);
}

Test(ends, a_prepended_mark_that_stands_alone_ends_before_the_text)
{
    ENDS("{\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"}," LETTERS "}", "ba", false, 0,
         1, 2);
    ENDS("{\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"}," LETTERS "}", "ax", false, 1,
         2);
}

Test(ends, a_replacement_ends_where_what_it_replaced_did)
{
    ENDS("{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"  \"},\"content\":\"x\"}," LETTERS
         "}",
         "a  b", false, 1, 3, 4);
    ENDS("{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\"}," LETTERS "}", "b a",
         false, 0, 1, 3);
}

Test(ends, swallowed_spaces_belong_to_the_token_that_swallows_them)
{
    ENDS("{\"added_tokens\":[{\"id\":9,\"content\":\"<r>\",\"rstrip\":true,\"special\":true},{\"id\":10,"
         "\"content\":\"<l>\",\"lstrip\":true,\"special\":true}]," LETTERS "}",
         "a<r>  b  <l>x", false, 1, 6, 7, 12, 13);
}

Test(ends, special_tokens_around_a_text_repeat_the_offset_before_them)
{
    ENDS("{\"added_tokens\":[{\"id\":9,\"content\":\"<s>\",\"special\":true}],\"post_processor\":{\"type\":"
         "\"RobertaProcessing\",\"cls\":[\"<s>\",9],\"sep\":[\"<s>\",9]}," LETTERS "}",
         "ab", true, 0, 2, 2);
}
