/* What passes by itself: tensors a stage does not know, and attributes. */
#include "tests/graph/wire/toy.h"
#include "tests/support/harness.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct thea_err err;
static const char *only_values[] = {"values", NULL};
static const char *doubled[] = {"doubled", NULL};

static struct harness *open_with(const char *const *args, const char *const *out)
{
    struct harness *h = NULL;
    cr_assert_eq(harness_open_ports(&h, &toy_ops, args, only_values, out, &err), THEA_OK, "%s", err.message);
    return h;
}

/* A frame of two values with a text beside them. */
static void feed_text(struct harness *h, frame_kind kind, const char *text)
{
    static const float v[] = {1, 2};
    struct tensor tensors[] = {toy_values("values", v, 2), tensor_1d("text", TENSOR_U8, text, strlen(text))};
    bool data = kind == FRAME_DATA;
    struct frame f = toy_frame(kind, 1, 0, data ? tensors : tensors + 1, data ? 2 : text[0] != '\0');
    cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_OK, "%s", err.message);
}

static void expect_text(const struct frame *f, const char *text)
{
    const struct tensor *t = frame_tensor(f, "text");
    cr_assert_not_null(t, "no text in the frame");
    cr_assert_eq(t->shape[0], strlen(text));
    cr_assert_eq(memcmp(t->data, text, strlen(text)), 0, "'%.*s' instead of '%s'", (int)t->size_bytes,
                 (const char *)t->data, text);
}

Test(stage_carry, an_unknown_tensor_rides_on_the_output_of_its_own_frame)
{
    struct harness *h = open_with(NULL, doubled);
    feed_text(h, FRAME_DATA, "hello");
    feed_text(h, FRAME_DATA, " you");
    expect_text(harness_frame(h, "doubled", 0), "hello");
    expect_text(harness_frame(h, "doubled", 1), " you");
    cr_assert_null(frame_tensor(harness_frame(h, "doubled", 0), "values"),
                   "the input's own tensor must not pass");
    cr_assert_eq(harness_page(h)->copied_bytes, 0, "nothing had to be copied");
    harness_close(h);
}

Test(stage_carry, it_rides_once_though_the_op_is_called_again)
{
    const char *args[] = {"--piece=1", NULL};
    struct harness *h = open_with(args, doubled);
    feed_text(h, FRAME_DATA, "hello");
    cr_assert_eq(harness_count(h, "doubled"), 2);
    expect_text(harness_frame(h, "doubled", 0), "hello");
    cr_assert_null(frame_tensor(harness_frame(h, "doubled", 1), "text"));
    harness_close(h);
}

Test(stage_carry, an_output_that_comes_later_gets_all_of_it_joined)
{
    struct harness *h = open_with(NULL, NULL);
    feed_text(h, FRAME_DATA, "ab");
    feed_text(h, FRAME_DATA, "cd");
    feed_text(h, FRAME_END, "");
    expect_text(harness_frame(h, "doubled", 0), "ab");
    expect_text(harness_frame(h, "sum", 0), "abcd");
    cr_assert_eq(harness_page(h)->copied_bytes, 4,
                 "sum and feedback, which have not sent it, share one copy");
    harness_close(h);
}

Test(stage_carry, what_no_output_took_goes_with_the_end)
{
    const char *args[] = {"--quiet-end", NULL}, *sum[] = {"sum", NULL};
    struct harness *h = open_with(args, sum);
    feed_text(h, FRAME_DATA, "ab");
    feed_text(h, FRAME_DATA, "cd");
    feed_text(h, FRAME_END, "ef");
    cr_assert_eq(harness_count(h, "sum"), 1);
    cr_assert_eq(harness_frame(h, "sum", 0)->kind, FRAME_END);
    expect_text(harness_frame(h, "sum", 0), "abcdef");
    harness_close(h);
}

Test(stage_carry, rows_that_cannot_be_joined_make_the_document_fail)
{
    const char *sum[] = {"sum", NULL};
    struct harness *h = open_with(NULL, sum);
    static const float v[] = {1, 2, 3, 4, 5, 6};
    struct tensor one[] = {toy_values("values", v, 2), tensor_2d("extra", TENSOR_F32, v, 2, 3)};
    struct tensor two[] = {toy_values("values", v, 2), tensor_2d("extra", TENSOR_F32, v, 3, 2)};
    struct frame f = toy_frame(FRAME_DATA, 1, 0, one, 2);
    cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_OK);
    f.tensors = two;
    cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_OK);
    cr_assert_eq(harness_count(h, "sum"), 1);
    cr_assert_eq(harness_frame(h, "sum", 0)->kind, FRAME_ERROR);
    cr_assert(strstr(frame_attr_text(harness_frame(h, "sum", 0), "error", ""), "extra") != NULL);
    harness_close(h);
}

