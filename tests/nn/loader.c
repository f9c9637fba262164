/* Weights on their way from files to a model: names as a family knows them, types that are no weights, and
 * the one error that lists what is missing, left over, or of another shape. */
#include "nn/model_weights.h"
#include "tests/support/run.h"
#include "tests/support/torch_writer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct setup {
    char *dir;
    struct weights *weights;
    struct loader loader;
};

static FILE *create(const char *dir, const char *file)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "we");
    cr_assert_not_null(f);
    return f;
}

/* A directory with a pytorch_model.bin of small zero tensors of the given names (NULL ends them); those that
 * end in "ids" are integers. */
static void write_names(const char *dir, const char *file, const char *const *names)
{
    struct torch_writer w;
    FILE *f = create(dir, file);
    torch_writer_begin(&w, f);
    for (size_t i = 0; names[i] != NULL; i++) {
        size_t n = strlen(names[i]);
        bool ids = n > 3 && strcmp(names[i] + n - 3, "ids") == 0;
        torch_writer_add(&w, names[i], ids ? "LongStorage" : "FloatStorage", (const uint64_t[]){3}, 1, NULL,
                         ids ? 8 : 4);
    }
    torch_writer_end(&w);
    cr_assert(fclose(f) == 0);
}

static void open_setup(struct setup *s)
{
    struct thea_err err;
    cr_assert(weights_open(&s->weights, s->dir, &err) == THEA_OK, "%s", err.message);
}

static void start(struct setup *s, const char *const *names)
{
    struct thea_err err;
    s->dir = run_temp_dir();
    write_names(s->dir, "pytorch_model.bin", names);
    open_setup(s);
    cr_assert(loader_init(&s->loader, s->weights, kernels_select(NULL), &err) == THEA_OK, "%s", err.message);
}

static void stop(struct setup *s)
{
    loader_fini(&s->loader);
    weights_close(s->weights);
    free(s->dir);
}

static const uint64_t three[] = {3, 0};

static void expect_problem(struct setup *s, const char *part)
{
    struct thea_err err = {0};
    cr_expect(loader_check(&s->loader, s->dir, &err) == THEA_EDATA);
    cr_expect_not_null(strstr(err.message, part), "no '%s' in: %s", part, err.message);
    cr_expect_not_null(strstr(err.message, s->dir));
}

Test(loader, an_integer_tensor_may_be_there_and_is_refused_as_a_weight)
{
    struct setup s;
    struct thea_err err;
    start(&s, (const char *const[]){"a.weight", "position_ids", NULL});
    cr_expect_not_null(loader_tensor(&s.loader, "a.", "weight", three));
    cr_expect(loader_check(&s.loader, s.dir, &err) == THEA_OK, "nobody asked for the integers: %s",
              err.message);
    cr_expect_null(loader_tensor(&s.loader, "", "position_ids", three));
    expect_problem(&s, "wrong dtype  position_ids: the file has I64, accepted are F32, F16, BF16");
    stop(&s);
}

Test(loader, a_safetensors_file_with_other_types_is_read_as_far_as_it_is_asked)
{
    struct setup s = {.dir = run_temp_dir()};
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
                                 "\"mask\":{\"dtype\":\"BOOL\",\"shape\":[4],\"data_offsets\":[12,16]},"
                                 "\"old\":{\"dtype\":\"F64\",\"shape\":[3],\"data_offsets\":[16,40]},"
                                 "\"q\":{\"dtype\":\"F4\",\"shape\":[8],\"data_offsets\":[40,44]},"
                                 "\"f8\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[44,48]}}";
    const unsigned char length[8] = {(sizeof header - 1) & 255, (sizeof header - 1) >> 8}, data[48] = {0};
    struct thea_err err;
    FILE *f = create(s.dir, "model.safetensors");
    fwrite(length, 1, 8, f);
    fwrite(header, 1, sizeof header - 1, f);
    fwrite(data, 1, sizeof data, f);
    cr_assert(fclose(f) == 0);
    open_setup(&s);
    cr_assert(loader_init(&s.loader, s.weights, kernels_select(NULL), &err) == THEA_OK);
    cr_expect_not_null(loader_tensor(&s.loader, "", "a", three));
    cr_expect_str_eq(weights_find(s.weights, "q")->dtype_name, "F4");
    cr_expect(loader_check(&s.loader, s.dir, &err) == THEA_OK);
    cr_expect_null(loader_tensor(&s.loader, "", "old", three));
    expect_problem(&s, "wrong dtype  old: the file has F64");
    stop(&s);
}

static bool is_rest(const void *context, const char *name)
{
    return strcmp(name, context) == 0;
}

Test(loader, what_is_missing_and_what_is_left_over_is_one_error)
{
    struct setup s;
    start(&s, (const char *const[]){"a", "b", "c", "d", NULL});
    cr_expect_not_null(loader_tensor(&s.loader, "", "a", three));
    cr_expect_null(loader_tensor(&s.loader, "", "b", (const uint64_t[]){4, 0}));
    cr_expect_null(loader_tensor(&s.loader, "", "e", three));
    loader_check_left_over(&s.loader, is_rest, "d");
    expect_problem(&s, "wrong shape  b: the file has [3], config.json asks for [4]");
    expect_problem(&s, "missing      e [3]");
    expect_problem(&s, "left over    c [3]: config.json asks for no such weight");
    cr_expect_eq(s.loader.problem_count, 3, "a is used, b is told already, d is known");
    stop(&s);
}

