/* Diagnostics as text and JSON, their order and limits, and the pages of their codes. */
#include "graph/control/diag.h"

#include "graph/json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *text_of(const struct diag_list *list, bool color)
{
    struct buf b = {0};
    diag_print_text(list, &b, color);
    return buf_take(&b);
}

static void expect_text(const struct diag_list *list, const char *want)
{
    char *said = text_of(list, false);
    cr_expect_str_eq(said, want);
    free(said);
}

Test(diag, a_diagnostic_shows_its_line_a_caret_and_what_is_accepted)
{
    struct diag_list *list = diag_list_new();
    const char *text = "a: 1\n  layers: {blcoks: 0-7}\n";
    diag_source(list, "p.yaml", text, strlen(text));
    diag_add(list, "E021", (struct diag_place){"p.yaml", 2, 12, 6}, "options: blocks\nand more",
             "unknown option '%s'", "blcoks");
    expect_text(list, "p.yaml:2:12: error[E021]: unknown option 'blcoks'\n"
                      "  2 |   layers: {blcoks: 0-7}\n"
                      "    |            ^~~~~~\n"
                      "  options: blocks\n"
                      "  and more\n");
    diag_list_free(list);
}

Test(diag, diagnostics_are_sorted_by_file_and_place)
{
    struct diag_list *list = diag_list_new();
    diag_source(list, "b", "", 0);
    diag_source(list, "a", "", 0);
    diag_add(list, "E001", (struct diag_place){"a", 1, 1, 0}, NULL, "fourth");
    diag_add(list, "E002", (struct diag_place){"b", 2, 1, 0}, NULL, "third");
    diag_add(list, "E003", (struct diag_place){"b", 1, 9, 0}, NULL, "second");
    diag_add(list, "E004", (struct diag_place){"b", 1, 2, 0}, NULL, "first");
    expect_text(list, "b:1:2: error[E004]: first\nb:1:9: error[E003]: second\nb:2:1: error[E002]: "
                      "third\na:1:1: error[E001]: fourth\n");
    cr_expect_eq(diag_last(list, 0), 0);
    cr_expect_eq(diag_last(list, 2), 2);
    diag_list_free(list);
}

Test(diag, fifty_are_kept_of_a_file_and_the_rest_is_counted)
{
    struct diag_list *list = diag_list_new();
    for (size_t i = 1; i <= 60; i++) diag_add(list, "E001", (struct diag_place){"f", i, 1, 0}, NULL, "x");
    diag_add(list, "E001", (struct diag_place){"g", 1, 1, 0}, NULL, "y");
    cr_expect_eq(diag_count(list), 51);
    char *said = text_of(list, false);
    cr_expect_not_null(strstr(said, "f: 10 more errors are not shown\ng:1:1"), "%s", said);
    free(said);
    diag_list_free(list);
}

Test(diag, a_long_line_is_shown_around_its_caret)
{
    struct diag_list *list = diag_list_new();
    char line[1001];
    memset(line, 'x', 1000);
    line[1000] = '\0';
    memcpy(line + 500, "BAD", 3);
    diag_source(list, "f", line, 1000);
    diag_add(list, "E001", (struct diag_place){"f", 1, 501, 3}, NULL, "m");
    char *said = text_of(list, false), *shown = strchr(said, '|'), *caret = strchr(said, '^');
    cr_assert_not_null(shown);
    cr_expect_lt(strlen(said), 400);
    char *bad = strstr(said, "BAD"), *line_start = strchr(said, '\n') + 1,
         *caret_line = strchr(line_start, '\n') + 1;
    cr_expect_eq(bad - line_start - 2, caret - caret_line,
                 "the caret is under BAD ('…' has 3 bytes, 1 column)");
    free(said);
    diag_list_free(list);
}

