/* Long texts are cut in parts: the tokens are those of the whole, and memory is that of a part. */
#include "tests/text/support.h"

#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* The first CUT are those whose texts are normalized in parts. */
static const char *const names[] = {"tokenizers/wordpiece-uncased",
                                    "tokenizers/wordpiece-cased",
                                    "tokenizers/spm-llama",
                                    "tokenizers/spm-metaspace",
                                    "stories260k",
                                    "tokenizers/bytelevel-qwen",
                                    "tokenizers/bytelevel-llama3",
                                    "tokenizers/bytelevel-gpt2-prefix",
                                    "tokenizers/bytelevel-added"};
enum { NAMES = sizeof names / sizeof *names, CUT = 5 };

static bool same(const void *a, const void *b, size_t bytes)
{
    return bytes == 0 || memcmp(a, b, bytes) == 0;
}

static void expect_same_tokens(struct tokenizer *t, const char *name, const char *text, size_t len)
{
    static const size_t parts[] = {1, 2, 7, 64, 1000};
    tokenizer_use_parts(t, 0);
    struct token_list whole = encode(t, text, len, true);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        tokenizer_use_parts(t, parts[i]);
        struct token_list cut = encode(t, text, len, true);
        cr_assert(cut.count == whole.count && same(cut.ids, whole.ids, whole.count * sizeof *whole.ids),
                  "%s: parts of %zu of \"%.200s\": other tokens", name, parts[i], text);
        cr_assert(same(cut.ends, whole.ends, whole.count * sizeof *whole.ends),
                  "%s: parts of %zu of \"%.200s\": other ends", name, parts[i], text);
        token_list_fini(&cut);
    }
    token_list_fini(&whole);
}

/* Step by step, the list emptied in between: the same. */
static void expect_same_steps(struct tokenizer *t, const char *name, const char *text, size_t len)
{
    static const size_t enough[] = {1, 3, 100};
    tokenizer_use_parts(t, 16);
    struct token_list whole = encode(t, text, len, true), list = {0};
    for (size_t i = 0; i < sizeof enough / sizeof *enough; i++) {
        struct token_walk w = {0};
        struct thea_err err = {0};
        thea_rc rc = THEA_AGAIN;
        for (size_t at = 0; rc == THEA_AGAIN; at += list.count) {
            list.count = 0;
            rc = tokenizer_encode_next(t, text, len, true, &w, enough[i], &list, &err);
            cr_assert(rc == THEA_OK || (rc == THEA_AGAIN && list.count >= enough[i]), "%s: %s", name,
                      err.message);
            cr_assert(at + list.count <= whole.count &&
                          same(list.ids, whole.ids + at, list.count * sizeof *list.ids) &&
                          same(list.ends, whole.ends + at, list.count * sizeof *list.ends),
                      "%s: other tokens from %zu on, %zu a step: %.200s", name, at, enough[i], text);
            cr_assert(rc == THEA_AGAIN || at + list.count == whole.count);
        }
    }
    token_list_fini(&whole);
    token_list_fini(&list);
}

struct visit {
    struct tokenizer *t;
    const char *name;
    struct buf all; /* the cases, one after another */
};

static void check_case(void *context, const struct json_node *line)
{
    struct visit *v = context;
    size_t len;
    const char *text = json_text(json_member(line, "text"), &len);
    cr_assert_not_null(text);
    expect_same_tokens(v->t, v->name, text, len);
    expect_same_steps(v->t, v->name, text, len);
    buf_add(&v->all, text, len);
    if (v->all.len % 3 > 0) buf_add_char(&v->all, ' ');
}

Test(border, parts_of_every_golden_have_the_tokens_of_the_whole, .timeout = 600)
{
    for (size_t i = 0; i < NAMES; i++) {
        struct visit v = {.t = open_golden(names[i]), .name = names[i]};
        cr_assert_gt(each_line(names[i], "cases.jsonl", check_case, &v), 20);
        expect_same_tokens(v.t, names[i], buf_text(&v.all), v.all.len);
        expect_same_steps(v.t, names[i], buf_text(&v.all), v.all.len);
        tokenizer_close(v.t);
        buf_fini(&v.all);
    }
}

