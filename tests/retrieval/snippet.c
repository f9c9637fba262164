#include "retrieval/snippet.h"

#include <criterion/criterion.h>
#include <string.h>

static void expect(const char *text, const char *query, size_t width, const char *expected, uint64_t line)
{
    struct snippet s;
    snippet_make(&s, text, strlen(text), query, width);
    cr_assert_str_eq(buf_text(&s.text), expected);
    cr_assert_eq(s.line, line, "line %llu", (unsigned long long)s.line);
    snippet_fini(&s);
}

/* The marked words, each followed by '|'. */
static void expect_marks(const char *text, const char *query, const char *expected)
{
    struct snippet s;
    struct buf words = {0};
    snippet_make(&s, text, strlen(text), query, 200);
    for (size_t i = 0; i < s.mark_count; i++) {
        buf_add(&words, s.text.data + s.marks[i].at, s.marks[i].n);
        buf_add_char(&words, '|');
    }
    cr_assert_str_eq(buf_text(&words), expected);
    buf_fini(&words);
    snippet_fini(&s);
}

Test(snippet, is_the_passage_where_most_words_of_the_query_stand)
{
    static const char text[] =
        "Title\n\nThe links are here.\nNothing in this line.\n"
        "A link that was lost is made again at once.\nThe links, the links, the links.\n";
    expect(text, "how lost links are made again", 44, "A link that was lost is made again at once.…", 5);
}

Test(snippet, begins_with_the_text_when_nothing_matches)
{
    expect("\n\n  one two three four\n", "zzz", 80, "one two three four", 3);
    expect("\n\n  one two three four\n", "zzz", 10, "one two…", 3);
    expect("one two", "", 80, "one two", 1);
}

Test(snippet, of_an_empty_text_is_empty)
{
    expect("", "word", 80, "", 0);
    expect(" \n\t\n", "word", 80, "", 0);
}

Test(snippet, is_one_line_without_what_a_terminal_obeys)
{
    expect("one\ttwo\n\n\x1b[1mthree\x7f\xc2\x9b"
           "four",
           "one", 80, "one two [1mthree four", 1);
}

Test(snippet, cuts_between_characters)
{
    expect("ééééééééééééééé", "x", 4, "éééé…", 1);
    expect("🌲🌲🌲 🌲🌲🌲", "x", 5, "🌲🌲🌲…", 1);
}

Test(snippet, marks_the_words_of_the_query_whatever_their_case_and_ending)
{
    expect_marks("Files, a FILE; profile. Index indexes in", "file INDEX in", "Files|FILE|Index|indexes|in|");
    expect_marks("cat category", "cat", "cat|");
    expect_marks("Études à Paris", "Études paris", "Études|Paris|");
    expect_marks("nothing here", "what", "");
}

Test(snippet, does_not_run_over_a_text_without_an_end)
{
    struct snippet s;
    static const char text[] = {'a', 'b', ' ', 'c', 'd', (char)0xc3};
    snippet_make(&s, text, sizeof text, "cd", 80);
    cr_assert_leq(s.text.len, sizeof text);
    snippet_fini(&s);
}
