/* journal: what survives a kill at any byte, a power cut, damage and a full disk. The scratch directory is in
 * memory: a test opens a journal thousands of times, and each opening flushes. */
#include "tests/graph/journal_scratch.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

TestSuite(journal, .init = scratch_make, .fini = scratch_remove);

/* --- in order --- */

Test(journal, commits_lie_one_behind_the_other_and_are_there_after_a_restart)
{
    struct journal *j = open_journal();
    commit(j, 7, "one\n");
    commit(j, 3, "");
    commit(j, 4, "three\n");
    cr_assert_eq(journal_tail(j), 10);
    journal_close(j);
    expect_file("out", "one\nthree\n");

    j = open_journal();
    cr_assert_eq(journal_found(j)->commits, 3);
    cr_assert_eq(journal_found(j)->cut_bytes, 0);
    cr_assert_eq(journal_found(j)->cut_lines, 0);
    cr_assert(ranges_has(journal_streams(j), 7) && ranges_has(journal_streams(j), 3));
    cr_assert(!ranges_has(journal_streams(j), 5));
    commit(j, 5, "four\n");
    journal_close(j);
    expect_file("out", "one\nthree\nfour\n");
}

Test(journal, a_result_in_parts_is_one_commit)
{
    struct journal *j = open_journal();
    char a[] = "ab", b[] = "cde";
    struct iovec parts[] = {{a, 2}, {b, 3}, {NULL, 0}};
    cr_assert_eq(journal_commit(j, 1, 0, parts, 3, NULL), THEA_OK);
    journal_close(j);
    j = open_journal();
    cr_assert_eq(journal_found(j)->commits, 1);
    expect_file("out", "abcde");
    journal_close(j);
}

Test(journal, asides_and_cancelled_streams_have_no_bytes_and_are_remembered)
{
    struct journal *j = open_journal();
    cr_assert_eq(journal_aside(j, 1, 3, "a \"reason\"\nof two lines", NULL), THEA_OK);
    cr_assert_eq(journal_cancel(j, 2, NULL), THEA_OK);
    journal_close(j);
    j = open_journal();
    cr_assert_eq(journal_found(j)->asides, 1);
    cr_assert_eq(journal_found(j)->commits, 0);
    cr_assert_eq(ranges_total(journal_streams(j)), 2);
    journal_close(j);
    expect_file("out", "");
}

Test(journal, a_first_start_empties_the_output_and_append_keeps_it)
{
    write_file("out", "old", 3);
    struct journal *j = open_journal();
    commit(j, 0, "new");
    journal_close(j);
    expect_file("out", "new");

    unlink("journal");
    options.append = true;
    j = open_journal();
    cr_assert_eq(journal_tail(j), 3);
    commit(j, 0, "er");
    journal_close(j);
    expect_file("out", "newer");
    j = open_journal();
    cr_assert_eq(journal_tail(j), 5);
    commit(j, 1, "!");
    journal_close(j);
    expect_file("out", "newer!");
}

Test(journal, an_output_shorter_than_it_was_before_appending_is_refused)
{
    write_file("out", "old", 3);
    options.append = true;
    journal_close(open_journal());
    cr_assert_eq(truncate("out", 2), 0);
    expect_refused(THEA_EDATA, "shorter than what is committed: 2 bytes of 3");
}

Test(journal, done_is_remembered_until_more_is_committed)
{
    struct journal *j = open_journal();
    commit(j, 0, "x");
    cr_assert_eq(journal_done(j, NULL), THEA_OK);
    journal_close(j);
    j = open_journal();
    cr_assert(journal_found(j)->done);
    commit(j, 1, "y");
    journal_close(j);
    j = open_journal();
    cr_assert(!journal_found(j)->done);
    journal_close(j);
}

Test(journal, rows_may_be_gone_once_it_is_done_and_not_before)
{
    options.rows = "rows";
    struct journal *j = open_journal();
    commit(j, 0, "x");
    cr_assert_eq(journal_sync(j, NULL), THEA_OK);
    journal_close(j);
    cr_assert_eq(rename("rows", "aside"), 0);
    expect_refused(THEA_EDATA, "'rows' is shorter than what is committed: it is not there");
    cr_assert_eq(rename("aside", "rows"), 0);
    j = open_journal();
    cr_assert_eq(journal_done(j, NULL), THEA_OK);
    journal_close(j);
    unlink("rows");
    j = open_journal();
    cr_assert(journal_found(j)->done);
    cr_assert_eq(journal_found(j)->commits, 1);
    cr_assert_eq(journal_output_fd(j), -1);
    journal_close(j);
    cr_assert_neq(access("rows", F_OK), 0, "nothing is made");
}

