/* Kinds' tables as text and Markdown: see tables.h. */
#include "bin/thea/support/tables.h"

#include "graph/control/kinds.h"
#include "graph/log.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_WIDTH = 100 };

void tables_load(struct tables *out)
{
    *out = (struct tables){.names = kind_list()};
    size_t n = 0;
    while (out->names[n] != NULL) n++;
    out->tables = calloc(n + 1, sizeof *out->tables);
    if (out->tables == NULL) abort();
    for (size_t i = 0; i < n; i++) {
        struct thea_err err = {0};
        char *program = NULL;
        const struct json_node *table = NULL;
        thea_rc rc = kind_find(&program, out->names[i], ".", &err);
        if (rc == THEA_OK) rc = kind_describe(&table, program, NULL, &err);
        free(program);
        if (rc != THEA_OK) {
            thea_warning("kind '%s' is left out: %s", out->names[i], err.message);
            free(out->names[i]);
            continue;
        }
        out->names[out->count] = out->names[i];
        out->tables[out->count++] = table;
    }
    out->names[out->count] = NULL;
}

void tables_free(struct tables *t)
{
    kind_list_free(t->names);
    free(t->tables);
    *t = (struct tables){0};
}

bool tables_flag(const struct json_node *row, const char *flag)
{
    const struct json_node *flags = json_member(row, "flags");
    for (size_t i = 0; i < json_count(flags); i++) {
        const char *text = json_text(json_item(flags, i), NULL);
        if (text != NULL && strcmp(text, flag) == 0) return true;
    }
    return false;
}

void tables_add_pattern(struct buf *out, const struct json_node *port)
{
    const struct json_node *shape = json_member(port, "shape");
    buf_printf(out, "%s [", json_text_or(port, "dtype", ""));
    for (size_t i = 0; i < json_count(shape); i++) {
        const char *symbol = json_text(json_item(shape, i), NULL);
        buf_add_text(out, i > 0 ? ", " : "");
        if (symbol != NULL)
            buf_add_text(out, symbol);
        else
            buf_printf(out, "%" PRId64, json_int(json_item(shape, i)));
    }
    buf_add_char(out, ']');
}

void tables_add_type(struct buf *out, const struct json_node *option)
{
    const struct json_node *choices = json_member(option, "choices");
    if (json_count(choices) == 0) buf_add_text(out, json_text_or(option, "type", ""));
    for (size_t i = 0; i < json_count(choices); i++)
        buf_printf(out, "%s%s", i > 0 ? "|" : "", json_text(json_item(choices, i), NULL));
}

static const char *option_default(const struct json_node *option)
{
    if (tables_flag(option, "required")) return "required";
    const char *def = json_text_or(option, "default", "");
    return def[0] != '\0' ? def : "-";
}

static void add_meaning(struct buf *out, const struct json_node *option)
{
    const struct json_node *min = json_member(option, "min"), *max = json_member(option, "max");
    const char *unit = json_text_or(option, "unit", NULL), *type = json_text_or(option, "type", "");
    bool number = strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
    buf_add_text(out, json_text_or(option, "meaning", ""));
    if (number && json_number(min) < json_number(max) && json_number(max) < 9e15)
        buf_printf(out, " (%.15g to %.15g%s%s)", json_number(min), json_number(max), unit != NULL ? " " : "",
                   unit != NULL ? unit : "");
    else if (number && unit != NULL)
        buf_printf(out, " (%s)", unit);
    if (tables_flag(option, "cli_only")) buf_add_text(out, "; on a command line only");
}

/* --- text --- */

static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void add_padded(struct buf *out, const char *text, size_t width)
{
    buf_add_text(out, text);
    for (size_t n = width_of(text); n < width; n++) buf_add_char(out, ' ');
}

void tables_print_list(const struct tables *t, struct buf *out)
{
    size_t width = 4;
    for (size_t i = 0; i < t->count; i++) width = strlen(t->names[i]) > width ? strlen(t->names[i]) : width;
    for (size_t i = 0; i < t->count; i++) {
        add_padded(out, t->names[i], width + 2);
        buf_printf(out, "%s\n", json_text_or(t->tables[i], "summary", ""));
    }
    buf_add_text(out, "\nthea stages KIND shows its ports and options\n");
}

static const char *port_mark(const struct json_node *port)
{
    if (tables_flag(port, "feedback")) return " (feedback)";
    if (tables_flag(port, "optional")) return " (optional)";
    if (tables_flag(port, "one_of")) return " (one of)";
    return tables_flag(port, "default") ? " (stdout)" : "";
}

static void print_ports(const struct json_node *ports, const char *side, struct buf *out)
{
    size_t name = 0, pattern = 0;
    struct buf b = {0};
    for (size_t i = 0; i < json_count(ports); i++) {
        size_t n = strlen(json_text_or(json_item(ports, i), "name", ""));
        name = n > name ? n : name;
        buf_clear(&b);
        tables_add_pattern(&b, json_item(ports, i));
        pattern = b.len > pattern ? b.len : pattern;
    }
    for (size_t i = 0; i < json_count(ports); i++) {
        const struct json_node *port = json_item(ports, i);
        buf_clear(&b);
        tables_add_pattern(&b, port);
        add_padded(out, i == 0 ? side : "", 5);
        add_padded(out, json_text_or(port, "name", ""), name + 2);
        add_padded(out, buf_text(&b), pattern + 2);
        buf_printf(out, "%s%s\n", json_text_or(port, "meaning", ""), port_mark(port));
    }
    buf_fini(&b);
}

