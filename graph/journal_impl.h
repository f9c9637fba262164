/* The inside of journal*.c. Invariant: `tail` and `journal_tail` are where the committed bytes of the two
 * files end; what lies behind them is nobody's. */
#ifndef GRAPH_JOURNAL_IMPL_H
#define GRAPH_JOURNAL_IMPL_H

#include "graph/buf.h"
#include "graph/journal.h"
#include "graph/json.h"

enum { JOURNAL_LINE_MAX = 64 << 10 };

typedef enum {
    JOURNAL_HEAD,
    JOURNAL_COMMIT,
    JOURNAL_ASIDE,
    JOURNAL_CANCEL,
    JOURNAL_ROTATE,
    JOURNAL_SYNC,
    JOURNAL_DONE,
    JOURNAL_KINDS
} journal_kind;

struct journal_line {
    journal_kind kind;
    struct json_node *json;
    uint64_t at, end; /* where it lies in the journal, newline included */
};

struct journal {
    char *path;
    int fd;      /* of the journal, locked */
    int out_fd;  /* of the current output file; -1: it is not there */
    char *name;  /* of that file */
    uint64_t at; /* the journal's end */
    uint64_t base, tail;
    unsigned file;
    struct ranges streams, asides;
    struct journal_found found;
    uint64_t interval_ns, synced_ns, unsynced_bytes;
    bool unsynced;  /* lines behind the last sync line */
    bool spent;     /* the run is done, and the rows, of which the output was made, are gone */
    bool recovered; /* there was a head: this is not the first start */
};

/* journal_line.c */
void journal_line_add(struct buf *out, struct json_node *json); /* takes json over */
struct json_node *journal_line_new(journal_kind kind);          /* {"what": kind} */
/* The lines of a file, front to back. */
struct journal_reader {
    int fd;
    struct buf held; /* read; given out up to `start` */
    size_t start;
    uint64_t at;         /* of the next line in the file */
    bool ended;          /* nothing more to read */
    uint64_t line_count; /* given out so far */
};
/* The next line. THEA_EDATA: it does not hold (line->at and end are set, line->json is NULL); err stays
 * empty. THEA_DONE. Errors: THEA_EIO. line->json is the caller's. */
THEA_CHECK thea_rc journal_read(struct journal_reader *r, struct journal_line *line, struct thea_err *err);
uint64_t journal_number(const struct journal_line *line, const char *key);

/* journal_recover.c: find out what holds, then cut off the rest and leave j ready to be written. */
THEA_CHECK thea_rc journal_recover(struct journal *j, const struct journal_options *o, struct thea_err *err);
thea_rc journal_fail(const char *doing, const char *path, struct thea_err *err); /* errno, as THEA_EIO */

/* journal.c */
THEA_CHECK thea_rc journal_append(struct journal *j, struct json_node *json, struct thea_err *err);
/* Open the current output file, making it where it is not there, and cut it to `tail`. */
THEA_CHECK thea_rc journal_open_output(struct journal *j, struct thea_err *err);
THEA_CHECK thea_rc journal_flush(int fd, const char *path, struct thea_err *err);

#endif
