/* Diagnostics: see diag.h. Invariant: nothing that came from a file reaches the terminal unfiltered (control
 * characters are shown as '?'). */
#include "graph/control/diag.h"

#include "graph/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIAG_MAX = 50, EXCERPT_WIDTH = 120, EXCERPT_BEFORE = 60 };

struct diag {
    char *code, *message, *details;
    struct diag_place place; /* file borrowed from the list's file */
    size_t order;            /* of adding: keeps the sort stable */
};

struct diag_file {
    char *name, *text;
    size_t order, kept, dropped;
};

struct diag_list {
    struct diag *items;
    size_t count;
    struct diag_file **files; /* by pointer: diags borrow names */
    size_t file_count;
};

static void *must(void *memory)
{
    if (memory == NULL) abort(); /* out of memory */
    return memory;
}

struct diag_list *diag_list_new(void)
{
    return must(calloc(1, sizeof(struct diag_list)));
}

void diag_list_free(struct diag_list *list)
{
    if (list == NULL) return;
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].code);
        free(list->items[i].message);
        free(list->items[i].details);
    }
    for (size_t i = 0; i < list->file_count; i++) {
        free(list->files[i]->name);
        free(list->files[i]->text);
        free(list->files[i]);
    }
    free(list->items);
    free(list->files);
    free(list);
}

static struct diag_file *file_of(struct diag_list *list, const char *name)
{
    for (size_t i = 0; i < list->file_count; i++)
        if (strcmp(list->files[i]->name, name) == 0) return list->files[i];
    struct diag_file *file = must(calloc(1, sizeof *file));
    file->name = must(strdup(name));
    file->order = list->file_count;
    list->files = must(realloc(list->files, (list->file_count + 1) * sizeof *list->files));
    list->files[list->file_count++] = file;
    return file;
}

void diag_source(struct diag_list *list, const char *file, const char *text, size_t len)
{
    struct diag_file *f = file_of(list, file);
    bool marked = len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0; /* a byte order mark is no column */
    free(f->text);
    f->text = must(strndup(text + (marked ? 3 : 0), len - (marked ? 3 : 0)));
}

void diag_add(struct diag_list *list, const char *code, struct diag_place place, const char *details,
              const char *fmt, ...)
{
    struct diag_file *file = file_of(list, place.file);
    if (file->kept == DIAG_MAX) {
        file->dropped++;
        return;
    }
    file->kept++;
    place.file = file->name;
    char *message = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&message, fmt, args) < 0) abort();
    va_end(args);
    list->items = must(realloc(list->items, (list->count + 1) * sizeof *list->items));
    list->items[list->count] = (struct diag){
        must(strdup(code)), message, details != NULL ? must(strdup(details)) : NULL, place, list->count};
    list->count++;
}

size_t diag_count(const struct diag_list *list)
{
    return list->count;
}

const char *diag_code_at(const struct diag_list *list, size_t i)
{
    return i < list->count ? list->items[i].code : NULL;
}

/* --- order --- */

static int compare_sizes(size_t a, size_t b)
{
    return a < b ? -1 : a > b;
}

static int compare(const void *left, const void *right, void *context)
{
    const struct diag *a = *(const struct diag *const *)left, *b = *(const struct diag *const *)right;
    struct diag_list *list = context;
    int by = compare_sizes(file_of(list, a->place.file)->order, file_of(list, b->place.file)->order);
    if (by == 0) by = compare_sizes(a->place.line, b->place.line);
    if (by == 0) by = compare_sizes(a->place.column, b->place.column);
    return by != 0 ? by : compare_sizes(a->order, b->order);
}

static const struct diag **sorted(const struct diag_list *list)
{
    const struct diag **order = must(calloc(list->count + 1, sizeof(struct diag *)));
    for (size_t i = 0; i < list->count; i++) order[i] = &list->items[i];
    qsort_r(order, list->count, sizeof(struct diag *), compare, (void *)(uintptr_t)list);
    return order;
}

size_t diag_last(const struct diag_list *list, size_t first)
{
    const struct diag **order = sorted(list);
    size_t last = list->count;
    while (last > 0 && order[last - 1]->order < first) last--;
    size_t found = last > 0 ? order[last - 1]->order : 0;
    free(order);
    return found;
}

/* --- text --- */

/* Control characters (C0 but the newline, DEL, C1) become '?': a file cannot drive the terminal through a
 * message. */
static void add_clean(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = c == 0xC2 && i + 1 < len && (unsigned char)text[i + 1] < 0xA0;
        if (c1) i++;
        bool bad = c1 || c == 0x7F || (c < 0x20 && c != '\n' && c != '\t');
        buf_add_char(out, bad ? '?' : c == '\t' ? ' ' : (char)c);
    }
}

/* Line `number` of the text, without its end; NULL if there is none. */
static const char *find_line(const char *text, size_t number, size_t *len)
{
    for (size_t line = 1; text != NULL && line < number; line++) {
        text = strchr(text, '\n');
        if (text != NULL) text++;
    }
    if (text == NULL) return NULL;
    *len = strcspn(text, "\r\n");
    return text;
}

/* Bytes of the first `chars` characters of text (at most len). */
static size_t bytes_of(const char *text, size_t len, size_t chars)
{
    size_t at = 0;
    while (at < len && chars > 0) {
        at++;
        while (at < len && ((unsigned char)text[at] & 0xC0) == 0x80) at++;
        chars--;
    }
    return at;
}

