/* A pretrained sentence encoder, all-MiniLM-L6-v2, against what transformers and sentence-transformers give:
 * weights of float16, 40 texts, every block. */
#include "graph/json.h"
#include "nn/pooler.h"
#include "tests/nn/golden.h"
#include "tests/support/models.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN THEA_SOURCE_DIR "/tests/goldens/minilm/"

enum { TEXTS = 40, C = 384, BLOCKS = 6, ROWS = 4096 };

static struct thea_err err;

struct cases {
    int32_t tokens[ROWS];
    struct span spans[TEXTS];
    size_t rows;
};

static void read_case(struct cases *c, size_t i, const char *line, size_t len)
{
    struct json_node *node;
    cr_assert(json_parse(&node, line, len, "cases.jsonl", &err) == THEA_OK, "%s", err.message);
    const struct json_node *ids = json_member(node, "ids");
    c->spans[i] = (struct span){c->rows, json_count(ids)};
    cr_assert(c->rows + json_count(ids) <= ROWS);
    for (size_t t = 0; t < json_count(ids); t++) c->tokens[c->rows++] = (int32_t)json_int(json_item(ids, t));
    json_free(node);
}

static void read_cases(struct cases *c)
{
    char *line = NULL;
    size_t room = 0, n = 0;
    FILE *f = fopen(GOLDEN "cases.jsonl", "r");
    cr_assert_not_null(f);
    *c = (struct cases){0};
    for (ssize_t len; (len = getline(&line, &room, f)) > 0; n++) {
        cr_assert_lt(n, TEXTS);
        read_case(c, n, line, (size_t)len);
    }
    cr_assert_eq(n, TEXTS);
    free(line);
    fclose(f);
}

static const float *recorded(const struct weight_file *file, const char *name, size_t n)
{
    for (size_t i = 0; i < file->count; i++) {
        if (strcmp(file->tensors[i].name, name) != 0) continue;
        cr_assert_eq(file->tensors[i].size_bytes, n * sizeof(float), "%s", name);
        return file->tensors[i].data;
    }
    cr_assert(false, "no %s", name);
    return NULL;
}

struct run_of {
    const struct cases *cases;
    struct weight_file file;
    double worst;
    size_t seen;
};

static void watch(void *context, size_t block, const float *x, size_t n)
{
    struct run_of *r = context;
    char name[32];
    (void)n;
    for (size_t text = 0; text <= 16; text += 16) {
        const struct span *s = &r->cases->spans[text];
        snprintf(name, sizeof name, "%zu.hidden.%zu", text, block + 1);
        double d = golden_distance(x + s->at * C, recorded(&r->file, name, s->n * C), s->n * C);
        cr_expect(d <= 5e-5, "%s is off by %.2e", name, d);
        r->seen++;
    }
}

static void expect_vectors(const struct run_of *r, const float *x)
{
    const float *want = recorded(&r->file, "embeddings", (size_t)TEXTS * C);
    for (size_t i = 0; i < TEXTS; i++) {
        const struct span *s = &r->cases->spans[i];
        double v[C] = {0}, squares = 0, worst = 0;
        for (size_t t = 0; t < s->n * C; t++) v[t % C] += (double)x[s->at * C + t] / (double)s->n;
        for (size_t c = 0; c < C; c++) squares += v[c] * v[c];
        for (size_t c = 0; c < C; c++)
            worst = fmax(worst, fabs(v[c] / sqrt(squares) - (double)want[i * C + c]));
        cr_expect(worst <= 4e-6, "embedding %zu is off by %.2e", i, worst);
    }
}

Test(minilm, agrees_with_the_recorded_hidden_states_and_embeddings)
{
    static struct cases cases;
    struct run_of r = {.cases = &cases};
    struct opened o;
    char *dir = models_find("minilm-l6-v2");
    read_cases(&cases);
    cr_assert(safetensors_open(&r.file, GOLDEN "golden.safetensors", &err) == THEA_OK, "%s", err.message);
    opened_init(&o, dir, 0, SIZE_MAX, 2);
    float *x = malloc(cases.rows * C * sizeof *x);
    for (size_t i = 0; i < TEXTS; i++) {
        const struct span *s = &cases.spans[i];
        cr_assert(model_embed(o.model, x + s->at * C, cases.tokens + s->at, NULL, s->n, 0, &err) == THEA_OK);
    }
    cr_assert(model_encode(o.model, x, cases.rows, cases.spans, TEXTS, watch, &r, &err) == THEA_OK, "%s",
              err.message);
    cr_expect_eq(r.seen, 2 * BLOCKS);
    expect_vectors(&r, x);
    free(x);
    opened_fini(&o);
    weight_file_close(&r.file);
    free(dir);
}

Test(minilm, says_how_its_vectors_are_made_and_where_it_cuts)
{
    struct pooling p;
    struct model_info info;
    char *dir = models_find("minilm-l6-v2");
    cr_assert(pooling_read(&p, dir, &err) == THEA_OK, "%s", err.message);
    cr_expect(p.how == MODEL_POOL_MEAN && p.normalize);
    cr_assert(model_read_info(&info, dir, &err) == THEA_OK);
    cr_expect_eq(info.max_length, 256);
    cr_expect_eq(info.context, 512);
    cr_expect_eq(info.parameters, 22713216, "22.7 million, as its card says; found %llu",
                 (unsigned long long)info.parameters);
    free(dir);
}
