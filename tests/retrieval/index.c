/* Indexes: what goes in comes out, a commit is all or nothing, a reader has one state, damage is named. */
#include "tests/retrieval/scratch.h"

#include <math.h>

TestSuite(index, .init = scratch_make, .fini = scratch_remove);

static void put_three(void)
{
    struct index_writer *w = test_writer(NULL);
    MUST(test_put(w, "b", 2, err));
    MUST(test_put(w, "a", 1, err));
    MUST(test_put(w, "c", 3, err));
    MUST(index_commit(w, err));
    index_writer_close(w);
}

Test(index, has_the_documents_that_were_committed)
{
    put_three();
    cr_assert_str_eq(test_names().text, "a b c ");
    cr_assert_str_eq(test_hits(2).text, "c:3 b:2 ");
    cr_assert_str_eq(test_hits(10).text, "c:3 b:2 a:1 ");
}

Test(index, forgets_what_was_not_committed)
{
    put_three();
    struct index_writer *w = test_writer(NULL);
    bool was_there;
    MUST(test_put(w, "d", 9, err));
    MUST(index_remove(w, "a", &was_there, err));
    cr_assert(index_pending(w));
    index_writer_close(w);
    cr_assert_str_eq(test_names().text, "a b c ");
    w = test_writer(NULL);
    cr_assert_not(index_pending(w));
    MUST(test_put(w, "e", 4, err));
    MUST(index_commit(w, err));
    index_writer_close(w);
    cr_assert_str_eq(test_hits(9).text, "e:4 c:3 b:2 a:1 ", "its row takes the place of the one left behind");
}

Test(index, replaces_a_document_that_has_the_same_id)
{
    put_three();
    struct index_writer *w = test_writer(NULL);
    MUST(test_put(w, "a", 7, err));
    MUST(test_put(w, "a", 8, err));
    MUST(index_commit(w, err));
    cr_assert_eq(index_writer_info(w)->holes, 2);
    index_writer_close(w);
    cr_assert_str_eq(test_hits(9).text, "a:8 c:3 b:2 ");
}

Test(index, removes_a_document_and_says_which_it_does_not_have)
{
    put_three();
    struct index_writer *w = test_writer(NULL);
    bool was_there;
    MUST(index_remove(w, "c", &was_there, err));
    cr_assert(was_there);
    MUST(index_remove(w, "c", &was_there, err));
    cr_assert_not(was_there);
    MUST(index_commit(w, err));
    index_writer_close(w);
    cr_assert_str_eq(test_hits(9).text, "b:2 a:1 ");
}

Test(index, finds_documents_of_the_same_score_by_id_and_keeps_the_first)
{
    struct index_writer *w = test_writer(NULL);
    char id[16];
    for (int i = 199; i >= 0; i--) {
        snprintf(id, sizeof id, "d%03d", i);
        MUST(test_put(w, id, i % 50 == 0 ? 2 : 1, err));
    }
    MUST(index_commit(w, err));
    index_writer_close(w);
    cr_assert_str_eq(test_hits(3).text, "d000:2 d050:2 d100:2 ");
    cr_assert_str_eq(test_hits(6).text, "d000:2 d050:2 d100:2 d150:2 d001:1 d002:1 ");
}

Test(index, is_compacted_when_a_quarter_of_its_rows_are_holes)
{
    put_three();
    struct index_writer *w = test_writer(NULL);
    MUST(test_put(w, "b", 5, err));
    MUST(index_compact(w, err));
    cr_assert_eq(index_writer_info(w)->holes, 1, "one of four is not yet too many");
    MUST(test_put(w, "c", 6, err));
    MUST(index_compact(w, err));
    cr_assert_eq(index_writer_info(w)->holes, 0);
    cr_assert_eq(index_writer_info(w)->rows, 3);
    MUST(test_put(w, "d", 4, err));
    MUST(index_commit(w, err));
    index_writer_close(w);
    cr_assert_neq(access("index/vectors-0.npy", F_OK), 0, "the old file is gone");
    cr_assert_eq(access("index/vectors-1.npy", F_OK), 0);
    cr_assert_str_eq(test_hits(9).text, "c:6 b:5 d:4 a:1 ");
}

