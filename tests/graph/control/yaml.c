/* YAML with marks: every node knows its place, and what surprises people is refused. */
#include "graph/control/yaml.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct yaml_node *read_text(const char *text, struct diag_list *diags)
{
    diag_source(diags, "t.yaml", text, strlen(text));
    return yaml_read(text, strlen(text), "t.yaml", 1, diags);
}

static char *printed(const struct diag_list *diags)
{
    struct buf b = {0};
    diag_print_text(diags, &b, false);
    return buf_take(&b);
}

/* Read, and expect exactly this on the first line of what is said. */
static void expect_first_line(const char *text, const char *line)
{
    struct diag_list *diags = diag_list_new();
    yaml_node_free(read_text(text, diags));
    char *said = printed(diags);
    said[strcspn(said, "\n")] = '\0';
    cr_expect_str_eq(said, line);
    free(said);
    diag_list_free(diags);
}

Test(yaml, scalars_lists_and_maps_become_a_tree_in_the_order_of_the_text)
{
    struct diag_list *diags = diag_list_new();
    struct yaml_node *root = read_text("b: 1\na: [x, 'y']\nm: {k: v}\n", diags);
    cr_assert_not_null(root);
    cr_assert_eq(diag_count(diags), 0);
    cr_assert_eq(root->sort, YAML_IS_MAP);
    cr_assert_eq(root->count, 3);
    cr_expect_str_eq(root->keys[0]->text, "b");
    cr_expect_str_eq(root->keys[2]->text, "m");
    const struct yaml_node *list = yaml_member(root, "a");
    cr_assert_eq(list->sort, YAML_IS_LIST);
    cr_assert_eq(list->count, 2);
    cr_expect_not(list->items[0]->quoted);
    cr_expect(list->items[1]->quoted);
    cr_expect_str_eq(yaml_member(yaml_member(root, "m"), "k")->text, "v");
    cr_expect_null(yaml_member(root, "none"));
    yaml_node_free(root);
    diag_list_free(diags);
}

Test(yaml, places_count_lines_columns_and_lengths_in_characters)
{
    struct diag_list *diags = diag_list_new();
    struct yaml_node *root = read_text("é: x\nm: {ключ: 'värde'}\n", diags);
    const struct yaml_node *map = yaml_member(root, "m"), *key = yaml_member_key(map, "ключ"),
                           *value = yaml_member(map, "ключ");
    cr_expect_eq(key->place.line, 2);
    cr_expect_eq(key->place.column, 5);
    cr_expect_eq(key->place.length, 4);
    cr_expect_eq(value->place.column, 11);
    cr_expect_eq(value->place.length, 7);
    yaml_node_free(root);
    diag_list_free(diags);
}

Test(yaml, lines_are_counted_from_the_first_line_that_is_given)
{
    struct diag_list *diags = diag_list_new();
    struct yaml_node *root = yaml_read("a: 1\nb: 2\n", 10, "x.md", 40, diags);
    cr_expect_eq(yaml_member(root, "b")->place.line, 41);
    yaml_node_free(root);
    diag_list_free(diags);
}

Test(yaml, a_byte_order_mark_is_no_column)
{
    struct diag_list *diags = diag_list_new();
    struct yaml_node *root = read_text("\xEF\xBB\xBFname: x\n", diags);
    cr_assert_not_null(root);
    cr_expect_eq(yaml_member_key(root, "name")->place.column, 1);
    yaml_node_free(root);
    diag_list_free(diags);
}

Test(yaml, null_is_plain_and_never_quoted)
{
    struct diag_list *diags = diag_list_new();
    struct yaml_node *root = read_text("a:\nb: ~\nc: null\nd: ''\ne: 'null'\nf: no\n", diags);
    cr_expect(yaml_is_null(yaml_member(root, "a")));
    cr_expect(yaml_is_null(yaml_member(root, "b")));
    cr_expect(yaml_is_null(yaml_member(root, "c")));
    cr_expect_not(yaml_is_null(yaml_member(root, "d")));
    cr_expect_not(yaml_is_null(yaml_member(root, "e")));
    cr_expect_not(yaml_is_null(yaml_member(root, "f")));
    yaml_node_free(root);
    diag_list_free(diags);
}

Test(yaml, putting_a_key_again_replaces_its_item)
{
    struct diag_place place = {"t", 1, 1, 1};
    struct yaml_node *map = yaml_new_map(place);
    yaml_put(map, yaml_new_scalar("k", place), yaml_new_scalar("1", place));
    yaml_put(map, yaml_new_scalar("k", place), yaml_new_scalar("2", place));
    cr_assert_eq(map->count, 1);
    cr_expect_str_eq(yaml_member(map, "k")->text, "2");
    yaml_node_free(map);
}