Test(journal, rotation_goes_on_in_the_next_file)
{
    struct journal *j = open_journal();
    commit(j, 0, "first");
    write_file("out.1", "left by another", 15);
    cr_assert_eq(journal_rotate(j, "out.1", NULL), THEA_OK);
    cr_assert_eq(journal_tail(j), 0);
    commit(j, 1, "second");
    journal_close(j);
    expect_file("out", "first");
    expect_file("out.1", "second");
    unlink("out"); /* somebody has taken it away */
    j = open_journal();
    cr_assert_eq(journal_file(j), 1);
    cr_assert_eq(journal_found(j)->commits, 2);
    commit(j, 2, "!");
    journal_close(j);
    expect_file("out.1", "second!");
}

Test(journal, a_file_that_was_to_come_by_rotation_is_made_when_it_is_missing)
{
    struct journal *j = open_journal();
    commit(j, 0, "first");
    cr_assert_eq(journal_rotate(j, "out.1", NULL), THEA_OK);
    journal_close(j);
    unlink("out.1");
    j = open_journal();
    commit(j, 1, "second");
    journal_close(j);
    expect_file("out.1", "second");
}

Test(journal, a_sync_is_due_after_its_interval_or_so_many_bytes)
{
    struct journal *j = open_journal();
    commit(j, 0, "x");
    size_t before = file_size("journal");
    cr_assert_eq(journal_tick(j, NULL), THEA_OK);
    cr_assert_eq(file_size("journal"), before, "UINT64_MAX: never by itself");
    journal_close(j);
    options.sync_interval_ns = 1;
    j = open_journal();
    commit(j, 1, "x");
    before = file_size("journal");
    cr_assert_eq(journal_tick(j, NULL), THEA_OK);
    size_t after = file_size("journal");
    cr_assert_gt(after, before);
    cr_assert_eq(journal_tick(j, NULL), THEA_OK);
    cr_assert_eq(file_size("journal"), after, "nothing is new");
    journal_close(j);

    options.sync_interval_ns = UINT64_MAX - 1;
    j = open_journal();
    char *much = calloc(1, JOURNAL_SYNC_BYTES);
    struct iovec part = {much, JOURNAL_SYNC_BYTES};
    cr_assert_eq(journal_commit(j, 2, 0, &part, 1, NULL), THEA_OK);
    before = file_size("journal");
    cr_assert_eq(journal_tick(j, NULL), THEA_OK);
    cr_assert_gt(file_size("journal"), before);
    journal_close(j);
    free(much);
}

/* --- kills and power cuts --- */

static const char *const results[] = {"one\n", "two, longer\n", "", "four\n", "5\n", "six six six\n"};
enum { RESULTS = 6, SYNCED = 2 };

struct story {
    char *journal, *out; /* of the run that was not disturbed */
    size_t journal_size, out_size, synced_journal, synced_out;
    size_t line_end[RESULTS], result_end[RESULTS];
};

static struct story tell(void)
{
    struct story s = {0};
    struct journal *j = open_journal();
    for (unsigned i = 0; i < RESULTS; i++) {
        commit(j, i, results[i]);
        if (i + 1 == SYNCED) {
            cr_assert_eq(journal_sync(j, NULL), THEA_OK);
            s.synced_journal = file_size("journal");
            s.synced_out = file_size("out");
        }
        s.line_end[i] = file_size("journal");
        s.result_end[i] = file_size("out");
    }
    journal_close(j);
    s.journal = read_file("journal", &s.journal_size);
    s.out = read_file("out", &s.out_size);
    return s;
}

static void forget(struct story *s)
{
    free(s->journal);
    free(s->out);
}

/* Recovery finds the results 0 … k-1 and their bytes alone; the rest, committed again, gives the same file.
 */