Test(index, may_become_empty_and_be_filled_again)
{
    put_three();
    struct index_writer *w = test_writer(NULL);
    bool was_there;
    for (const char *id = "a\0b\0c\0"; *id != '\0'; id += 2) MUST(index_remove(w, id, &was_there, err));
    MUST(index_compact(w, err));
    cr_assert_str_eq(test_names().text, "");
    cr_assert_str_eq(test_hits(9).text, "");
    MUST(test_put(w, "d", 4, err));
    MUST(index_commit(w, err));
    index_writer_close(w);
    cr_assert_str_eq(test_hits(9).text, "d:4 ");
}

Test(index, shows_a_reader_the_state_of_the_moment_it_opened)
{
    struct index_reader *r = NULL;
    bool was_there;
    put_three();
    MUST(index_reader_open(&r, "index", err));
    struct index_writer *w = test_writer(NULL);
    MUST(index_remove(w, "a", &was_there, err));
    MUST(index_remove(w, "b", &was_there, err));
    MUST(test_put(w, "d", 9, err));
    MUST(index_compact(w, err)); /* the vectors file that the reader has is removed */
    cr_assert_str_eq(test_names_of(r).text, "a b c ");
    cr_assert_str_eq(test_hits_of(r, 9).text, "c:3 b:2 a:1 ");
    cr_assert_str_eq(test_hits(9).text, "d:9 c:3 ");
    index_reader_close(r);
    index_writer_close(w);
}

Test(index, keeps_texts_paths_and_metadata_with_any_byte)
{
    struct index_writer *w = test_writer(NULL);
    float vector[DIMENSION] = {1};
    static const char text[] = "a\0b é";
    struct index_document doc = {.id = "d'; DROP TABLE documents; --",
                                 .path = "/p",
                                 .text = text,
                                 .text_len = sizeof text - 1,
                                 .bytes = 99,
                                 .metadata = "{\"padded_to\": 8}",
                                 .vector = vector,
                                 .dimension = DIMENSION};
    struct index_reader *r = NULL;
    struct index_hits hits;
    struct workers *workers = NULL;
    MUST(index_put(w, &doc, err));
    MUST(index_commit(w, err));
    index_writer_close(w);
    MUST(index_reader_open(&r, "index", err));
    MUST(workers_new(&workers, 1, err));
    MUST(index_search(&hits, r, vector, DIMENSION, 1, kernels_select("plain"), workers, err));
    cr_assert_eq(hits.count, 1);
    cr_assert_str_eq(hits.items[0].id, doc.id);
    cr_assert_str_eq(hits.items[0].path, "/p");
    cr_assert_eq(hits.items[0].text_len, sizeof text - 1);
    cr_assert_eq(memcmp(hits.items[0].text, text, sizeof text), 0);
    index_hits_fini(&hits);
    workers_free(workers);
    index_reader_close(r);
}

Test(index, remembers_which_streams_of_a_run_are_committed)
{
    struct index_writer *w = test_writer("run one");
    MUST(test_put(w, "a", 1, err));
    MUST(index_mark(w, 0, err));
    MUST(index_commit(w, err));
    MUST(index_mark(w, 1, err));
    index_writer_close(w); /* stream 1 was marked and not committed */
    w = test_writer("run one");
    cr_assert(ranges_has(index_streams(w), 0) && !ranges_has(index_streams(w), 1));
    MUST(index_mark(w, 2, err));
    MUST(index_commit(w, err));
    index_writer_close(w);
    w = test_writer("run two");
    cr_assert_eq(index_streams(w)->count, 0);
    MUST(index_mark(w, 5, err));
    MUST(index_run_done(w, err));
    index_writer_close(w);
    w = test_writer("run one");
    cr_assert_eq(ranges_total(index_streams(w)), 2, "another run's end does not touch this one's");
    index_writer_close(w);
}

/* --- refused --- */

