/* The published 32k checkpoint's layout: a file with all of its 1066 names, shapes, types and shared
 * storages, and random values, loads with every weight used and every buffer ignored. The names are those of
 * the reference's state dict (tests/goldens/m2bert-names.tsv); the counts are what its layers add up to. */
#include "nn/model.h"
#include "nn/pooler.h"
#include "nn/weights/weights.h"
#include "tests/support/run.h"
#include "tests/support/torch_writer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { NAMES = 1066, RANDOM_BYTES = 4 << 20, LARGE = 8 << 20 };

struct row {
    char name[128], shape[64], dtype[8], role[8], owner[128];
    size_t storage; /* of torch_writer */
};

static struct row *rows;
static size_t row_count;

static void read_rows(void)
{
    char *path = run_golden("m2bert-names.tsv"), line[512];
    FILE *f = fopen(path, "re");
    cr_assert_not_null(f);
    rows = calloc(NAMES, sizeof *rows);
    cr_assert_not_null(fgets(line, sizeof line, f)); /* the heading */
    while (fgets(line, sizeof line, f) != NULL) {
        cr_assert_lt(row_count, NAMES);
        struct row *r = &rows[row_count++];
        cr_assert_eq(sscanf(line, "%127s %63s %7s %7s %127s", r->name, r->shape, r->dtype, r->role, r->owner),
                     5, "%s", line);
    }
    fclose(f);
    free(path);
    cr_assert_eq(row_count, NAMES);
}

static size_t read_shape(uint64_t shape[4], const struct row *r)
{
    size_t rank = 0;
    for (const char *at = r->shape; rank < 4; at++) {
        char *end;
        shape[rank++] = strtoull(at, &end, 10);
        if (*end == '\0') return rank;
        at = end;
    }
    cr_assert(false, "%s has more than 4 dimensions", r->name);
    return 0;
}

static size_t element_bytes(const struct row *r)
{
    return strcmp(r->dtype, "f32") == 0 ? 4 : strcmp(r->dtype, "bf16") == 0 ? 2 : 8;
}

static const char *class_of(const struct row *r)
{
    return strcmp(r->dtype, "f32") == 0    ? "FloatStorage"
           : strcmp(r->dtype, "bf16") == 0 ? "BFloat16Storage"
                                           : "LongStorage";
}

static struct row *row_named(const char *name)
{
    for (size_t i = 0; i < row_count; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    cr_assert(false, "no row '%s'", name);
    return NULL;
}

/* Random floats of +-1/64 to +-1/4: of a bounded size, whatever they are multiplied with. */
static unsigned char *random_bytes(void)
{
    uint32_t *out = malloc(RANDOM_BYTES), state = 1;
    for (size_t i = 0; i < RANDOM_BYTES / 4; i++) {
        state = state * 1664525 + 1013904223;
        out[i] = (state & 0x80000000) | (121 + (state >> 29 & 3)) << 23 | (state >> 6 & 0x7fffff);
    }
    return (unsigned char *)out;
}

/* Time runs forward: without the signs. */
static void make_times(const struct row *r, unsigned char *values, size_t bytes)
{
    size_t length = strlen(r->name), end = strlen(".pos_emb.t");
    if (length < end || strcmp(r->name + length - end, ".pos_emb.t") != 0) return;
    for (size_t i = 3; i < bytes; i += 4) values[i] &= 0x7f;
}

/* Tensors over 8 MB are holes of the file (the two tables of embeddings), so that it takes 240 MB of disk. */
static void write_tensor(struct torch_writer *w, struct row *r, const unsigned char *random)
{
    uint64_t shape[4], elements = 1;
    size_t rank = read_shape(shape, r);
    for (size_t i = 0; i < rank; i++) elements *= shape[i];
    if (strcmp(r->owner, "-") != 0) {
        torch_writer_view(w, r->name, class_of(r), row_named(r->owner)->storage, elements, 0, shape, NULL,
                          rank);
        return;
    }
    size_t bytes = elements * element_bytes(r);
    unsigned char *values = NULL;
    if (bytes <= LARGE) {
        values = malloc(bytes + RANDOM_BYTES);
        for (size_t at = 0; at < bytes; at += RANDOM_BYTES) memcpy(values + at, random, RANDOM_BYTES);
        make_times(r, values, bytes);
    }
    r->storage = torch_writer_add(w, r->name, class_of(r), shape, rank, values, element_bytes(r));
    free(values);
}

static bool is_owner(const struct row *r)
{
    return strcmp(r->owner, "-") == 0;
}

/* Without the row `left_out` (NULL: none), and with `extra` (NULL: none). Owners come before those that
 * share. */
static void write_file(const char *dir, const char *left_out, const char *extra)
{
    char path[512];
    struct torch_writer w;
    unsigned char *random = random_bytes();
    snprintf(path, sizeof path, "%s/pytorch_model.bin", dir);
    FILE *f = fopen(path, "we");
    cr_assert_not_null(f);
    torch_writer_begin(&w, f);
    for (int owners = 1; owners >= 0; owners--)
        for (size_t i = 0; i < row_count; i++)
            if (is_owner(&rows[i]) == owners && (left_out == NULL || strcmp(rows[i].name, left_out) != 0))
                write_tensor(&w, &rows[i], random);
    if (extra != NULL) torch_writer_add(&w, extra, "FloatStorage", (const uint64_t[]){3}, 1, NULL, 4);
    torch_writer_end(&w);
    cr_assert(fclose(f) == 0);
    free(random);
}

static void write_config(const char *dir)
{
    char path[512];
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *f = fopen(path, "we");
    cr_assert_not_null(f);
    fputs("{\"model_type\": \"m2_bert\", \"hidden_size\": 768, \"num_hidden_layers\": 12, "
          "\"intermediate_size\": 3072,"
          " \"vocab_size\": 30528, \"type_vocab_size\": 2, \"pad_token_id\": 0, \"layer_norm_eps\": 1e-12,"
          " \"use_glu_mlp\": true, \"use_monarch_mlp\": true, \"monarch_mlp_nblocks\": 4, \"bidirectional\": "
          "true,"
          " \"residual_long_conv\": true, \"hyena_emb_dim\": 5, \"hyena_filter_order\": 128, \"hyena_w\": 10,"
          " \"hyena_training_additions\": false, \"max_seq_len\": 32768, \"max_position_embeddings\": 32768,"
          " \"long_conv_l_max\": 32768}\n",
          f);
    cr_assert(fclose(f) == 0);
}

static void set_up(void)
{
    read_rows();
}

TestSuite(m2bert_layout, .init = set_up, .timeout = 600);

static int by_place(const void *a, const void *b)
{
    const void *x = *(void *const *)a, *y = *(void *const *)b;
    return (x > y) - (x < y);
}

static uint64_t elements_of(const struct weight *w)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < w->rank; i++) n *= w->shape[i];
    return n;
}

