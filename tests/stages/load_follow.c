/* load as it follows directories and files that grow, over real inotify. */
#include "tests/stages/source.h"

TestSuite(load_follow, .init = scratch_make, .fini = scratch_remove);

static void add_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static struct harness *follow(const char *what)
{
    return open_source(ARGS("--follow", what), "docs");
}

Test(load_follow, a_new_file_is_a_document_once_it_is_closed)
{
    mkdir("d", 0755);
    put_text_file("d/a.txt", "there before");
    struct harness *h = follow("d");
    expect(h, "0 d/a.txt: there before");
    expect_quiet(h);
    int fd = open("d/b.txt", O_WRONLY | O_CREAT, 0644);
    cr_assert_eq(write(fd, "first half, ", 12), 12);
    expect_quiet(h);
    cr_assert_eq(write(fd, "second half", 11), 11);
    close(fd);
    expect(h, "1 d/b.txt: first half, second half");
    expect_quiet(h);
    harness_close(h);
}

/* No more events: what is left of those that opening and closing made. */
static void settle(struct harness *h)
{
    struct thea_err err = {0};
    do cr_assert_eq(stage_source_step(harness_stage(h), &err), THEA_AGAIN, "%s", err.message);
    while (harness_stage(h)->wait_count == 0 || wait_source(h, 100) > 0);
}

Test(load_follow, without_news_an_op_returns_at_once_and_says_what_it_waits_for)
{
    mkdir("d", 0755);
    struct harness *h = follow("d");
    settle(h);
    cr_assert_eq(wait_source(h, 0), 0, "it waits for what is there");
    put_text_file("d/a.txt", "news");
    cr_assert_gt(wait_source(h, 10000), 0, "what it waits for does not wake it");
    expect(h, "0 d/a.txt: news");
    harness_close(h);
}

Test(load_follow, a_file_that_is_being_written_at_the_start_is_waited_for)
{
    mkdir("d", 0755);
    int fd = open("d/a.txt", O_WRONLY | O_CREAT, 0644);
    cr_assert_eq(write(fd, "half", 4), 4);
    struct harness *h = follow("d");
    expect_quiet(h);
    cr_assert_eq(write(fd, " and all", 8), 8);
    close(fd);
    expect(h, "0 d/a.txt: half and all");
    harness_close(h);
}

Test(load_follow, a_file_moved_in_is_a_document_and_one_renamed_is_not_another)
{
    mkdir("d", 0755);
    put_text_file("outside.txt", "moved");
    put_text_file("d/.hidden", "made, then named");
    struct harness *h = follow("d");
    expect_quiet(h);
    cr_assert_eq(rename("outside.txt", "d/inside.txt"), 0);
    expect(h, "0 d/inside.txt: moved");
    cr_assert_eq(rename("d/.hidden", "d/shown.txt"), 0);
    expect(h, "1 d/shown.txt: made, then named");
    cr_assert_eq(rename("d/shown.txt", "d/again.txt"), 0);
    expect_quiet(h);
    seek(h, 1);
    expect(h, "1 d/shown.txt: made, then named");
    harness_close(h);
}

Test(load_follow, new_directories_are_followed_and_excluded_names_are_not)
{
    mkdir("d", 0755);
    struct harness *h = follow("d");
    expect_quiet(h);
    mkdir("d/build", 0755);
    mkdir("d/new", 0755);
    mkdir("d/new/deep", 0755);
    put_text_file("d/build/no.txt", "no");
    put_text_file("d/new/deep/yes.txt", "yes");
    expect(h, "0 d/new/deep/yes.txt: yes");
    put_text_file("d/new/deep/more.txt", "more");
    expect(h, "1 d/new/deep/more.txt: more");
    mkdir("apart", 0755);
    put_text_file("apart/in.txt", "in");
    cr_assert_eq(rename("apart", "d/apart"), 0);
    expect(h, "2 d/apart/in.txt: in");
    put_text_file("d/.dot.txt", "no");
    expect_quiet(h);
    harness_close(h);
}

Test(load_follow, a_pattern_takes_what_fits_and_nothing_else)
{
    mkdir("d", 0755);
    mkdir("d/sub", 0755);
    struct harness *h = follow("d/**/*.md");
    put_text_file("d/a.txt", "no");
    put_text_file("d/a.md", "A");
    expect(h, "0 d/a.md: A");
    put_text_file("d/sub/b.md", "B");
    expect(h, "1 d/sub/b.md: B");
    put_text_file("elsewhere.md", "no");
    expect_quiet(h);
    harness_close(h);
}

