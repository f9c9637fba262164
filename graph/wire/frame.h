/* Frames: finding what is in one, copying one, and the stdio form of a sequence of them (fabric.md section
 * 11). */
#ifndef GRAPH_WIRE_FRAME_H
#define GRAPH_WIRE_FRAME_H

#include "graph/wire/tensor.h"

/* Limits (FRAME_MAX_BYTES and others): schemas/codec.h. */
const char *frame_kind_name(frame_kind kind);
const struct tensor *frame_tensor(const struct frame *f, const char *name); /* NULL if none */
const struct attr *frame_attr(const struct frame *f, const char *key);      /* NULL if none */
const char *frame_attr_text(const struct frame *f, const char *key, const char *fallback);
int64_t frame_attr_int(const struct frame *f, const char *key, int64_t fallback);
uint64_t frame_tensor_bytes(const struct frame *f); /* sum over its tensors */
/* A deep copy in one block of memory (tensor bytes 64-byte aligned), that does not depend on the message or
 * arena of f. free() it. Running out of memory aborts. */
struct frame *frame_copy(const struct frame *f);

/* stdio: 8 bytes "THEA\x01\0\0\0", then for each frame a u64 (little endian) length and the frame.
 * Blocking; a reader or writer owns its descriptor's position, not the descriptor. */
struct frame_reader;
struct frame_writer;
THEA_CHECK thea_rc frame_reader_open(struct frame_reader **out, int fd,
                                     struct thea_err *err); /* also raises a pipe to 1 MiB */
void frame_reader_close(struct frame_reader *r);
/* Next frame, borrowed until the next call. THEA_DONE after an eof frame was returned and the stream ended.
 * Errors: THEA_EFRAME ("input ended without its end frame: the stage before died", bad magic, damaged),
 * THEA_EIO. */
THEA_CHECK thea_rc frame_read(struct frame_reader *r, struct frame *out, struct thea_err *err);

THEA_CHECK thea_rc frame_writer_open(struct frame_writer **out, int fd, struct thea_err *err);
void frame_writer_close(struct frame_writer *w);
/* Errors: THEA_ECLOSED (the reader went away: EPIPE), THEA_EIO. */
THEA_CHECK thea_rc frame_write(struct frame_writer *w, const struct frame *f, struct thea_err *err);

#endif
