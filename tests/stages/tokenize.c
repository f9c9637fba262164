/* tokenize and detokenize: their tables, called directly. */
#include "tests/support/harness.h"

#include "graph/buf.h"
#include "text/tokenizer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const struct stage_ops tokenize_ops, detokenize_ops;

#define LLAMA3 THEA_SOURCE_DIR "/tests/goldens/tokenizers/bytelevel-llama3"
#define SPM    THEA_SOURCE_DIR "/tests/goldens/tokenizers/spm-llama"
#define GPT2   THEA_SOURCE_DIR "/tests/goldens/tokenizers/bytelevel-gpt2"
enum { BOS = 1006 };

static struct harness *open_ports(const struct stage_ops *ops, const char *model, const char *option,
                                  const char *const *inputs)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    const char *args[] = {"-m", model, option, NULL};
    cr_assert_eq(harness_open_ports(&h, ops, args, inputs, NULL, &err), THEA_OK, "%s", err.message);
    return h;
}

static struct harness *open_stage(const struct stage_ops *ops, const char *model, const char *option)
{
    static const char *const docs[] = {"docs", NULL};
    return open_ports(ops, model, option, ops == &tokenize_ops ? docs : NULL);
}

static void feed(struct harness *h, const char *port, uint64_t stream, frame_kind kind,
                 struct tensor *tensors, size_t count)
{
    struct thea_err err = {0};
    struct attr id = {.key = "id", .type = ATTR_TEXT, .text = "a.md"};
    struct frame f = {.kind = kind,
                      .stream = stream,
                      .port = port,
                      .tensors = tensors,
                      .tensor_count = count,
                      .attrs = &id,
                      .attr_count = 1};
    cr_assert_eq(harness_feed(h, port, &f, &err), THEA_OK, "%s", err.message);
}

static void feed_document(struct harness *h, uint64_t stream, const char *text, size_t len, size_t piece)
{
    for (size_t at = 0; at < len; at += piece) {
        struct tensor t = tensor_1d("text", TENSOR_U8, text + at, len - at < piece ? len - at : piece);
        feed(h, "docs", stream, FRAME_DATA, &t, 1);
    }
    feed(h, "docs", stream, FRAME_END, NULL, 0);
}

/* All rows of a tensor over a port's frames of one stream, joined. */
static struct buf joined(const struct harness *h, const char *port, uint64_t stream, const char *name)
{
    struct buf all = {0};
    for (size_t i = 0; i < harness_count(h, port); i++) {
        const struct frame *f = harness_frame(h, port, i);
        const struct tensor *t = frame_tensor(f, name);
        if (f->stream == stream && t != NULL) buf_add(&all, t->data, t->size_bytes);
    }
    return all;
}

static size_t data_frames(const struct harness *h, const char *port)
{
    size_t n = 0;
    for (size_t i = 0; i < harness_count(h, port); i++) n += harness_frame(h, port, i)->kind == FRAME_DATA;
    return n;
}

static const char *error_on(const struct harness *h, const char *port)
{
    for (size_t i = 0; i < harness_count(h, port); i++)
        if (harness_frame(h, port, i)->kind == FRAME_ERROR)
            return frame_attr_text(harness_frame(h, port, i), "error", "");
    return NULL;
}

static char *long_text(size_t *len)
{
    struct buf b = {0};
    for (int i = 0; i < 3000; i++)
        buf_printf(&b, "%d caf\xC3\xA9 na\xC3\xAFve\t\xE6\x97\xA5\xE6\x9C\xAC;\n", i);
    *len = b.len;
    return buf_take(&b);
}

Test(tokenize, a_document_gives_the_same_tokens_however_its_text_arrives)
{
    size_t len, pieces[] = {1, 7, 4096, 1 << 20};
    char *text = long_text(&len);
    struct buf first = {0};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct harness *h = open_stage(&tokenize_ops, LLAMA3, NULL);
        feed_document(h, 1, text, len, pieces[i]);
        struct buf tokens = joined(h, "tokens", 1, "tokens");
        if (i == 0)
            first = tokens;
        else {
            cr_assert(tokens.len == first.len && memcmp(tokens.data, first.data, first.len) == 0,
                      "pieces of %zu", pieces[i]);
            buf_fini(&tokens);
        }
        harness_close(h);
    }
    cr_assert_gt(first.len, 3000 * sizeof(int32_t));
    buf_fini(&first);
    free(text);
}

