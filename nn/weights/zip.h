/* The directory of a zip file whose members are stored as they are, so that each can be used where it is
 * mapped. Nothing is extracted; compressed and encrypted members are refused. zip64 is read. */
#ifndef NN_WEIGHTS_ZIP_H
#define NN_WEIGHTS_ZIP_H

#include "graph/err.h"

#include <stddef.h>
#include <stdint.h>

struct zip_member {
    char *name;
    const unsigned char *data; /* in the caller's bytes */
    uint64_t size;
    uint64_t header_at; /* offset of its local header */
    uint32_t crc;
};

struct zip {
    struct zip_member *members; /* sorted by name */
    size_t count;
};

/* bytes stay the caller's and outlive *out; `path` is how errors name them. Members lie wholly inside bytes
 * and do not overlap. Errors: THEA_EDATA (names file and member, what was found and expected), THEA_EOS. */
THEA_CHECK thea_rc zip_parse(struct zip *out, const void *bytes, size_t size, const char *path,
                             struct thea_err *err);
void zip_close(struct zip *z);
const struct zip_member *zip_find(const struct zip *z, const char *name); /* NULL if none */

/* Does the member's content have the sum that the directory gives? Reads all of it. A sum of 0 is none: torch
 * can be told to compute none. Errors: THEA_EDATA. */
THEA_CHECK thea_rc zip_verify(const struct zip_member *m, const char *path, struct thea_err *err);

#endif
