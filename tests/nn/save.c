/* Weights written as safetensors, and read again: rounding, shared storages, views, and what cannot be
 * written. */
#include "nn/weights/save.h"
#include "nn/weights/loader.h"
#include "nn/weights/narrow.h"
#include "tests/support/run.h"
#include "tests/support/torch_writer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- Rounding. Oracle: the widening kernels, and that no other value of the type is nearer. */

static float widened(uint16_t x, bool bf16)
{
    float out;
    const struct kernels *k = kernels_select(NULL);
    (bf16 ? k->from_bf16 : k->from_f16)(&out, &x, 1);
    return out;
}

static uint16_t narrowed(float x, bool bf16)
{
    uint16_t out;
    (void)(bf16 ? narrow_bf16 : narrow_f16)(&out, &x, 1);
    return out;
}

Test(narrow, every_16_bit_value_comes_back_as_itself)
{
    for (int type = 0; type < 2; type++) {
        for (uint32_t i = 0; i < 0x10000; i++) {
            float x = widened((uint16_t)i, type);
            uint16_t back = narrowed(x, type);
            if (isnan(x))
                cr_assert(isnan(widened(back, type)), "%04x -> %04x", i, back);
            else
                cr_assert_eq(back, i, "%04x -> %g -> %04x", i, (double)x, back);
        }
    }
}

Test(narrow, values_between_two_go_to_the_nearer_and_from_the_middle_to_the_even_one)
{
    for (int type = 0; type < 2; type++) {
        for (uint16_t i = 0; i < (type ? 0x7f7f : 0x7bff); i++) {
            float a = widened(i, type), b = widened((uint16_t)(i + 1), type);
            if (type == 1 && i < 0x100) continue; /* the middle is no f32 */
            float middle = a + (b - a) / 2;
            cr_assert_eq(narrowed(middle, type), i + (i & 1), "%g between %g and %g", (double)middle,
                         (double)a, (double)b);
            cr_assert_eq(narrowed(nextafterf(middle, a), type), i);
            cr_assert_eq(narrowed(-nextafterf(middle, b), type), 0x8000 | (i + 1));
        }
    }
}

Test(narrow, what_is_too_large_becomes_infinite_and_is_counted)
{
    const float x[] = {65504.0F,  65519.996F, 65520.0F,      -1e9F,  INFINITY,
                       -INFINITY, NAN,        3.3961776e38F, 1e-30F, -0.0F};
    uint16_t h[10], b[10];
    cr_expect_eq(narrow_f16(h, x, 10), 3, "65520, -1e9 and 3.4e38");
    const uint16_t want[] = {0x7bff, 0x7bff, 0x7c00, 0xfc00, 0x7c00, 0xfc00};
    cr_expect_arr_eq(h, want, sizeof want);
    cr_expect(h[8] == 0 && h[9] == 0x8000);
    cr_expect_eq(narrow_bf16(b, x, 10), 1, "beyond the middle of the largest and what would come next");
    cr_expect(b[4] == 0x7f80 && b[5] == 0xff80 && b[7] == 0x7f80 && isnan(widened(b[6], true)) &&
              b[9] == 0x8000);
}

/* --- Files */

static const float values[24] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};

/* DIR/pytorch_model.bin with a table of words that the head shares, two equal names, a view, doubles and
 * integers. */
static void write_source(const char *dir)
{
    char path[512];
    struct torch_writer w;
    double doubles[3] = {0.1, -2, 1e30};
    int64_t ids[3] = {5, 6, 7};
    snprintf(path, sizeof path, "%s/pytorch_model.bin", dir);
    FILE *f = fopen(path, "we");
    cr_assert_not_null(f);
    torch_writer_begin(&w, f);
    const uint64_t shape[] = {4, 6};
    size_t s = torch_writer_add(&w, "embed_tokens.weight", "FloatStorage", shape, 2, values, 4);
    torch_writer_view(&w, "lm_head.weight", "FloatStorage", s, 24, 0, shape, NULL, 2);
    size_t t = torch_writer_add(&w, "sine.1", "FloatStorage", (const uint64_t[]){24}, 1, values, 4);
    torch_writer_view(&w, "sine.2", "FloatStorage", t, 24, 0, (const uint64_t[]){24}, NULL, 1);
    torch_writer_view(&w, "turned", "FloatStorage", t, 24, 0, (const uint64_t[]){6, 4},
                      (const uint64_t[]){1, 6}, 2);
    torch_writer_add(&w, "doubles", "DoubleStorage", (const uint64_t[]){3}, 1, doubles, 8);
    size_t i = torch_writer_add(&w, "ids", "LongStorage", (const uint64_t[]){3}, 1, ids, 8);
    torch_writer_view(&w, "ids.step", "LongStorage", i, 3, 0, (const uint64_t[]){2}, (const uint64_t[]){2},
                      1);
    torch_writer_end(&w);
    cr_assert(fclose(f) == 0);
}

static struct weights *open_dir(const char *dir)
{
    struct weights *w;
    struct thea_err err;
    cr_assert(weights_open(&w, dir, &err) == THEA_OK, "%s", err.message);
    return w;
}

/* Save the source's weights into a new directory and open that. */
static struct weights *saved(tensor_dtype dtype, bool tied, struct save_report *report)
{
    char *from = run_temp_dir(), *to = run_temp_dir(), path[512];
    struct thea_err err;
    struct save_options options = {.dtype = dtype == DTYPE_OTHER ? NULL : dtype_of(dtype),
                                   .tied = tied,
                                   .kernels = kernels_select(NULL)};
    write_source(from);
    struct weights *w = open_dir(from);
    snprintf(path, sizeof path, "%s/model.safetensors", to);
    cr_assert(weights_save(w, path, &options, report, &err) == THEA_OK, "%s", err.message);
    weights_close(w);
    struct weights *out = open_dir(to);
    free(from);
    free(to);
    return out;
}