Test(tokenize, frames_hold_at_most_4096_tokens_with_their_text_and_absolute_ends)
{
    size_t len, position = 0;
    char *text = long_text(&len);
    struct harness *h = open_stage(&tokenize_ops, LLAMA3, NULL);
    feed_document(h, 1, text, len, 1000);
    cr_assert_gt(data_frames(h, "tokens"), 2);
    int64_t end = 0;
    for (size_t i = 0; i < data_frames(h, "tokens"); i++) {
        const struct frame *f = harness_frame(h, "tokens", i);
        const struct tensor *tokens = frame_tensor(f, "tokens"), *ends = frame_tensor(f, "ends"),
                            *piece = frame_tensor(f, "text");
        cr_assert(tokens != NULL && ends != NULL && piece != NULL);
        cr_assert_eq(f->position, position);
        cr_assert(tokens->shape[0] >= 1 && tokens->shape[0] <= 4096 && ends->shape[0] == tokens->shape[0]);
        int64_t last = ((const int64_t *)ends->data)[ends->shape[0] - 1];
        cr_assert_eq(last - end, (int64_t)piece->shape[0], "frame %zu", i);
        end = last;
        position += tokens->shape[0];
    }
    cr_assert_eq(end, (int64_t)len);
    struct buf all = joined(h, "tokens", 1, "text");
    cr_assert(all.len == len && memcmp(all.data, text, len) == 0);
    buf_fini(&all);
    harness_close(h);
    free(text);
}

/* What leaves step by step is what the tokenizer gives at once, ends without the prompt before them. */
Test(tokenize, frames_of_a_long_document_behind_a_prompt_are_its_tokens)
{
    static const char prompt[] = "passage: ";
    size_t len;
    char *text = long_text(&len);
    struct buf whole = {0};
    struct tokenizer *t = NULL;
    struct token_list want = {0};
    struct thea_err err = {0};
    buf_printf(&whole, "%s%s", prompt, text);
    cr_assert_eq(tokenizer_open(&t, SPM, &err), THEA_OK, "%s", err.message);
    cr_assert_eq(tokenizer_encode(t, whole.data, whole.len, true, &want, &err), THEA_OK);
    struct harness *h = open_stage(&tokenize_ops, SPM, "--prompt=passage: ");
    feed_document(h, 1, text, len, 1000);
    struct buf ids = joined(h, "tokens", 1, "tokens"), ends = joined(h, "tokens", 1, "ends"),
               own = joined(h, "tokens", 1, "text");
    cr_assert_gt(data_frames(h, "tokens"), 3);
    cr_assert(ids.len == want.count * sizeof *want.ids && memcmp(ids.data, want.ids, ids.len) == 0);
    for (size_t i = 0; i < want.count; i++) {
        int64_t end = want.ends[i] - (int64_t)strlen(prompt);
        cr_assert_eq(((const int64_t *)(const void *)ends.data)[i], end > 0 ? end : 0, "token %zu", i);
    }
    cr_assert(own.len == len && memcmp(own.data, text, len) == 0);
    cr_assert_str_eq(frame_attr_text(harness_frame(h, "tokens", 0), "prompt", ""), prompt);
    buf_fini(&ids), buf_fini(&ends), buf_fini(&own), buf_fini(&whole);
    token_list_fini(&want);
    tokenizer_close(t);
    harness_close(h);
    free(text);
}

Test(tokenize, an_empty_document_still_has_its_special_tokens)
{
    struct harness *h = open_stage(&tokenize_ops, LLAMA3, NULL);
    feed_document(h, 1, "", 0, 1);
    struct buf tokens = joined(h, "tokens", 1, "tokens"), ends = joined(h, "tokens", 1, "ends");
    cr_assert_eq(tokens.len, sizeof(int32_t));
    cr_assert_eq(*(int32_t *)(void *)tokens.data, BOS);
    cr_assert_eq(*(int64_t *)(void *)ends.data, 0);
    cr_assert_eq(harness_frame(h, "tokens", harness_count(h, "tokens") - 1)->kind, FRAME_END);
    buf_fini(&tokens);
    buf_fini(&ends);
    harness_close(h);
}

Test(tokenize, an_empty_document_without_special_tokens_is_a_stream_that_ends)
{
    struct harness *h = open_stage(&tokenize_ops, LLAMA3, "--no-special");
    feed_document(h, 1, "", 0, 1);
    cr_assert_eq(data_frames(h, "tokens"), 0);
    cr_assert_eq(harness_count(h, "tokens"), 1);
    cr_assert_eq(harness_frame(h, "tokens", 0)->kind, FRAME_END);
    cr_assert_str_eq(frame_attr_text(harness_frame(h, "tokens", 0), "id", ""), "a.md");
    harness_close(h);
}

