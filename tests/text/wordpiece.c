/* WordPiece against the recorded cases of the reference library, from tokenizer.json and from vocab.txt, by
 * the scanner and by the general way; then its corners, on vocabularies small enough to work out by hand. */
#include "tests/text/support.h"

#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the recorded cases --- */

struct way {
    const char *name;
    bool old_files, general;
};
static const struct way ways[] = {
    {"wordpiece-uncased", false, false}, {"wordpiece-uncased", false, true},
    {"wordpiece-uncased", true, false},  {"wordpiece-cased", false, false},
    {"wordpiece-cased", false, true},    {"wordpiece-cased", true, false},
};

enum { WAYS = sizeof ways / sizeof *ways };

struct check {
    struct tokenizer *t;
    const struct way *way;
    size_t line, wrong;
};

static void link_file(const char *dir, const char *name, const char *file)
{
    char from[1024], to[1024];
    snprintf(from, sizeof from, "%s/tests/goldens/tokenizers/%s/%s", THEA_SOURCE_DIR, name, file);
    snprintf(to, sizeof to, "%s/%s", dir, file);
    cr_assert_eq(access(from, R_OK), 0, "%s: missing", from);
    cr_assert_eq(symlink(from, to), 0);
}

static void remove_files(const char *dir)
{
    static const char *const files[] = {"vocab.txt", "tokenizer_config.json", "tokenizer.json"};
    for (size_t i = 0; i < 3; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    rmdir(dir);
}

static struct tokenizer *open_old_files(const char *name)
{
    struct tokenizer *t = NULL;
    struct thea_err err = {0};
    char dir[] = "/tmp/thea-vocab-XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    link_file(dir, name, "vocab.txt");
    link_file(dir, name, "tokenizer_config.json");
    thea_rc rc = tokenizer_open(&t, dir, &err);
    remove_files(dir);
    cr_assert_eq(rc, THEA_OK, "%s", err.message);
    return t;
}

static struct tokenizer *open_way(const struct way *way)
{
    char path[256];
    snprintf(path, sizeof path, "tokenizers/%s", way->name);
    struct tokenizer *t = way->old_files ? open_old_files(way->name) : open_golden(path);
    if (way->general) tokenizer_use_regex(t);
    return t;
}

static void check_ids(struct check *c, const struct json_node *line, const char *key, bool special)
{
    size_t n, len;
    const char *text = json_text(json_member(line, "text"), &len);
    int32_t *want = ids_of(json_member(line, key), &n);
    struct token_list got = encode(c->t, text, len, special);
    if (got.count != n || (n > 0 && memcmp(got.ids, want, n * sizeof *want) != 0)) {
        char *a = ids_text(want, n), *b = ids_text(got.ids, got.count);
        if (c->wrong++ < 5)
            cr_log_error("%s line %zu: %s of '%.80s':\n  expected %s\n  got      %s", c->way->name, c->line,
                         key, text, a, b);
        free(a);
        free(b);
    }
    token_list_fini(&got);
    free(want);
}

/* Of the ids with special tokens; and as they come, cut anywhere. */
static void check_text(struct check *c, const struct json_node *line, const char *key, bool skip)
{
    size_t n, len;
    int32_t *ids = ids_of(json_member(line, "ids_special"), &n);
    const char *want = json_text(json_member(line, key), &len);
    struct buf got = decode(c->t, ids, n, skip), cut = {0};
    struct token_decoder *d = NULL;
    struct thea_err err = {0};
    if (got.len != len || (len > 0 && memcmp(buf_text(&got), want, len) != 0))
        if (c->wrong++ < 5)
            cr_log_error("%s line %zu: %s:\n  expected '%s'\n  got      '%s'", c->way->name, c->line, key,
                         want, buf_text(&got));
    cr_assert_eq(token_decoder_new(&d, c->t, skip, &err), THEA_OK);
    for (size_t i = 0; i < n; i++) cr_assert_eq(token_decoder_push(d, ids + i, 1, &cut, &err), THEA_OK);
    cr_assert_eq(token_decoder_flush(d, &cut, &err), THEA_OK);
    cr_assert(cut.len == got.len && memcmp(buf_text(&cut), buf_text(&got), got.len) == 0,
              "%s line %zu: one by one they decode to '%s'", c->way->name, c->line, buf_text(&cut));
    token_decoder_free(d);
    buf_fini(&got);
    buf_fini(&cut);
    free(ids);
}

static void check_case(void *context, const struct json_node *line)
{
    struct check *c = context;
    c->line++;
    check_ids(c, line, "ids", false);
    check_ids(c, line, "ids_special", true);
    check_text(c, line, "decoded", false);
    check_text(c, line, "decoded_skip_special", true);
}

ParameterizedTestParameters(wordpiece, every_case_is_as_the_reference_has_it)
{
    static size_t index[WAYS];
    for (size_t i = 0; i < WAYS; i++) index[i] = i;
    return cr_make_param_array(size_t, index, WAYS);
}

ParameterizedTest(size_t *i, wordpiece, every_case_is_as_the_reference_has_it)
{
    const struct way *way = &ways[*i];
    struct check c = {.way = way, .t = open_way(way)};
    char name[256];
    snprintf(name, sizeof name, "tokenizers/%s", way->name);
    cr_assert_gt(each_line(name, "cases.jsonl", check_case, &c), 200, "%s has too few cases", name);
    cr_assert_eq(c.wrong, 0, "%s: %zu checks failed", name, c.wrong);
    tokenizer_close(c.t);
}

/* Recorded with a limit of 256 ids, [SEP] kept. */
static void check_cut_case(void *context, const struct json_node *line)
{
    struct check *c = context;
    size_t n, len;
    const char *text = json_text(json_member(line, "text"), &len);
    int32_t *want = ids_of(json_member(line, "ids"), &n);
    struct token_list got = encode(c->t, text, len, true);
    c->line++;
    cr_assert(got.count == n || (n == 256 && got.count > n), "line %zu: %zu ids, not %zu", c->line, got.count,
              n);
    cr_assert_eq(memcmp(got.ids, want, (n - 1) * sizeof *want), 0, "line %zu: other ids", c->line);
    cr_assert_eq(got.ids[got.count - 1], want[n - 1], "line %zu: another end", c->line);
    token_list_fini(&got);
    free(want);
}

Test(wordpiece, the_sentence_encoders_cases_have_the_recorded_ids)
{
    struct check c = {.t = open_golden("tokenizers/wordpiece-uncased")};
    cr_assert_eq(each_line("minilm", "cases.jsonl", check_cut_case, &c), 40);
    tokenizer_close(c.t);
}

/* --- offsets --- */

static void check_ends(void *context, const struct json_node *line)
{
    struct check *c = context;
    size_t len;
    const char *text = json_text(json_member(line, "text"), &len);
    struct token_list got = encode(c->t, text, len, true);
    c->line++;
    for (size_t i = 0; i < got.count; i++) {
        int64_t before = i > 0 ? got.ends[i - 1] : 0, end = got.ends[i];
        cr_assert(end >= before && end <= (int64_t)len, "line %zu: token %zu ends at %lld after %lld of %zu",
                  c->line, i, (long long)end, (long long)before, len);
        cr_assert(end == (int64_t)len || ((unsigned char)text[end] & 0xC0) != 0x80,
                  "line %zu: token %zu ends inside a character", c->line, i);
    }
    token_list_fini(&got);
}

Test(wordpiece, ends_grow_and_lie_between_characters)
{
    for (size_t i = 0; i < WAYS; i++) {
        struct check c = {.way = &ways[i], .t = open_way(&ways[i])};
        char name[256];
        snprintf(name, sizeof name, "tokenizers/%s", ways[i].name);
        each_line(name, "cases.jsonl", check_ends, &c);
        tokenizer_close(c.t);
    }
}

#define BERT                                                                                                 \
    "\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"        \
    "\"decoder\":{\"type\":\"WordPiece\"},"
#define MODEL                                                                                                \
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","        \
    "\"max_input_chars_per_word\":10,\"vocab\":{\"[UNK]\":0,\"a\":1,\"ab\":2,\"##b\":3,\"##bc\":4,"          \
    "\"##c\":5,\".\":6,\"\xE6\x97\xA5\":7,\"e\":8,\"##e\":9,\"b\":10,\"##a\":11}}"

static void expect(const char *json, const char *text, size_t len, const int32_t *ids, const int64_t *ends,
                   size_t n)
{
    struct tokenizer *t = open_text(json);
    for (int general = 0; general < 2; general++) {
        struct token_list got = encode(t, text, len, false);
        char *want = ids_text(ids, n), *have = ids_text(got.ids, got.count);
        cr_assert(got.count == n && (n == 0 || memcmp(got.ids, ids, n * sizeof *ids) == 0),
                  "'%s': expected %s, got %s", text, want, have);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(got.ends[i], ends[i], "'%s': token %zu ends at %lld, not %lld", text, i,
                         (long long)got.ends[i], (long long)ends[i]);
        free(want);
        free(have);
        token_list_fini(&got);
        tokenizer_use_regex(t);
    }
    tokenizer_close(t);
}
#define LIST(...) __VA_ARGS__
#define TOKENS(json, text, ids, ends)                                                                        \
    expect(json, text, sizeof(text) - 1, (const int32_t[]){ids}, (const int64_t[]){ends},                    \
           sizeof((const int32_t[]){ids}) / sizeof(int32_t))

Test(wordpiece, the_longest_piece_goes_first)
{
    TOKENS("{" BERT MODEL "}", "abc abb", LIST(2, 5, 2, 3), LIST(2, 3, 6, 7));
    TOKENS("{" BERT MODEL "}", "abbc", LIST(2, 4), LIST(2, 4));
}

Test(wordpiece, a_word_with_an_unmatchable_rest_is_unknown_as_a_whole)
{
    TOKENS("{" BERT MODEL "}", "abx a", LIST(0, 1), LIST(3, 5));
    TOKENS("{" BERT MODEL "}", "cab", LIST(0), LIST(3));
}

Test(wordpiece, a_word_of_more_characters_than_the_limit_is_unknown)
{
    TOKENS("{" BERT MODEL "}", "abbbbbbbbb", LIST(2, 3, 3, 3, 3, 3, 3, 3, 3),
           LIST(2, 3, 4, 5, 6, 7, 8, 9, 10));
    TOKENS("{" BERT MODEL "}", "abbbbbbbbbb", LIST(0), LIST(11));
}

Test(wordpiece, characters_are_counted_after_normalizing)
{ /* ten letters, each with an accent that goes: 20 characters before */
    TOKENS("{" BERT MODEL "}",
           "e\xCC\x81"
           "e\xCC\x81"
           "e\xCC\x81"
           "e\xCC\x81"
           "e\xCC\x81"
           "e\xCC\x81",
           LIST(8, 9, 9, 9, 9, 9), LIST(1, 4, 7, 10, 13, 16));
}

Test(wordpiece, punctuation_and_ideographs_are_words)
{
    TOKENS("{" BERT MODEL "}", "a.b", LIST(1, 6, 10), LIST(1, 2, 3));
    TOKENS("{" BERT MODEL "}", "a\xE6\x97\xA5\xE6\x97\xA5.", LIST(1, 7, 7, 6), LIST(1, 4, 7, 8));
}

Test(wordpiece, a_control_joins_its_neighbours_and_a_space_parts_them)
{
    TOKENS("{" BERT MODEL "}",
           "a\x0B"
           "b a\xC2\xA0"
           "b \xE2\x80\x8B",
           LIST(2, 1, 10), LIST(3, 5, 8));
    expect("{" BERT MODEL "}", "\x0B \t\xE2\x80\x8B", 6, NULL, NULL, 0);
}

Test(wordpiece, accents_and_case_go_as_the_options_say)
{
    const char *kept = "{\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":false},\"pre_tokenizer\":"
                       "{\"type\":\"BertPreTokenizer\"}," MODEL "}";
    TOKENS("{" BERT MODEL "}", "AB \xC3\x89", LIST(2, 8), LIST(2, 5));
    TOKENS(kept, "Ab ab \xC3\xA9", LIST(0, 2, 0), LIST(2, 5, 8));
    const char *stripped =
        "{\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":false,\"strip_accents\":true}"
        ",\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}," MODEL "}";
    TOKENS(stripped, "\xC3\xA9 E", LIST(8, 0), LIST(2, 4));
}