static void expect_values(const struct weights *w, const char *name, tensor_dtype dtype, const float *want,
                          size_t n)
{
    float got[24];
    const struct weight *t = weights_find(w, name);
    cr_assert_not_null(t, "%s", name);
    cr_expect(t->dtype == dtype && !t->strided, "%s", name);
    weight_widen(got, t, 0, n, kernels_select(NULL));
    cr_expect_arr_eq(got, want, n * sizeof *want, "%s", name);
}

Test(save, every_name_is_written_with_its_values)
{
    struct save_report report;
    float turned[24];
    for (size_t i = 0; i < 24; i++) turned[i] = values[i % 4 * 6 + i / 4];
    for (int i = 0; i < 3; i++) {
        tensor_dtype dtype = i == 0 ? TENSOR_F32 : i == 1 ? TENSOR_BF16 : TENSOR_F16;
        struct weights *w = saved(dtype, false, &report);
        cr_expect(report.tensors == 8 && report.shared == 0);
        cr_expect(report.infinite == (dtype == TENSOR_F16 ? 1 : 0), "1e30 is no f16");
        expect_values(w, "embed_tokens.weight", dtype, values, 24);
        expect_values(w, "lm_head.weight", dtype, values, 24);
        expect_values(w, "sine.1", dtype, values, 24);
        expect_values(w, "sine.2", dtype, values, 24);
        expect_values(w, "turned", dtype, turned, 24);
        cr_expect(weights_find(w, "doubles")->dtype == dtype, "doubles are floats: rounded, too");
        const struct weight *ids = weights_find(w, "ids"), *step = weights_find(w, "ids.step");
        const int64_t want[] = {5, 6, 7}, steps[] = {5, 7};
        cr_expect(ids->dtype == TENSOR_I64 && memcmp(ids->data, want, sizeof want) == 0, "integers stay");
        cr_expect(step->size_bytes == 16 && memcmp(step->data, steps, sizeof steps) == 0);
        weights_close(w);
    }
}

Test(save, a_kept_dtype_keeps_doubles)
{
    struct save_report report;
    struct weights *w = saved(DTYPE_OTHER, false, &report);
    const double want[] = {0.1, -2, 1e30};
    cr_expect_str_eq(weights_find(w, "doubles")->dtype_name, "F64");
    cr_expect_arr_eq(weights_find(w, "doubles")->data, want, sizeof want);
    cr_expect((uintptr_t)weights_find(w, "doubles")->data % 8 == 0,
              "large elements first, so that all are aligned");
    weights_close(w);
}

Test(save, a_head_tied_to_the_words_is_written_once_and_found_again)
{
    struct save_report report;
    struct weights *w = saved(TENSOR_F32, true, &report);
    cr_expect(report.tensors == 7 && report.shared == 1);
    expect_values(w, "lm_head.weight", TENSOR_F32, values, 24);
    cr_expect_eq(weights_find(w, "lm_head.weight")->data, weights_find(w, "embed_tokens.weight")->data);
    cr_expect_neq(weights_find(w, "sine.1")->data, weights_find(w, "sine.2")->data,
                  "others are written twice");
    weights_close(w);
}

static bool stop_at_once(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    cr_expect(done > 0 && done <= total);
    return false;
}

Test(save, what_was_begun_is_removed)
{
    char *dir = run_temp_dir(), path[512];
    struct thea_err err;
    struct save_report report;
    struct save_options options = {.kernels = kernels_select(NULL), .progress = stop_at_once};
    write_source(dir);
    struct weights *w = open_dir(dir);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    cr_expect(weights_save(w, path, &options, &report, &err) == THEA_ECLOSED);
    cr_expect(access(path, F_OK) != 0 && errno == ENOENT, "an interrupted file is left");
    options.progress = NULL;
    cr_expect(weights_save(w, "/no/such/dir/x", &options, &report, &err) == THEA_ECREATE);
    cr_expect(weights_save(w, path, &options, &report, &err) == THEA_OK);
    cr_expect(weights_save(w, path, &options, &report, &err) == THEA_ECREATE, "nothing is overwritten");
    weights_close(w);
    free(dir);
}

Test(save, a_view_with_more_elements_than_are_stored_cannot_be_written)
{
    char *dir = run_temp_dir(), path[512];
    struct thea_err err;
    struct save_report report;
    struct torch_writer tw;
    struct save_options options = {.kernels = kernels_select(NULL)};
    snprintf(path, sizeof path, "%s/pytorch_model.bin", dir);
    FILE *f = fopen(path, "we");
    torch_writer_begin(&tw, f);
    size_t one = torch_writer_add(&tw, "one", "FloatStorage", (const uint64_t[]){1}, 1, values, 4);
    torch_writer_view(&tw, "many", "FloatStorage", one, 1, 0, (const uint64_t[]){1ULL << 40},
                      (const uint64_t[]){0}, 1);
    torch_writer_end(&tw);
    cr_assert(fclose(f) == 0);
    struct weights *w = open_dir(dir);
    snprintf(path, sizeof path, "%s/out", dir);
    cr_expect(weights_save(w, path, &options, &report, &err) == THEA_EDATA);
    cr_expect_not_null(strstr(err.message, "tensor 'many' has more elements than are stored (4 bytes)"), "%s",
                       err.message);
    cr_expect(access(path, F_OK) != 0);
    weights_close(w);
    free(dir);
}
