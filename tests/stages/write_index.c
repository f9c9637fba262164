/* write-index: a document is its vector and its text, in whatever order they come; in a run it goes on behind
 * what the index has. A harness that is closed before eof is a process that died. */
#include "retrieval/index.h"
#include "tests/stages/helpers.h"

#include <math.h>

extern const struct stage_ops write_index_ops;

enum { HIDDEN = 128 }; /* of thea-mini */
#define MODEL THEA_SOURCE_DIR "/models/thea-mini"
#define ON    "-m", MODEL, "--output", "index"

TestSuite(write_index, .init = scratch_make, .fini = scratch_remove);

static struct harness *open_with(const char *const *args, const char *const *ports)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(harness_open_ports(&h, &write_index_ops, args, ports, NULL, &err), THEA_OK, "%s",
                 err.message);
    return h;
}

static void feed_vector(struct harness *h, uint64_t stream, const char *id, float x)
{
    float vector[HIDDEN] = {x};
    struct tensor t = tensor_1d("vector", TENSOR_F32, vector, HIDDEN);
    feed_tensors(h, "vector", stream, id, 0, &t, 1);
    feed_kind(h, "vector", stream, FRAME_END);
}

static void feed_text(struct harness *h, uint64_t stream, const char *id, const char *text)
{
    size_t n = strlen(text);
    struct tensor halves[2] = {tensor_1d("text", TENSOR_U8, text, n / 2),
                               tensor_1d("text", TENSOR_U8, text + n / 2, n - n / 2)};
    for (size_t i = 0; i < 2; i++) feed_tensors(h, "docs", stream, id, i * (n / 2), &halves[i], 1);
    feed_kind(h, "docs", stream, FRAME_END);
}

static void feed_eof(struct harness *h)
{
    feed_kind(h, "vector", 0, FRAME_EOF);
    feed_kind(h, "docs", 0, FRAME_EOF);
}

/* "id=text " of the hits, best first, for the query (1, 0, …). */
static void expect_hits(const char *expected)
{
    struct index_reader *r = NULL;
    struct index_hits hits;
    struct workers *workers = NULL;
    struct thea_err err = {0};
    struct buf text = {0};
    float query[HIDDEN] = {1};
    cr_assert_eq(index_reader_open(&r, "index", &err), THEA_OK, "%s", err.message);
    cr_assert_eq(workers_new(&workers, 1, &err), THEA_OK);
    cr_assert_eq(index_search(&hits, r, query, HIDDEN, 10, kernels_select(NULL), workers, &err), THEA_OK,
                 "%s", err.message);
    for (size_t i = 0; i < hits.count; i++)
        buf_printf(&text, "%s=%s ", hits.items[i].id, hits.items[i].text != NULL ? hits.items[i].text : "-");
    cr_assert_str_eq(buf_text(&text), expected);
    buf_fini(&text);
    index_hits_fini(&hits);
    workers_free(workers);
    index_reader_close(r);
}

Test(write_index, joins_vectors_and_texts_that_come_in_any_order)
{
    struct harness *h = open_with(ARGS(ON), ARGS("vector", "docs"));
    feed_text(h, 0, "a", "text of a");
    feed_text(h, 1, "b", "text of b");
    feed_vector(h, 1, "b", 2);
    feed_vector(h, 0, "a", 1);
    feed_vector(h, 2, "c", 3);
    feed_text(h, 2, "c", "text of c");
    feed_eof(h);
    harness_close(h);
    expect_hits("c=text of c b=text of b a=text of a ");
}

Test(write_index, keeps_a_text_of_megabytes)
{
    struct harness *h = open_with(ARGS(ON), ARGS("vector", "docs"));
    char *text = malloc(3000001);
    memset(text, 'x', 3000000);
    text[3000000] = '\0';
    feed_text(h, 0, "a", text);
    feed_vector(h, 0, "a", 1);
    feed_eof(h);
    harness_close(h);
    struct buf expected = {0};
    buf_printf(&expected, "a=%s ", text);
    expect_hits(expected.data);
    buf_fini(&expected);
    free(text);
}

