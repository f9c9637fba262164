/* Rates between two answers of a run, and the table made of them. */
#include "graph/control/run_rates.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct json_node *parse(const char *text)
{
    struct json_node *out;
    struct thea_err err;
    cr_assert_eq(json_parse(&out, text, strlen(text), "status", &err), THEA_OK, "%s", err.message);
    return out;
}

static const char before_text[] =
    "{\"name\": \"score-1\", \"state\": \"running\", \"now_ns\": 1000000000, \"up_s\": 10, \"tokens\": 1000,"
    " \"documents\": 1, \"processes\": ["
    "{\"name\": \"load\", \"source\": true, \"pid\": 7, \"state\": \"running\", \"frames_out\": 10},"
    "{\"name\": \"layers\", \"pid\": 8, \"state\": \"running\", \"frames_in\": 10, \"tokens\": 1000,"
    " \"busy_s\": 5, \"starved_s\": 1, \"op_ns\": [[1000000, 5], [2000000, 5]]}], \"links\": []}";
static const char now_text[] =
    "{\"name\": \"score-1\", \"state\": \"running\", \"now_ns\": 3000000000, \"up_s\": 12, \"tokens\": 5000,"
    " \"documents\": 4112, \"open\": 9, \"failed\": 2, \"epoch\": 3, \"processes\": ["
    "{\"name\": \"load\", \"source\": true, \"pid\": 7, \"state\": \"running\", \"frames_out\": 110,"
    " \"blocked_s\": 2},"
    "{\"name\": \"layers\", \"pid\": 8, \"state\": \"running\", \"frames_in\": 50, \"tokens\": 5000,"
    " \"busy_s\": 6.5, \"starved_s\": 1.5, \"rss_bytes\": 98566144,"
    " \"op_ns\": [[1000000, 5], [2000000, 6], [15000000, 98], [22000000, 1]]}],"
    " \"links\": [{\"from\": \"load\", \"to\": \"layers\", \"queue\": 7, \"in_flight\": 8, \"window\": 8,"
    " \"copied_bytes\": 0}]}";

Test(run_rates, are_of_the_time_between_two_answers)
{
    struct json_node *before = parse(before_text), *now = parse(now_text);
    size_t count;
    struct run_rates *r = run_rates(&count, before, now);
    cr_assert_eq(count, 2);
    cr_expect_float_eq(r[0].frames_per_s, 50, 1e-9, "%g", r[0].frames_per_s); /* a source: what left it */
    cr_expect_float_eq(r[1].frames_per_s, 20, 1e-9, "%g", r[1].frames_per_s);
    cr_expect_float_eq(r[1].tokens_per_s, 2000, 1e-9);
    cr_expect_float_eq(r[0].blocked, 1, 1e-9);
    cr_expect_float_eq(r[1].busy, 0.75, 1e-9);
    cr_expect_float_eq(r[1].starved, 0.25, 1e-9);
    cr_expect(r[1].bottleneck && !r[0].bottleneck);
    cr_expect_eq(r[1].queue, 7);
    cr_expect_eq(r[1].in_flight, 8);
    cr_expect_eq(r[0].window, 0, "a source has no incoming link");
    cr_expect_float_eq(r[1].p50_s, 0.015, 1e-9, "%g", r[1].p50_s);
    cr_expect_float_eq(r[1].p99_s, 0.015, 1e-9, "%g: 99 of 100 ops", r[1].p99_s);
    cr_expect(isnan(r[0].p50_s), "no op took place");
    free(r);
    json_free(before);
    json_free(now);
}

Test(run_rates, count_from_zero_after_a_restart)
{
    struct json_node *before = parse(before_text);
    struct json_node *now =
        parse("{\"now_ns\": 2000000000, \"processes\": [{\"name\": \"layers\", \"pid\": 9, "
              "\"restarts\": 1, \"state\": \"running\", \"frames_in\": 4, \"tokens\": 100,"
              " \"op_ns\": [[2000000, 3]]}]}");
    size_t count;
    struct run_rates *r = run_rates(&count, before, now);
    cr_assert_eq(count, 1);
    cr_expect_float_eq(r[0].frames_per_s, 4, 1e-9, "%g", r[0].frames_per_s);
    cr_expect_float_eq(r[0].tokens_per_s, 100, 1e-9, "%g", r[0].tokens_per_s);
    cr_expect_float_eq(r[0].p50_s, 0.002, 1e-9, "%g", r[0].p50_s);
    cr_expect_eq(r[0].restarts, 1);
    free(r);
    json_free(before);
    json_free(now);
}

Test(run_rates, a_process_inside_a_long_op_is_busy_and_one_that_waits_long_or_is_done_is_not)
{
    struct json_node *now = parse("{\"now_ns\": 2, \"processes\": ["
                                  "{\"name\": \"a\", \"state\": \"running\", \"doing\": \"busy\"},"
                                  "{\"name\": \"b\", \"state\": \"done\", \"doing\": \"busy\"},"
                                  "{\"name\": \"c\", \"state\": \"running\", \"doing\": \"starved\"}]}");
    size_t count;
    struct run_rates *r = run_rates(&count, now, now);
    cr_expect_float_eq(r[0].busy, 1, 1e-9);
    cr_expect_float_eq(r[1].busy, 0, 1e-9);
    cr_expect_float_eq(r[2].busy, 0, 1e-9);
    cr_expect_float_eq(r[2].starved, 1, 1e-9);
    free(r);
    json_free(now);
}

Test(run_rates, survive_an_answer_that_has_nothing)
{
    struct json_node *empty = parse("{}"), *odd = parse("{\"processes\": [1, null, {}], \"links\": {}}");
    struct buf text = {0};
    run_print_top(NULL, empty, 200, &text);
    run_print_top(empty, odd, 200, &text);
    cr_expect_gt(text.len, 0);
    struct json_node *figures = run_top_json(NULL, odd);
    cr_expect_eq(json_count(json_member(figures, "processes")), 3);
    json_free(figures);
    json_free(empty);
    json_free(odd);
    buf_fini(&text);
}

Test(run_rates, make_the_table_of_top)
{
    struct json_node *before = parse(before_text), *now = parse(now_text);
    struct buf text = {0};
    run_print_top(before, now, 200, &text);
    cr_expect_not_null(
        strstr(text.data, "score-1  running 0:12  4,112 docs, 9 open, 2 set aside  2.0k tok/s  epoch 3\n"),
        "%s", text.data);
    cr_expect_not_null(strstr(text.data, "PROCESS"));
    const char *row = strstr(text.data, "\nlayers ");
    cr_assert_not_null(row);
    cr_expect_not_null(strstr(row, " 8/8 "), "%s", row);
    cr_expect_not_null(strstr(row, "94 MiB   15 ms   15 ms  <-\n"), "%s", row);
    json_free(before);
    json_free(now);
    buf_fini(&text);
}

Test(run_rates, no_line_is_wider_than_the_terminal)
{
    struct json_node *before = parse(before_text), *now = parse(now_text);
    struct buf text = {0};
    run_print_top(before, now, 40, &text);
    for (const char *line = text.data; *line != '\0'; line += strcspn(line, "\n") + 1)
        cr_expect_leq(strcspn(line, "\n"), 40, "%s", line);
    json_free(before);
    json_free(now);
    buf_fini(&text);
}
