/* What an index says of itself: see index_impl.h. */
#include "retrieval/index_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *index_file(const char *dir, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0) abort();
    return path;
}

thea_rc index_fail(thea_rc rc, const char *dir, struct thea_err *err)
{
    if (err == NULL) return rc;
    err->rc = rc;
    return thea_fail_prefix(err, "index '%s'", dir);
}

void index_info_fini(struct index_info *info)
{
    free((void *)(uintptr_t)info->model.path);
    free((void *)(uintptr_t)info->model.family);
    free(info->pooling);
    free(info->prompt);
    free(info->vectors);
    *info = (struct index_info){0};
}

/* --- meta --- */

static thea_rc read_int(int64_t *out, struct db *db, const char *sql, struct thea_err *err)
{
    struct db_query *q = NULL;
    *out = 0;
    thea_rc rc = db_prepare(&q, db, sql, err);
    if (rc == THEA_OK) rc = db_step(q, err);
    if (rc == THEA_OK) *out = db_int(q, 0);
    db_finish(q);
    return rc == THEA_DONE ? THEA_OK : rc;
}

thea_rc index_check_format(struct db *db, struct thea_err *err)
{
    int64_t application = 0, format = 0, tables = 0;
    thea_rc rc = read_int(&application, db, "PRAGMA application_id", err);
    if (rc == THEA_OK) rc = read_int(&format, db, "PRAGMA user_version", err);
    if (rc == THEA_OK) rc = read_int(&tables, db, "SELECT count(*) FROM sqlite_master", err);
    if (rc != THEA_OK) return rc;
    if (application == 0 && tables == 0) return thea_fail(err, THEA_ENOINPUT, "there is no index yet");
    if (application != INDEX_APPLICATION) /* most programs set none */
        return thea_fail(err, THEA_EDATA, "index.sqlite is a database of another program");
    if (format != INDEX_FORMAT)
        return thea_fail(err, THEA_EDATA, "its format is %lld; this thea reads and writes %d",
                         (long long)format, INDEX_FORMAT);
    return THEA_OK;
}

/* The value of a key as text; NULL if there is none. free() it. */
static thea_rc read_text(char **out, struct db_query *q, const char *key, struct thea_err *err)
{
    *out = NULL;
    db_bind_string(q, 1, key);
    thea_rc rc = db_step(q, err);
    if (rc == THEA_DONE) return THEA_OK;
    if (rc != THEA_OK) return rc;
    const char *text = db_text(q, 0, NULL);
    if (text != NULL && (*out = strdup(text)) == NULL) abort();
    db_reset(q);
    return THEA_OK;
}

static thea_rc read_number(uint64_t *out, struct db_query *q, const char *key, struct thea_err *err)
{
    char *text;
    thea_rc rc = read_text(&text, q, key, err);
    *out = text != NULL ? strtoull(text, NULL, 10) : 0;
    free(text);
    return rc;
}

static thea_rc read_model(struct index_model *m, struct db_query *q, struct thea_err *err)
{
    char *path = NULL, *family = NULL, *fingerprint = NULL;
    thea_rc rc = read_text(&path, q, "model", err);
    if (rc == THEA_OK) rc = read_text(&family, q, "family", err);
    if (rc == THEA_OK) rc = read_text(&fingerprint, q, "fingerprint", err);
    if (rc == THEA_OK) rc = read_number(&m->dimension, q, "dimension", err);
    m->path = path;
    m->family = family;
    if (fingerprint != NULL) snprintf(m->fingerprint, sizeof m->fingerprint, "%s", fingerprint);
    free(fingerprint);
    return rc;
}

static bool is_whole(const struct index_info *info)
{
    return info->model.path != NULL && info->model.family != NULL && info->vectors != NULL &&
           strchr(info->vectors, '/') == NULL && strlen(info->model.fingerprint) == SHA256_HEX - 1 &&
           info->model.dimension > 0 && info->model.dimension <= UINT32_MAX && info->holes <= info->rows &&
           info->rows <= UINT64_C(1) << 40;
}

thea_rc index_info_read(struct index_info *info, struct db *db, struct thea_err *err)
{
    struct db_query *q = NULL;
    uint64_t normalized = 0, unpadded = 0;
    int64_t holes = 0;
    *info = (struct index_info){0};
    thea_rc rc = db_prepare(&q, db, "SELECT value FROM meta WHERE key = ?1", err);
    if (rc == THEA_OK) rc = read_model(&info->model, q, err);
    if (rc == THEA_OK) rc = read_text(&info->pooling, q, "pooling", err);
    if (rc == THEA_OK) rc = read_text(&info->prompt, q, "prompt", err);
    if (rc == THEA_OK) rc = read_number(&normalized, q, "normalized", err);
    if (rc == THEA_OK) rc = read_number(&info->padded_to, q, "padded_to", err);
    if (rc == THEA_OK) rc = read_number(&unpadded, q, "unpadded", err);
    if (rc == THEA_OK) rc = read_text(&info->vectors, q, "vectors", err);
    if (rc == THEA_OK) rc = read_number(&info->rows, q, "rows", err);
    if (rc == THEA_OK) rc = read_int(&holes, db, "SELECT count(*) FROM holes", err);
    info->normalized = normalized != 0;
    info->unpadded = unpadded != 0;
    info->holes = (uint64_t)holes;
    db_finish(q);
    if (rc == THEA_OK && !is_whole(info))
        rc = thea_fail(err, THEA_EDATA, "damaged: what index.sqlite says of the model or the rows cannot be");
    return rc;
}

thea_rc index_set_text(struct db *db, const char *key, const char *value, struct thea_err *err)
{
    struct db_query *q = NULL;
    thea_rc rc = db_prepare(&q, db, "INSERT OR REPLACE INTO meta VALUES (?1, ?2)", err);
    if (rc != THEA_OK) return rc;
    db_bind_string(q, 1, key);
    db_bind_string(q, 2, value);
    rc = db_run(q, err);
    db_finish(q);
    return rc;
}

thea_rc index_set_int(struct db *db, const char *key, uint64_t value, struct thea_err *err)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return index_set_text(db, key, text, err);
}

/* --- models --- */

thea_rc index_check_model(const struct index_info *info, const char *dir, const struct index_model *model,
                          struct thea_err *err)
{
    const struct index_model *own = &info->model;
    if (strcmp(own->fingerprint, model->fingerprint) == 0) return THEA_OK;
    return thea_fail(err, THEA_EDATA,
                     "index '%s' was made with another model: their vectors cannot be compared\n"
                     "  index   %s, %s, %llu numbers, fingerprint %.12s\n"
                     "  given   %s, %s, %llu numbers, fingerprint %.12s",
                     dir, own->path, own->family, (unsigned long long)own->dimension, own->fingerprint,
                     model->path, model->family, (unsigned long long)model->dimension, model->fingerprint);
}
