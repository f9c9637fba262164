/* The arithmetic of whole models against recorded values, and its independence of how a document and a model
 * are cut. */
#include "tests/nn/golden.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen {
    const struct golden *g;
    size_t C, blocks;
};

static void compare_hidden(void *context, size_t block, const float *x, size_t n)
{
    struct seen *s = context;
    char name[32];
    snprintf(name, sizeof name, "hidden.%zu", block + 1);
    double d = golden_distance(x, golden_values(s->g, name, n * s->C), n * s->C);
    cr_expect(d <= golden_tolerance(s->g, "hidden"), "%s: %s is off by %g", s->g->dir, name, d);
    s->blocks++;
}

static void compare(const struct golden *g, const char *name, const float *values, size_t n)
{
    double d = golden_distance(values, golden_values(g, name, n), n);
    const char *group = strncmp(name, "hidden", 6) == 0 ? "hidden" : name;
    cr_expect(d <= golden_tolerance(g, group), "%s: %s is off by %g", g->dir, name, d);
}

static struct criterion_test_params all_goldens(void)
{
    size_t n = 0;
    while (golden_names[n] != NULL) n++;
    char(*names)[32] = cr_malloc(n * sizeof *names);
    for (size_t i = 0; i < n; i++) snprintf(names[i], sizeof names[i], "%s", golden_names[i]);
    return cr_make_param_array(char[32], names, n, NULL);
}

ParameterizedTestParameters(model, hidden_states_logits_and_likelihoods_are_the_references)
{
    return all_goldens();
}
ParameterizedTest(char name[32], model, hidden_states_logits_and_likelihoods_are_the_references)
{
    struct golden g;
    golden_open(&g, name);
    struct opened o;
    struct thea_err err;
    opened_init(&o, g.model_dir, 0, SIZE_MAX, 1);
    const struct model_info *info = model_info(o.model);
    size_t T = g.count, C = info->hidden, V = info->vocab;
    float *x = calloc(T * C, sizeof *x), *logits = calloc(T * V, sizeof *logits),
          *nll = calloc(T, sizeof *nll);
    cr_assert(model_embed(o.model, x, g.tokens, NULL, T, 0, &err) == THEA_OK, "%s", err.message);
    compare(&g, "hidden.0", x, T * C);
    struct seen seen = {&g, C, 0};
    cr_assert(model_forward(o.model, o.state, x, T, compare_hidden, &seen, &err) == THEA_OK, "%s",
              err.message);
    cr_expect(seen.blocks == info->blocks);
    model_final(o.model, x, x, T);
    compare(&g, "final", x, T * C);
    model_logits(o.model, logits, x, T);
    compare(&g, "logits", logits, T * V);
    cr_assert(model_nll(o.model, nll, x, g.tokens + 1, T - 1, &err) == THEA_OK, "%s", err.message);
    compare(&g, "nll", nll, T - 1);
    free(x);
    free(logits);
    free(nll);
    opened_fini(&o);
    golden_close(&g);
}

Test(model, bits_per_byte_of_the_bundled_model_are_the_references)
{
    struct golden g;
    golden_open(&g, "thea-mini");
    float *nll = calloc(g.count, sizeof *nll);
    score_in_parts(nll, g.model_dir, g.tokens, g.count, (const size_t[]){0, SIZE_MAX}, 64, 1);
    double bits = 0;
    for (size_t i = 0; i + 1 < g.count; i++) bits += (double)nll[i] / M_LN2;
    double expected = json_number_or(g.about, "bits_per_byte", 0);
    cr_expect(fabs(bits / (double)json_int_or(g.about, "bytes", 1) - expected) < 2e-5 * expected, "%g", bits);
    free(nll);
    golden_close(&g);
}

/* The largest difference relative to the larger of |b| and 0.1, so that a nearly certain token is not held to
 * more than f32 can give. */
static double relative(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]) / fmax(fabs((double)b[i]), 0.1);
        if (isnan(d)) return INFINITY;
        worst = fmax(worst, d);
    }
    return worst;
}

static double mean(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum / (double)n;
}