Test(wordpiece, a_prefix_of_another_kind_is_taken_from_the_file)
{
    TOKENS("{" BERT
           "\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":\"@\",\"vocab\":{\"[UNK]\":0,"
           "\"a\":1,\"@b\":2,\"##b\":3}}}",
           "ab", LIST(1, 2), LIST(1, 2));
    TOKENS("{" BERT
           "\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":\"\",\"vocab\":{\"[UNK]\":0,"
           "\"a\":1,\"b\":2}}}",
           "aba", LIST(1, 2, 1), LIST(1, 2, 3));
}

Test(wordpiece, added_tokens_are_no_pieces_of_words)
{ /* "##bc" would be the longest, but only the text has it */
    TOKENS("{\"added_tokens\":[{\"id\":3,\"content\":\"##bc\",\"special\":true}]," BERT
           "\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":0,\"a\":1,\"##b\":2}}}",
           "abc a##bc", LIST(0, 1, 3), LIST(3, 5, 9));
}

/* --- decoding --- */

static void says(const char *json, const int32_t *ids, size_t n, const char *want)
{
    struct tokenizer *t = open_text(json);
    struct buf got = decode(t, ids, n, false);
    cr_assert_str_eq(buf_text(&got), want);
    buf_fini(&got);
    tokenizer_close(t);
}
#define DECODER(decoder)                                                                                     \
    "{\"decoder\":" decoder ",\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":0,\"a\":1,\"##b\":2,"   \
    "\".\":3,\"'\":4,\"n't\":5,\"do not\":6,\"@c\":7}}}"

