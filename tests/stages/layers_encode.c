/* layers of an encoder, called through its table: what waits, what leaves and in which order, parts, and what
 * it must refuse. Cutting and filling up: layers_encode_lengths.c; the first row alone: layers_encode_rows.c.
 */
#include "tests/stages/encoding.h"

/* Document `stream` of n tokens left as the model computes it by itself, bit for bit. */
static void expect_document(const struct harness *h, uint64_t stream, size_t n)
{
    static float got[CONTEXT * C], want[CONTEXT * C];
    int32_t tokens[256];
    make_tokens(tokens, stream, n);
    compute(want, tokens, n);
    cr_assert_eq(join(h, "final", "final", stream, got), n);
    cr_expect(memcmp(got, want, n * C * sizeof *got) == 0, "document %d differs", (int)stream);
    cr_expect(ended(h, "final", stream));
}

Test(layers_encode, documents_wait_until_no_input_waits)
{
    struct harness *h = open_encoder("4096");
    feed_document(h, 1, 20);
    feed_document(h, 2, 5);
    cr_expect_eq(harness_count(h, "final"), 0);
    idle(h);
    expect_document(h, 1, 20);
    expect_document(h, 2, 5);
    cr_expect_eq(harness_frame(h, "final", 0)->stream, 1, "they leave in the order of their ends");
    feed_document(h, 3, 64);
    idle(h);
    expect_document(h, 3, 64);
    harness_close(h);
}

Test(layers_encode, a_full_batch_waits_for_nothing)
{
    struct harness *h = open_encoder("30");
    feed_document(h, 1, 20);
    cr_expect_eq(harness_count(h, "final"), 0);
    feed_document(h, 2, 15); /* 35 rows: the first goes, the second still waits */
    cr_expect(ended(h, "final", 1) && !ended(h, "final", 2));
    feed_document(h, 3, 40); /* larger than the budget: by itself */
    cr_expect(ended(h, "final", 2) && !ended(h, "final", 3));
    idle(h);
    for (uint64_t i = 1; i <= 3; i++) expect_document(h, i, (size_t[]){0, 20, 15, 40}[i]);
    harness_close(h);
}

Test(layers_encode, a_documents_bits_do_not_depend_on_its_batch_mates)
{
    const char *const batches[] = {"1", "50", "100", "4096"};
    for (size_t b = 0; b < 4; b++) {
        for (uint64_t first = 0; first < 5; first++) { /* five orders */
            struct harness *h = open_encoder(batches[b]);
            for (uint64_t i = 0; i < 5; i++) {
                uint64_t stream = (first + i * 2) % 5;
                feed_document(h, stream, 3 + 15 * (size_t)stream);
            }
            idle(h);
            for (uint64_t stream = 0; stream < 5; stream++)
                expect_document(h, stream, 3 + 15 * (size_t)stream);
            harness_close(h);
        }
    }
}

Test(layers_encode, rows_leave_in_chunks_with_their_tokens)
{
    struct harness *h = open_ports(ARGS("--model", TINY, "--chunk", "9"), "tokens", ARGS("final"));
    int32_t tokens[64];
    make_tokens(tokens, 4, 40);
    feed_document(h, 4, 40);
    idle(h);
    expect_document(h, 4, 40);
    cr_expect_eq(harness_count(h, "final"), 6, "five chunks and the end");
    const struct tensor *t = frame_tensor(harness_frame(h, "final", 4), "tokens");
    cr_assert(t != NULL && t->shape[0] == 4);
    cr_expect(memcmp(t->data, tokens + 36, t->size_bytes) == 0);
    cr_expect_str_eq(frame_attr_text(harness_frame(h, "final", 0), "id", ""), "doc4");
    harness_close(h);
}

Test(layers_encode, what_passes_by_leaves_once)
{
    struct harness *h = open_encoder("4096");
    int32_t tokens[10];
    make_tokens(tokens, 1, 10);
    struct tensor t[2] = {tensor_1d("tokens", TENSOR_I32, tokens, 10),
                          tensor_1d("text", TENSOR_U8, "hello", 5)};
    feed_tensors(h, "tokens", 1, "d", 0, t, 2);
    feed_kind(h, "tokens", 1, FRAME_END);
    idle(h);
    size_t seen = 0;
    for (size_t i = 0; i < harness_count(h, "final"); i++) {
        const struct tensor *text = frame_tensor(harness_frame(h, "final", i), "text");
        seen += text != NULL && text->size_bytes == 5;
    }
    cr_expect_eq(seen, 1);
    harness_close(h);
}

