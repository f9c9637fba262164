/* Metrics in Prometheus' text format, read by a parser that is as strict as promtool. */
#include "graph/control/metrics.h"
#include "tests/support/exposition.h"

#include <criterion/criterion.h>
#include <string.h>

static const char status_text[] =
    "{\"name\": \"score-\\\"1\\\\\\n\", \"pipeline\": \"score\", \"up_s\": 2.5, \"documents\": 3, "
    "\"failed\": 1,"
    " \"tokens\": 123456789012, \"rss_bytes\": 4096, \"processes\": ["
    "{\"name\": \"load\", \"stage\": \"load\", \"part\": 0, \"replica\": 0, \"pid\": 7, \"frames_out\": 10},"
    "{\"name\": \"layers/1:2\", \"stage\": \"layers\", \"part\": 1, \"replica\": 2, \"pid\": 0, "
    "\"frames_in\": 10,"
    " \"busy_s\": 0.25, \"restarts\": 4, \"op_ns\": [[1024, 1], [1280, 2], [4096, 4], [5120, 8],"
    " [99999999999999, 16]]}],"
    " \"links\": [{\"from\": \"load\", \"from_port\": \"docs\", \"to\": \"layers/1:2\", \"to_port\": "
    "\"tokens\","
    " \"frames\": 10, \"queue\": 7, \"window\": 8}]}";

static void print(struct buf *out, const char *text)
{
    struct json_node *status;
    struct thea_err err;
    cr_assert_eq(json_parse(&status, text, strlen(text), "status", &err), THEA_OK, "%s", err.message);
    metrics_print(status, out);
    json_free(status);
}

static double sample(const struct exposition *e, const char *series)
{
    double value = -1;
    cr_expect(exposition_find(e, series, &value), "no sample %s", series);
    return value;
}

Test(metrics, are_what_prometheus_reads)
{
    struct buf text = {0};
    struct exposition e;
    char why[256] = "";
    print(&text, status_text);
    cr_assert(exposition_parse(&e, text.data, why), "%s\n%s", why, text.data);
    cr_expect_eq(sample(&e, "thea_run_tokens_total"), 123456789012.0);
    cr_expect_eq(sample(&e, "thea_run_uptime_seconds"), 2.5);
    cr_expect_eq(
        sample(&e, "thea_stage_frames_total{stage=\"load\",part=\"0\",replica=\"0\",direction=\"out\"}"), 10);
    cr_expect_eq(sample(&e, "thea_stage_busy_seconds_total{stage=\"layers\",part=\"1\",replica=\"2\"}"),
                 0.25);
    cr_expect_eq(sample(&e, "thea_stage_restarts_total{stage=\"layers\",part=\"1\",replica=\"2\"}"), 4);
    cr_expect_eq(sample(&e, "thea_stage_up{stage=\"load\",part=\"0\",replica=\"0\"}"), 1);
    cr_expect_eq(sample(&e, "thea_stage_up{stage=\"layers\",part=\"1\",replica=\"2\"}"), 0);
    cr_expect_eq(sample(&e, "thea_link_queue_frames{from=\"load\",from_port=\"docs\",to=\"layers/1:2\","
                            "to_port=\"tokens\"}"),
                 7);
    cr_expect_eq(sample(&e,
                        "thea_run_info{run=\"score-\\\"1\\\\\\n\",pipeline=\"score\",version=\"" THEA_VERSION
                        "\"}"),
                 1);
    exposition_fini(&e);
    buf_fini(&text);
}

Test(metrics, times_of_operations_are_a_cumulative_histogram)
{
    struct buf text = {0};
    struct exposition e;
    char why[256] = "";
    print(&text, status_text);
    cr_assert(exposition_parse(&e, text.data, why), "%s", why);
#define OPS    "thea_stage_op_duration_seconds"
#define LAYERS "stage=\"layers\",part=\"1\",replica=\"2\""
    cr_expect_eq(sample(&e, OPS "_bucket{" LAYERS ",le=\"1.024e-06\"}"), 1);
    cr_expect_eq(sample(&e, OPS "_bucket{" LAYERS ",le=\"4.096e-06\"}"), 7);
    cr_expect_eq(sample(&e, OPS "_bucket{" LAYERS ",le=\"1.6384e-05\"}"), 15);
    cr_expect_eq(sample(&e, OPS "_bucket{" LAYERS ",le=\"17.179869184\"}"), 15);
    cr_expect_eq(sample(&e, OPS "_bucket{" LAYERS ",le=\"+Inf\"}"), 31);
    cr_expect_eq(sample(&e, OPS "_count{" LAYERS "}"), 31);
    cr_expect_eq(sample(&e, OPS "_sum{" LAYERS "}"), 0.25);
    exposition_fini(&e);
    buf_fini(&text);
}

Test(metrics, of_a_status_that_has_nothing_are_well_formed)
{
    struct buf text = {0};
    struct exposition e;
    char why[256] = "";
    print(&text, "{}");
    cr_expect(exposition_parse(&e, text.data, why), "%s\n%s", why, text.data);
    exposition_fini(&e);
    buf_fini(&text);
}

#define HISTOGRAM(lines) ("# HELP a A.\n# TYPE a histogram\n" lines)

Test(metrics, the_parser_refuses_what_prometheus_would)
{
    static const char *const wrong[] = {
        "a_total 1\n",                                                          /* no TYPE */
        "# HELP a A.\na 1\n",                                                   /* no TYPE */
        "# HELP a A.\n# TYPE a counter\na 1\n",                                 /* no _total */
        "# HELP a A.\n# TYPE a gauge\na 1",                                     /* no newline at the end */
        "# HELP a A.\n# TYPE a gauge\na 1\na 2\n",                              /* twice */
        "# HELP a A.\n# TYPE a gauge\na{x=\"1} 2\n",                            /* quote */
        "# HELP a A.\n# TYPE a gauge\na{x=\"\\q\"} 2\n",                        /* escape */
        "# HELP a A.\n# TYPE a gauge\na{1x=\"1\"} 2\n",                         /* label's name */
        "# HELP a A.\n# TYPE a gauge\na{x=\"1\",x=\"2\"} 2\n",                  /* label twice */
        "# HELP a A.\n# TYPE a gauge\na nothing\n",                             /* number */
        "# HELP a A.\n# TYPE a gauge\n# HELP b B.\n# TYPE b gauge\nb 1\na 1\n", /* apart */
        "# HELP a A.\n# TYPE a thing\na 1\n",                                   /* type */
        HISTOGRAM("a_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n"),
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_sum 1\na_count 2\n", /* no +Inf */
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 2\na_sum 1\na_count 3\n",
    };
    struct exposition e;
    char why[256];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_not(exposition_parse(&e, wrong[i], why), "accepted: %s", wrong[i]);
        exposition_fini(&e);
    }
}
