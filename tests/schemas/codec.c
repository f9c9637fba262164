/* Damaged and unusual messages against the codec. Frames are damaged in three ways: built wrong with
 * FlatBuffers' own rules in place (by a small writer below, which can write what the encoder refuses), cut,
 * and with bits flipped. Each damage has its own message. */
#include "tests/schemas/frames.h"

#include "graph/wire/frame.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

TestSuite(codec, .timeout = 300);

static struct encoded encode(const struct frame *f)
{
    struct encoded e = {0};
    struct thea_err err = {0};
    cr_assert_eq(codec_encode_frame(f, encoded_alloc, &e, &e.offset, &e.size, &err), THEA_OK, "%s",
                 err.message);
    return e;
}

static const void *bytes_of(const struct encoded *e)
{
    return (const char *)e->block + e->offset;
}

static thea_rc decode(const void *bytes, size_t size, struct thea_err *err)
{
    struct codec_arena *arena = codec_arena_new();
    struct frame f;
    thea_rc rc = codec_decode_frame(&f, bytes, size, arena, err);
    codec_arena_free(arena);
    return rc;
}

/* --- good frames --- */

Test(codec, every_field_survives)
{
    float values[4] = {1, 2, 3, 4};
    int64_t ends[2] = {5, 6};
    struct tensor t[2] = {tensor_2d("residual", TENSOR_F32, values, 2, 2),
                          tensor_1d("ends", TENSOR_I64, ends, 2)};
    struct attr a[3] = {{.key = "id", .type = ATTR_TEXT, .text = "d/ä.md"},
                        {.key = "bytes", .type = ATTR_INT, .integer = INT64_MIN},
                        {.key = "w", .type = ATTR_FLOAT, .number = 1e-300}};
    struct frame f = {.kind = FRAME_MARK,
                      .stream = 1ull << 40 | 7,
                      .seq = 2,
                      .link_seq = 3,
                      .position = 4,
                      .epoch = 5,
                      .attempt = 6,
                      .origin = 7,
                      .port = "residual",
                      .tensors = t,
                      .tensor_count = 2,
                      .attrs = a,
                      .attr_count = 3,
                      .trace_id = 8,
                      .created_ns = 9,
                      .sent_ns = 10};
    struct encoded e = encode(&f);
    struct codec_arena *arena = codec_arena_new();
    struct frame g;
    cr_assert_eq(codec_decode_frame(&g, bytes_of(&e), e.size, arena, NULL), THEA_OK);
    cr_assert_eq(g.kind, FRAME_MARK);
    cr_assert(g.stream == f.stream && g.seq == 2 && g.link_seq == 3 && g.position == 4 && g.epoch == 5 &&
              g.attempt == 6 && g.origin == 7);
    cr_assert(g.trace_id == 8 && g.created_ns == 9 && g.sent_ns == 10);
    cr_assert_str_eq(g.port, "residual");
    cr_assert_eq(memcmp(frame_tensor(&g, "residual")->data, values, sizeof values), 0);
    cr_assert_eq(memcmp(frame_tensor(&g, "ends")->data, ends, sizeof ends), 0);
    cr_assert_str_eq(frame_attr_text(&g, "id", ""), "d/ä.md");
    cr_assert_eq(frame_attr_int(&g, "bytes", 0), INT64_MIN);
    cr_assert_eq(frame_attr(&g, "w")->number, 1e-300);
    codec_arena_free(arena);
    encoded_fini(&e);
}

Test(codec, tensor_bytes_lie_at_64_byte_borders_and_are_not_copied_by_decoding)
{
    static char data[300];
    struct codec_arena *arena = codec_arena_new();
    for (uint64_t n = 1; n < 300; n += 13) {
        struct tensor t[2] = {tensor_1d("a", TENSOR_U8, data, n), tensor_1d("b", TENSOR_U8, data, 300 - n)};
        struct frame f = {.tensors = t, .tensor_count = 2}, g;
        struct encoded e = encode(&f);
        cr_assert_eq((uintptr_t)bytes_of(&e) % 64, 0);
        cr_assert_eq(codec_decode_frame(&g, bytes_of(&e), e.size, arena, NULL), THEA_OK);
        for (size_t i = 0; i < 2; i++) {
            size_t at = (size_t)((const char *)g.tensors[i].data - (const char *)bytes_of(&e));
            cr_assert_eq(at % 64, 0);
            cr_assert_leq(at + g.tensors[i].size_bytes, e.size, "it borrows the message");
        }
        encoded_fini(&e);
    }
    codec_arena_free(arena);
}

