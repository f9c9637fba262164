/* The runtime's core, through the harness: streams, ends, errors, AGAIN, joins, loops. */
#include "tests/graph/wire/toy.h"
#include "tests/support/harness.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct thea_err err;

static struct harness *open_with(const char *const *args, const char *const *in, const char *const *out)
{
    struct harness *h = NULL;
    cr_assert_eq(harness_open_ports(&h, &toy_ops, args, in, out, &err), THEA_OK, "%s", err.message);
    return h;
}

static thea_rc feed(struct harness *h, const char *port, frame_kind kind, uint64_t stream,
                    const float *values, uint64_t n)
{
    struct tensor t = toy_values(strcmp(port, "other") == 0 ? "other" : "values", values, n);
    struct frame f = toy_frame(kind, stream, 0, &t, n > 0 ? 1 : 0);
    return harness_feed(h, port, &f, &err);
}

static const char *only_values[] = {"values", NULL};
static const char *doubled[] = {"doubled", NULL};

Test(stage_step, data_then_end_gives_data_then_end)
{
    struct harness *h = open_with(NULL, only_values, NULL);
    float v[] = {1, 2, 3};
    cr_assert_eq(feed(h, "values", FRAME_DATA, 7, v, 3), THEA_OK, "%s", err.message);
    cr_assert_eq(feed(h, "values", FRAME_END, 7, NULL, 0), THEA_OK, "%s", err.message);
    cr_assert_eq(harness_count(h, "doubled"), 2);
    const struct frame *f = harness_frame(h, "doubled", 0);
    cr_assert_eq(f->stream, 7);
    cr_assert_float_eq(((const float *)f->tensors[0].data)[2], 6, 0);
    cr_assert_eq(harness_frame(h, "doubled", 1)->kind, FRAME_END);
    cr_assert_eq(harness_frame(h, "doubled", 1)->seq, 1);
    cr_assert_eq(harness_count(h, "sum"), 2); /* the sum, then its end */
    cr_assert_float_eq(*(const float *)harness_frame(h, "sum", 0)->tensors[0].data, 6, 0);
    cr_assert_eq(frame_attr_int(harness_frame(h, "sum", 0), "ends", 0), 1);
    cr_assert_eq(((struct toy *)stage_state(harness_stage(h)))->closed_streams, 1);
    cr_assert_eq(harness_page(h)->documents, 1);
    harness_close(h);
}

Test(stage_step, an_op_that_says_again_gets_the_same_frame_until_it_is_done)
{
    const char *args[] = {"--piece", "2", NULL};
    struct harness *h = open_with(args, only_values, doubled);
    float v[] = {1, 2, 3, 4, 5};
    cr_assert_eq(feed(h, "values", FRAME_DATA, 1, v, 5), THEA_OK, "%s", err.message);
    cr_assert_eq(harness_count(h, "doubled"), 3);
    cr_assert_eq(harness_frame(h, "doubled", 2)->tensors[0].shape[0], 1);
    cr_assert_eq(harness_frame(h, "doubled", 2)->position, 4);
    cr_assert_eq(harness_frame(h, "doubled", 2)->seq, 2);
    harness_close(h);
}

Test(stage_step, a_stream_ends_once_every_connected_forward_input_ended)
{
    const char *in[] = {"values", "other", NULL};
    struct harness *h = open_with(NULL, in, doubled);
    float v[] = {1};
    cr_assert_eq(feed(h, "values", FRAME_DATA, 1, v, 1), THEA_OK);
    cr_assert_eq(feed(h, "values", FRAME_END, 1, NULL, 0), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 1, "ended with one of two inputs");
    cr_assert_eq(feed(h, "other", FRAME_DATA, 1, v, 1), THEA_OK);
    cr_assert_eq(feed(h, "other", FRAME_END, 1, NULL, 0), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 2);
    cr_assert_eq(harness_frame(h, "doubled", 1)->kind, FRAME_END);
    harness_close(h);
}

Test(stage_step, a_bad_document_becomes_an_error_frame_in_its_place_and_its_rest_is_dropped)
{
    struct harness *h = open_with(NULL, only_values, NULL);
    float good[] = {1}, bad[] = {NAN};
    cr_assert_eq(feed(h, "values", FRAME_DATA, 1, good, 1), THEA_OK);
    cr_assert_eq(feed(h, "values", FRAME_DATA, 1, bad, 1), THEA_OK);
    cr_assert_eq(feed(h, "values", FRAME_DATA, 1, good, 1), THEA_OK);
    cr_assert_eq(feed(h, "values", FRAME_END, 1, NULL, 0), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 2);
    const struct frame *f = harness_frame(h, "doubled", 1);
    cr_assert_eq(f->kind, FRAME_ERROR);
    cr_assert_str_eq(frame_attr_text(f, "error", ""), "value 0 is not a number");
    cr_assert_eq(harness_count(h, "sum"), 1);
    cr_assert_eq(harness_frame(h, "sum", 0)->kind, FRAME_ERROR);
    cr_assert_eq(harness_page(h)->failed, 1);
    /* The same number may be used by a later stream once this one has ended. */
    cr_assert_eq(feed(h, "values", FRAME_DATA, 1, good, 1), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 3);
    harness_close(h);
}

Test(stage_step, an_error_frame_passes_on_with_its_reason)
{
    struct harness *h = open_with(NULL, only_values, doubled);
    struct attr attr = {.key = "error", .type = ATTR_TEXT, .text = "no such file"};
    struct frame f = toy_frame(FRAME_ERROR, 3, 0, NULL, 0);
    f.attrs = &attr;
    f.attr_count = 1;
    cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 1);
    cr_assert_eq(harness_frame(h, "doubled", 0)->kind, FRAME_ERROR);
    cr_assert_str_eq(frame_attr_text(harness_frame(h, "doubled", 0), "error", ""), "no such file");
    harness_close(h);
}

