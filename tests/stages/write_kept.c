/* write in a run that survives crashes: whatever was written when it died, it goes on behind it, and the
 * output is that of a run that nothing disturbed. A harness that is closed before eof is a process that died:
 * nothing is flushed or finished. */
#include "graph/wire/stage_core.h"
#include "tests/stages/writing.h"

TestSuite(write_kept, .init = scratch_make, .fini = scratch_remove);

static void expect_same_files(const char *a, const char *b)
{
    size_t n = 0, m = 0;
    char *x = get_file(a, &n), *y = get_file(b, &m);
    cr_assert(x != NULL && y != NULL, "%s or %s is not there", a, b);
    cr_assert(n == m && memcmp(x, y, n) == 0, "%s and %s differ", a, b);
    free(x);
    free(y);
}

struct shape {
    const char *port, *output;
    const char *const *args;
};

/* The run that nothing disturbs: its output is kept under "expected". */
static void undisturbed(const struct shape *s)
{
    struct harness *h = open_write(s->args, s->port);
    for (uint64_t i = 0; i < DOCUMENTS; i++) feed_document(h, s->port, i);
    finish(h, s->port);
    cr_assert_eq(rename(s->output, "expected"), 0);
    forget_run();
}

/* Dies after `first` documents, comes back, and is sent from `again` on (what is committed is not sent). */
static void expect_survived(const struct shape *s)
{
    undisturbed(s);
    for (uint64_t first = 0; first <= DOCUMENTS; first++) {
        struct harness *h = open_write(s->args, s->port);
        for (uint64_t i = 0; i < first; i++) feed_document(h, s->port, i);
        harness_close(h);
        h = open_write(s->args, s->port);
        for (uint64_t i = first; i < DOCUMENTS; i++) feed_document(h, s->port, i);
        finish(h, s->port);
        expect_same_files(s->output, "expected");
        remove(s->output);
        forget_run();
        remove("o.1.tsv");
        remove("o.2.tsv");
    }
}

Test(write_kept, lines_are_the_same_wherever_it_died)
{
    expect_survived(&(struct shape){"record", "o.jsonl", KEPT("-o", "o.jsonl")});
    expect_survived(&(struct shape){"tokens", "t.jsonl", KEPT("-o", "t.jsonl")});
}

Test(write_kept, a_tsv_has_one_header_and_its_first_columns_wherever_it_died)
{
    expect_survived(&(struct shape){"record", "o.tsv", KEPT("-o", "o.tsv")});
    expect_survived(&(struct shape){"vector", "v.tsv", KEPT("-o", "v.tsv")});
    expect_survived(&(struct shape){"tokens", "t.tsv", KEPT("-o", "t.tsv")});
}

Test(write_kept, texts_are_set_apart_as_ever_wherever_it_died)
{
    expect_survived(&(struct shape){"text", "o.txt", KEPT("-o", "o.txt")});
}

Test(write_kept, files_of_arrays_are_the_same_wherever_it_died)
{
    expect_survived(&(struct shape){"vector", "v.npy", KEPT("-o", "v.npy")});
    expect_survived(&(struct shape){"hidden", "h.safetensors", KEPT("-o", "h.safetensors")});
    expect_survived(&(struct shape){"vector", "v.safetensors", KEPT("-o", "v.safetensors")});
}

Test(write_kept, results_go_out_by_index_however_they_come)
{
    struct harness *h = open_write(KEPT("-o", "o.jsonl"), "record");
    static const uint64_t order[] = {3, 0, 5, 4, 1, 2};
    for (size_t i = 0; i < DOCUMENTS; i++) feed_document(h, "record", order[i]);
    finish(h, "record");
    rename("o.jsonl", "expected");
    forget_run();
    h = open_write(KEPT("-o", "o.jsonl"), "record");
    for (uint64_t i = 0; i < DOCUMENTS; i++) feed_document(h, "record", i);
    finish(h, "record");
    expect_same_files("o.jsonl", "expected");
}

Test(write_kept, what_waits_for_its_turn_is_not_committed_and_is_taken_again)
{
    struct harness *h = open_write(KEPT("-o", "o.jsonl"), "record");
    feed_document(h, "record", 0);
    feed_document(h, "record", 2);
    expect_file("o.jsonl", "{\"id\": \"doc0\", \"n\": 0}\n");
    harness_close(h);
    h = open_write(KEPT("-o", "o.jsonl"), "record");
    for (uint64_t i = 1; i < 3; i++) feed_document(h, "record", i);
    finish(h, "record");
    expect_file("o.jsonl",
                "{\"id\": \"doc0\", \"n\": 0}\n{\"id\": \"doc1\", \"n\": 1}\n{\"id\": \"doc2\", \"n\": 2}\n");
}

Test(write_kept, an_epoch_forgets_what_is_not_committed)
{
    struct harness *h = open_write(KEPT("-o", "o.jsonl"), "record");
    feed_document(h, "record", 2);
    feed_document(h, "record", 0);
    stage_epoch_take(harness_stage(h));
    feed_document(h, "record", 1);
    feed_document(h, "record", 2);
    finish(h, "record");
    expect_file("o.jsonl",
                "{\"id\": \"doc0\", \"n\": 0}\n{\"id\": \"doc1\", \"n\": 1}\n{\"id\": \"doc2\", \"n\": 2}\n");
}