/* --- regions --- */

static struct tensor in_region(uint64_t n)
{
    struct tensor t = tensor_1d("x", TENSOR_F32, NULL, n);
    t.in_region = true;
    t.region = (struct tensor_region){.pool = 3, .slot = 4, .generation = 1ull << 40, .offset = 128};
    return t;
}

Test(codec, a_region_is_named_and_its_bytes_stay_where_they_are)
{
    struct tensor t[2] = {in_region(1 << 20), tensor_1d("ids", TENSOR_I32, (int32_t[]){1, 2}, 2)};
    struct frame f = {.tensors = t, .tensor_count = 2}, g;
    struct encoded e = encode(&f);
    struct codec_arena *arena = codec_arena_new();
    cr_assert_leq(e.size, 512);
    memset(arena, 0xff, sizeof(struct tensor));
    cr_assert_eq(codec_decode_frame_on_link(&g, bytes_of(&e), e.size, arena, NULL), THEA_OK);
    const struct tensor *x = &g.tensors[0], *ids = &g.tensors[1];
    cr_assert(x->in_region && x->data == NULL && x->size_bytes == 4 << 20 && x->shape[0] == 1 << 20);
    cr_assert(x->region.pool == 3 && x->region.slot == 4 && x->region.generation == 1ull << 40 &&
              x->region.offset == 128);
    cr_assert(!ids->in_region && memcmp(ids->data, t[1].data, 8) == 0);
    cr_assert_eq(frame_tensor_bytes(&g), (4 << 20) + 8, "regions count as bytes");
    cr_assert_eq(codec_decode_frame(&g, bytes_of(&e), e.size, arena, NULL), THEA_EFRAME);
    codec_arena_free(arena);
    encoded_fini(&e);
}

static void refused_on_link(const struct tensor *t, size_t count, const char *want)
{
    struct encoded e =
        encode(&(struct frame){.tensors = (struct tensor *)(uintptr_t)t, .tensor_count = count});
    struct codec_arena *arena = codec_arena_new();
    struct thea_err err = {0};
    struct frame g;
    cr_assert_eq(codec_decode_frame_on_link(&g, bytes_of(&e), e.size, arena, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, want), "%s", err.message);
    codec_arena_free(arena);
    encoded_fini(&e);
}

Test(codec, a_region_between_elements_is_refused)
{
    struct tensor t = in_region(8);
    t.region.offset = 130;
    refused_on_link(&t, 1, "frame: tensor 0 'x': its bytes are not aligned to 4");
}

Test(codec, a_region_of_another_size_than_its_shape_is_refused)
{
    struct wire w = {0};
    struct thea_err err = {0};
    struct frame g;
    struct codec_arena *arena = codec_arena_new();
    wire_region(&w); /* a region of no bytes for one f32 */
    cr_assert_eq(codec_decode_frame_on_link(&g, w.bytes, w.size, arena, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "shape [1] of f32 needs 4 bytes, has 0"), "%s", err.message);
    codec_arena_free(arena);
    wire_fini(&w);
}

Test(codec, regions_of_more_bytes_than_a_frame_may_have_are_not_sent)
{
    struct tensor t[2] = {in_region(FRAME_MAX_BYTES / 4), in_region(1)};
    struct frame f = {.tensors = t, .tensor_count = 2};
    struct encoded e = {0};
    struct thea_err err = {0};
    cr_assert_eq(codec_encode_frame(&f, encoded_alloc, &e, &e.offset, &e.size, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "frame: 268435460 bytes of tensors, at most 268435456"), "%s",
                       err.message);
    encoded_fini(&e);
}

