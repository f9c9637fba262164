/* Results as lines: see form.h. */
#include "stages/support/form.h"

#include "stages/support/formats.h"

#include <string.h>

/* Records as rows of a tsv; the first of all makes the columns. */
static thea_rc add_records(struct form *f, const char *data, size_t n, struct buf *out, struct thea_err *err)
{
    for (const char *at = data, *end = data + n; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = newline != NULL ? (size_t)(newline - at) : (size_t)(end - at);
        struct json_node *record = NULL;
        thea_rc rc = json_parse(&record, at, len, "record", err);
        if (rc != THEA_OK) return rc;
        if (f->columns.count == 0) lines_find_columns(&f->columns, record);
        lines_add_record(out, &f->columns, record);
        json_free(record);
        at += len + 1;
    }
    return THEA_OK;
}

thea_rc form_add(struct form *f, const char *id, const char *data, size_t n, const char *more,
                 struct buf *out, struct thea_err *err)
{
    if (f->format == FORMAT_TSV && f->records) return add_records(f, data, n, out, err);
    if (f->format == FORMAT_TSV)
        lines_add_tsv(out, id, f->dtype, data, n, f->one_cell);
    else if (f->records)
        buf_add(out, data, n);
    else
        lines_add_json(out, id, f->key, f->dtype, data, n, more);
    return THEA_OK;
}

void form_add_header(const struct form *f, size_t n, struct buf *out)
{
    if (f->format != FORMAT_TSV) return;
    if (!f->records)
        lines_add_tsv_header(out, f->key, f->one_cell ? 0 : n / sizeof(float));
    else if (f->columns.count > 0)
        lines_add_columns(out, &f->columns);
}

size_t form_take_header(struct form *f, const char *line)
{
    struct lines_columns found = {0};
    lines_read_columns(&found, line);
    size_t count = found.count;
    if (f->records && count > 0) {
        lines_columns_fini(&f->columns);
        f->columns = found;
    } else {
        lines_columns_fini(&found);
    }
    return count;
}

void form_fini(struct form *f)
{
    lines_columns_fini(&f->columns);
}
