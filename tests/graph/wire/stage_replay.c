/* A supervised source: which streams it sends, and when again. */
#include "graph/wire/stage_core.h"
#include "tests/graph/wire/supervised.h"
#include "tests/support/harness.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* With --pipe the next stream ends the source in its middle once it drains, as what comes from a pipe does.
 * Streams of two frames each, whose values say which: 10 i, then 10 i + 1. */
struct tale {
    int64_t count, bad;
    bool pipe;
    uint64_t next, seeks;
    int piece;
    struct stage_stream *s;
};
static const struct stage_option options[] = {
    {.name = "count",
     .type = VALUE_INT,
     .def = "5",
     .meaning = "streams",
     .offset = offsetof(struct tale, count)},
    {.name = "bad", .type = VALUE_INT, .def = "-1", .meaning = "fails", .offset = offsetof(struct tale, bad)},
    {.name = "pipe", .type = VALUE_BOOL, .meaning = "drains at once", .offset = offsetof(struct tale, pipe)},
    {0}};
static const struct stage_port outputs[] = {
    {.name = "out", .dtype = TENSOR_F32, .shape = "1", .meaning = "it"}, {0}};

static thea_rc tell_source(struct stage *st, struct thea_err *err)
{
    struct tale *t = stage_state(st);
    if (t->s == NULL && t->next >= (uint64_t)t->count) return THEA_DONE;
    if (t->pipe && stage_draining(st)) return THEA_DONE;
    if (t->s == NULL) {
        char id[32];
        t->s = stage_start(st, t->next++);
        t->piece = 0;
        snprintf(id, sizeof id, "tale-%d", (int)t->next - 1);
        stage_put_text(st, t->s, "id", id);
    }
    if (t->piece == 1 && (int64_t)t->next - 1 == t->bad) {
        t->s = NULL;
        return thea_fail(err, THEA_EDOC, "it is bad");
    }
    float *value = stage_buffer(st, 0, sizeof *value);
    *value = (float)(10 * (t->next - 1) + (uint64_t)t->piece);
    struct tensor out = tensor_1d("out", TENSOR_F32, value, 1);
    stage_put(st, t->s, 0, &out);
    if (++t->piece < 2) return THEA_AGAIN;
    stage_finish(st, t->s);
    t->s = NULL;
    return THEA_OK;
}

static thea_rc tell_seek(struct stage *st, uint64_t index, struct thea_err *err)
{
    struct tale *t = stage_state(st);
    (void)err;
    t->next = index;
    t->s = NULL;
    t->seeks++;
    return THEA_OK;
}

static const struct stage_ops tale_ops = {.kind = "tale",
                                          .summary = "streams",
                                          .options = options,
                                          .outputs = outputs,
                                          .state_size = sizeof(struct tale),
                                          .source = tell_source,
                                          .seek = tell_seek};
static const struct stage_ops once_ops = {.kind = "once",
                                          .summary = "cannot go back",
                                          .options = options,
                                          .outputs = outputs,
                                          .state_size = sizeof(struct tale),
                                          .source = tell_source};

static struct supervised other;
static struct harness *h;
static size_t seen;

static void open_ops(const struct stage_ops *ops, const char *in_flight, const char *more)
{
    struct thea_err err;
    supervised_open(&other);
    const char *args[] = {"--control", other.number, "--source", "3", "--in-flight", in_flight, more, NULL};
    cr_assert_eq(harness_open(&h, ops, args, NULL, &err), THEA_OK, "%s", err.message);
    seen = 0;
}

static void open_tale(const char *in_flight)
{
    open_ops(&tale_ops, in_flight, NULL);
}

static void close_tale(void)
{
    harness_close(h);
    supervised_close(&other);
}

/* Lets it go on. What left since the last call: index of each stream's data frames, E for its end, X(attempt)
 * for an error, $ for eof; with the attempt if it is not the first: "0 0 0E 1/2 …". */
static const char *goes_on(void)
{
    static char text[2048];
    struct thea_err err;
    int n = 0;
    thea_rc rc = harness_drain_source(h, &err);
    cr_assert(rc == THEA_OK, "%s", err.message);
    text[0] = '\0';
    for (; seen < harness_count(h, "out"); seen++) {
        const struct frame *f = harness_frame(h, "out", seen);
        int index = (int)(f->stream & 0xffff);
        const char *mark = f->kind == FRAME_END ? "E" : f->kind == FRAME_ERROR ? "X" : "";
        if (f->kind == FRAME_EOF) {
            n += snprintf(text + n, sizeof text - (size_t)n, "%s$", n > 0 ? " " : "");
            continue;
        }
        cr_assert_eq(f->stream >> 40, 3);
        if (f->kind == FRAME_DATA)
            cr_assert_eq((int)((const float *)f->tensors[0].data)[0] / 10, index,
                         "a frame of another stream");
        n += snprintf(text + n, sizeof text - (size_t)n, f->attempt > 0 ? "%s%d%s/%u" : "%s%d%s",
                      n > 0 ? " " : "", index, mark, f->attempt);
    }
    return text;
}

