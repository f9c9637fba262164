/* write: results as lines, text and tables. */
#include "tests/stages/writing.h"

#include <math.h>

TestSuite(write, .init = scratch_make, .fini = scratch_remove);

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
