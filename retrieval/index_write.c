/* Documents in and out, commits: see index.h. The points where a test may kill are named here: every one of
 * them leaves the state before the commit, those behind COMMIT the one after. */
#include "retrieval/index_impl.h"

#include "graph/fault.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

thea_rc index_begin(struct index_writer *w, struct thea_err *err)
{
    if (w->open) return THEA_OK;
    thea_rc rc = db_exec(w->db, "BEGIN IMMEDIATE", err);
    w->open = rc == THEA_OK;
    return rc;
}

void index_rollback(struct index_writer *w)
{
    struct thea_err ignored;
    if (w->open && db_exec(w->db, "ROLLBACK", &ignored) != THEA_OK) return; /* closing does it, too */
    w->open = false;
}

/* --- what all vectors of an index have in common --- */

static const char *or_unknown(const char *pooling)
{
    return pooling != NULL ? pooling : "unknown";
}

static const char *or_empty(const char *prompt)
{
    return prompt != NULL ? prompt : "";
}

static thea_rc differs(const struct index_writer *w, const struct index_document *doc, struct thea_err *err)
{
    const struct index_info *info = &w->info;
    return thea_fail(err, THEA_ECONFIG,
                     "vectors made in different ways cannot be compared\n"
                     "  index   pooling %s, %s, padded to %llu tokens (0: not padded), prompt \"%.100s\"\n"
                     "  '%s'   pooling %s, %s, padded to %llu tokens, prompt \"%.100s\"",
                     or_unknown(info->pooling), info->normalized ? "normalised" : "not normalised",
                     (unsigned long long)info->padded_to, or_empty(info->prompt), doc->id,
                     or_unknown(doc->pooling), doc->normalized ? "normalised" : "not normalised",
                     (unsigned long long)doc->padded_to, or_empty(doc->prompt));
}

static thea_rc first_says(struct index_writer *w, const struct index_document *doc, struct thea_err *err)
{
    struct index_info *info = &w->info;
    thea_rc rc = index_set_text(w->db, "pooling", doc->pooling, err);
    if (rc == THEA_OK) rc = index_set_int(w->db, "normalized", doc->normalized, err);
    if (rc == THEA_OK && doc->prompt != NULL) rc = index_set_text(w->db, "prompt", doc->prompt, err);
    if (rc != THEA_OK) return rc;
    info->pooling = strdup(doc->pooling);
    info->prompt = doc->prompt != NULL ? strdup(doc->prompt) : NULL;
    if (info->pooling == NULL || (info->prompt == NULL && doc->prompt != NULL)) abort();
    info->normalized = doc->normalized;
    return THEA_OK;
}

/* Documents that are as long as the model takes say nothing of whether others are padded. */
static thea_rc check_padded_alike(struct index_writer *w, const struct index_document *doc,
                                  struct thea_err *err)
{
    struct index_info *info = &w->info;
    if (doc->padded_to > 0 && info->padded_to == 0) {
        info->padded_to = doc->padded_to;
        return index_set_int(w->db, "padded_to", doc->padded_to, err);
    }
    if (doc->padded_to > 0) return doc->padded_to == info->padded_to ? THEA_OK : differs(w, doc, err);
    if (doc->truncated || info->unpadded) return THEA_OK;
    info->unpadded = true;
    return index_set_int(w->db, "unpadded", 1, err);
}

static thea_rc check_made_alike(struct index_writer *w, const struct index_document *doc,
                                struct thea_err *err)
{
    struct index_info *info = &w->info;
    thea_rc rc = THEA_OK;
    if (doc->pooling != NULL && info->pooling == NULL) rc = first_says(w, doc, err);
    if (rc != THEA_OK) return rc;
    if (doc->pooling != NULL &&
        (strcmp(doc->pooling, info->pooling) != 0 || doc->normalized != info->normalized ||
         strcmp(or_empty(doc->prompt), or_empty(info->prompt)) != 0))
        return differs(w, doc, err);
    return check_padded_alike(w, doc, err);
}

static thea_rc check_document(const struct index_writer *w, const struct index_document *doc,
                              struct thea_err *err)
{
    if (doc->text_len > INDEX_TEXT_MAX)
        return thea_fail(err, THEA_EDOC, "its text has %zu bytes; an index keeps %d of one at most",
                         doc->text_len, INDEX_TEXT_MAX);
    if (doc->dimension != w->info.model.dimension)
        return thea_fail(err, THEA_EDATA, "'%s' has a vector of %zu numbers; those of the index have %llu",
                         doc->id, doc->dimension, (unsigned long long)w->info.model.dimension);
    for (size_t i = 0; i < doc->dimension; i++)
        if (!isfinite(doc->vector[i]))
            return thea_fail(err, THEA_EDOC, "its vector is not finite (number %zu is %g)", i,
                             (double)doc->vector[i]);
    return THEA_OK;
}

/* --- in and out --- */

/* The row of a document, if there is one, becomes a hole. */
static thea_rc leave_hole(struct index_writer *w, const char *id, bool *was_there, struct thea_err *err)
{
    db_bind_string(w->find, 1, id);
    thea_rc rc = db_step(w->find, err);
    *was_there = rc == THEA_OK;
    if (rc != THEA_OK) return rc == THEA_DONE ? THEA_OK : rc;
    db_bind_int(w->hole, 1, db_int(w->find, 0));
    db_reset(w->find);
    w->info.holes++;
    return db_run(w->hole, err);
}