Test(codec, a_frame_of_nothing_but_its_kind_is_small)
{
    struct frame f = {.kind = FRAME_EOF}, g;
    struct encoded e = encode(&f);
    cr_assert_leq(e.size, 64);
    struct codec_arena *arena = codec_arena_new();
    cr_assert_eq(codec_decode_frame(&g, bytes_of(&e), e.size, arena, NULL), THEA_OK);
    cr_assert(g.kind == FRAME_EOF && g.tensor_count == 0 && g.attr_count == 0);
    cr_assert_str_eq(g.port, "");
    codec_arena_free(arena);
    encoded_fini(&e);
}

Test(codec, empty_tensors_scalars_and_quantised_blocks_pass)
{
    static char block[34];
    float one = 1;
    struct tensor t[3] = {tensor_2d("none", TENSOR_F32, NULL, 0, 128),
                          {.name = "scalar", .dtype = TENSOR_F32, .data = &one, .size_bytes = 4},
                          tensor_1d("q", TENSOR_Q8_0, block, 32)};
    struct frame f = {.tensors = t, .tensor_count = 3}, g;
    struct encoded e = encode(&f);
    struct codec_arena *arena = codec_arena_new();
    struct thea_err err = {0};
    cr_assert_eq(codec_decode_frame(&g, bytes_of(&e), e.size, arena, &err), THEA_OK, "%s", err.message);
    cr_assert(g.tensors[0].size_bytes == 0 && g.tensors[0].shape[1] == 128);
    cr_assert(g.tensors[1].rank == 0 && *(const float *)g.tensors[1].data == 1);
    cr_assert_eq(g.tensors[2].size_bytes, 34);
    codec_arena_free(arena);
    encoded_fini(&e);
}

Test(codec, the_largest_frame_of_many_tensors_and_attributes_passes)
{
    static char names[FRAME_TENSORS_MAX][FRAME_NAME_MAX + 1], text[ATTR_TEXT_MAX + 1];
    static struct tensor t[FRAME_TENSORS_MAX];
    static struct attr a[FRAME_ATTRS_MAX];
    memset(text, 'x', ATTR_TEXT_MAX);
    for (int i = 0; i < FRAME_TENSORS_MAX; i++) {
        memset(names[i], 'a' + i % 26, FRAME_NAME_MAX);
        t[i] = (struct tensor){.name = names[i],
                               .dtype = TENSOR_U8,
                               .rank = 8,
                               .shape = {1, 1, 1, 1, 1, 1, 1, 1},
                               .data = "x",
                               .size_bytes = 1};
    }
    for (int i = 0; i < FRAME_ATTRS_MAX; i++)
        a[i] = (struct attr){.key = names[i], .type = ATTR_TEXT, .text = text};
    struct frame f = {
        .tensors = t, .tensor_count = FRAME_TENSORS_MAX, .attrs = a, .attr_count = FRAME_ATTRS_MAX};
    struct encoded e = encode(&f);
    struct thea_err err = {0};
    cr_assert_eq(decode(bytes_of(&e), e.size, &err), THEA_OK, "%s", err.message);
    cr_assert_eq(e.allocations, 1, "the bound holds");
    encoded_fini(&e);
}

/* --- what the encoder refuses --- */

struct refusal {
    const char *want;
    struct frame f;
};