static size_t chars_of(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

static void add_caret(struct buf *out, size_t margin, size_t column, size_t length, bool color)
{
    buf_printf(out, "%*s | %*s%s^", (int)margin, "", (int)(column - 1), "", color ? "\033[32m" : "");
    for (size_t i = 1; i < length; i++) buf_add_char(out, '~');
    buf_printf(out, "%s\n", color ? "\033[0m" : "");
}

/* The line with a caret under the place; of a long line the part around it. */
static void add_excerpt(struct buf *out, const struct diag_file *file, const struct diag_place *place,
                        bool color)
{
    size_t len = 0;
    const char *line = place->line > 0 ? find_line(file->text, place->line, &len) : NULL;
    if (line == NULL || place->length == 0) return;
    char number[32];
    int margin = snprintf(number, sizeof number, "  %zu", place->line);
    size_t skip = 0, column = place->column, total = chars_of(line, len);
    if (total > EXCERPT_WIDTH && column > EXCERPT_BEFORE) skip = column - EXCERPT_BEFORE;
    size_t from = bytes_of(line, len, skip), shown = bytes_of(line + from, len - from, EXCERPT_WIDTH);
    bool cut = from + shown < len;
    buf_printf(out, "%s | %s", number, skip > 0 ? "…" : "");
    add_clean(out, line + from, shown);
    buf_printf(out, "%s\n", cut ? "…" : "");
    if (column > total + 1) column = total + 1;
    column = column - skip + (skip > 0);
    size_t room = (skip > 0) + EXCERPT_WIDTH + 1 > column ? (skip > 0) + EXCERPT_WIDTH + 1 - column : 1;
    add_caret(out, (size_t)margin, column, place->length < room ? place->length : room, color);
}

static void add_details(struct buf *out, const char *details)
{
    while (details != NULL && *details != '\0') {
        size_t n = strcspn(details, "\n");
        buf_add_text(out, "  ");
        add_clean(out, details, n);
        buf_add_char(out, '\n');
        details += n + (details[n] == '\n');
    }
}

static void print_one(const struct diag *d, const struct diag_file *file, struct buf *out, bool color)
{
    if (color) buf_add_text(out, "\033[1m");
    add_clean(out, d->place.file, strlen(d->place.file));
    if (d->place.line > 0) buf_printf(out, ":%zu:%zu", d->place.line, d->place.column);
    buf_printf(out, ": %serror[%s]%s: ", color ? "\033[31m" : "", d->code, color ? "\033[0m" : "");
    add_clean(out, d->message, strlen(d->message));
    buf_add_char(out, '\n');
    add_excerpt(out, file, &d->place, color);
    add_details(out, d->details);
}

void diag_print_text(const struct diag_list *list, struct buf *out, bool color)
{
    const struct diag **order = sorted(list);
    for (size_t i = 0; i < list->count; i++) {
        const struct diag_file *file = file_of((struct diag_list *)(uintptr_t)list, order[i]->place.file);
        print_one(order[i], file, out, color);
        bool last = i + 1 == list->count || strcmp(order[i + 1]->place.file, file->name) != 0;
        if (last && file->dropped > 0)
            buf_printf(out, "%s: %zu more errors are not shown\n", file->name, file->dropped);
    }
    free(order);
}

void diag_print_plain(const struct diag_list *list, size_t i, struct buf *out)
{
    const struct diag *d = &list->items[i];
    add_clean(out, d->message, strlen(d->message));
    if (d->details == NULL) return;
    struct buf details = {0};
    add_details(&details, d->details);
    buf_add_char(out, '\n');
    buf_add(out, buf_text(&details), details.len - 1);
    buf_fini(&details);
}

void diag_print_cli(const struct diag_list *list, struct buf *out)
{
    if (list->count == 0) return;
    buf_printf(out, "%s: ", list->items[0].place.file);
    diag_print_plain(list, 0, out);
    if (list->count > 1) buf_printf(out, "\n  and %zu more of the command line", list->count - 1);
}

/* --- JSON --- */

static struct json_node *lsp_position(size_t line, size_t column)
{
    struct json_node *node = json_new_map();
    json_put(node, "line", json_new_int((int64_t)line));
    json_put(node, "character", json_new_int((int64_t)column));
    return node;
}

static struct json_node *as_json(const struct diag *d)
{
    struct json_node *node = json_new_map(), *range = json_new_map();
    json_put(node, "file", json_new_string(d->place.file));
    json_put(node, "line", json_new_int((int64_t)d->place.line));
    json_put(node, "column", json_new_int((int64_t)d->place.column));
    json_put(node, "length", json_new_int((int64_t)d->place.length));
    size_t line = d->place.line > 0 ? d->place.line - 1 : 0,
           column = d->place.column > 0 ? d->place.column - 1 : 0;
    json_put(range, "start", lsp_position(line, column));
    json_put(range, "end", lsp_position(line, column + d->place.length));
    json_put(node, "range", range);
    json_put(node, "severity", json_new_int(1));
    json_put(node, "code", json_new_string(d->code));
    json_put(node, "source", json_new_string("thea"));
    json_put(node, "message", json_new_string(d->message));
    json_put(node, "details", json_new_string(d->details));
    return node;
}

void diag_print_json(const struct diag_list *list, struct buf *out)
{
    const struct diag **order = sorted(list);
    for (size_t i = 0; i < list->count; i++) {
        struct json_node *node = as_json(order[i]);
        char *text = json_print(node, 0, 0);
        buf_add_text(out, text);
        buf_add_char(out, '\n');
        free(text);
        json_free(node);
    }
    free(order);
}
