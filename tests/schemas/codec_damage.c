/* Damaged frames against the codec. They are damaged in three ways: built wrong with FlatBuffers' own rules
 * in place (by the writer of frames.h, which can write what the encoder refuses), cut, and with bits flipped.
 * Each damage has its own message. */
#include "tests/schemas/frames.h"

#include "graph/wire/frame.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(codec_damage, .timeout = 60);

/* Each makes one frame that a FlatBuffers verifier passes, or not; and what is said of it. */
struct damage {
    const char *name;
    void (*make)(struct wire *w);
    const char *want;
};

static const struct damage damages[] = {
    {"nothing", wire_nothing, "frame: 0 bytes are too few"},
    {"eight bytes", wire_eight_bytes, "frame: 8 bytes are too few"},
    {"text", wire_text, "frame: identifier is 'a te', expected 'THF1'"},
    {"a link message", wire_link_message, "frame: identifier is 'THL1', expected 'THF1'"},
    {"control characters for identifier", wire_control_identifier,
     "frame: identifier is '?[2J', expected 'THF1'"},
    {"root beyond the end", wire_root_beyond,
     "frame: damaged: an offset, a length or a required name of its "},
    {"root misaligned", wire_root_misaligned, "frame: damaged"},
    {"vtable beyond the end", wire_vtable_beyond, "frame: damaged"},
    {"a string without its zero", wire_string_open, "frame: damaged"},
    {"a vector longer than the frame", wire_vector_long, "frame: damaged"},
    {"a tensor without a name", wire_no_name, "frame: damaged"},
    {"an attribute without a key", wire_no_key, "frame: damaged"},
    {"version 2", wire_version, "frame: version 2, this build reads version 1"},
    {"kind 200", wire_kind, "frame: unknown kind 200"},
    {"an empty tensor name", wire_empty_name, "frame: tensor 0: name is empty"},
    {"a tensor name of 256 bytes", wire_long_name, "frame: tensor 0: name has 256 bytes, at most 255"},
    {"a NUL in a tensor name", wire_nul_name, "frame: tensor 0: name has a NUL byte"},
    {"dtype 9", wire_dtype, "frame: tensor 0 'x': unknown dtype 9"},
    {"nine dimensions", wire_rank, "frame: tensor 0 'x': 9 dimensions, at most 8"},
    {"too few bytes", wire_few_bytes,
     "frame: tensor 0 'x': shape [512, 128] of f32 needs 262144 bytes, has 4"},
    {"too many bytes", wire_many_bytes, "frame: tensor 0 'x': shape [1] of f32 needs 4 bytes, has 8"},
    {"a shape that overflows", wire_overflow,
     "frame: tensor 0 'x': shape [4294967296, 4294967296] of f32 overflows 64 bits"},
    {"a shape that overflows to the right size", wire_wraps,
     "frame: tensor 0 'x': shape [4611686018427387905] of f32 overflows 64 bits"},
    {"half a block", wire_half_block,
     "frame: tensor 0 'x': shape [16] of q8_0: the last dimension must be a multiple of 32"},
    {"bytes and a region", wire_both,
     "frame: tensor 0 'x': has both bytes and a region, exactly one is expected"},
    {"neither bytes nor a region", wire_neither, "frame: tensor 0 'x': has neither bytes nor a region"},
    {"a region that did not come by a link", wire_region,
     "frame: tensor 0 'x': lies in its sender's shared memory (pool 7), which only links offer"},
    {"unaligned bytes", wire_unaligned, "frame: tensor 0 'x': its bytes are not aligned to 8"},
    {"bytes shared by tensors", wire_shared_bytes, "they overlap"},
    {"257 tensors", wire_many_tensors, "frame: 257 tensors, at most 256"},
    {"65 attributes", wire_many_attributes, "frame: 65 attributes, at most 64"},
    {"an empty key", wire_empty_key, "frame: attribute 0: key is empty"},
    {"a NUL in a key", wire_nul_key, "frame: attribute 0: key has a NUL byte"},
    {"an attribute without a value", wire_no_value, "frame: attribute 0 'k': has no value"},
    {"an attribute of type 9", wire_attribute_type, "frame: attribute 0 'k': unknown type 9"},
    {"a NUL in an attribute's text", wire_nul_text, "frame: attribute 0 'k': its text has a NUL byte"},
    {"a text of 64 KiB and one", wire_long_text,
     "frame: attribute 0 'k': its text has 65537 bytes, at most 65536"},
    {"a port of 1025 bytes", wire_long_port, "frame: port has 1025 bytes, at most 1024"},
    {"a NUL in the port", wire_nul_port, "frame: port has a NUL byte"},
};

