/* Values as people write them: what is taken, what is refused and with which words. */
#include "graph/value.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

static struct thea_err err;
static const char *const words[] = {"auto", "text", "jsonl", "tokens", NULL};

static thea_rc parse(struct value *v, value_type type, const char *text)
{
    struct value_limits limits = {0, 0, words};
    err = (struct thea_err){0};
    return value_parse(v, type, &limits, text, &err);
}

struct good {
    value_type type;
    char text[24];
    int64_t integer;
    double number;
};

ParameterizedTestParameters(value, a_text_becomes_its_value)
{
    static struct good cases[] = {
        {VALUE_BOOL, "true", 1, 0},
        {VALUE_BOOL, "false", 0, 0},
        {VALUE_INT, "512", 512, 0},
        {VALUE_INT, "-1", -1, 0},
        {VALUE_INT, "1_000", 1000, 0},
        {VALUE_INT, "9223372036854775807", INT64_MAX, 0},
        {VALUE_NUMBER, "0.8", 0, 0.8},
        {VALUE_NUMBER, "1e-5", 0, 1e-5},
        {VALUE_NUMBER, "-3", 0, -3},
        {VALUE_CHOICE, "jsonl", 2, 0},
        {VALUE_SIZE, "64MiB", INT64_C(64) << 20, 0},
        {VALUE_SIZE, "1.5KiB", 1536, 0},
        {VALUE_SIZE, "512B", 512, 0},
        {VALUE_SIZE, "0", 0, 0},
        {VALUE_TIME, "250ms", 250000000, 0},
        {VALUE_TIME, "2h", INT64_C(7200) * 1000000000, 0},
        {VALUE_TIME, "0.5s", 500000000, 0},
        {VALUE_TIME, "0", 0, 0},
    };
    return cr_make_param_array(struct good, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct good *c, value, a_text_becomes_its_value)
{
    struct value v;
    cr_assert_eq(parse(&v, c->type, c->text), THEA_OK, "%s: %s", c->text, err.message);
    cr_assert_eq(v.type, c->type);
    if (c->type == VALUE_BOOL)
        cr_assert_eq(v.boolean, c->integer == 1);
    else if (c->type == VALUE_NUMBER)
        cr_assert_eq(v.number, c->number);
    else if (c->type == VALUE_CHOICE)
        cr_assert_eq(v.choice, (int)c->integer);
    else
        cr_assert_eq(v.integer, c->integer, "%s gave %lld", c->text, (long long)v.integer);
}

struct bad {
    value_type type;
    char text[24];
    char says[40];
};

ParameterizedTestParameters(value, a_wrong_text_is_refused_with_what_is_accepted)
{
    static struct bad cases[] = {
        {VALUE_BOOL, "yes", "true or false"},
        {VALUE_BOOL, "", "true or false"},
        {VALUE_INT, "", "whole number"},
        {VALUE_INT, "12x", "whole number"},
        {VALUE_INT, "1.5", "whole number"},
        {VALUE_INT, " 1", "whole number"},
        {VALUE_INT, "1__0", "whole number"},
        {VALUE_INT, "_1", "whole number"},
        {VALUE_INT, "9223372036854775808", "whole number"},
        {VALUE_NUMBER, "nan", "0.8 or 1e-5"},
        {VALUE_NUMBER, "inf", "0.8 or 1e-5"},
        {VALUE_NUMBER, "0x10", "0.8 or 1e-5"},
        {VALUE_NUMBER, "1e999", "0.8 or 1e-5"},
        {VALUE_NUMBER, "1.2.3", "0.8 or 1e-5"},
        {VALUE_CHOICE, "json", "did you mean 'jsonl'"},
        {VALUE_CHOICE, "xml", "one of auto, text, jsonl, tokens"},
        {VALUE_NAMES, "tokns", "did you mean 'tokens'"},
        {VALUE_NAMES, "", "empty"},
        {VALUE_SIZE, "64", "did you mean '64MiB'"},
        {VALUE_SIZE, "64MB", "unknown unit 'MB'"},
        {VALUE_SIZE, "MiB", "a number with its unit"},
        {VALUE_SIZE, "-1KiB", "a number with its unit"},
        {VALUE_SIZE, "9999999999999TiB", "too large"},
        {VALUE_SIZE, "1.2.3MiB", "a number with its unit"},
        {VALUE_TIME, "30", "did you mean '30s'"},
        {VALUE_TIME, "5 min", "unknown unit ' min'"},
        {VALUE_RANGE, "", "0-7, 8-, 3 or all"},
        {VALUE_RANGE, "7-0", "empty range"},
        {VALUE_RANGE, "a-b", "0-7, 8-, 3 or all"},
        {VALUE_RANGE, "1-2-3", "0-7, 8-, 3 or all"},
        {VALUE_RANGE, "-3", "0-7, 8-, 3 or all"},
        {VALUE_PATH, "", "path is empty"},
        {VALUE_MODEL, "", "model is empty"},
        {VALUE_PATHS, "", "path is empty"},
    };
    return cr_make_param_array(struct bad, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct bad *c, value, a_wrong_text_is_refused_with_what_is_accepted)
{
    struct value v;
    cr_assert_eq(parse(&v, c->type, c->text), THEA_EUSAGE, "'%s' was taken", c->text);
    cr_assert(strstr(err.message, c->says) != NULL, "'%s' gave: %s", c->text, err.message);
}

Test(value, ranges_are_inclusive_and_from_zero)
{
    struct value v;
    cr_assert_eq(parse(&v, VALUE_RANGE, "0-7"), THEA_OK);
    cr_assert(v.range.first == 0 && v.range.last == 7);
    cr_assert_eq(parse(&v, VALUE_RANGE, "8-"), THEA_OK);
    cr_assert(v.range.first == 8 && v.range.last == INT64_MAX);
    cr_assert_eq(parse(&v, VALUE_RANGE, "3"), THEA_OK);
    cr_assert(v.range.first == 3 && v.range.last == 3);
    cr_assert_eq(parse(&v, VALUE_RANGE, "all"), THEA_OK);
    cr_assert(v.range.first == 0 && v.range.last == INT64_MAX);
}

Test(value, limits_hold_for_numbers_sizes_and_times_and_are_named)
{
    struct value v;
    struct value_limits limits = {1, 65536, NULL};
    cr_assert_eq(value_parse(&v, VALUE_INT, &limits, "0", &err), THEA_EUSAGE);
    cr_assert(strstr(err.message, "from 1 to 65536") != NULL, "%s", err.message);
    cr_assert_eq(value_parse(&v, VALUE_INT, &limits, "65536", &err), THEA_OK);
    cr_assert_eq(value_parse(&v, VALUE_SIZE, &limits, "65KiB", &err), THEA_EUSAGE);
    cr_assert_eq(value_parse(&v, VALUE_NUMBER, &limits, "0.5", &err), THEA_EUSAGE);
    cr_assert_eq(value_parse(&v, VALUE_INT, NULL, "0", &err), THEA_OK);
}

Test(value, texts_are_borrowed)
{
    struct value v;
    const char *text = "*.md";
    cr_assert_eq(parse(&v, VALUE_TEXT, text), THEA_OK);
    cr_assert_eq(v.text, text);
    cr_assert_eq(parse(&v, VALUE_PATHS, text), THEA_OK);
    cr_assert_eq(v.text, text);
}

Test(value, the_nearest_name_is_near_and_a_common_prefix_wins)
{
    static const char *const names[] = {"threads", "tokens", "blocks", "chunk", "in", NULL};
    cr_assert_str_eq(value_nearest("thraeds", names), "threads");
    cr_assert_str_eq(value_nearest("blcoks", names), "blocks");
    cr_assert_str_eq(value_nearest("chunks", names), "chunk");
    cr_assert_null(value_nearest("elephant", names));
    cr_assert_null(value_nearest("x", names));
    cr_assert_null(value_nearest("", names));
    static const char *const ties[] = {"bat", "cab", "car", NULL};
    cr_assert_str_eq(value_nearest("caz", ties), "cab");
    char longer[200];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    cr_assert_null(value_nearest(longer, names));
}

Test(value, numbers_for_people)
{
    char out[32];
    cr_assert_str_eq(value_format_bytes(out, 640), "640 B");
    cr_assert_str_eq(value_format_bytes(out, 1536), "1.5 KiB");
    cr_assert_str_eq(value_format_bytes(out, UINT64_C(5583457484)), "5.2 GiB");
    cr_assert_str_eq(value_format_bytes(out, UINT64_C(94) << 20), "94 MiB");
    cr_assert_str_eq(value_format_count(out, 0), "0");
    cr_assert_str_eq(value_format_count(out, 999), "999");
    cr_assert_str_eq(value_format_count(out, 1860144), "1,860,144");
    cr_assert_str_eq(value_format_count(out, UINT64_MAX), "18,446,744,073,709,551,615");
    cr_assert_str_eq(value_format_rate(out, 840), "840");
    cr_assert_str_eq(value_format_rate(out, 15900), "15.9k");
    cr_assert_str_eq(value_format_rate(out, 1.2e6), "1.2M");
    cr_assert_str_eq(value_format_rate(out, 3.25), "3.2");
}

Test(value, lists_are_known_as_such)
{
    cr_assert(value_type_is_list(VALUE_PATHS) && value_type_is_list(VALUE_TEXTS) &&
              value_type_is_list(VALUE_NAMES));
    cr_assert_not(value_type_is_list(VALUE_PATH));
    cr_assert_str_eq(value_type_name(VALUE_SIZE), "size");
}

/* --- sizes and times written exactly --- */

Test(value, a_size_or_time_is_written_so_that_it_reads_back)
{
    const struct {
        value_type type;
        int64_t n;
        const char *text;
    } cases[] = {
        {VALUE_SIZE, 0, "0"},
        {VALUE_SIZE, 1, "1B"},
        {VALUE_SIZE, 1536, "1536B"},
        {VALUE_SIZE, INT64_C(64) << 20, "64MiB"},
        {VALUE_SIZE, INT64_C(3) << 40, "3TiB"},
        {VALUE_TIME, 0, "0"},
        {VALUE_TIME, 1, "1ns"},
        {VALUE_TIME, 250000000, "250ms"},
        {VALUE_TIME, INT64_C(90) * 1000000000, "90s"},
        {VALUE_TIME, INT64_C(7200) * 1000000000, "2h"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        struct value v;
        cr_expect_str_eq(value_format_exact(text, cases[i].type, cases[i].n), cases[i].text);
        cr_expect_eq(value_parse(&v, cases[i].type, NULL, text, NULL), THEA_OK);
        cr_expect_eq(v.integer, cases[i].n);
    }
}

Test(value, limits_of_sizes_and_times_are_told_with_their_unit)
{
    struct value v;
    struct value_limits size = {1 << 20, 1 << 30, NULL}, time = {1e6, 1e18, NULL};
    err = (struct thea_err){0};
    cr_expect_eq(value_parse(&v, VALUE_SIZE, &size, "4KiB", &err), THEA_EUSAGE);
    cr_expect_str_eq(err.message, "'4KiB' is out of range: a size from 1MiB to 1GiB is accepted");
    cr_expect_eq(value_parse(&v, VALUE_SIZE, &size, "1GiB", &err), THEA_OK);
    cr_expect_eq(value_parse(&v, VALUE_TIME, &time, "0", &err), THEA_EUSAGE);
    cr_expect_str_eq(err.message, "'0' is out of range: a time of at least 1ms is accepted");
}
