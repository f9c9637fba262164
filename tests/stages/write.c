/* write: every format byte for byte, order, and what happens when the output cannot take it. */
#include "tests/stages/helpers.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

extern const struct stage_ops write_ops;

TestSuite(write, .init = scratch_make, .fini = scratch_remove);

static struct harness *open_write(const char *const *args, const char *port)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(harness_open_ports(&h, &write_ops, args, ARGS(port), NULL, &err), THEA_OK, "%s",
                 err.message);
    return h;
}

static void feed_text(struct harness *h, const char *port, uint64_t stream, const char *id, const char *text)
{
    struct tensor t =
        tensor_1d(strcmp(port, "record") == 0 ? "record" : "text", TENSOR_U8, text, strlen(text));
    feed_tensors(h, port, stream, id, 0, &t, 1);
}

static void feed_floats(struct harness *h, const char *port, uint64_t stream, const char *id,
                        const float *values, size_t n)
{
    struct tensor t = tensor_1d(port, TENSOR_F32, values, n);
    feed_tensors(h, port, stream, id, 0, &t, 1);
}

static void finish(struct harness *h, const char *port)
{
    feed_kind(h, port, 0, FRAME_EOF);
    harness_close(h);
}

static void expect_file(const char *path, const char *expected)
{
    char *text = get_file(path, NULL);
    cr_assert_not_null(text, "no file %s", path);
    cr_assert_str_eq(text, expected);
    free(text);
}

/* Nothing but `names` is in the scratch directory. */
static void expect_only(size_t files)
{
    size_t n = 0;
    char command[PATH_MAX + 32];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", scratch);
    FILE *f = popen(command, "r");
    cr_assert_eq(fscanf(f, "%zu", &n), 1);
    pclose(f);
    cr_assert_eq(n, files, "%zu files are left, not %zu", n, files);
}

static void expect_refused(const char *const *args, const char *port, thea_rc expected, const char *part)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    thea_rc rc = harness_open_ports(&h, &write_ops, args, ARGS(port), NULL, &err);
    cr_assert_eq(rc, expected, "%d: %s", rc, err.message);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
}

/* --- lines --- */

Test(write, a_jsonl_line_says_what_was_done_to_its_document)
{
    static const float v[] = {1, 2};
    struct harness *h = open_write(ARGS("-o", "out.jsonl"), "vector");
    struct attr attrs[] = {{.key = "id", .type = ATTR_TEXT, .text = "a"},
                           {.key = "padded_to", .type = ATTR_INT, .integer = 64},
                           {.key = "truncated_from", .type = ATTR_INT, .integer = 70}};
    struct tensor t = tensor_1d("vector", TENSOR_F32, v, 2);
    for (uint64_t stream = 1; stream <= 2; stream++) {
        struct frame f = {.kind = FRAME_DATA,
                          .stream = stream,
                          .port = "vector",
                          .tensors = &t,
                          .tensor_count = 1,
                          .attrs = attrs,
                          .attr_count = stream == 1 ? 3 : 1};
        feed(h, "vector", &f);
        feed_kind(h, "vector", stream, FRAME_END);
    }
    finish(h, "vector");
    expect_file("out.jsonl",
                "{\"id\": \"a\", \"embedding\": [1, 2], \"padded_to\": 64, \"truncated_from\": 70}\n"
                "{\"id\": \"a\", \"embedding\": [1, 2]}\n");
}

Test(write, records_are_lines_as_they_are)
{
    struct harness *h = open_write(ARGS("-o", "out.jsonl"), "record");
    feed_text(h, "record", 1, "a", "{\"id\": \"a\", \"x\": 0.1000}");
    feed_kind(h, "record", 1, FRAME_END);
    feed_text(h, "record", 2, "b", "{\"id\": \"b\",\n \"x\": null}");
    feed_kind(h, "record", 2, FRAME_END);
    finish(h, "record");
    expect_file("out.jsonl", "{\"id\": \"a\", \"x\": 0.1000}\n{\"id\": \"b\",  \"x\": null}\n");
}

