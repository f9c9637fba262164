/* layers of an encoder, called through its table: what waits, what leaves and in which order, padding and
 * cutting, parts, and what it must refuse. Values are compared with nn/model.h called directly, which
 * tests/nn compares with the reference. */
#include "nn/model.h"
#include "tests/stages/helpers.h"

#include <math.h>

#define TINY    THEA_SOURCE_DIR "/tests/goldens/bert-tiny"
#define DECODER THEA_SOURCE_DIR "/tests/goldens/lfm2-tiny"

enum { C = 48, CONTEXT = 64, SEP = 3 };

extern const struct stage_ops layers_ops;

static struct thea_err err;

static struct harness *open_ports(const char *const *args, const char *in, const char *const *out)
{
    struct harness *h = NULL;
    cr_assert(harness_open_ports(&h, &layers_ops, args, ARGS(in), out, &err) == THEA_OK, "%s", err.message);
    return h;
}

static struct harness *open_encoder(const char *batch)
{
    return open_ports(ARGS("--model", TINY, "--batch", batch), "tokens", ARGS("final"));
}

static thea_rc refused(const char *const *args, const char *const *in, const char *const *out)
{
    struct harness *h = NULL;
    thea_rc rc = harness_open_ports(&h, &layers_ops, args, in, out, &err);
    harness_close(h);
    return rc;
}

/* Document `stream`: n tokens that depend on it, the last one SEP. */
static void make_tokens(int32_t *tokens, uint64_t stream, size_t n)
{
    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)((i * 37 + stream * 101 + i * i % 13 + 5) % 800);
    if (n > 0) tokens[n - 1] = SEP;
}

static void feed_tokens(struct harness *h, uint64_t stream, const int32_t *tokens, size_t n, size_t piece)
{
    char id[32];
    snprintf(id, sizeof id, "doc%d", (int)stream);
    for (size_t at = 0; at < n; at += piece) {
        struct tensor t = tensor_1d("tokens", TENSOR_I32, tokens + at, n - at < piece ? n - at : piece);
        feed_tensors(h, "tokens", stream, at == 0 ? id : NULL, at, &t, 1);
    }
}

static void feed_document(struct harness *h, uint64_t stream, size_t n)
{
    int32_t tokens[256];
    make_tokens(tokens, stream, n);
    feed_tokens(h, stream, tokens, n, 7);
    feed_kind(h, "tokens", stream, FRAME_END);
}

static void idle(struct harness *h)
{
    cr_assert(harness_idle(h, &err) == THEA_OK, "%s", err.message);
}

static bool ended(const struct harness *h, const char *port, uint64_t stream)
{
    for (size_t i = 0; i < harness_count(h, port); i++) {
        const struct frame *f = harness_frame(h, port, i);
        if (f->stream == stream && f->kind == FRAME_END) return true;
    }
    return false;
}

/* The rows of tensor `name` of a stream, joined; each frame must begin where the one before ended. */
static size_t join(const struct harness *h, const char *port, const char *name, uint64_t stream, float *out)
{
    size_t rows = 0;
    for (size_t i = 0; i < harness_count(h, port); i++) {
        const struct frame *f = harness_frame(h, port, i);
        if (f->stream != stream || f->kind != FRAME_DATA) continue;
        const struct tensor *t = frame_tensor(f, name);
        cr_assert(t != NULL && t->rank == 2 && t->shape[1] == C);
        cr_assert_eq(f->position, rows);
        memcpy(out + rows * C, t->data, t->size_bytes);
        rows += t->shape[0];
    }
    return rows;
}

/* What the model gives for one document by itself; hidden may be NULL. */
static void compute(float *x, const int32_t *tokens, size_t n)
{
    struct workers *w;
    struct model *m;
    struct span s = {0, n};
    cr_assert(workers_new(&w, 1, &err) == THEA_OK);
    cr_assert(model_open(&m, TINY, 0, SIZE_MAX, w, kernels_select(NULL), &err) == THEA_OK, "%s", err.message);
    cr_assert(model_embed(m, x, tokens, NULL, n, 0, &err) == THEA_OK);
    cr_assert(model_encode(m, x, n, &s, 1, NULL, NULL, &err) == THEA_OK);
    model_close(m);
    workers_free(w);
}

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

/* --- cutting --- */

