/* Long runs without a break: time and memory stay near linear, engines reach no limit, and the text comes
 * back. The deadline guards against quadratic work, which would take hours here. */
#include "tests/support/run.h"
#include "tests/text/support.h"

#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG = (1 << 20) / RUN_SLOWER, MEDIUM = (1 << 17) / RUN_SLOWER, LONGEST_UNITS = 3 };

static const char *const units[] = {
    "a",
    " ",
    "\n",
    "\t ",
    "'",
    "1",
    "=",
    "\xC3\xA9",
    "\xE6\x97\xA5",
    "e\xCC\x81",
    "\xCC\x81\xCC\xA3",
    "\xF0\x9F\x98\x80",
    "aB",
    "a ",
    "  x",
    "\xE2\x96\x81",
    ("\xE2\x96\x81"
     "a"),
    "<",
    "<|",
    "<ls> ",
    "the",
    "\r\n",
    "\x01",
    "\xE1\x85\xA1",
};
enum { UNITS = sizeof units / sizeof *units };

static char *run_of(const char *unit, size_t most, size_t *len)
{
    size_t n = strlen(unit);
    char *text = malloc(most + 8);
    for (*len = 0; *len + n <= most; *len += n) memcpy(text + *len, unit, n);
    return text;
}

static void check_run(struct tokenizer *t, const char *name, const char *unit, size_t most)
{
    size_t len;
    char *text = run_of(unit, most, &len);
    struct token_list got = encode(t, text, len, false);
    struct buf back = decode(t, got.ids, got.count, false);
    bool exact = strcmp(name, "tokenizers/bytelevel-gpt2") == 0 ||
                 strcmp(name, "tokenizers/bytelevel-llama3") == 0 ||
                 strcmp(name, "tokenizers/bytelevel-removed") == 0;
    cr_assert(got.count > 0 && got.ends[got.count - 1] == (int64_t)len,
              "%s: a run of '%s' ends at %lld of %zu", name, unit,
              got.count > 0 ? (long long)got.ends[got.count - 1] : 0, len);
    cr_assert(!exact || (back.len == len && memcmp(back.data, text, len) == 0),
              "%s: a run of '%s' does not come back", name, unit);
    token_list_fini(&got);
    buf_fini(&back);
    free(text);
}

ParameterizedTestParameters(long_runs, of_a_million_bytes_are_tokenized_and_come_back)
{
    static size_t index[GOLDEN_TOKENIZERS];
    for (size_t i = 0; i < GOLDEN_TOKENIZERS; i++) index[i] = i;
    return cr_make_param_array(size_t, index, GOLDEN_TOKENIZERS);
}

ParameterizedTest(size_t *i, long_runs, of_a_million_bytes_are_tokenized_and_come_back, .timeout = 600)
{
    const char *name = golden_tokenizers[*i];
    struct tokenizer *t = open_golden(name);
    for (size_t u = 0; u < UNITS; u++) check_run(t, name, units[u], u < LONGEST_UNITS ? LONG : MEDIUM);
    tokenizer_use_regex(t);
    for (size_t u = 0; u < UNITS; u += 3) check_run(t, name, units[u], MEDIUM);
    tokenizer_close(t);
}

/* The longest run, merged by the heap, equals the same run merged in short words where both are possible. */
Test(long_runs, of_one_letter_merge_as_short_ones_do)
{
    struct tokenizer *t = open_text("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1,\"aaaa\":2,"
                                    "\"aaa\":3},\"merges\":[\"a a\",\"aa aa\",\"aa a\"]}}");
    char text[200];
    memset(text, 'a', sizeof text);
    for (size_t n = 1; n <= sizeof text; n++) {
        struct token_list got = encode(t, text, n, false);
        size_t fours = n / 4, rest = n % 4, want = fours + (rest > 0);
        cr_assert_eq(got.count, want, "%zu letters: %zu tokens", n, got.count);
        for (size_t i = 0; i < fours; i++) cr_assert_eq(got.ids[i], 2, "%zu letters, token %zu", n, i);
        if (rest > 0) cr_assert_eq(got.ids[fours], rest == 1 ? 0 : rest == 2 ? 1 : 3, "%zu letters", n);
        token_list_fini(&got);
    }
    tokenizer_close(t);
}

Test(long_runs, a_text_that_is_not_utf8_is_refused_with_its_place)
{
    struct tokenizer *t = open_golden("tokenizers/bytelevel-gpt2");
    static const struct {
        const char *text;
        size_t len, bad;
    } cases[] = {
        {"\xFF", 1, 0},
        {"ab\x80", 3, 2},
        {"\xC0\x80", 2, 0},
        {"abcdefghi\xED\xA0\x80", 12, 9},
        {"\xF4\x90\x80\x80", 4, 0},
        {"a\xE6\x97", 3, 1},
        {"\xC3", 1, 0},
        {"\xE0\x9F\xBF", 3, 0},
        {"\xF0\x8F\xBF\xBF", 4, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct token_list list = {0};
        struct thea_err err = {0};
        char says[64];
        snprintf(says, sizeof says, "not valid UTF-8 at byte %zu", cases[i].bad);
        cr_assert_eq(tokenizer_encode(t, cases[i].text, cases[i].len, false, &list, &err), THEA_EDOC);
        cr_assert_str_eq(err.message, says, "case %zu: %s", i, err.message);
        token_list_fini(&list);
    }
    tokenizer_close(t);
}