Test(write, results_are_in_the_order_of_their_beginnings)
{
    struct harness *h = open_write(ARGS("-o", "out.jsonl"), "record");
    feed_text(h, "record", 1, "a", "{\"id\": \"a\"}");
    feed_text(h, "record", 2, "b", "{\"id\": \"b\"}");
    feed_text(h, "record", 3, "c", "{\"id\": \"c\"}");
    feed_kind(h, "record", 3, FRAME_END);
    feed_kind(h, "record", 2, FRAME_END);
    feed_kind(h, "record", 1, FRAME_END);
    finish(h, "record");
    expect_file("out.jsonl", "{\"id\": \"a\"}\n{\"id\": \"b\"}\n{\"id\": \"c\"}\n");
}

Test(write, a_document_that_failed_leaves_no_line_and_holds_up_nobody)
{
    struct harness *h = open_write(ARGS("-o", "out.jsonl"), "record");
    struct attr why = {.key = "error", .type = ATTR_TEXT, .text = "poison"};
    struct frame error = {.kind = FRAME_ERROR, .stream = 1, .port = "record", .attrs = &why, .attr_count = 1};
    feed_text(h, "record", 1, "a", "{\"id\": \"a\"}");
    feed_text(h, "record", 2, "b", "{\"id\": \"b\"}");
    feed_kind(h, "record", 2, FRAME_END);
    feed(h, "record", &error);
    cr_assert_eq(harness_page(h)->failed, 1);
    finish(h, "record");
    expect_file("out.jsonl", "{\"id\": \"b\"}\n");
}

Test(write, a_record_that_is_no_json_map_is_the_documents_error)
{
    static const char *const bad[] = {"{\"id\": }", "[1]", ""};
    for (size_t i = 0; i < 3; i++) {
        struct harness *h = open_write(ARGS("-o", "out.jsonl"), "record");
        feed_text(h, "record", 1, "a", bad[i]);
        cr_assert_eq(harness_page(h)->failed, 1, "%s", bad[i]);
        finish(h, "record");
        expect_file("out.jsonl", "");
    }
}

Test(write, vectors_tokens_and_texts_are_json_lines)
{
    float v[] = {0.1F, -1e-20F, NAN};
    struct harness *h = open_write(ARGS("-o", "v.jsonl"), "vector");
    feed_floats(h, "vector", 1, "a\"b", v, 3);
    feed_kind(h, "vector", 1, FRAME_END);
    finish(h, "vector");
    expect_file("v.jsonl", "{\"id\": \"a\\\"b\", \"embedding\": [0.100000001, -9.99999968e-21, null]}\n");
    cr_assert_eq(strtof("0.100000001", NULL), v[0], "nine digits give the float back");

    h = open_write(ARGS("-o", "t.jsonl"), "tokens");
    struct tensor one = tensor_1d("tokens", TENSOR_I32, (const int32_t[]){1, 2}, 2),
                  two = tensor_1d("tokens", TENSOR_I32, (const int32_t[]){3}, 1);
    feed_tensors(h, "tokens", 1, "t", 0, &one, 1);
    feed_tensors(h, "tokens", 1, NULL, 2, &two, 1);
    feed_kind(h, "tokens", 1, FRAME_END);
    feed_kind(h, "tokens", 2, FRAME_END);
    finish(h, "tokens");
    expect_file("t.jsonl",
                "{\"id\": \"t\", \"tokens\": [1, 2, 3]}\n{\"id\": \"stream-2\", \"tokens\": []}\n");

    h = open_write(ARGS("-o", "x.jsonl"), "text");
    feed_text(h, "text", 1, "x", "one\n");
    feed_text(h, "text", 1, NULL, "\"two\"");
    feed_kind(h, "text", 1, FRAME_END);
    finish(h, "text");
    expect_file("x.jsonl", "{\"id\": \"x\", \"text\": \"one\\n\\\"two\\\"\"}\n");
}