static int64_t attribute(const struct harness *h, uint64_t stream, const char *key)
{
    for (size_t i = 0; i < harness_count(h, "final"); i++) {
        const struct frame *f = harness_frame(h, "final", i);
        const struct attr *a = f->stream == stream ? frame_attr(f, key) : NULL;
        if (a != NULL) return a->integer;
    }
    return -1;
}

/* What leaves of tokens [sent] is what the model gives for the first ones, behind which `last` takes the
 * place of one. */
static void expect_front(const struct harness *h, uint64_t stream, int32_t *tokens, size_t sent, size_t kept,
                         int32_t last)
{
    static float got[CONTEXT * C], want[CONTEXT * C];
    tokens[kept - 1] = last;
    compute(want, tokens, kept);
    cr_assert_eq(join(h, "final", "final", stream, got), kept);
    cr_expect(memcmp(got, want, kept * C * sizeof *got) == 0);
    cr_expect_eq(attribute(h, stream, "truncated_from"), (int64_t)sent);
    const struct tensor *ids = frame_tensor(harness_frame(h, "final", 0), "tokens");
    cr_expect_eq(((const int32_t *)ids->data)[kept - 1], last);
}

static void expect_cut(const struct harness *h, uint64_t stream, size_t sent, size_t kept)
{
    int32_t tokens[256];
    make_tokens(tokens, stream, sent);
    expect_front(h, stream, tokens, sent, kept, SEP);
}

Test(layers_encode, a_long_document_is_cut_and_still_ends_with_its_last_token)
{
    static const size_t lengths[] = {65, 66, 128, 200};
    for (size_t i = 0; i < 4; i++) {
        struct harness *h = open_encoder("4096");
        feed_document(h, 1, lengths[i]);
        idle(h);
        expect_cut(h, 1, lengths[i], CONTEXT);
        harness_close(h);
    }
    struct harness *h = open_encoder("4096");
    feed_document(h, 1, 64);
    idle(h);
    cr_expect_eq(attribute(h, 1, "truncated_from"), -1);
    harness_close(h);
}

static void link_model(const char *sentence_config)
{
    static const char *const files[] = {"config.json", "model.safetensors"};
    char from[PATH_MAX];
    for (size_t i = 0; i < 2; i++) {
        snprintf(from, sizeof from, "%s/%s", TINY, files[i]);
        cr_assert_eq(symlink(from, files[i]), 0);
    }
    put_text_file("sentence_bert_config.json", sentence_config);
}

Test(layers_encode, a_sentence_encoder_cuts_where_it_was_trained_to, .init = scratch_make,
     .fini = scratch_remove)
{
    link_model("{\"max_seq_length\": 16, \"do_lower_case\": false}");
    struct harness *h = open_ports(ARGS("--model", scratch), "tokens", ARGS("final"));
    feed_document(h, 1, 40);
    idle(h);
    expect_cut(h, 1, 40, 16);
    harness_close(h);
}

/* A document of 90 tokens that ends with a word. */
static void expect_of_words(const char *model, int32_t (*last)(const int32_t *tokens))
{
    struct harness *h = open_ports(ARGS("--model", model), "tokens", ARGS("final"));
    int32_t tokens[256];
    make_tokens(tokens, 1, 90);
    tokens[89] = 444;
    feed_tokens(h, 1, tokens, 90, 20);
    feed_kind(h, "tokens", 1, FRAME_END);
    idle(h);
    expect_front(h, 1, tokens, 90, CONTEXT, last(tokens));
    harness_close(h);
}

static int32_t own_last(const int32_t *tokens)
{
    return tokens[CONTEXT - 1];
}

static int32_t last_of_all(const int32_t *tokens)
{
    return tokens[89];
}

Test(layers_encode, a_long_document_without_special_tokens_is_its_front_and_nothing_else)
{
    expect_of_words(TINY, own_last);
}

Test(layers_encode, a_long_document_keeps_its_last_token_where_nobody_knows_which_ends_one,
     .init = scratch_make, .fini = scratch_remove)
{
    link_model("{}");
    expect_of_words(scratch, last_of_all);
}

