/* load in a run: what it sent it can send again, the same under the same number, from any process. */
#include "tests/stages/source.h"

TestSuite(load_seek, .init = scratch_make, .fini = scratch_remove);

static void make_files(void)
{
    mkdir("d", 0755);
    put_text_file("d/a.txt", "one");
    put_text_file("d/b.txt", "bad \xFF");
    put_text_file(
        "d/c.jsonl",
        "{\"id\": \"x\", \"text\": \"X\"}\n\n{\"text\": \"Y\"}\r\n{\"id\": \"z\", \"text\": \"Z\"}");
    put_text_file("d/e.txt", "two");
}

static const char *const made[] = {"0 d/a.txt: one", "1 x: X",         "2 d/c.jsonl:3: Y",
                                   "3 z: Z",         "4 d/e.txt: two", ""};

Test(load_seek, every_stream_is_sent_again_and_those_behind_it_follow)
{
    make_files();
    struct harness *h = open_source(ARGS("d"), "docs");
    for (size_t i = 0; i < 6; i++) expect(h, made[i]);
    for (size_t from = 0; from < 6; from++) {
        seek(h, from);
        for (size_t i = from; i < 6; i++) expect(h, made[i]);
    }
    harness_close(h);
}

Test(load_seek, any_order_of_seeks_gives_the_stream_asked_for)
{
    make_files();
    struct harness *h = open_source(ARGS("d"), "docs");
    for (size_t i = 0; i < 6; i++) expect(h, made[i]);
    unsigned random = 1;
    for (int n = 0; n < 200; n++) {
        random = random * 1103515245 + 12345;
        size_t index = random / 65536 % 5;
        seek(h, index);
        expect(h, made[index]);
    }
    harness_close(h);
}

