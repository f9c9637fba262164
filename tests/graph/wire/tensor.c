/* Tensors: sizes, names of dtypes, patterns of ports. */
#include "graph/wire/tensor.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

Test(tensor, every_dtype_is_parsed_by_its_name)
{
    const int known[] = {0, 1, 2, 3, 4, 5, 6, 16, 17, 18, 19, 20};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        tensor_dtype got;
        const char *name = tensor_dtype_info((tensor_dtype)known[i])->name;
        cr_assert_eq(tensor_dtype_parse(&got, name, NULL), THEA_OK);
        cr_assert_eq((int)got, known[i]);
    }
}

Test(tensor, an_unknown_dtype_is_refused_with_the_list)
{
    tensor_dtype got;
    struct thea_err err = {0};
    cr_assert_eq(tensor_dtype_parse(&got, "f33", &err), THEA_EUSAGE);
    cr_assert_str_eq(
        err.message,
        "unknown dtype 'f33'; known are f32, f16, bf16, i8, u8, i32, i64, q8_0, q4_0, q4_k, q5_k, q6_k");
    cr_assert_null(tensor_dtype_info((tensor_dtype)7));
    cr_assert_null(tensor_dtype_info((tensor_dtype)21));
    cr_assert_null(tensor_dtype_info((tensor_dtype)-1));
}

/* Parameters cross into another process: no pointers in them. */
struct size_case {
    char name[40];
    int dtype;
    uint32_t rank;
    uint64_t shape[9];
    bool ok;
    uint64_t size;
};

ParameterizedTestParameters(tensor, sizes_follow_from_dtype_and_shape)
{
    static struct size_case cases[] = {
        {"scalar", TENSOR_F32, 0, {0}, true, 4},
        {"row", TENSOR_F16, 1, {7}, true, 14},
        {"matrix", TENSOR_I64, 2, {3, 5}, true, 120},
        {"empty", TENSOR_F32, 2, {0, 128}, true, 0},
        {"one block", TENSOR_Q8_0, 1, {32}, true, 34},
        {"rows of blocks", TENSOR_Q4_K, 2, {3, 512}, true, 3 * 2 * 144},
        {"half a block", TENSOR_Q8_0, 1, {16}, false, 0},
        {"blocks in the wrong dimension", TENSOR_Q4_0, 2, {32, 1}, false, 0},
        {"a quantised scalar", TENSOR_Q6_K, 0, {0}, false, 0},
        {"overflow", TENSOR_F32, 2, {1ull << 40, 1ull << 40}, false, 0},
        {"overflow by the dtype alone", TENSOR_I64, 1, {1ull << 61}, false, 0},
        {"overflow behind a zero", TENSOR_U8, 3, {0, 1ull << 40, 1ull << 40}, false, 0},
        {"overflow before a zero", TENSOR_U8, 3, {1ull << 40, 1ull << 40, 0}, false, 0},
        {"nine dimensions", TENSOR_U8, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, false, 0},
        {"unknown dtype", 7, 1, {4}, false, 0},
    };
    return cr_make_param_array(struct size_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct size_case *c, tensor, sizes_follow_from_dtype_and_shape)
{
    uint64_t size = 99;
    cr_assert_eq(tensor_size(&size, (tensor_dtype)c->dtype, c->rank, c->shape), c->ok, "%s", c->name);
    if (c->ok) cr_assert_eq(size, c->size, "%s: %llu", c->name, (unsigned long long)size);
}

struct match_case {
    char name[40];
    int dtype;
    char pattern[32];
    uint32_t rank;
    uint64_t shape[8];
    bool ok;
};

ParameterizedTestParameters(tensor, patterns_accept_what_fits_and_nothing_else)
{
    static struct match_case cases[] = {
        {"free and fixed", TENSOR_F32, "n, 128", 2, {512, 128}, true},
        {"without blanks", TENSOR_F32, "n,128", 2, {512, 128}, true},
        {"no rows", TENSOR_F32, "n, 128", 2, {0, 128}, true},
        {"any shape", TENSOR_F32, "*", 3, {1, 2, 3}, true},
        {"any shape, also a scalar", TENSOR_F32, "*", 0, {0}, true},
        {"scalar", TENSOR_F32, "", 0, {0}, true},
        {"square", TENSOR_F32, "n, n", 2, {4, 4}, true},
        {"not square", TENSOR_F32, "n, n", 2, {4, 5}, false},
        {"two words are two sizes", TENSOR_F32, "n, m", 2, {4, 5}, true},
        {"wrong columns", TENSOR_F32, "n, 128", 2, {512, 64}, false},
        {"transposed", TENSOR_F32, "n, 128", 2, {128, 512}, false},
        {"rank too low", TENSOR_F32, "n, 128", 1, {128}, false},
        {"rank too high", TENSOR_F32, "n", 2, {1, 128}, false},
        {"scalar for a row", TENSOR_F32, "n", 0, {0}, false},
        {"row for a scalar", TENSOR_F32, "", 1, {1}, false},
        {"wrong dtype", TENSOR_F16, "*", 1, {1}, false},
        {"a number that overflows", TENSOR_F32, "99999999999999999999", 1, {UINT64_MAX}, false},
    };
    return cr_make_param_array(struct match_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct match_case *c, tensor, patterns_accept_what_fits_and_nothing_else)
{
    struct tensor t = {.name = "x", .dtype = TENSOR_F32, .rank = c->rank};
    memcpy(t.shape, c->shape, sizeof t.shape);
    struct thea_err err = {0};
    thea_rc rc = tensor_match(&t, (tensor_dtype)c->dtype, c->pattern, &err);
    cr_assert_eq(rc, c->ok ? THEA_OK : THEA_EFRAME, "%s: %s", c->name, err.message);
}

Test(tensor, a_mismatch_names_what_was_expected_and_found)
{
    struct tensor t = tensor_2d("residual", TENSOR_F32, NULL, 512, 64);
    struct thea_err err = {0};
    cr_assert_eq(tensor_match(&t, TENSOR_F32, "n, 128", &err), THEA_EFRAME);
    cr_assert_str_eq(err.message, "tensor 'residual': expected f32 [n, 128], found f32 [512, 64]");
}

Test(tensor, a_description_never_outgrows_its_buffer)
{
    struct tensor t = {.name = "x", .dtype = TENSOR_F32, .rank = 8};
    for (int i = 0; i < 8; i++) t.shape[i] = UINT64_MAX;
    char text[128 + 16];
    memset(text, '#', sizeof text);
    tensor_describe(text, &t);
    cr_assert_eq(strlen(text), 127);
    cr_assert_str_eq(text + 124, "...");
    cr_assert_eq(text[128], '#');
    t.dtype = (tensor_dtype)99;
    t.rank = 1;
    t.shape[0] = 3;
    cr_assert_str_eq(tensor_describe(text, &t), "dtype 99 [3]");
}

Test(tensor, one_and_two_dimensions_know_their_bytes)
{
    struct tensor a = tensor_1d("tokens", TENSOR_I32, NULL, 5),
                  b = tensor_2d("residual", TENSOR_F32, NULL, 5, 128);
    cr_assert_eq(a.size_bytes, 20);
    cr_assert_eq(a.rank, 1);
    cr_assert_eq(b.size_bytes, 5 * 128 * 4);
    cr_assert_eq(tensor_elements(&b), 640);
    cr_assert_eq(tensor_1d("x", TENSOR_I64, NULL, 1ull << 62).size_bytes, UINT64_MAX,
                 "an overflow is no small number");
}
