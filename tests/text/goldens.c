/* Every recorded case of the reference library: ids with and without special tokens, and both decodings. */
#include "tests/text/support.h"

#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct tokenizer *t;
    const char *name;
    size_t line, wrong;
};

static void check_ids(struct check *c, const struct json_node *line, const char *key, const char *text,
                      size_t len, bool special)
{
    size_t n;
    int32_t *want = ids_of(json_member(line, key), &n);
    struct token_list got = encode(c->t, text, len, special);
    if (got.count != n || (n > 0 && memcmp(got.ids, want, n * sizeof *want) != 0)) {
        char *a = ids_text(want, n), *b = ids_text(got.ids, got.count);
        if (c->wrong++ < 5)
            cr_log_error("%s line %zu: %s of '%.80s':\n  expected %s\n  got      %s", c->name, c->line, key,
                         text, a, b);
        free(a);
        free(b);
    }
    token_list_fini(&got);
    free(want);
}

static void check_text(struct check *c, const struct json_node *line, const char *ids_key,
                       const char *text_key, bool skip)
{
    size_t n, len;
    int32_t *ids = ids_of(json_member(line, ids_key), &n);
    const char *want = json_text(json_member(line, text_key), &len);
    struct buf got = decode(c->t, ids, n, skip);
    if (got.len != len || (len > 0 && memcmp(buf_text(&got), want, len) != 0)) {
        char *a = ids_text(ids, n);
        if (c->wrong++ < 5)
            cr_log_error("%s line %zu: %s of %s:\n  expected '%s'\n  got      '%s'", c->name, c->line,
                         text_key, a, want, buf_text(&got));
        free(a);
    }
    buf_fini(&got);
    free(ids);
}

static void check_case(void *context, const struct json_node *line)
{
    struct check *c = context;
    size_t len;
    const char *text = json_text(json_member(line, "text"), &len);
    c->line++;
    check_ids(c, line, "ids", text, len, false);
    check_ids(c, line, "ids_special", text, len, true);
    check_text(c, line, "ids", "decoded", false);
    check_text(c, line, "ids_special", "decoded_skip_special", true);
}

static void check_decoding(void *context, const struct json_node *line)
{
    struct check *c = context;
    c->line++;
    check_text(c, line, "ids", "decoded", false);
    check_text(c, line, "ids", "decoded_skip_special", true);
}

ParameterizedTestParameters(goldens, every_case_is_as_the_reference_has_it)
{
    static size_t index[GOLDEN_TOKENIZERS];
    for (size_t i = 0; i < GOLDEN_TOKENIZERS; i++) index[i] = i;
    return cr_make_param_array(size_t, index, GOLDEN_TOKENIZERS);
}

ParameterizedTest(size_t *i, goldens, every_case_is_as_the_reference_has_it)
{
    struct check c = {.name = golden_tokenizers[*i], .t = open_golden(golden_tokenizers[*i])};
    cr_assert_gt(each_line(c.name, "cases.jsonl", check_case, &c), 200, "%s has too few cases", c.name);
    cr_assert_eq(c.wrong, 0, "%s: %zu checks of cases.jsonl failed", c.name, c.wrong);
    c.line = 0;
    cr_assert_geq(each_line(c.name, "decode.jsonl", check_decoding, &c), 80, "%s has too few decodings",
                  c.name);
    cr_assert_eq(c.wrong, 0, "%s: %zu checks of decode.jsonl failed", c.name, c.wrong);
    tokenizer_close(c.t);
}

ParameterizedTestParameters(goldens, every_case_is_the_same_without_the_hand_written_scanners)
{
    static size_t index[GOLDEN_TOKENIZERS];
    for (size_t i = 0; i < GOLDEN_TOKENIZERS; i++) index[i] = i;
    return cr_make_param_array(size_t, index, GOLDEN_TOKENIZERS);
}

ParameterizedTest(size_t *i, goldens, every_case_is_the_same_without_the_hand_written_scanners)
{
    struct check c = {.name = golden_tokenizers[*i], .t = open_golden(golden_tokenizers[*i])};
    tokenizer_use_regex(c.t);
    cr_assert_gt(each_line(c.name, "cases.jsonl", check_case, &c), 200, "%s has too few cases", c.name);
    cr_assert_eq(c.wrong, 0, "%s: %zu checks failed", c.name, c.wrong);
    tokenizer_close(c.t);
}