Test(codec_damage, every_damage_is_told_by_its_own_message)
{
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        struct wire w = {0};
        damages[i].make(&w);
        struct thea_err err = {0};
        cr_expect_eq(decode_alone(w.bytes, w.size, &err), THEA_EFRAME, "%s was taken", damages[i].name);
        cr_expect_not_null(strstr(err.message, damages[i].want), "%s: '%s'", damages[i].name, err.message);
        wire_fini(&w);
    }
}

Test(codec_damage, the_frame_that_damages_start_from_is_good)
{
    struct wire w = {0};
    wire_good(&w);
    struct thea_err err = {0};
    cr_assert_eq(decode_alone(w.bytes, w.size, &err), THEA_OK, "%s", err.message);
    wire_fini(&w);
}

/* A frame to cut and flip. */
static struct encoded rich(void)
{
    static float values[8];
    struct tensor t[2] = {tensor_2d("residual", TENSOR_F32, values, 2, 4),
                          tensor_1d("text", TENSOR_U8, "hello", 5)};
    struct attr a[2] = {{.key = "id", .type = ATTR_TEXT, .text = "a.md"},
                        {.key = "n", .type = ATTR_INT, .integer = 3}};
    struct frame f = {.stream = 3,
                      .port = "residual",
                      .tensors = t,
                      .tensor_count = 2,
                      .attrs = a,
                      .attr_count = 2,
                      .epoch = 1};
    return encoded_frame(&f);
}

Test(codec_damage, a_frame_cut_at_any_byte_is_refused)
{
    struct encoded e = rich();
    struct codec_arena *arena = codec_arena_new();
    struct frame whole;
    cr_assert_eq(codec_decode_frame(&whole, encoded_bytes(&e), e.size, arena, NULL), THEA_OK);
    /* The first tensor lies at the end; behind it is only padding, which nobody misses. */
    size_t used = (size_t)((const char *)whole.tensors[0].data - (const char *)encoded_bytes(&e)) +
                  whole.tensors[0].size_bytes;
    codec_arena_free(arena);
    cr_assert_gt(used, e.size - 64);
    for (size_t n = 0; n < used; n++) {
        void *exact = exact_copy(encoded_bytes(&e), n);
        struct thea_err err = {0};
        thea_rc rc = decode_alone(exact, n, &err);
        cr_assert(rc == THEA_EFRAME, "cut at %zu of %zu was taken", n, e.size);
        cr_assert_gt(strlen(err.message), 10);
        free(exact);
    }
    encoded_fini(&e);
}

/* Use all that a decoded frame offers, as a stage would. */
static uint64_t read_all(const struct frame *f)
{
    uint64_t sum = strlen(f->port);
    for (size_t i = 0; i < f->tensor_count; i++) {
        sum += strlen(f->tensors[i].name);
        for (uint64_t k = 0; k < f->tensors[i].size_bytes; k++)
            sum += ((const unsigned char *)f->tensors[i].data)[k];
    }
    for (size_t i = 0; i < f->attr_count; i++)
        sum += strlen(f->attrs[i].key) + (f->attrs[i].type == ATTR_TEXT ? strlen(f->attrs[i].text) : 0);
    return sum;
}

Test(codec_damage, a_frame_with_any_bit_flipped_is_refused_or_still_safe)
{
    struct encoded e = rich();
    struct codec_arena *arena = codec_arena_new();
    size_t refused = 0;
    volatile uint64_t sink = 0;
    for (size_t bit = 0; bit < e.size * 8; bit++) {
        void *exact = exact_copy(encoded_bytes(&e), e.size);
        ((unsigned char *)exact)[bit / 8] ^= (unsigned char)(1u << bit % 8);
        struct frame f;
        struct thea_err err = {0};
        thea_rc rc = codec_decode_frame(&f, exact, e.size, arena, &err);
        if (rc == THEA_OK)
            sink += read_all(&f);
        else
            refused++;
        cr_assert(rc == THEA_OK || (rc == THEA_EFRAME && strlen(err.message) > 10), "bit %zu: %d", bit,
                  (int)rc);
        free(exact);
    }
    (void)sink;
    cr_assert_gt(refused, 500, "%zu", refused);
    codec_arena_free(arena);
    encoded_fini(&e);
}
