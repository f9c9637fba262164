/* The inside of an index, shared by retrieval/index_*.c and nobody else.
 *
 *   index_info.c     what an index says of itself: meta, models
 *   index_open.c     locking, making and opening one for writing
 *   index_write.c    documents in and out, commits
 *   index_compact.c  holes out
 *   index_read.c     a reader's state; listing
 *   index_search.c   hits */
#ifndef RETRIEVAL_INDEX_IMPL_H
#define RETRIEVAL_INDEX_IMPL_H

#include "retrieval/db.h"
#include "retrieval/index.h"
#include "retrieval/vectors.h"

enum { INDEX_APPLICATION = 0x74686561 }; /* "thea": the database's application_id */

struct index_writer {
    char *dir, *run;
    int lock; /* descriptor of the directory, locked */
    struct db *db;
    struct db_query *find, *put, *remove, *hole;
    struct vectors vectors;
    struct index_info info; /* rows: with those that are not committed */
    struct ranges streams;
    bool open;          /* a transaction is */
    bool streams_fresh; /* marks were made in it */
};

struct index_reader {
    char *dir;
    int lock; /* -1: none is needed */
    struct db *db;
    struct vectors vectors;
    struct index_info info;
    const float *rows;
    uint64_t *holes; /* a bit a row; NULL: there are none */
};

char *index_file(const char *dir, const char *name); /* dir/name; free it */
/* "index 'DIR': " in front of a message from below. Returns rc. */
thea_rc index_fail(thea_rc rc, const char *dir, struct thea_err *err);

/* index_open.c: open the directory and lock it, LOCK_EX or LOCK_SH; waits up to 20 s. *lock is open also
 * after THEA_EBUSY and THEA_EIO. Errors: THEA_ENOINPUT, THEA_EPERM and THEA_ECREATE besides. */
THEA_CHECK thea_rc index_lock(int *lock, const char *dir, int how, struct thea_err *err);

/* index_info.c */
/* Errors: THEA_ENOINPUT: this database holds no index (yet); THEA_EDATA. */
THEA_CHECK thea_rc index_check_format(struct db *db, struct thea_err *err);
THEA_CHECK thea_rc index_info_read(struct index_info *info, struct db *db, struct thea_err *err);
THEA_CHECK thea_rc index_set_text(struct db *db, const char *key, const char *value, struct thea_err *err);
THEA_CHECK thea_rc index_set_int(struct db *db, const char *key, uint64_t value, struct thea_err *err);

/* index_write.c */
THEA_CHECK thea_rc index_begin(struct index_writer *w, struct thea_err *err); /* a transaction, if none is */
void index_rollback(struct index_writer *w);

#endif
