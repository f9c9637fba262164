/* Frames through the codec: all that they may hold comes back, and what no reader would take is refused by
 * the encoder. Damaged ones: codec_damage.c. */
#include "tests/schemas/frames.h"

#include "graph/wire/frame.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(codec, .timeout = 300);

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
    struct encoded e = encoded_frame(&f);
    struct codec_arena *arena = codec_arena_new();
    struct frame g;
    cr_assert_eq(codec_decode_frame(&g, encoded_bytes(&e), e.size, arena, NULL), THEA_OK);
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
        struct encoded e = encoded_frame(&f);
        cr_assert_eq((uintptr_t)encoded_bytes(&e) % 64, 0);
        cr_assert_eq(codec_decode_frame(&g, encoded_bytes(&e), e.size, arena, NULL), THEA_OK);
        for (size_t i = 0; i < 2; i++) {
            size_t at = (size_t)((const char *)g.tensors[i].data - (const char *)encoded_bytes(&e));
            cr_assert_eq(at % 64, 0);
            cr_assert_leq(at + g.tensors[i].size_bytes, e.size, "it borrows the message");
        }
        encoded_fini(&e);
    }
    codec_arena_free(arena);
}

Test(codec, a_frame_of_nothing_but_its_kind_is_small)
{
    struct frame f = {.kind = FRAME_EOF}, g;
    struct encoded e = encoded_frame(&f);
    cr_assert_leq(e.size, 64);
    struct codec_arena *arena = codec_arena_new();
    cr_assert_eq(codec_decode_frame(&g, encoded_bytes(&e), e.size, arena, NULL), THEA_OK);
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
    struct encoded e = encoded_frame(&f);
    struct codec_arena *arena = codec_arena_new();
    struct thea_err err = {0};
    cr_assert_eq(codec_decode_frame(&g, encoded_bytes(&e), e.size, arena, &err), THEA_OK, "%s", err.message);
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
    struct encoded e = encoded_frame(&f);
    struct thea_err err = {0};
    cr_assert_eq(decode_alone(encoded_bytes(&e), e.size, &err), THEA_OK, "%s", err.message);
    cr_assert_eq(e.allocations, 1, "the bound holds");
    encoded_fini(&e);
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
    struct encoded e = encoded_frame(&f);
    struct codec_arena *arena = codec_arena_new();
    cr_assert_leq(e.size, 512);
    memset(arena, 0xff, sizeof(struct tensor));
    cr_assert_eq(codec_decode_frame_on_link(&g, encoded_bytes(&e), e.size, arena, NULL), THEA_OK);
    const struct tensor *x = &g.tensors[0], *ids = &g.tensors[1];
    cr_assert(x->in_region && x->data == NULL && x->size_bytes == 4 << 20 && x->shape[0] == 1 << 20);
    cr_assert(x->region.pool == 3 && x->region.slot == 4 && x->region.generation == 1ull << 40 &&
              x->region.offset == 128);
    cr_assert(!ids->in_region && memcmp(ids->data, t[1].data, 8) == 0);
    cr_assert_eq(frame_tensor_bytes(&g), (4 << 20) + 8, "regions count as bytes");
    cr_assert_eq(codec_decode_frame(&g, encoded_bytes(&e), e.size, arena, NULL), THEA_EFRAME);
    codec_arena_free(arena);
    encoded_fini(&e);
}

static void refused_on_link(const struct tensor *t, size_t count, const char *want)
{
    struct encoded e =
        encoded_frame(&(struct frame){.tensors = (struct tensor *)(uintptr_t)t, .tensor_count = count});
    struct codec_arena *arena = codec_arena_new();
    struct thea_err err = {0};
    struct frame g;
    cr_assert_eq(codec_decode_frame_on_link(&g, encoded_bytes(&e), e.size, arena, &err), THEA_EFRAME);
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