/* Or the stage would hold a document of any size. */
Test(layers_encode, what_lies_beside_tokens_that_are_cut_goes_no_further)
{
    struct harness *h = open_encoder("4096");
    int32_t tokens[40];
    make_tokens(tokens, 1, 40);
    for (uint64_t i = 0; i < 5; i++) { /* the second frame has the cut, after 64 */
        struct tensor t[2] = {tensor_1d("tokens", TENSOR_I32, tokens, 40),
                              tensor_1d("text", TENSOR_U8, "hello", 5)};
        feed_tensors(h, "tokens", 1, i == 0 ? "d" : NULL, i * 40, t, 2);
    }
    feed_kind(h, "tokens", 1, FRAME_END);
    idle(h);
    size_t bytes = 0;
    for (size_t i = 0; i < harness_count(h, "final"); i++) {
        const struct tensor *text = frame_tensor(harness_frame(h, "final", i), "text");
        bytes += text != NULL ? text->size_bytes : 0;
    }
    cr_expect_eq(bytes, 10, "%zu bytes", bytes);
    cr_expect(ended(h, "final", 1));
    harness_close(h);
}

/* --- hidden, parts --- */

Test(layers_encode, hidden_holds_every_block_and_ends_with_final)
{
    static float last[64 * C], rows[64 * C];
    struct harness *h = open_ports(ARGS("--model", TINY, "--chunk", "8"), "tokens", ARGS("final", "hidden"));
    feed_document(h, 1, 30);
    feed_document(h, 2, 11);
    idle(h);
    for (uint64_t s = 1; s <= 2; s++) {
        size_t n = s == 1 ? 30 : 11;
        cr_assert_eq(join(h, "final", "final", s, last), n);
        cr_assert_eq(join(h, "hidden", "hidden.3", s, rows), n);
        cr_expect(memcmp(last, rows, n * C * sizeof *rows) == 0);
        cr_assert_eq(join(h, "hidden", "hidden.0", s, rows), n);
        cr_expect(memcmp(last, rows, n * C * sizeof *rows) != 0);
    }
    harness_close(h);
}

static void pass_on(struct harness *from, struct harness *to)
{
    for (size_t i = 0; i < harness_count(from, "residual"); i++) {
        struct frame f = *harness_frame(from, "residual", i);
        feed(to, "residual", &f);
    }
}

Test(layers_encode, parts_give_what_the_whole_gives)
{
    struct harness *a = open_ports(ARGS("--model", TINY, "--blocks", "0", "--chunk", "10"), "tokens",
                                   ARGS("residual")),
                   *b = open_ports(ARGS("--model", TINY, "--blocks", "1-"), "residual",
                                   ARGS("final", "hidden"));
    for (uint64_t s = 1; s <= 3; s++) feed_document(a, s, 12 * (size_t)s);
    idle(a);
    pass_on(a, b);
    cr_expect_eq(harness_count(b, "final"), 0);
    idle(b);
    for (uint64_t s = 1; s <= 3; s++) expect_document(b, s, 12 * (size_t)s);
    cr_expect_null(frame_tensor(harness_frame(b, "hidden", 0), "hidden.1"), "that is the part's before");
    cr_expect_not_null(frame_tensor(harness_frame(b, "hidden", 0), "hidden.2"));
    harness_close(a);
    harness_close(b);
}

Test(layers_encode, a_part_refuses_what_another_model_would_give)
{
    struct harness *h = open_ports(ARGS("--model", TINY, "--blocks", "1-"), "residual", ARGS("final"));
    static float rows[65 * C];
    struct tensor t = tensor_2d("residual", TENSOR_F32, rows, 65, C);
    feed_tensors(h, "residual", 1, "long", 0, &t, 1);
    cr_expect_not_null(error_of(h, "final", 0));
    t = tensor_2d("residual", TENSOR_F32, rows, 3, C);
    struct tensor two[2] = {t, tensor_1d("tokens", TENSOR_I32, rows, 2)};
    struct frame f = {.kind = FRAME_DATA, .stream = 2, .port = "residual", .tensors = two, .tensor_count = 2};
    cr_expect(harness_feed(h, "residual", &f, &err) == THEA_EFRAME);
    cr_expect(strstr(err.message, "tokens beside") != NULL, "%s", err.message);
    harness_close(h);
}

