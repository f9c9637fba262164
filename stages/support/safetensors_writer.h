/* A safetensors file (huggingface.co/docs/safetensors: u64 header size, JSON header, tensors) from pieces
 * that come in any order.
 *
 * Pieces go to an unnamed file beside the target as they come, so memory holds only where they lie; at the
 * end each tensor is made contiguous and the file appears whole. That needs twice the disk space while it is
 * written. */
#ifndef STAGES_SUPPORT_SAFETENSORS_WRITER_H
#define STAGES_SUPPORT_SAFETENSORS_WRITER_H

#include "graph/wire/tensor.h"

struct safetensors_writer;

/* Errors: THEA_ECREATE. */
THEA_CHECK thea_rc safetensors_writer_open(struct safetensors_writer **out, const char *path,
                                           struct thea_err *err);
/* The same from pieces that lie in the file `rows` already (which stays the caller's): they come by
 * safetensors_writer_note, none by safetensors_writer_add. */
THEA_CHECK thea_rc safetensors_writer_open_rows(struct safetensors_writer **out, const char *path, int rows,
                                                struct thea_err *err);
/* Is there a tensor of this name? */
bool safetensors_writer_has(const struct safetensors_writer *w, const char *name);
/* Can a tensor be written? Errors: THEA_EDOC (a dtype the format lacks; no dimensions). */
THEA_CHECK thea_rc safetensors_writer_check(const char *name, const struct tensor *t, struct thea_err *err);
/* Append t's rows to the tensor `name` (t's own name does not matter). The first piece fixes dtype and all
 * dimensions but the first. Errors: THEA_EDOC (it does not fit what came before; a dtype the format lacks; no
 * dimensions), THEA_EIO. */
THEA_CHECK thea_rc safetensors_writer_add(struct safetensors_writer *w, const char *name,
                                          const struct tensor *t, struct thea_err *err);
/* The next rows of t->name lie at byte `at` of the rows. Errors: as safetensors_writer_add. */
THEA_CHECK thea_rc safetensors_writer_note(struct safetensors_writer *w, const struct tensor *t, uint64_t at,
                                           struct thea_err *err);
/* Write the file, tensors in the order of their first pieces. *bytes (may be NULL): its size. Errors:
 * THEA_EIO, THEA_ECREATE. */
THEA_CHECK thea_rc safetensors_writer_finish(struct safetensors_writer *w, uint64_t *bytes,
                                             struct thea_err *err);
/* Forget a tensor: it will not be in the file. Nothing if there is none. */
void safetensors_writer_remove(struct safetensors_writer *w, const char *name);
void safetensors_writer_close(
    struct safetensors_writer *w); /* NULL is fine; without finish nothing is left */

#endif