static void expect_recovered(const struct story *s, unsigned k)
{
    struct journal *j = open_journal();
    cr_assert_eq(journal_found(j)->commits, k, "%d of %u", (int)journal_found(j)->commits, k);
    cr_assert_eq(ranges_next_missing(journal_streams(j), 0), k);
    size_t size = k > 0 ? s->result_end[k - 1] : 0;
    cr_assert_eq(journal_tail(j), size);
    cr_assert_eq(file_size("out"), size);
    for (unsigned i = k; i < RESULTS; i++) commit(j, i, results[i]);
    journal_close(j);
    expect_file("out", s->out);
}

Test(journal, files_cut_anywhere_behind_the_last_sync_give_all_results_that_are_whole_in_both)
{
    struct story s = tell();
    for (size_t journal = s.synced_journal; journal <= s.journal_size; journal++) {
        for (size_t out = s.synced_out; out <= s.out_size; out++) {
            write_file("journal", s.journal, journal);
            write_file("out", s.out, out);
            unsigned k = SYNCED;
            while (k < RESULTS && s.line_end[k] <= journal && s.result_end[k] <= out) k++;
            expect_recovered(&s, k);
        }
    }
    forget(&s);
}

Test(journal, bytes_that_no_line_names_are_cut_and_counted)
{
    struct story s = tell();
    struct buf longer = {0};
    buf_add(&longer, s.out, s.out_size);
    buf_add_text(&longer, "half a resu");
    write_file("out", longer.data, longer.len);
    struct journal *j = open_journal();
    cr_assert_eq(journal_found(j)->cut_bytes, 11);
    cr_assert_eq(journal_found(j)->cut_lines, 0);
    journal_close(j);
    expect_file("out", s.out);
    buf_fini(&longer);
    forget(&s);
}

Test(journal, a_result_whose_bytes_never_reached_the_disk_is_cut_with_all_after_it)
{
    struct story s = tell();
    for (size_t at = s.synced_out; at < s.out_size; at++) {
        char *bad = malloc(s.out_size);
        memcpy(bad, s.out, s.out_size);
        bad[at] = '\0';
        write_file("journal", s.journal, s.journal_size);
        write_file("out", bad, s.out_size);
        unsigned k = 0;
        while (s.result_end[k] <= at) k++;
        expect_recovered(&s, k);
        free(bad);
    }
    forget(&s);
}

Test(journal, zeroes_in_place_of_lines_are_cut_with_all_after_them)
{
    struct story s = tell();
    for (size_t at = s.synced_journal; at < s.journal_size; at++) {
        write_file("out", s.out, s.out_size);
        char *bad = malloc(s.journal_size);
        memcpy(bad, s.journal, s.journal_size);
        memset(bad + at, 0, s.journal_size - at < 20 ? s.journal_size - at : 20);
        write_file("journal", bad, s.journal_size);
        unsigned k = SYNCED;
        while (s.line_end[k] <= at) k++;
        expect_recovered(&s, k);
        free(bad);
    }
    forget(&s);
}

Test(journal, a_first_start_that_died_at_any_byte_begins_again)
{
    write_file("out", "old", 3);
    options.append = true;
    journal_close(open_journal());
    size_t size = 0;
    char *whole = read_file("journal", &size);
    for (size_t n = 0; n <= size; n++) {
        write_file("journal", whole, n);
        struct journal *j = open_journal();
        cr_assert_eq(journal_tail(j), 3);
        commit(j, 0, "+");
        journal_close(j);
        expect_file("out", "old+");
        write_file("out", "old", 3);
    }
    free(whole);
}

/* --- damage --- */

static size_t line_start(const struct story *s, size_t end)
{
    size_t at = end - 1;
    while (at > 0 && s->journal[at - 1] != '\n') at--;
    return at;
}

Test(journal, a_bad_byte_before_the_last_sync_is_refused_and_nothing_is_touched)
{
    struct story s = tell();
    size_t end = line_start(&s, s.synced_journal);
    for (size_t at = 0; at + 1 < end; at++) { /* without that newline, the sync line is no line */
        for (int bit = 0; bit < 8; bit += 3) {
            char *bad = malloc(s.journal_size);
            memcpy(bad, s.journal, s.journal_size);
            bad[at] = (char)(bad[at] ^ 1 << bit);
            write_file("journal", bad, s.journal_size);
            expect_refused(THEA_EDATA, "is damaged at line");
            size_t size = 0;
            char *now = read_file("journal", &size);
            cr_assert(size == s.journal_size && memcmp(now, bad, size) == 0, "the journal was changed");
            expect_file("out", s.out);
            free(now);
            free(bad);
        }
    }
    forget(&s);
}