Test(codec, the_encoder_refuses_what_no_reader_would_take)
{
    static char long_name[FRAME_NAME_MAX + 2], long_text[ATTR_TEXT_MAX + 2], long_port[FRAME_PORT_MAX + 2];
    memset(long_name, 'n', FRAME_NAME_MAX + 1);
    memset(long_text, 't', ATTR_TEXT_MAX + 1);
    memset(long_port, 'p', FRAME_PORT_MAX + 1);
    static struct tensor many[FRAME_TENSORS_MAX + 1];
    static struct attr attrs[FRAME_ATTRS_MAX + 1];
    struct tensor unnamed = tensor_1d("", TENSOR_U8, "x", 1),
                  named_long = tensor_1d(long_name, TENSOR_U8, "x", 1),
                  dtype = {.name = "d", .dtype = (tensor_dtype)9, .data = "x", .size_bytes = 1},
                  rank = {.name = "r", .dtype = TENSOR_U8, .rank = 9, .data = "x", .size_bytes = 1},
                  size = {.name = "s",
                          .dtype = TENSOR_F32,
                          .rank = 2,
                          .shape = {512, 128},
                          .data = "x",
                          .size_bytes = 100},
                  overflow = tensor_2d("o", TENSOR_F32, "x", 1ull << 40, 1ull << 40),
                  block = {.name = "b",
                           .dtype = TENSOR_Q4_K,
                           .rank = 1,
                           .shape = {100},
                           .data = "x",
                           .size_bytes = 57},
                  huge = tensor_1d("h", TENSOR_U8, "x", (uint64_t)FRAME_MAX_BYTES + 1);
    struct attr key_long = {.key = long_name, .type = ATTR_INT}, type = {.key = "t", .type = (attr_type)4},
                text = {.key = "t", .type = ATTR_TEXT, .text = long_text};
    struct refusal cases[] = {
        {"frame: tensor 0 has no name", {.tensors = &unnamed, .tensor_count = 1}},
        {"frame: the name of tensor 0 has 256 bytes, at most 255",
         {.tensors = &named_long, .tensor_count = 1}},
        {"frame: tensor 0 'd': unknown dtype 9", {.tensors = &dtype, .tensor_count = 1}},
        {"frame: tensor 0 'r': 9 dimensions, at most 8", {.tensors = &rank, .tensor_count = 1}},
        {"frame: tensor 0 's': shape [512, 128] of f32 needs 262144 bytes, has 100",
         {.tensors = &size, .tensor_count = 1}},
        {"frame: tensor 0 'o': shape [1099511627776, 1099511627776] of f32 overflows 64 bits",
         {.tensors = &overflow, .tensor_count = 1}},
        {"frame: tensor 0 'b': shape [100] of q4_k: the last dimension must be a multiple of 256",
         {.tensors = &block, .tensor_count = 1}},
        {"frame: tensor 0 'h': 268435457 bytes, a frame has at most 268435456",
         {.tensors = &huge, .tensor_count = 1}},
        {"frame: 257 tensors, at most 256", {.tensors = many, .tensor_count = FRAME_TENSORS_MAX + 1}},
        {"frame: 65 attributes, at most 64", {.attrs = attrs, .attr_count = FRAME_ATTRS_MAX + 1}},
        {"frame: the name of attribute 0 has 256 bytes, at most 255", {.attrs = &key_long, .attr_count = 1}},
        {"frame: attribute 0 't': unknown type 4", {.attrs = &type, .attr_count = 1}},
        {"frame: attribute 0 't': its text has 65537 bytes, at most 65536",
         {.attrs = &text, .attr_count = 1}},
        {"frame: port has 1025 bytes, at most 1024", {.port = long_port}},
        {"frame: unknown kind 7", {.kind = (frame_kind)7}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct encoded e = {0};
        struct thea_err err = {0};
        cr_assert_eq(codec_encode_frame(&cases[i].f, encoded_alloc, &e, &e.offset, &e.size, &err),
                     THEA_EFRAME, "%s", cases[i].want);
        cr_assert_str_eq(err.message, cases[i].want);
        cr_assert_eq(e.allocations, 0, "nothing is allocated for a bad frame");
    }
}

Test(codec, no_memory_is_an_error_of_the_system)
{
    struct encoded e = {.refuse = true};
    struct thea_err err = {0};
    cr_assert_eq(codec_encode_frame(&(struct frame){0}, encoded_alloc, &e, &e.offset, &e.size, &err),
                 THEA_EOS);
    cr_assert_not_null(strstr(err.message, "out of memory"));
}

/* --- damaged frames --- */

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

Test(codec, every_damage_is_told_by_its_own_message)
{
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        struct wire w = {0};
        damages[i].make(&w);
        struct thea_err err = {0};
        cr_expect_eq(decode(w.bytes, w.size, &err), THEA_EFRAME, "%s was taken", damages[i].name);
        cr_expect_not_null(strstr(err.message, damages[i].want), "%s: '%s'", damages[i].name, err.message);
        wire_fini(&w);
    }
}

