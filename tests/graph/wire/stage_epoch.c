/* Supervised stages that are no sources: new epochs, attempts, what sinks commit, what they say of failures.
 */
#include "graph/wire/stage_core.h"
#include "tests/graph/wire/supervised.h"
#include "tests/graph/wire/toy.h"
#include "tests/support/harness.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* A sink that remembers what it was called for, as text: "b0" begin, "f0" frame, "e0" end, "x0" failed, "d0"
 * drop
 * ("D0": it comes again), "r" reset, "t" tick, "!" finish. */
struct sink {
    char calls[512];
};

static void note(struct stage *st, const char *what, const struct stage_stream *s)
{
    struct sink *k = stage_state(st);
    size_t n = strlen(k->calls);
    if (s != NULL)
        snprintf(k->calls + n, sizeof k->calls - n, "%s%d ", what, (int)stage_stream_id(s));
    else
        snprintf(k->calls + n, sizeof k->calls - n, "%s ", what);
}

static thea_rc sink_begin(struct stage *st, struct stage_stream *s, const struct frame *in,
                          struct thea_err *err)
{
    (void)in, (void)err;
    note(st, "b", s);
    return THEA_OK;
}

static thea_rc sink_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                          struct thea_err *err)
{
    (void)port;
    note(st, "f", s);
    return ((const float *)in->tensors[0].data)[0] < 0 ? thea_fail(err, THEA_EDOC, "below zero") : THEA_OK;
}

static thea_rc sink_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    (void)err;
    note(st, "e", s);
    return THEA_OK;
}

static thea_rc sink_failed(struct stage *st, struct stage_stream *s, const struct frame *in,
                           struct thea_err *err)
{
    (void)in, (void)err;
    note(st, "x", s);
    return THEA_OK;
}

static void sink_drop(struct stage *st, struct stage_stream *s)
{
    note(st, stage_comes_again(s) ? "D" : "d", s);
}

static void sink_reset(struct stage *st)
{
    note(st, "r", NULL);
}

static const struct stage_port inputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "n", .meaning = "numbers"}, {0}};
#define SINK(...)                                                                                            \
    {                                                                                                        \
        .kind = "sink", .summary = "remembers", .inputs = inputs, .state_size = sizeof(struct sink),         \
        .frame = sink_frame, .begin = sink_begin, .end = sink_end, .drop = sink_drop, .reset = sink_reset,   \
        __VA_ARGS__                                                                                          \
    }
static const struct stage_ops plain_ops = SINK(.failed = sink_failed);
static const struct stage_ops late_ops = SINK(.commits = true);

static struct supervised other;
static struct harness *h;

static void open_stage(const struct stage_ops *ops)
{
    struct thea_err err;
    supervised_open(&other);
    const char *args[] = {"--control", other.number, "--name", "me", NULL};
    static const char *const in_ports[] = {"values", NULL};
    cr_assert_eq(harness_open_ports(&h, ops, args, in_ports, NULL, &err), THEA_OK, "%s", err.message);
}

static void close_stage(void)
{
    harness_close(h);
    supervised_close(&other);
}

static void feed_frame(struct frame f)
{
    struct thea_err err;
    cr_assert_eq(harness_feed(h, "values", &f, &err), THEA_OK, "%s", err.message);
}

static void feed(frame_kind kind, uint64_t stream, uint32_t attempt, float value)
{
    struct tensor t = toy_values("values", &value, 1);
    struct frame f = toy_frame(kind, stream, 0, &t, kind == FRAME_DATA);
    f.attempt = attempt;
    f.epoch = harness_stage(h)->epoch;
    feed_frame(f);
}

static void feed_error(uint64_t stream, uint32_t attempt, const char *key, int64_t value)
{
    struct attr attrs[] = {{.key = "error", .type = ATTR_TEXT, .text = "it broke"},
                           {.key = "failed_in", .type = ATTR_TEXT, .text = "layers/1"},
                           {.key = "id", .type = ATTR_TEXT, .text = "a.md"},
                           {.key = key, .type = ATTR_INT, .integer = value}};
    struct frame f = toy_frame(FRAME_ERROR, stream, 0, NULL, 0);
    f.attempt = attempt;
    f.attrs = attrs;
    f.attr_count = 4;
    feed_frame(f);
}

