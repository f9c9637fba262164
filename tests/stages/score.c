/* score: sums, lines, and that they do not depend on how frames are cut. */
#include "tests/stages/helpers.h"

#include <math.h>

extern const struct stage_ops score_ops;

/* A document: 12 tokens, the first a special one that stands for no text; three lines, of 10, 20 and 3 bytes.
 */
static const char text[] = "aaaa bbbb\ncccc dddd eeee ffff\ngg";
enum { TEXT = 32, TOKENS = 9 };
static const int32_t tokens[TOKENS] = {1, 10, 11, 12, 13, 14, 15, 16, 17};
static const int64_t ends[TOKENS] = {0, 4, 9, 14, 19, 24, 29, 30, 32};
static const float nll[TOKENS - 1] = {0.5F, 1.25F, 2.0F, 0.125F, 3.5F, 0.25F, 0.75F, 4.0F};

static struct harness *open_score(const char *const *args)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(harness_open(&h, &score_ops, args, NULL, &err), THEA_OK, "%s", err.message);
    return h;
}

static struct json_node *record_of(struct harness *h, size_t i)
{
    const struct frame *f = harness_frame(h, "record", i);
    cr_assert_not_null(f);
    const struct tensor *t = frame_tensor(f, "record");
    cr_assert_not_null(t, "%s", frame_attr_text(f, "error", "no record"));
    struct json_node *node = NULL;
    struct thea_err err = {0};
    cr_assert_eq(json_parse(&node, t->data, t->size_bytes, "record", &err), THEA_OK, "%s", err.message);
    return node;
}

/* Feed the document with `chunk` predictions a frame; text and ends ride in `cuts` pieces with the first
 * frames. */
static void feed_document(struct harness *h, uint64_t stream, size_t chunk, bool with_text)
{
    for (size_t at = 0; at < TOKENS - 1; at += chunk) {
        size_t n = TOKENS - 1 - at < chunk ? TOKENS - 1 - at : chunk;
        size_t first = at == 0 ? 0 : at + 1; /* the first frame has the first token too */
        struct tensor t[] = {tensor_1d("nll", TENSOR_F32, nll + at, n),
                             tensor_1d("tokens", TENSOR_I32, tokens + first, at + 1 + n - first),
                             tensor_1d("ends", TENSOR_I64, ends, TOKENS),
                             tensor_1d("text", TENSOR_U8, text, TEXT)};
        feed_tensors(h, "nll", stream, "doc", at + 1, t, at == 0 && with_text ? 4 : 2);
    }
    feed_kind(h, "nll", stream, FRAME_END);
}

static double sum_nll(void)
{
    double sum = 0;
    for (int i = 0; i < TOKENS - 1; i++) sum += (double)nll[i];
    return sum;
}

Test(score, a_record_has_bits_per_byte_and_perplexity)
{
    struct harness *h = open_score(NULL);
    feed_document(h, 1, 3, true);
    struct json_node *r = record_of(h, 0);
    cr_assert_str_eq(json_text_or(r, "id", ""), "doc");
    cr_assert_eq(json_int_or(r, "tokens", 0), TOKENS);
    cr_assert_eq(json_int_or(r, "bytes", 0), TEXT);
    cr_assert_float_eq(json_number_or(r, "bits_per_byte", 0), sum_nll() / M_LN2 / TEXT, 1e-8);
    cr_assert_float_eq(json_number_or(r, "perplexity", 0), exp(sum_nll() / (TOKENS - 1)), 1e-7);
    cr_assert_null(json_member(r, "top"), "no lines unless asked for");
    json_free(r);
    harness_close(h);
}

Test(score, the_record_is_the_same_however_the_frames_are_cut)
{
    struct harness *h = open_score(ARGS("--top", "3", "--min-bytes", "1"));
    char *first = NULL;
    for (size_t chunk = 1; chunk <= TOKENS; chunk++) {
        feed_document(h, chunk, chunk, true);
        size_t i = 0;
        while (harness_frame(h, "record", i) != NULL) i++;
        const struct tensor *t = frame_tensor(harness_frame(h, "record", i - 2), "record");
        char *record = strndup(t->data, t->size_bytes);
        if (first == NULL) first = strdup(record);
        cr_assert_str_eq(record, first, "chunk %zu", chunk);
        free(record);
    }
    free(first);
    harness_close(h);
}