static void expect_refused(thea_rc expected, const char *says, const struct index_model *model)
{
    struct index_writer *w = NULL;
    struct thea_err failure = {0};
    cr_assert_eq(index_writer_open(&w, "index", model, NULL, &failure), expected, "%d %s", failure.rc,
                 failure.message);
    cr_assert_not_null(strstr(failure.message, says), "%s", failure.message);
    cr_assert_null(w);
}

static void expect_unreadable(thea_rc expected, const char *says)
{
    struct index_reader *r = NULL;
    struct thea_err failure = {0};
    cr_assert_eq(index_reader_open(&r, "index", &failure), expected, "%d %s", failure.rc, failure.message);
    cr_assert_not_null(strstr(failure.message, says), "%s", failure.message);
    cr_assert_null(r);
}

static void shell(const char *command)
{
    cr_assert_eq(system(command), 0, "%s", command);
}

Test(index, refuses_the_vectors_of_another_model)
{
    struct index_model other = test_model('b');
    put_three();
    expect_refused(THEA_EDATA, "made with another model", &other);
    cr_assert_str_eq(test_names().text, "a b c ");
}

Test(index, refuses_vectors_that_are_not_finite_or_of_another_dimension_or_pooling)
{
    struct index_writer *w = test_writer(NULL);
    struct thea_err failure = {0};
    cr_assert_eq(test_put(w, "x", NAN, &failure), THEA_EDOC);
    cr_assert_eq(test_put(w, "x", INFINITY, &failure), THEA_EDOC);
    MUST(test_put(w, "a", 1, err)); /* and goes on */
    float vector[DIMENSION + 1] = {0};
    struct index_document doc = {.id = "y",
                                 .bytes = -1,
                                 .vector = vector,
                                 .dimension = DIMENSION,
                                 .pooling = "cls",
                                 .normalized = true};
    cr_assert_eq(index_put(w, &doc, &failure), THEA_ECONFIG);
    cr_assert_not_null(strstr(failure.message, "pooling cls"), "%s", failure.message);
    doc.pooling = "mean";
    doc.dimension++;
    cr_assert_eq(index_put(w, &doc, &failure), THEA_EDATA);
    cr_assert_not_null(strstr(failure.message, "6 numbers"), "%s", failure.message);
    index_writer_close(w);
}

Test(index, refuses_a_query_that_is_not_finite_or_of_another_dimension)
{
    struct index_reader *r = NULL;
    struct index_hits hits;
    struct thea_err failure = {0};
    struct workers *workers = NULL;
    float query[DIMENSION + 1] = {1, NAN};
    put_three();
    MUST(index_reader_open(&r, "index", err));
    MUST(workers_new(&workers, 1, err));
    const struct kernels *k = kernels_select(NULL);
    cr_assert_eq(index_search(&hits, r, query, DIMENSION, 1, k, workers, &failure), THEA_EDATA);
    cr_assert_not_null(strstr(failure.message, "not finite"), "%s", failure.message);
    cr_assert_eq(index_search(&hits, r, query, DIMENSION + 1, 1, k, workers, &failure), THEA_EDATA);
    cr_assert_not_null(strstr(failure.message, "6 numbers"), "%s", failure.message);
    workers_free(workers);
    index_reader_close(r);
}

Test(index, that_is_not_there_is_not_made_by_who_only_reads_or_removes)
{
    expect_unreadable(THEA_ENOINPUT, "no index there");
    expect_refused(THEA_ENOINPUT, "No such file", NULL);
    shell("mkdir index");
    expect_refused(THEA_ENOINPUT, "no index there", NULL);
    cr_assert_neq(access("index/index.sqlite", F_OK), 0);
}

Test(index, is_not_made_in_a_directory_with_other_files)
{
    struct index_model m = test_model('a');
    shell("mkdir index && echo text > index/notes.md");
    expect_refused(THEA_EDATA, "other files ('notes.md')", &m);
    shell("rm -r index && echo text > index");
    expect_refused(THEA_ECREATE, "Not a directory", &m);
}