Test(tokenize, interleaved_documents_do_not_mix)
{
    struct harness *h = open_stage(&tokenize_ops, GPT2, "--no-special");
    struct tensor a = tensor_1d("text", TENSOR_U8, "alpha ", 6), b = tensor_1d("text", TENSOR_U8, "beta ", 5);
    feed(h, "docs", 1, FRAME_DATA, &a, 1);
    feed(h, "docs", 2, FRAME_DATA, &b, 1);
    feed(h, "docs", 1, FRAME_DATA, &b, 1);
    feed(h, "docs", 2, FRAME_END, NULL, 0);
    feed(h, "docs", 1, FRAME_END, NULL, 0);
    struct buf one = joined(h, "tokens", 1, "text"), two = joined(h, "tokens", 2, "text");
    cr_assert_str_eq(one.data, "alpha beta ");
    cr_assert_str_eq(two.data, "beta ");
    buf_fini(&one);
    buf_fini(&two);
    harness_close(h);
}

Test(tokenize, text_that_is_not_utf8_ends_its_document_with_an_error_and_no_other)
{
    struct harness *h = open_stage(&tokenize_ops, GPT2, NULL);
    feed_document(h, 1,
                  "ab\xFF"
                  "cd",
                  5, 5);
    cr_assert_not_null(error_on(h, "tokens"));
    cr_assert_not_null(strstr(error_on(h, "tokens"), "not valid UTF-8 at byte 2"), "%s",
                       error_on(h, "tokens"));
    feed_document(h, 2, "good", 4, 4);
    struct buf text = joined(h, "tokens", 2, "text");
    cr_assert_str_eq(text.data, "good");
    buf_fini(&text);
    harness_close(h);
}

Test(tokenize, ids_pass_as_they_are_beside_documents_of_text)
{
    struct harness *h = open_ports(&tokenize_ops, GPT2, NULL, NULL);
    static const int32_t ids[] = {5, 0, 7, 9};
    struct tensor a = tensor_1d("tokens", TENSOR_I32, ids, 3),
                  b = tensor_1d("tokens", TENSOR_I32, ids + 3, 1);
    feed_document(h, 1, "words", 5, 5);
    feed(h, "ids", 1, FRAME_END, NULL, 0);
    feed(h, "docs", 2, FRAME_END, NULL, 0);
    feed(h, "ids", 2, FRAME_DATA, &a, 1);
    feed(h, "ids", 2, FRAME_DATA, &b, 1);
    feed(h, "ids", 2, FRAME_END, NULL, 0);
    struct buf text = joined(h, "tokens", 1, "tokens"), passed = joined(h, "tokens", 2, "tokens");
    cr_assert_gt(text.len, 0);
    cr_assert(passed.len == sizeof ids && memcmp(passed.data, ids, sizeof ids) == 0);
    buf_fini(&text);
    buf_fini(&passed);
    harness_close(h);
}

Test(tokenize, text_and_ids_of_one_document_are_refused)
{
    struct harness *h = open_ports(&tokenize_ops, GPT2, NULL, NULL);
    struct tensor text = tensor_1d("text", TENSOR_U8, "words", 5),
                  ids = tensor_1d("tokens", TENSOR_I32, (const int32_t[]){1}, 1);
    feed(h, "docs", 1, FRAME_DATA, &text, 1);
    feed(h, "ids", 1, FRAME_DATA, &ids, 1);
    cr_assert_not_null(error_on(h, "tokens"));
    cr_assert_not_null(strstr(error_on(h, "tokens"), "both text and token ids"), "%s", error_on(h, "tokens"));
    harness_close(h);
}

static void refuses(const struct stage_ops *ops, const char *model, const char *says)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    const char *args[] = {"-m", model, NULL};
    thea_rc rc = harness_open(&h, ops, args, NULL, &err);
    cr_assert_neq(rc, THEA_OK);
    cr_assert_not_null(strstr(err.message, says), "%s", err.message);
    harness_close(h);
}

Test(tokenize, a_model_that_is_not_there_is_refused)
{
    refuses(&tokenize_ops, "/nonexistent/model", "/nonexistent/model");
    refuses(&detokenize_ops, "/nonexistent/model", "/nonexistent/model");
}