Test(write, tsv_has_a_header_and_one_line_a_document)
{
    struct harness *h = open_write(ARGS("-o", "r.tsv"), "record");
    feed_text(h, "record", 1, "a", "{\"id\": \"a\\tb\\n\", \"n\": 1, \"x\": 0.5, \"top\": []}");
    feed_kind(h, "record", 1, FRAME_END);
    feed_text(h, "record", 2, "c", "{\"x\": null, \"id\": \"c\", \"more\": 1}");
    feed_kind(h, "record", 2, FRAME_END);
    finish(h, "record");
    expect_file("r.tsv", "id\tn\tx\na\\tb\\n\t1\t0.5\nc\t\t\n");

    h = open_write(ARGS("-o", "v.tsv"), "vector");
    feed_floats(h, "vector", 1, "a", (const float[]){1, 2.5F}, 2);
    feed_kind(h, "vector", 1, FRAME_END);
    feed_floats(h, "vector", 2, "wide", (const float[]){1, 2, 3}, 3);
    cr_assert_eq(harness_page(h)->failed, 1, "a row of another width");
    finish(h, "vector");
    expect_file("v.tsv", "id\tembedding0\tembedding1\na\t1\t2.5\n");

    h = open_write(ARGS("-o", "t.tsv"), "tokens");
    struct tensor t = tensor_1d("tokens", TENSOR_I32, (const int32_t[]){7, 8}, 2);
    feed_tensors(h, "tokens", 1, "t", 0, &t, 1);
    feed_kind(h, "tokens", 1, FRAME_END);
    finish(h, "tokens");
    expect_file("t.tsv", "id\ttokens\nt\t7 8\n");
}

/* --- text --- */

Test(write, text_goes_out_as_it_comes)
{
    struct harness *h = open_write(ARGS("-o", "out.txt"), "text");
    feed_text(h, "text", 1, "a", "Once ");
    expect_file("out.txt", "Once ");
    feed_text(h, "text", 1, NULL, "upon");
    expect_file("out.txt", "Once upon");
    feed_kind(h, "text", 1, FRAME_END);
    expect_file("out.txt", "Once upon\n");
    finish(h, "text");
    expect_file("out.txt", "Once upon\n");
}

Test(write, texts_of_several_documents_do_not_mix)
{
    struct harness *h = open_write(ARGS("-o", "out.txt"), "text");
    feed_text(h, "text", 1, "a", "one");
    feed_text(h, "text", 2, "b", "two\n");
    feed_text(h, "text", 1, NULL, " more");
    feed_kind(h, "text", 2, FRAME_END);
    feed_text(h, "text", 3, "c", "three");
    feed_kind(h, "text", 1, FRAME_END);
    feed_kind(h, "text", 3, FRAME_END);
    finish(h, "text");
    expect_file("out.txt", "one more\n\ntwo\n\nthree\n");
}

/* --- tables --- */

static void feed_scores(struct harness *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char record[512], id[32];
        snprintf(id, sizeof id, "d%02u.md", (unsigned)i % 100);
        snprintf(
            record, sizeof record,
            "{\"id\": \"%s\", \"tokens\": %zu, \"bytes\": %zu, \"bits_per_byte\": %.2f, \"perplexity\": 9.5, "
            "\"top\": [{\"line\": %zu, \"bits_per_byte\": %.2f, \"text\": \"line of %s \\u001b[31m\"}]}",
            id, 1000 + i, 2000 * (i + 1), 2.0 - (double)i * 0.01, i + 1, 5.0 + (double)i * 0.1, id);
        feed_text(h, "record", i, id, record);
        feed_kind(h, "record", i, FRAME_END);
    }
}

