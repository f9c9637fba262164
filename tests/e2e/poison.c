/* A document that crashes a stage together with the others of its batch: more of them than a crash report has
 * room for. It alone is set aside, wherever it stands in the batch, and all others come out in their order.
 */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEADLINE_S = RUN_LIMIT_S, DOCUMENTS = 48 };

/* How often does `what` stand in a text? */
static int occurrences(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what)) n++;
    return n;
}

static void expect_one_aside(int poison, const char *order)
{
    struct run_result r;
    struct buf expected = {0};
    char *dir = run_temp_dir();
    run_shell(&r, dir, DEADLINE_S,
              "export THEA_STAGE_PATH=%s/tests THEA_RUNS=$PWD; printf 'stages:\n"
              "  count: {kind: count, documents: %d, in_flight: 40}\n"
              "  batch: {kind: batch, from: count, size: 30, poison: %d}\n"
              "  write: {kind: write, from: {vector: batch}, output: out.jsonl, order: %s}\n' > p.yaml; "
              "thea run p.yaml --run-dir run; echo $?; %s out.jsonl | sed 's/, .*//'",
              run_bin_dir(), DOCUMENTS, poison, order,
              strcmp(order, "input") == 0 ? "cat" : "sort -t - -k 2 -n");
    buf_add_text(&expected, "1\n");
    for (int i = 0; i < DOCUMENTS; i++)
        if (i != poison) buf_printf(&expected, "{\"id\": \"doc-%d\"\n", i);
    cr_expect_str_eq(buf_text(&r.out), buf_text(&expected), "poison %d, order %s:\n%s", poison, order,
                     buf_text(&r.err));
    cr_expect_eq(occurrences(buf_text(&r.err), "set aside after 3 tries: stage batch was killed by SIGABRT"),
                 1, "%s", buf_text(&r.err));
    buf_fini(&expected);
    run_result_fini(&r);
    free(dir);
}

Test(poison, that_is_the_first_of_a_batch_is_set_aside, .timeout = 5 * RUN_LIMIT_S)
{
    expect_one_aside(0, "input");
}

Test(poison, that_is_the_ninth_and_not_in_the_crash_report_is_set_aside, .timeout = 5 * RUN_LIMIT_S)
{
    expect_one_aside(8, "input");
}

Test(poison, that_is_the_last_of_a_large_batch_is_set_aside, .timeout = 5 * RUN_LIMIT_S)
{
    expect_one_aside(29, "input");
}

Test(poison, in_a_later_batch_waits_for_nobody_before_it, .timeout = 5 * RUN_LIMIT_S)
{
    expect_one_aside(47, "input");
}

Test(poison, is_set_aside_where_the_order_does_not_matter, .timeout = 5 * RUN_LIMIT_S)
{
    expect_one_aside(20, "completion");
}
