/* write: files that are rotated, or appended to, by hand and in a run that survives crashes. */
#include "tests/stages/writing.h"

TestSuite(write_rotate, .init = scratch_make, .fini = scratch_remove);

Test(write_rotate, rotation_makes_the_same_files_wherever_it_died)
{
    for (uint64_t died = 0; died <= DOCUMENTS; died++) {
        struct harness *h = open_write(KEPT("-o", "o.tsv", "--rotate", "25B"), "record");
        feed_range(h, 0, died);
        harness_close(h);
        h = open_write(KEPT("-o", "o.tsv", "--rotate", "25B"), "record");
        feed_range(h, died, DOCUMENTS);
        finish(h, "record");
        expect_file("o.tsv", "id\tn\ndoc0\t0\ndoc1\t1\n");
        expect_file("o.1.tsv", "id\tn\ndoc2\t2\ndoc3\t3\n");
        expect_file("o.2.tsv", "id\tn\ndoc4\t4\ndoc5\t5\n");
        cr_assert_neq(access("o.3.tsv", F_OK), 0);
        forget_run();
        remove("o.1.tsv");
        remove("o.2.tsv");
    }
}

/* Two times `each` documents into o.jsonl; the process ends between them. */
static void append_in_two(size_t each)
{
    for (size_t i = 0; i < 2; i++) {
        struct harness *h = open_write(KEPT("-o", "o.jsonl", "--append", "--rotate", "60B"), "record");
        feed_range(h, i * each, (i + 1) * each);
        if (i == 0)
            harness_close(h);
        else
            finish(h, "record");
    }
}

Test(write_rotate, appending_goes_on_behind_what_was_there_and_in_the_last_rotated_file)
{
    put_text_file("o.jsonl", "old\n");
    append_in_two(2);
    expect_file("o.jsonl", "old\n{\"id\": \"doc0\", \"n\": 0}\n{\"id\": \"doc1\", \"n\": 1}\n");
    expect_file("o.1.jsonl", "{\"id\": \"doc2\", \"n\": 2}\n{\"id\": \"doc3\", \"n\": 3}\n");

    forget_run(); /* another run */
    append_in_two(1);
    expect_file("o.1.jsonl", "{\"id\": \"doc2\", \"n\": 2}\n{\"id\": \"doc3\", \"n\": 3}\n");
    expect_file("o.2.jsonl", "{\"id\": \"doc0\", \"n\": 0}\n{\"id\": \"doc1\", \"n\": 1}\n");
}

Test(write_rotate, a_tsv_that_is_appended_to_keeps_its_columns)
{
    put_text_file("o.tsv", "n\tid\tother\n");
    struct harness *h = open_write(KEPT("-o", "o.tsv", "--append"), "record");
    feed_range(h, 0, 2);
    finish(h, "record");
    expect_file("o.tsv", "n\tid\tother\n0\tdoc0\t\n1\tdoc1\t\n");
}

Test(write_rotate, by_hand_files_rotate_and_append_as_well)
{
    struct harness *h = open_write(ARGS("-o", "o.jsonl", "--rotate", "50B"), "record");
    feed_range(h, 0, 3);
    finish(h, "record");
    h = open_write(ARGS("-o", "o.jsonl", "--rotate", "50B", "--append"), "record");
    feed_range(h, 3, 5);
    finish(h, "record");
    expect_file("o.jsonl", "{\"id\": \"doc0\", \"n\": 0}\n{\"id\": \"doc1\", \"n\": 1}\n");
    expect_file("o.1.jsonl", "{\"id\": \"doc2\", \"n\": 2}\n{\"id\": \"doc3\", \"n\": 3}\n");
    expect_file("o.2.jsonl", "{\"id\": \"doc4\", \"n\": 4}\n");
}

Test(write_rotate, files_that_an_earlier_run_has_rotated_are_not_mixed_with_those_of_this_one)
{
    put_text_file("o.1.jsonl", "old\n");
    expect_refused(KEPT("-o", "o.jsonl", "--rotate", "60B"), "record", THEA_ECREATE,
                   "o.1.jsonl' is there: an earlier run has rotated");
    expect_refused(ARGS("-o", "o.jsonl", "--rotate", "60B"), "record", THEA_ECREATE,
                   "o.1.jsonl' is there: an earlier run has rotated");
    expect_file("o.1.jsonl", "old\n");
    cr_assert_neq(access("o.jsonl", F_OK), 0, "nothing is touched");
    remove("o.1.jsonl");
    struct harness *h = open_write(KEPT("-o", "o.jsonl", "--rotate", "60B"), "record");
    feed_range(h, 0, 4);
    harness_close(h); /* the run's own are no reason */
    h = open_write(KEPT("-o", "o.jsonl", "--rotate", "60B"), "record");
    feed_range(h, 4, 5);
    finish(h, "record");
    expect_file("o.1.jsonl", "{\"id\": \"doc2\", \"n\": 2}\n{\"id\": \"doc3\", \"n\": 3}\n");
    expect_file("o.2.jsonl", "{\"id\": \"doc4\", \"n\": 4}\n");
}

Test(write_rotate, what_only_lines_can_do_is_refused_elsewhere)
{
    expect_refused(ARGS("-o", "v.npy", "--append"), "vector", THEA_EUSAGE, "--append: the format npy makes");
    expect_refused(ARGS("-o", "o", "--format", "table", "--rotate", "1MiB"), "record", THEA_EUSAGE,
                   "--rotate: the format table");
    expect_refused(ARGS("--append"), "record", THEA_EUSAGE, "needs a file");
}
