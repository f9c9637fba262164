/* thea tap -: frames on stdin as text or JSON lines, one a frame. Taps of running pipelines come with 0.2. */
#include "bin/thea/support/command.h"
#include "graph/buf.h"
#include "graph/json.h"
#include "graph/wire/frame.h"

#include <math.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TAP_VALUES = 8, TAP_VALUES_JSON = 4096, TAP_TEXT = 60 };

static double element(const struct tensor *t, uint64_t i)
{
    switch (t->dtype) {
    case TENSOR_F32: {
        float v;
        memcpy(&v, (const char *)t->data + i * 4, 4);
        return (double)v;
    }
    case TENSOR_I32: {
        int32_t v;
        memcpy(&v, (const char *)t->data + i * 4, 4);
        return v;
    }
    case TENSOR_I64: {
        int64_t v;
        memcpy(&v, (const char *)t->data + i * 8, 8);
        return (double)v;
    }
    case TENSOR_I8: return ((const int8_t *)t->data)[i];
    case TENSOR_U8: return ((const uint8_t *)t->data)[i];
    default: return NAN; /* other types are shown by shape alone */
    }
}

static bool has_elements(const struct tensor *t)
{
    return t->data != NULL && t->dtype != TENSOR_F16 && t->dtype != TENSOR_BF16 && t->dtype < TENSOR_Q8_0;
}

/* The beginning of a text tensor, quoted, control characters as dots. */
static void text_preview(struct buf *out, const struct tensor *t)
{
    const unsigned char *s = t->data;
    size_t n = t->size_bytes < TAP_TEXT ? (size_t)t->size_bytes : TAP_TEXT;
    while (n > 0 && n < t->size_bytes && (s[n] & 0xC0) == 0x80) n--;
    buf_add_text(out, " \"");
    for (size_t i = 0; i < n; i++) buf_add_char(out, s[i] < 0x20 || s[i] == 0x7F ? '.' : (char)s[i]);
    buf_add_text(out, n < t->size_bytes ? "…\"" : "\"");
}

static void values_preview(struct buf *out, const struct tensor *t)
{
    uint64_t n = tensor_elements(t);
    for (uint64_t i = 0; i < n && i < TAP_VALUES; i++) buf_printf(out, " %.6g", element(t, i));
    if (n > TAP_VALUES) buf_add_text(out, " …");
}

static void print_text(const struct frame *f, bool tensors, struct buf *out)
{
    buf_printf(out, "%-5s stream %llu seq %llu pos %llu", frame_kind_name(f->kind),
               (unsigned long long)f->stream, (unsigned long long)f->seq, (unsigned long long)f->position);
    if (f->port != NULL && f->port[0] != '\0') buf_printf(out, "  port %s", f->port);
    for (size_t i = 0; i < f->attr_count; i++) {
        const struct attr *a = &f->attrs[i];
        buf_printf(out, "  %s=", a->key);
        if (a->type == ATTR_TEXT)
            buf_add_text(out, a->text);
        else if (a->type == ATTR_INT)
            buf_printf(out, "%lld", (long long)a->integer);
        else
            buf_printf(out, "%g", a->number);
    }
    buf_add_char(out, '\n');
    for (size_t i = 0; i < f->tensor_count; i++) {
        char shape[128];
        buf_printf(out, "      %-10s %s", f->tensors[i].name, tensor_describe(shape, &f->tensors[i]));
        if (tensors && f->tensors[i].dtype == TENSOR_U8)
            text_preview(out, &f->tensors[i]);
        else if (tensors && has_elements(&f->tensors[i]))
            values_preview(out, &f->tensors[i]);
        buf_add_char(out, '\n');
    }
}

static struct json_node *tensor_json(const struct tensor *t, bool values)
{
    struct json_node *map = json_new_map();
    struct json_node *shape = json_new_list();
    for (uint32_t i = 0; i < t->rank; i++) json_append(shape, json_new_int((int64_t)t->shape[i]));
    const struct tensor_dtype_info *dtype = tensor_dtype_info(t->dtype);
    json_put(map, "name", json_new_string(t->name));
    json_put(map, "dtype", json_new_string(dtype != NULL ? dtype->name : "?"));
    json_put(map, "shape", shape);
    if (!values || !has_elements(t)) return map;
    if (t->dtype == TENSOR_U8) {
        json_put(map, "text", json_new_text(t->data, t->size_bytes));
        return map;
    }
    struct json_node *list = json_new_list();
    for (uint64_t i = 0; i < tensor_elements(t) && i < TAP_VALUES_JSON; i++)
        json_append(list, json_new_number(element(t, i)));
    json_put(map, "values", list);
    return map;
}

