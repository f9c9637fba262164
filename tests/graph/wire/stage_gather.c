/* Documents computed together: what waits, who comes next, errors, deaths. A stage that sends each document's
 * sum, three documents a batch, in pieces of one frame each. */
#include "graph/wire/stage_core.h"
#include "tests/support/harness.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 3, ROOM = 16 };

struct adder {
    struct stage_stream *waiting[ROOM];
    size_t count;
    int64_t pieces;
    int idle_calls, calls, drops;
    bool broken;
};
struct adding {
    float sum;
    int64_t sent;
    float out;
};

static const struct stage_option options[] = {{.name = "pieces",
                                               .type = VALUE_INT,
                                               .def = "1",
                                               .meaning = "frames",
                                               .offset = offsetof(struct adder, pieces)},
                                              {.name = "broken",
                                               .type = VALUE_BOOL,
                                               .def = "false",
                                               .meaning = "fails",
                                               .offset = offsetof(struct adder, broken)},
                                              {0}};
static const struct stage_port inputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "n", .meaning = "numbers"}, {0}};
static const struct stage_port outputs[] = {
    {.name = "sum", .dtype = TENSOR_F32, .shape = "1", .meaning = "their sum"}, {0}};

static thea_rc add_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                         struct thea_err *err)
{
    (void)st, (void)port, (void)err;
    struct adding *a = stage_stream_state(s);
    const struct tensor *t = frame_tensor(in, "values");
    for (uint64_t i = 0; i < t->shape[0]; i++) a->sum += ((const float *)t->data)[i];
    return THEA_OK;
}

static thea_rc add_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct adder *l = stage_state(st);
    struct adding *a = stage_stream_state(s);
    if (!stage_gathered(s)) {
        l->waiting[l->count++] = s;
        stage_gather(st, s);
        return THEA_OK;
    }
    if (a->out < 0) return thea_fail(err, THEA_EDOC, "a sum below zero");
    struct tensor t = tensor_1d("sum", TENSOR_F32, &a->out, 1);
    stage_put(st, s, 0, &t);
    stage_put_position(st, 0, (uint64_t)a->sent);
    return ++a->sent < l->pieces ? THEA_AGAIN : THEA_OK;
}

static thea_rc add_batch(struct stage *st, bool idle, struct thea_err *err)
{
    struct adder *l = stage_state(st);
    l->calls++;
    l->idle_calls += idle;
    if (l->broken) return thea_fail(err, THEA_EOS, "out of luck");
    if (!idle && l->count < AT_ONCE) return THEA_OK;
    size_t n = l->count < AT_ONCE ? l->count : AT_ONCE;
    for (size_t i = 0; i < n; i++) {
        struct adding *a = stage_stream_state(l->waiting[i]);
        stage_working_with(st, l->waiting[i]);
        a->out = a->sum;
        stage_ready(st, l->waiting[i]);
    }
    l->count -= n;
    memmove(l->waiting, l->waiting + n, l->count * sizeof *l->waiting);
    return THEA_OK;
}

static void add_drop(struct stage *st, struct stage_stream *s)
{
    struct adder *l = stage_state(st);
    size_t kept = 0;
    l->drops++;
    for (size_t i = 0; i < l->count; i++)
        if (l->waiting[i] != s) l->waiting[kept++] = l->waiting[i];
    l->count = kept;
}

static const struct stage_ops adder_ops = {
    .kind = "adder",
    .summary = "sums",
    .options = options,
    .inputs = inputs,
    .outputs = outputs,
    .state_size = sizeof(struct adder),
    .stream_size = sizeof(struct adding),
    .frame = add_frame,
    .end = add_end,
    .batch = add_batch,
    .drop = add_drop,
};

static struct thea_err err;

static struct harness *open_adder(const char *const *args)
{
    struct harness *h = NULL;
    cr_assert(harness_open(&h, &adder_ops, args, NULL, &err) == THEA_OK, "%s", err.message);
    return h;
}

