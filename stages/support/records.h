/* JSON Lines of documents: {"id": …, "text": …} or {"id": …, "tokens": [ … ]} a line, read one at a time. */
#ifndef STAGES_SUPPORT_RECORDS_H
#define STAGES_SUPPORT_RECORDS_H

#include "graph/buf.h"
#include "graph/json.h"
#include <stdbool.h>
#include <stdint.h>

struct records {
    int fd;             /* owned by the caller */
    const char *name;   /* for messages: "notes.jsonl"; borrowed */
    bool tokens_only;   /* a record must have tokens */
    uint64_t max_bytes; /* of a line */
    uint64_t line;      /* number of the last line returned, from 1 */
    struct buf read;    /* bytes read, from `at` on not used yet */
    size_t at;
    bool ended;
};

struct record { /* owned by the caller: record_fini */
    char *id;
    struct json_node *node;
    const char *text; /* NULL: the record has tokens */
    size_t text_len;
    int32_t *ids;
    size_t count;
};

/* The next record; blank lines are passed over. THEA_DONE: no more. THEA_AGAIN: line r->line is over
 * max_bytes and was passed over. Members besides id, text, tokens are ignored; a record without id is called
 * "<name>:<line>". Errors: THEA_EDATA with name:line and what is accepted, THEA_EIO. */
THEA_CHECK thea_rc records_next(struct records *r, struct record *out, struct thea_err *err);
void records_fini(struct records *r);
void record_fini(struct record *record);

#endif
