/* Compaction: see index.h. The rows that documents have go, in their order, into a new vectors file; the
 * transaction that gives them their new numbers names it. The old file stays until that is on the disk, and
 * for readers that have it open until they close it. */
#include "retrieval/index_impl.h"

#include "graph/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HOLES_OF_ROWS = 4 }; /* more than one row in four */

static char *next_name(const char *name)
{
    char *next = NULL;
    unsigned long long number = strtoull(name + strcspn(name, "0123456789"), NULL, 10);
    if (asprintf(&next, "vectors-%llu.npy", number + 1) < 0) abort();
    return next;
}

static thea_rc copy_rows(struct index_writer *w, struct vectors *to, const float *rows, uint64_t *count,
                         struct thea_err *err)
{
    struct db_query *each = NULL, *move = NULL;
    uint64_t dimension = w->info.model.dimension;
    thea_rc rc =
        db_prepare(&each, w->db, "SELECT row FROM documents WHERE row >= ?1 ORDER BY row LIMIT 1", err);
    if (rc == THEA_OK) rc = db_prepare(&move, w->db, "UPDATE documents SET row = ?2 WHERE row = ?1", err);
    for (int64_t at = 0; rc == THEA_OK; at++) {
        db_bind_int(each, 1, at);
        rc = db_step(each, err);
        if (rc != THEA_OK) break;
        at = db_int(each, 0);
        db_reset(each);
        if ((uint64_t)at >= w->info.rows)
            rc = thea_fail(err, THEA_EDATA, "damaged: a document has row %lld of %llu", (long long)at,
                           (unsigned long long)w->info.rows);
        if (rc == THEA_OK) rc = vectors_put(to, *count, rows + (uint64_t)at * dimension, err);
        db_bind_int(move, 1, at);
        db_bind_int(move, 2, (int64_t)*count);
        if (rc == THEA_OK) rc = db_run(move, err);
        *count += rc == THEA_OK;
    }
    db_finish(each);
    db_finish(move);
    return rc == THEA_DONE ? THEA_OK : rc;
}

static thea_rc write_new(struct index_writer *w, struct vectors *to, uint64_t *count, struct thea_err *err)
{
    const float *rows = NULL;
    thea_rc rc = vectors_map(&w->vectors, &rows, w->info.rows, err);
    if (rc == THEA_OK) rc = copy_rows(w, to, rows, count, err);
    thea_fault("index.copied");
    if (rc == THEA_OK) rc = vectors_stamp(to, *count, err);
    if (rc == THEA_OK) rc = vectors_sync(to, err);
    if (rc == THEA_OK && fsync(w->lock) != 0)
        rc = thea_fail(err, THEA_EIO, "cannot flush the directory: %s", strerror(errno));
    return rc;
}

/* *asked: whether the transaction was to be committed. If that failed, what is on the disk is not known. */
static thea_rc switch_to(struct index_writer *w, const char *name, uint64_t count, bool *asked,
                         struct thea_err *err)
{
    thea_rc rc = db_exec(w->db, "DELETE FROM holes", err);
    if (rc == THEA_OK) rc = index_set_text(w->db, "vectors", name, err);
    if (rc == THEA_OK) rc = index_set_int(w->db, "rows", count, err);
    thea_fault("index.switch");
    *asked = rc == THEA_OK;
    if (rc == THEA_OK) rc = db_exec(w->db, "COMMIT", err);
    if (rc == THEA_OK) w->open = false;
    thea_fault("index.switched");
    return rc;
}

/* The new file is the index's: forget the old one. */
static void take_over(struct index_writer *w, struct vectors *to, char *name, uint64_t count)
{
    (void)unlink(w->vectors.path); /* if it cannot be removed now, the next writer does */
    vectors_close(&w->vectors);
    w->vectors = *to;
    *to = (struct vectors){.fd = -1};
    free(w->info.vectors);
    w->info.vectors = name;
    w->info.rows = count;
    w->info.holes = 0;
}

static thea_rc compact(struct index_writer *w, struct thea_err *err)
{
    struct vectors to = {.fd = -1};
    uint64_t count = 0;
    bool asked = false;
    char *name = next_name(w->info.vectors), *path = index_file(w->dir, name);
    thea_rc rc = vectors_create(&to, path, w->info.model.dimension, err);
    if (rc == THEA_OK) rc = index_begin(w, err);
    if (rc == THEA_OK) rc = write_new(w, &to, &count, err);
    if (rc == THEA_OK) rc = switch_to(w, name, count, &asked, err);
    if (rc == THEA_OK) {
        take_over(w, &to, name, count);
    } else {
        if (!asked) (void)unlink(path); /* else the next writer sees whether it is named */
        free(name);
    }
    vectors_close(&to);
    free(path);
    return rc;
}

thea_rc index_compact(struct index_writer *w, struct thea_err *err)
{
    thea_rc rc = index_commit(w, err);
    if (rc != THEA_OK || w->info.holes * HOLES_OF_ROWS <= w->info.rows) return rc;
    rc = compact(w, err);
    return rc == THEA_OK ? THEA_OK : index_fail(rc, w->dir, err);
}
