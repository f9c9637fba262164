/* The course of a run: what is kept, and in which order. */
#include "graph/control/run_history.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct run_history *history_of(int samples)
{
    struct run_history *h = calloc(1, sizeof *h);
    for (int i = 0; i < samples; i++) {
        char text[256];
        struct json_node *status;
        snprintf(text, sizeof text,
                 "{\"up_s\": %d, \"tokens\": %d, \"documents\": 1, \"rss_bytes\": 5,"
                 " \"processes\": [{\"rss_bytes\": 10}, {\"rss_bytes\": 20}], \"links\": [{\"queue\": 3}, "
                 "{\"queue\": 4}]}",
                 i * 2, i * 100);
        cr_assert_eq(json_parse(&status, text, strlen(text), "status", NULL), THEA_OK);
        run_history_add(h, status);
        json_free(status);
    }
    return h;
}

static double number(const struct json_node *list, size_t sample, size_t field)
{
    return json_number(json_item(json_item(list, sample), field));
}

Test(run_history, sums_over_processes_and_links)
{
    struct run_history *h = history_of(2);
    struct json_node *list = run_history_json(h);
    cr_assert_eq(json_count(list), 2);
    cr_expect_eq(number(list, 1, 0), 2);
    cr_expect_eq(number(list, 1, 1), 100);
    cr_expect_eq(number(list, 1, 2), 1);
    cr_expect_eq(number(list, 1, 3), 7);
    cr_expect_eq(number(list, 1, 4), 35);
    json_free(list);
    free(h);
}

Test(run_history, keeps_the_newest_and_begins_with_the_oldest_of_them)
{
    struct run_history *h = history_of(RUN_HISTORY_SAMPLES + 5);
    struct json_node *list = run_history_json(h);
    cr_assert_eq(json_count(list), RUN_HISTORY_SAMPLES);
    for (size_t i = 0; i < RUN_HISTORY_SAMPLES; i++) cr_assert_eq(number(list, i, 0), (double)(i + 5) * 2);
    json_free(list);
    free(h);
}

Test(run_history, of_a_run_that_has_just_begun_is_empty)
{
    struct run_history *h = history_of(0);
    struct json_node *list = run_history_json(h);
    cr_expect_eq(json_count(list), 0);
    json_free(list);
    free(h);
}