Test(codec, the_frame_that_damages_start_from_is_good)
{
    struct wire w = {0};
    wire_good(&w);
    struct thea_err err = {0};
    cr_assert_eq(decode(w.bytes, w.size, &err), THEA_OK, "%s", err.message);
    wire_fini(&w);
}

/* A frame to cut and flip, in memory of exactly its size so that a sanitizer sees a read past it. */
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
    return encode(&f);
}

Test(codec, a_frame_cut_at_any_byte_is_refused)
{
    struct encoded e = rich();
    struct codec_arena *arena = codec_arena_new();
    struct frame whole;
    cr_assert_eq(codec_decode_frame(&whole, bytes_of(&e), e.size, arena, NULL), THEA_OK);
    /* The first tensor lies at the end; behind it is only padding, which nobody misses. */
    size_t used = (size_t)((const char *)whole.tensors[0].data - (const char *)bytes_of(&e)) +
                  whole.tensors[0].size_bytes;
    codec_arena_free(arena);
    cr_assert_gt(used, e.size - 64);
    for (size_t n = 0; n < used; n++) {
        void *exact = NULL;
        cr_assert_eq(posix_memalign(&exact, 64, n > 0 ? n : 1), 0);
        memcpy(exact, bytes_of(&e), n);
        struct thea_err err = {0};
        thea_rc rc = decode(exact, n, &err);
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

Test(codec, a_frame_with_any_bit_flipped_is_refused_or_still_safe)
{
    struct encoded e = rich();
    struct codec_arena *arena = codec_arena_new();
    size_t refused = 0;
    volatile uint64_t sink = 0;
    for (size_t bit = 0; bit < e.size * 8; bit++) {
        void *exact = NULL;
        cr_assert_eq(posix_memalign(&exact, 64, e.size), 0);
        memcpy(exact, bytes_of(&e), e.size);
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

/* --- link messages --- */

Test(codec, every_field_of_a_link_message_survives)
{
    struct link_message m = {.kind = LINK_CREDIT,
                             .version = 1,
                             .run = 1ull << 63,
                             .link = 4,
                             .port = "p",
                             .pattern = "f32 [n]",
                             .host = "h",
                             .token = "t",
                             .role = LINK_RECEIVER,
                             .epoch = 5,
                             .incarnation = 6,
                             .peer_incarnation = 7,
                             .next_seq = 8,
                             .pid = -9,
                             .clock_ns = 10,
                             .ack_seq = 11,
                             .limit_seq = 12,
                             .limit_bytes = 13,
                             .stream = 14,
                             .time_ns = 15,
                             .echo_ns = 16,
                             .pool = 17,
                             .oldest_pool = 18,
                             .large = 20,
                             .slots = 19,
                             .slot_bytes = 1ull << 40,
                             .fd = -20,
                             .inode = 1ull << 41,
                             .reason = "r",
                             .expected = "e",
                             .found = "f"};
    struct encoded e = {0};
    cr_assert_eq(codec_encode_link(&m, encoded_alloc, &e, &e.offset, &e.size, NULL), THEA_OK);
    struct link_message g;
    cr_assert_eq(codec_decode_link(&g, bytes_of(&e), e.size, NULL), THEA_OK);
    cr_assert(g.kind == LINK_CREDIT && g.version == 1 && g.run == 1ull << 63 && g.link == 4 &&
              g.role == LINK_RECEIVER && g.epoch == 5);
    cr_assert(g.incarnation == 6 && g.peer_incarnation == 7 && g.next_seq == 8 && g.pid == -9 &&
              g.clock_ns == 10 && g.ack_seq == 11);
    cr_assert(g.limit_seq == 12 && g.limit_bytes == 13 && g.stream == 14 && g.time_ns == 15 &&
              g.echo_ns == 16);
    cr_assert(g.pool == 17 && g.oldest_pool == 18 && g.large == 20 && g.slots == 19 &&
              g.slot_bytes == 1ull << 40 && g.fd == -20 && g.inode == 1ull << 41);
    cr_assert(strcmp(g.port, "p") == 0 && strcmp(g.pattern, "f32 [n]") == 0 && strcmp(g.host, "h") == 0 &&
              strcmp(g.token, "t") == 0);
    cr_assert(strcmp(g.reason, "r") == 0 && strcmp(g.expected, "e") == 0 && strcmp(g.found, "f") == 0);
    encoded_fini(&e);
}

Test(codec, a_link_message_cut_or_flipped_anywhere_is_refused_or_still_safe)
{
    struct link_message m = {.kind = LINK_HELLO,
                             .version = 1,
                             .run = 77,
                             .port = "residual",
                             .pattern = "f32 [n, 128]"},
                        g;
    struct encoded e = {0};
    cr_assert_eq(codec_encode_link(&m, encoded_alloc, &e, &e.offset, &e.size, NULL), THEA_OK);
    volatile size_t sink = 0;
    cr_assert_eq(codec_decode_link(&g, bytes_of(&e), e.size, NULL), THEA_OK);
    size_t used =
        (size_t)(g.port + strlen(g.port) + 1 - (const char *)bytes_of(&e)); /* behind it is only padding */
    cr_assert(used > e.size - 64 && used <= e.size);
    for (size_t n = 0; n < e.size * 8; n++) {
        void *exact = NULL;
        cr_assert_eq(posix_memalign(&exact, 64, e.size), 0);
        memcpy(exact, bytes_of(&e), e.size);
        ((unsigned char *)exact)[n / 8] ^= (unsigned char)(1u << n % 8);
        struct thea_err err = {0};
        thea_rc rc = codec_decode_link(&g, exact, e.size, &err);
        if (rc == THEA_OK)
            sink += strlen(g.port) + strlen(g.pattern) + strlen(g.reason);
        else
            cr_assert(rc == THEA_EFRAME && strlen(err.message) > 10);
        if (n % 8 == 0 && n / 8 < used)
            cr_assert_eq(codec_decode_link(&g, bytes_of(&e), n / 8, &err), THEA_EFRAME, "cut at %zu", n / 8);
        free(exact);
    }
    (void)sink;
    encoded_fini(&e);
}

Test(codec, messages_are_told_apart_by_their_identifier)
{
    struct wire w = {0};
    wire_good(&w);
    cr_assert_eq(codec_identify(w.bytes, w.size), CODEC_FRAME);
    wire_fini(&w);
    wire_link_message(&w);
    cr_assert_eq(codec_identify(w.bytes, w.size), CODEC_LINK);
    struct link_message m;
    struct thea_err err = {0};
    cr_assert_eq(codec_decode_link(&m, w.bytes, w.size, &err), THEA_OK, "%s", err.message);
    wire_fini(&w);
    wire_text(&w);
    cr_assert_eq(codec_identify(w.bytes, w.size), CODEC_UNKNOWN);
    cr_assert_eq(codec_identify(w.bytes, 7), CODEC_UNKNOWN);
    cr_assert_eq(codec_decode_link(&m, w.bytes, w.size, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "link message: identifier is"));
    wire_fini(&w);
}

Test(codec, link_messages_have_limits_too)
{
    static char text[LINK_MESSAGE_MAX_BYTES + 1];
    memset(text, 'r', LINK_MESSAGE_MAX_BYTES);
    struct encoded e = {0};
    struct thea_err err = {0};
    cr_assert_eq(codec_encode_link(&(struct link_message){.reason = text}, encoded_alloc, &e, &e.offset,
                                   &e.size, &err),
                 THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "at most 65536"), "%s", err.message);
    struct link_message m;
    struct wire w = {0};
    wire_link_kind(&w);
    cr_assert_eq(codec_decode_link(&m, w.bytes, w.size, &err), THEA_EFRAME);
    cr_assert_not_null(strstr(err.message, "link message: unknown kind 99"), "%s", err.message);
    wire_fini(&w);
}