Test(write_index, does_without_texts_where_nobody_gives_them)
{
    struct harness *h = open_with(ARGS(ON), ARGS("vector"));
    feed_vector(h, 0, "a", 1);
    feed_kind(h, "vector", 0, FRAME_EOF);
    harness_close(h);
    expect_hits("a=- ");
}

Test(write_index, puts_documents_of_the_same_id_in_their_order)
{
    struct harness *h = open_with(ARGS("--run-dir", scratch, "--name", "write", ON), ARGS("vector", "docs"));
    feed_text(h, 0, "a", "first");
    feed_text(h, 1, "a", "second");
    feed_vector(h, 1, "a", 2);
    feed_vector(h, 0, "a", 1);
    feed_eof(h);
    harness_close(h);
    expect_hits("a=second ");
}

Test(write_index, goes_on_behind_what_it_committed_when_it_is_started_again)
{
    const char *const *args = ARGS("--run-dir", scratch, "--name", "write", ON);
    struct harness *h = open_with(args, ARGS("vector", "docs"));
    feed_text(h, 0, "a", "one");
    feed_vector(h, 0, "a", 1);
    feed_text(h, 1, "b", "half");
    harness_close(h); /* died */
    expect_hits("a=one ");
    h = open_with(args, ARGS("vector", "docs"));
    /* the turn is that of stream 1: it would wait for stream 0, were that not known to be in the index */
    feed_text(h, 1, "b", "two");
    feed_vector(h, 1, "b", 2);
    feed_eof(h);
    harness_close(h);
    expect_hits("b=two a=one ");
}

Test(write_index, takes_another_run_for_what_it_is)
{
    struct harness *h = open_with(ARGS("--run-dir", scratch, "--name", "write", ON), ARGS("vector"));
    feed_vector(h, 0, "a", 1);
    feed_kind(h, "vector", 0, FRAME_EOF);
    harness_close(h);
    cr_assert_eq(remove("journal/write"), 0); /* another run, in a directory of the same name */
    h = open_with(ARGS("--run-dir", scratch, "--name", "write", ON), ARGS("vector"));
    feed_vector(h, 0, "b", 2);
    feed_kind(h, "vector", 0, FRAME_EOF);
    harness_close(h);
    expect_hits("b=- a=- ");
}

/* --- refused --- */

Test(write_index, sets_a_vector_aside_that_is_not_finite_and_goes_on)
{
    struct harness *h = open_with(ARGS(ON), ARGS("vector"));
    feed_vector(h, 0, "bad", NAN);
    feed_vector(h, 1, "good", 1);
    feed_kind(h, "vector", 0, FRAME_EOF);
    harness_close(h);
    expect_hits("good=- ");
}

Test(write_index, sets_a_document_aside_that_has_no_vector)
{
    struct harness *h = open_with(ARGS(ON), ARGS("vector", "docs"));
    feed_text(h, 0, "none", "text");
    feed_kind(h, "vector", 0, FRAME_END);
    feed_text(h, 1, "some", "text");
    feed_vector(h, 1, "some", 1);
    feed_eof(h);
    harness_close(h);
    expect_hits("some=text ");
}

static void expect_no_open(const char *const *args, thea_rc expected, const char *says)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(harness_open_ports(&h, &write_index_ops, args, ARGS("vector"), NULL, &err), expected,
                 "%d %s", err.rc, err.message);
    cr_assert_not_null(strstr(err.message, says), "%s", err.message);
}

Test(write_index, refuses_an_index_of_another_model)
{
    struct harness *h = open_with(ARGS(ON), ARGS("vector"));
    harness_close(h);
    cr_assert_eq(system("cp -r " MODEL " other && echo ' ' >> other/config.json"), 0);
    expect_no_open(ARGS("-m", "other", "--output", "index"), THEA_EDATA, "made with another model");
}

Test(write_index, refuses_a_damaged_word_of_its_run_and_a_directory_of_other_files)
{
    struct harness *h = open_with(ARGS("--run-dir", scratch, "--name", "write", ON), ARGS("vector"));
    harness_close(h);
    put_text_file("journal/write", "not what was there");
    expect_no_open(ARGS("--run-dir", scratch, "--name", "write", ON), THEA_EDATA, "journal/write");
    expect_no_open(ARGS("-m", MODEL, "--output", "."), THEA_EDATA, "other files");
}