Test(index, is_not_made_in_the_database_of_another_program)
{
    struct index_model m = test_model('a');
    shell(
        "mkdir index && { command -v sqlite3 > /dev/null && sqlite3 index/index.sqlite 'CREATE TABLE mine "
        "(x)'"
        " || python3 -c 'import sqlite3; sqlite3.connect(\"index/index.sqlite\").execute(\"CREATE TABLE mine "
        "(x)\")'; } && cp index/index.sqlite before");
    expect_refused(THEA_EDATA, "a database of another program", &m);
    expect_unreadable(THEA_EDATA, "a database of another program");
    shell("cmp index/index.sqlite before");
}

Test(index, removes_no_file_that_it_did_not_make)
{
    struct index_model m = test_model('a');
    put_three();
    shell("echo mine > index/vectors-backup.npy && echo mine > index/vectors-1.npy.bak && echo x > "
          "index/vectors-7.npy");
    struct index_writer *w = test_writer(NULL);
    index_writer_close(w);
    shell("test -e index/vectors-backup.npy && test -e index/vectors-1.npy.bak && test ! -e "
          "index/vectors-7.npy");
    shell("rm -r index && mkdir index && echo mine > index/vectors-backup.npy");
    expect_refused(THEA_EDATA, "other files ('vectors-backup.npy')", &m);
}

Test(index, refuses_a_text_that_no_row_can_hold)
{
    struct index_writer *w = test_writer(NULL);
    struct thea_err failure = {0};
    float vector[DIMENSION] = {1};
    struct index_document doc = {.id = "x",
                                 .text = "",
                                 .text_len = (size_t)INDEX_TEXT_MAX + 1,
                                 .vector = vector,
                                 .dimension = DIMENSION};
    cr_assert_eq(index_put(w, &doc, &failure), THEA_EDOC); /* not a byte of it was looked at */
    cr_assert_not_null(strstr(failure.message, "536870913 bytes"), "%s", failure.message);
    MUST(test_put(w, "a", 1, err));
    MUST(index_commit(w, err));
    index_writer_close(w);
    cr_assert_str_eq(test_names().text, "a ");
}

Test(index, remembers_its_prompt_and_refuses_vectors_made_with_another)
{
    struct index_writer *w = test_writer(NULL);
    struct thea_err failure = {0};
    float vector[DIMENSION] = {1};
    struct index_document doc = {.id = "x",
                                 .bytes = -1,
                                 .vector = vector,
                                 .dimension = DIMENSION,
                                 .pooling = "mean",
                                 .normalized = true,
                                 .prompt = "passage: "};
    MUST(index_put(w, &doc, err));
    MUST(index_commit(w, err));
    index_writer_close(w);
    w = test_writer(NULL);
    cr_assert_str_eq(index_writer_info(w)->prompt, "passage: ");
    doc.id = "y";
    MUST(index_put(w, &doc, err));
    doc.prompt = NULL;
    cr_assert_eq(index_put(w, &doc, &failure), THEA_ECONFIG);
    cr_assert_not_null(strstr(failure.message, "prompt \"passage: \""), "%s", failure.message);
    index_writer_close(w);
}

Test(index, of_a_writer_that_was_killed_in_making_it_is_made_again)
{
    shell("mkdir index && touch index/index.sqlite && echo x > index/vectors-0.npy");
    expect_unreadable(THEA_ENOINPUT, "no index yet");
    put_three();
    cr_assert_str_eq(test_names().text, "a b c ");
}

Test(index, names_a_vectors_file_that_is_short_missing_or_another)
{
    put_three();
    shell("cp index/vectors-0.npy good");
    shell("truncate -s -1 index/vectors-0.npy");
    expect_unreadable(THEA_EDATA, "it ends after 2 rows, the index has 3");
    expect_refused(THEA_EDATA, "it ends after 2 rows, the index has 3", NULL);
    shell("truncate -s 100 index/vectors-0.npy");
    expect_unreadable(THEA_EDATA, "does not begin as a .npy file");
    shell("cp good index/vectors-0.npy; printf '\\0' | dd of=index/vectors-0.npy conv=notrunc 2>/dev/null");
    expect_unreadable(THEA_EDATA, "does not begin as a .npy file");
    shell("sed 's/<f4/<f8/' good > index/vectors-0.npy");
    expect_unreadable(THEA_EDATA, "its header is not that of f32 rows");
    shell("sed 's/(3, 5)/(3, 6)/' good > index/vectors-0.npy");
    expect_unreadable(THEA_EDATA, "its rows are 6 wide, the index says 5");
    shell("rm index/vectors-0.npy");
    expect_unreadable(THEA_EDATA, "is not there");
    expect_refused(THEA_EDATA, "is not there", NULL);
}

