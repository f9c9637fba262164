/* SQLite, as far as an index needs it: this file is the only one that faces the library.
 *
 * A statement is prepared once and used again and again: db_bind_*, then db_step until it says THEA_DONE.
 * Text and blobs may hold any byte. Errors: THEA_EDATA (damaged, or no database), THEA_EIO, THEA_EBUSY,
 * THEA_ECREATE (may not be written). */
#ifndef RETRIEVAL_DB_H
#define RETRIEVAL_DB_H

#include "graph/err.h"
#include <stdbool.h>
#include <stdint.h>

struct db;       /* one connection */
struct db_query; /* one statement */

typedef enum {
    DB_USE,   /* it must be there; a file that may not be written is opened for reading */
    DB_MAKE,  /* an empty one if it is not */
    DB_FROZEN /* it must be there, and nobody writes to it: then it can be read where nothing can be written
               */
} db_mode;

/* A commit is on the disk when it returns (synchronous=FULL); in WAL mode readers see the state of their
 * first read until they end their transaction. */
THEA_CHECK thea_rc db_open(struct db **out, const char *path, db_mode mode, struct thea_err *err);
void db_close(struct db *d); /* all queries are finished; what was not committed is gone; NULL is fine */

THEA_CHECK thea_rc db_exec(struct db *d, const char *sql, struct thea_err *err); /* one or several */
THEA_CHECK thea_rc db_prepare(struct db_query **out, struct db *d, const char *sql, struct thea_err *err);
void db_finish(struct db_query *q); /* NULL is fine */

/* Parameters count from 1. Text is borrowed until the next db_reset or step to the end; NULL text is null. */
void db_bind_text(struct db_query *q, int parameter, const char *text, size_t n);
void db_bind_string(struct db_query *q, int parameter, const char *text);
void db_bind_int(struct db_query *q, int parameter, int64_t value);
/* THEA_OK: a row is here. THEA_DONE: no more; the query is reset and its parameters are null again. */
THEA_CHECK thea_rc db_step(struct db_query *q, struct thea_err *err);
/* For statements without rows: step to the end. */
THEA_CHECK thea_rc db_run(struct db_query *q, struct thea_err *err);
void db_reset(struct db_query *q); /* before its end */

/* Columns count from 0; text is borrowed until the next step. */
int64_t db_int(struct db_query *q, int column);
const char *db_text(struct db_query *q, int column, size_t *n); /* NULL if null; n may be NULL */

#endif
