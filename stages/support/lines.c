/* Lines of results: see lines.h. */
#include "stages/support/lines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 9 };

static void add_number(struct buf *out, tensor_dtype dtype, const void *data, size_t i, const char *missing)
{
    if (dtype == TENSOR_I32) {
        buf_printf(out, "%d", ((const int32_t *)data)[i]);
        return;
    }
    double value = (double)((const float *)data)[i];
    if (isfinite(value))
        buf_printf(out, "%.*g", DIGITS, value);
    else
        buf_add_text(out, missing);
}

static void add_json_text(struct buf *out, const char *text, size_t len)
{
    struct json_node *node = json_new_text(text, len);
    char *printed = json_print(node, 0, 0);
    buf_add_text(out, printed);
    free(printed);
    json_free(node);
}

void lines_add_json(struct buf *out, const char *id, const char *key, tensor_dtype dtype, const void *data,
                    size_t bytes, const char *more)
{
    buf_add_text(out, "{\"id\": ");
    add_json_text(out, id, strlen(id));
    buf_printf(out, ", \"%s\": ", key);
    if (dtype == TENSOR_U8) {
        add_json_text(out, bytes > 0 ? data : "", bytes);
    } else {
        buf_add_char(out, '[');
        for (size_t i = 0; i < bytes / 4; i++) {
            if (i > 0) buf_add_text(out, ", ");
            add_number(out, dtype, data, i, "null");
        }
        buf_add_char(out, ']');
    }
    if (more != NULL) buf_add_text(out, more);
    buf_add_text(out, "}\n");
}

static void add_cell(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        static const char specials[] = "\t\n\r\\";
        const char *special = text[i] != '\0' ? strchr(specials, text[i]) : NULL;
        if (special == NULL)
            buf_add_char(out, text[i]);
        else
            buf_printf(out, "\\%c", "tnr\\"[special - specials]);
    }
}

void lines_add_tsv(struct buf *out, const char *id, tensor_dtype dtype, const void *data, size_t bytes,
                   bool one_cell)
{
    add_cell(out, id, strlen(id));
    if (dtype == TENSOR_U8) {
        buf_add_char(out, '\t');
        add_cell(out, data, bytes);
    }
    for (size_t i = 0; dtype != TENSOR_U8 && i < bytes / 4; i++) {
        buf_add_char(out, one_cell && i > 0 ? ' ' : '\t');
        add_number(out, dtype, data, i, one_cell ? "nan" : "");
    }
    if (dtype != TENSOR_U8 && one_cell && bytes == 0) buf_add_char(out, '\t');
    buf_add_char(out, '\n');
}

void lines_add_tsv_header(struct buf *out, const char *key, size_t numbers)
{
    buf_add_text(out, "id");
    if (numbers == 0) buf_printf(out, "\t%s", key);
    for (size_t i = 0; i < numbers; i++) buf_printf(out, "\t%s%zu", key, i);
    buf_add_char(out, '\n');
}

static void add_key(struct lines_columns *c, const char *key)
{
    c->keys = reallocarray(c->keys, c->count + 1, sizeof *c->keys);
    if (c->keys == NULL || (c->keys[c->count] = strdup(key)) == NULL) abort();
    c->count++;
}

void lines_find_columns(struct lines_columns *c, const struct json_node *record)
{
    for (struct json_iter it = json_iter(record); json_next(&it);) {
        json_kind_t kind = json_kind(it.value);
        if (kind == JSON_LIST_ || kind == JSON_MAP_) continue;
        add_key(c, it.key);
    }
}

/* The cell at *from without its escapes; *from goes behind it. */
static void read_cell(struct buf *cell, const char **from)
{
    const char *at = *from;
    buf_clear(cell);
    for (; *at != '\0' && *at != '\t'; at++) {
        const char *letters = "tnr\\",
                   *letter = at[0] == '\\' && at[1] != '\0' ? strchr(letters, at[1]) : NULL;
        buf_add_char(cell, letter != NULL ? "\t\n\r\\"[letter - letters] : at[0]);
        at += letter != NULL;
    }
    *from = at;
}

void lines_read_columns(struct lines_columns *c, const char *line)
{
    struct buf cell = {0};
    while (*line != '\0') {
        read_cell(&cell, &line);
        add_key(c, buf_text(&cell));
        line += *line == '\t';
    }
    buf_fini(&cell);
}

void lines_add_columns(struct buf *out, const struct lines_columns *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (i > 0) buf_add_char(out, '\t');
        add_cell(out, c->keys[i], strlen(c->keys[i]));
    }
    buf_add_char(out, '\n');
}

void lines_add_record(struct buf *out, const struct lines_columns *c, const struct json_node *record)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct json_node *value = json_member(record, c->keys[i]);
        size_t len = 0;
        const char *text = json_text(value, &len);
        if (i > 0) buf_add_char(out, '\t');
        if (text != NULL) {
            add_cell(out, text, len);
        } else if (json_kind(value) != JSON_NULL_) {
            char *printed = json_print(value, 0, DIGITS);
            add_cell(out, printed, strlen(printed));
            free(printed);
        }
    }
    buf_add_char(out, '\n');
}

void lines_columns_fini(struct lines_columns *c)
{
    for (size_t i = 0; i < c->count; i++) free(c->keys[i]);
    free(c->keys);
    *c = (struct lines_columns){0};
}