static void expect_calls(const char *calls)
{
    struct sink *k = stage_state(harness_stage(h));
    cr_assert_str_eq(k->calls, calls);
    k->calls[0] = '\0';
}

static void expect_told(const char *lines)
{
    struct thea_err err;
    cr_assert_eq(harness_hear(h, &err), THEA_OK);
    cr_assert_str_eq(supervised_hear(&other), lines);
}

static uint64_t documents(void)
{
    return atomic_load(&harness_page(h)->documents);
}

/* --- in the middle --- */

Test(stage_epoch, a_new_epoch_drops_every_stream_and_frames_carry_it_from_then_on)
{
    struct thea_err err;
    open_stage(&toy_ops);
    feed(FRAME_DATA, 1, 0, 1);
    feed(FRAME_DATA, 2, 0, 2);
    const struct toy *toy = stage_state(harness_stage(h));
    supervised_say(&other, "{'do': 'epoch', 'epoch': 4}");
    cr_assert_eq(harness_hear(h, &err), THEA_OK);
    cr_assert_eq(toy->closed_streams, 2);
    cr_assert_eq(harness_stage(h)->open_streams, 0);
    feed(FRAME_DATA, 2, 0, 5);
    feed(FRAME_END, 2, 0, 0);
    feed(FRAME_EOF, 0, 0, 0);
    cr_assert_eq(harness_count(h, "doubled"), 5);
    static const uint64_t epochs[] = {0, 0, 4, 4, 4};
    for (size_t i = 0; i < 5; i++) cr_assert_eq(harness_frame(h, "doubled", i)->epoch, epochs[i]);
    cr_assert_eq(harness_frame(h, "doubled", 2)->seq, 0, "it begins again");
    cr_assert_eq(((const float *)harness_frame(h, "sum", 0)->tensors[0].data)[0], 5,
                 "what came before is forgotten");
    close_stage();
}

Test(stage_epoch, a_higher_attempt_begins_the_stream_again_and_lower_ones_are_stale)
{
    open_stage(&toy_ops);
    feed(FRAME_DATA, 1, 0, 1);
    feed(FRAME_DATA, 1, 2, 10);
    cr_assert_eq(((const struct toy *)stage_state(harness_stage(h)))->closed_streams, 1);
    feed(FRAME_DATA, 1, 1, 100);
    feed(FRAME_END, 1, 0, 0);
    cr_assert_eq(harness_stage(h)->open_streams, 1);
    feed(FRAME_END, 1, 2, 0);
    cr_assert_eq(harness_count(h, "sum"), 2); /* the sum, and the end */
    cr_assert_eq(((const float *)harness_frame(h, "sum", 0)->tensors[0].data)[0], 10);
    for (size_t i = 1; i < harness_count(h, "doubled"); i++)
        cr_assert_eq(harness_frame(h, "doubled", i)->attempt, 2);
    close_stage();
}

Test(stage_epoch, an_attempt_that_failed_here_does_not_end_the_next_one)
{
    open_stage(&toy_ops);
    feed(FRAME_DATA, 1, 0, NAN);
    cr_assert_eq(harness_frame(h, "doubled", 0)->kind, FRAME_ERROR);
    cr_assert_str_eq(frame_attr_text(harness_frame(h, "doubled", 0), "failed_in", ""), "me");
    feed(FRAME_DATA, 1, 0, 3); /* dropped */
    cr_assert_eq(harness_count(h, "doubled"), 1);
    feed(FRAME_DATA, 1, 1, 3);
    feed(FRAME_END, 1, 1, 0);
    cr_assert_eq(harness_count(h, "doubled"), 3);
    cr_assert_eq(harness_frame(h, "doubled", 2)->kind, FRAME_END);
    cr_assert_eq(harness_stage(h)->open_streams, 0);
    close_stage();
}