Test(journal, an_output_shorter_than_the_last_sync_says_is_refused_and_nothing_is_touched)
{
    struct story s = tell();
    for (size_t out = 0; out < s.synced_out; out++) {
        write_file("out", s.out, out);
        expect_refused(THEA_EDATA, "is shorter than what is committed");
        cr_assert_eq(file_size("out"), out);
        cr_assert_eq(file_size("journal"), s.journal_size);
    }
    unlink("out");
    expect_refused(THEA_EDATA, "it is not there, 0 bytes of 16");
    cr_assert_neq(access("out", F_OK), 0, "nothing is made");
    forget(&s);
}

/* A line that is whole but says what cannot be. */
static void expect_line_refused(const struct story *s, const char *json)
{
    struct buf text = {0};
    buf_add(&text, s->journal, s->synced_journal);
    buf_printf(&text, "%08x %s\n", crc32c(0, json, strlen(json)), json);
    write_file("out", s->out, s->out_size);
    write_file("journal", text.data, text.len);
    if (strstr(json, "sync") == NULL) expect_recovered(s, SYNCED); /* behind the last sync: cut off */

    const char *sync = "{\"what\": \"sync\", \"file\": 0, \"size\": 16}";
    buf_printf(&text, "%08x %s\n", crc32c(0, sync, strlen(sync)), sync);
    write_file("journal", text.data, text.len);
    expect_refused(THEA_EDATA, "is damaged");
    buf_fini(&text);
}

Test(journal, lines_that_do_not_follow_from_those_before_them_are_not_believed)
{
    static const char *const bad[] = {
        "{\"what\": \"commit\", \"stream\": 9, \"attempt\": 0, \"file\": 0, \"off\": 17, \"len\": 0, "
        "\"crc\": 0}",
        "{\"what\": \"commit\", \"stream\": 9, \"attempt\": 0, \"file\": 1, \"off\": 16, \"len\": 0, "
        "\"crc\": 0}",
        "{\"what\": \"commit\", \"stream\": 1, \"attempt\": 0, \"file\": 0, \"off\": 16, \"len\": 0, "
        "\"crc\": 0}",
        "{\"what\": \"commit\", \"stream\": 9, \"attempt\": 0, \"file\": 0, \"off\": 16, \"len\": "
        "9223372036854775807, \"crc\": 0}",
        "{\"what\": \"commit\", \"stream\": -1, \"attempt\": 0, \"file\": 0, \"off\": 16, \"len\": 0, "
        "\"crc\": 0}",
        "{\"what\": \"commit\", \"stream\": 9}",
        "{\"what\": \"sync\", \"file\": 0, \"size\": 17}",
        "{\"what\": \"sync\", \"file\": 1, \"size\": 16}",
        "{\"what\": \"rotate\", \"file\": 0, \"name\": \"x\"}",
        "{\"what\": \"rotate\", \"file\": 2, \"name\": \"x\"}",
        "{\"what\": \"rotate\", \"file\": 1, \"name\": 3}",
        "{\"what\": \"head\", \"run\": \"r\", \"format\": \"jsonl\", \"order\": \"input\", \"output\": "
        "\"out\", "
        "\"base\": 0}",
        "{\"what\": \"other\"}",
        "{\"stream\": 9}",
        "[]",
        "{",
    };
    struct story s = tell();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) expect_line_refused(&s, bad[i]);
    forget(&s);
}

Test(journal, a_line_longer_than_any_of_ours_is_passed_over)
{
    struct story s = tell();
    struct buf text = {0};
    buf_add(&text, s.journal, s.synced_journal);
    for (int i = 0; i < 300000; i++) buf_add_char(&text, 'x');
    write_file("journal", text.data, text.len);
    expect_recovered(&s, SYNCED);
    buf_fini(&text);
    forget(&s);
}

