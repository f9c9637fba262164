/* JSON Lines of documents: {"id": …, "text": …} or {"id": …, "tokens": [ … ]} a line, read one at a time. */
#ifndef STAGES_SUPPORT_RECORDS_H
#define STAGES_SUPPORT_RECORDS_H

#include "graph/buf.h"
#include "graph/json.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct records {
    /* Set by the caller. */
    int fd;             /* owned by the caller; read from where it stands, which is byte `offset` */
    const char *name;   /* for messages: "notes.jsonl"; borrowed */
    bool tokens_only;   /* a record must have tokens */
    uint64_t max_bytes; /* of a line */
    uint64_t line;      /* number of the last line returned, from 1; at first: of the line before `offset` */
    uint64_t offset;    /* of the first byte not used yet */
    uint64_t end;       /* reading stops at this byte, as if the file ended there; 0: where it ends */
    bool growing;       /* where it ends now is no end: a line is whole when its newline is there */
    bool pipe;          /* while it has nothing to read, say THEA_AGAIN */
    /* Instead of fd: bytes from `offset` on, as read(2). */
    ssize_t (*read_at)(void *context, void *to, size_t room, uint64_t offset);
    void *context;
    /* Own. */
    struct buf read; /* bytes read, from `at` on not used yet */
    size_t at, searched;
    uint64_t whole; /* offset behind the last line that was whole */
    bool ended, too_long;
};

struct record { /* owned by the caller: record_fini */
    char *id;
    struct json_node *node;
    const char *text; /* NULL: the record has tokens */
    size_t text_len;
    int32_t *ids;
    size_t count;
};

/* The next record; blank lines are passed over. THEA_DONE: no more. THEA_AGAIN: nothing whole is there yet.
 * THEA_EDOC (without a message): line r->line is over max_bytes and was passed over. Members besides id,
 * text, tokens are ignored; a record without id is called "<name>:<line>". Errors: THEA_EDATA with name:line
 * and what is accepted, THEA_EIO. */
THEA_CHECK thea_rc records_next(struct records *r, struct record *out, struct thea_err *err);
/* Pass over one record without looking into it; the same results but THEA_EDATA. */
THEA_CHECK thea_rc records_skip(struct records *r, struct thea_err *err);
void records_fini(struct records *r);
void record_fini(struct record *record);

#endif