Test(stage_epoch, an_error_keeps_the_name_of_where_it_began_on_its_way)
{
    open_stage(&toy_ops);
    feed_error(1, 0, "aside", 1);
    const struct frame *f = harness_frame(h, "doubled", 0);
    cr_assert_eq(f->kind, FRAME_ERROR);
    cr_assert_str_eq(frame_attr_text(f, "failed_in", ""), "layers/1");
    cr_assert_eq(frame_attr_int(f, "aside", 0), 1);
    expect_told("");
    close_stage();
}

/* --- sinks --- */

Test(stage_epoch, a_sink_that_does_not_commit_itself_has_it_done_at_the_end_of_each_stream)
{
    open_stage(&plain_ops);
    feed(FRAME_DATA, 4, 0, 1);
    expect_told("");
    feed(FRAME_END, 4, 0, 0);
    feed(FRAME_END, 5, 0, 0);
    feed(FRAME_END, 7, 0, 0);
    expect_told("{'did': 'commit', 'streams': [[4, 4]]}\n"
                "{'did': 'commit', 'streams': [[5, 5]]}\n"
                "{'did': 'commit', 'streams': [[7, 7]]}\n");
    cr_assert_eq(documents(), 3);
    close_stage();
}

Test(stage_epoch, commits_that_come_together_are_told_as_ranges)
{
    open_stage(&late_ops);
    for (uint64_t s = 0; s < 5; s++) stage_commit(harness_stage(h), s);
    stage_commit(harness_stage(h), 3);
    stage_commit(harness_stage(h), 9);
    expect_told("{'did': 'commit', 'streams': [[0, 4], [9, 9]]}\n");
    stage_commit(harness_stage(h), 9);
    expect_told("");
    close_stage();
}

Test(stage_epoch, a_stream_that_ended_and_waits_for_its_turn_is_held)
{
    open_stage(&late_ops);
    feed(FRAME_END, 4, 0, 0);
    expect_told("{'did': 'held', 'stream': 4, 'epoch': 0}\n");
    cr_assert_eq(documents(), 0);
    stage_commit(harness_stage(h), 4);
    expect_told("{'did': 'commit', 'streams': [[4, 4]]}\n");
    cr_assert_eq(documents(), 1);
    close_stage();
}

Test(stage_epoch, what_a_sink_has_committed_is_dropped_when_it_comes_again)
{
    struct thea_err err;
    open_stage(&plain_ops);
    feed(FRAME_DATA, 1, 0, 1);
    feed(FRAME_END, 1, 0, 0);
    feed(FRAME_DATA, 2, 0, 1);
    expect_calls("b1 f1 e1 d1 b2 f2 ");
    supervised_say(&other, "{'do': 'epoch', 'epoch': 1}");
    cr_assert_eq(harness_hear(h, &err), THEA_OK);
    expect_calls("D2 r ");
    feed(FRAME_DATA, 1, 0, 1);
    feed(FRAME_END, 1, 0, 0);
    feed(FRAME_END, 1, 5, 0);
    feed(FRAME_DATA, 2, 0, 1);
    feed(FRAME_END, 2, 0, 0);
    expect_calls("b2 f2 e2 d2 ");
    cr_assert_eq(documents(), 2);
    close_stage();
}

Test(stage_epoch, a_failure_is_told_and_the_stream_comes_again)
{
    open_stage(&plain_ops);
    feed(FRAME_DATA, 1, 0, 1);
    feed_error(1, 0, "other", 1);
    expect_calls("b1 f1 D1 ");
    expect_told(
        "{'did': 'failed', 'stream': 1, 'attempt': 0, 'epoch': 0, 'stage': 'layers/1', 'reason': 'it broke', "
        "'id': 'a.md'}\n");
    cr_assert_eq(atomic_load(&harness_page(h)->failed), 0);
    feed(FRAME_END, 1, 1, 0);
    expect_told("{'did': 'commit', 'streams': [[1, 1]]}\n");
    close_stage();
}