Test(write_kept, completion_is_the_order_in_which_they_end)
{
    struct harness *h = open_write(KEPT("-o", "o.jsonl", "--order", "completion"), "record");
    feed_document(h, "record", 4);
    feed_document(h, "record", 0);
    harness_close(h);
    expect_file("o.jsonl", "{\"id\": \"doc4\", \"n\": 4}\n{\"id\": \"doc0\", \"n\": 0}\n");
    h = open_write(KEPT("-o", "o.jsonl", "--order", "completion"), "record");
    feed_document(h, "record", 2);
    finish(h, "record");
    expect_file("o.jsonl",
                "{\"id\": \"doc4\", \"n\": 4}\n{\"id\": \"doc0\", \"n\": 0}\n{\"id\": \"doc2\", \"n\": 2}\n");
}

Test(write_kept, several_sources_take_turns_by_index_then_source)
{
    struct harness *h = open_write(KEPT("-o", "o.jsonl", "--sources", "1,2"), "record");
    uint64_t one = UINT64_C(1) << 40, two = UINT64_C(2) << 40;
    char *text;
    feed_document(h, "record", two);
    text = get_file("o.jsonl", NULL);
    cr_assert_str_eq(text, "", "the other source's first goes before");
    free(text);
    feed_document(h, "record", one + 1);
    feed_document(h, "record", one);
    harness_close(h);
    text = get_file("journal/write", NULL);
    const char *first = strstr(text, "\"stream\": 1099511627776,"),
               *second = strstr(text, "\"stream\": 2199023255552,"),
               *third = strstr(text, "\"stream\": 1099511627777,");
    cr_assert(first != NULL && second > first && third > second, "%s", text);
    free(text);
}

Test(write_kept, a_run_that_was_done_needs_no_rows_and_leaves_its_file_alone)
{
    struct harness *h = open_write(KEPT("-o", "v.npy"), "vector");
    for (uint64_t i = 0; i < 2; i++) feed_document(h, "vector", i);
    finish(h, "vector");
    cr_assert_neq(access("journal/write.rows", F_OK), 0, "the rows are gone");
    put_text_file("v.npy", "moved on");
    finish(open_write(KEPT("-o", "v.npy"), "vector"), "vector");
    expect_file("v.npy", "moved on");
    h = open_write(KEPT("-o", "v.npy"), "vector");
    struct tensor t = tensor_1d("vector", TENSOR_F32, (const float[]){1, 2, 3, 4}, 4);
    feed_tensors(h, "vector", 2, "late", 0, &t, 1);
    struct frame end = {.kind = FRAME_END, .stream = 2, .port = "vector"};
    struct thea_err err = {0};
    cr_assert_eq(harness_feed(h, "vector", &end, &err), THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, "'v.npy' was complete"), "%s", err.message);
    harness_close(h);
}

/* --- documents that are given up --- */

static void feed_error(struct harness *h, uint64_t stream, const char *reason)
{
    struct attr attrs[] = {{.key = "error", .type = ATTR_TEXT, .text = reason},
                           {.key = "tries", .type = ATTR_INT, .integer = 3},
                           {.key = "aside", .type = ATTR_INT, .integer = 1}};
    struct frame f = {
        .kind = FRAME_ERROR, .stream = stream, .port = "record", .attrs = attrs, .attr_count = 3};
    feed(h, "record", &f);
}

Test(write_kept, a_document_set_aside_takes_its_turn_and_is_in_the_journal_with_its_reason)
{
    struct harness *h = open_write(KEPT("-o", "o.jsonl"), "record");
    feed_document(h, "record", 0);
    feed_document(h, "record", 2);
    feed_error(h, 1, "it is \"poison\"");
    expect_file("o.jsonl", "{\"id\": \"doc0\", \"n\": 0}\n{\"id\": \"doc2\", \"n\": 2}\n");
    harness_close(h);
    char *text = get_file("journal/write", NULL);
    cr_assert_not_null(strstr(text, "{\"what\": \"aside\", \"stream\": 1, \"tries\": 3, \"reason\": \"it is "
                                    "\\\"poison\\\"\"}"),
                       "%s", text);
    free(text);
    h = open_write(KEPT("-o", "o.jsonl"), "record"); /* and is not waited for again */
    feed_document(h, "record", 3);
    finish(h, "record");
    expect_file("o.jsonl",
                "{\"id\": \"doc0\", \"n\": 0}\n{\"id\": \"doc2\", \"n\": 2}\n{\"id\": \"doc3\", \"n\": 3}\n");
}

