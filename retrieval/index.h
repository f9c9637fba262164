/* An index: a directory with the vectors of documents, their ids, texts and metadata, and the fingerprint of
 * the model that made them.
 *
 *   vectors-N.npy  f32 [rows, dimension] (vectors.h); numpy.load(…, mmap_mode="r") reads it
 *   index.sqlite   documents (id, row, path, bytes, added, metadata, text); holes: rows that no document has;
 *                  meta: format, model, pooling, which vectors file, how many rows of it count; streams: what
 *                  runs have committed
 *
 * The database says what there is. A commit is: rows behind the last that counts, fdatasync, one transaction
 * that names them. Killed in between, the next writer writes over those rows. A row is never written twice
 * once it counts: replacing and removing leave holes, and compaction writes a new vectors file, which the
 * transaction that renumbers the rows names. So a reader sees the state of the moment it opened, however long
 * it reads, and never waits; but one that may not write in the directory waits for a writer, and holds it up.
 *
 * One writer at a time (a lock on the directory); a second one waits up to 20 s. */
#ifndef RETRIEVAL_INDEX_H
#define RETRIEVAL_INDEX_H

#include "graph/ranges.h"
#include "kernels/kernels.h"
#include "nn/workers.h"
#include "retrieval/sha256.h"

enum { INDEX_FORMAT = 1, INDEX_TEXT_MAX = 512 << 20 /* bytes of a document; SQLite takes no row of 1e9 */ };

/* What the vectors are made with. */
struct index_model {
    const char *path;   /* the model's directory, where it was when the index was made */
    const char *family; /* "bert" */
    char fingerprint[SHA256_HEX];
    uint64_t dimension;
};

/* What an index says of itself. */
struct index_info {
    struct index_model model; /* its texts belong to the info */
    char *pooling;            /* "mean"; NULL: nobody said (there is no document yet) */
    bool normalized;
    char *prompt;       /* stood in front of each text; NULL: nothing did */
    uint64_t padded_to; /* tokens that documents were padded to; 0: none was */
    bool unpadded;      /* one was shorter than the model takes, and not padded */
    char *vectors;      /* name of the file */
    uint64_t rows;      /* of it that count */
    uint64_t holes;     /* of those, how many no document has */
};
void index_info_fini(struct index_info *info);

/* --- writing --- */

struct index_writer;

/* model: make the index if it is not there, and refuse one that another model made; NULL: it must be there.
 * run: a word that nobody else uses, under which index_streams are kept; NULL: none are. Errors:
 * THEA_ENOINPUT (no index there), THEA_EDATA (another model; damaged; another format; a directory that holds
 * other files), THEA_EBUSY, THEA_ECREATE, THEA_EIO. */
THEA_CHECK thea_rc index_writer_open(struct index_writer **out, const char *dir,
                                     const struct index_model *model, const char *run, struct thea_err *err);
/* What was not committed is gone. NULL is fine. */
void index_writer_close(struct index_writer *w);
const struct index_info *index_writer_info(const struct index_writer *w);

struct index_document {
    const char *id, *path; /* path, pooling: may be NULL */
    const char *text;      /* NULL: it is not kept */
    size_t text_len;
    int64_t bytes;        /* of the document; < 0: not known */
    const char *metadata; /* a JSON object; NULL: none */
    const float *vector;
    size_t dimension;
    const char *pooling; /* how the vector was made: the same for all of an index */
    bool normalized;
    const char *prompt; /* NULL: none */
    uint64_t padded_to; /* 0: it was not padded */
    bool truncated;     /* it filled the model */
};
/* Add a document; it takes the place of one with the same id. Errors: THEA_EDOC (a vector that is not finite,
 * a text over INDEX_TEXT_MAX: nothing was done); THEA_ECONFIG (made in another way than the index's: pooling,
 * prompt, padding), THEA_EDATA (another dimension; damaged), THEA_EIO: close it then. */
THEA_CHECK thea_rc index_put(struct index_writer *w, const struct index_document *doc, struct thea_err *err);
/* *was_there: had it such a document? */
THEA_CHECK thea_rc index_remove(struct index_writer *w, const char *id, bool *was_there,
                                struct thea_err *err);
/* With the next commit the stream counts as committed by this run. */
THEA_CHECK thea_rc index_mark(struct index_writer *w, uint64_t stream, struct thea_err *err);
const struct ranges *index_streams(const struct index_writer *w); /* committed by this run, or marked */
/* The run has come to its end: once another writes, its streams may be forgotten. */
THEA_CHECK thea_rc index_run_done(struct index_writer *w, struct thea_err *err);
bool index_pending(const struct index_writer *w); /* is there something to commit? */
/* All since the last commit, in one step; on the disk when it returns. Errors: THEA_EIO: close it then. */
THEA_CHECK thea_rc index_commit(struct index_writer *w, struct thea_err *err);
/* If more than a quarter of the rows are holes, write the others into a new file. Commits. */
THEA_CHECK thea_rc index_compact(struct index_writer *w, struct thea_err *err);

/* --- reading --- */

struct index_reader;

/* The state of this moment. Errors: THEA_ENOINPUT, THEA_EDATA, THEA_EIO, THEA_EPERM (it may not be
 * read, or was not closed in order and cannot be mended where nothing can be written), THEA_EBUSY. */
THEA_CHECK thea_rc index_reader_open(struct index_reader **out, const char *dir, struct thea_err *err);
void index_reader_close(struct index_reader *r); /* NULL is fine */
const struct index_info *index_reader_info(const struct index_reader *r);

struct index_entry { /* texts are borrowed; NULL: not there */
    const char *id, *path, *metadata;
    int64_t bytes; /* -1: not known */
    int64_t added; /* seconds since 1970 */
};
/* Every document, by id. visit returns false to stop. */
THEA_CHECK thea_rc index_list(struct index_reader *r,
                              bool (*visit)(void *context, const struct index_entry *e), void *context,
                              struct thea_err *err);

struct index_hit {
    float score;
    char *id, *path, *text; /* path, text: may be NULL */
    size_t text_len;
};
struct index_hits {
    struct index_hit *items;
    size_t count;
};
/* The `limit` documents with the highest dot products with query [dimension], highest first, those with the
 * same by id. Errors: THEA_EDATA (the query is not finite or of another dimension; the index is damaged). */
THEA_CHECK thea_rc index_search(struct index_hits *out, struct index_reader *r, const float *query,
                                size_t dimension, size_t limit, const struct kernels *kernels,
                                struct workers *workers, struct thea_err *err);
void index_hits_fini(struct index_hits *hits);

/* Is `model` the one that made the index? Errors: THEA_EDATA, with both. */
THEA_CHECK thea_rc index_check_model(const struct index_info *info, const char *dir,
                                     const struct index_model *model, struct thea_err *err);

#endif