/* What the file says by itself, counted against the names' roles. */
static void expect_counts(const char *dir)
{
    struct weights *w;
    struct thea_err err;
    uint64_t all = 0, weights = 0, buffers = 0, integers = 0, halves = 0;
    cr_assert(weights_open(&w, dir, &err) == THEA_OK, "%s", err.message);
    cr_assert_eq(weights_count(w), NAMES);
    const void **places = calloc(NAMES, sizeof *places);
    for (size_t i = 0; i < NAMES; i++) {
        const struct row *r = &rows[i];
        const struct weight *t = weights_find(w, r->name);
        cr_assert_not_null(t, "%s", r->name);
        uint64_t shape[4], n = elements_of(t);
        cr_assert(read_shape(shape, r) == t->rank && memcmp(shape, t->shape, t->rank * 8) == 0, "%s",
                  r->name);
        places[i] = t->data;
        all += n;
        if (strcmp(r->owner, "-") != 0) {
            cr_expect_eq(t->data, weights_find(w, r->owner)->data, "%s shares", r->name);
            continue;
        }
        uint64_t *kind = strcmp(r->role, "weight") == 0 ? &weights
                         : t->dtype == TENSOR_F32       ? &buffers
                         : t->dtype == TENSOR_I64       ? &integers
                                                        : &halves;
        *kind += n;
    }
    qsort(places, NAMES, sizeof *places, by_place);
    size_t storages = 1;
    for (size_t i = 1; i < NAMES; i++) storages += places[i] != places[i - 1];
    cr_expect_eq(storages, 610, "%zu storages", storages);
    cr_expect_eq(weights, 109219584, "%llu trainable", (unsigned long long)weights);
    cr_expect_eq(buffers, 804864);
    cr_expect_eq(integers, 32768);
    cr_expect_eq(halves, 281600);
    cr_expect_eq(all, 117112576, "%llu over all names", (unsigned long long)all);
    free(places);
    weights_close(w);
}

static thea_rc open_part(const char *dir, size_t first, size_t last, struct thea_err *err)
{
    struct workers *workers;
    struct model *m;
    cr_assert(workers_new(&workers, 1, err) == THEA_OK);
    thea_rc rc = model_open(&m, dir, first, last, workers, kernels_select(NULL), err);
    if (rc == THEA_OK) model_close(m);
    workers_free(workers);
    return rc;
}

Test(m2bert_layout, all_names_load_with_every_weight_used_and_every_buffer_ignored)
{
    char *dir = run_temp_dir();
    struct thea_err err = {0};
    struct pooler *pooler;
    struct run_result shown;
    write_config(dir);
    write_file(dir, NULL, NULL);
    expect_counts(dir);
    cr_assert(open_part(dir, 0, SIZE_MAX, &err) == THEA_OK, "%s", err.message);
    cr_assert(open_part(dir, 5, 6, &err) == THEA_OK, "a part asks for its own weights alone: %s",
              err.message);
    cr_assert(pooler_open(&pooler, dir, kernels_select(NULL), &err) == THEA_OK, "%s", err.message);
    pooler_close(pooler);
    run_shell(&shown, NULL, RUN_LIMIT_S, "thea models %s", dir);
    cr_expect_eq(shown.status, 0, "%s", buf_text(&shown.err));
    cr_expect_not_null(strstr(buf_text(&shown.out), "parameters  109,219,584"), "%s", buf_text(&shown.out));
    run_result_fini(&shown);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
#if !defined(__SANITIZE_ADDRESS__)
    cr_expect_lt(usage.ru_maxrss, 900 << 10, "%ld KiB",
                 usage.ru_maxrss); /* the file, and what was packed of it */
#endif
    free(dir);
}

Test(m2bert_layout, a_weight_that_is_missing_and_one_too_many_are_told_together)
{
    char *dir = run_temp_dir();
    struct thea_err err = {0};
    write_config(dir);
    write_file(dir, "bert.encoder.layer.7.mlp.wo.bias", "bert.encoder.layer.7.mlp.router.weight");
    cr_expect(open_part(dir, 7, 7, &err) == THEA_EDATA);
    cr_expect_not_null(strstr(err.message, "missing      encoder.layer.7.mlp.wo.bias [768]"), "%s",
                       err.message);
    cr_expect_not_null(strstr(err.message, "left over    encoder.layer.7.mlp.router.weight [3]"), "%s",
                       err.message);
    cr_expect(open_part(dir, 3, 3, &err) == THEA_OK, "another part does not care: %s", err.message);
    free(dir);
}