Test(write, a_table_shows_lowest_highest_totals_and_lines)
{
    struct harness *h = open_write(ARGS("-o", "out", "--format", "table", "--rows", "4"), "record");
    feed_scores(h, 12);
    finish(h, "record");
    double weighted = 0, bytes = 0;
    for (int i = 0; i < 12; i++) weighted += (2.0 - i * 0.01) * 2000 * (i + 1), bytes += 2000 * (i + 1);
    char total[64];
    snprintf(total, sizeof total, "    %.3f  12,066  156,000  12 documents\n", weighted / bytes);
    char *page = get_file("out", NULL);
    static const char *const parts[] = {
        "bits/byte  tokens    bytes  document              how well the model predicts it; low is easy\n"
        "    1.890   1,011   24,000  d11.md\n    1.900   1,010   22,000  d10.md\n"
        "        …                   (4 of 12 shown, --set write.rows=0 for all)\n"
        "    1.990   1,001    4,000  d01.md\n    2.000   1,000    2,000  d00.md\n",
        "\nthe ten most surprising lines\nbits/byte  where      line\n     6.10  d11.md:12  line of d11.md  "
        "[31m\n     6.00  d10.md:11  line of d10.md"};
    cr_assert_not_null(strstr(page, parts[0]), "%s", page);
    cr_assert_not_null(strstr(page, parts[1]), "%s", page);
    cr_assert_not_null(strstr(page, total), "%s\n%s", total, page);
    cr_assert_null(strstr(page, "d01.md:2"), "only ten lines");
    cr_assert_null(strchr(page, '\033'), "no document writes escape sequences to a terminal");
    free(page);
}

Test(write, a_table_of_all_rows_has_no_gap)
{
    struct harness *h = open_write(ARGS("-o", "out", "--format", "table", "--rows", "0"), "record");
    feed_scores(h, 30);
    finish(h, "record");
    char *page = get_file("out", NULL);
    cr_assert_null(strstr(page, "shown"));
    for (int i = 0; i < 30; i++) {
        char id[32];
        snprintf(id, sizeof id, "d%02d.md\n", i);
        cr_assert_not_null(strstr(page, id));
    }
    free(page);
}

Test(write, no_line_of_a_table_is_wider_than_the_page)
{
    struct harness *h = open_write(ARGS("-o", "out", "--format", "table"), "record");
    struct buf record = {0};
    buf_add_text(&record, "{\"id\": \"");
    for (int i = 0; i < 60; i++) buf_add_text(&record, "directory/");
    buf_add_text(&record, "file.c\", \"tokens\": 123456789, \"bytes\": null, \"bits_per_byte\": null, "
                          "\"top\": [{\"line\": 123456, \"bits_per_byte\": 1, \"text\": \"");
    for (int i = 0; i < 60; i++) buf_add_text(&record, "文字 é ");
    buf_add_text(&record, "\"}]}");
    feed_text(h, "record", 1, "long", buf_text(&record));
    feed_kind(h, "record", 1, FRAME_END);
    finish(h, "record");
    char *page = get_file("out", NULL), *rest = page, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        size_t columns = 0;
        for (const char *c = line; *c != '\0'; c++) columns += ((unsigned char)*c & 0xC0) != 0x80;
        for (const char *c = line; (c = strstr(c, "文字")) != NULL; c++) columns += 2;
        cr_assert_leq(columns, 96, "%zu: %s", columns, line);
    }
    free(page);
    page = get_file("out", NULL);
    cr_assert_not_null(strstr(page, "/file.c\n"), "the end of a long path is what matters: %s", page);
    free(page);
    buf_fini(&record);
}

Test(write, a_table_of_nothing_says_so)
{
    struct harness *h = open_write(ARGS("-o", "out", "--format", "table"), "record");
    finish(h, "record");
    expect_file("out", "no documents\n");
}

/* --- arrays --- */

