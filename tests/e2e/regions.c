/* Tensors are read where they were written: real runs, real processes, and what their links counted. */
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(regions, .timeout = 5 * RUN_LIMIT_S);

enum { RESIDUAL_BYTES_MIN = 1 << 20 };

/* What all links of a run have counted at their sending ends. */
struct counts {
    size_t links;
    int64_t bytes, copied, inlined, residual;
};

/* A run of the score pipeline, `layers` in two processes: five links in a row. */
static struct counts score(const char *environment, char **output)
{
    struct counts c = {0};
    struct run_result r;
    struct thea_err err = {0};
    char *dir = run_temp_dir();
    run_shell(&r, NULL, RUN_LIMIT_S,
              "%s thea run score README.md docs/writing-a-stage.md --run-dir %s/run -q", environment, dir);
    cr_assert_eq(r.status, 0, "%s", buf_text(&r.err));
    *output = strdup(buf_text(&r.out));
    struct json_node *report = NULL;
    char path[300];
    snprintf(path, sizeof path, "%s/run/report.json", dir);
    cr_assert_eq(json_read_file(&report, path, 1 << 20, &err), THEA_OK, "%s", err.message);
    const struct json_node *links = json_member(report, "links");
    c.links = json_count(links);
    for (size_t i = 0; i < c.links; i++) {
        const struct json_node *ln = json_item(links, i), *sent = json_member(ln, "sent");
        c.bytes += json_int_or(sent, "bytes", 0);
        c.copied += json_int_or(sent, "copied_bytes", -1);
        c.inlined += json_int_or(sent, "inlined_bytes", -1);
        if (strcmp(json_text_or(ln, "from_port", ""), "residual") == 0)
            c.residual += json_int_or(sent, "bytes", 0);
    }
    json_free(report);
    run_result_fini(&r);
    free(dir);
    return c;
}

Test(regions, links_of_one_host_copy_no_tensor_and_the_answer_is_the_same_as_with_copies)
{
    char *in_place, *in_messages;
    struct counts with = score("", &in_place), without = score("THEA_REGIONS=off", &in_messages);
    cr_assert_eq(with.links, 5);
    cr_assert_gt(with.residual, RESIDUAL_BYTES_MIN, "hidden states went between the two parts of layers");
    cr_assert_eq(with.copied, 0);
    cr_assert_lt(with.inlined, with.bytes / 10, "and they did not go as small ones");
    cr_assert_gt(without.copied, RESIDUAL_BYTES_MIN, "the counter counts");
    cr_assert_eq(with.bytes, without.bytes);
    cr_assert_gt(strlen(in_place), 100);
    cr_assert_str_eq(in_place, in_messages);
    free(in_place);
    free(in_messages);
}