Test(load_follow, a_link_to_a_file_counts_when_it_is_made)
{
    mkdir("d", 0755);
    put_text_file("a.txt", "linked");
    struct harness *h = follow("d");
    expect_quiet(h);
    cr_assert_eq(link("a.txt", "d/hard.txt"), 0);
    expect(h, "0 d/hard.txt: linked");
    cr_assert_eq(symlink("../a.txt", "d/soft.txt"), 0);
    expect(h, "1 d/soft.txt: linked");
    harness_close(h);
}

Test(load_follow, what_is_not_text_is_left_out_and_takes_no_number)
{
    mkdir("d", 0755);
    struct harness *h = follow("d");
    put_file("d/a.bin", "a\0b", 3);
    put_text_file("d/b.txt", "B");
    expect(h, "0 d/b.txt: B");
    cr_assert_eq(harness_page(h)->skipped, 1);
    harness_close(h);
}

Test(load_follow, a_text_that_was_read_is_not_read_again_when_it_changes)
{
    mkdir("d", 0755);
    put_text_file("d/a.txt", "one");
    struct harness *h = follow("d");
    expect(h, "0 d/a.txt: one");
    put_text_file("d/a.txt", "two");
    expect_quiet(h);
    cr_assert_eq(unlink("d/a.txt"), 0);
    put_text_file("d/a.txt", "a new file of that name");
    expect(h, "1 d/a.txt: a new file of that name");
    harness_close(h);
}

Test(load_follow, json_lines_grow_by_whole_lines)
{
    put_text_file("r.jsonl", "{\"text\": \"one\"}\n");
    struct harness *h = follow("r.jsonl");
    expect(h, "0 r.jsonl:1: one");
    expect_quiet(h);
    add_text("r.jsonl", "{\"text\": ");
    expect_quiet(h);
    add_text("r.jsonl", "\"two\"}\n{\"text\": \"three\"}\n{\"te");
    expect(h, "1 r.jsonl:2: two");
    expect(h, "2 r.jsonl:3: three");
    expect_quiet(h);
    add_text("r.jsonl", "xt\": \"four\"}\n");
    expect(h, "3 r.jsonl:4: four");
    seek(h, 1);
    expect(h, "1 r.jsonl:2: two");
    harness_close(h);
}

Test(load_follow, a_bad_line_is_a_document_that_fails_and_the_next_is_read)
{
    put_text_file("r.jsonl", "{\"text\": \"one\"}\nbad\n{\"text\": \"three\"}\n");
    struct harness *h = follow("r.jsonl");
    expect(h, "0 r.jsonl:1: one");
    const char *document = next_document(h, "docs");
    cr_assert_not_null(strstr(document, "1 r.jsonl, record 2 ! r.jsonl:2:"), "%s", document);
    expect(h, "2 r.jsonl:3: three");
    harness_close(h);
}

Test(load_follow, files_that_grow_side_by_side_do_not_wait_for_each_other)
{
    mkdir("d", 0755);
    put_text_file("d/a.jsonl", "{\"id\": \"a1\", \"text\": \"x\"}\n");
    put_text_file("d/b.jsonl", "{\"id\": \"b1\", \"text\": \"x\"}\n");
    struct harness *h = follow("d");
    expect(h, "0 a1: x");
    expect(h, "1 b1: x");
    add_text("d/b.jsonl", "{\"id\": \"b2\", \"text\": \"x\"}\n");
    expect(h, "2 b2: x");
    add_text("d/a.jsonl", "{\"id\": \"a2\", \"text\": \"x\"}\n");
    expect(h, "3 a2: x");
    put_text_file("d/c.jsonl", "{\"id\": \"c1\", \"text\": \"x\"}\n");
    expect(h, "4 c1: x");
    for (uint64_t i = 0; i < 5; i++) {
        static const char *const made[] = {"0 a1: x", "1 b1: x", "2 b2: x", "3 a2: x", "4 c1: x"};
        seek(h, 4 - i);
        expect(h, made[4 - i]);
    }
    harness_close(h);
}

Test(load_follow, a_renamed_file_is_read_on_and_its_successor_from_the_beginning)
{
    mkdir("d", 0755);
    put_text_file("d/log.jsonl", "{\"text\": \"1\"}\n");
    struct harness *h = follow("d/log.jsonl");
    expect(h, "0 d/log.jsonl:1: 1");
    int writer = open("d/log.jsonl", O_WRONLY | O_APPEND);
    cr_assert_eq(rename("d/log.jsonl", "d/log.jsonl.1"), 0);
    cr_assert_eq(write(writer, "{\"text\": \"2\"}\n", 14), 14);
    close(writer);
    expect(h, "1 d/log.jsonl:2: 2");
    put_text_file("d/log.jsonl", "{\"text\": \"new\"}\n");
    expect(h, "2 d/log.jsonl:1: new");
    seek(h, 0);
    expect(h, "0 d/log.jsonl:1: 1");
    harness_close(h);
    h = follow("d/log.jsonl");
    seek(h, 1);
    expect(h, "1 d/log.jsonl:2: 2");
    expect(h, "2 d/log.jsonl:1: new");
    harness_close(h);
}