Test(tokenize, a_directory_without_a_tokenizer_is_refused)
{
    refuses(&tokenize_ops, THEA_SOURCE_DIR "/tests/text", "tokenizer.json");
    refuses(&detokenize_ops, THEA_SOURCE_DIR "/tests/text", "tokenizer.json");
}

/* What opening tokenize on a copy of a golden tokenizer with this config.json says on stderr. */
static char *said_of(const char *golden, const char *config)
{
    char dir[] = "/tmp/thea-cased-XXXXXX", path[256], from[512];
    struct buf said = {0};
    cr_assert_not_null(mkdtemp(dir));
    snprintf(from, sizeof from, "%s/tests/goldens/tokenizers/%s/tokenizer.json", THEA_SOURCE_DIR, golden);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    cr_assert_eq(symlink(from, path), 0);
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL && fputs(config, file) >= 0 && fclose(file) == 0);
    FILE *log = tmpfile();
    int before = dup(2);
    cr_assert(log != NULL && dup2(fileno(log), 2) == 2);
    harness_close(open_stage(&tokenize_ops, dir, NULL));
    cr_assert_eq(dup2(before, 2), 2);
    close(before);
    rewind(log);
    said.len = fread(buf_reserve(&said, 1 << 16), 1, (1 << 16) - 1, log);
    fclose(log);
    unlink(path);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    unlink(path);
    rmdir(dir);
    buf_add_char(&said, '\n');
    return buf_take(&said);
}

Test(tokenize, warns_of_a_cased_tokenizer_beside_a_model_trained_uncased)
{
    char *said = said_of("wordpiece-cased", "{\"model_type\": \"m2_bert\", \"vocab_size\": 30528}");
    cr_assert_not_null(strstr(said, "its tokenizer is cased (2000 tokens)"), "%s", said);
    cr_assert_not_null(strstr(said, "bert-base-uncased"), "%s", said);
    free(said);
    static const char *const quiet[][2] = {
        {"wordpiece-cased", "{\"model_type\": \"m2_bert\", \"vocab_size\": 2008}"}, /* made for it */
        {"wordpiece-cased", "{\"model_type\": \"bert\", \"vocab_size\": 30528}"},
        {"wordpiece-uncased", "{\"model_type\": \"m2_bert\", \"vocab_size\": 30528}"},
    };
    for (size_t i = 0; i < 3; i++) {
        said = said_of(quiet[i][0], quiet[i][1]);
        cr_assert_str_eq(said, "\n", "case %zu: %s", i, said);
        free(said);
    }
}

/* Tokens of a text through detokenize, `piece` at a time, with or without the source's text riding along. */
static struct buf through_detokenize(const char *model, const char *option, const struct buf *tokens,
                                     size_t piece, bool riding)
{
    struct harness *h = open_stage(&detokenize_ops, model, option);
    const int32_t *ids = (const void *)tokens->data;
    size_t n = tokens->len / sizeof *ids;
    for (size_t at = 0; at < n; at += piece) {
        struct tensor t[2] = {tensor_1d("tokens", TENSOR_I32, ids + at, n - at < piece ? n - at : piece),
                              tensor_1d("text", TENSOR_U8, "source", 6)};
        feed(h, "tokens", 1, FRAME_DATA, t, riding ? 2 : 1);
    }
    feed(h, "tokens", 1, FRAME_END, NULL, 0);
    struct buf text = joined(h, "text", 1, "text");
    harness_close(h);
    return text;
}

Test(detokenize, gives_the_text_back_however_the_tokens_arrive)
{
    size_t len, pieces[] = {1, 2, 3, 4096};
    char *text = long_text(&len);
    const char *const models[] = {LLAMA3, SPM, GPT2};
    for (size_t m = 0; m < 3; m++) {
        struct harness *h = open_stage(&tokenize_ops, models[m], NULL);
        feed_document(h, 1, text, len, len);
        struct buf tokens = joined(h, "tokens", 1, "tokens");
        harness_close(h);
        for (size_t i = 0; i < 4; i++) {
            struct buf back = through_detokenize(models[m], "--no-special", &tokens, pieces[i], i % 2 == 0);
            cr_assert(back.len == len && memcmp(back.data, text, len) == 0, "%s, %zu at a time", models[m],
                      pieces[i]);
            buf_fini(&back);
        }
        buf_fini(&tokens);
    }
    free(text);
}