Test(diag, control_characters_of_a_file_do_not_reach_the_terminal)
{
    struct diag_list *list = diag_list_new();
    const char *text = "a: \x1b[31mred\xC2\x9B"
                       "m\x07\n";
    diag_source(list, "f\x1b", text, strlen(text));
    diag_add(list, "E001", (struct diag_place){"f\x1b", 1, 4, 1}, "see \x1b]0;title\x07", "bad '%s'",
             "\x1b[2J");
    char *said = text_of(list, false);
    cr_expect_null(strchr(said, '\x1b'), "%s", said);
    cr_expect_null(strchr(said, '\x07'));
    cr_expect_null(strstr(said, "\xC2\x9B"));
    cr_expect_not_null(strstr(said, "?[31mred?m?"));
    free(said);
    diag_list_free(list);
}

Test(diag, colours_only_when_asked)
{
    struct diag_list *list = diag_list_new();
    diag_source(list, "f", "abc", 3);
    diag_add(list, "E001", (struct diag_place){"f", 1, 1, 3}, NULL, "m");
    char *plain = text_of(list, false), *colored = text_of(list, true);
    cr_expect_null(strchr(plain, '\x1b'));
    cr_expect_not_null(strstr(colored, "\x1b[31m"));
    free(plain);
    free(colored);
    diag_list_free(list);
}

Test(diag, a_place_beyond_the_line_or_the_file_is_still_told)
{
    struct diag_list *list = diag_list_new();
    diag_source(list, "f", "ab\n", 3);
    diag_add(list, "E001", (struct diag_place){"f", 1, 90, 7}, NULL, "beyond the line");
    diag_add(list, "E001", (struct diag_place){"f", 9, 1, 1}, NULL, "beyond the file");
    expect_text(list, "f:1:90: error[E001]: beyond the line\n  1 | ab\n    |   ^~~~~~~\nf:9:1: error[E001]: "
                      "beyond the file\n");
    diag_list_free(list);
}

Test(diag, json_has_one_object_a_line_with_ranges_from_zero)
{
    struct diag_list *list = diag_list_new();
    diag_add(list, "E021", (struct diag_place){"f.yaml", 3, 5, 4}, "what is accepted", "said \"so\"");
    diag_add(list, "E022", (struct diag_place){"f.yaml", 4, 1, 0}, NULL, "x");
    struct buf b = {0};
    diag_print_json(list, &b);
    char *newline = strchr(b.data, '\n');
    struct json_node *node = NULL;
    cr_assert_eq(json_parse(&node, b.data, (size_t)(newline - b.data), "line", NULL), THEA_OK);
    cr_expect_eq(json_int(json_path(node, "line")), 3);
    cr_expect_eq(json_int(json_path(node, "range.start.line")), 2);
    cr_expect_eq(json_int(json_path(node, "range.start.character")), 4);
    cr_expect_eq(json_int(json_path(node, "range.end.character")), 8);
    cr_expect_str_eq(json_text(json_path(node, "code"), NULL), "E021");
    cr_expect_str_eq(json_text(json_path(node, "message"), NULL), "said \"so\"");
    json_free(node);
    cr_assert_eq(json_parse(&node, newline + 1, strlen(newline + 1), "line", NULL), THEA_OK);
    json_free(node);
    buf_fini(&b);
    diag_list_free(list);
}

Test(diag, every_code_has_a_title_and_a_page_with_an_example_wrong_and_right)
{
    size_t n = 0;
    for (; diag_code(n) != NULL; n++) {
        const char *page = diag_explain(diag_code(n));
        cr_assert_not_null(page);
        cr_expect_not_null(diag_title(diag_code(n)));
        cr_expect_not_null(strstr(page, "  wrong:\n      "), "%s", diag_code(n));
        cr_expect_not_null(strstr(page, "  right:\n      "), "%s", diag_code(n));
        cr_expect_eq(strncmp(page, diag_code(n), 4), 0);
        if (n > 0) cr_expect_lt(strcmp(diag_code(n - 1), diag_code(n)), 0, "codes are in order");
    }
    cr_expect_gt(n, 40);
    cr_expect_null(diag_explain("E999"));
    cr_expect_null(diag_title("E999"));
}