Test(write, npy_has_a_row_a_document_and_the_ids_beside_it)
{
    struct harness *h = open_write(ARGS("-o", "v.npy"), "vector");
    static const float a[] = {1, 2, 3}, b[] = {4, 5, 6};
    feed_floats(h, "vector", 1, "a.md", a, 3);
    feed_floats(h, "vector", 2, "b\nc", b, 3);
    feed_kind(h, "vector", 2, FRAME_END);
    expect_only(0); /* nothing to see before it is whole */
    feed_kind(h, "vector", 1, FRAME_END);
    finish(h, "vector");
    size_t size = 0;
    char *npy = get_file("v.npy", &size);
    cr_assert_eq(size, 128 + 24);
    cr_assert_eq(
        memcmp(npy, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
               61),
        0);
    cr_assert_eq(npy[127], '\n');
    cr_assert_eq(memcmp(npy + 128, a, 12), 0);
    cr_assert_eq(memcmp(npy + 140, b, 12), 0);
    free(npy);
    expect_file("v.ids.txt", "a.md\nb\\nc\n");
    expect_only(2);
}

Test(write, npy_refuses_a_vector_of_another_width_and_goes_on)
{
    struct harness *h = open_write(ARGS("-o", "v.npy"), "vector");
    feed_floats(h, "vector", 1, "a", (const float[]){1, 2}, 2);
    feed_kind(h, "vector", 1, FRAME_END);
    feed_floats(h, "vector", 2, "b", (const float[]){1, 2, 3}, 3);
    cr_assert_eq(harness_page(h)->failed, 1);
    finish(h, "vector");
    expect_file("v.ids.txt", "a\n");
}

static struct json_node *header_of(const char *path, const char **data)
{
    static char *file;
    size_t size = 0;
    uint64_t n = 0;
    struct json_node *header = NULL;
    struct thea_err err = {0};
    free(file);
    file = get_file(path, &size);
    cr_assert_not_null(file);
    memcpy(&n, file, 8);
    cr_assert_eq(n % 8, 0);
    cr_assert_eq(json_parse(&header, file + 8, n, path, &err), THEA_OK, "%s", err.message);
    *data = file + 8 + n;
    return header;
}

static const void *array_of(const struct json_node *header, const char *data, const char *name,
                            const char *shape)
{
    const struct json_node *entry = json_member(header, name);
    cr_assert_not_null(entry, "no tensor %s", name);
    char *printed = json_print(json_member(entry, "shape"), 0, 0);
    cr_assert_str_eq(printed, shape, "%s", name);
    free(printed);
    return data + json_int(json_item(json_member(entry, "data_offsets"), 0));
}

Test(write, safetensors_gathers_each_documents_rows_however_frames_mix)
{
    struct harness *h = open_write(ARGS("-o", "out.safetensors"), "logits");
    static const float rows[] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (uint64_t i = 0; i < 4; i++) {
        struct tensor t = tensor_2d("logits", TENSOR_F32, rows + 2 * i, 1, 2);
        feed_tensors(h, "logits", i % 2, i % 2 == 0 ? "even" : "odd", i / 2, &t, 1);
    }
    feed_kind(h, "logits", 0, FRAME_END);
    feed_kind(h, "logits", 1, FRAME_END);
    expect_only(0);
    finish(h, "logits");
    expect_only(1);
    const char *data = NULL;
    struct json_node *header = header_of("out.safetensors", &data);
    cr_assert_eq(memcmp(array_of(header, data, "even.logits", "[2, 2]"), (const float[]){1, 2, 5, 6}, 16), 0);
    cr_assert_eq(memcmp(array_of(header, data, "odd.logits", "[2, 2]"), (const float[]){3, 4, 7, 8}, 16), 0);
    json_free(header);
}

Test(write, safetensors_has_every_hidden_state_and_nothing_that_rides_beside)
{
    struct harness *h = open_write(ARGS("-o", "out.safetensors"), "hidden");
    static const float x[] = {1, 2};
    struct tensor t[] = {tensor_2d("hidden.0", TENSOR_F32, x, 1, 2),
                         tensor_2d("hidden.1", TENSOR_F32, x, 1, 2), tensor_1d("tokens", TENSOR_I32, x, 1)};
    feed_tensors(h, "hidden", 1, "a", 0, t, 3);
    feed_kind(h, "hidden", 1, FRAME_END);
    finish(h, "hidden");
    const char *data = NULL;
    struct json_node *header = header_of("out.safetensors", &data);
    cr_assert_eq(json_count(header), 2);
    array_of(header, data, "a.hidden.0", "[1, 2]");
    array_of(header, data, "a.hidden.1", "[1, 2]");
    json_free(header);
}