/* The other rows' tokens would leave as what lay in memory. */
Test(layers_encode, a_part_refuses_tokens_beside_some_rows_alone)
{
    static float rows[4 * C];
    int32_t tokens[4] = {1, 2, 3, 4};
    for (int first = 0; first < 2; first++) { /* which of the two frames has tokens */
        struct harness *h = open_ports(ARGS("--model", TINY, "--blocks", "1-"), "residual", ARGS("final"));
        struct tensor t[2] = {tensor_2d("residual", TENSOR_F32, rows, 4, C),
                              tensor_1d("tokens", TENSOR_I32, tokens, 4)};
        feed_tensors(h, "residual", 1, "half", 0, t, first == 0 ? 2 : 1);
        struct frame f = {.kind = FRAME_DATA,
                          .stream = 1,
                          .position = 4,
                          .port = "residual",
                          .tensors = t,
                          .tensor_count = first == 0 ? 1 : 2};
        cr_expect(harness_feed(h, "residual", &f, &err) == THEA_EFRAME, "tokens with frame %d", first);
        cr_expect(strstr(err.message, "from row 4 on") != NULL, "%s", err.message);
        harness_close(h);
    }
}

/* --- documents that fail --- */

Test(layers_encode, a_bad_document_is_its_own_error)
{
    static const int32_t unknown[] = {1, 800, 3}, negative[] = {1, -7, 3};
    struct harness *h = open_encoder("4096");
    feed_document(h, 1, 9);
    feed_whole(h, 2, unknown, 3, 3);
    feed_whole(h, 3, negative, 3, 3);
    feed_kind(h, "tokens", 4, FRAME_END); /* empty */
    cr_expect_not_null(strstr(error_of(h, "final", 0), "token 800 is not in the vocabulary of 800"));
    cr_expect_not_null(strstr(error_of(h, "final", 1), "token -7"));
    cr_expect_not_null(strstr(error_of(h, "final", 2), "empty"));
    idle(h);
    expect_document(h, 1, 9);
    harness_close(h);
}

Test(layers_encode, a_stream_with_a_gap_ends_the_stage)
{
    struct harness *h = open_encoder("4096");
    int32_t tokens[4] = {1, 2, 3, 4};
    feed_tokens(h, 1, tokens, 4, 4);
    struct tensor t = tensor_1d("tokens", TENSOR_I32, tokens, 4);
    struct frame f = {
        .kind = FRAME_DATA, .stream = 1, .position = 5, .port = "tokens", .tensors = &t, .tensor_count = 1};
    cr_expect(harness_feed(h, "tokens", &f, &err) == THEA_EFRAME);
    cr_expect_not_null(strstr(err.message, "position 5"), "%s", err.message);
    harness_close(h);
}

Test(layers_encode, documents_that_wait_may_be_dropped)
{
    struct harness *h = open_encoder("4096");
    feed_document(h, 1, 30);
    feed_document(h, 2, 30);
    struct frame again = {.kind = FRAME_DATA, .stream = 1, .attempt = 1, .port = "tokens"};
    int32_t tokens[5];
    make_tokens(tokens, 1, 5);
    struct tensor t = tensor_1d("tokens", TENSOR_I32, tokens, 5);
    again.tensors = &t, again.tensor_count = 1;
    feed(h, "tokens", &again); /* a new attempt: the 30 tokens that wait are nobody's */
    struct frame end = {.kind = FRAME_END, .stream = 1, .attempt = 1, .port = "tokens"};
    feed(h, "tokens", &end);
    idle(h);
    expect_document(h, 1, 5);
    expect_document(h, 2, 30);
    feed_document(h, 3, 30);
    harness_close(h); /* with one that still waits */
}

/* --- what it must refuse --- */

Test(layers_encode, refuses_ports_of_causal_models)
{
    static const char *const ports[] = {"nll", "logits", "next"};
    for (size_t i = 0; i < 3; i++) {
        cr_expect(refused(ARGS("--model", TINY), ARGS("tokens"), ARGS(ports[i])) == THEA_EUSAGE, "%s",
                  ports[i]);
        cr_expect(strstr(err.message, "needs a causal model") != NULL && strstr(err.message, "final") != NULL,
                  "%s", err.message);
    }
    cr_expect(refused(ARGS("--model", TINY), ARGS("tokens", "feedback"), ARGS("final")) == THEA_EUSAGE);
    cr_expect(strstr(err.message, "feedback needs a causal model") != NULL, "%s", err.message);
}

Test(layers_encode, refuses_to_end_the_model_with_a_residual)
{
    cr_expect(refused(ARGS("--model", TINY), ARGS("tokens"), ARGS("residual")) == THEA_EUSAGE);
    cr_expect(strstr(err.message, "final, hidden") != NULL && strstr(err.message, "nll") == NULL, "%s",
              err.message);
    cr_expect(refused(ARGS("--model", TINY, "--blocks", "0-1"), ARGS("tokens"), ARGS("final")) ==
              THEA_EUSAGE);
}
