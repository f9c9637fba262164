/* write: npy and safetensors, which are made at the end. */
#include "tests/stages/writing.h"

TestSuite(write_arrays, .init = scratch_make, .fini = scratch_remove);

Test(write_arrays, npy_has_a_row_a_document_and_the_ids_beside_it)
{
    struct harness *h = open_write(ARGS("-o", "v.npy"), "vector");
    static const float a[] = {1, 2, 3}, b[] = {4, 5, 6};
    feed_floats(h, "vector", 1, "a.md", a, 3);
    feed_floats(h, "vector", 2, "b\nc", b, 3);
    feed_kind(h, "vector", 2, FRAME_END);
    expect_only(0); /* nothing to see before it is whole */
    feed_kind(h, "vector", 1, FRAME_END);
    finish(h, "vector");
    size_t size = 0;
    char *npy = get_file("v.npy", &size);
    cr_assert_eq(size, 128 + 24);
    cr_assert_eq(
        memcmp(npy, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
               61),
        0);
    cr_assert_eq(npy[127], '\n');
    cr_assert_eq(memcmp(npy + 128, a, 12), 0);
    cr_assert_eq(memcmp(npy + 140, b, 12), 0);
    free(npy);
    expect_file("v.ids.txt", "a.md\nb\\nc\n");
    expect_only(2);
}

Test(write_arrays, npy_refuses_a_vector_of_another_width_and_goes_on)
{
    struct harness *h = open_write(ARGS("-o", "v.npy"), "vector");
    feed_floats(h, "vector", 1, "a", (const float[]){1, 2}, 2);
    feed_kind(h, "vector", 1, FRAME_END);
    feed_floats(h, "vector", 2, "b", (const float[]){1, 2, 3}, 3);
    cr_assert_eq(harness_page(h)->failed, 1);
    finish(h, "vector");
    expect_file("v.ids.txt", "a\n");
}

static struct json_node *header_of(const char *path, const char **data)
{
    static char *file;
    size_t size = 0;
    uint64_t n = 0;
    struct json_node *header = NULL;
    struct thea_err err = {0};
    free(file);
    file = get_file(path, &size);
    cr_assert_not_null(file);
    memcpy(&n, file, 8);
    cr_assert_eq(n % 8, 0);
    cr_assert_eq(json_parse(&header, file + 8, n, path, &err), THEA_OK, "%s", err.message);
    *data = file + 8 + n;
    return header;
}

static const void *array_of(const struct json_node *header, const char *data, const char *name,
                            const char *shape)
{
    const struct json_node *entry = json_member(header, name);
    cr_assert_not_null(entry, "no tensor %s", name);
    char *printed = json_print(json_member(entry, "shape"), 0, 0);
    cr_assert_str_eq(printed, shape, "%s", name);
    free(printed);
    return data + json_int(json_item(json_member(entry, "data_offsets"), 0));
}

Test(write_arrays, safetensors_gathers_each_documents_rows_however_frames_mix)
{
    struct harness *h = open_write(ARGS("-o", "out.safetensors"), "logits");
    static const float rows[] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (uint64_t i = 0; i < 4; i++) {
        struct tensor t = tensor_2d("logits", TENSOR_F32, rows + 2 * i, 1, 2);
        feed_tensors(h, "logits", i % 2, i % 2 == 0 ? "even" : "odd", i / 2, &t, 1);
    }
    feed_kind(h, "logits", 0, FRAME_END);
    feed_kind(h, "logits", 1, FRAME_END);
    expect_only(0);
    finish(h, "logits");
    expect_only(1);
    const char *data = NULL;
    struct json_node *header = header_of("out.safetensors", &data);
    cr_assert_eq(memcmp(array_of(header, data, "even.logits", "[2, 2]"), (const float[]){1, 2, 5, 6}, 16), 0);
    cr_assert_eq(memcmp(array_of(header, data, "odd.logits", "[2, 2]"), (const float[]){3, 4, 7, 8}, 16), 0);
    json_free(header);
}

Test(write_arrays, safetensors_has_every_hidden_state_and_nothing_that_rides_beside)
{
    struct harness *h = open_write(ARGS("-o", "out.safetensors"), "hidden");
    static const float x[] = {1, 2};
    struct tensor t[] = {tensor_2d("hidden.0", TENSOR_F32, x, 1, 2),
                         tensor_2d("hidden.1", TENSOR_F32, x, 1, 2), tensor_1d("tokens", TENSOR_I32, x, 1)};
    feed_tensors(h, "hidden", 1, "a", 0, t, 3);
    feed_kind(h, "hidden", 1, FRAME_END);
    finish(h, "hidden");
    const char *data = NULL;
    struct json_node *header = header_of("out.safetensors", &data);
    cr_assert_eq(json_count(header), 2);
    array_of(header, data, "a.hidden.0", "[1, 2]");
    array_of(header, data, "a.hidden.1", "[1, 2]");
    json_free(header);
}

Test(write_arrays, safetensors_takes_an_id_once_and_drops_what_failed)
{
    struct harness *h = open_write(ARGS("-o", "out.safetensors"), "final");
    static const float x[] = {1, 2};
    struct tensor t = tensor_2d("final", TENSOR_F32, x, 1, 2);
    feed_tensors(h, "final", 1, "a", 0, &t, 1);
    feed_kind(h, "final", 1, FRAME_END);
    feed_tensors(h, "final", 2, "a", 0, &t, 1);
    cr_assert_eq(harness_page(h)->failed, 1);
    feed_tensors(h, "final", 3, "broken", 0, &t, 1);
    feed_kind(h, "final", 3, FRAME_ERROR);
    finish(h, "final");
    const char *data = NULL;
    struct json_node *header = header_of("out.safetensors", &data);
    cr_assert_eq(json_count(header), 1);
    array_of(header, data, "a.final", "[1, 2]");
    json_free(header);
}

Test(write_arrays, an_array_file_that_is_not_finished_leaves_the_old_one)
{
    put_text_file("out.safetensors", "old");
    struct harness *h = open_write(ARGS("-o", "out.safetensors"), "final");
    struct tensor t = tensor_2d("final", TENSOR_F32, (const float[]){1, 2}, 1, 2);
    feed_tensors(h, "final", 1, "a", 0, &t, 1);
    harness_close(h);
    expect_file("out.safetensors", "old");
    expect_only(1);
}