Test(yaml, variables_are_replaced_in_values_after_parsing)
{
    setenv("THEA_TEST_A", "x: [1, 2]", 1);
    setenv("THEA_TEST_EMPTY", "", 1);
    struct diag_list *diags = diag_list_new();
    struct yaml_node *root = read_text("a: ${THEA_TEST_A}\nb: \"${THEA_TEST_NONE:-d}/$$5 $x\"\nc: "
                                       "['${THEA_TEST_EMPTY:-e}', '${THEA_TEST_EMPTY}']\n${k}: v\n",
                                       diags);
    yaml_expand(root, diags);
    cr_expect_eq(diag_count(diags), 0);
    cr_expect_eq(yaml_member(root, "a")->sort, YAML_IS_SCALAR, "a value cannot add structure");
    cr_expect_str_eq(yaml_member(root, "a")->text, "x: [1, 2]");
    cr_expect(yaml_member(root, "a")->expanded);
    cr_expect_str_eq(yaml_member(root, "b")->text, "d/$5 $x");
    cr_expect_str_eq(yaml_member(root, "c")->items[0]->text, "e");
    cr_expect_str_eq(yaml_member(root, "c")->items[1]->text, "");
    cr_expect_not_null(yaml_member(root, "${k}"), "keys stay");
    yaml_node_free(root);
    diag_list_free(diags);
}

Test(yaml, an_unset_variable_is_an_error_at_its_place)
{
    unsetenv("THEA_TEST_NONE");
    struct diag_list *diags = diag_list_new();
    struct yaml_node *root = read_text("a: pre/${THEA_TEST_NONE}/x\n", diags);
    yaml_expand(root, diags);
    char *said = printed(diags);
    cr_expect_not_null(
        strstr(said, "t.yaml:1:8: error[E009]: environment variable 'THEA_TEST_NONE' is not set"), "%s",
        said);
    cr_expect(yaml_member(root, "a")->broken);
    free(said);
    yaml_node_free(root);
    diag_list_free(diags);
}

Test(yaml, what_surprises_people_is_refused_with_its_place)
{
    expect_first_line("a: &x 1\n", "t.yaml:1:4: error[E006]: an anchor (&): pipeline files have none");
    expect_first_line("a: *x\n", "t.yaml:1:4: error[E006]: an alias (*): pipeline files have none");
    expect_first_line("a: !!int 1\n", "t.yaml:1:4: error[E006]: a tag (!): pipeline files have none");
    expect_first_line("a: 1\n---\nb: 2\n",
                      "t.yaml:2:1: error[E007]: a second document: a file holds one pipeline");
    expect_first_line("a: 1\na: 2\n", "t.yaml:2:1: error[E005]: key 'a' is there twice");
    expect_first_line("a:\n\tb: 2\n", "t.yaml:2:1: error[E003]: a tab");
    expect_first_line("a: b\t# c\n\td\n\te\n", "t.yaml:1:5: error[E003]: a tab (and on 2 more lines)");
    expect_first_line("[a]: 1\n", "t.yaml:1:1: error[E011]: a list cannot be a key");
    expect_first_line("", "t.yaml:1:1: error[E004]: there is nothing in this file");
    expect_first_line("a: {b\n", "t.yaml:2:1: error[E002]: YAML: did not find expected ',' or '}'");
}

Test(yaml, bytes_that_are_not_utf8_are_refused)
{
    expect_first_line("a: \xC3(\n", "t.yaml:1:4: error[E001]: byte 0xC3 is not UTF-8");
    expect_first_line("a: \xC0\xAF\n", "t.yaml:1:4: error[E001]: byte 0xC0 is not UTF-8"); /* overlong */
    expect_first_line("a: é\xED\xA0\x80\n",
                      "t.yaml:1:5: error[E001]: byte 0xED is not UTF-8"); /* surrogate */
    expect_first_line("a: \xF4\x90\x80\x80\n",
                      "t.yaml:1:4: error[E001]: byte 0xF4 is not UTF-8");                 /* over U+10FFFF */
    expect_first_line("a: x\xE2\x82", "t.yaml:1:5: error[E001]: byte 0xE2 is not UTF-8"); /* cut short */
    expect_first_line("a: \x01\n", "t.yaml:1:4: error[E002]: YAML: control characters are not allowed");
}

Test(yaml, nesting_is_limited_to_64)
{
    char good[300] = "a: ", bad[300] = "a: ";
    for (int i = 0; i < 62; i++) strcat(good, "["), strcat(bad, "[");
    strcat(bad, "[[");
    for (int i = 0; i < 62; i++) strcat(good, "]"), strcat(bad, "]");
    strcat(bad, "]]");
    struct diag_list *diags = diag_list_new();
    struct yaml_node *root = read_text(good, diags);
    cr_expect_not_null(root);
    cr_expect_eq(diag_count(diags), 0);
    yaml_node_free(root);
    root = read_text(bad, diags);
    cr_expect_null(root);
    cr_expect_eq(diag_count(diags), 1);
    cr_expect_str_eq(diag_code_at(diags, 0), "E008");
    diag_list_free(diags);
}

Test(yaml, several_mistakes_are_told_in_one_go)
{
    struct diag_list *diags = diag_list_new();
    struct yaml_node *root = read_text("a: &x 1\nb: *x\nb: !!str 2\n", diags);
    cr_expect_not_null(root);
    cr_expect_eq(diag_count(diags), 4);
    yaml_node_free(root);
    diag_list_free(diags);
}