Test(stage_epoch, a_failure_in_the_sink_itself_is_told_like_any_other)
{
    open_stage(&plain_ops);
    feed(FRAME_DATA, 1, 2, -1);
    expect_calls("b1 f1 D1 ");
    expect_told(
        "{'did': 'failed', 'stream': 1, 'attempt': 2, 'epoch': 0, 'stage': 'me', 'reason': 'below zero', "
        "'id': null}\n");
    feed(FRAME_END, 1, 2, 0); /* what still comes of it */
    expect_calls("");
    expect_told("");
    close_stage();
}

Test(stage_epoch, a_stream_that_is_given_up_is_the_sinks_to_report_and_counts_as_committed)
{
    open_stage(&plain_ops);
    feed(FRAME_DATA, 1, 0, 1);
    feed_error(1, 3, "aside", 1);
    expect_calls("b1 f1 D1 x1 d1 ");
    expect_told("{'did': 'aside', 'stream': 1}\n");
    cr_assert_eq(atomic_load(&harness_page(h)->failed), 1);
    feed(FRAME_END, 1, 3, 0);
    expect_calls("");
    close_stage();
}

Test(stage_epoch, a_stream_that_is_given_up_takes_its_turn_where_the_sink_commits)
{
    static const struct stage_ops turns_ops = SINK(.failed = sink_failed, .commits = true);
    open_stage(&turns_ops);
    feed_error(1, 3, "aside", 1);
    expect_calls("x1 d1 ");
    expect_told("{'did': 'held', 'stream': 1, 'epoch': 0}\n");
    stage_commit(harness_stage(h), 1);
    expect_told("{'did': 'aside', 'stream': 1}\n");
    close_stage();
}

Test(stage_epoch, a_stream_that_a_drain_took_back_is_neither_failed_nor_committed)
{
    open_stage(&plain_ops);
    feed(FRAME_DATA, 1, 0, 1);
    feed_error(1, 0, "cancelled", 1);
    expect_calls("b1 f1 D1 ");
    expect_told("");
    cr_assert_eq(documents(), 0);
    close_stage();
}

Test(stage_epoch, the_journal_is_told_before_ready_and_totals_are_known)
{
    struct thea_err err;
    open_stage(&late_ops);
    struct stage *st = harness_stage(h);
    stage_commit(st, 0);
    stage_commit(st, 1);
    stage_final(st);
    stage_tell_ready(st);
    cr_assert_str_eq(supervised_hear(&other), "{'did': 'commit', 'streams': [[0, 1]]}\n"
                                              "{'did': 'ready', 'final': true}\n");
    cr_assert_eq(stage_total(st, 1), UINT64_MAX);
    cr_assert_not(stage_unfinished(st));
    supervised_say(&other, "{'do': 'total', 'source': 1, 'streams': 9}");
    supervised_say(&other, "{'do': 'total', 'source': 1, 'streams': 7}");
    supervised_say(&other, "{'do': 'drain'}");
    cr_assert_eq(harness_hear(h, &err), THEA_OK);
    cr_assert_eq(stage_total(st, 1), 7);
    cr_assert_eq(stage_total(st, 0), UINT64_MAX);
    cr_assert(stage_unfinished(st) && stage_draining(st) && st->control.news);
    close_stage();
}

Test(stage_epoch, without_a_supervisor_a_failure_is_reported_as_it_comes_and_nothing_is_committed)
{
    struct thea_err err;
    cr_assert_eq(harness_open(&h, &plain_ops, NULL, NULL, &err), THEA_OK);
    feed_error(1, 0, "other", 1);
    expect_calls("x1 d1 ");
    feed(FRAME_END, 2, 0, 0);
    feed(FRAME_END, 2, 0, 0);
    expect_calls("b2 e2 d2 b2 e2 d2 ");
    cr_assert_eq(documents(), 3);
    harness_close(h);
}