Test(journal, a_run_that_goes_on_differently_is_refused)
{
    journal_close(open_journal());
    struct journal_options was = options;
    options.format = "tsv";
    expect_refused(THEA_EUSAGE, "was begun with format 'jsonl', and now it is 'tsv'");
    options = was;
    options.order = "completion";
    expect_refused(THEA_EUSAGE, "order 'input'");
    options = was;
    options.output = "elsewhere";
    expect_refused(THEA_EUSAGE, "output 'out', and now it is 'elsewhere'");
    cr_assert_neq(access("elsewhere", F_OK), 0, "nothing is made");
}

Test(journal, what_cannot_be_opened_is_status_73)
{
    options.path = "no/such/journal";
    expect_refused(THEA_ECREATE, "cannot create 'no/such/journal'");
    options.path = "journal";
    options.output = "no/such/out";
    expect_refused(THEA_ECREATE, "cannot create 'no/such/out'");
    options.output = ".";
    options.path = "journal2";
    expect_refused(THEA_ECREATE, "Is a directory");
}

/* --- one writer --- */

static void *open_in_thread(void *unused)
{
    (void)unused;
    return open_journal();
}

/* /proc/locks shows one who waits as "-> FLOCK … PID". */
static bool somebody_waits(void)
{
    char mine[32], line[256];
    bool waits = false;
    snprintf(mine, sizeof mine, " %d ", (int)getpid());
    FILE *f = fopen("/proc/locks", "r");
    cr_assert_not_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        waits = waits || (strstr(line, "-> FLOCK") != NULL && strstr(line, mine) != NULL);
    fclose(f);
    return waits;
}

Test(journal, a_second_writer_waits_for_the_first_and_sees_all_it_committed, .timeout = 300)
{
    struct journal *first = open_journal(), *second = NULL;
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, open_in_thread, NULL), 0);
    while (!somebody_waits()) sched_yield();
    commit(first, 0, "late");
    journal_close(first);
    cr_assert_eq(pthread_join(thread, (void **)&second), 0);
    cr_assert_eq(journal_found(second)->commits, 1);
    journal_close(second);
    expect_file("out", "late");
}

/* --- a disk that is full --- */

/* The failed commit left nothing; with room again it goes through. */
static void expect_taken_back(struct journal *j, uint64_t stream, const char *result)
{
    cr_assert_eq(file_size("out"), journal_tail(j));
    size_t size = 0;
    char *text = read_file("journal", &size);
    cr_assert_eq(text[size - 1], '\n', "half a line is left");
    free(text);
    cr_assert(!ranges_has(journal_streams(j), stream));
    uint64_t tail = journal_tail(j);
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &none);
    unlink("ballast");
    commit(j, stream, result);
    journal_close(j);
    j = open_journal();
    cr_assert_eq(journal_found(j)->commits, stream + 1);
    cr_assert_eq(journal_found(j)->cut_bytes + journal_found(j)->cut_lines, 0);
    cr_assert_eq(journal_tail(j), tail + strlen(result));
    journal_close(j);
}

static void fill(const char *result, const char *why)
{
    struct journal *j = open_journal();
    struct iovec part = {(void *)(uintptr_t)result, strlen(result)};
    struct thea_err err = {0};
    uint64_t stream = 0;
    while (journal_commit(j, stream, 0, &part, 1, &err) == THEA_OK) {
        stream++;
        cr_assert_lt(stream, 1000);
    }
    cr_assert_eq(err.rc, THEA_EIO);
    cr_assert_not_null(strstr(err.message, why), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "cannot write '"), "%s", err.message);
    expect_taken_back(j, stream, result);
}

/* Only the soft limit: what may be raised again. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static char *long_text(size_t n)
{
    char *text = calloc(1, n + 1);
    memset(text, 'x', n);
    return text;
}

Test(journal, an_output_that_may_not_grow_takes_the_result_back)
{
    char *text = long_text(3000);
    limit_files(10000);
    fill(text, "File too large");
    free(text);
}

Test(journal, a_journal_that_may_not_grow_takes_line_and_result_back)
{
    limit_files(2000);
    fill("x", "'journal': File too large");
}

Test(journal, a_full_disk_takes_the_result_back)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        cr_skip_test("no mount namespace here");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", scratch, "tmpfs", 0, "size=128k") != 0)
        cr_skip_test("no tmpfs here");
    cr_assert_eq(chdir(scratch), 0);
    char *text = long_text(6000);
    write_file("ballast", text, 6000);
    fill(text, "No space left on device");
    free(text);
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(umount(scratch), 0);
}
