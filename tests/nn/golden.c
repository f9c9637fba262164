#include "tests/nn/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const golden_names[] = {"lfm2-tiny",   "lfm2-mid",  "llama-tiny", "llama-rope3",
                                    "stories260k", "thea-mini", NULL};

static void read_tokens(struct golden *g)
{
    for (size_t i = 0; i < g->file.count; i++) {
        const struct weight *w = &g->file.tensors[i];
        if (strcmp(w->name, "input_ids") != 0) continue;
        cr_assert(w->dtype == TENSOR_I64 && w->rank == 1);
        g->count = w->shape[0];
        g->tokens = calloc(g->count, sizeof *g->tokens);
        for (size_t t = 0; t < g->count; t++) {
            int64_t id;
            memcpy(&id, (const char *)w->data + 8 * t, sizeof id);
            g->tokens[t] = (int32_t)id;
        }
    }
    cr_assert(g->count > 1, "%s: golden without input_ids", g->dir);
}

void golden_open(struct golden *g, const char *name)
{
    *g = (struct golden){0};
    struct thea_err err;
    char path[600];
    snprintf(g->dir, sizeof g->dir, "%s/tests/goldens/%s", THEA_SOURCE_DIR, name);
    bool bundled = strcmp(name, "thea-mini") == 0;
    snprintf(g->model_dir, sizeof g->model_dir, "%s/%s/%s", THEA_SOURCE_DIR,
             bundled ? "models" : "tests/goldens", name);
    snprintf(path, sizeof path, "%s/golden.safetensors", g->dir);
    cr_assert(safetensors_open(&g->file, path, &err) == THEA_OK, "%s", err.message);
    snprintf(path, sizeof path, "%s/golden.json", g->dir);
    cr_assert(json_read_file(&g->about, path, 1 << 20, &err) == THEA_OK, "%s", err.message);
    read_tokens(g);
}

void golden_close(struct golden *g)
{
    weight_file_close(&g->file);
    json_free(g->about);
    free(g->tokens);
}

const float *golden_values(const struct golden *g, const char *name, size_t elements)
{
    for (size_t i = 0; i < g->file.count; i++) {
        const struct weight *w = &g->file.tensors[i];
        if (strcmp(w->name, name) != 0) continue;
        cr_assert(w->dtype == TENSOR_F32 && w->size_bytes == elements * 4 && (uintptr_t)w->data % 4 == 0,
                  "%s: %s", g->dir, name);
        return w->data;
    }
    cr_assert(false, "%s: no tensor %s", g->dir, name);
    return NULL;
}

double golden_tolerance(const struct golden *g, const char *group)
{
    char path[64];
    snprintf(path, sizeof path, "tolerance_abs.%s", group);
    double t = json_number(json_path(g->about, path));
    cr_assert(t > 0 && t < 0.01, "%s: tolerance of %s is %g", g->dir, group, t);
    return t;
}

double golden_distance(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);
        if (isnan(d)) return INFINITY;
        worst = d > worst ? d : worst;
    }
    return worst;
}

void opened_init(struct opened *o, const char *dir, size_t first, size_t last, int threads)
{
    struct thea_err err;
    *o = (struct opened){0};
    cr_assert(workers_new(&o->workers, threads, &err) == THEA_OK, "%s", err.message);
    const struct kernels *kernels = kernels_select(NULL);
    cr_assert_not_null(kernels);
    cr_assert(model_open(&o->model, dir, first, last, o->workers, kernels, &err) == THEA_OK, "%s",
              err.message);
    cr_assert(model_state_new(&o->state, o->model, &err) == THEA_OK, "%s", err.message);
}

void opened_fini(struct opened *o)
{
    model_state_free(o->state);
    model_close(o->model);
    workers_free(o->workers);
}

static void run_chunk(struct opened *parts, size_t part_count, float *x, const int32_t *tokens, size_t n)
{
    struct thea_err err;
    cr_assert(model_embed(parts[0].model, x, tokens, NULL, n, 0, &err) == THEA_OK, "%s", err.message);
    for (size_t p = 0; p < part_count; p++) {
        cr_assert(model_forward(parts[p].model, parts[p].state, x, n, NULL, NULL, &err) == THEA_OK, "%s",
                  err.message);
    }
}

void score_in_parts(float *nll, const char *dir, const int32_t *tokens, size_t count, const size_t *cuts,
                    size_t chunk, int threads)
{
    struct opened parts[64];
    struct thea_err err;
    size_t n_parts = 0;
    for (; cuts[n_parts] != SIZE_MAX; n_parts++) {
        size_t next = cuts[n_parts + 1];
        opened_init(&parts[n_parts], dir, cuts[n_parts], next == SIZE_MAX ? SIZE_MAX : next - 1, threads);
    }
    struct model *last = parts[n_parts - 1].model;
    size_t C = model_info(last)->hidden;
    float *x = calloc(count * C, sizeof *x);
    for (size_t at = 0; at < count; at += chunk) {
        size_t n = count - at < chunk ? count - at : chunk;
        run_chunk(parts, n_parts, x + at * C, tokens + at, n);
    }
    model_final(last, x, x, count);
    cr_assert(model_nll(last, nll, x, tokens + 1, count - 1, &err) == THEA_OK, "%s", err.message);
    free(x);
    for (size_t p = 0; p < n_parts; p++) opened_fini(&parts[p]);
}
