/* Messages for tests: memory for the encoder, and a small writer of FlatBuffers by hand that can write what
 * the encoder refuses. */
#ifndef TESTS_SCHEMAS_FRAMES_H
#define TESTS_SCHEMAS_FRAMES_H

#include "schemas/codec.h"

/* Where an encoder puts its message; refuse: pretend that memory has run out. */
struct encoded {
    void *block;
    size_t offset, size;
    int allocations;
    bool refuse;
};
void *encoded_alloc(void *encoded, size_t size);
void encoded_fini(struct encoded *e);
struct encoded encoded_frame(const struct frame *f); /* f must be good */
const void *encoded_bytes(const struct encoded *e);

/* The decoder's answer alone. */
thea_rc decode_alone(const void *bytes, size_t size, struct thea_err *err);
/* In memory of exactly that size, 64-byte aligned, so that a sanitizer sees a read past it; free it. */
void *exact_copy(const void *bytes, size_t size);

/* Bytes of a message, 64-byte aligned, in a block of exactly that size. */
struct wire {
    unsigned char *bytes;
    size_t size;
};
void wire_fini(struct wire *w);

void wire_good(struct wire *w); /* one tensor, one attribute: the one that all below are damaged copies of */
void wire_nothing(struct wire *w);
void wire_eight_bytes(struct wire *w);
void wire_text(struct wire *w);
void wire_link_message(struct wire *w);
void wire_link_kind(struct wire *w);
void wire_control_identifier(struct wire *w);
void wire_root_beyond(struct wire *w);
void wire_root_misaligned(struct wire *w);
void wire_vtable_beyond(struct wire *w);
void wire_string_open(struct wire *w);
void wire_vector_long(struct wire *w);
void wire_no_name(struct wire *w);
void wire_no_key(struct wire *w);
void wire_version(struct wire *w);
void wire_kind(struct wire *w);
void wire_empty_name(struct wire *w);
void wire_long_name(struct wire *w);
void wire_nul_name(struct wire *w);
void wire_dtype(struct wire *w);
void wire_rank(struct wire *w);
void wire_few_bytes(struct wire *w);
void wire_many_bytes(struct wire *w);
void wire_overflow(struct wire *w);
void wire_wraps(struct wire *w);
void wire_half_block(struct wire *w);
void wire_both(struct wire *w);
void wire_neither(struct wire *w);
void wire_region(struct wire *w);
void wire_unaligned(struct wire *w);
void wire_shared_bytes(struct wire *w);
void wire_many_tensors(struct wire *w);
void wire_many_attributes(struct wire *w);
void wire_empty_key(struct wire *w);
void wire_nul_key(struct wire *w);
void wire_no_value(struct wire *w);
void wire_attribute_type(struct wire *w);
void wire_nul_text(struct wire *w);
void wire_long_text(struct wire *w);
void wire_long_port(struct wire *w);
void wire_nul_port(struct wire *w);

#endif