/* Bytes from which all kinds of neighbours of a border are made, in a pseudo-random order. */
Test(border, parts_of_any_text_have_the_tokens_of_the_whole, .timeout = 600)
{
    static const char *const units[] = {" ",
                                        "  ",
                                        "a",
                                        "the",
                                        "The",
                                        ".",
                                        "\n",
                                        "\t",
                                        "\r\n",
                                        "\xE2\x96\x81",
                                        "\xCC\x81",
                                        "\xC3\xA9",
                                        "1",
                                        "\xE6\x97\xA5",
                                        "\xE3\x80\x80",
                                        "\xC2\xA0",
                                        "\x01",
                                        "\xCE\xA3",
                                        "<s>",
                                        "[SEP]",
                                        "##s",
                                        "\xF0\x9F\x98\x80"};
    for (size_t i = 0; i < NAMES; i++) {
        struct tokenizer *t = open_golden(names[i]);
        uint64_t state = 7 + i;
        for (size_t round = 0; round < 200; round++) {
            struct buf text = {0};
            for (size_t n = 0; n < 40; n++) {
                state = state * 6364136223846793005u + 1442695040888963407u;
                buf_add_text(&text, units[(state >> 33) % (sizeof units / sizeof *units)]);
            }
            expect_same_tokens(t, names[i], buf_text(&text), text.len);
            expect_same_steps(t, names[i], buf_text(&text), text.len);
            buf_fini(&text);
        }
        tokenizer_close(t);
    }
}

Test(border, a_step_of_a_long_text_makes_few_tokens)
{
    enum { WORDS = 200000, ENOUGH = 1000 };
    static const char *const steady[] = {"tokenizers/wordpiece-uncased", "tokenizers/spm-llama",
                                         "tokenizers/spm-metaspace", "tokenizers/bytelevel-llama3"};
    struct buf text = {0};
    for (size_t i = 0; i < WORDS; i++) buf_add_text(&text, " the");
    for (size_t i = 0; i < sizeof steady / sizeof *steady; i++) {
        struct tokenizer *t = open_golden(steady[i]);
        struct token_walk w = {0};
        struct token_list list = {0};
        struct thea_err err = {0};
        cr_expect_eq(tokenizer_encode_next(t, buf_text(&text), text.len, true, &w, ENOUGH, &list, &err),
                     THEA_AGAIN);
        cr_expect(list.count >= ENOUGH && list.count < WORDS / 4, "%s: %zu tokens", steady[i], list.count);
        token_list_fini(&list);
        tokenizer_close(t);
    }
    buf_fini(&text);
}

#ifndef __SANITIZE_ADDRESS__ /* it keeps what was freed */
/* Kilobytes by which the process has grown at most. */
static long grown_by(const char *name, const char *unit)
{
    enum { TEXT = 12 << 20 };
    struct rusage before, after;
    struct tokenizer *t = open_golden(name);
    size_t n = strlen(unit), len = TEXT / n * n;
    char *text = malloc(len);
    for (size_t at = 0; at < len; at += n) memcpy(text + at, unit, n);
    getrusage(RUSAGE_SELF, &before);
    struct token_list got = encode(t, text, len, false);
    getrusage(RUSAGE_SELF, &after);
    cr_assert_gt(got.count, 1000, "%s", name);
    size_t tokens = got.cap * (sizeof *got.ids + sizeof *got.ends);
    token_list_fini(&got);
    free(text);
    tokenizer_close(t);
    return after.ru_maxrss - before.ru_maxrss - (long)(tokens / 1024);
}

/* A process for each, as its peak is looked at. Without parts it is five bytes for each of the text, twice.
 */
ParameterizedTestParameters(border, memory_is_that_of_a_part)
{
    static size_t index[CUT];
    for (size_t i = 0; i < CUT; i++) index[i] = i;
    return cr_make_param_array(size_t, index, CUT);
}
ParameterizedTest(size_t *i, border, memory_is_that_of_a_part, .timeout = 600)
{
    long kilobytes = grown_by(names[*i], " \xC3\xA9lectroencephalographically");
    cr_expect_lt(kilobytes, 12 << 10, "%s: %ld KiB for 12 MiB", names[*i], kilobytes);
}
#endif
