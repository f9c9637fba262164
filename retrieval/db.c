/* SQLite: see db.h. */
#include "retrieval/db.h"

#include "graph/buf.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum { BUSY_MS = 20000 };

struct db {
    sqlite3 *handle;
    char *path;
};
struct db_query {
    struct db *db;
    sqlite3_stmt *statement;
};

static thea_rc code_of(int status)
{
    switch (status & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
    case SQLITE_CONSTRAINT:
    case SQLITE_ERROR: return THEA_EDATA; /* no such table or column: it is another's, or damaged */
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return THEA_EBUSY;
    case SQLITE_NOMEM: return THEA_EOS;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN: return THEA_ECREATE;
    default: return THEA_EIO;
    }
}

static thea_rc db_fail(const struct db *d, int status, struct thea_err *err)
{
    thea_rc rc = code_of(status);
    const char *what = d->handle != NULL ? sqlite3_errmsg(d->handle) : sqlite3_errstr(status);
    return thea_fail(err, rc, "%s '%s': %s", rc == THEA_EDATA ? "damaged:" : "cannot use", d->path, what);
}

/* The library then takes no locks and looks for no log beside the file. */
static int open_frozen(struct db *d)
{
    struct buf uri = {0};
    buf_add_text(&uri, "file:");
    for (const char *c = d->path; *c != '\0'; c++) {
        if (strchr("%?#", *c) != NULL)
            buf_printf(&uri, "%%%02x", (unsigned char)*c);
        else
            buf_add_char(&uri, *c);
    }
    buf_add_text(&uri, "?immutable=1");
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI;
    int status = sqlite3_open_v2(uri.data, &d->handle, flags, NULL);
    buf_fini(&uri);
    return status;
}

static int open_mode(struct db *d, db_mode mode)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (mode == DB_MAKE ? SQLITE_OPEN_CREATE : 0);
    return mode == DB_FROZEN ? open_frozen(d) : sqlite3_open_v2(d->path, &d->handle, flags, NULL);
}

thea_rc db_open(struct db **out, const char *path, db_mode mode, struct thea_err *err)
{
    struct db *d = calloc(1, sizeof *d);
    if (d == NULL || (d->path = strdup(path)) == NULL) abort();
    int status = open_mode(d, mode);
    thea_rc rc = THEA_OK;
    if (status != SQLITE_OK) rc = db_fail(d, status, err);
    if (rc == THEA_OK) {
        sqlite3_extended_result_codes(d->handle, 1);
        sqlite3_busy_timeout(d->handle, BUSY_MS);
    }
    if (rc == THEA_OK) rc = db_exec(d, "PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF", err);
    if (rc == THEA_OK)
        *out = d;
    else
        db_close(d);
    return rc;
}

void db_close(struct db *d)
{
    if (d == NULL) return;
    sqlite3_close(d->handle);
    free(d->path);
    free(d);
}

thea_rc db_exec(struct db *d, const char *sql, struct thea_err *err)
{
    int status = sqlite3_exec(d->handle, sql, NULL, NULL, NULL);
    return status == SQLITE_OK ? THEA_OK : db_fail(d, status, err);
}

thea_rc db_prepare(struct db_query **out, struct db *d, const char *sql, struct thea_err *err)
{
    struct db_query *q = calloc(1, sizeof *q);
    if (q == NULL) abort();
    q->db = d;
    int status = sqlite3_prepare_v3(d->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &q->statement, NULL);
    if (status == SQLITE_OK) {
        *out = q;
        return THEA_OK;
    }
    free(q);
    return db_fail(d, status, err);
}

void db_finish(struct db_query *q)
{
    if (q == NULL) return;
    sqlite3_finalize(q->statement);
    free(q);
}

/* Binding fails for lack of memory, or by a number that the statement does not have. */
static void bound(int status)
{
    if (status != SQLITE_OK) abort();
}

void db_bind_text(struct db_query *q, int parameter, const char *text, size_t n)
{
    bound(sqlite3_bind_text64(q->statement, parameter, text, n, SQLITE_STATIC, SQLITE_UTF8));
}

void db_bind_string(struct db_query *q, int parameter, const char *text)
{
    db_bind_text(q, parameter, text, text != NULL ? strlen(text) : 0);
}

void db_bind_int(struct db_query *q, int parameter, int64_t value)
{
    bound(sqlite3_bind_int64(q->statement, parameter, value));
}

void db_reset(struct db_query *q)
{
    sqlite3_reset(q->statement);
    sqlite3_clear_bindings(q->statement);
}

thea_rc db_step(struct db_query *q, struct thea_err *err)
{
    int status = sqlite3_step(q->statement);
    if (status == SQLITE_ROW) return THEA_OK;
    thea_rc rc = status == SQLITE_DONE ? THEA_DONE : db_fail(q->db, status, err);
    db_reset(q);
    return rc;
}

thea_rc db_run(struct db_query *q, struct thea_err *err)
{
    thea_rc rc;
    while ((rc = db_step(q, err)) == THEA_OK) {}
    return rc == THEA_DONE ? THEA_OK : rc;
}

int64_t db_int(struct db_query *q, int column)
{
    return sqlite3_column_int64(q->statement, column);
}

const char *db_text(struct db_query *q, int column, size_t *n)
{
    const char *text = (const char *)sqlite3_column_text(q->statement, column);
    if (n != NULL) *n = (size_t)sqlite3_column_bytes(q->statement, column);
    return text;
}
