/* Records as a table: see table.h. */
#include "stages/support/table.h"

#include "graph/value.h"
#include "stages/support/chars.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 8, LINES_MAX = 10, CELL_BYTES = 40, TITLE_MIN = 9, WHERE_MAX = 40, DOCUMENT_MIN = 20 };

struct column {
    char *key;
    const char *title;
    bool real;
    size_t width;
};
struct row {
    char *id;
    size_t order;
    double values[COLUMNS_MAX];
}; /* NAN: null */
struct line {
    double bits;
    char *where, *text;
};

struct table {
    struct column columns[COLUMNS_MAX];
    size_t column_count;
    struct row *rows;
    size_t count, cap;
    struct line lines[LINES_MAX]; /* the highest first */
    size_t line_count;
    bool sorted; /* the first column is bits_per_byte */
};

struct table *table_new(void)
{
    struct table *t = calloc(1, sizeof *t);
    if (t == NULL) abort();
    return t;
}

void table_free(struct table *t)
{
    if (t == NULL) return;
    for (size_t i = 0; i < t->column_count; i++) free(t->columns[i].key);
    for (size_t i = 0; i < t->count; i++) free(t->rows[i].id);
    for (size_t i = 0; i < t->line_count; i++) free(t->lines[i].where), free(t->lines[i].text);
    free(t->rows);
    free(t);
}

static char *copy(const char *text)
{
    char *c = strdup(text);
    if (c == NULL) abort();
    return c;
}

/* --- taking records in --- */

static void add_column(struct table *t, const char *key)
{
    if (t->column_count == COLUMNS_MAX) return;
    struct column *c = &t->columns[t->column_count++];
    *c = (struct column){.key = copy(key)};
    c->title = strcmp(key, "bits_per_byte") == 0 ? "bits/byte" : c->key;
}

/* The first record's numbers; what is null in it may be a number in others. */
static void find_columns(struct table *t, const struct json_node *record)
{
    t->sorted = json_member(record, "bits_per_byte") != NULL;
    if (t->sorted) add_column(t, "bits_per_byte");
    for (struct json_iter it = json_iter(record); json_next(&it);) {
        json_kind_t kind = json_kind(it.value);
        bool number = kind == JSON_INT_ || kind == JSON_NUMBER_ || kind == JSON_NULL_;
        bool shown = strcmp(it.key, "bits_per_byte") != 0 && strcmp(it.key, "perplexity") != 0 &&
                     strcmp(it.key, "id") != 0;
        if (number && shown) add_column(t, it.key);
    }
}

static void keep_line(struct table *t, const char *id, const struct json_node *entry)
{
    double bits = json_number_or(entry, "bits_per_byte", NAN);
    size_t at = t->line_count;
    if (isnan(bits)) return;
    while (at > 0 && t->lines[at - 1].bits < bits) at--;
    if (at == LINES_MAX) return;
    if (t->line_count == LINES_MAX) {
        t->line_count--;
        free(t->lines[LINES_MAX - 1].where);
        free(t->lines[LINES_MAX - 1].text);
    }
    memmove(t->lines + at + 1, t->lines + at, (t->line_count - at) * sizeof *t->lines);
    char *where = NULL;
    if (asprintf(&where, "%s:%lld", id, (long long)json_int_or(entry, "line", 0)) < 0) abort();
    t->lines[at] = (struct line){bits, where, copy(json_text_or(entry, "text", ""))};
    t->line_count++;
}

thea_rc table_add(struct table *t, const struct json_node *record, struct thea_err *err)
{
    const char *id = json_text_or(record, "id", NULL);
    if (json_kind(record) != JSON_MAP_ || id == NULL)
        return thea_fail(err, THEA_EDOC, "the record is no map with an \"id\"");
    if (t->count == 0) find_columns(t, record);
    if (t->count == t->cap) {
        t->cap = t->cap == 0 ? 64 : t->cap * 2;
        t->rows = reallocarray(t->rows, t->cap, sizeof *t->rows);
        if (t->rows == NULL) abort();
    }
    struct row *row = &t->rows[t->count];
    *row = (struct row){.id = copy(id), .order = t->count++};
    for (size_t i = 0; i < t->column_count; i++) {
        row->values[i] = json_number_or(record, t->columns[i].key, NAN);
        if (json_kind(json_member(record, t->columns[i].key)) == JSON_NUMBER_) t->columns[i].real = true;
    }
    const struct json_node *top = json_member(record, "top");
    for (size_t i = 0; i < json_count(top); i++) keep_line(t, id, json_item(top, i));
    return THEA_OK;
}

/* --- printing --- */

