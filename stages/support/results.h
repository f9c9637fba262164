/* Where a sink's results go: standard output, a file, a file that is rotated; and with a run directory, into
 * a file that a journal vouches for (graph/journal.h), so that a result that is committed is there once,
 * whoever dies.
 *
 * A pipe, a terminal, a device cannot take back what they were given: no journal is kept for them. */
#ifndef STAGES_SUPPORT_RESULTS_H
#define STAGES_SUPPORT_RESULTS_H

#include "graph/journal.h"
#include "stages/support/outlet.h"

struct results_options {
    const char *output;  /* "-" or a file */
    const char *run_dir; /* NULL: by hand, no journal */
    const char *sink;    /* the stage's name */
    const char *format, *order;
    int64_t rotate; /* bytes of a file at most, unless one result is larger; 0: one file */
    bool append;
    bool rows; /* the output is made at the end; until then they gather in the run directory */
};

struct results {
    struct journal *journal; /* NULL: none is kept */
    struct outlet out;       /* then */
    char *output;            /* as it was named; with a journal, absolute */
    uint64_t rotate, number; /* of the current file: 0, 1, … */
    uint64_t tail;           /* bytes of the current file */
    bool rows;               /* as in the options */
};

/* Errors: THEA_ECREATE, and those of journal_open. */
THEA_CHECK thea_rc results_open(struct results *r, const struct results_options *o, struct thea_err *err);
void results_close(struct results *r); /* may be called after a failed or no open (zeroed) */

/* Go on to the next file, if `bytes` more would make this one too large. */
THEA_CHECK thea_rc results_make_room(struct results *r, uint64_t bytes, struct thea_err *err);
/* The result of a stream; committed, where a journal is kept. A reader of standard output that went away sets
 * out.enough. Errors: THEA_EIO. */
THEA_CHECK thea_rc results_put(struct results *r, uint64_t stream, uint32_t attempt,
                               const struct iovec *parts, size_t count, struct thea_err *err);
THEA_CHECK thea_rc results_put_aside(struct results *r, uint64_t stream, uint32_t tries, const char *reason,
                                     struct thea_err *err);
/* Flush: all of it is there, or (whole: false) the run goes on later. */
THEA_CHECK thea_rc results_finish(struct results *r, bool whole, struct thea_err *err);
/* The first line of the current file, of the one before if that is empty; "" if there is none. Takes no
 * newline along. free() it. */
char *results_first_line(const struct results *r);

#endif
