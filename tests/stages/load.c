/* load: what becomes a document, what is left out, what is refused. Lines of JSON: load_records.c. */
#include "tests/stages/loading.h"

#include <signal.h>

TestSuite(load, .init = scratch_make, .fini = scratch_remove);

static void make_tree(void)
{
    mkdir("notes", 0755), mkdir("notes/deep", 0755), mkdir("notes/deep/er", 0755), mkdir("notes/.git", 0755),
        mkdir("notes/build", 0755);
    put_text_file("notes/b.md", "b\n");
    put_text_file("notes/a.md", "a\n");
    put_text_file("notes/c.txt", "c\n");
    put_text_file("notes/deep/d.md", "d\n");
    put_text_file("notes/deep/er/e.md", "e\n");
    put_text_file("notes/.git/config", "no\n");
    put_text_file("notes/.hidden.md", "no\n");
    put_text_file("notes/build/x.md", "no\n");
}

Test(load, a_file_is_a_document_with_its_id_path_and_size)
{
    struct loaded l;
    put_text_file("a.txt", "hello\n");
    load(&l, ARGS("a.txt"));
    expect_ids(&l, ARGS("a.txt"));
    cr_assert_str_eq(buf_text(&l.text[0]), "hello\n");
    const struct frame *f = harness_frame(l.h, "docs", 0);
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/a.txt", scratch);
    cr_assert_str_eq(frame_attr_text(f, "path", ""), path);
    cr_assert_eq(frame_attr_int(f, "bytes", -1), 6);
    done(&l);
}

Test(load, a_directory_is_walked_in_order_without_dot_names_and_build)
{
    struct loaded l;
    make_tree();
    load(&l, ARGS("notes"));
    expect_ids(&l, ARGS("notes/a.md", "notes/b.md", "notes/c.txt", "notes/deep/d.md", "notes/deep/er/e.md"));
    cr_assert_eq(harness_page(l.h)->documents_total, 5);
    done(&l);
}

Test(load, two_stars_match_any_depth_and_none)
{
    struct loaded l;
    make_tree();
    load(&l, ARGS("notes/**/*.md"));
    expect_ids(&l, ARGS("notes/a.md", "notes/b.md", "notes/deep/d.md", "notes/deep/er/e.md"));
    done(&l);
    load(&l, ARGS("**/deep/**/e.md"));
    expect_ids(&l, ARGS("notes/deep/er/e.md"));
    done(&l);
    load(&l, ARGS("notes/*.[mt]*"));
    expect_ids(&l, ARGS("notes/a.md", "notes/b.md", "notes/c.txt"));
    done(&l);
}

Test(load, a_file_named_twice_is_visited_once)
{
    struct loaded l;
    make_tree();
    load(&l, ARGS("notes/b.md", "notes/../notes/b.md", "notes/*.md"));
    expect_ids(&l, ARGS("notes/b.md", "notes/a.md"));
    done(&l);
}

Test(load, what_is_named_is_not_excluded)
{
    struct loaded l;
    make_tree();
    load(&l, ARGS("notes/.hidden.md", "notes/build", "notes/.git/*"));
    expect_ids(&l, ARGS("notes/.hidden.md", "notes/build/x.md", "notes/.git/config"));
    done(&l);
}

Test(load, exclude_takes_patterns_of_names)
{
    struct loaded l;
    make_tree();
    load(&l, ARGS("--exclude", ".*,deep", "--exclude", "*.txt", "notes"));
    expect_ids(&l, ARGS("notes/a.md", "notes/b.md", "notes/build/x.md"));
    done(&l);
}

Test(load, ids_are_relative_to_base_or_absolute)
{
    struct loaded l;
    char outside[PATH_MAX + 16];
    make_tree();
    put_text_file("out.md", "o");
    snprintf(outside, sizeof outside, "%s/out.md", scratch);
    load(&l, ARGS("--base", "notes/deep", "notes/deep/er/../d.md", "out.md"));
    expect_ids(&l, ARGS("d.md", outside));
    done(&l);
}

Test(load, a_loop_of_symbolic_links_ends)
{
    struct loaded l;
    make_tree();
    cr_assert_eq(symlink("..", "notes/deep/up"), 0);
    cr_assert_eq(symlink("self", "notes/self"), 0);
    cr_assert_eq(symlink("../a.md", "notes/deep/linked.md"), 0);
    load(&l, ARGS("notes/**/*.md"));
    expect_ids(&l, ARGS("notes/a.md", "notes/b.md", "notes/deep/d.md", "notes/deep/er/e.md",
                        "notes/deep/linked.md"));
    done(&l);
}

Test(load, a_linked_directory_that_is_named_is_followed)
{
    struct loaded l;
    make_tree();
    cr_assert_eq(symlink("notes/deep", "link"), 0);
    load(&l, ARGS("link/*.md"));
    expect_ids(&l, ARGS("notes/deep/d.md"));
    done(&l);
}