static thea_rc feed(struct harness *h, frame_kind kind, uint64_t stream, uint32_t attempt, float value)
{
    struct tensor t = tensor_1d("values", TENSOR_F32, &value, 1);
    struct frame f = {.kind = kind, .stream = stream, .attempt = attempt, .port = "values"};
    if (kind == FRAME_DATA) f.tensors = &t, f.tensor_count = 1;
    return harness_feed(h, "values", &f, &err);
}

static void document(struct harness *h, uint64_t stream, float value)
{
    cr_assert(feed(h, FRAME_DATA, stream, 0, value) == THEA_OK, "%s", err.message);
    cr_assert(feed(h, FRAME_END, stream, 0, 0) == THEA_OK, "%s", err.message);
}

static void idle(struct harness *h)
{
    cr_assert(harness_idle(h, &err) == THEA_OK, "%s", err.message);
}

/* Frame i of the output is this. */
static void expect(struct harness *h, size_t i, frame_kind kind, uint64_t stream, float sum)
{
    const struct frame *f = harness_frame(h, "sum", i);
    cr_assert(f != NULL, "no frame %zu", i);
    cr_assert(f->kind == kind && f->stream == stream, "frame %zu is %s of %d", i, frame_kind_name(f->kind),
              (int)f->stream);
    if (kind == FRAME_DATA) cr_expect_float_eq(*(const float *)f->tensors[0].data, sum, 0);
}

Test(stage_gather, streams_leave_in_the_order_of_their_ends_once_there_are_enough)
{
    struct harness *h = open_adder(NULL);
    for (uint64_t s = 1; s <= 3; s++) cr_assert(feed(h, FRAME_DATA, s, 0, (float)s) == THEA_OK);
    for (uint64_t s = 3; s >= 1; s--) {
        cr_expect_eq(harness_count(h, "sum"), 0);
        cr_assert(feed(h, FRAME_END, s, 0, 0) == THEA_OK);
    }
    for (uint64_t s = 3, i = 0; s >= 1; s--, i += 2) {
        expect(h, i, FRAME_DATA, s, (float)s);
        expect(h, i + 1, FRAME_END, s, 0);
    }
    cr_expect_eq(harness_page(h)->documents, 3);
    cr_expect_eq(((struct adder *)stage_state(harness_stage(h)))->drops, 3);
    cr_expect_eq(((struct adder *)stage_state(harness_stage(h)))->idle_calls, 0);
    harness_close(h);
}

Test(stage_gather, what_waits_is_run_when_no_input_does)
{
    struct harness *h = open_adder(NULL);
    document(h, 1, 1);
    document(h, 2, 2);
    cr_expect_eq(harness_count(h, "sum"), 0);
    idle(h);
    cr_expect_eq(harness_count(h, "sum"), 4);
    idle(h); /* nothing waits any more: batch is not called */
    cr_expect_eq(((struct adder *)stage_state(harness_stage(h)))->idle_calls, 1);
    document(h, 3, 3);
    struct frame eof = {.kind = FRAME_EOF, .port = "values"};
    cr_assert(harness_feed(h, "values", &eof, &err) == THEA_OK);
    expect(h, 4, FRAME_DATA, 3, 3);
    expect(h, 5, FRAME_END, 3, 0);
    expect(h, 6, FRAME_EOF, 0, 0);
    harness_close(h);
}

Test(stage_gather, a_stream_may_leave_in_several_frames)
{
    struct harness *h = open_adder((const char *const[]){"--pieces", "3", NULL});
    document(h, 1, 1);
    document(h, 2, 2);
    idle(h);
    cr_assert_eq(harness_count(h, "sum"), 8);
    for (size_t i = 0; i < 3; i++) {
        expect(h, i, FRAME_DATA, 1, 1);
        cr_expect_eq(harness_frame(h, "sum", i)->position, i);
        cr_expect_eq(harness_frame(h, "sum", i)->seq, i);
    }
    expect(h, 3, FRAME_END, 1, 0);
    expect(h, 4, FRAME_DATA, 2, 2);
    harness_close(h);
}

