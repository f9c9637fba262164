/* A sink's journal: which streams have their results in the output, and where they lie there, so that a run
 * that was killed goes on where it stood and no result is lost, cut short or there twice.
 *
 * A text file, one line a record: eight hex digits, the CRC-32C of the rest; a blank; one JSON object.
 *
 *   {"what": "head", "run": …, "format": …, "order": …, "output": …, "name": …, "base": n}   the first line
 *   {"what": "commit", "stream": s, "attempt": a, "file": k, "off": n, "len": n, "crc": c}
 *   {"what": "aside", "stream": s, "tries": n, "reason": …}     given up: it has no result
 *   {"what": "cancel", "stream": s}                             nobody wants it any more
 *   {"what": "rotate", "file": k, "name": …}                    results go to file k from here on
 *   {"what": "sync", "file": k, "size": n}     all lines before this one, and what they name, are on the disk
 *   {"what": "done"}                                            the end of the run, nothing is missing
 *
 * A result is committed when its commit line is there whole: bytes first, then the line in one write(). Every
 * sync_interval_ns, every 64 MiB and at the end both files are flushed, then a sync line says so. (The flush
 * comes before the line, so that a line that is there vouches for all before it whatever a power cut left.)
 *
 * Opening recovers. Lines before the last sync must hold, or nothing is touched and opening fails. Later ones
 * are checked against the output by size and checksum; the first that does not hold is cut off with all after
 * it, and the output's end with them. Their streams come again.
 *
 * One writer at a time, held by flock: opening waits for the lock, so that no late write of a process that
 * dies can follow recovery. Used from one thread. */
#ifndef GRAPH_JOURNAL_H
#define GRAPH_JOURNAL_H

#include "graph/err.h"
#include "graph/ranges.h"

#include <sys/uio.h>

enum { JOURNAL_SYNC_BYTES = 64 << 20, JOURNAL_SYNC_MS = 1000 };

struct journal;

struct journal_options {
    const char *path;   /* of the journal */
    const char *run;    /* the run's name */
    const char *output; /* the file that users named */
    const char *first;  /* the file that a first start begins with; NULL: output */
    const char *rows;   /* where the results gather of which output is made at the end; NULL: in output */
    const char *format; /* these and the order stay what they were at the first start */
    const char *order;  /* "input", "completion" */
    bool append;        /* begin behind what the output holds; else it is emptied at the first start */
    uint64_t sync_interval_ns; /* 0: JOURNAL_SYNC_MS; UINT64_MAX: journal_sync alone */
};

/* What opening found. */
struct journal_found {
    uint64_t commits, asides; /* that hold */
    uint64_t cut_bytes;       /* of the output, cut off because no commit names them */
    uint64_t cut_lines;       /* of the journal, cut off because they did not hold */
    bool done;                /* the run had come to its end, and nothing was written since */
};

/* Errors: THEA_EDATA (damaged before its last sync; the output is shorter than what is committed),
 * THEA_EUSAGE (format, order or output differ from the first start's), THEA_ECREATE, THEA_EIO. After an error
 * both files are as they were. */
THEA_CHECK thea_rc journal_open(struct journal **out, const struct journal_options *options,
                                struct thea_err *err);
void journal_close(struct journal *j); /* without a last flush; NULL is fine */

const struct journal_found *journal_found(const struct journal *j);
const struct ranges *journal_streams(const struct journal *j); /* committed, set aside or cancelled */
const struct ranges *journal_asides(const struct journal *j);  /* of those, set aside */
unsigned journal_file(const struct journal *j);                /* 0 until journal_rotate */
uint64_t journal_tail(const struct journal *j);                /* where the next result of that file goes */
const char *journal_output(const struct journal *j);           /* that file */
int journal_output_fd(const struct journal *j); /* to read back what is committed; -1: removed */

/* The result of `stream`: `parts` one behind the other. Errors: THEA_EIO (disk full, …): both files are as
 * before, so that one may try again. */
THEA_CHECK thea_rc journal_commit(struct journal *j, uint64_t stream, uint32_t attempt,
                                  const struct iovec *parts, size_t count, struct thea_err *err);
THEA_CHECK thea_rc journal_aside(struct journal *j, uint64_t stream, uint32_t tries, const char *reason,
                                 struct thea_err *err);
THEA_CHECK thea_rc journal_cancel(struct journal *j, uint64_t stream, struct thea_err *err);
/* The next results go to the file `name`, emptied; the one before is flushed. Errors also: THEA_ECREATE. */
THEA_CHECK thea_rc journal_rotate(struct journal *j, const char *name, struct thea_err *err);
/* Flush, if something is not on the disk yet. */
THEA_CHECK thea_rc journal_sync(struct journal *j, struct thea_err *err);
/* The same, if it is due. */
THEA_CHECK thea_rc journal_tick(struct journal *j, struct thea_err *err);
/* All is committed: flush and say so. */
THEA_CHECK thea_rc journal_done(struct journal *j, struct thea_err *err);

#endif