Test(layers_encode, refuses_a_sentence_config_that_makes_no_sense, .init = scratch_make,
     .fini = scratch_remove)
{
    static const char *const bad[] = {"{\"max_seq_length\": \"long\"}", "{\"max_seq_length\": 0}", "[1, 2"};
    link_model("{}");
    cr_expect(refused(ARGS("--model", scratch), ARGS("tokens"), ARGS("final")) == THEA_OK, "%s", err.message);
    for (size_t i = 0; i < 3; i++) {
        put_text_file("sentence_bert_config.json", bad[i]);
        cr_expect(refused(ARGS("--model", scratch), ARGS("tokens"), ARGS("final")) == THEA_EDATA, "%s",
                  bad[i]);
        cr_expect_not_null(strstr(err.message, "sentence_bert_config.json"), "%s", err.message);
    }
}

/* --- documents that fail --- */

Test(layers_encode, a_bad_document_is_its_own_error)
{
    static const int32_t unknown[] = {1, 800, 3}, negative[] = {1, -7, 3};
    struct harness *h = open_encoder("4096");
    feed_document(h, 1, 9);
    feed_tokens(h, 2, unknown, 3, 3);
    feed_kind(h, "tokens", 2, FRAME_END);
    feed_tokens(h, 3, negative, 3, 3);
    feed_kind(h, "tokens", 3, FRAME_END);
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

Test(layers_encode, refuses_padding_that_would_change_nothing)
{
    static const char *const pads[] = {"max", "64", "0", "-3", "some", ""};
    for (size_t i = 0; i < 6; i++) {
        cr_expect(refused(ARGS("--model", TINY, "--pad", pads[i]), ARGS("tokens"), ARGS("final")) ==
                      THEA_EUSAGE,
                  "%s", pads[i]);
        cr_expect_not_null(strstr(err.message, "accepted  none"), "%s", err.message);
    }
    cr_expect(refused(ARGS("--model", TINY, "--pad", "none"), ARGS("tokens"), ARGS("final")) == THEA_OK);
    cr_expect(refused(ARGS("--model", DECODER, "--pad", "max"), ARGS("tokens"), ARGS("nll")) == THEA_EUSAGE);
    cr_expect_not_null(strstr(err.message, "causal"), "%s", err.message);
    cr_expect(refused(ARGS("--model", DECODER, "--pad", "none"), ARGS("tokens"), ARGS("nll")) == THEA_OK);
}

#define M2 THEA_SOURCE_DIR "/tests/goldens/m2bert-tiny"

/* What leaves of a document of 20 tokens: so many rows, and what is said of them. */
static void expect_padded(const char *pad, size_t rows)
{
    struct harness *h = pad == NULL ? open_ports(ARGS("--model", M2), "tokens", ARGS("final"))
                                    : open_ports(ARGS("--model", M2, "--pad", pad), "tokens", ARGS("final"));
    int32_t tokens[20];
    for (size_t i = 0; i < 20; i++) tokens[i] = (int32_t)(i * 7 % 64);
    feed_tokens(h, 1, tokens, 20, 20);
    feed_kind(h, "tokens", 1, FRAME_END);
    idle(h);
    const struct frame *f = harness_frame(h, "final", 0);
    const struct tensor *ids = frame_tensor(f, "tokens");
    cr_assert_eq(frame_tensor(f, "final")->shape[0], rows, "pad %s", pad);
    for (size_t i = 0; i < rows; i++)
        cr_expect_eq(((const int32_t *)ids->data)[i], i < 20 ? tokens[i] : 0, "token %zu", i);
    cr_expect_eq(attribute(h, 1, "padded_to"), rows > 20 ? (int64_t)rows : -1);
    cr_expect_eq(attribute(h, 1, "padded_from"), rows > 20 ? 20 : -1);
    harness_close(h);
}

Test(layers_encode, fills_documents_up_as_the_family_or_the_user_says)
{
    expect_padded(NULL, 64);
    expect_padded("max", 64);
    expect_padded("none", 20);
    expect_padded("33", 33);
    expect_padded("20", 20);
    expect_padded("5", 20);
}

/* --- rows --- */

static const char *rows_of(const struct harness *h, uint64_t stream)
{
    for (size_t i = 0; i < harness_count(h, "final"); i++) {
        const struct frame *f = harness_frame(h, "final", i);
        const struct attr *a = f->stream == stream ? frame_attr(f, "rows") : NULL;
        if (a != NULL) return a->text;
    }
    return "";
}

static struct harness *run_documents(const char *model, const char *rows, size_t documents)
{
    struct harness *h =
        open_ports(ARGS("--model", model, "--rows", rows, "--chunk", "16"), "tokens", ARGS("final"));
    for (uint64_t s = 1; s <= documents; s++) {
        int32_t tokens[64];
        for (size_t i = 0; i < 20 * s; i++) tokens[i] = (int32_t)((i * 7 + s) % 64);
        feed_tokens(h, s, tokens, 20 * s, 20);
        feed_kind(h, "tokens", s, FRAME_END);
    }
    idle(h);
    return h;
}

/* The tensor `final` of a stream's first frame. */
static const struct tensor *first_final(const struct harness *h, uint64_t stream)
{
    for (size_t i = 0; i < harness_count(h, "final"); i++)
        if (harness_frame(h, "final", i)->stream == stream)
            return frame_tensor(harness_frame(h, "final", i), "final");
    return NULL;
}

/* With `first` the first row leaves alone, with the bits that it has among the others. */
static void expect_first_rows(const char *model)
{
    struct harness *all = run_documents(model, "all", 3), *first = run_documents(model, "first", 3);
    cr_expect_eq(harness_count(first, "final"), 6, "a row and the end of each");
    for (uint64_t s = 1; s <= 3; s++) {
        const struct tensor *want = first_final(all, s), *got = first_final(first, s);
        cr_assert(want->shape[0] == 16 && got->shape[0] == 1 && got->shape[1] == want->shape[1]);
        cr_expect(memcmp(got->data, want->data, got->size_bytes) == 0, "document %d", (int)s);
        cr_expect_str_eq(rows_of(first, s), "first");
        cr_expect_str_eq(rows_of(all, s), "");
        cr_expect(ended(first, "final", s));
    }
    const struct tensor *tokens = frame_tensor(harness_frame(first, "final", 0), "tokens");
    cr_expect(tokens->shape[0] == 1 && *(const int32_t *)tokens->data == 1);
    harness_close(all);
    harness_close(first);
}

Test(layers_encode, gives_the_first_row_alone_if_told_so)
{
    expect_first_rows(M2);
    expect_first_rows(TINY);
}

Test(layers_encode, gives_no_hidden_beside_first_rows)
{
    cr_expect(refused(ARGS("--model", TINY, "--rows", "first"), ARGS("tokens"), ARGS("final", "hidden")) ==
              THEA_EUSAGE);
    cr_expect(strstr(err.message, "hidden has every position") != NULL &&
                  strstr(err.message, "--rows all") != NULL,
              "%s", err.message);
}

Test(layers_encode, gives_all_rows_of_a_part_that_does_not_end_the_model)
{
    struct harness *h =
        open_ports(ARGS("--model", M2, "--rows", "first", "--blocks", "0"), "tokens", ARGS("residual"));
    int32_t tokens[20] = {0};
    feed_tokens(h, 1, tokens, 20, 20);
    feed_kind(h, "tokens", 1, FRAME_END);
    idle(h);
    cr_expect_eq(frame_tensor(harness_frame(h, "residual", 0), "residual")->shape[0], 64);
    harness_close(h);
}

Test(layers_encode, refuses_a_padding_that_is_none)
{
    static const char *const pads[] = {"65", "0", "-3", "some", "", "1e3", "9999999999999999999999"};
    for (size_t i = 0; i < 7; i++) {
        cr_expect(refused(ARGS("--model", M2, "--pad", pads[i]), ARGS("tokens"), ARGS("final")) ==
                      THEA_EUSAGE,
                  "%s", pads[i]);
        cr_expect_not_null(strstr(err.message, "max, none, or a number of 1 to 64 tokens"), "%s",
                           err.message);
    }
}

Test(layers_encode, refuses_to_end_the_model_with_a_residual)
{
    cr_expect(refused(ARGS("--model", TINY), ARGS("tokens"), ARGS("residual")) == THEA_EUSAGE);
    cr_expect(strstr(err.message, "final, hidden") != NULL && strstr(err.message, "nll") == NULL, "%s",
              err.message);
    cr_expect(refused(ARGS("--model", TINY, "--blocks", "0-1"), ARGS("tokens"), ARGS("final")) ==
              THEA_EUSAGE);
}
