/* Regexes mean what they mean to the reference's engine, and what cannot is refused by name. */
#include "text/regex.h"

#include "tests/text/support.h"

#include <criterion/parameterized.h>
#include <string.h>

/* All matches of a pattern, as "start-end start-end". */
static void expect(const char *pattern, const char *text, size_t len, const char *matches)
{
    struct regex *re = NULL;
    struct regex_walk w = {0};
    struct thea_err err = {0};
    struct buf got = {0};
    thea_rc rc;
    cr_assert_eq(regex_new(&re, pattern, strlen(pattern), &err), THEA_OK, "%s: %s", pattern, err.message);
    while ((rc = regex_next(re, text, len, &w, &err)) == THEA_OK)
        buf_printf(&got, "%s%zu-%zu", got.len > 0 ? " " : "", w.start, w.end);
    cr_assert_eq(rc, THEA_DONE, "%s", err.message);
    cr_assert_str_eq(buf_text(&got), matches, "%s on '%s': expected %s, got %s", pattern, text, matches,
                     buf_text(&got));
    buf_fini(&got);
    regex_free(re);
}

struct meaning {
    const char *pattern, *text, *matches;
};
static const struct meaning meanings[] = {
    {"\\s",
     "a\xE1\xA0\x8E"
     "b\xC2\x85",
     "5-7"}, /* U+180E is no space; U+0085 is */
    {"[\\s]", "\xE1\xA0\x8E\xE3\x80\x80", "3-6"},
    {"\\S", "\xE1\xA0\x8E ", "0-3"},
    {"[^\\S\\n]", " \n\t", "0-1 2-3"},
    {"\\w+", "e\xCC\x81_1-\xE2\x93\x90", "0-5 6-9"}, /* marks and circled letters are word characters */
    {"\\W", "a\xC2\xB2", "1-3"},                     /* superscript two is none */
    {"\\h+", "xFace g \t", "1-5"},                   /* hexadecimal digits, no blanks */
    {"a{,2}", "aaab", "0-2 2-3 4-4"},
    {"{", "a{b", "1-2"},
    {"\\p{Han}", "\xE3\x83\xBC\xE4\xB8\x80", "3-6"}, /* ー is of both kana, no Han */
    {"\\p{Letter}+", "ab1", "0-2"},
    {"\\p{^L}", "a1", "1-2"},
    {"\\P{L}", "a1", "1-2"},
    {"^b", "a\nb", "2-3"}, /* lines, always */
    {"a$", "a\na", "0-1 2-3"},
    {".", "a\n\r", "0-1 2-3"},
    {"(?i)k", "\xE2\x84\xAA", "0-3"},
    {"(?i:'s)", "'\xC5\xBF", "0-3"},
    {"\\u00e9", "\xC3\xA9", "0-2"},
    {"[\\u4e00-\\u9fa5]", "\xE4\xB8\x80", "0-3"},
    {"x*", "xxa", "0-2 3-3"}, /* an empty match right after another is none */
    {"a++b|a", "aab", "0-3"},
    {"(?<=a)b(?!c)", "abc ab", "5-6"},
};

ParameterizedTestParameters(regex, means_what_it_means_to_the_reference)
{
    static size_t index[sizeof meanings / sizeof *meanings];
    for (size_t i = 0; i < sizeof index / sizeof *index; i++) index[i] = i;
    return cr_make_param_array(size_t, index, sizeof index / sizeof *index);
}

ParameterizedTest(size_t *i, regex, means_what_it_means_to_the_reference)
{
    expect(meanings[*i].pattern, meanings[*i].text, strlen(meanings[*i].text), meanings[*i].matches);
}

Test(regex, texts_may_hold_nul)
{
    expect("[^a]", "a\0b", 3, "1-2 2-3");
}

struct refusal {
    const char *pattern, *says;
};
static const struct refusal refusals[] = {
    {"(a", "missing closing parenthesis"},
    {"a)", "unmatched closing parenthesis"},
    {"[a", "missing terminating ]"},
    {"*a", "quantifier"},
    {"[a&&b]", "&& at byte 2"},
    {"[a[b]]", "[ inside [ ]"},
    {"[[:alpha:]]", "[: :]"},
    {"[]a]", "an empty [ ]"},
    {"a{1,3}+", "{n,m}+"},
    {"(?m:a)", "(? group"},
    {"(?<n>a)", "(? group"},
    {"(*UTF)a", "(*"},
    {"\\bx", "\\b"},
    {"a\\Kb", "this escape"},
    {"[\\W]", "\\W inside [ ]"},
    {"[\\H]", "\\H inside [ ]"},
    {"\\pL", "\\p without { }"},
    {"\\p{L", "an unfinished \\p{"},
    {"\\p{Nonsense}", "regex:"},
    {"\\u12", "four hexadecimal digits"},
    {"a\\", "a single backslash"},
    {"\\Qx", "this escape"},
    {"\\N", "this escape"},
};

ParameterizedTestParameters(regex, what_has_no_equal_is_refused_by_name)
{
    static size_t index[sizeof refusals / sizeof *refusals];
    for (size_t i = 0; i < sizeof index / sizeof *index; i++) index[i] = i;
    return cr_make_param_array(size_t, index, sizeof index / sizeof *index);
}

ParameterizedTest(size_t *i, regex, what_has_no_equal_is_refused_by_name)
{
    struct regex *re = NULL;
    struct thea_err err = {0};
    const struct refusal *r = &refusals[*i];
    cr_assert_eq(regex_new(&re, r->pattern, strlen(r->pattern), &err), THEA_EDATA, "%s was taken",
                 r->pattern);
    cr_assert_not_null(strstr(err.message, r->says), "%s: expected '%s' in: %s", r->pattern, r->says,
                       err.message);
}

Test(regex, an_endless_search_is_an_error_of_the_document)
{
    struct regex *re = NULL;
    struct regex_walk w = {0};
    struct thea_err err = {0};
    char text[65];
    memset(text, 'a', 64);
    text[64] = 'b';
    cr_assert_eq(regex_new(&re, "(a|aa|a?)+[cd]", 14, &err), THEA_OK);
    cr_assert_eq(regex_next(re, text, 65, &w, &err), THEA_EDOC);
    cr_assert_not_null(strstr(err.message, "gave up"), "%s", err.message);
    regex_free(re);
}