static void expect_same(const struct golden *g, const float *whole, const size_t *cuts, size_t chunk,
                        int threads)
{
    size_t n = g->count - 1, parts = 0;
    while (cuts[parts] != SIZE_MAX) parts++;
    float *nll = calloc(g->count, sizeof *nll);
    score_in_parts(nll, g->model_dir, g->tokens, g->count, cuts, chunk, threads);
    double d = relative(nll, whole, n), score = fabs(mean(nll, n) / mean(whole, n) - 1);
    cr_expect(score <= 1e-5, "%s: %zu parts, chunk %zu, %d threads: the score differs by %g", g->dir, parts,
              chunk, threads, score);
    cr_expect(d <= 1e-4, "%s: %zu parts, chunk %zu, %d threads: a token differs by %g", g->dir, parts, chunk,
              threads, d);
    free(nll);
}

ParameterizedTestParameters(model, likelihoods_do_not_depend_on_parts_chunks_or_threads)
{
    return all_goldens();
}
ParameterizedTest(char name[32], model, likelihoods_do_not_depend_on_parts_chunks_or_threads)
{
    struct golden g;
    golden_open(&g, name);
    struct model_info info;
    struct thea_err err;
    cr_assert(model_read_info(&info, g.model_dir, &err) == THEA_OK, "%s", err.message);
    float *whole = calloc(g.count, sizeof *whole);
    const size_t one[] = {0, SIZE_MAX};
    score_in_parts(whole, g.model_dir, g.tokens, g.count, one, g.count, 1);
    const size_t chunks[] = {1, 7, 64, 4096};
    for (size_t i = 0; i < 4; i++) {
        expect_same(&g, whole, one, chunks[i], 1);
        expect_same(&g, whole, one, chunks[i], 2);
        expect_same(&g, whole, (const size_t[]){0, info.blocks / 3, 2 * info.blocks / 3, SIZE_MAX}, chunks[i],
                    2);
    }
    for (size_t cut = 1; cut < info.blocks; cut++)
        expect_same(&g, whole, (const size_t[]){0, cut, SIZE_MAX}, 64, 1);
    size_t each[64];
    for (size_t i = 0; i < info.blocks; i++) each[i] = i;
    each[info.blocks] = SIZE_MAX;
    expect_same(&g, whole, each, 7, 1);
    free(whole);
    golden_close(&g);
}

static size_t best(const float *x, size_t n)
{
    size_t at = 0;
    for (size_t i = 1; i < n; i++) at = x[i] > x[at] ? i : at;
    return at;
}

static void continue_greedily(struct opened *o, const struct json_node *prompt, const struct json_node *ids)
{
    struct thea_err err;
    size_t C = model_info(o->model)->hidden, V = model_info(o->model)->vocab;
    float *x = calloc(C, sizeof *x), *logits = calloc(V, sizeof *logits);
    size_t given = json_count(prompt), wanted = json_count(ids);
    cr_assert(wanted == 200 && given >= 1);
    for (size_t i = 0; i + 1 < given + wanted; i++) {
        int32_t token = (int32_t)json_int(i < given ? json_item(prompt, i) : json_item(ids, i - given));
        cr_assert(model_embed(o->model, x, &token, NULL, 1, 0, &err) == THEA_OK, "%s", err.message);
        cr_assert(model_forward(o->model, o->state, x, 1, NULL, NULL, &err) == THEA_OK, "%s", err.message);
        if (i + 1 < given) continue;
        model_final(o->model, x, x, 1);
        model_logits(o->model, logits, x, 1);
        cr_assert_eq(best(logits, V), (size_t)json_int(json_item(ids, i + 1 - given)), "token %zu",
                     i + 1 - given);
    }
    free(x);
    free(logits);
}

