/* layers of an encoder: documents that are cut, or filled up with pad tokens. */
#include "tests/stages/encoding.h"

#define DECODER THEA_SOURCE_DIR "/tests/goldens/lfm2-tiny"

static int64_t attribute(const struct harness *h, uint64_t stream, const char *key)
{
    for (size_t i = 0; i < harness_count(h, "final"); i++) {
        const struct frame *f = harness_frame(h, "final", i);
        const struct attr *a = f->stream == stream ? frame_attr(f, key) : NULL;
        if (a != NULL) return a->integer;
    }
    return -1;
}

/* --- cutting --- */

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

Test(layers_encode_lengths, a_long_document_is_cut_and_still_ends_with_its_last_token)
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

Test(layers_encode_lengths, a_sentence_encoder_cuts_where_it_was_trained_to, .init = scratch_make,
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
    feed_whole(h, 1, tokens, 90, 20);
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

Test(layers_encode_lengths, a_long_document_without_special_tokens_is_its_front_and_nothing_else)
{
    expect_of_words(TINY, own_last);
}

Test(layers_encode_lengths, a_long_document_keeps_its_last_token_where_nobody_knows_which_ends_one,
     .init = scratch_make, .fini = scratch_remove)
{
    link_model("{}");
    expect_of_words(scratch, last_of_all);
}

Test(layers_encode_lengths, refuses_a_sentence_config_that_makes_no_sense, .init = scratch_make,
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

/* --- filling up --- */

Test(layers_encode_lengths, refuses_padding_that_would_change_nothing)
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

/* What leaves of a document of 20 tokens: so many rows, and what is said of them. */
static void expect_padded(const char *pad, size_t rows)
{
    struct harness *h = pad == NULL ? open_ports(ARGS("--model", M2), "tokens", ARGS("final"))
                                    : open_ports(ARGS("--model", M2, "--pad", pad), "tokens", ARGS("final"));
    int32_t tokens[20];
    for (size_t i = 0; i < 20; i++) tokens[i] = (int32_t)(i * 7 % 64);
    feed_whole(h, 1, tokens, 20, 20);
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

Test(layers_encode_lengths, fills_documents_up_as_the_family_or_the_user_says)
{
    expect_padded(NULL, 64);
    expect_padded("max", 64);
    expect_padded("none", 20);
    expect_padded("33", 33);
    expect_padded("20", 20);
    expect_padded("5", 20);
}

Test(layers_encode_lengths, refuses_a_padding_that_is_none)
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
