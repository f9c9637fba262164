#include "tests/nn/m2bert.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct weight *find(const struct m2_case *c, const char *prefix, const char *name)
{
    char full[200];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    for (size_t i = 0; i < c->file.count; i++)
        if (strcmp(c->file.tensors[i].name, full) == 0) return &c->file.tensors[i];
    cr_assert(false, "%s: no tensor %s", c->dir, full);
    return NULL;
}

static void read_tokens(struct m2_case *c)
{
    const struct weight *w = find(c, c->prefix, "input_ids");
    cr_assert(w->dtype == TENSOR_I64 && w->rank == 2);
    c->docs = w->shape[0];
    c->length = w->shape[1];
    c->rows = c->docs * c->length;
    c->tokens = calloc(c->rows, sizeof *c->tokens);
    c->spans = calloc(c->docs, sizeof *c->spans);
    for (size_t i = 0; i < c->rows; i++) {
        int64_t id;
        memcpy(&id, (const char *)w->data + 8 * i, sizeof id);
        c->tokens[i] = (int32_t)id;
    }
    for (size_t i = 0; i < c->docs; i++) c->spans[i] = (struct span){i * c->length, c->length};
}

void m2_open(struct m2_case *c, const char *golden, const char *name, int threads)
{
    *c = (struct m2_case){0};
    struct thea_err err;
    char path[600];
    const struct kernels *kernels = kernels_select(NULL);
    cr_assert_not_null(kernels);
    snprintf(c->dir, sizeof c->dir, "%s/tests/goldens/%s", THEA_SOURCE_DIR, golden);
    if (strcmp(name, "full") != 0) snprintf(c->prefix, sizeof c->prefix, "%s.", name);
    snprintf(path, sizeof path, "%s/golden.safetensors", c->dir);
    cr_assert(safetensors_open(&c->file, path, &err) == THEA_OK, "%s", err.message);
    read_tokens(c);
    cr_assert(workers_new(&c->workers, threads, &err) == THEA_OK, "%s", err.message);
    cr_assert(model_open(&c->model, c->dir, 0, SIZE_MAX, c->workers, kernels, &err) == THEA_OK, "%s",
              err.message);
    c->C = model_info(c->model)->hidden;
    c->blocks = model_info(c->model)->blocks;
}

void m2_close(struct m2_case *c)
{
    model_close(c->model);
    workers_free(c->workers);
    weight_file_close(&c->file);
    free(c->tokens);
    free(c->spans);
}

const float *m2_recorded(const struct m2_case *c, const char *name, size_t elements)
{
    const struct weight *w = find(c, c->prefix, name);
    cr_assert(w->dtype == TENSOR_F32 && w->size_bytes == elements * sizeof(float), "%s: %s%s", c->dir,
              c->prefix, name);
    return w->data;
}

void m2_embed(const struct m2_case *c, float *x)
{
    struct thea_err err;
    for (size_t i = 0; i < c->docs; i++)
        cr_assert(model_embed(c->model, x + i * c->length * c->C, c->tokens + i * c->length, NULL, c->length,
                              0, &err) == THEA_OK,
                  "%s", err.message);
}

float *m2_floats(size_t n)
{
    float *x = calloc(n, sizeof *x);
    cr_assert_not_null(x);
    return x;
}

double m2_distance(const float *a, const float *b, size_t n)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);
        if (isnan(d)) return INFINITY;
        worst = fmax(worst, d);
        largest = fmax(largest, fabs((double)b[i]));
    }
    return largest > 0 ? worst / largest : worst;
}
