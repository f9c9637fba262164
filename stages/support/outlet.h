/* Where a sink's bytes go: stdout, a file written as it comes, or a file that appears whole at the end. */
#ifndef STAGES_SUPPORT_OUTLET_H
#define STAGES_SUPPORT_OUTLET_H

#include "graph/err.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum {
    OUTLET_NEW,    /* written as it comes; what was there goes at once */
    OUTLET_APPEND, /* written behind what was there */
    OUTLET_WHOLE,  /* appears at the end: the file has no name until outlet_commit */
} outlet_how;

struct outlet {
    int fd;          /* -1: closed */
    char *path;      /* NULL: stdout */
    bool whole;      /* OUTLET_WHOLE */
    char *temporary; /* of a whole file: the name beside the target that it has before it has that */
    bool named;      /* it has it now */
    bool enough;     /* the reader of stdout went away; what is written is dropped */
    uint64_t bytes;
};

/* path: "-" or a file. Whole: an existing file stays as it is until outlet_commit; a process that dies before
 * leaves nothing. A whole file that is there must be a regular one. Errors: THEA_ECREATE. */
THEA_CHECK thea_rc outlet_open(struct outlet *o, const char *path, outlet_how how, struct thea_err *err);
/* All of it, or THEA_EIO (disk full, …). A reader of stdout that went away is no error: enough is set. */
THEA_CHECK thea_rc outlet_write(struct outlet *o, const void *bytes, size_t n, struct thea_err *err);
/* Overwrite bytes written before (whole files only). */
THEA_CHECK thea_rc outlet_rewrite(struct outlet *o, uint64_t at, const void *bytes, size_t n,
                                  struct thea_err *err);
/* Flush to the disk, close, and give a whole file its name. Errors: THEA_EIO, THEA_ECREATE. */
THEA_CHECK thea_rc outlet_commit(struct outlet *o, struct thea_err *err);
/* Close; a whole file that was not committed is gone. May be called after commit, and twice. */
void outlet_close(struct outlet *o);

char *outlet_directory(const char *path); /* that the file lies in; free it */
/* A file without a name in the directory of `path`, for what is too large for memory. Errors: THEA_ECREATE.
 */
THEA_CHECK thea_rc outlet_spill(int *fd, const char *path, struct thea_err *err);

#endif