Test(stage_gather, one_that_fails_is_its_own_error)
{
    struct harness *h = open_adder(NULL);
    document(h, 1, 1);
    document(h, 2, -2);
    document(h, 3, 3);
    expect(h, 2, FRAME_ERROR, 2, 0);
    cr_expect_str_eq(frame_attr_text(harness_frame(h, "sum", 2), "error", ""), "a sum below zero");
    expect(h, 3, FRAME_DATA, 3, 3);
    cr_expect_eq(harness_page(h)->failed, 1);
    harness_close(h);
}

Test(stage_gather, a_new_attempt_takes_the_place_of_what_waits)
{
    struct harness *h = open_adder(NULL);
    document(h, 1, 1);
    document(h, 2, 2);
    cr_assert(feed(h, FRAME_DATA, 1, 1, 10) == THEA_OK);
    cr_expect_eq(harness_count(h, "sum"), 0);
    cr_assert(feed(h, FRAME_END, 1, 1, 0) == THEA_OK);
    idle(h);
    cr_assert_eq(harness_count(h, "sum"), 4);
    expect(h, 0, FRAME_DATA, 2, 2);
    expect(h, 2, FRAME_DATA, 1, 10);
    cr_expect_eq(harness_frame(h, "sum", 2)->attempt, 1);
    harness_close(h);
}

Test(stage_gather, an_epoch_forgets_what_waits)
{
    struct harness *h = open_adder(NULL);
    struct stage *st = harness_stage(h);
    document(h, 1, 1);
    document(h, 2, 2);
    stage_epoch_take(st);
    cr_expect_eq(st->gathering.count, 0);
    cr_expect(!stage_gather_due(st));
    idle(h);
    cr_expect_eq(harness_count(h, "sum"), 0);
    document(h, 1, 5);
    idle(h);
    expect(h, 0, FRAME_DATA, 1, 5);
    harness_close(h);
}

Test(stage_gather, a_frame_after_the_end_is_refused)
{
    static const frame_kind kinds[] = {FRAME_DATA, FRAME_MARK, FRAME_END, FRAME_ERROR};
    for (size_t i = 0; i < 4; i++) {
        struct harness *h = open_adder(NULL);
        document(h, 6, 1);
        cr_expect(feed(h, kinds[i], 6, 0, 1) == THEA_EFRAME, "%s", frame_kind_name(kinds[i]));
        cr_expect_not_null(strstr(err.message, "stream 6 came after its end"), "%s", err.message);
        harness_close(h);
    }
}

Test(stage_gather, a_batch_that_fails_ends_the_stage)
{
    struct harness *h = open_adder((const char *const[]){"--broken", NULL});
    cr_assert(feed(h, FRAME_DATA, 1, 0, 1) == THEA_OK);
    cr_expect(feed(h, FRAME_END, 1, 0, 0) == THEA_EOS);
    harness_close(h);
}

Test(stage_gather, what_a_batch_works_with_is_accused)
{
    struct harness *h = open_adder(NULL);
    struct stage *st = harness_stage(h);
    uint64_t accused[STATUS_WORK_MAX];
    document(h, 4, 1);
    document(h, 9, 1);
    struct adder *l = stage_state(st);
    stage_working_with(st, l->waiting[0]);
    stage_working_with(st, l->waiting[1]);
    cr_assert_eq(status_get_streams(st->page, accused), 2);
    cr_expect(accused[0] == 4 && accused[1] == 9);
    for (size_t i = 0; i < STATUS_WORK_MAX; i++)
        stage_working_with(st, l->waiting[0]); /* no room: not beyond */
    idle(h);
    cr_expect_eq(status_get_streams(st->page, accused), 0, "the batch is done");
    harness_close(h);
}
