/* The spool: bytes that come once, kept over deaths. */
#include "tests/stages/source.h"

#include "stages/support/spool.h"
#include "tests/support/run.h"

#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

TestSuite(spool, .init = scratch_make, .fini = scratch_remove);

static void open_spool(struct spool *s, const char *dir, bool lines)
{
    struct thea_err err = {0};
    cr_assert_eq(spool_open(s, dir, "load", UINT64_MAX, lines, &err), THEA_OK, "%s", err.message);
}

static void append(struct spool *s, const char *text)
{
    struct thea_err err = {0};
    cr_assert_eq(spool_append(s, text, strlen(text), &err), THEA_OK, "%s", err.message);
}

static void expect_bytes(struct spool *s, uint64_t from, const char *text)
{
    size_t n = strlen(text);
    for (size_t at = 0; at < n;) {
        char got[64];
        ssize_t m = spool_read(s, got, sizeof got < n - at ? sizeof got : n - at, from + at);
        cr_assert(m > 0 && memcmp(got, text + at, (size_t)m) == 0, "at %zu", at);
        at += (size_t)m;
    }
}

Test(spool, bytes_come_back_across_segments_and_processes)
{
    struct spool s;
    open_spool(&s, scratch, false);
    s.segment_bytes = 4;
    append(&s, "abcdef");
    append(&s, "gh");
    append(&s, "ij");
    append(&s, "klmn");
    cr_assert_eq(s.count, 3, "one that is full is followed by another");
    expect_bytes(&s, 0, "abcdefghijklmn");
    expect_bytes(&s, 5, "fghij");
    cr_assert_eq(spool_read(&s, (char[4]){0}, 4, 14), 0);
    spool_fini(&s);
    open_spool(&s, scratch, false);
    cr_assert(s.count == 3 && s.end == 14 && !s.ended);
    expect_bytes(&s, 0, "abcdefghijklmn");
    spool_fini(&s);
}

Test(spool, trimming_takes_whole_segments_and_never_the_last)
{
    struct spool s;
    open_spool(&s, scratch, false);
    s.segment_bytes = 4;
    append(&s, "abcd");
    append(&s, "efgh");
    append(&s, "ij");
    spool_trim(&s, 7);
    cr_assert(s.begin == 4 && s.count == 2);
    expect_bytes(&s, 4, "efghij");
    cr_assert_eq(spool_read(&s, (char[4]){0}, 4, 3), -1, "what was trimmed is an error, not an end");
    spool_trim(&s, 10);
    cr_assert(s.begin == 8 && s.count == 1);
    spool_fini(&s);
    open_spool(&s, scratch, false);
    cr_assert(s.begin == 8 && s.end == 10);
    append(&s, "kl");
    expect_bytes(&s, 8, "ijkl");
    spool_fini(&s);
}

Test(spool, half_a_line_of_a_dead_process_is_cut)
{
    struct spool s;
    open_spool(&s, scratch, true);
    append(&s, "one\ntwo\nthr");
    spool_fini(&s);
    open_spool(&s, scratch, true);
    cr_assert_eq(s.end, 8);
    append(&s, "four\n");
    expect_bytes(&s, 0, "one\ntwo\nfour\n");
    spool_fini(&s);
}

Test(spool, a_missing_segment_is_refused)
{
    struct spool s;
    struct thea_err err = {0};
    open_spool(&s, scratch, false);
    s.segment_bytes = 4;
    append(&s, "abcd");
    append(&s, "efgh");
    append(&s, "ij");
    spool_fini(&s);
    cr_assert_eq(unlink("spool/load/00000000000000000004"), 0);
    cr_assert_eq(spool_open(&s, scratch, "load", 1, false, &err), THEA_EDATA);
    cr_assert_not_null(strstr(err.message, "bytes 4 to 8 are missing"), "%s", err.message);
    spool_fini(&s);
}

Test(spool, a_full_disk_adds_nothing)
{
    struct spool s;
    struct thea_err err = {0};
    open_spool(&s, scratch, false);
    append(&s, "abc");
    int real = s.segments[0].fd;
    s.segments[0].fd = open("/dev/full", O_RDWR);
    cr_assert_eq(spool_append(&s, "def", 3, &err), THEA_EIO);
    cr_assert_not_null(strstr(err.message, "No space left"), "%s", err.message);
    close(s.segments[0].fd);
    s.segments[0].fd = real;
    cr_assert_eq(s.end, 3);
    append(&s, "ghi");
    expect_bytes(&s, 0, "abcghi");
    spool_fini(&s);
}

static void take_all(struct spool *s, int fd)
{
    struct thea_err err = {0};
    thea_rc rc;
    do rc = spool_take(s, fd, &err);
    while (rc == THEA_OK);
    cr_assert_eq(rc, THEA_DONE, "%s", err.message);
}