static thea_rc insert(struct index_writer *w, const struct index_document *doc, struct thea_err *err)
{
    db_bind_string(w->put, 1, doc->id);
    db_bind_int(w->put, 2, (int64_t)w->info.rows);
    db_bind_string(w->put, 3, doc->path);
    if (doc->bytes >= 0) db_bind_int(w->put, 4, doc->bytes);
    db_bind_int(w->put, 5, (int64_t)time(NULL));
    db_bind_string(w->put, 6, doc->metadata);
    db_bind_text(w->put, 7, doc->text, doc->text_len);
    return db_run(w->put, err);
}

thea_rc index_put(struct index_writer *w, const struct index_document *doc, struct thea_err *err)
{
    bool was_there;
    thea_rc rc = check_document(w, doc, err);
    if (rc == THEA_EDOC) return rc;
    if (rc == THEA_OK) rc = index_begin(w, err);
    if (rc == THEA_OK) rc = check_made_alike(w, doc, err);
    if (rc == THEA_OK) rc = vectors_put(&w->vectors, w->info.rows, doc->vector, err);
    thea_fault("index.vector");
    if (rc == THEA_OK) rc = leave_hole(w, doc->id, &was_there, err);
    if (rc == THEA_OK) rc = insert(w, doc, err);
    thea_fault("index.row");
    if (rc != THEA_OK) return index_fail(rc, w->dir, err);
    w->info.rows++;
    return THEA_OK;
}

thea_rc index_remove(struct index_writer *w, const char *id, bool *was_there, struct thea_err *err)
{
    thea_rc rc = index_begin(w, err);
    if (rc == THEA_OK) rc = leave_hole(w, id, was_there, err);
    if (rc == THEA_OK && *was_there) {
        db_bind_string(w->remove, 1, id);
        rc = db_run(w->remove, err);
    }
    thea_fault("index.removed");
    return rc == THEA_OK ? THEA_OK : index_fail(rc, w->dir, err);
}

/* --- streams of a run --- */

const struct ranges *index_streams(const struct index_writer *w)
{
    return &w->streams;
}

thea_rc index_mark(struct index_writer *w, uint64_t stream, struct thea_err *err)
{
    thea_rc rc = index_begin(w, err);
    if (rc != THEA_OK) return index_fail(rc, w->dir, err);
    ranges_add(&w->streams, stream, stream);
    w->streams_fresh = true;
    return THEA_OK;
}

static thea_rc run_with(struct index_writer *w, const char *sql, const struct range *range,
                        struct thea_err *err)
{
    struct db_query *q = NULL;
    thea_rc rc = db_prepare(&q, w->db, sql, err);
    if (rc != THEA_OK) return rc;
    db_bind_string(q, 1, w->run);
    if (range != NULL) {
        db_bind_int(q, 2, (int64_t)range->first);
        db_bind_int(q, 3, (int64_t)range->last);
    }
    rc = db_run(q, err);
    db_finish(q);
    return rc;
}

/* A set of ranges is short: turns end mostly in order. */
static thea_rc save_streams(struct index_writer *w, struct thea_err *err)
{
    if (!w->streams_fresh || w->run == NULL) return THEA_OK;
    thea_rc rc = run_with(w, "DELETE FROM streams WHERE run = ?1 OR done = 1", NULL, err);
    for (size_t i = 0; rc == THEA_OK && i < w->streams.count; i++)
        rc = run_with(w, "INSERT INTO streams (run, first, last) VALUES (?1, ?2, ?3)", &w->streams.items[i],
                      err);
    return rc;
}

thea_rc index_run_done(struct index_writer *w, struct thea_err *err)
{
    if (w->run == NULL) return THEA_OK;
    thea_rc rc = index_commit(w, err);
    if (rc == THEA_OK) rc = index_begin(w, err);
    if (rc == THEA_OK) rc = run_with(w, "UPDATE streams SET done = 1 WHERE run = ?1", NULL, err);
    return rc == THEA_OK ? index_commit(w, err) : rc;
}

/* --- commits --- */

bool index_pending(const struct index_writer *w)
{
    return w->open;
}

static thea_rc commit(struct index_writer *w, struct thea_err *err)
{
    thea_rc rc = vectors_sync(&w->vectors, err);
    if (rc == THEA_OK) rc = save_streams(w, err);
    if (rc == THEA_OK) rc = index_set_int(w->db, "rows", w->info.rows, err);
    thea_fault("index.commit");
    if (rc == THEA_OK) rc = db_exec(w->db, "COMMIT", err);
    if (rc != THEA_OK) return rc;
    thea_fault("index.committed");
    w->open = w->streams_fresh = false;
    return vectors_stamp(&w->vectors, w->info.rows, err);
}

thea_rc index_commit(struct index_writer *w, struct thea_err *err)
{
    if (!w->open) return THEA_OK;
    thea_rc rc = commit(w, err);
    return rc == THEA_OK ? THEA_OK : index_fail(rc, w->dir, err);
}