Test(model, greedy_tokens_of_stories260k_are_the_references)
{
    struct golden g;
    struct thea_err err;
    struct json_node *greedy = NULL;
    golden_open(&g, "stories260k");
    char path[600];
    snprintf(path, sizeof path, "%s/greedy.json", g.dir);
    cr_assert(json_read_file(&greedy, path, 1 << 20, &err) == THEA_OK, "%s", err.message);
    cr_assert(json_count(greedy) >= 2);
    for (size_t i = 0; i < json_count(greedy); i++) {
        struct opened o;
        opened_init(&o, g.model_dir, 0, SIZE_MAX, 1);
        continue_greedily(&o, json_member(json_item(greedy, i), "prompt_ids"),
                          json_member(json_item(greedy, i), "ids"));
        opened_fini(&o);
    }
    json_free(greedy);
    golden_close(&g);
}

Test(model, refuses_a_token_outside_the_vocabulary)
{
    struct golden g;
    struct opened o;
    struct thea_err err;
    float x[512];
    golden_open(&g, "lfm2-tiny");
    opened_init(&o, g.model_dir, 0, SIZE_MAX, 1);
    int32_t vocab = (int32_t)model_info(o.model)->vocab;
    cr_expect(model_embed(o.model, x, &vocab, NULL, 1, 0, &err) == THEA_EDOC);
    cr_expect(model_embed(o.model, x, (const int32_t[]){-1}, NULL, 1, 0, &err) == THEA_EDOC);
    cr_expect_not_null(strstr(err.message, "token -1 is not in the vocabulary"), "%s", err.message);
    float nll;
    memset(x, 0, sizeof x);
    cr_expect(model_nll(o.model, &nll, x, &vocab, 1, &err) == THEA_EDOC);
    opened_fini(&o);
    golden_close(&g);
}

Test(model, refuses_a_document_longer_than_its_context)
{
    struct golden g;
    struct opened o;
    struct thea_err err;
    golden_open(&g, "llama-rope3"); /* 4096 positions */
    opened_init(&o, g.model_dir, 0, SIZE_MAX, 1);
    size_t context = model_info(o.model)->context;
    float *x = calloc((context + 1) * model_info(o.model)->hidden, sizeof *x);
    cr_expect(model_forward(o.model, o.state, x, context + 1, NULL, NULL, &err) == THEA_EDOC);
    cr_expect_not_null(strstr(err.message, "4096 positions"), "%s", err.message);
    free(x);
    opened_fini(&o);
    golden_close(&g);
}

Test(model, refuses_blocks_that_do_not_exist)
{
    struct golden g;
    struct model *m;
    struct workers *w;
    struct thea_err err;
    golden_open(&g, "lfm2-tiny");
    cr_assert(workers_new(&w, 1, &err) == THEA_OK);
    cr_expect(model_open(&m, g.model_dir, 0, 6, w, kernels_select(NULL), &err) == THEA_EUSAGE);
    cr_expect_not_null(strstr(err.message, "has blocks 0-5"), "%s", err.message);
    cr_expect(model_open(&m, g.model_dir, 9, SIZE_MAX, w, kernels_select(NULL), &err) == THEA_EUSAGE);
    cr_expect(model_open(&m, g.model_dir, 3, 2, w, kernels_select(NULL), &err) == THEA_EUSAGE);
    cr_expect_null(m);
    workers_free(w);
    golden_close(&g);
}

Test(model, a_state_reports_the_memory_that_it_has_filled)
{
    struct golden g;
    struct opened o;
    struct thea_err err;
    golden_open(&g, "lfm2-mid");
    opened_init(&o, g.model_dir, 0, SIZE_MAX, 1);
    const struct model_info *info = model_info(o.model);
    cr_expect(model_state_bytes(o.state) == info->state_bytes);
    float *x = calloc(g.count * info->hidden, sizeof *x);
    cr_assert(model_embed(o.model, x, g.tokens, NULL, g.count, 0, &err) == THEA_OK);
    cr_assert(model_forward(o.model, o.state, x, g.count, NULL, NULL, &err) == THEA_OK);
    uint64_t filled = model_state_bytes(o.state),
             least = g.count * info->kv_bytes_per_token + info->state_bytes;
    cr_expect(filled >= least && filled < least + least / 4, "%llu for %llu", (unsigned long long)filled,
              (unsigned long long)least);
    free(x);
    opened_fini(&o);
    golden_close(&g);
}