Test(score, lines_are_ranked_by_the_bits_of_their_bytes)
{
    struct harness *h = open_score(ARGS("--top", "2", "--min-bytes", "1"));
    feed_document(h, 1, 100, true);
    struct json_node *r = record_of(h, 0);
    const struct json_node *top = json_member(r, "top");
    cr_assert_eq(json_count(top), 2);
    /* line 3, "gg": token 8 covers its 2 bytes; line 2: tokens 3 (4 of its 5 bytes), 4, 5, 6, 7; the newline
     * before is line 1's */
    cr_assert_eq(json_int_or(json_item(top, 0), "line", 0), 3);
    cr_assert_float_eq(json_number_or(json_item(top, 0), "bits_per_byte", 0), 4.0 / M_LN2 / 2, 1e-8);
    cr_assert_eq(json_int_or(json_item(top, 1), "line", 0), 2);
    double bits = (2.0 * 4 / 5 + 0.125 + 3.5 + 0.25 + 0.75) / M_LN2;
    cr_assert_float_eq(json_number_or(json_item(top, 1), "bits_per_byte", 0), bits / 20, 1e-8);
    cr_assert_str_eq(json_text_or(json_item(top, 1), "text", ""), "cccc dddd eeee ffff");
    json_free(r);
    harness_close(h);
}

Test(score, short_lines_do_not_count)
{
    struct harness *h = open_score(ARGS("--top", "5"));
    feed_document(h, 1, 100, true);
    struct json_node *r = record_of(h, 0);
    cr_assert_eq(json_count(json_member(r, "top")), 1, "only line 2 has 16 bytes");
    json_free(r);
    harness_close(h);
}

Test(score, a_line_is_trimmed_and_cut_at_a_character)
{
    struct harness *h = open_score(ARGS("--top", "1"));
    struct buf line = {0};
    buf_add_text(&line, "\t  x");
    for (int i = 0; i < 400; i++) buf_add_text(&line, "é");
    buf_add_text(&line, "  \r\n");
    int64_t to[2] = {0, (int64_t)line.len};
    float one = 1;
    struct tensor t[] = {tensor_1d("nll", TENSOR_F32, &one, 1),
                         tensor_1d("text", TENSOR_U8, line.data, line.len),
                         tensor_1d("ends", TENSOR_I64, to, 2)};
    feed_tensors(h, "nll", 1, "d", 1, t, 3);
    feed_kind(h, "nll", 1, FRAME_END);
    struct json_node *r = record_of(h, 0);
    const char *shown = json_text_or(json_item(json_member(r, "top"), 0), "text", "");
    cr_assert_eq(shown[0], 'x');
    cr_assert_eq(strlen(shown), 511, "%zu bytes", strlen(shown)); /* 512 would cut a character */
    json_free(r);
    buf_fini(&line);
    harness_close(h);
}

Test(score, documents_of_ids_alone_have_no_byte_figures)
{
    struct harness *h = open_score(ARGS("--top", "3"));
    feed_document(h, 1, 100, false);
    struct json_node *r = record_of(h, 0);
    cr_assert_eq(json_kind(json_member(r, "bytes")), JSON_NULL_);
    cr_assert_eq(json_kind(json_member(r, "bits_per_byte")), JSON_NULL_);
    cr_assert_float_eq(json_number_or(r, "perplexity", 0), exp(sum_nll() / (TOKENS - 1)), 1e-7);
    cr_assert_eq(json_count(json_member(r, "top")), 0);
    json_free(r);
    harness_close(h);
}

Test(score, a_document_of_one_token_has_nulls)
{
    struct harness *h = open_score(ARGS("--top", "3"));
    struct tensor riders[] = {tensor_1d("tokens", TENSOR_I32, tokens, 1),
                              tensor_1d("text", TENSOR_U8, "x", 1), tensor_1d("ends", TENSOR_I64, ends, 1)};
    struct attr id = {.key = "id", .type = ATTR_TEXT, .text = "one"};
    struct frame end = {.kind = FRAME_END,
                        .stream = 1,
                        .port = "nll",
                        .tensors = riders,
                        .tensor_count = 3,
                        .attrs = &id,
                        .attr_count = 1};
    feed(h, "nll", &end);
    struct json_node *r = record_of(h, 0);
    cr_assert_eq(json_int_or(r, "tokens", 0), 1);
    cr_assert_eq(json_int_or(r, "bytes", 0), 1);
    cr_assert_eq(json_kind(json_member(r, "bits_per_byte")), JSON_NULL_);
    cr_assert_eq(json_kind(json_member(r, "perplexity")), JSON_NULL_);
    json_free(r);
    harness_close(h);
}

