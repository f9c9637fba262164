/* Corners of encoding that the recorded cases do not reach, on vocabularies small enough to work out by hand
 * (the library agrees). */
#include "tests/text/support.h"

#include <stdlib.h>
#include <string.h>

#define MARK "\xE2\x96\x81"
#define VOCAB                                                                                                \
    "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"" MARK "\":3,\"" MARK MARK "\":4,\"<unk>\":5,\"" MARK             \
    "a\":6,\" \":7}"
#define MERGES "\"merges\":[\"a b\",[\"" MARK "\",\"" MARK "\"],[\"" MARK "\",\"a\"]]"

static void expect(const char *json, const char *text, const int32_t *ids, size_t n)
{
    struct tokenizer *t = open_text(json);
    struct token_list got = encode(t, text, strlen(text), false);
    char *want = ids_text(ids, n), *have = ids_text(got.ids, got.count);
    cr_assert(got.count == n && memcmp(got.ids, ids, n * sizeof *ids) == 0, "'%s': expected %s, got %s", text,
              want, have);
    free(want);
    free(have);
    token_list_fini(&got);
    tokenizer_close(t);
}
#define IDS(json, text, ...)                                                                                 \
    expect(json, text, (const int32_t[]){__VA_ARGS__},                                                       \
           sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

Test(model, marks_meet_over_a_dropped_character)
{
    IDS("{\"model\":{" VOCAB "," MERGES "}}", MARK "x" MARK, 4);
    IDS("{\"model\":{\"unk_token\":\"<unk>\"," VOCAB "," MERGES "}}", MARK "x" MARK, 3, 5, 3);
}

Test(model, unknown_characters_are_fused_if_the_file_says_so)
{
    IDS("{\"model\":{\"unk_token\":\"<unk>\"," VOCAB "," MERGES "}}", "xyaz", 5, 5, 0, 5);
    IDS("{\"model\":{\"unk_token\":\"<unk>\",\"fuse_unk\":true," VOCAB "," MERGES "}}", "xyaz", 5, 0, 5);
}

Test(model, a_merge_across_words_is_made_although_others_are_cut_there)
{
    IDS("{\"model\":{\"unk_token\":\"<unk>\",\"vocab\":{\"a\":0,\"" MARK "\":1,\"a" MARK
        "\":2,\"<unk>\":3},\"merges\":[\"a " MARK "\"]}}",
        "a" MARK "a", 2, 0);
}

Test(model, the_last_of_equal_merges_counts)
{
    IDS("{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"ba\":3},\"merges\":[\"a b\",\"b a\",\"a b\"]}}",
        "aba", 0, 3);
}

Test(model, ignore_merges_takes_a_whole_word_of_the_model_only)
{
    const char *json =
        "{\"added_tokens\":[{\"id\":9,\"content\":\"bb\",\"single_word\":true}],\"pre_tokenizer\":{\"type\":"
        "\"WhitespaceSplit\"},"
        "\"model\":{\"ignore_merges\":true,\"vocab\":{\"a\":0,\"b\":1,\"aba\":2},\"merges\":[]}}";
    IDS(json, "aba abab bb abb", 2, 0, 1, 0, 1, 9, 0, 1, 1);
}

Test(model, the_longest_added_token_wins_then_the_leftmost)
{
    const char *json =
        "{\"added_tokens\":[{\"id\":3,\"content\":\"<a\",\"special\":true},{\"id\":4,\"content\":\"<a>\","
        "\"special\":true},{\"id\":5,\"content\":\"a><\",\"special\":true}],"
        "\"model\":{\"vocab\":{\"a\":0,\"<\":1,\">\":2},\"merges\":[]}}";
    IDS(json, "<a><a", 4, 3);
    IDS(json, "<<aa><", 1, 3, 5);
}

Test(model, an_added_token_found_in_normalized_text_decodes_to_its_normalized_form)
{
    struct tokenizer *t = open_text("{\"added_tokens\":[{\"id\":3,\"content\":\"AB\",\"normalized\":true}],"
                                    "\"normalizer\":{\"type\":\"Lowercase\"},"
                                    "\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}");
    struct token_list ids = encode(t, "aAb", 3, false);
    cr_assert(ids.count == 2 && ids.ids[0] == 0 && ids.ids[1] == 3);
    struct buf text = decode(t, &ids.ids[1], 1, false);
    cr_assert_str_eq(text.data, "ab");
    cr_assert_eq(tokenizer_id(t, "AB"), 3);
    buf_fini(&text);
    token_list_fini(&ids);
    tokenizer_close(t);
}

Test(model, the_cache_of_words_changes_nothing)
{
    struct tokenizer *t = open_golden("tokenizers/bytelevel-gpt2");
    struct buf text = {0};
    for (int i = 0; i < 30000; i++)
        buf_printf(&text, "%s%x", i % 7 == 0 ? "\n" : " w", (unsigned)i * 2654435761u >> (i % 20));
    struct token_list cold = encode(t, text.data, text.len, false),
                      warm = encode(t, text.data, text.len, false);
    tokenizer_use_regex(t);
    tokenizer_forget_words(t);
    struct token_list again = encode(t, text.data, text.len, false);
    cr_assert(cold.count == warm.count && memcmp(cold.ids, warm.ids, cold.count * sizeof *cold.ids) == 0);
    cr_assert(cold.count == again.count && memcmp(cold.ids, again.ids, cold.count * sizeof *cold.ids) == 0);
    cr_assert_eq(memcmp(cold.ends, warm.ends, cold.count * sizeof *cold.ends), 0);
    for (size_t at = 0, i = 0; i < 2000;
         i++, at = (size_t)cold.ends[i * 7 % cold.count]) { /* words alone, at the end of their memory: no
                                                               read past it */
        size_t n = at + 9 <= text.len ? 9 : text.len - at;
        char *alone = malloc(n);
        memcpy(alone, text.data + at, n);
        struct token_list one = encode(t, alone, n, false);
        token_list_fini(&one);
        free(alone);
    }
    token_list_fini(&cold);
    token_list_fini(&warm);
    token_list_fini(&again);
    buf_fini(&text);
    tokenizer_close(t);
}

Test(model, ids_and_special_tokens_can_be_asked_for)
{
    struct tokenizer *t = open_golden("tokenizers/bytelevel-llama3");
    cr_assert_eq(tokenizer_vocab_size(t), 1014);
    cr_assert_eq(tokenizer_id(t, "<|eot_id|>"), 1010);
    cr_assert_eq(tokenizer_id(t, "no such token"), -1);
    cr_assert(tokenizer_is_special(t, 1010));
    cr_assert_not(tokenizer_is_special(t, 0));
    cr_assert_not(tokenizer_is_special(t, -1));
    cr_assert_not(tokenizer_is_special(t, 99999));
    tokenizer_close(t);
}
