/* exec: real commands, and what they do wrong. */
#include "tests/stages/helpers.h"

extern const struct stage_ops exec_ops;

static struct harness *open_exec(const char *in, const char *out, const char *const *args)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(harness_open_ports(&h, &exec_ops, args, ARGS(in), ARGS(out), &err), THEA_OK, "%s",
                 err.message);
    return h;
}

/* A document in two pieces, and its end. */
static void feed_text(struct harness *h, uint64_t stream, const char *id, const char *text)
{
    size_t half = strlen(text) / 2;
    struct tensor t = tensor_1d("text", TENSOR_U8, text, half);
    feed_tensors(h, "docs", stream, id, 0, &t, 1);
    t = tensor_1d("text", TENSOR_U8, text + half, strlen(text) - half);
    feed_tensors(h, "docs", stream, NULL, half, &t, 1);
    feed_kind(h, "docs", stream, FRAME_END);
}

/* What left on a port, frame by frame, joined; free it. */
static char *said(const struct harness *h, const char *port, const char *tensor)
{
    struct buf all = {0};
    for (size_t i = 0; i < harness_count(h, port); i++) {
        const struct tensor *t = frame_tensor(harness_frame(h, port, i), tensor);
        if (t != NULL) buf_add(&all, t->data, t->size_bytes);
    }
    return buf_take(&all);
}

static void expect_said(const struct harness *h, const char *port, const char *tensor, const char *expected)
{
    char *text = said(h, port, tensor);
    cr_expect_str_eq(text, expected);
    free(text);
}

Test(exec, each_document_goes_through_a_process_of_its_own)
{
    struct harness *h = open_exec("docs", "text", ARGS("--command", "echo $THEA_DOCUMENT; tr a-z A-Z"));
    feed_text(h, 1, "a.txt", "one\ntwo\n");
    feed_text(h, 2, "b.txt", "");
    expect_said(h, "text", "text", "a.txt\nONE\nTWO\nb.txt\n");
    harness_close(h);
}

Test(exec, a_record_gets_the_documents_id)
{
    struct harness *h = open_exec(
        "docs", "record", ARGS("--command", "echo \"{\\\"bytes\\\": $(wc -c)}\"", "--prints", "json"));
    feed_text(h, 1, "a.txt", "12345");
    expect_said(h, "record", "record", "{\"id\": \"a.txt\", \"bytes\": 5}");
    harness_close(h);
}

Test(exec, a_record_goes_in_and_out_on_one_line)
{
    struct harness *h = open_exec(
        "record", "record", ARGS("--command", "cat", "--prints", "json", "--reads", "json", "--per", "run"));
    for (uint64_t s = 1; s <= 3; s++) {
        static const char record[] = "{\"id\": \"x\",\n \"v\": 1}";
        struct tensor t = tensor_1d("record", TENSOR_U8, record, sizeof record - 1);
        feed_tensors(h, "record", s, "x", 0, &t, 1);
        feed_kind(h, "record", s, FRAME_END);
    }
    expect_said(h, "record", "record",
                "{\"id\": \"x\", \"v\": 1}{\"id\": \"x\", \"v\": 1}{\"id\": \"x\", \"v\": 1}");
    harness_close(h);
}

Test(exec, one_process_answers_all_documents_in_order)
{
    struct harness *h = open_exec(
        "docs", "text",
        ARGS("--per", "run", "--command", "i=0; while read -r l; do i=$((i+1)); echo \"$i:$l\"; done"));
    feed_text(h, 1, "a", "first");
    feed_text(h, 2, "b", "second\n");
    expect_said(h, "text", "text", "1:first2:second");
    harness_close(h);
}

