/* Writing .npy: see npy.h. The header's room is kept free at the front and filled at the end. */
#include "stages/support/npy.h"

#include "graph/buf.h"

#include <stdio.h>
#include <string.h>

enum { HEADER_BYTES = 128 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rows are written as they lie in memory: '<f4'");

thea_rc npy_open(struct npy *n, const char *path, struct thea_err *err)
{
    char empty[HEADER_BYTES] = {0};
    struct buf ids = {0};
    *n = (struct npy){.rows = {.fd = -1}, .ids = {.fd = -1}};
    size_t len = strlen(path), stem = len > 4 && strcmp(path + len - 4, ".npy") == 0 ? len - 4 : len;
    buf_add(&ids, path, stem);
    buf_add_text(&ids, ".ids.txt");
    thea_rc rc = outlet_open(&n->rows, path, OUTLET_WHOLE, err);
    if (rc == THEA_OK) rc = outlet_open(&n->ids, buf_text(&ids), OUTLET_WHOLE, err);
    if (rc == THEA_OK) rc = outlet_write(&n->rows, empty, sizeof empty, err);
    buf_fini(&ids);
    return rc;
}

thea_rc npy_add(struct npy *n, const char *id, const float *row, uint64_t columns, struct thea_err *err)
{
    if (n->columns == 0) n->columns = columns;
    if (columns != n->columns || columns == 0)
        return thea_fail(err, THEA_EDOC, "a vector of %llu numbers among vectors of %llu",
                         (unsigned long long)columns, (unsigned long long)n->columns);
    struct buf line = {0};
    for (const char *c = id; *c != '\0'; c++) {
        if (*c == '\\')
            buf_add_text(&line, "\\\\");
        else if (*c == '\n')
            buf_add_text(&line, "\\n");
        else
            buf_add_char(&line, *c);
    }
    buf_add_char(&line, '\n');
    thea_rc rc = outlet_write(&n->rows, row, columns * sizeof *row, err);
    if (rc == THEA_OK) rc = outlet_write(&n->ids, line.data, line.len, err);
    if (rc == THEA_OK) n->count++;
    buf_fini(&line);
    return rc;
}

thea_rc npy_finish(struct npy *n, struct thea_err *err)
{
    char header[HEADER_BYTES + 1];
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = HEADER_BYTES - 10; /* of the text, little endian */
    header[9] = 0;
    int len = snprintf(header + 10, sizeof header - 10,
                       "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %llu), }",
                       (unsigned long long)n->count, (unsigned long long)n->columns);
    header[10 + len] = ' ';
    header[HEADER_BYTES - 1] = '\n';
    thea_rc rc = outlet_rewrite(&n->rows, 0, header, HEADER_BYTES, err);
    if (rc == THEA_OK) rc = outlet_commit(&n->ids, err);
    if (rc == THEA_OK) rc = outlet_commit(&n->rows, err);
    return rc;
}

void npy_close(struct npy *n)
{
    outlet_close(&n->rows);
    outlet_close(&n->ids);
}