static unsigned long long id(int index)
{
    return (3ull << 40) + (unsigned long long)index;
}

static void commit(int first, int last)
{
    supervised_say(&other, "{'do': 'commit', 'streams': [[%llu, %llu]]}", id(first), id(last));
}

Test(stage_replay, no_more_streams_are_in_flight_than_allowed_and_eof_waits_for_the_last_commit)
{
    open_tale("2");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E");
    cr_assert_str_eq(goes_on(), "");
    commit(1, 1);
    cr_assert_str_eq(goes_on(), "2 2 2E");
    commit(0, 2);
    cr_assert_str_eq(goes_on(), "3 3 3E 4 4 4E");
    cr_assert_not(supervised_heard(&other, "total"));
    commit(3, 3);
    cr_assert_str_eq(goes_on(), "");
    cr_assert(supervised_heard(&other, "{'did': 'total', 'streams': 5}"));
    commit(4, 4);
    cr_assert_str_eq(goes_on(), "$");
    cr_assert_eq(((struct tale *)stage_state(harness_stage(h)))->seeks, 0);
    close_tale();
}

Test(stage_replay, a_new_epoch_brings_all_that_is_not_committed_in_order_and_then_the_rest)
{
    open_tale("3");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E 2 2 2E");
    commit(1, 1);
    supervised_say(&other, "{'do': 'epoch', 'epoch': 7}");
    cr_assert_str_eq(goes_on(), "0 0 0E 2 2 2E 3 3 3E");
    cr_assert_eq(harness_frame(h, "out", seen - 1)->epoch, 7);
    cr_assert_eq(harness_frame(h, "out", 0)->epoch, 0);
    commit(0, 3);
    cr_assert_str_eq(goes_on(), "4 4 4E");
    supervised_say(&other, "{'do': 'epoch', 'epoch': 8}"); /* after the source said that it has no more */
    cr_assert_str_eq(goes_on(), "4 4 4E");
    commit(4, 4);
    cr_assert_str_eq(goes_on(), "$");
    supervised_say(&other, "{'do': 'epoch', 'epoch': 9}"); /* after eof */
    cr_assert_str_eq(goes_on(), "$");
    cr_assert_eq(harness_frame(h, "out", seen - 1)->epoch, 9);
    close_tale();
}

Test(stage_replay, an_epoch_in_the_middle_of_a_stream_begins_it_again)
{
    struct thea_err err;
    open_tale("2");
    cr_assert_eq(stage_source_step(harness_stage(h), &err), THEA_AGAIN);
    supervised_say(&other, "{'do': 'epoch', 'epoch': 1}");
    cr_assert_str_eq(goes_on(), "0 0 0 0E 1 1 1E"); /* the first of those is of the old epoch */
    cr_assert_eq(harness_frame(h, "out", 0)->epoch, 0);
    for (size_t i = 1; i < seen; i++) cr_assert_eq(harness_frame(h, "out", i)->epoch, 1);
    cr_assert_eq(harness_frame(h, "out", 1)->seq, 0);
    close_tale();
}

Test(stage_replay, an_epoch_that_is_not_higher_changes_nothing)
{
    open_ops(&tale_ops, "1", "--epoch=5");
    cr_assert_str_eq(goes_on(), "0 0 0E");
    supervised_say(&other, "{'do': 'epoch', 'epoch': 5}");
    supervised_say(&other, "{'do': 'epoch', 'epoch': 2}");
    cr_assert_str_eq(goes_on(), "");
    close_tale();
}

Test(stage_replay, a_new_process_begins_with_the_first_stream_that_is_not_committed)
{
    open_tale("9");
    commit(0, 1);
    commit(3, 3);
    cr_assert_str_eq(goes_on(), "2 2 2E 4 4 4E");
    commit(0, 4);
    cr_assert_str_eq(goes_on(), "$");
    cr_assert(supervised_heard(&other, "{'did': 'total', 'streams': 5}"));
    close_tale();
}

Test(stage_replay, a_retry_sends_one_stream_again_with_its_attempt)
{
    open_tale("2");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E");
    supervised_say(&other, "{'do': 'retry', 'stream': %llu, 'attempt': 1}", id(0));
    cr_assert_str_eq(goes_on(), "0/1 0/1 0E/1");
    commit(0, 0);
    cr_assert_str_eq(goes_on(), "2 2 2E");
    supervised_say(&other, "{'do': 'retry', 'stream': %llu, 'attempt': 1}", id(0)); /* committed: too late */
    supervised_say(&other, "{'do': 'retry', 'stream': 1, 'attempt': 1}");           /* another source's */
    cr_assert_str_eq(goes_on(), "");
    close_tale();
}