Test(exec, more_than_both_pipes_hold_passes)
{
    struct buf big = {0};
    while (big.len < 3 << 20) buf_add_text(&big, "0123456789abcdef");
    struct harness *h = open_exec("docs", "text", ARGS("--command", "cat"));
    feed_text(h, 1, "big", buf_text(&big));
    cr_expect_gt(harness_count(h, "text"), 10, "it leaves in pieces");
    expect_said(h, "text", "text", buf_text(&big));
    harness_close(h);
    buf_fini(&big);
}

Test(exec, a_command_may_leave_its_input_unread)
{
    struct buf big = {0};
    while (big.len < 1 << 20) buf_add_text(&big, "0123456789abcdef");
    struct harness *h = open_exec("docs", "text", ARGS("--command", "exec <&-; echo done"));
    feed_text(h, 1, "big", buf_text(&big));
    expect_said(h, "text", "text", "done\n");
    harness_close(h);
    buf_fini(&big);
}

struct wrong {
    const char *command, *prints, *message;
};

Test(exec, what_goes_wrong_spoils_its_document_alone)
{
    static const struct wrong cases[] = {
        {"exit 3", "text", "ended with status 3"},
        {"kill -SEGV $$", "text", "killed by SIGSEGV"},
        {"no-such-program-here 2>/dev/null", "text", "was not found"},
        {"printf '\\377'", "text", "not UTF-8 (at byte 0)"},
        {"echo '{'", "json", "the command's output"},
        {"echo '[1]'", "json", "printed a list, expected an object"},
        {"while :; do echo 0123456789; done", "text", "printed more than 1024 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf command = {0};
        buf_printf(&command, "if [ $THEA_DOCUMENT = bad ]; then %s; else echo '{\"ok\": 1}'; fi",
                   cases[i].command);
        const char *out = strcmp(cases[i].prints, "json") == 0 ? "record" : "text";
        struct harness *h = open_exec(
            "docs", out,
            ARGS("--command", buf_text(&command), "--prints", cases[i].prints, "--max-bytes", "1KiB"));
        feed_text(h, 1, "bad", "x");
        feed_text(h, 2, "good", "x");
        const char *error = error_of(h, out, 0);
        cr_expect(error != NULL && strstr(error, cases[i].message) != NULL, "%s: %s", cases[i].command,
                  error != NULL ? error : "no error");
        cr_expect_null(error_of(h, out, 1), "%s", cases[i].command);
        cr_expect_geq(harness_count(h, out), 2);
        harness_close(h);
        buf_fini(&command);
    }
}

Test(exec, a_document_of_several_lines_is_refused_by_a_command_that_takes_one)
{
    struct harness *h = open_exec("docs", "text", ARGS("--per", "run", "--command", "cat"));
    feed_text(h, 1, "a", "two\nlines");
    cr_assert_not_null(strstr(error_of(h, "text", 0), "reads: json"));
    feed_text(h, 2, "b", "one");
    expect_said(h, "text", "text", "one");
    harness_close(h);
}

Test(exec, a_command_for_all_that_ends_too_early_ends_the_stage)
{
    struct harness *h = open_exec("docs", "text", ARGS("--per", "run", "--command", "read -r l; exit 4"));
    struct thea_err err = {0};
    struct tensor t = tensor_1d("text", TENSOR_U8, "x", 1);
    struct frame f = {.kind = FRAME_DATA, .stream = 1, .port = "docs", .tensors = &t, .tensor_count = 1};
    feed(h, "docs", &f);
    f = (struct frame){.kind = FRAME_END, .stream = 1, .port = "docs"};
    cr_assert_eq(harness_feed(h, "docs", &f, &err), THEA_ESOFTWARE);
    cr_assert_not_null(strstr(err.message, "ended with status 4"), "%s", err.message);
    harness_close(h);
}

Test(exec, an_output_that_the_command_does_not_print_is_refused)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(
        harness_open_ports(&h, &exec_ops, ARGS("--command", "cat"), ARGS("docs"), ARGS("record"), &err),
        THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, "needs prints: json"), "%s", err.message);
    harness_close(h);
}