Test(index, names_a_database_that_is_damaged_or_another)
{
    put_three();
    shell("cp index/index.sqlite good");
    shell(
        "echo 'no database at all, but some text that is long enough for a header of one hundred bytes, and "
        "more' > index/index.sqlite");
    expect_unreadable(THEA_EDATA, "damaged");
    expect_refused(THEA_EDATA, "damaged", NULL);
    shell("cp good index/index.sqlite && truncate -s 5000 index/index.sqlite");
    expect_unreadable(THEA_EDATA, "damaged");
    shell("cp good index/index.sqlite && printf '\\0\\0\\0\\2' | dd of=index/index.sqlite bs=1 seek=60 "
          "conv=notrunc 2>/dev/null");
    expect_unreadable(THEA_EDATA, "its format is 2");
    shell("cp good index/index.sqlite && printf '\\1' | dd of=index/index.sqlite bs=1 seek=68 conv=notrunc "
          "2>/dev/null");
    expect_unreadable(THEA_EDATA, "another program");
}

Test(index, names_a_row_that_is_damaged)
{
    struct index_reader *r = NULL;
    struct index_hits hits;
    struct thea_err failure = {0};
    struct workers *workers = NULL;
    static const float query[DIMENSION] = {1};
    put_three();
    shell(
        "printf '\\0\\0\\300\\177' | dd of=index/vectors-0.npy bs=1 seek=148 conv=notrunc 2>/dev/null"); /* NaN
                                                                                                          */
    MUST(index_reader_open(&r, "index", err));
    MUST(workers_new(&workers, 2, err));
    cr_assert_eq(index_search(&hits, r, query, DIMENSION, 1, kernels_select(NULL), workers, &failure),
                 THEA_EDATA);
    cr_assert_not_null(strstr(failure.message, "row 1 has a score that is not finite"), "%s",
                       failure.message);
    workers_free(workers);
    index_reader_close(r);
}

/* --- where nothing can be written --- */

/* From here on this process is a user that may read the index and not write to it. */
static void become_a_reader(void)
{
    shell("chmod 755 . && chmod -R a-w index && chmod a+rx index && chmod a+r index/*");
    if (geteuid() == 0) cr_assert_eq(seteuid(65534), 0);
    cr_assert_neq(eaccess("index", W_OK), 0);
}

static void become_the_owner(void)
{
    cr_assert_eq(seteuid(getuid()), 0);
    shell("chmod -R u+rwX index");
}

Test(index, is_read_in_a_directory_that_cannot_be_written)
{
    put_three();
    become_a_reader();
    cr_assert_str_eq(test_names().text, "a b c ");
    cr_assert_str_eq(test_hits(2).text, "c:3 b:2 ");
    cr_assert_neq(access("index/index.sqlite-shm", F_OK), 0);
    become_the_owner();
}

Test(index, whose_writer_was_killed_is_not_read_half_where_it_cannot_be_mended)
{
    put_three();
    struct index_writer *w = test_writer(NULL);
    MUST(test_put(w, "d", 9, err));
    MUST(index_commit(w, err));
    shell("cp -r index killed && rm -f killed/index.sqlite-shm && test -s killed/index.sqlite-wal");
    index_writer_close(w);
    shell("rm -r index && mv killed index");
    become_a_reader();
    expect_unreadable(THEA_EPERM, "its writer was killed");
    become_the_owner();
    cr_assert_str_eq(test_names().text, "a b c d ", "where it can be mended, nothing is lost");
}

Test(index, that_may_not_be_read_is_told)
{
    put_three();
    shell("chmod 0 index/index.sqlite");
    cr_assert(geteuid() != 0 || seteuid(65534) == 0);
    expect_unreadable(THEA_EPERM, "ermission denied");
    become_the_owner();
}