Test(detokenize, keeps_special_tokens_unless_told_not_to)
{
    int32_t ids[] = {BOS, 72};
    struct buf tokens = {0};
    buf_add(&tokens, ids, sizeof ids);
    struct buf with = through_detokenize(LLAMA3, NULL, &tokens, 2, false),
               without = through_detokenize(LLAMA3, "--no-special", &tokens, 2, false);
    cr_assert_not_null(strstr(with.data, "<|begin_of_text|>"));
    cr_assert_null(strstr(without.data, "<|begin_of_text|>"));
    cr_assert_eq(without.len, 1);
    buf_fini(&with);
    buf_fini(&without);
    buf_fini(&tokens);
}

Test(detokenize, only_whole_characters_leave)
{
    struct harness *h = open_stage(&tokenize_ops, GPT2, NULL);
    const char *text = "\xE6\x97\xA5\xF0\x9F\x98\x80\xC3\xA9";
    feed_document(h, 1, text, strlen(text), strlen(text));
    struct buf tokens = joined(h, "tokens", 1, "tokens");
    harness_close(h);
    h = open_stage(&detokenize_ops, GPT2, NULL);
    const int32_t *ids = (const void *)tokens.data;
    for (size_t i = 0; i < tokens.len / sizeof *ids; i++) {
        struct tensor t = tensor_1d("tokens", TENSOR_I32, ids + i, 1);
        feed(h, "tokens", 1, FRAME_DATA, &t, 1);
    }
    cr_assert_gt(tokens.len / sizeof *ids, 3, "the characters must be split for this test to say anything");
    for (size_t i = 0; i < data_frames(h, "text"); i++) {
        const struct tensor *t = frame_tensor(harness_frame(h, "text", i), "text");
        if (t == NULL || t->size_bytes == 0) continue;
        cr_assert_neq(((const unsigned char *)t->data)[0] & 0xC0, 0x80, "frame %zu begins inside a character",
                      i);
    }
    buf_fini(&tokens);
    harness_close(h);
}

/* The continuation " b" of "a", as `sample` sends it: one token a frame, positions go on, the text before
 * rides with the first. */
static struct buf continued(const char *model, const char *option)
{
    struct harness *h = open_stage(&tokenize_ops, model, "--no-special");
    feed_document(h, 1, "a b", 3, 3);
    struct buf tokens = joined(h, "tokens", 1, "tokens");
    harness_close(h);
    const int32_t *ids = (const void *)tokens.data;
    size_t n = tokens.len / sizeof *ids;
    cr_assert_gt(n, 1);
    h = open_stage(&detokenize_ops, model, option);
    for (size_t i = 1; i < n; i++) {
        struct tensor t[2] = {tensor_1d("tokens", TENSOR_I32, ids + i, 1),
                              tensor_1d("text", TENSOR_U8, "a", 1)};
        struct frame f = {.stream = 1,
                          .seq = i - 1,
                          .position = i,
                          .kind = FRAME_DATA,
                          .tensors = t,
                          .tensor_count = i == 1 ? 2 : 1};
        struct thea_err err;
        cr_assert_eq(harness_feed(h, "tokens", &f, &err), THEA_OK, "%s", err.message);
    }
    feed(h, "tokens", 1, FRAME_END, NULL, 0);
    struct buf text = joined(h, "text", 1, "text");
    harness_close(h);
    buf_fini(&tokens);
    return text;
}

Test(detokenize, keeps_the_space_that_begins_a_continuation_and_echoes_what_it_continues_when_asked)
{
    const char *const models[] = {LLAMA3, SPM, GPT2};
    for (size_t m = 0; m < 3; m++) {
        struct buf alone = continued(models[m], NULL), echoed = continued(models[m], "--echo");
        cr_expect_str_eq(buf_text(&alone), " b", "%s", models[m]);
        cr_expect_str_eq(buf_text(&echoed), "a b", "%s", models[m]);
        buf_fini(&alone);
        buf_fini(&echoed);
    }
}

Test(detokenize, an_id_outside_the_vocabulary_ends_its_document_with_an_error)
{
    int32_t ids[] = {72, 99999};
    struct harness *h = open_stage(&detokenize_ops, LLAMA3, NULL);
    struct tensor t = tensor_1d("tokens", TENSOR_I32, ids, 2);
    feed(h, "tokens", 1, FRAME_DATA, &t, 1);
    cr_assert_not_null(error_on(h, "text"));
    cr_assert_not_null(strstr(error_on(h, "text"), "99999"), "%s", error_on(h, "text"));
    harness_close(h);
}