Test(score, riders_of_the_end_frame_count)
{
    struct harness *h = open_score(ARGS("--top", "1", "--min-bytes", "1"));
    struct tensor t = tensor_1d("nll", TENSOR_F32, nll, TOKENS - 1);
    feed_tensors(h, "nll", 1, "late", 1, &t, 1);
    struct tensor riders[] = {tensor_1d("text", TENSOR_U8, text, TEXT),
                              tensor_1d("ends", TENSOR_I64, ends, TOKENS)};
    struct frame end = {.kind = FRAME_END, .stream = 1, .port = "nll", .tensors = riders, .tensor_count = 2};
    feed(h, "nll", &end);
    struct json_node *r = record_of(h, 0);
    cr_assert_eq(json_int_or(r, "bytes", 0), TEXT);
    cr_assert_eq(json_int_or(json_item(json_member(r, "top"), 0), "line", 0), 3);
    json_free(r);
    harness_close(h);
}

Test(score, the_size_that_load_gave_counts)
{
    struct harness *h = open_score(NULL);
    struct attr bytes = {.key = "bytes", .type = ATTR_INT, .integer = 1000};
    struct tensor t = tensor_1d("nll", TENSOR_F32, nll, TOKENS - 1);
    struct frame f = {.kind = FRAME_DATA,
                      .stream = 1,
                      .position = 1,
                      .port = "nll",
                      .tensors = &t,
                      .tensor_count = 1,
                      .attrs = &bytes,
                      .attr_count = 1};
    feed(h, "nll", &f);
    feed_kind(h, "nll", 1, FRAME_END);
    struct json_node *r = record_of(h, 0);
    cr_assert_float_eq(json_number_or(r, "bits_per_byte", 0), sum_nll() / M_LN2 / 1000, 1e-9);
    json_free(r);
    harness_close(h);
}

static void expect_error(struct tensor *t, size_t count, uint64_t position, const char *part)
{
    struct harness *h = open_score(ARGS("--top", "1"));
    feed_tensors(h, "nll", 1, "bad", position, t, count);
    if (error_of(h, "record", 0) == NULL) feed_tensors(h, "nll", 1, NULL, position + 5, t, count);
    const char *error = error_of(h, "record", 0);
    cr_assert_not_null(error);
    cr_assert_not_null(strstr(error, part), "%s", error);
    harness_close(h);
}

Test(score, values_that_are_not_finite_are_the_documents_error)
{
    float bad[] = {1, NAN}, worse[] = {INFINITY};
    struct tensor a = tensor_1d("nll", TENSOR_F32, bad, 2), b = tensor_1d("nll", TENSOR_F32, worse, 1);
    expect_error(&a, 1, 1, "nll of position 2 is not a finite number");
    expect_error(&b, 1, 7, "nll of position 7");
}

Test(score, a_gap_between_frames_is_the_documents_error)
{
    struct tensor t = tensor_1d("nll", TENSOR_F32, nll, 2);
    expect_error(&t, 1, 1, "nll of position 6 follows 3");
}

Test(score, riders_of_another_type_are_the_documents_error)
{
    struct tensor t[] = {tensor_1d("nll", TENSOR_F32, nll, 2), tensor_1d("ends", TENSOR_I32, tokens, 3)};
    expect_error(t, 2, 1, "u8 and i64");
}

Test(score, ends_that_fall_or_are_too_few_give_no_lines_and_no_crash)
{
    static const int64_t falling[TOKENS] = {0, 9, 4, 14, 1000000, -5, 29, 30, 32};
    for (int few = 0; few < 2; few++) {
        struct harness *h = open_score(ARGS("--top", "3", "--min-bytes", "1"));
        struct tensor t[] = {
            tensor_1d("nll", TENSOR_F32, nll, TOKENS - 1), tensor_1d("text", TENSOR_U8, text, TEXT),
            few ? tensor_1d("ends", TENSOR_I64, ends, 3) : tensor_1d("ends", TENSOR_I64, falling, TOKENS)};
        feed_tensors(h, "nll", 1, "d", 1, t, 3);
        feed_kind(h, "nll", 1, FRAME_END);
        struct json_node *r = record_of(h, 0);
        cr_assert_eq(json_count(json_member(r, "top")), 0);
        json_free(r);
        harness_close(h);
    }
}

Test(score, ends_beyond_the_text_are_held_to_it)
{
    static const int64_t beyond[3] = {0, 4, 1000};
    struct harness *h = open_score(ARGS("--top", "3", "--min-bytes", "1"));
    struct tensor t[] = {tensor_1d("nll", TENSOR_F32, nll, 2), tensor_1d("text", TENSOR_U8, "aaaa\nbb", 7),
                         tensor_1d("ends", TENSOR_I64, beyond, 3)};
    feed_tensors(h, "nll", 1, "d", 1, t, 3);
    feed_kind(h, "nll", 1, FRAME_END);
    struct json_node *r = record_of(h, 0);
    cr_assert_eq(json_count(json_member(r, "top")), 2);
    json_free(r);
    harness_close(h);
}