Test(stage_step, a_joins_stream_that_failed_on_one_input_drops_what_comes_on_the_other)
{
    const char *in[] = {"values", "other", NULL};
    struct harness *h = open_with(NULL, in, doubled);
    float v[] = {1};
    cr_assert_eq(feed(h, "values", FRAME_ERROR, 1, NULL, 0), THEA_OK);
    cr_assert_eq(feed(h, "other", FRAME_DATA, 1, v, 1), THEA_OK);
    cr_assert_eq(feed(h, "other", FRAME_END, 1, NULL, 0), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 1);
    harness_close(h);
}

Test(stage_step, a_failure_of_the_stage_is_no_error_frame)
{
    struct harness *h = open_with(NULL, only_values, doubled);
    float v[] = {-INFINITY};
    cr_assert_eq(feed(h, "values", FRAME_DATA, 1, v, 1), THEA_EDATA);
    cr_assert_str_eq(err.message, "minus infinity");
    cr_assert_eq(harness_count(h, "doubled"), 0);
    harness_close(h);
}

Test(stage_step, a_finished_stream_ends_at_once_and_its_later_frames_are_dropped)
{
    struct harness *h = open_with(NULL, only_values, doubled);
    float last[] = {INFINITY}, more[] = {1};
    cr_assert_eq(feed(h, "values", FRAME_DATA, 1, last, 1), THEA_OK);
    cr_assert_eq(feed(h, "values", FRAME_DATA, 1, more, 1), THEA_OK);
    cr_assert_eq(feed(h, "values", FRAME_END, 1, NULL, 0), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 2);
    cr_assert_eq(harness_frame(h, "doubled", 1)->kind, FRAME_END);
    harness_close(h);
}

Test(stage_step, an_empty_stream_ends)
{
    struct harness *h = open_with(NULL, only_values, NULL);
    cr_assert_eq(feed(h, "values", FRAME_END, 1, NULL, 0), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 1);
    cr_assert_eq(harness_count(h, "sum"), 2);
    harness_close(h);
}

Test(stage_step, the_head_of_a_loop_holds_its_stream_until_the_end_comes_back)
{
    const char *in[] = {"values", "back", NULL};
    struct harness *h = open_with(NULL, in, doubled);
    float v[] = {1}, back[] = {5};
    cr_assert_eq(feed(h, "values", FRAME_DATA, 1, v, 1), THEA_OK);
    cr_assert_eq(feed(h, "values", FRAME_END, 1, NULL, 0), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 2);
    cr_assert_eq(harness_frame(h, "doubled", 1)->kind, FRAME_MARK);
    cr_assert_eq(feed(h, "back", FRAME_DATA, 1, back, 1), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 3);
    cr_assert_eq(feed(h, "back", FRAME_END, 1, NULL, 0), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 4);
    cr_assert_eq(harness_frame(h, "doubled", 3)->kind, FRAME_END);
    /* What still comes back of it is dropped. */
    cr_assert_eq(feed(h, "back", FRAME_END, 1, NULL, 0), THEA_OK);
    cr_assert_eq(feed(h, "back", FRAME_DATA, 1, back, 1), THEA_OK);
    cr_assert_eq(harness_count(h, "doubled"), 4);
    harness_close(h);
}

Test(stage_step, eof_on_all_inputs_finishes_and_passes_on)
{
    const char *in[] = {"values", "other", NULL};
    struct harness *h = open_with(NULL, in, doubled);
    struct toy *toy = stage_state(harness_stage(h));
    cr_assert_eq(feed(h, "values", FRAME_EOF, 0, NULL, 0), THEA_OK);
    cr_assert_eq(toy->finished, 0);
    cr_assert_eq(feed(h, "other", FRAME_EOF, 0, NULL, 0), THEA_OK);
    cr_assert_eq(toy->finished, 1);
    cr_assert_eq(harness_frame(h, "doubled", 0)->kind, FRAME_EOF);
    harness_close(h);
}

Test(stage_step, a_tensor_of_another_type_is_refused_by_name)
{
    struct harness *h = open_with(NULL, only_values, doubled);
    int32_t ids[] = {1, 2};
    struct tensor t = tensor_1d("values", TENSOR_I32, ids, 2);
    struct frame f = toy_frame(FRAME_DATA, 1, 0, &t, 1);
    cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_EFRAME);
    cr_assert(strstr(err.message, "values") != NULL && strstr(err.message, "i32") != NULL, "%s", err.message);
    harness_close(h);
}

Test(stage_step, a_frame_without_its_tensor_is_refused_and_says_what_it_has)
{
    struct harness *h = open_with(NULL, only_values, doubled);
    float v[] = {1};
    struct tensor t = toy_values("something", v, 1);
    struct frame f = toy_frame(FRAME_DATA, 1, 0, &t, 1);
    cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_EFRAME);
    cr_assert(strstr(err.message, "something") != NULL, "%s", err.message);
    harness_close(h);
}

Test(stage_step, open_streams_are_dropped_when_a_run_is_broken_off)
{
    struct harness *h = open_with(NULL, only_values, doubled);
    float v[] = {1};
    cr_assert_eq(feed(h, "values", FRAME_DATA, 1, v, 1), THEA_OK);
    cr_assert_eq(feed(h, "values", FRAME_DATA, 2, v, 1), THEA_OK);
    harness_close(h); /* LeakSanitizer would tell */
}
