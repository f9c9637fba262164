/* Making and opening an index for writing: see index_impl.h.
 *
 * A new index is there once the transaction that fills `meta` is: killed before, the next writer begins
 * again. */
#include "retrieval/index_impl.h"

#include "graph/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_WAIT_MS = 20000, LOCK_NAP_MS = 20 };
#define FIRST_VECTORS "vectors-0.npy"

static const char schema[] =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE documents (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, row INTEGER NOT NULL "
    "UNIQUE,"
    " path TEXT, bytes INTEGER, added INTEGER NOT NULL, metadata TEXT, text TEXT);"
    "CREATE TABLE holes (row INTEGER PRIMARY KEY);"
    "CREATE TABLE streams (run TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"
    " done INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run, first)) WITHOUT ROWID;"
    "PRAGMA application_id = 1952998753;" /* INDEX_APPLICATION */
    "PRAGMA user_version = 1;";           /* INDEX_FORMAT */
_Static_assert(INDEX_APPLICATION == 1952998753 && INDEX_FORMAT == 1, "the schema says so");

/* --- the directory --- */

thea_rc index_lock(int *lock, const char *dir, int how, struct thea_err *err)
{
    struct timespec nap = {.tv_nsec = LOCK_NAP_MS * 1000000L};
    *lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0)
        return thea_fail(err,
                         errno == ENOENT   ? THEA_ENOINPUT
                         : errno == EACCES ? THEA_EPERM
                                           : THEA_ECREATE,
                         "cannot open: %s", strerror(errno));
    for (int waited = 0; flock(*lock, how | LOCK_NB) != 0; waited += LOCK_NAP_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return thea_fail(err, THEA_EIO, "cannot lock: %s", strerror(errno));
        if (waited >= LOCK_WAIT_MS)
            return thea_fail(err, THEA_EBUSY, "another process writes to it: try again when it is done");
        nanosleep(&nap, NULL);
    }
    return THEA_OK;
}

/* "vectors-12.npy": only such names does an index give, and only such files does it remove. */
static bool is_vectors(const char *name)
{
    static const char begin[] = "vectors-", end[] = ".npy";
    if (strncmp(name, begin, sizeof begin - 1) != 0) return false;
    size_t digits = strspn(name + sizeof begin - 1, "0123456789");
    return digits > 0 && strcmp(name + sizeof begin - 1 + digits, end) == 0;
}

static bool is_ours(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "index.sqlite") == 0 ||
           strncmp(name, "index.sqlite-", strlen("index.sqlite-")) == 0 || is_vectors(name);
}

/* An index is not made among files of other sorts: the directory's name was a mistake. */
static thea_rc check_free(const char *dir, struct thea_err *err)
{
    DIR *d = opendir(dir);
    thea_rc rc = THEA_OK;
    if (d == NULL) return thea_fail(err, THEA_EIO, "cannot read: %s", strerror(errno));
    for (struct dirent *e = readdir(d); e != NULL && rc == THEA_OK; e = readdir(d))
        if (!is_ours(e->d_name))
            rc = thea_fail(err, THEA_EDATA, "it is no index, and holds other files ('%s')", e->d_name);
    closedir(d);
    return rc;
}

/* A vectors file that nothing names: a compaction was killed, or could not remove it. */
static void remove_stale(const struct index_writer *w)
{
    DIR *d = w->info.vectors != NULL ? opendir(w->dir) : NULL;
    if (d == NULL) return;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (is_vectors(e->d_name) && strcmp(e->d_name, w->info.vectors) != 0)
            (void)unlinkat(w->lock, e->d_name, 0);
    }
    closedir(d);
}

/* --- making one --- */

static thea_rc set_first(struct db *db, const struct index_model *m, struct thea_err *err)
{
    thea_rc rc = index_set_text(db, "model", m->path, err);
    if (rc == THEA_OK) rc = index_set_text(db, "family", m->family, err);
    if (rc == THEA_OK) rc = index_set_text(db, "fingerprint", m->fingerprint, err);
    if (rc == THEA_OK) rc = index_set_int(db, "dimension", m->dimension, err);
    if (rc == THEA_OK) rc = index_set_text(db, "vectors", FIRST_VECTORS, err);
    return rc == THEA_OK ? index_set_int(db, "rows", 0, err) : rc;
}

static thea_rc make(struct index_writer *w, const struct index_model *model, struct thea_err *err)
{
    struct vectors v = {.fd = -1};
    char *path = index_file(w->dir, FIRST_VECTORS);
    thea_rc rc = check_free(w->dir, err);
    if (rc == THEA_OK) rc = vectors_create(&v, path, model->dimension, err);
    vectors_close(&v);
    free(path);
    thea_fault("index.vectors_made");
    if (rc == THEA_OK) rc = db_exec(w->db, "PRAGMA journal_mode=WAL; BEGIN IMMEDIATE", err);
    if (rc == THEA_OK) rc = db_exec(w->db, schema, err);
    if (rc == THEA_OK) rc = set_first(w->db, model, err);
    thea_fault("index.tables_made");
    if (rc == THEA_OK && fsync(w->lock) != 0)
        rc = thea_fail(err, THEA_EIO, "cannot flush the directory: %s", strerror(errno));
    if (rc == THEA_OK) rc = db_exec(w->db, "COMMIT", err);
    return rc;
}