Test(write, safetensors_takes_an_id_once_and_drops_what_failed)
{
    struct harness *h = open_write(ARGS("-o", "out.safetensors"), "final");
    static const float x[] = {1, 2};
    struct tensor t = tensor_2d("final", TENSOR_F32, x, 1, 2);
    feed_tensors(h, "final", 1, "a", 0, &t, 1);
    feed_kind(h, "final", 1, FRAME_END);
    feed_tensors(h, "final", 2, "a", 0, &t, 1);
    cr_assert_eq(harness_page(h)->failed, 1);
    feed_tensors(h, "final", 3, "broken", 0, &t, 1);
    feed_kind(h, "final", 3, FRAME_ERROR);
    finish(h, "final");
    const char *data = NULL;
    struct json_node *header = header_of("out.safetensors", &data);
    cr_assert_eq(json_count(header), 1);
    array_of(header, data, "a.final", "[1, 2]");
    json_free(header);
}

Test(write, an_array_file_that_is_not_finished_leaves_the_old_one)
{
    put_text_file("out.safetensors", "old");
    struct harness *h = open_write(ARGS("-o", "out.safetensors"), "final");
    struct tensor t = tensor_2d("final", TENSOR_F32, (const float[]){1, 2}, 1, 2);
    feed_tensors(h, "final", 1, "a", 0, &t, 1);
    harness_close(h);
    expect_file("out.safetensors", "old");
    expect_only(1);
}

/* --- outputs that cannot take it --- */

Test(write, formats_that_do_not_fit_the_input_are_refused_with_those_that_do)
{
    expect_refused(ARGS("-o", "x.npy"), "record", THEA_EUSAGE, "accepted   table, jsonl, tsv");
    expect_refused(ARGS("--format", "text"), "vector", THEA_EUSAGE, "jsonl, tsv, npy, safetensors");
    expect_refused(ARGS("--format", "jsonl"), "logits", THEA_EUSAGE,
                   "safetensors, into a file: -o NAME.safetensors");
    stdout_is_file("stdout");
    expect_refused(NULL, "logits", THEA_EUSAGE, "'auto' gives");
    expect_refused(ARGS("--format", "npy"), "vector", THEA_EUSAGE, "needs a file: -o NAME.npy");
}

Test(write, an_output_that_cannot_be_created_is_status_73)
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

Test(write, a_full_disk_is_status_74)
{
    struct thea_err err = {0};
    cr_assert_eq(write_a_lot(ARGS("--format", "text", "-o", "/dev/full"), "text", &err), THEA_EIO);
    cr_assert_not_null(strstr(err.message, "cannot write '/dev/full': No space left"), "%s", err.message);
}

Test(write, a_file_that_may_not_grow_is_status_74_and_leaves_nothing)
{
    struct thea_err err = {0};
    struct rlimit limit = {1 << 20, 1 << 20};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(write_a_lot(ARGS("-o", "out.safetensors"), "logits", &err), THEA_EIO);
    cr_assert_not_null(strstr(err.message, "cannot write"), "%s", err.message);
    expect_only(0);
}

Test(write, a_reader_that_went_away_is_enough_and_no_error)
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

Test(write, stdin_says_by_its_first_frame_what_it_carries)
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

Test(write, a_document_without_a_result_leaves_a_line_if_asked)
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

Test(write, failures_are_lines_on_standard_output_alone)
{
    expect_refused(ARGS("-o", "out.jsonl", "--failures"), "vector", THEA_EUSAGE,
                   "--failures needs --format jsonl");
    expect_refused(ARGS("--format", "text", "--failures"), "text", THEA_EUSAGE,
                   "--failures needs --format jsonl");
}