Test(write_kept, of_two_documents_of_one_id_the_later_gives_way)
{
    struct harness *h = open_write(KEPT("-o", "h.safetensors"), "final");
    float x[] = {1, 2}, y[] = {3, 4};
    struct tensor a = tensor_2d("final", TENSOR_F32, x, 1, 2), b = tensor_2d("final", TENSOR_F32, y, 1, 2);
    feed_tensors(h, "final", 1, "same", 0, &b, 1);
    feed_kind(h, "final", 1, FRAME_END);
    feed_tensors(h, "final", 0, "same", 0, &a, 1);
    feed_kind(h, "final", 0, FRAME_END);
    cr_assert(ranges_has(&harness_stage(h)->control.aside, 1), "the supervisor does not hear of it");
    cr_assert_not(ranges_has(&harness_stage(h)->control.aside, 0));
    harness_close(h);
    h = open_write(KEPT("-o", "h.safetensors"), "final");
    feed_tensors(h, "final", 2, "other", 0, &a, 1);
    cr_assert(ranges_has(&harness_stage(h)->control.aside, 1), "it is forgotten after a restart");
    harness_close(h);
    char *text = get_file("journal/write", NULL);
    const char *aside = strstr(text, "\"aside\", \"stream\": 1,"),
               *commit = strstr(text, "\"commit\", \"stream\": 0,");
    cr_assert(commit != NULL && aside > commit, "%s", text);
    free(text);
}

/* --- large results --- */

Test(write_kept, a_result_larger_than_memory_should_hold_is_the_same)
{
    enum { PIECE = 300000, PIECES = 9 };
    char *piece = malloc(PIECE), *whole;
    struct harness *h = open_write(KEPT("-o", "o.txt"), "text");
    struct tensor t = tensor_1d("text", TENSOR_U8, piece, PIECE);
    for (uint64_t stream = 0; stream < 2; stream++) {
        for (int i = 0; i < PIECES; i++) {
            memset(piece, 'a' + i, PIECE);
            feed_tensors(h, "text", stream, "big", (uint64_t)i * PIECE, &t, 1);
        }
        feed_kind(h, "text", stream, FRAME_END);
    }
    finish(h, "text");
    size_t size = 0;
    whole = get_file("o.txt", &size);
    cr_assert_eq(size, 2 * (PIECE * PIECES + 1) + 1);
    for (size_t i = 0; i < PIECES; i++) cr_assert_eq(whole[i * PIECE], (char)('a' + (int)i));
    cr_assert_eq(memcmp(whole, whole + PIECE * PIECES + 2, PIECE * PIECES), 0);
    free(whole);
    free(piece);
    cr_assert_eq(system("test $(ls -A | wc -l) = 2"), 0, "a file is left"); /* o.txt, journal */
}

/* --- outputs that cannot take back --- */

Test(write_kept, live_text_that_comes_again_is_printed_once)
{
    stdout_is_file("printed");
    struct harness *h = open_write(KEPT("--format", "text"), "text");
    struct tensor t = tensor_1d("text", TENSOR_U8, "Once upon", 9);
    feed_tensors(h, "text", 0, "a", 0, &t, 1);
    expect_file("printed", "Once upon");
    /* Another process died: the stream is dropped and comes again, cut differently. */
    stage_epoch_take(harness_stage(h));
    static const char *const pieces[] = {"Onc", "e up", "on a ", "time"};
    for (size_t i = 0; i < 4; i++) {
        t = tensor_1d("text", TENSOR_U8, pieces[i], strlen(pieces[i]));
        feed_tensors(h, "text", 0, "a", i, &t, 1);
    }
    expect_file("printed", "Once upon a time");
    feed_kind(h, "text", 0, FRAME_END);
    feed_document(h, "text", 1);
    finish(h, "text");
    expect_file("printed", "Once upon a time\n\ntext of 1\n");
    cr_assert_neq(access("journal", F_OK), 0, "no journal is kept for standard output");
}

/* --- refusals --- */

Test(write_kept, a_run_that_goes_on_with_another_format_or_order_is_refused)
{
    finish(open_write(KEPT("-o", "o.jsonl"), "record"), "record");
    expect_refused(KEPT("-o", "o.jsonl", "--format", "tsv"), "record", THEA_EUSAGE,
                   "was begun with format 'jsonl', and now it is 'tsv'");
    expect_refused(KEPT("-o", "o.jsonl", "--order", "completion"), "record", THEA_EUSAGE, "order 'input'");
    expect_refused(KEPT("-o", "p.jsonl"), "record", THEA_EUSAGE, "p.jsonl");
}

Test(write_kept, an_output_that_was_cut_behind_our_back_is_refused)
{
    struct harness *h = open_write(KEPT("-o", "o.jsonl"), "record");
    feed_range(h, 0, 2);
    finish(h, "record");
    cr_assert_eq(truncate("o.jsonl", 3), 0);
    expect_refused(KEPT("-o", "o.jsonl"), "record", THEA_EDATA,
                   "is shorter than what is committed: 3 bytes of 46");
}

Test(write_kept, sources_that_are_no_numbers_are_refused)
{
    expect_refused(ARGS("-o", "o.jsonl", "--sources", "1,x"), "record", THEA_EUSAGE, "--sources");
}