Test(load, text_goes_in_pieces_cut_at_characters)
{
    struct loaded l;
    struct buf text = {0};
    buf_add_text(&text, "x");
    for (int i = 0; i < 70000; i++) buf_add_text(&text, i % 2 == 0 ? "é" : "🌲");
    put_file("long.txt", text.data, text.len);
    load(&l, ARGS("long.txt"));
    cr_assert_eq(l.text[0].len, text.len);
    cr_assert_eq(memcmp(l.text[0].data, text.data, text.len), 0);
    for (size_t i = 0; i < harness_count(l.h, "docs"); i++) {
        const struct tensor *t = frame_tensor(harness_frame(l.h, "docs", i), "text");
        if (t == NULL) continue;
        cr_assert_leq(t->size_bytes, 65536);
        cr_assert_neq(((const unsigned char *)t->data)[0] & 0xC0, 0x80, "piece %zu begins inside a character",
                      i);
    }
    buf_fini(&text);
    done(&l);
}

Test(load, an_empty_file_is_a_document_without_text)
{
    struct loaded l;
    put_text_file("empty.txt", "");
    load(&l, ARGS("empty.txt"));
    expect_ids(&l, ARGS("empty.txt"));
    cr_assert_eq(l.text[0].len, 0);
    cr_assert_eq(frame_attr_int(harness_frame(l.h, "docs", 0), "bytes", -1), 0);
    done(&l);
}

Test(load, binary_broken_and_long_files_are_left_out_whole_and_counted)
{
    struct loaded l;
    char big[2000];
    memset(big, 'x', sizeof big);
    put_text_file("a.txt", "good\n");
    put_file("b.txt", "text\0text", 9);
    put_file("c.txt", "caf\xE9 au lait", 12);
    put_file("d.txt", "cut \xF0\x9F\x8C", 7); /* ends inside a character */
    put_file("e.txt", big, sizeof big);
    put_file("f.txt", "\xED\xA0\x80", 3); /* a surrogate */
    put_file("g.txt", "\xC0\xAF", 2);     /* overlong */
    load(&l, ARGS("--max-bytes", "1KiB", "."));
    expect_ids(&l, ARGS("a.txt"));
    cr_assert_eq(harness_page(l.h)->skipped, 6);
    cr_assert_eq(harness_page(l.h)->documents_total, 1);
    cr_assert_not_null(strstr(harness_page(l.h)->skipped_reasons, "not UTF-8"), "%s",
                       harness_page(l.h)->skipped_reasons);
    cr_assert_not_null(strstr(harness_page(l.h)->skipped_reasons, "binary"));
    cr_assert_not_null(strstr(harness_page(l.h)->skipped_reasons, "over 1 KiB"));
    done(&l);
}

Test(load, a_bad_byte_at_the_end_of_a_long_file_is_found_before_the_first_frame)
{
    struct loaded l;
    struct buf text = {0};
    for (int i = 0; i < 30000; i++) buf_add_text(&text, "line ");
    buf_add(&text, "\xFF", 1);
    put_file("long.txt", text.data, text.len);
    load(&l, ARGS("long.txt"));
    cr_assert_eq(l.count, 0);
    cr_assert_eq(harness_page(l.h)->skipped, 1);
    buf_fini(&text);
    done(&l);
}

Test(load, what_may_not_be_read_is_left_out_by_name)
{
    struct loaded l;
    mkdir("open", 0755), mkdir("open/closed", 0755);
    put_text_file("open/a.txt", "a");
    put_text_file("open/secret.txt", "s");
    cr_assert_eq(chmod("open/secret.txt", 0), 0);
    cr_assert_eq(chmod("open/closed", 0), 0);
    cr_assert_eq(chmod(scratch, 0755), 0);
    uid_t was = geteuid();
    if (was == 0) cr_assert_eq(seteuid(65534), 0); /* root may read everything */
    load(&l, ARGS("open"));
    if (was == 0) cr_assert_eq(seteuid(0), 0);
    expect_ids(&l, ARGS("open/a.txt"));
    cr_assert_eq(harness_page(l.h)->skipped, 2);
    cr_assert_not_null(strstr(harness_page(l.h)->skipped_reasons, "unreadable"));
    chmod("open/closed", 0755);
    done(&l);
}

/* Root may read everything, so the test is somebody else for a while. */
static void expect_refused(const char *const *args, thea_rc expected, const char *part)
{
    uid_t was = geteuid();
    cr_assert_eq(chmod(scratch, 0755), 0);
    if (was == 0) cr_assert_eq(seteuid(65534), 0);
    struct loaded l;
    struct thea_err err = {0};
    thea_rc rc = load_ports(&l, args, ARGS("docs"), &err);
    if (was == 0) cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(rc, expected, "%d: %s", rc, err.message);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
    cr_assert_eq(l.count, 0, "nothing was read");
    done(&l);
}

