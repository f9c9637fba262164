/* Frames in lines: see tap_print.h. */
#include "bin/thea/support/tap_print.h"

#include <string.h>

enum { TEXT_BYTES = 60 };

static void print_attribute(const char *key, const struct json_node *value, struct buf *out)
{
    const char *text = json_text(value, NULL);
    buf_printf(out, "  %s=", key);
    if (text != NULL)
        buf_add_text(out, text);
    else if (json_kind(value) == JSON_INT_)
        buf_printf(out, "%lld", (long long)json_int(value));
    else
        buf_printf(out, "%g", json_number(value));
}

/* The beginning of a text, quoted, control characters as dots. */
static void print_text(const struct json_node *tensor, struct buf *out)
{
    size_t length, n;
    const char *text = json_text(json_member(tensor, "text"), &length);
    if (text == NULL) return;
    n = length < TEXT_BYTES ? length : TEXT_BYTES;
    while (n > 0 && n < length && ((unsigned char)text[n] & 0xC0) == 0x80) n--;
    buf_add_text(out, " \"");
    for (size_t i = 0; i < n; i++)
        buf_add_char(out, (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? '.' : text[i]);
    bool all = n == length && json_int(json_item(json_member(tensor, "shape"), 0)) <= (int64_t)length;
    buf_add_text(out, all ? "\"" : "…\"");
}

static void print_values(const struct json_node *tensor, struct buf *out)
{
    const struct json_node *values = json_member(tensor, "values"), *shape = json_member(tensor, "shape");
    double elements = 1;
    for (size_t i = 0; i < json_count(shape); i++) elements *= json_number(json_item(shape, i));
    for (size_t i = 0; i < json_count(values) && i < TAP_VALUES; i++)
        buf_printf(out, " %.6g", json_number(json_item(values, i)));
    if (json_count(values) > 0 && elements > TAP_VALUES) buf_add_text(out, " …");
}

static void print_tensor(const struct json_node *tensor, struct buf *out)
{
    const struct json_node *shape = json_member(tensor, "shape");
    buf_printf(out, "      %-10s %s [", json_text_or(tensor, "name", "?"),
               json_text_or(tensor, "dtype", "?"));
    for (size_t i = 0; i < json_count(shape); i++)
        buf_printf(out, "%s%lld", i > 0 ? ", " : "", (long long)json_int(json_item(shape, i)));
    buf_add_char(out, ']');
    print_text(tensor, out);
    print_values(tensor, out);
    buf_add_char(out, '\n');
}

void tap_print(const struct json_node *frame, struct buf *out)
{
    const char *port = json_text_or(frame, "port", ""), *process = json_text_or(frame, "process", NULL);
    const struct json_node *tensors = json_member(frame, "tensors");
    if (process != NULL)
        buf_printf(out, "%s %s  ", process, strcmp(json_text_or(frame, "side", ""), "in") == 0 ? "<-" : "->");
    buf_printf(out, "%-5s stream %lld seq %lld pos %lld", json_text_or(frame, "kind", "?"),
               (long long)json_int_or(frame, "stream", 0), (long long)json_int_or(frame, "seq", 0),
               (long long)json_int_or(frame, "position", 0));
    if (port[0] != '\0') buf_printf(out, "  port %s", port);
    for (struct json_iter it = json_iter(json_member(frame, "attributes")); json_next(&it);)
        print_attribute(it.key, it.value, out);
    buf_add_char(out, '\n');
    for (size_t i = 0; i < json_count(tensors); i++) print_tensor(json_item(tensors, i), out);
}