Test(spool, a_pipe_a_file_and_a_socketless_device_are_taken_to_their_end_which_is_remembered)
{
    struct spool s;
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], "from a pipe", 11), 11);
    close(ends[1]);
    open_spool(&s, scratch, false);
    s.segment_bytes = 4;
    take_all(&s, ends[0]);
    expect_bytes(&s, 0, "from a pipe");
    spool_fini(&s);
    open_spool(&s, scratch, false);
    cr_assert(s.ended);
    spool_fini(&s);

    put_text_file("in", "skipped, from a file");
    int fd = open("in", O_RDONLY);
    lseek(fd, 9, SEEK_SET);
    open_spool(&s, NULL, false);
    take_all(&s, fd);
    expect_bytes(&s, 0, "from a file");
    spool_fini(&s);
    close(fd);

    fd = open("/proc/self/stat", O_RDONLY); /* has no size */
    open_spool(&s, NULL, false);
    take_all(&s, fd);
    cr_assert_gt(s.end, 10);
    spool_fini(&s);
    fd = open("/dev/null", O_RDONLY);
    open_spool(&s, NULL, false);
    take_all(&s, fd);
    cr_assert_eq(s.end, 0);
    spool_fini(&s);
}

/* --- load over a pipe, killed --- */

/* thea-load over the pipe that is our stdin, until its end or its death; true: it was killed. */
static bool run_load(const char *fault, const char *const *args)
{
    char path[PATH_MAX];
    const char *argv[16] = {path, "--name", "load", "--run-dir", scratch};
    size_t n = 5;
    snprintf(path, sizeof path, "%s/thea-load", run_bin_dir());
    for (; *args != NULL; args++) argv[n++] = *args;
    setenv("THEA_FAULT", fault, 1); /* this process has looked at its own already */
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    cr_assert_eq(posix_spawn(&pid, path, &actions, NULL, (char *const *)(uintptr_t)argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : status == 0, "%d", status);
    return WIFSIGNALED(status);
}

/* A child that writes `count` records into our stdin, as fast as they are taken. */
static void feed_stdin(int count)
{
    static char script[160];
    snprintf(script, sizeof script,
             "i=0; while [ $i -lt %d ]; do echo '{\"text\": \"'$i'\"}'; i=$((i+1)); done", count);
    const char *argv[] = {"sh", "-c", script, NULL};
    int ends[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(fcntl(ends[0], F_SETPIPE_SZ, 4096), 4096); /* so that it takes many turns */
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    cr_assert_eq(posix_spawnp(&pid, "sh", &actions, NULL, (char *const *)(uintptr_t)argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
}

Test(spool, a_source_killed_at_any_point_loses_no_record_of_a_pipe)
{
    static const char *const points[] = {"source.spool:%d", "source.spooled:%d", "source.manifest:%d",
                                         "source.numbered:%d"};
    enum { RECORDS = 20000 };
    int killed = 0;
    feed_stdin(RECORDS);
    for (int i = 0; i < 24; i++) {
        char fault[64];
        snprintf(fault, sizeof fault, points[i % 4], 1 + i / 4 % 2);
        killed += run_load(fault, ARGS("--format", "jsonl", "-"));
    }
    cr_assert_eq(killed, 24, "%d", killed);
    struct harness *h = open_source(ARGS("--format", "jsonl", "-"), "docs");
    for (int i = 0; i < RECORDS; i++) {
        char document[64];
        snprintf(document, sizeof document, "%d stdin:%d: %d", i, i + 1, i);
        cr_assert_str_eq(next_document(h, "docs"), document);
    }
    cr_assert_str_eq(next_document(h, "docs"), "");
    seek(h, 4321);
    cr_assert_str_eq(next_document(h, "docs"), "4321 stdin:4322: 4321");
    harness_close(h);
}

Test(spool, text_of_a_pipe_is_sent_again_from_its_beginning)
{
    stdin_is("a document that comes once: é\n");
    cr_assert(run_load("source.spooled:1", ARGS("-")));
    struct harness *h = open_source(ARGS("-"), "docs");
    cr_assert_str_eq(next_document(h, "docs"), "0 stdin: a document that comes once: é\n");
    seek(h, 0);
    cr_assert_str_eq(next_document(h, "docs"), "0 stdin: a document that comes once: é\n");
    cr_assert_str_eq(next_document(h, "docs"), "");
    harness_close(h);
}

Test(spool, a_bad_record_of_a_run_fails_alone)
{
    stdin_is("{\"id\": \"a\", \"text\": \"A\"}\nnot json\n{\"id\": \"b\", \"text\": \"B\"}");
    struct harness *h = open_source(ARGS("--format", "jsonl", "-"), "docs");
    cr_assert_str_eq(next_document(h, "docs"), "0 a: A");
    const char *document = next_document(h, "docs");
    cr_assert_not_null(strstr(document, "1 stdin, record 2 ! stdin:2:"), "%s", document);
    cr_assert_str_eq(next_document(h, "docs"), "2 b: B");
    cr_assert_str_eq(next_document(h, "docs"), "");
    harness_close(h);
}

Test(spool, text_of_a_run_that_is_not_text_fails_as_a_document)
{
    stdin_is("good \xFF bad");
    struct harness *h = open_source(ARGS("-"), "docs");
    const char *document = next_document(h, "docs");
    cr_assert_not_null(strstr(document, "stdin ! stdin: byte 5: not UTF-8"), "%s", document);
    cr_assert_str_eq(next_document(h, "docs"), "");
    harness_close(h);
}
