/* A document's text from a descriptor, in pieces of whole characters, with nothing but the piece in memory.
 */
#ifndef STAGES_SUPPORT_TEXT_READER_H
#define STAGES_SUPPORT_TEXT_READER_H

#include "graph/err.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { TEXT_READER_LIMIT = 32 };

struct text_reader {
    int fd;           /* owned by the caller */
    const char *name; /* for messages; borrowed */
    uint64_t limit;   /* a file that was checked: its size then; a pipe: the most that is taken */
    bool checked;     /* text_reader_check found it good */
    /* Instead of fd: bytes from `offset` on, as read(2). */
    ssize_t (*read_at)(void *context, void *to, size_t room, uint64_t offset);
    void *context;
    uint64_t offset; /* bytes given out */
    char carry[4];   /* beginning of a character whose end was not read yet */
    size_t carry_len;
    bool ended;
};

/* A limit as people wrote it: "16 MiB", "1000 bytes"; out has TEXT_READER_LIMIT bytes. */
const char *text_reader_limit(char *out, uint64_t bytes);

/* Read a regular file once, to its end, and go back to its start. True: all of it is text; *bytes is its
 * size. Else reason says why it is left out: "binary", "not UTF-8", "over 16 MiB", "unreadable: …". */
bool text_reader_check(int fd, uint64_t max_bytes, uint64_t *bytes, char *reason, size_t reason_size);

/* Up to room (>= 8) bytes of whole characters into `to`. Of a pipe: what is there, at least one byte.
 * THEA_DONE: no more. Errors: THEA_EDATA (a pipe's text is not UTF-8, binary, over the limit; a file changed
 * since it was checked), THEA_EIO. */
THEA_CHECK thea_rc text_reader_next(struct text_reader *r, char *to, size_t room, size_t *n,
                                    struct thea_err *err);

#endif
