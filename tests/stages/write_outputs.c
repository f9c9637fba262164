/* write: outputs that cannot take what comes, readers that go away, documents without a result. */
#include "tests/stages/writing.h"

#include <signal.h>
#include <sys/resource.h>

TestSuite(write_outputs, .init = scratch_make, .fini = scratch_remove);

Test(write_outputs, formats_that_do_not_fit_the_input_are_refused_with_those_that_do)
{
    expect_refused(ARGS("-o", "x.npy"), "record", THEA_EUSAGE, "accepted   table, jsonl, tsv");
    expect_refused(ARGS("--format", "text"), "vector", THEA_EUSAGE, "jsonl, tsv, npy, safetensors");
    expect_refused(ARGS("--format", "jsonl"), "logits", THEA_EUSAGE,
                   "safetensors, into a file: -o NAME.safetensors");
    stdout_is_file("stdout");
    expect_refused(NULL, "logits", THEA_EUSAGE, "'auto' gives");
    expect_refused(ARGS("--format", "npy"), "vector", THEA_EUSAGE, "needs a file: -o NAME.npy");
}

Test(write_outputs, an_output_that_cannot_be_created_is_status_73)
{
    mkdir("there", 0755);
    expect_refused(ARGS("-o", "no/such/dir/out.jsonl"), "record", THEA_ECREATE,
                   "cannot create 'no/such/dir/out.jsonl': No such file");
    expect_refused(ARGS("-o", "there"), "record", THEA_ECREATE, "Is a directory");
    expect_refused(ARGS("-o", "no/such/dir/v.npy"), "vector", THEA_ECREATE, "cannot create");
    expect_refused(ARGS("--format", "npy", "-o", "/dev/full"), "vector", THEA_ECREATE, "no regular file");
}

static thea_rc write_a_lot(const char *const *args, const char *port, struct thea_err *err)
{
    static float row[1 << 16];
    struct harness *h = open_write(args, port);
    struct tensor t = strcmp(port, "text") == 0 ? tensor_1d("text", TENSOR_U8, "full", 4)
                                                : tensor_2d(port, TENSOR_F32, row, 1, 1 << 16);
    thea_rc rc = THEA_OK;
    for (uint64_t i = 0; rc == THEA_OK && i < 10; i++) {
        struct frame f = {
            .kind = FRAME_DATA, .stream = 1, .position = i, .port = port, .tensors = &t, .tensor_count = 1};
        rc = harness_feed(h, port, &f, err);
    }
    struct frame end = {.kind = FRAME_END, .stream = 1, .port = port},
                 eof = {.kind = FRAME_EOF, .port = port};
    if (rc == THEA_OK) rc = harness_feed(h, port, &end, err);
    if (rc == THEA_OK) rc = harness_feed(h, port, &eof, err);
    harness_close(h);
    return rc;
}

Test(write_outputs, a_full_disk_is_status_74)
{
    struct thea_err err = {0};
    cr_assert_eq(write_a_lot(ARGS("--format", "text", "-o", "/dev/full"), "text", &err), THEA_EIO);
    cr_assert_not_null(strstr(err.message, "cannot write '/dev/full': No space left"), "%s", err.message);
}

Test(write_outputs, a_file_that_may_not_grow_is_status_74_and_leaves_nothing)
{
    struct thea_err err = {0};
    struct rlimit limit = {1 << 20, 1 << 20};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(write_a_lot(ARGS("-o", "out.safetensors"), "logits", &err), THEA_EIO);
    cr_assert_not_null(strstr(err.message, "cannot write"), "%s", err.message);
    expect_only(0);
}

Test(write_outputs, a_reader_that_went_away_is_enough_and_no_error)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    fflush(stdout);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[1]);
    struct harness *h = open_write(ARGS("--format", "jsonl"), "record");
    feed_text(h, "record", 1, "a", "{\"id\": \"a\"}");
    feed_kind(h, "record", 1, FRAME_END);
    cr_assert(!harness_has_enough(h));
    close(ends[0]);
    feed_text(h, "record", 2, "b", "{\"id\": \"b\"}");
    feed_kind(h, "record", 2, FRAME_END);
    cr_assert(harness_has_enough(h));
    finish(h, "record");
}

Test(write_outputs, stdin_says_by_its_first_frame_what_it_carries)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(harness_open(&h, &write_ops, ARGS("-o", "out.jsonl"), NULL, &err), THEA_OK, "%s",
                 err.message);
    struct tensor t = tensor_1d("tokens", TENSOR_I32, (const int32_t[]){5}, 1),
                  x = tensor_1d("nll", TENSOR_F32, (const float[]){5}, 1);
    feed_tensors(h, "tokens", 1, "a", 0, &t, 1);
    feed_kind(h, "tokens", 1, FRAME_END);
    expect_file("out.jsonl", "{\"id\": \"a\", \"tokens\": [5]}\n");
    struct frame other = {.kind = FRAME_DATA, .stream = 2, .port = "nll", .tensors = &x, .tensor_count = 1};
    cr_assert_eq(harness_feed(h, "nll", &other, &err), THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, "'tokens' and 'nll'"), "%s", err.message);
    harness_close(h);
}

Test(write_outputs, a_document_without_a_result_leaves_a_line_if_asked)
{
    const char *path = "said.jsonl";
    FILE *file = fopen(path, "w+");
    int before = dup(STDOUT_FILENO);
    cr_assert(file != NULL && before >= 0);
    fflush(stdout);
    cr_assert_eq(dup2(fileno(file), STDOUT_FILENO), STDOUT_FILENO);
    struct harness *h = open_write(ARGS("--format", "jsonl", "--failures"), "vector");
    feed_floats(h, "vector", 1, "good", (const float[]){0.5F, -2}, 2);
    feed_kind(h, "vector", 1, FRAME_END);
    struct attr attrs[] = {{.key = "id", .type = ATTR_TEXT, .text = "b\"ad"},
                           {.key = "error", .type = ATTR_TEXT, .text = "it is \n broken"}};
    struct frame failed = {
        .kind = FRAME_ERROR, .stream = 2, .port = "vector", .attrs = attrs, .attr_count = 2};
    struct frame empty = {.kind = FRAME_END, .stream = 3, .port = "vector", .attrs = attrs, .attr_count = 1};
    struct thea_err err = {0};
    cr_assert_eq(harness_feed(h, "vector", &failed, &err), THEA_OK, "%s", err.message);
    cr_assert_eq(harness_feed(h, "vector", &empty, &err), THEA_OK, "%s", err.message);
    finish(h, "vector");
    cr_assert_eq(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
    close(before);
    fclose(file);
    expect_file(path, "{\"id\": \"good\", \"embedding\": [0.5, -2]}\n"
                      "{\"id\": \"b\\\"ad\", \"error\": \"it is \\n broken\"}\n"
                      "{\"id\": \"b\\\"ad\", \"error\": \"nothing came of it: it is empty\"}\n");
}

Test(write_outputs, failures_are_lines_on_standard_output_alone)
{
    expect_refused(ARGS("-o", "out.jsonl", "--failures"), "vector", THEA_EUSAGE,
                   "--failures needs --format jsonl");
    expect_refused(ARGS("--format", "text", "--failures"), "text", THEA_EUSAGE,
                   "--failures needs --format jsonl");
}