/* Words after a column, wrapped. */
static void add_wrapped(struct buf *out, const char *text, size_t indent)
{
    size_t column = indent;
    while (*text != '\0') {
        size_t n = strcspn(text, " "), wide = 0;
        for (size_t i = 0; i < n; i++) wide += ((unsigned char)text[i] & 0xC0) != 0x80;
        if (column > indent && column + wide + 1 > TEXT_WIDTH) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            buf_add_char(out, ' ');
            column++;
        }
        buf_add(out, text, n);
        column += wide;
        text += n + strspn(text + n, " ");
    }
    buf_add_char(out, '\n');
}

struct columns {
    size_t name, type, def;
};

static void print_option(const struct json_node *option, const struct columns *w, struct buf *out)
{
    struct buf type = {0}, meaning = {0};
    tables_add_type(&type, option);
    add_meaning(&meaning, option);
    add_padded(out, json_text_or(option, "name", ""), w->name + 2);
    add_padded(out, buf_text(&type), w->type + 2);
    add_padded(out, option_default(option), w->def + 2);
    size_t indent = w->name + w->type + w->def + 6;
    if (type.len > w->type)
        buf_printf(out, "\n%*s", (int)indent, ""); /* a long list of choices has its own line */
    add_wrapped(out, buf_text(&meaning), indent);
    buf_fini(&type);
    buf_fini(&meaning);
}

static void print_options(const struct json_node *options, struct buf *out)
{
    struct columns w = {6, 4, 7};
    struct buf type = {0};
    for (size_t i = 0; i < json_count(options); i++) {
        const struct json_node *o = json_item(options, i);
        if (tables_flag(o, "hidden")) continue;
        size_t name = width_of(json_text_or(o, "name", "")), def = width_of(option_default(o));
        buf_clear(&type);
        tables_add_type(&type, o);
        w.name = name > w.name ? name : w.name;
        w.type = type.len > w.type && type.len <= 24 ? type.len : w.type;
        w.def = def > w.def ? def : w.def;
    }
    buf_fini(&type);
    if (json_count(options) == 0) return;
    add_padded(out, "option", w.name + 2);
    add_padded(out, "type", w.type + 2);
    add_padded(out, "default", w.def + 2);
    buf_add_text(out, "meaning\n");
    for (size_t i = 0; i < json_count(options); i++)
        if (!tables_flag(json_item(options, i), "hidden")) print_option(json_item(options, i), &w, out);
}

void tables_print_kind(const struct json_node *table, struct buf *out)
{
    const struct json_node *examples = json_member(table, "examples");
    buf_printf(out, "%s: %s\n", json_text_or(table, "kind", ""), json_text_or(table, "summary", ""));
    print_ports(json_member(table, "inputs"), "in", out);
    print_ports(json_member(table, "outputs"), "out", out);
    print_options(json_member(table, "options"), out);
    for (size_t i = 0; i < json_count(examples); i++)
        buf_printf(out, "%s%s\n", i == 0 ? "try  " : "     ", json_text(json_item(examples, i), NULL));
}

/* --- Markdown --- */

static void add_cell(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("|*<", *text) != NULL) buf_add_char(out, '\\');
        buf_add_char(out, *text);
    }
}

static void markdown_ports(const struct json_node *ports, const char *side, struct buf *out)
{
    struct buf pattern = {0};
    for (size_t i = 0; i < json_count(ports); i++) {
        const struct json_node *port = json_item(ports, i);
        buf_clear(&pattern);
        tables_add_pattern(&pattern, port);
        buf_printf(out, "| %s | `%s` | `%s` | ", side, json_text_or(port, "name", ""), buf_text(&pattern));
        add_cell(out, json_text_or(port, "meaning", ""));
        buf_printf(out, "%s |\n", port_mark(port));
    }
    buf_fini(&pattern);
}

static void markdown_options(const struct json_node *options, struct buf *out)
{
    size_t shown = 0;
    struct buf text = {0};
    for (size_t i = 0; i < json_count(options); i++) {
        const struct json_node *o = json_item(options, i);
        if (tables_flag(o, "hidden")) continue;
        if (shown++ == 0) buf_add_text(out, "\n| option | type | default | meaning |\n|---|---|---|---|\n");
        buf_printf(out, "| `%s` | ", json_text_or(o, "name", ""));
        buf_clear(&text);
        tables_add_type(&text, o);
        add_cell(out, buf_text(&text));
        buf_add_text(out, " | ");
        add_cell(out, option_default(o));
        buf_clear(&text);
        add_meaning(&text, o);
        buf_add_text(out, " | ");
        add_cell(out, buf_text(&text));
        buf_add_text(out, " |\n");
    }
    buf_fini(&text);
}

void tables_print_markdown(const struct tables *t, struct buf *out)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct json_node *table = t->tables[i], *examples = json_member(table, "examples");
        const char *summary = json_text_or(table, "summary", "");
        buf_printf(out, "%s### %s\n\n%c%s.\n\n| | port | type | meaning |\n|---|---|---|---|\n",
                   i > 0 ? "\n" : "", t->names[i], toupper((unsigned char)summary[0]),
                   summary[0] != '\0' ? summary + 1 : "");
        markdown_ports(json_member(table, "inputs"), "in", out);
        markdown_ports(json_member(table, "outputs"), "out", out);
        markdown_options(json_member(table, "options"), out);
        if (json_count(examples) > 0) buf_add_text(out, "\n```sh\n");
        for (size_t k = 0; k < json_count(examples); k++)
            buf_printf(out, "%s\n", json_text(json_item(examples, k), NULL));
        if (json_count(examples) > 0) buf_add_text(out, "```\n");
    }
}
