/* Decoding as ids come equals decoding them all, wherever the ids are cut; and every piece is whole
 * characters. */
#include "tests/text/support.h"
#include "text/utf8.h"

#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct tokenizer *t;
    const char *name;
    size_t line, held_back;
};

static void push(struct token_decoder *d, const int32_t *ids, size_t n, struct buf *out)
{
    struct thea_err err = {0};
    size_t before = out->len, bad = 0;
    cr_assert_eq(token_decoder_push(d, ids, n, out, &err), THEA_OK, "%s", err.message);
    cr_assert(out->len == before || utf8_valid(out->data + before, out->len - before, &bad),
              "a piece that is no whole characters");
}

static void same(const struct check *c, const struct buf *whole, const struct buf *cut, size_t at)
{
    cr_assert(whole->len == cut->len && memcmp(buf_text(whole), buf_text(cut), whole->len) == 0,
              "%s line %zu, cut at %zu:\n  whole '%s'\n  cut   '%s'", c->name, c->line, at, buf_text(whole),
              buf_text(cut));
}

/* In two at every place; then one by one. */
static void check_ids(struct check *c, const int32_t *ids, size_t n, bool skip)
{
    struct buf whole = decode(c->t, ids, n, skip), cut = {0};
    struct token_decoder *d = NULL;
    struct thea_err err = {0};
    cr_assert_eq(token_decoder_new(&d, c->t, skip, &err), THEA_OK);
    for (size_t at = 0; at <= n; at++) { /* flush makes the decoder as new */
        buf_clear(&cut);
        push(d, ids, at, &cut);
        push(d, ids + at, n - at, &cut);
        cr_assert_eq(token_decoder_flush(d, &cut, &err), THEA_OK);
        same(c, &whole, &cut, at);
    }
    buf_clear(&cut);
    for (size_t i = 0; i < n; i++) push(d, ids + i, 1, &cut);
    c->held_back += cut.len < whole.len;
    cr_assert_eq(token_decoder_flush(d, &cut, &err), THEA_OK);
    same(c, &whole, &cut, n);
    token_decoder_free(d);
    buf_fini(&whole);
    buf_fini(&cut);
}

static void check_line(void *context, const struct json_node *line)
{
    struct check *c = context;
    size_t n;
    int32_t *ids = ids_of(json_member(line, "ids"), &n);
    c->line++;
    if (n <= 64) check_ids(c, ids, n, false), check_ids(c, ids, n, true);
    free(ids);
}

ParameterizedTestParameters(streaming, any_cut_gives_the_whole_decoding)
{
    static size_t index[GOLDEN_TOKENIZERS];
    for (size_t i = 0; i < GOLDEN_TOKENIZERS; i++) index[i] = i;
    return cr_make_param_array(size_t, index, GOLDEN_TOKENIZERS);
}

ParameterizedTest(size_t *i, streaming, any_cut_gives_the_whole_decoding)
{
    struct check c = {.name = golden_tokenizers[*i], .t = open_golden(golden_tokenizers[*i])};
    each_line(c.name, "decode.jsonl", check_line, &c);
    cr_assert_gt(c.held_back, 5, "no text was ever held back: the test says nothing");
    c.line = 0;
    each_line(c.name, "cases.jsonl", check_line, &c);
    tokenizer_close(c.t);
}

/* Decoders that the goldens do not have, over a vocabulary of a few letters. */
static const char *const decoders[] = {
    "null",
    "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"always\"}",
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Replace\",\"pattern\":{\"String\":"
    "\"aab\"},\"content\":\"X\"}]}",
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":"
    "\"a+b\"},\"content\":\"X\"}]}",
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\"a\","
    "\"start\":2,\"stop\":3}]}",
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":"
    "\"Strip\",\"content\":\"a\",\"start\":2,\"stop\":0}]}",
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"},{\"type\":\"Fuse\"},{\"type\":\"Replace\","
    "\"pattern\":{\"String\":\"ab\"},\"content\":\"\"}]}",
};

Test(streaming, any_cut_gives_the_whole_decoding_with_any_decoder)
{
    for (size_t k = 0; k < sizeof decoders / sizeof *decoders; k++) {
        struct buf json = {0};
        buf_printf(&json,
                   "{\"decoder\":%s,\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"_\":3,"
                   "\"_a\":4,\"<0xC3>\":5,\"<0xA9>\":6,\"Ã\":7,\"©\":8},\"merges\":[]}}",
                   decoders[k]);
        struct check c = {.name = decoders[k], .t = open_text(json.data)};
        unsigned state = 1;
        for (c.line = 0; c.line < 300; c.line++) {
            int32_t ids[12];
            size_t n = c.line % 12;
            for (size_t i = 0; i < n; i++)
                ids[i] = (int32_t)((state = state * 1103515245u + 12345u) >> 16) % 9;
            check_ids(&c, ids, n, false);
        }
        tokenizer_close(c.t);
        buf_fini(&json);
    }
}

Test(streaming, a_character_leaves_with_its_last_byte)
{
    struct tokenizer *t = open_golden("tokenizers/bytelevel-gpt2");
    struct token_list ids = encode(t, "\xE6\x97\xA5x", 4, false);
    struct token_decoder *d = NULL;
    struct buf out = {0};
    struct thea_err err = {0};
    cr_assert_gt(ids.count, 2);
    cr_assert_eq(token_decoder_new(&d, t, false, &err), THEA_OK);
    for (size_t i = 0; i < ids.count; i++) {
        push(d, ids.ids + i, 1, &out);
        cr_assert_eq(out.len, ids.ends[i] < 3 ? 0 : (size_t)ids.ends[i], "after token %zu", i);
    }
    token_decoder_free(d);
    token_list_fini(&ids);
    buf_fini(&out);
    tokenizer_close(t);
}

Test(streaming, an_id_outside_the_vocabulary_is_an_error_of_the_document)
{
    struct tokenizer *t = open_golden("tokenizers/bytelevel-gpt2");
    const int32_t bad[] = {-1, 1000, INT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct buf out = {0};
        struct thea_err err = {0};
        cr_assert_eq(tokenizer_decode(t, &bad[i], 1, false, &out, &err), THEA_EDOC);
        cr_assert_not_null(strstr(err.message, "not in the vocabulary"), "%s", err.message);
        buf_fini(&out);
    }
    tokenizer_close(t);
}
