/* What crosses a process border, as C structs, and the one door to FlatBuffers: encode, and verify + decode.
 *
 * Nothing is trusted: codec_decode_* runs the FlatBuffers verifier, then checks what it cannot know (limits,
 * dtype, shape x dtype = bytes without overflow, exactly one of bytes and region, names present). Decoded
 * structs borrow the message's bytes. Whether a region exists, only the link knows that it was offered on. */
#ifndef SCHEMAS_CODEC_H
#define SCHEMAS_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "graph/err.h"

enum {
    FRAME_TENSORS_MAX = 256,
    FRAME_ATTRS_MAX = 64,
    TENSOR_RANK_MAX = 8,
    FRAME_NAME_MAX = 255,        /* bytes of a tensor's name or an attribute's key */
    FRAME_PORT_MAX = 1024,       /* bytes of a frame's port names, comma between */
    ATTR_TEXT_MAX = 64 << 10,    /* bytes of a text attribute */
    FRAME_MAX_BYTES = 256 << 20, /* of a whole encoded frame; and of its tensors in regions together */
    LINK_MESSAGE_MAX_BYTES = 64 << 10,
    WIRE_VERSION = 1,
};

typedef enum {
    TENSOR_F32 = 0,
    TENSOR_F16 = 1,
    TENSOR_BF16 = 2,
    TENSOR_I8 = 3,
    TENSOR_U8 = 4,
    TENSOR_I32 = 5,
    TENSOR_I64 = 6,
    TENSOR_Q8_0 = 16,
    TENSOR_Q4_0 = 17,
    TENSOR_Q4_K = 18,
    TENSOR_Q5_K = 19,
    TENSOR_Q6_K = 20,
} tensor_dtype;

typedef enum {
    FRAME_DATA,
    FRAME_END,
    FRAME_EOF,
    FRAME_MARK,
    FRAME_ERROR,
    FRAME_CANCEL,
    FRAME_GRAD
} frame_kind;
typedef enum { ATTR_TEXT = 1, ATTR_INT = 2, ATTR_FLOAT = 3 } attr_type;

/* Where in its sender's shared memory a tensor lies (graph/wire/region.h). */
struct tensor_region {
    uint32_t pool, slot;
    uint64_t generation; /* of the slot: grows with each use */
    uint64_t offset;     /* within the slot; of as many bytes as the tensor has */
};

struct tensor {
    const char *name;
    tensor_dtype dtype;
    uint32_t rank;
    uint64_t shape[TENSOR_RANK_MAX];
    const void *data; /* aligned to the dtype's element at least */
    uint64_t size_bytes;
    /* Between a link and the codec alone: the bytes lie in `region` and not in the message. Everybody else
     * sees data, wherever it is, and in_region false. */
    bool in_region;
    struct tensor_region region;
};

struct attr {
    const char *key;
    attr_type type;
    union {
        const char *text;
        int64_t integer;
        double number;
    };
};

struct frame {
    frame_kind kind;
    uint64_t stream, seq, link_seq, position, epoch;
    uint32_t attempt, origin;
    const char *port; /* "" if none */
    struct tensor *tensors;
    size_t tensor_count;
    struct attr *attrs;
    size_t attr_count;
    uint64_t trace_id, created_ns, sent_ns;
};

typedef enum {
    LINK_HELLO,
    LINK_CREDIT,
    LINK_POOL,
    LINK_POOL_OK,
    LINK_STOP,
    LINK_CANCEL,
    LINK_PING,
    LINK_PONG,
    LINK_BYE,
    LINK_REFUSE
} link_kind;
typedef enum { LINK_SENDER, LINK_RECEIVER } link_role;

struct link_message {
    link_kind kind;
    uint32_t version;
    uint64_t run;
    uint32_t link;
    const char *port, *pattern, *host, *token;
    link_role role;
    uint64_t epoch;
    uint32_t incarnation, peer_incarnation;
    uint64_t next_seq;
    int32_t pid, peer_pid;
    uint32_t attempt;
    uint64_t clock_ns, ack_seq, limit_seq, limit_bytes, stream, time_ns, echo_ns;
    uint32_t pool, oldest_pool, slots, large;
    int32_t fd;
    uint64_t slot_bytes, inode;
    const char *reason, *expected, *found; /* never NULL when decoded */
};

typedef enum { CODEC_FRAME, CODEC_LINK, CODEC_UNKNOWN } codec_kind;

/* Which of the two a message claims to be, by its file identifier alone. */
codec_kind codec_identify(const void *bytes, size_t size);

/* Decoded frames keep their tensors and attributes in arena memory that is reused from frame to frame. */
struct codec_arena; /* one per receiver */
struct codec_arena *codec_arena_new(void);
void codec_arena_free(struct codec_arena *arena);

/* *out borrows `bytes` and `arena` until either changes. bytes must be 8-byte aligned (nng bodies are 16).
 * Errors: THEA_EFRAME; the message names the field ("frame: tensor 2 'residual': shape [512, 128] of f32
 * needs 262144 bytes, has 100"). */
THEA_CHECK thea_rc codec_decode_frame(struct frame *out, const void *bytes, size_t size,
                                      struct codec_arena *arena, struct thea_err *err);
/* The same on a link: tensors may also lie in regions. Those have in_region set and data NULL, until the link
 * has found where they are mapped here. */
THEA_CHECK thea_rc codec_decode_frame_on_link(struct frame *out, const void *bytes, size_t size,
                                              struct codec_arena *arena, struct thea_err *err);
THEA_CHECK thea_rc codec_decode_link(struct link_message *out, const void *bytes, size_t size,
                                     struct thea_err *err);

/* Encode into memory of the caller's choosing. `alloc(context, size)` is called at most twice (with an upper
 * bound; again, larger, should the bound have been too small) and returns 64-byte aligned memory or NULL; the
 * message is [*offset, *offset + *size) of the last block returned (FlatBuffers grow from the end), aligned
 * to 64 bytes there. Errors: THEA_EOS (no memory), THEA_EFRAME (over a limit: names it), THEA_ESOFTWARE. */
typedef void *(*codec_alloc)(void *context, size_t size);
THEA_CHECK thea_rc codec_encode_frame(const struct frame *frame, codec_alloc alloc, void *context,
                                      size_t *offset, size_t *size, struct thea_err *err);
THEA_CHECK thea_rc codec_encode_link(const struct link_message *message, codec_alloc alloc, void *context,
                                     size_t *offset, size_t *size, struct thea_err *err);

/* Give a frame that codec_encode_frame made a link_seq that is not higher than its own, in place. */
void codec_renumber_frame(void *bytes, uint64_t link_seq);

#ifdef __cplusplus
}
#endif
#endif