Test(stage_carry, a_tensor_that_the_op_puts_replaces_a_passing_one)
{
    struct harness *h = open_with(NULL, doubled);
    static const float v[] = {1, 2};
    struct tensor tensors[] = {toy_values("values", v, 2), toy_values("doubled", v, 1)};
    struct frame f = toy_frame(FRAME_DATA, 1, 0, tensors, 2);
    cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_OK);
    cr_assert_eq(harness_frame(h, "doubled", 0)->tensor_count, 1);
    cr_assert_float_eq(((const float *)frame_tensor(harness_frame(h, "doubled", 0), "doubled")->data)[1], 4,
                       0);
    harness_close(h);
}

static thea_rc frames_with_an_x_alone(struct stage *st, struct stage_stream *s, int port,
                                      const struct frame *in, struct thea_err *e)
{
    const struct tensor *text = frame_tensor(in, "text");
    if (text != NULL && ((const char *)text->data)[0] == 'x') stage_pass_nothing(st);
    return toy_ops.frame(st, s, port, in, e);
}

Test(stage_carry, nothing_of_a_frame_rides_when_its_op_says_so)
{
    struct stage_ops ops = toy_ops;
    struct harness *h = NULL;
    ops.frame = frames_with_an_x_alone;
    cr_assert_eq(harness_open_ports(&h, &ops, NULL, only_values, NULL, &err), THEA_OK, "%s", err.message);
    feed_text(h, FRAME_DATA, "ab");
    feed_text(h, FRAME_DATA, "xx");
    feed_text(h, FRAME_DATA, "cd");
    feed_text(h, FRAME_END, "");
    expect_text(harness_frame(h, "doubled", 0), "ab");
    cr_assert_null(frame_tensor(harness_frame(h, "doubled", 1), "text"));
    expect_text(harness_frame(h, "doubled", 2), "cd");
    expect_text(harness_frame(h, "sum", 0), "abcd");
    harness_close(h);
}

Test(stage_carry, attributes_pass_once_and_the_newest_value_again)
{
    struct harness *h = open_with(NULL, NULL);
    static const float v[] = {1};
    struct tensor t = toy_values("values", v, 1);
    struct attr attrs[] = {{.key = "id", .type = ATTR_TEXT, .text = "a.md"},
                           {.key = "bytes", .type = ATTR_INT, .integer = 7}};
    struct frame f = toy_frame(FRAME_DATA, 1, 0, &t, 1);
    f.attrs = attrs;
    f.attr_count = 2;
    for (int i = 0; i < 3; i++) {
        attrs[1].integer = i < 2 ? 7 : 8;
        cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_OK);
    }
    cr_assert_eq(harness_frame(h, "doubled", 0)->attr_count, 2);
    cr_assert_eq(harness_frame(h, "doubled", 1)->attr_count, 0);
    cr_assert_eq(harness_frame(h, "doubled", 2)->attr_count, 1);
    cr_assert_eq(frame_attr_int(harness_frame(h, "doubled", 2), "bytes", 0), 8);
    f = toy_frame(FRAME_END, 1, 0, NULL, 0);
    cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_OK);
    cr_assert_str_eq(frame_attr_text(harness_frame(h, "sum", 0), "id", ""), "a.md");
    /* One that the end itself brought about goes with the end where nothing else left. */
    cr_assert_eq(frame_attr_int(harness_frame(h, "doubled", 3), "ends", 0), 1);
    harness_close(h);
}

Test(stage_carry, a_trace_goes_with_its_frame)
{
    struct harness *h = open_with(NULL, doubled);
    static const float v[] = {1};
    struct tensor t = toy_values("values", v, 1);
    struct frame f = toy_frame(FRAME_DATA, 1, 40, &t, 1);
    f.trace_id = 99;
    f.created_ns = 123456;
    cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_OK);
    cr_assert_eq(harness_frame(h, "doubled", 0)->trace_id, 99);
    cr_assert_eq(harness_frame(h, "doubled", 0)->created_ns, 123456);
    cr_assert_eq(harness_frame(h, "doubled", 0)->position, 40);
    harness_close(h);
}