static int by_first_value(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    double p = x->values[0], q = y->values[0];
    if (isnan(p) != isnan(q)) return isnan(p) ? 1 : -1; /* those without a figure last */
    if (!isnan(p) && p != q) return p < q ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static const char *cell(char *to, const struct column *c, double value)
{
    if (isnan(value))
        snprintf(to, CELL_BYTES, "-");
    else if (c->real)
        snprintf(to, CELL_BYTES, fabs(value) < 1e15 ? "%.3f" : "%.3g", value);
    else if (value < 0)
        snprintf(to, CELL_BYTES, "%.0f", value);
    else
        value_format_count(to, (uint64_t)value);
    return to;
}

static void add_right(struct buf *out, const char *text, size_t width)
{
    size_t n = chars_width(text, strlen(text));
    buf_printf(out, "%*s%s", (int)(n < width ? width - n : 0), "", text);
}

/* A path that is too wide loses its beginning: the file's name matters more. Returns the columns used. */
static size_t add_path(struct buf *out, const char *path, size_t width)
{
    size_t len = strlen(path), n = 1;
    if (chars_width(path, len) <= width) return chars_add_cell(out, path, len, width);
    while (len > 0 && chars_width(path, len) > width - 1) {
        (void)chars_decode(path, len, &n);
        path += n;
        len -= n;
    }
    buf_add_text(out, "…");
    return 1 + chars_add_cell(out, path, len, width - 1);
}

/* Sum of a column; of bits_per_byte the mean over all bytes. */
static double total_of(const struct table *t, size_t column)
{
    size_t weight = COLUMNS_MAX;
    for (size_t i = 0; column == 0 && t->sorted && i < t->column_count; i++) {
        if (strcmp(t->columns[i].key, "bytes") == 0) weight = i;
    }
    double sum = 0, weights = 0;
    if (t->columns[column].real && weight == COLUMNS_MAX) return NAN;
    for (size_t i = 0; i < t->count; i++) {
        double value = t->rows[i].values[column], w = weight == COLUMNS_MAX ? 1 : t->rows[i].values[weight];
        if (isnan(value) || isnan(w)) continue;
        sum += value * w;
        weights += w;
    }
    if (weight == COLUMNS_MAX) return sum;
    return weights > 0 ? sum / weights : NAN;
}

static void add_values(struct buf *out, const struct table *t, const double *values)
{
    char text[CELL_BYTES];
    for (size_t i = 0; i < t->column_count; i++) {
        add_right(out, cell(text, &t->columns[i], values[i]), t->columns[i].width);
        buf_add_text(out, "  ");
    }
}

static void set_widths(struct table *t, const double *totals)
{
    char text[CELL_BYTES];
    for (size_t i = 0; i < t->column_count; i++) {
        struct column *c = &t->columns[i];
        size_t title = strlen(c->title), total = strlen(cell(text, c, totals[i]));
        c->width = title > total ? title : total;
        for (size_t k = 0; k < t->count; k++) {
            size_t n = strlen(cell(text, c, t->rows[k].values[i]));
            c->width = n > c->width ? n : c->width;
        }
    }
}

static void print_rows(const struct table *t, size_t from, size_t to, size_t room, struct buf *out)
{
    for (size_t i = from; i < to; i++) {
        add_values(out, t, t->rows[i].values);
        add_path(out, t->rows[i].id, room);
        buf_add_char(out, '\n');
    }
}

/* The line between the lowest and the highest. */
static void print_gap(const struct table *t, size_t shown, struct buf *out)
{
    size_t first = t->column_count > 0 ? t->columns[0].width : 1, used = 0;
    for (size_t i = 0; i < t->column_count; i++) used += t->columns[i].width + 2;
    add_right(out, "…", first);
    buf_printf(out, "%*s(%zu of %zu shown, --set write.rows=0 for all)\n",
               (int)(used > first ? used - first : 2), "", shown, t->count);
}

static void print_lines(const struct table *t, size_t width, struct buf *out)
{
    static const char *const counts[] = {"",     "",       "two ",   "three ", "four ", "five ",
                                         "six ", "seven ", "eight ", "nine ",  "ten "};
    size_t where = strlen("where"),
           limit = width / 2 - TITLE_MIN < WHERE_MAX ? width / 2 - TITLE_MIN : WHERE_MAX;
    for (size_t i = 0; i < t->line_count; i++) {
        size_t n = chars_width(t->lines[i].where, strlen(t->lines[i].where));
        where = n > where ? n : where;
    }
    if (where > limit) where = limit;
    buf_printf(out, "\nthe %smost surprising line%s\nbits/byte  %-*s  line\n", counts[t->line_count],
               t->line_count == 1 ? "" : "s", (int)where, "where");
    for (size_t i = 0; i < t->line_count; i++) {
        buf_printf(out, "%9.2f  ", t->lines[i].bits);
        size_t used = add_path(out, t->lines[i].where, where);
        buf_printf(out, "%*s  ", (int)(where - used), "");
        chars_add_cell(out, t->lines[i].text, strlen(t->lines[i].text), width - TITLE_MIN - where - 4);
        buf_add_char(out, '\n');
    }
}

void table_print(const struct table *table, size_t rows, size_t width, struct buf *out)
{
    struct table t = *table; /* widths are set in a copy */
    double totals[COLUMNS_MAX] = {0};
    if (t.count == 0) {
        buf_add_text(out, "no documents\n");
        return;
    }
    if (t.sorted) qsort(t.rows, t.count, sizeof *t.rows, by_first_value);
    for (size_t i = 0; i < t.column_count; i++) totals[i] = total_of(&t, i);
    set_widths(&t, totals);
    size_t used = 0;
    for (size_t i = 0; i < t.column_count; i++) {
        add_right(out, t.columns[i].title, t.columns[i].width);
        buf_add_text(out, "  ");
        used += t.columns[i].width + 2;
    }
    size_t room = used + DOCUMENT_MIN < width ? width - used : DOCUMENT_MIN;
    buf_printf(out, "document%s\n",
               t.sorted && room >= 54 ? "              how well the model predicts it; low is easy" : "");
    size_t shown = rows == 0 || rows > t.count ? t.count : rows,
           head = shown == t.count ? shown : (shown + 1) / 2;
    print_rows(&t, 0, head, room, out);
    if (shown < t.count) print_gap(&t, shown, out);
    print_rows(&t, t.count - (shown - head), t.count, room, out);
    if (t.count > 1) {
        char count[CELL_BYTES];
        add_values(out, &t, totals);
        buf_printf(out, "%s documents\n", value_format_count(count, t.count));
    }
    if (t.line_count > 0) print_lines(&t, width, out);
}