/* --- opening --- */

static thea_rc open_database(struct index_writer *w, const struct index_model *model, struct thea_err *err)
{
    char *path = index_file(w->dir, "index.sqlite");
    thea_rc rc = THEA_OK;
    if (access(path, F_OK) != 0)
        rc = model == NULL ? thea_fail(err, THEA_ENOINPUT, "there is no index there")
                           : check_free(w->dir, err);
    if (rc == THEA_OK) rc = db_open(&w->db, path, model != NULL ? DB_MAKE : DB_USE, err);
    if (rc == THEA_OK) rc = index_check_format(w->db, err);
    if (rc == THEA_ENOINPUT && w->db != NULL && model != NULL) rc = make(w, model, err);
    free(path);
    return rc;
}

static thea_rc open_vectors(struct index_writer *w, struct thea_err *err)
{
    char *path = index_file(w->dir, w->info.vectors);
    thea_rc rc = vectors_open(&w->vectors, path, w->info.model.dimension, w->info.rows, true, err);
    free(path);
    return rc == THEA_ENOINPUT ? THEA_EDATA : rc;
}

static thea_rc prepare(struct index_writer *w, struct thea_err *err)
{
    thea_rc rc = db_prepare(&w->find, w->db, "SELECT row FROM documents WHERE id = ?1", err);
    if (rc == THEA_OK)
        rc = db_prepare(&w->put, w->db,
                        "INSERT OR REPLACE INTO documents (id, row, path, bytes, added, metadata, text)"
                        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                        err);
    if (rc == THEA_OK) rc = db_prepare(&w->remove, w->db, "DELETE FROM documents WHERE id = ?1", err);
    if (rc == THEA_OK) rc = db_prepare(&w->hole, w->db, "INSERT INTO holes VALUES (?1)", err);
    return rc;
}

static thea_rc read_streams(struct index_writer *w, struct thea_err *err)
{
    struct db_query *q = NULL;
    if (w->run == NULL) return THEA_OK;
    thea_rc rc = db_prepare(&q, w->db, "SELECT first, last FROM streams WHERE run = ?1", err);
    if (rc != THEA_OK) return rc;
    db_bind_string(q, 1, w->run);
    while ((rc = db_step(q, err)) == THEA_OK)
        ranges_add(&w->streams, (uint64_t)db_int(q, 0), (uint64_t)db_int(q, 1));
    db_finish(q);
    return rc == THEA_DONE ? THEA_OK : rc;
}

static thea_rc open_all(struct index_writer *w, const struct index_model *model, struct thea_err *err)
{
    if (model != NULL && mkdir(w->dir, 0777) != 0 && errno != EEXIST)
        return thea_fail_create(err, w->dir, errno);
    thea_rc rc = index_lock(&w->lock, w->dir, LOCK_EX, err);
    if (rc == THEA_OK) rc = open_database(w, model, err);
    if (rc == THEA_OK) rc = index_info_read(&w->info, w->db, err);
    if (rc == THEA_OK) rc = open_vectors(w, err);
    if (rc == THEA_OK) rc = prepare(w, err);
    if (rc == THEA_OK) rc = read_streams(w, err);
    return rc;
}

thea_rc index_writer_open(struct index_writer **out, const char *dir, const struct index_model *model,
                          const char *run, struct thea_err *err)
{
    struct index_writer *w = calloc(1, sizeof *w);
    if (w == NULL || (w->dir = strdup(dir)) == NULL) abort();
    if (run != NULL && (w->run = strdup(run)) == NULL) abort();
    w->lock = w->vectors.fd = -1;
    thea_rc rc = open_all(w, model, err);
    if (rc != THEA_OK) rc = index_fail(rc, dir, err);
    if (rc == THEA_OK && model != NULL) rc = index_check_model(&w->info, dir, model, err);
    if (rc == THEA_OK) {
        remove_stale(w);
        *out = w;
    } else {
        index_writer_close(w);
    }
    return rc;
}

void index_writer_close(struct index_writer *w)
{
    if (w == NULL) return;
    index_rollback(w);
    struct db_query *const queries[] = {w->find, w->put, w->remove, w->hole};
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) db_finish(queries[i]);
    db_close(w->db);
    vectors_close(&w->vectors);
    index_info_fini(&w->info);
    ranges_fini(&w->streams);
    if (w->lock >= 0) close(w->lock);
    free(w->run);
    free(w->dir);
    free(w);
}

const struct index_info *index_writer_info(const struct index_writer *w)
{
    return &w->info;
}