Test(loader, a_long_list_is_cut_and_counted)
{
    struct setup s;
    start(&s, (const char *const[]){"a", NULL});
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        cr_expect_null(loader_tensor(&s.loader, "", name, three));
    }
    expect_problem(&s, "missing      w11 [3]\n  and 88 more");
    stop(&s);
}

Test(loader, a_view_with_more_elements_than_are_stored_is_no_weight)
{
    struct setup s = {.dir = run_temp_dir()};
    struct thea_err err;
    struct torch_writer w;
    FILE *f = create(s.dir, "pytorch_model.bin");
    torch_writer_begin(&w, f);
    size_t one = torch_writer_add(&w, "one", "FloatStorage", (const uint64_t[]){1}, 1, NULL, 4);
    const uint64_t large[] = {1ULL << 40, 1ULL << 20};
    torch_writer_view(&w, "large", "FloatStorage", one, 1, 0, large, (const uint64_t[]){0, 0}, 2);
    torch_writer_end(&w);
    cr_assert(fclose(f) == 0);
    open_setup(&s);
    cr_assert(loader_init(&s.loader, s.weights, kernels_select(NULL), &err) == THEA_OK, "%s", err.message);
    cr_expect_null(loader_tensor(&s.loader, "", "large", (const uint64_t[]){1ULL << 40, 1ULL << 20, 0}));
    expect_problem(&s, "expanded     large");
    stop(&s);
}

/* --- Names */

Test(weights_rename, prefixes_go_in_order_and_buffers_are_dropped)
{
    struct setup s = {.dir = run_temp_dir()};
    struct thea_err err;
    write_names(s.dir, "pytorch_model.bin",
                (const char *const[]){"module.bert.z", "bert.model.a", "model.bert.b", "bert.x.flashfft.y",
                                      "position_ids", "bertha", "bert.", NULL});
    open_setup(&s);
    cr_assert(weights_rename(s.weights, (const char *const[]){"module.", "model.", "bert.", NULL},
                             (const char *const[]){"*.flashfft.*", "position_ids", NULL}, s.dir,
                             &err) == THEA_OK,
              "%s", err.message);
    const char *const want[] = {"b", "bert.", "bertha", "model.a", "z"};
    cr_assert_eq(weights_count(s.weights), 5);
    for (size_t i = 0; i < 5; i++) cr_expect_str_eq(weights_at(s.weights, i)->name, want[i]);
    cr_expect_eq(weights_index(s.weights, weights_find(s.weights, "z")), 4);
    weights_close(s.weights);
    free(s.dir);
}

Test(weights_rename, two_tensors_that_get_one_name_are_an_error)
{
    struct setup s = {.dir = run_temp_dir()};
    struct thea_err err;
    write_names(s.dir, "pytorch_model.bin", (const char *const[]){"bert.a", "a", NULL});
    open_setup(&s);
    cr_expect(weights_rename(s.weights, (const char *const[]){"bert.", NULL}, NULL, s.dir, &err) ==
              THEA_EDATA);
    cr_expect_not_null(strstr(err.message, "tensor 'a' is there twice, under two prefixes"), "%s",
                       err.message);
    weights_close(s.weights);
    free(s.dir);
}

/* --- Shards of torch */

static void write_index(const char *dir, const char *map)
{
    FILE *f = create(dir, "pytorch_model.bin.index.json");
    fprintf(f, "{\"metadata\":{\"total_size\":1},\"weight_map\":%s}", map);
    cr_assert(fclose(f) == 0);
}

static void refuse_index(const char *dir, const char *map, thea_rc rc, const char *part)
{
    struct weights *w;
    struct thea_err err;
    write_index(dir, map);
    cr_expect(weights_open(&w, dir, &err) == rc, "%s", err.message);
    cr_expect_not_null(strstr(err.message, part), "no '%s' in: %s", part, err.message);
}

Test(torch_shards, shards_that_an_index_names_are_one_set)
{
    struct setup s = {.dir = run_temp_dir()};
    write_names(s.dir, "pytorch_model-00001-of-00002.bin", (const char *const[]){"a", "c", NULL});
    write_names(s.dir, "pytorch_model-00002-of-00002.bin", (const char *const[]){"b", NULL});
    write_index(s.dir,
                "{\"a\":\"pytorch_model-00001-of-00002.bin\",\"b\":\"pytorch_model-00002-of-00002.bin\","
                "\"c\":\"pytorch_model-00001-of-00002.bin\"}");
    open_setup(&s);
    cr_expect_eq(weights_count(s.weights), 3);
    cr_expect_str_eq(weights_at(s.weights, 1)->name, "b");
    weights_close(s.weights);
    refuse_index(s.dir, "{\"a\":\"gone.bin\"}", THEA_ENOINPUT, "unfinished download\n  missing  gone.bin");
    refuse_index(s.dir, "{\"b\":\"pytorch_model-00001-of-00002.bin\"}", THEA_EDATA, "tensor 'b' is not in");
    refuse_index(s.dir, "{\"a\":\"../x.bin\"}", THEA_EDATA, "must name a file of this directory");
    refuse_index(s.dir, "{}", THEA_EDATA, "weight_map: expected an object");
    free(s.dir);
}