Test(wordpiece, decoding_joins_and_tidies)
{
    const int32_t ids[] = {1, 2, 3, 1, 4, 1, 5, 6, 2, 7};
    says(DECODER("{\"type\":\"WordPiece\"}"), ids, 10, "ab. a ' an't don'tb @c");
    says(DECODER("{\"type\":\"WordPiece\",\"cleanup\":false}"), ids, 10, "ab . a ' a n't do notb @c");
    says(DECODER("{\"type\":\"WordPiece\",\"prefix\":\"@\"}"), ids, 10, "a ##b. a ' an't don't ##bc");
    says(DECODER("{\"type\":\"WordPiece\"}"), ids + 1, 2, "##b.");
}

/* --- long and hard --- */

Test(wordpiece, a_long_run_takes_no_longer_than_its_length, .timeout = 600)
{
    static const char *const units[] = {"a",
                                        " ",
                                        ".",
                                        "ab ",
                                        "\xE6\x97\xA5",
                                        "e\xCC\x81",
                                        "\xCC\x81",
                                        "\x01",
                                        "\xEA\xB0\x80",
                                        "#",
                                        "unaffable",
                                        "\xF0\x9F\x98\x80",
                                        "[",
                                        "[CLS]"};
    struct tokenizer *t = open_golden("tokenizers/wordpiece-uncased");
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        struct buf text = {0};
        while (text.len < 1 << 20) buf_add_text(&text, units[u]);
        struct token_list got = encode(t, text.data, text.len, true);
        cr_assert_geq(got.count, 2);
        cr_assert_leq(got.ends[got.count - 1], (int64_t)text.len);
        token_list_fini(&got);
        buf_fini(&text);
    }
    tokenizer_close(t);
}