Test(load_seek, a_stream_broken_off_in_its_middle_begins_again)
{
    struct thea_err err = {0};
    char big[200000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    put_text_file("big.txt", big);
    put_text_file("small.txt", "s");
    struct harness *h = open_source(ARGS("big.txt", "small.txt"), "docs");
    cr_assert_eq(stage_source_step(harness_stage(h), &err), THEA_AGAIN);
    size_t sent = harness_count(h, "docs");
    cr_assert_eq(sent, 1);
    seek(h, 0);
    cr_assert_eq(stage_source_step(harness_stage(h), &err), THEA_AGAIN);
    cr_assert_eq(harness_frame(h, "docs", sent)->position, 0);
    cr_assert_str_eq(frame_attr_text(harness_frame(h, "docs", sent), "id", ""), "big.txt");
    seek(h, 1);
    expect(h, "1 small.txt: s");
    harness_close(h);
}

Test(load_seek, another_process_numbers_the_same_documents_the_same)
{
    make_files();
    struct harness *h = open_source(ARGS("d"), "docs");
    for (size_t i = 0; i < 3; i++) expect(h, made[i]);
    harness_close(h);
    put_text_file("d/0.txt", "new, and first by name"); /* too late for this run */
    put_text_file("d/b.txt", "good now, but left out before");
    h = open_source(ARGS("d"), "docs");
    for (size_t i = 0; i < 6; i++) expect(h, made[i]);
    seek(h, 2);
    expect(h, made[2]);
    harness_close(h);
}

Test(load_seek, ids_keep_the_base_of_the_first_start)
{
    make_files();
    struct harness *h = open_source(ARGS("d"), "docs");
    expect(h, made[0]);
    harness_close(h);
    cr_assert_eq(chdir("d"), 0);
    h = open_source(ARGS("."), "docs");
    expect(h, made[0]);
    cr_assert_eq(chdir(".."), 0);
    harness_close(h);
}

Test(load_seek, a_first_process_that_numbered_nothing_leaves_nothing_wrong)
{
    make_files();
    harness_close(open_source(ARGS("d"), "docs"));
    struct harness *h = open_source(ARGS("d"), "docs");
    for (size_t i = 0; i < 6; i++) expect(h, made[i]);
    harness_close(h);
}

Test(load_seek, token_records_are_sent_again)
{
    put_text_file("t.jsonl", "{\"id\": \"a\", \"tokens\": [1, 2, 3]}\n{\"id\": \"b\", \"tokens\": [4]}\n");
    struct harness *h = open_source(ARGS("--format", "tokens", "t.jsonl"), "tokens");
    cr_assert_str_eq(next_document(h, "tokens"), "0 a: 1 2 3");
    cr_assert_str_eq(next_document(h, "tokens"), "1 b: 4");
    seek(h, 0);
    cr_assert_str_eq(next_document(h, "tokens"), "0 a: 1 2 3");
    seek(h, 1);
    cr_assert_str_eq(next_document(h, "tokens"), "1 b: 4");
    cr_assert_str_eq(next_document(h, "tokens"), "");
    harness_close(h);
}

Test(load_seek, prompts_are_sent_again)
{
    put_text_file("a.txt", "file");
    struct harness *h = open_source(ARGS("--text", "one", "--text", "two", "a.txt"), "docs");
    for (int i = 0; i < 3; i++) next_document(h, "docs");
    seek(h, 1);
    expect(h, "1 prompt-2: two");
    expect(h, "2 a.txt: file");
    harness_close(h);
}

/* More records than one span has, lines that are too long among them. */
Test(load_seek, thousands_of_records_keep_their_numbers)
{
    struct buf text = {0};
    char document[64];
    for (int i = 0; i < 3000; i++) {
        if (i % 100 == 7) buf_printf(&text, "{\"text\": \"%0500d\"}\n\n", i);
        buf_printf(&text, "{\"id\": \"r%d\", \"text\": \"%d\"}\n", i, i);
    }
    put_file("r.jsonl", text.data, text.len);
    buf_fini(&text);
    struct harness *h = open_source(ARGS("--max-bytes", "100B", "r.jsonl"), "docs");
    for (int i = 0; i < 3000; i++) {
        snprintf(document, sizeof document, "%d r%d: %d", i, i, i);
        expect(h, document);
    }
    expect(h, "");
    cr_assert_eq(harness_page(h)->skipped, 30, "told once each: %d", (int)harness_page(h)->skipped);
    harness_close(h);
    h = open_source(ARGS("--max-bytes", "100B", "r.jsonl"), "docs");
    for (int i = 2999; i > 0; i -= 37) {
        seek(h, (uint64_t)i);
        snprintf(document, sizeof document, "%d r%d: %d", i, i, i);
        expect(h, document);
    }
    harness_close(h);
}

Test(load_seek, a_changed_file_is_taken_as_it_is_now)
{
    put_text_file("a.txt", "before");
    put_text_file("b.txt", "other");
    struct harness *h = open_source(ARGS("a.txt", "b.txt"), "docs");
    expect(h, "0 a.txt: before");
    put_text_file("a.txt", "and after");
    seek(h, 0);
    expect(h, "0 a.txt: and after");
    put_text_file("a.txt", "not text \xFF");
    seek(h, 0);
    expect(h, "0 a.txt ! not UTF-8");
    expect(h, "1 b.txt: other");
    harness_close(h);
}

Test(load_seek, a_vanished_file_fails_under_its_number_and_the_others_go_on)
{
    make_files();
    struct harness *h = open_source(ARGS("d"), "docs");
    for (size_t i = 0; i < 6; i++) expect(h, made[i]);
    unlink("d/a.txt");
    unlink("d/c.jsonl");
    seek(h, 0);
    expect(h, "0 d/a.txt ! has vanished: No such file or directory");
    const char *document = next_document(h, "docs");
    cr_assert_not_null(strstr(document, "1 d/c.jsonl, record 1 ! "), "%s", document);
    document = next_document(h, "docs");
    cr_assert_not_null(strstr(document, "2 d/c.jsonl, record 2 ! "), "%s", document);
    next_document(h, "docs");
    expect(h, made[4]);
    expect(h, "");
    harness_close(h);
}

Test(load_seek, a_file_that_vanishes_before_its_turn_fails_too)
{
    make_files();
    struct harness *h = open_source(ARGS("d"), "docs");
    unlink("d/a.txt");
    unlink("d/c.jsonl");
    expect(h, "0 d/a.txt ! has vanished: No such file or directory");
    expect(h, "1 d/c.jsonl, record 1 ! has vanished");
    expect(h, "2 d/e.txt: two");
    harness_close(h);
}

Test(load_seek, records_of_a_file_that_changed_are_counted_from_its_beginning)
{
    make_files();
    struct harness *h = open_source(ARGS("d/c.jsonl"), "docs");
    for (int i = 0; i < 3; i++) next_document(h, "docs");
    put_text_file("d/c.jsonl", "{\"id\": \"longer\", \"text\": \"first, and longer than before\"}\n"
                               "{\"id\": \"second\", \"text\": \"S\"}\nnot json\n");
    seek(h, 1);
    expect(h, "1 second: S");
    const char *document = next_document(h, "docs");
    cr_assert_not_null(strstr(document, "2 d/c.jsonl, record 3 ! "), "%s", document);
    expect(h, "");
    put_text_file("d/c.jsonl", "{\"id\": \"only\", \"text\": \"o\"}\n");
    seek(h, 0);
    expect(h, "0 only: o");
    document = next_document(h, "docs");
    cr_assert_not_null(strstr(document, "shorter"), "%s", document);
    harness_close(h);
}

Test(load_seek, a_stream_that_was_never_numbered_is_refused)
{
    struct thea_err err = {0};
    make_files();
    struct harness *h = open_source(ARGS("d"), "docs");
    cr_assert_eq(load_ops.seek(harness_stage(h), 1000, &err), THEA_ESOFTWARE);
    harness_close(h);
}

Test(load_seek, a_missing_input_of_a_run_says_how_to_name_others)
{
    struct harness *h;
    struct thea_err err = {0};
    thea_rc rc =
        harness_open(&h, &load_ops, ARGS("--run-dir", scratch, "nowhere/**/*.md"), ARGS("docs"), &err);
    cr_assert_eq(rc, THEA_ENOINPUT);
    cr_assert_not_null(strstr(err.message, "thea run PIPELINE FILE"), "%s", err.message);
}
