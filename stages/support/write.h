/* The inside of the kind `write`, shared by stages/write.c and write_*.c, and by nobody else.
 *
 *   stages/write.c   options; frames, ends, failures of documents
 *   write_open.c     ports; the input is known: what it is written to, and what an earlier process left there
 *   write_take.c     a document's tensors, as they come
 *   write_put.c      a document's result, in its turn */
#ifndef STAGES_SUPPORT_WRITE_H
#define STAGES_SUPPORT_WRITE_H

#include "graph/value.h"
#include "graph/wire/stage.h"
#include "stages/support/arrays.h"
#include "stages/support/form.h"
#include "stages/support/formats.h"
#include "stages/support/results.h"
#include "stages/support/table.h"
#include "stages/support/turns.h"

enum {
    PORT_RECORD,
    PORT_VECTOR,
    PORT_TOKENS,
    PORT_TEXT,
    PORT_NLL,
    PORT_FINAL,
    PORT_LOGITS,
    PORT_HIDDEN,
    PORT_NEXT,
    PORT_RESIDUAL,
    PORT_COUNT
};
enum { ORDER_INPUT, ORDER_COMPLETION };

extern const struct stage_port write_inputs[];
extern const char *const write_orders[]; /* NULL-terminated */

struct write {
    const char *output;
    int format, order;
    int64_t rows, rotate;
    bool append, failures;
    struct value_list sources; /* that streams come of; empty: one, which its first stream shows */

    bool kept;    /* a supervisor keeps what is not committed, and sends it again */
    char *beside; /* a path where results gather that are too large for memory; NULL: they stay there */
    int port;     /* the one input; -1: not known yet (stdin carries any) */
    int form;     /* format, auto resolved; FORMAT_AUTO: not known yet */
    struct turns turns;
    struct results results; /* lines, text, table, rows of arrays */
    struct arrays arrays;
    struct form lines;
    struct table *table;
    uint64_t width;       /* of the first vector: rows of a tsv and an npy are of one width */
    char last;            /* live text: the last byte printed */
    uint64_t live_stream; /* live text: of this stream so many bytes are printed, its end is not */
    uint64_t live_bytes;
    uint64_t counted; /* bytes reported to the status page */
};

struct document {
    struct turn *turn;
    struct arrays_document arrays;
    bool vector; /* it has come */
};

/* write_open.c */
/* Can the format do what the options ask for? Errors: THEA_EUSAGE. */
THEA_CHECK thea_rc write_check(const struct write *w, int form, struct thea_err *err);
/* The input is `port`. Errors: THEA_EUSAGE, and those of results_open and arrays_open. */
THEA_CHECK thea_rc write_start(struct stage *st, struct write *w, int port, struct thea_err *err);

/* write_take.c */
/* A main tensor of the document's. Errors: THEA_EDOC. */
THEA_CHECK thea_rc write_take(struct write *w, struct document *d, const struct tensor *t,
                              struct thea_err *err);

/* write_put.c */
bool write_is_live(const struct write *w); /* text is printed before its document ends */
/* Put out what has its turn. */
THEA_CHECK thea_rc write_flush(struct stage *st, struct write *w, struct thea_err *err);
THEA_CHECK thea_rc write_put(struct stage *st, struct write *w, const struct turn *turn,
                             const struct iovec *parts, size_t count, struct thea_err *err);

#endif