Test(load_follow, a_file_cut_short_is_read_from_its_beginning_and_lost_records_fail)
{
    put_text_file("r.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    struct harness *h = follow("r.jsonl");
    expect(h, "0 r.jsonl:1: one");
    expect(h, "1 r.jsonl:2: two");
    cr_assert_eq(truncate("r.jsonl", 0), 0);
    add_text("r.jsonl", "{\"text\": \"1\"}\n");
    expect(h, "2 r.jsonl:1: 1");
    seek(h, 1);
    const char *document = next_document(h, "docs");
    cr_assert_not_null(strstr(document, "1 r.jsonl, record 2 ! "), "%s", document);
    expect(h, "2 r.jsonl:1: 1");
    harness_close(h);
}

Test(load_follow, another_process_goes_on_with_what_came_while_nobody_looked)
{
    mkdir("d", 0755);
    put_text_file("d/b.txt", "B");
    put_text_file("d/r.jsonl", "{\"text\": \"1\"}\n");
    struct harness *h = follow("d");
    expect(h, "0 d/b.txt: B");
    expect(h, "1 d/r.jsonl:1: 1");
    harness_close(h);
    put_text_file("d/a.txt", "A");
    add_text("d/r.jsonl", "{\"text\": \"2\"}\n");
    h = follow("d");
    expect(h, "0 d/b.txt: B");
    expect(h, "1 d/r.jsonl:1: 1");
    const char *document = next_document(h, "docs");
    bool text_first = strcmp(document, "2 d/a.txt: A") == 0;
    cr_assert(text_first || strcmp(document, "2 d/r.jsonl:2: 2") == 0, "%s", document);
    expect(h, text_first ? "3 d/r.jsonl:2: 2" : "3 d/a.txt: A");
    expect_quiet(h);
    harness_close(h);
}

Test(load_follow, nothing_to_follow_is_an_error)
{
    struct harness *h;
    struct thea_err err = {0};
    cr_assert_eq(harness_open(&h, &load_ops, ARGS("--follow"), ARGS("docs"), &err), THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, "nothing to follow"), "%s", err.message);
    cr_assert_eq(harness_open(&h, &load_ops, ARGS("--follow", "nowhere"), ARGS("docs"), &err), THEA_ENOINPUT);
}

Test(load_follow, by_hand_it_follows_too)
{
    struct harness *h;
    struct thea_err err = {0};
    mkdir("d", 0755);
    put_text_file("d/r.jsonl", "{\"text\": \"1\"}\n{\"text\": \"2\"}\n");
    put_text_file("d/s.txt", "S");
    cr_assert_eq(harness_open(&h, &load_ops, ARGS("--follow", "d"), ARGS("docs"), &err), THEA_OK, "%s",
                 err.message);
    expect(h, "0 d/s.txt: S");
    expect(h, "1 d/r.jsonl:1: 1");
    expect(h, "2 d/r.jsonl:2: 2");
    add_text("d/r.jsonl", "{\"text\": \"3\"}\n");
    expect(h, "3 d/r.jsonl:3: 3");
    harness_close(h);
}

/* Written while it is read, by another process, in pieces that end anywhere. */
Test(load_follow, nothing_is_lost_of_what_is_written_while_it_is_read)
{
    enum { RECORDS = 3000 };
    put_text_file("r.jsonl", "");
    struct harness *h = follow("r.jsonl");
    struct buf all = {0};
    for (int i = 0; i < RECORDS; i++) buf_printf(&all, "{\"text\": \"%d\"}\n", i);
    int fd = open("r.jsonl", O_WRONLY | O_APPEND);
    size_t written = 0;
    unsigned random = 7;
    for (int i = 0; i < RECORDS; i++) {
        char document[64];
        while (written < all.len && written < (size_t)i * 16 + 2000) {
            random = random * 1103515245 + 12345;
            size_t n = 1 + random / 65536 % 700;
            if (n > all.len - written) n = all.len - written;
            cr_assert_eq(write(fd, all.data + written, n), (ssize_t)n);
            written += n;
        }
        snprintf(document, sizeof document, "%d r.jsonl:%d: %d", i, i + 1, i);
        expect(h, document);
    }
    close(fd);
    buf_fini(&all);
    harness_close(h);
}