Test(stage_replay, a_retry_after_the_last_stream_comes_before_eof)
{
    open_tale("9");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E 2 2 2E 3 3 3E 4 4 4E");
    commit(0, 2);
    commit(4, 4);
    supervised_say(&other, "{'do': 'retry', 'stream': %llu, 'attempt': 4}", id(3));
    cr_assert_str_eq(goes_on(), "3/4 3/4 3E/4");
    commit(3, 3);
    cr_assert_str_eq(goes_on(), "$");
    close_tale();
}

Test(stage_replay, a_retry_in_the_middle_of_the_stream_begins_it_again)
{
    struct thea_err err;
    open_tale("1");
    cr_assert_eq(stage_source_step(harness_stage(h), &err), THEA_AGAIN);
    supervised_say(&other, "{'do': 'retry', 'stream': %llu, 'attempt': 1}", id(0));
    cr_assert_str_eq(goes_on(), "0 0/1 0/1 0E/1");
    close_tale();
}

Test(stage_replay, a_stream_that_is_given_up_is_an_error_frame_with_its_name_and_the_reason)
{
    open_tale("2");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E");
    supervised_say(&other, "{'do': 'aside', 'stream': %llu, 'attempt': 3, 'tries': 3, 'reason': 'it kills'}",
                   id(1));
    cr_assert_str_eq(goes_on(), "1X/3");
    const struct frame *f = harness_frame(h, "out", seen - 1);
    cr_assert_eq(f->tensor_count, 0);
    cr_assert_str_eq(frame_attr_text(f, "id", ""), "tale-1");
    cr_assert_str_eq(frame_attr_text(f, "error", ""), "it kills");
    cr_assert_eq(frame_attr_int(f, "aside", 0), 1);
    cr_assert_eq(frame_attr_int(f, "tries", 0), 3);
    commit(0, 1);
    cr_assert_str_eq(goes_on(), "2 2 2E 3 3 3E"); /* the source goes on where it belongs */
    close_tale();
}

Test(stage_replay, a_new_process_may_be_told_at_once_whom_to_give_up)
{
    open_tale("9");
    commit(0, 1);
    supervised_say(&other, "{'do': 'aside', 'stream': %llu, 'attempt': 1, 'tries': 1, 'reason': 'no'}",
                   id(2));
    cr_assert_str_eq(goes_on(), "2X/1 3 3 3E 4 4 4E");
    close_tale();
}

Test(stage_replay, one_stream_alone_while_the_supervisor_looks_for_who_is_to_blame)
{
    open_tale("9");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E 2 2 2E 3 3 3E 4 4 4E");
    supervised_say(&other, "{'do': 'only', 'stream': %llu}", id(2));
    supervised_say(&other, "{'do': 'epoch', 'epoch': 1}");
    cr_assert_str_eq(goes_on(), "2 2 2E");
    supervised_say(&other, "{'do': 'only', 'stream': 77}"); /* another source's */
    cr_assert_str_eq(goes_on(), "");
    supervised_say(&other, "{'do': 'all'}");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E 3 3 3E 4 4 4E");
    close_tale();
}

Test(stage_replay, a_pause_starts_no_stream_but_ends_the_one_that_is_open)
{
    struct thea_err err;
    open_tale("9");
    cr_assert_eq(stage_source_step(harness_stage(h), &err), THEA_AGAIN);
    supervised_say(&other, "{'do': 'pause'}");
    cr_assert_str_eq(goes_on(), "0 0 0E");
    cr_assert_str_eq(goes_on(), "");
    supervised_say(&other, "{'do': 'go'}");
    cr_assert_str_eq(goes_on(), "1 1 1E 2 2 2E 3 3 3E 4 4 4E");
    close_tale();
}

Test(stage_replay, a_drain_starts_nothing_more_and_replays_what_it_started)
{
    open_tale("2");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E");
    supervised_say(&other, "{'do': 'drain'}");
    cr_assert_str_eq(goes_on(), "");
    cr_assert(supervised_heard(&other, "{'did': 'total', 'streams': 2}"));
    supervised_say(&other, "{'do': 'epoch', 'epoch': 1}");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E");
    commit(0, 1);
    cr_assert_str_eq(goes_on(), "$");
    close_tale();
}

Test(stage_replay, a_pipe_that_drains_takes_its_open_stream_back)
{
    struct thea_err err;
    open_ops(&tale_ops, "9", "--pipe");
    for (int i = 0; i < 4; i++) cr_assert_eq(stage_source_step(harness_stage(h), &err), THEA_AGAIN);
    supervised_say(&other, "{'do': 'drain'}");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1X");
    cr_assert_eq(frame_attr_int(harness_frame(h, "out", seen - 1), "cancelled", 0), 1);
    cr_assert(supervised_heard(&other, "{'did': 'total', 'streams': 1}"));
    commit(0, 0);
    cr_assert_str_eq(goes_on(), "$");
    close_tale();
}

