/* Writes files as torch.save does: a zip of a pickle and raw storages, aligned to 64 bytes. With it tests
 * make files that torch itself would not write, too: of a pickle and members of the test's choice. */
#ifndef TESTS_SUPPORT_TORCH_WRITER_H
#define TESTS_SUPPORT_TORCH_WRITER_H

#include "graph/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* --- A zip of stored members, written as it comes. */
struct zip_writer {
    FILE *file;
    uint64_t at; /* bytes written */
    struct buf directory;
    size_t count;
    bool zip64; /* end with the 64-bit records, as torch does */
};

void zip_writer_begin(struct zip_writer *z, FILE *file);
/* A member of `size` bytes; NULL: of zeros, which become a hole of the file. */
void zip_writer_add(struct zip_writer *z, const char *name, const void *bytes, uint64_t size);
void zip_writer_end(struct zip_writer *z);

/* --- Pickles, protocol 2. */
void pickle_begin(struct buf *p);
void pickle_text(struct buf *p, const char *text);
void pickle_int(struct buf *p, int64_t value);
void pickle_call(struct buf *p, const char *module, const char *name); /* GLOBAL alone */
/* _rebuild_tensor_v2(('storage', class, key, 'cpu', elements), offset, shape, strides, False, OrderedDict()).
 * stride NULL: in C order. */
void pickle_tensor(struct buf *p, const char *class, const char *key, uint64_t elements, uint64_t offset,
                   const uint64_t *shape, const uint64_t *stride, size_t rank);

/* --- A whole file of named tensors. */
struct torch_writer {
    struct zip_writer zip;
    struct buf pickle;
    size_t storages;
};

void torch_writer_begin(struct torch_writer *w, FILE *file);
/* Add a tensor with a storage of its own; bytes NULL: zeros. Returns the storage's number, for _alias. The
 * bytes are written at once. */
size_t torch_writer_add(struct torch_writer *w, const char *name, const char *class, const uint64_t *shape,
                        size_t rank, const void *bytes, size_t element_bytes);
/* Another name, or another view, of a storage. */
void torch_writer_view(struct torch_writer *w, const char *name, const char *class, size_t storage,
                       uint64_t elements, uint64_t offset, const uint64_t *shape, const uint64_t *stride,
                       size_t rank);
void torch_writer_end(struct torch_writer *w);

#endif