Test(load, what_is_named_and_may_not_be_read_is_an_error_before_anything_is_read)
{
    mkdir("closed", 0755);
    put_text_file("closed/inside.txt", "i");
    put_text_file("a.txt", "a");
    put_text_file("secret.txt", "s");
    cr_assert_eq(chmod("secret.txt", 0), 0);
    cr_assert_eq(chmod("closed", 0), 0);
    expect_refused(ARGS("a.txt", "secret.txt"), THEA_EPERM, "'secret.txt': Permission denied");
    expect_refused(ARGS("a.txt", "closed"), THEA_EPERM, "'closed': Permission denied");
    expect_refused(ARGS("a.txt", "closed/inside.txt"), THEA_EPERM, "'closed/inside.txt': Permission denied");
    expect_refused(ARGS("a.txt", "missing.txt"), THEA_ENOINPUT, "'missing.txt': No such file");
    chmod("closed", 0755);
}

Test(load, a_socket_among_files_is_left_out)
{
    struct loaded l;
    mkdir("d", 0755);
    put_text_file("d/a.txt", "a");
    cr_assert_eq(mkfifo("d/pipe", 0644), 0);
    load(&l, ARGS("d"));
    expect_ids(&l, ARGS("d/a.txt"));
    cr_assert_eq(harness_page(l.h)->skipped, 1);
    done(&l);
}

Test(load, a_missing_file_is_an_error)
{
    put_text_file("a.txt", "a");
    expect_failure(ARGS("a.txt", "nowhere.txt"), THEA_ENOINPUT, "'nowhere.txt': No such file");
}

Test(load, a_link_to_nothing_is_an_error_when_named)
{
    cr_assert_eq(symlink("gone", "link.txt"), 0);
    expect_failure(ARGS("link.txt"), THEA_ENOINPUT, "symbolic link");
}

Test(load, a_glob_that_matches_nothing_says_where_it_looked_and_what_it_left_out)
{
    make_tree();
    expect_failure(ARGS("notes/**/*.rst"), THEA_ENOINPUT, "no file matches 'notes/**/*.rst'");
    expect_failure(ARGS("notes/.*/nothing*"), THEA_ENOINPUT, "by exclude: .*, build, node_modules");
    expect_failure(ARGS("nowhere/*.md"), THEA_ENOINPUT, "'nowhere/': No such file");
}

Test(load, an_empty_directory_is_an_error)
{
    mkdir("empty", 0755);
    expect_failure(ARGS("empty"), THEA_ENOINPUT, "no file matches 'empty'");
}

Test(load, a_missing_base_is_an_error)
{
    put_text_file("a.txt", "a");
    expect_failure(ARGS("--base", "nowhere", "a.txt"), THEA_ENOINPUT, "base 'nowhere'");
}

Test(load, stdin_is_a_document)
{
    struct loaded l;
    stdin_is("from a pipe: é\n");
    load(&l, (const char *const[]){NULL});
    expect_ids(&l, ARGS("stdin"));
    cr_assert_str_eq(buf_text(&l.text[0]), "from a pipe: é\n");
    cr_assert_null(frame_attr(harness_frame(l.h, "docs", 0), "path"));
    done(&l);
}

Test(load, a_named_pipe_is_a_document_under_its_name)
{
    struct loaded l;
    int ends[2];
    char name[32];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], "piped", 5), 5);
    close(ends[1]);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
    load(&l, ARGS(name));
    expect_ids(&l, ARGS(name));
    cr_assert_str_eq(buf_text(&l.text[0]), "piped");
    done(&l);
}

Test(load, bad_text_on_stdin_is_an_error_with_its_offset)
{
    stdin_is("good \xFF bad");
    expect_failure(ARGS("-"), THEA_EDATA, "stdin: byte 5: not UTF-8");
}

Test(load, too_much_on_stdin_is_an_error)
{
    stdin_is("0123456789");
    expect_failure(ARGS("--max-bytes", "8B", "-"), THEA_EDATA, "over 8 bytes");
}

Test(load, stdin_can_be_named_once)
{
    stdin_is("x");
    expect_failure(ARGS("-", "-"), THEA_EUSAGE, "twice");
}

Test(load, a_terminal_is_refused)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    cr_assert(terminal >= 0);
    dup2(terminal, STDIN_FILENO);
    expect_failure((const char *const[]){NULL}, THEA_EUSAGE, "stdin is a terminal");
}

Test(load, texts_of_the_command_line_are_prompts)
{
    struct loaded l;
    load(&l, ARGS("--text", "Once upon", "--text", "The"));
    expect_ids(&l, ARGS("prompt-1", "prompt-2"));
    cr_assert_str_eq(buf_text(&l.text[1]), "The");
    done(&l);
}
