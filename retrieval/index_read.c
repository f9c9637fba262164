/* A reader of an index: see index.h. It holds one read transaction for as long as it is open, and the vectors
 * file that was named in it.
 *
 * SQLite's readers write, too: they note beside the database what they read. Where that cannot be (a
 * read-only medium, somebody else's directory), the database is taken for frozen, and the lock on the
 * directory, shared by readers of this sort, sees to it that it is. */
#include "retrieval/index_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 8 };

/* Commits that did not come into the database itself yet: its writer was killed, and nobody opened it since
 * who could have put them there. */
static thea_rc check_log(const struct index_reader *r, struct thea_err *err)
{
    struct stat at;
    char *log = index_file(r->dir, "index.sqlite-wal");
    bool pending = stat(log, &at) == 0 && at.st_size > 0;
    free(log);
    if (!pending) return THEA_OK;
    return thea_fail(
        err, THEA_EPERM,
        "its writer was killed, and to recover what it committed the directory must be writable\n"
        "  try    cp -r %s COPY, and use that, or let its owner run thea index %s --list once",
        r->dir, r->dir);
}

static thea_rc open_frozen(struct index_reader *r, const char *path, struct thea_err *err)
{
    thea_rc rc = index_lock(&r->lock, r->dir, LOCK_SH, err);
    if (rc == THEA_OK) rc = check_log(r, err);
    if (rc == THEA_OK) rc = db_open(&r->db, path, DB_FROZEN, err);
    if (rc == THEA_OK) rc = db_exec(r->db, "BEGIN", err);
    return rc == THEA_OK ? index_check_format(r->db, err) : rc;
}

static thea_rc open_database(struct index_reader *r, struct thea_err *err)
{
    char *path = index_file(r->dir, "index.sqlite");
    thea_rc rc = THEA_OK;
    if (eaccess(path, R_OK) != 0)
        rc = errno == EACCES
                 ? thea_fail(err, THEA_EPERM, "cannot read '%s': %s", path, strerror(errno))
                 : thea_fail(err, THEA_ENOINPUT, "there is no index there (thea index %s FILE…)", r->dir);
    if (rc == THEA_OK) rc = db_open(&r->db, path, DB_USE, err);
    if (rc == THEA_OK) rc = db_exec(r->db, "BEGIN", err);
    if (rc == THEA_OK) rc = index_check_format(r->db, err);
    if (rc == THEA_ECREATE) { /* nothing can be written beside it */
        db_close(r->db);
        r->db = NULL;
        rc = open_frozen(r, path, err);
    }
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
    if (r->lock >= 0) close(r->lock);
    r->lock = -1;
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
    r->vectors.fd = r->lock = -1;
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
        if (e.id == NULL)
            rc = thea_fail(err, THEA_EDATA, "damaged: a document has no id");
        else if (!visit(context, &e))
            rc = THEA_DONE;
    }
    db_finish(q);
    return rc == THEA_DONE ? THEA_OK : index_fail(rc, r->dir, err);
}