static void print_json(const struct frame *f, bool tensors, struct buf *out)
{
    struct json_node *map = json_new_map(), *attrs = json_new_map(), *list = json_new_list();
    json_put(map, "kind", json_new_string(frame_kind_name(f->kind)));
    json_put(map, "stream", json_new_int((int64_t)f->stream));
    json_put(map, "seq", json_new_int((int64_t)f->seq));
    json_put(map, "position", json_new_int((int64_t)f->position));
    json_put(map, "port", json_new_string(f->port));
    for (size_t i = 0; i < f->attr_count; i++) {
        const struct attr *a = &f->attrs[i];
        json_put(attrs, a->key,
                 a->type == ATTR_TEXT  ? json_new_string(a->text)
                 : a->type == ATTR_INT ? json_new_int(a->integer)
                                       : json_new_number(a->number));
    }
    for (size_t i = 0; i < f->tensor_count; i++) json_append(list, tensor_json(&f->tensors[i], tensors));
    json_put(map, "attributes", attrs);
    json_put(map, "tensors", list);
    char *text = json_print(map, 0, 9);
    buf_printf(out, "%s\n", text);
    free(text);
    json_free(map);
}

static thea_rc tap_stdin(const struct command_args *args, struct thea_err *err)
{
    struct frame_reader *reader = NULL;
    struct value limit = {.integer = INT64_MAX};
    const char *limit_text = command_value(args, "limit");
    if (limit_text != NULL && value_parse(&limit, VALUE_INT, NULL, limit_text, err) != THEA_OK)
        return err->rc;
    thea_rc rc = frame_reader_open(&reader, STDIN_FILENO, err);
    struct buf out = {0};
    struct frame f;
    for (int64_t n = 0; rc == THEA_OK && n < limit.integer; n++) {
        rc = frame_read(reader, &f, err);
        if (rc != THEA_OK) break;
        buf_clear(&out);
        if (command_flag(args, "json", false))
            print_json(&f, command_flag(args, "tensors", false), &out);
        else
            print_text(&f, command_flag(args, "tensors", false), &out);
        if (fwrite(buf_text(&out), 1, out.len, stdout) == out.len && fflush(stdout) == 0) continue;
        if (errno != EPIPE) rc = thea_fail(err, THEA_EIO, "cannot write stdout: %s", strerror(errno));
        break; /* a reader that had enough is no error */
    }
    buf_fini(&out);
    frame_reader_close(reader);
    return rc == THEA_DONE ? THEA_OK : rc;
}

static int run(const struct command_args *args)
{
    struct thea_err err = {0};
    if (strcmp(args->operands[0], "-") != 0) {
        thea_error("tap: runs cannot be tapped yet (that comes with 0.2); frames on stdin can\n  usage  thea "
                   "load README.md | thea tap -");
        return 64;
    }
    if (isatty(STDIN_FILENO)) {
        thea_error(
            "tap: stdin is a terminal; pipe frames into it\n  usage  thea load README.md | thea tap -");
        return 64;
    }
    return tap_stdin(args, &err) == THEA_OK ? 0 : thea_log_failure(&err);
}

static const struct command_option options[] = {
    {"limit", 0, VALUE_INT, "N", "stop after N frames", NULL},
    {"tensors", 0, VALUE_BOOL, NULL, "show values too: the first 8, or all with --json (4,096 at most)",
     NULL},
    {"json", 0, VALUE_BOOL, NULL, "one JSON object a frame (JSON Lines)", NULL},
    {0},
};
static const char *const examples[] = {
    "thea load README.md | thea tap -   the frames of a document",
    "thea load README.md | thea tokenize -m thea-mini | thea tap - --tensors   token ids too", NULL};

const struct command command_tap = {
    .name = "tap",
    .operands = "-",
    .summary = "print frames as text",
    .description = "Reads frames on stdin, as a stage writes them, and prints a line for each frame and each "
                   "of its tensors.",
    .options = options,
    .examples = examples,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