Test(stage_replay, a_pipe_that_drains_leaves_what_it_cannot_bring_again)
{
    open_ops(&tale_ops, "2", "--pipe");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E");
    commit(0, 0);
    supervised_say(&other, "{'do': 'drain'}");
    supervised_say(&other, "{'do': 'epoch', 'epoch': 1}");
    cr_assert_str_eq(goes_on(), "$");
    close_tale();
}

Test(stage_replay, a_source_that_forgot_what_it_sent_is_a_mistake)
{
    struct thea_err err;
    open_tale("2");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E");
    ((struct tale *)stage_state(harness_stage(h)))->count = 0;
    supervised_say(&other, "{'do': 'epoch', 'epoch': 1}");
    cr_assert_eq(harness_drain_source(h, &err), THEA_ESOFTWARE);
    cr_assert_str_eq(err.message, "tale has no document 0 any more, of 2 that it sent");
    close_tale();
}

static uint64_t accused;

static thea_rc accused_source(struct stage *st, struct thea_err *err)
{
    accused = st->page->work_streams[0];
    return tell_source(st, err);
}

Test(stage_replay, the_stream_that_a_source_is_about_to_start_is_on_its_status_page)
{
    struct stage_ops ops = tale_ops;
    ops.source = accused_source;
    struct thea_err err;
    open_ops(&ops, "9", NULL);
    commit(0, 2);
    cr_assert_eq(harness_hear(h, &err), THEA_OK);
    cr_assert_eq(stage_source_step(harness_stage(h), &err), THEA_AGAIN);
    cr_assert_eq(accused, id(3) + 1);
    cr_assert_eq(harness_page(h)->work_streams[0], 0, "between two ops there is none");
    close_tale();
}

Test(stage_replay, a_stream_that_fails_in_the_source_names_it)
{
    open_ops(&tale_ops, "9", "--bad=1");
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1X 2 2 2E 3 3 3E 4 4 4E");
    const struct frame *f = harness_frame(h, "out", 4);
    cr_assert_str_eq(frame_attr_text(f, "failed_in", ""), "tale");
    cr_assert_eq(frame_attr_int(f, "aside", 0), 0);
    supervised_say(&other, "{'do': 'aside', 'stream': %llu, 'attempt': 1, 'tries': 1, 'reason': 'bad'}",
                   id(1));
    cr_assert_str_eq(goes_on(), "1X/1");
    close_tale();
}

Test(stage_replay, a_source_that_cannot_go_back_says_so_when_it_would_have_to)
{
    struct thea_err err;
    open_ops(&once_ops, "2", NULL);
    cr_assert_str_eq(goes_on(), "0 0 0E 1 1 1E");
    commit(0, 1);
    cr_assert_str_eq(goes_on(), "2 2 2E 3 3 3E");
    supervised_say(&other, "{'do': 'epoch', 'epoch': 1}");
    cr_assert_eq(harness_drain_source(h, &err), THEA_ESOFTWARE);
    cr_assert(strstr(err.message, "once cannot send document 2 again") != NULL, "%s", err.message);
    close_tale();
}

Test(stage_replay, messages_that_make_no_sense_are_errors_that_quote_them)
{
    static const struct {
        const char *said, *answer;
    } bad[] = {{"{'do': 'epoch'}", "'epoch' without a number 'epoch'"},
               {"{'do': 'epoch', 'epoch': -1}", "'epoch' without a number"},
               {"{'do': 'dance'}", "'dance', which no stage knows"},
               {"{}", "which no stage knows"},
               {"{'do': 'commit'}", "ranges are a list"},
               {"{'do': 'commit', 'streams': [[3, 1]]}", "from 3 to 1"},
               {"{'do': 'retry', 'stream': 1}", "'retry' without a number 'attempt'"},
               {"{'do': 'only', 'stream': 'x'}", "'only' without a number 'stream'"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct thea_err err;
        open_tale("2");
        supervised_say(&other, "%s", bad[i].said);
        cr_assert_eq(harness_hear(h, &err), THEA_EFRAME, "%s", bad[i].said);
        cr_assert(strstr(err.message, bad[i].answer) != NULL, "%s", err.message);
        close_tale();
    }
}

Test(stage_replay, a_supervisor_that_is_gone_ends_the_stage)
{
    struct thea_err err;
    open_tale("2");
    supervised_close(&other);
    cr_assert_eq(harness_hear(h, &err), THEA_ECLOSED);
    cr_assert_str_eq(err.message, "the supervisor is gone");
    close_tale();
}
