/* Fuzzing tokenizers: no input may crash, leak or hang them, and laws must hold on what they accept.
 * An input is a tokenizer.json, then optionally a 0xFF byte and a text for it; one that begins with a letter
 * a-l instead is a text for a golden tokenizer. Run:  fuzz-tokenizer tests/fuzz/corpus/tokenizer  */
#include "text/tokenizer_internal.h"
#include "text/utf8.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const goldens[] = {
    "tokenizers/bytelevel-gpt2",    "tokenizers/bytelevel-gpt2-prefix",
    "tokenizers/bytelevel-llama3",  "tokenizers/bytelevel-qwen",
    "tokenizers/bytelevel-removed", "tokenizers/bytelevel-lfm2",
    "tokenizers/bytelevel-added",   "tokenizers/spm-llama",
    "tokenizers/spm-metaspace",     "stories260k",
    "tokenizers/wordpiece-uncased", "tokenizers/wordpiece-cased",
};
enum { GOLDENS = sizeof goldens / sizeof *goldens };

static void require(bool holds, const char *law)
{
    if (holds) return;
    fprintf(stderr, "broken: %s\n", law);
    abort();
}

/* All ids one at a time give what they give together. */
static void check_streaming(struct tokenizer *t, const struct token_list *ids, const struct buf *whole)
{
    struct token_decoder *d = NULL;
    struct buf cut = {0};
    require(token_decoder_new(&d, t, false, NULL) == THEA_OK, "a decoder can be made");
    for (size_t i = 0; i < ids->count; i++)
        require(token_decoder_push(d, ids->ids + i, 1, &cut, NULL) == THEA_OK,
                "an id that was made can be decoded");
    require(token_decoder_flush(d, &cut, NULL) == THEA_OK, "a decoder can be flushed");
    require(cut.len == whole->len && (cut.len == 0 || memcmp(cut.data, whole->data, cut.len) == 0),
            "streaming equals whole decoding");
    token_decoder_free(d);
    buf_fini(&cut);
}

static void check_text(struct tokenizer *t, const char *text, size_t len)
{
    struct token_list ids = {0};
    struct buf said = {0};
    struct thea_err err = {0};
    size_t bad = 0;
    thea_rc rc = tokenizer_encode(t, text, len, true, &ids, &err);
    require(rc == THEA_OK || (rc == THEA_EDOC && err.message[0] != '\0'), "encoding works or says why not");
    require(utf8_valid(text, len, &bad) || rc == THEA_EDOC, "text that is not UTF-8 is refused");
    for (size_t i = 0; rc == THEA_OK && i < ids.count; i++) {
        require(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_vocab_size(t), "ids are in the vocabulary");
        require(ids.ends[i] >= (i > 0 ? ids.ends[i - 1] : 0) && ids.ends[i] <= (int64_t)len,
                "ends grow up to the text's length");
    }
    if (rc == THEA_OK && tokenizer_decode(t, ids.ids, ids.count, false, &said, NULL) == THEA_OK) {
        require(utf8_valid(buf_text(&said), said.len, &bad), "decoded text is UTF-8");
        check_streaming(t, &ids, &said);
    }
    buf_fini(&said);
    token_list_fini(&ids);
}

static struct tokenizer *golden(size_t i)
{
    static struct tokenizer *open[GOLDENS];
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/goldens/%s", THEA_SOURCE_DIR, goldens[i]);
    if (open[i] == NULL) require(tokenizer_open(&open[i], path, NULL) == THEA_OK, path);
    return open[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tokenizer *t = NULL;
    struct thea_err err = {0};
    if (size > 0 && data[0] >= 'a' && data[0] < 'a' + GOLDENS) {
        check_text(golden((size_t)(data[0] - 'a')), (const char *)data + 1, size - 1);
        return 0;
    }
    const uint8_t *cut = size > 0 ? memchr(data, 0xFF, size) : NULL;
    size_t json = cut != NULL ? (size_t)(cut - data) : size;
    thea_rc rc = tokenizer_parse(&t, (const char *)data, json, "input", &err);
    require(rc == THEA_OK || err.message[0] != '\0', "a file that is refused is told why");
    if (rc == THEA_OK)
        check_text(t, cut != NULL ? (const char *)cut + 1 : "a b", cut != NULL ? size - json - 1 : 3);
    tokenizer_close(t);
    return 0;
}
