/* A reader of an index: see index.h. It holds one read transaction for as long as it is open, and the vectors
 * file that was named in it. */
#include "retrieval/index_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRIES = 8 };

static thea_rc open_database(struct index_reader *r, struct thea_err *err)
{
    char *path = index_file(r->dir, "index.sqlite");
    thea_rc rc = THEA_OK;
    if (access(path, F_OK) != 0)
        rc = thea_fail(err, THEA_ENOINPUT, "there is no index there (thea index %s FILE…)", r->dir);
    if (rc == THEA_OK) rc = db_open(&r->db, path, false, err);
    if (rc == THEA_OK) rc = db_exec(r->db, "BEGIN", err);
    if (rc == THEA_OK) rc = index_check_format(r->db, err);
    free(path);
    return rc == THEA_OK ? index_info_read(&r->info, r->db, err) : rc;
}

static thea_rc open_vectors(struct index_reader *r, struct thea_err *err)
{
    char *path = index_file(r->dir, r->info.vectors);
    thea_rc rc = vectors_open(&r->vectors, path, r->info.model.dimension, r->info.rows, false, err);
    free(path);
    return rc;
}

static void forget(struct index_reader *r)
{
    vectors_close(&r->vectors);
    index_info_fini(&r->info);
    db_close(r->db);
    r->db = NULL;
}

/* A compaction may end between reading the file's name and opening it: then there is a newer state. */
static thea_rc open_state(struct index_reader *r, struct thea_err *err)
{
    for (int i = 0;; i++) {
        thea_rc rc = open_database(r, err);
        if (rc != THEA_OK) return rc;
        rc = open_vectors(r, err);
        if (rc != THEA_ENOINPUT) return rc;
        if (i == TRIES) return THEA_EDATA;
        forget(r);
    }
}

static thea_rc read_holes(struct index_reader *r, struct thea_err *err)
{
    struct db_query *q = NULL;
    if (r->info.holes == 0) return THEA_OK;
    r->holes = calloc(r->info.rows / 64 + 1, sizeof *r->holes);
    if (r->holes == NULL)
        return thea_fail(err, THEA_EOS, "no memory for %llu rows", (unsigned long long)r->info.rows);
    thea_rc rc = db_prepare(&q, r->db, "SELECT row FROM holes", err);
    while (rc == THEA_OK && (rc = db_step(q, err)) == THEA_OK) {
        uint64_t row = (uint64_t)db_int(q, 0);
        if (row < r->info.rows)
            r->holes[row / 64] |= UINT64_C(1) << row % 64;
        else
            rc = thea_fail(err, THEA_EDATA, "damaged: row %llu is a hole, and there are %llu rows",
                           (unsigned long long)row, (unsigned long long)r->info.rows);
    }
    db_finish(q);
    return rc == THEA_DONE ? THEA_OK : rc;
}

thea_rc index_reader_open(struct index_reader **out, const char *dir, struct thea_err *err)
{
    struct index_reader *r = calloc(1, sizeof *r);
    if (r == NULL || (r->dir = strdup(dir)) == NULL) abort();
    r->vectors.fd = -1;
    thea_rc rc = open_state(r, err);
    if (rc == THEA_OK) rc = vectors_map(&r->vectors, &r->rows, r->info.rows, err);
    if (rc == THEA_OK) rc = read_holes(r, err);
    if (rc == THEA_OK) {
        *out = r;
        return rc;
    }
    index_reader_close(r);
    return index_fail(rc, dir, err);
}

void index_reader_close(struct index_reader *r)
{
    if (r == NULL) return;
    forget(r);
    free(r->holes);
    free(r->dir);
    free(r);
}

const struct index_info *index_reader_info(const struct index_reader *r)
{
    return &r->info;
}

thea_rc index_list(struct index_reader *r, bool (*visit)(void *context, const struct index_entry *e),
                   void *context, struct thea_err *err)
{
    struct db_query *q = NULL;
    thea_rc rc = db_prepare(
        &q, r->db, "SELECT id, path, ifnull(bytes, -1), added, metadata FROM documents ORDER BY id", err);
    while (rc == THEA_OK && (rc = db_step(q, err)) == THEA_OK) {
        struct index_entry e = {.id = db_text(q, 0, NULL),
                                .path = db_text(q, 1, NULL),
                                .bytes = db_int(q, 2),
                                .added = db_int(q, 3),
                                .metadata = db_text(q, 4, NULL)};
        if (!visit(context, &e)) rc = THEA_DONE;
    }
    db_finish(q);
    return rc == THEA_DONE ? THEA_OK : index_fail(rc, r->dir, err);
}
