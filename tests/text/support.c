#include "tests/text/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const golden_tokenizers[] = {
    "tokenizers/bytelevel-gpt2",    "tokenizers/bytelevel-gpt2-prefix",
    "tokenizers/bytelevel-llama3",  "tokenizers/bytelevel-qwen",
    "tokenizers/bytelevel-removed", "tokenizers/bytelevel-lfm2",
    "tokenizers/bytelevel-added",   "tokenizers/spm-llama",
    "tokenizers/spm-metaspace",     "stories260k",
};

struct tokenizer *open_golden(const char *name)
{
    struct tokenizer *t = NULL;
    struct thea_err err = {0};
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/goldens/%s", THEA_SOURCE_DIR, name);
    if (tokenizer_open(&t, path, &err) != THEA_OK) cr_assert_fail("%s: %s", name, err.message);
    return t;
}

struct tokenizer *open_text(const char *json)
{
    struct tokenizer *t = NULL;
    struct thea_err err = {0};
    if (tokenizer_parse(&t, json, strlen(json), "tokenizer.json", &err) != THEA_OK)
        cr_assert_fail("%s", err.message);
    return t;
}

char *read_file(const char *path, size_t *len)
{
    struct buf text = {0};
    size_t got;
    FILE *file = fopen(path, "rb");
    if (file == NULL) cr_assert_fail("%s: missing", path);
    while ((got = fread(buf_reserve(&text, 1 << 16), 1, 1 << 16, file)) > 0) text.len += got;
    fclose(file);
    *len = text.len;
    return buf_take(&text);
}

size_t each_line(const char *name, const char *file,
                 void (*visit)(void *context, const struct json_node *line), void *context)
{
    struct thea_err err = {0};
    char path[1024];
    size_t len, count = 0;
    snprintf(path, sizeof path, "%s/tests/goldens/%s/%s", THEA_SOURCE_DIR, name, file);
    char *text = read_file(path, &len);
    for (char *line = text, *end; line < text + len; line = end + 1) {
        struct json_node *node = NULL;
        end = memchr(line, '\n', len - (size_t)(line - text));
        if (end == NULL) end = text + len;
        if (json_parse(&node, line, (size_t)(end - line), path, &err) != THEA_OK)
            cr_assert_fail("%s: line %zu: %s", path, count + 1, err.message);
        visit(context, node);
        json_free(node);
        count++;
    }
    free(text);
    return count;
}

struct token_list encode(struct tokenizer *t, const char *text, size_t len, bool special)
{
    struct token_list list = {0};
    struct thea_err err = {0};
    if (tokenizer_encode(t, text, len, special, &list, &err) != THEA_OK)
        cr_assert_fail("encode: %s", err.message);
    return list;
}

struct buf decode(struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special)
{
    struct buf out = {0};
    struct thea_err err = {0};
    if (tokenizer_decode(t, ids, n, skip_special, &out, &err) != THEA_OK)
        cr_assert_fail("decode: %s", err.message);
    return out;
}

int32_t *ids_of(const struct json_node *list, size_t *n)
{
    *n = json_count(list);
    int32_t *ids = calloc(*n + 1, sizeof *ids);
    for (size_t i = 0; i < *n; i++) ids[i] = (int32_t)json_int(json_item(list, i));
    return ids;
}

char *ids_text(const int32_t *ids, size_t n)
{
    struct buf text = {0};
    buf_add_char(&text, '[');
    for (size_t i = 0; i < n && i < 60; i++) buf_printf(&text, "%s%d", i == 0 ? "" : ", ", ids[i]);
    buf_add_text(&text, n > 60 ? ", …]" : "]");
    return buf_take(&text);
}
