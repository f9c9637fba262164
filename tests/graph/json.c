/* JSON: foreign text is checked, what we build can be read back. */
#include "graph/json.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct thea_err err;

static struct json_node *parse(const char *text)
{
    struct json_node *node = NULL;
    cr_assert_eq(json_parse(&node, text, strlen(text), "test.json", &err), THEA_OK, "%s", err.message);
    return node;
}

Test(json, a_tree_can_be_walked)
{
    struct json_node *n = parse("{\"a\": {\"b\": [1, 2.5, \"x\", true, null]}, \"n\": -7}");
    const struct json_node *list = json_path(n, "a.b");
    cr_assert_eq(json_count(list), 5);
    cr_assert_eq(json_int(json_item(list, 0)), 1);
    cr_assert_eq(json_number(json_item(list, 1)), 2.5);
    cr_assert_str_eq(json_text(json_item(list, 2), NULL), "x");
    cr_assert(json_bool(json_item(list, 3)));
    cr_assert_eq(json_kind(json_item(list, 4)), JSON_NULL_);
    cr_assert_null(json_item(list, 5));
    cr_assert_null(json_path(n, "a.c.d"));
    cr_assert_null(json_member(list, "a"));
    cr_assert_eq(json_int_or(n, "n", 0), -7);
    cr_assert_eq(json_int_or(n, "missing", 4), 4);
    cr_assert_eq(json_number_or(n, "n", 0), -7.0);
    cr_assert_str_eq(json_text_or(n, "n", "other kind"), "other kind");
    json_free(n);
}

Test(json, members_come_in_the_order_of_the_text)
{
    struct json_node *n = parse("{\"z\": 1, \"a\": 2, \"m\": 3}");
    char order[8] = "";
    for (struct json_iter it = json_iter(n); json_next(&it);) strncat(order, it.key, 1);
    cr_assert_str_eq(order, "zam");
    json_free(n);
}

Test(json, strings_may_hold_a_nul)
{
    struct json_node *n = parse("\"a\\u0000b\"");
    size_t len = 0;
    const char *text = json_text(n, &len);
    cr_assert_eq(len, 3);
    cr_assert_eq(memcmp(text, "a\0b", 3), 0);
    json_free(n);
}

ParameterizedTestParameters(json, bad_text_is_refused_with_its_place)
{
    static struct {
        char text[48];
    } cases[] = {{""},         {"{"},        {"[1,]"},     {"{\"a\": 1, \"a\": 2}"},
                 {"nul"},      {"\"\x01\""}, {"\"\xff\""}, {"1 2"},
                 {"{'a': 1}"}, {"[NaN]"}};
    return cr_make_param_array(char[48], cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(char (*text)[48], json, bad_text_is_refused_with_its_place)
{
    struct json_node *node = NULL;
    cr_assert_eq(json_parse(&node, *text, strlen(*text), "test.json", &err), THEA_EDATA, "%s was taken",
                 *text);
    cr_assert_eq(strncmp(err.message, "test.json:", 10), 0, "%s", err.message);
}

Test(json, nesting_has_a_limit)
{
    char deep[200];
    memset(deep, '[', 64);
    memset(deep + 64, ']', 64);
    struct json_node *node = NULL;
    cr_assert_eq(json_parse(&node, deep, 128, "deep", &err), THEA_OK, "%s", err.message);
    json_free(node);
    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    cr_assert_eq(json_parse(&node, deep, 130, "deep", &err), THEA_EDATA);
    cr_assert(strstr(err.message, "64") != NULL, "%s", err.message);
}

Test(json, what_is_built_reads_back_the_same)
{
    struct json_node *map = json_new_map(), *list = json_new_list();
    json_append(list, json_new_int(1));
    json_append(list, json_new_number(0.1));
    json_append(list, json_new_number(NAN));
    json_append(list, json_new_text("a\"\n\0b", 5));
    json_append(list, json_new_bool(false));
    json_append(list, json_new_string(NULL));
    json_put(map, "list", list);
    char *text = json_print(map, 0, 0);
    cr_assert_null(strchr(text, '\n'));
    struct json_node *again = parse(text);
    cr_assert_eq(json_number(json_item(json_member(again, "list"), 1)), 0.1);
    cr_assert_eq(json_kind(json_item(json_member(again, "list"), 2)), JSON_NULL_);
    size_t len;
    (void)json_text(json_item(json_member(again, "list"), 3), &len);
    cr_assert_eq(len, 5);
    free(text);
    struct json_node *copy = json_copy_node(again);
    json_free(again);
    cr_assert_eq(json_count(json_member(copy, "list")), 6);
    json_free(copy);
    json_free(map);
}

Test(json, invalid_utf8_is_replaced_not_lost)
{
    struct json_node *n = json_new_text("a\xff"
                                        "b",
                                        3);
    cr_assert_str_eq(json_text(n, NULL), "a\xef\xbf\xbd"
                                         "b");
    json_free(n);
}

Test(json, files_are_limited_and_missing_ones_named)
{
    struct json_node *node = NULL;
    cr_assert_eq(json_read_file(&node, "/nonexistent/x.json", 100, &err), THEA_ENOINPUT);
    cr_assert(strstr(err.message, "/nonexistent/x.json") != NULL);
    char path[] = "/tmp/thea-json-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, "[1, 2, 3]", 9), 9);
    close(fd);
    cr_assert_eq(json_read_file(&node, path, 8, &err), THEA_EDATA);
    cr_assert_eq(json_read_file(&node, path, 9, &err), THEA_OK, "%s", err.message);
    json_free(node);
    unlink(path);
}