Test(wordpiece, the_cache_of_words_changes_nothing)
{
    struct tokenizer *t = open_golden("tokenizers/wordpiece-uncased");
    struct buf text = {0};
    for (unsigned i = 0; i < 30000; i++)
        buf_printf(&text, "%s%x", i % 7 == 0 ? "\n" : " Word", i * 2654435761u >> (i % 20));
    struct token_list cold = encode(t, text.data, text.len, false),
                      warm = encode(t, text.data, text.len, false);
    tokenizer_use_regex(t);
    tokenizer_forget_words(t);
    struct token_list again = encode(t, text.data, text.len, false);
    size_t size = cold.count * sizeof *cold.ids;
    cr_assert_gt(cold.count, 30000);
    cr_assert(cold.count == warm.count && memcmp(cold.ids, warm.ids, size) == 0);
    cr_assert(cold.count == again.count && memcmp(cold.ids, again.ids, size) == 0);
    cr_assert_eq(memcmp(cold.ends, warm.ends, cold.count * sizeof *cold.ends), 0);
    token_list_fini(&cold);
    token_list_fini(&warm);
    token_list_fini(&again);
    buf_fini(&text);
    tokenizer_close(t);
}

Test(wordpiece, the_token_that_ends_a_text_is_known)
{
    struct tokenizer *bert = open_golden("tokenizers/wordpiece-uncased"),
                     *bos_only = open_golden("tokenizers/bytelevel-lfm2"),
                     *none = open_golden("tokenizers/bytelevel-gpt2");
    cr_assert_geq(tokenizer_closing(bert), 0);
    cr_expect_eq(tokenizer_closing(bert), tokenizer_id(bert, "[SEP]"));
    cr_expect_eq(tokenizer_closing(bos_only), -1);
    cr_expect_eq(tokenizer_closing(none), -1);
    tokenizer_close(bert);
    tokenizer_close(bos_only);
    tokenizer_close(none);
}

Test(wordpiece, cased_and_uncased_can_be_told_apart)
{
    struct tokenizer *cased = open_golden("tokenizers/wordpiece-cased"),
                     *uncased = open_golden("tokenizers/wordpiece-uncased"),
                     *bpe = open_golden("tokenizers/bytelevel-gpt2");
    cr_assert(tokenizer_is_cased(cased));
    cr_assert_not(tokenizer_is_cased(uncased));
    cr_assert_not(tokenizer_is_cased(bpe));
    tokenizer_close(cased);
    tokenizer_close(uncased);
    tokenizer_close(bpe);
}
