/* The same answer however it is cut: parts, chunks, threads, YAML or a shell pipe (DESIGN, invariant 1). Real
 * processes, real links. */
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct model { /* arrays, not pointers: a parameter is copied into the test's process */
    char name[32];
    char path[64];
    int blocks;
};
static struct model models[] = {
    {"thea-mini", "models/thea-mini", 10},           {"lfm2-tiny", "tests/goldens/lfm2-tiny", 6},
    {"lfm2-mid", "tests/goldens/lfm2-mid", 8},       {"llama-tiny", "tests/goldens/llama-tiny", 4},
    {"llama-rope3", "tests/goldens/llama-rope3", 3},
};
enum { DOCUMENTS = 3, PARTS_MAX = 16 };

/* What the scored documents say, in the order of the input. */
struct scores {
    int64_t tokens[DOCUMENTS];
    double perplexity[DOCUMENTS];
};

static struct scores read_scores(const struct run_result *r, const char *how)
{
    struct scores s = {0};
    size_t n = 0;
    const char *line = buf_text(&r->out);
    cr_assert_eq(r->status, 0, "%s: status %d\n%s", how, r->status, buf_text(&r->err));
    for (; *line != '\0'; n++) {
        size_t length = strcspn(line, "\n");
        struct json_node *record = NULL;
        struct thea_err err = {0};
        cr_assert_lt(n, DOCUMENTS, "%s: more than %d documents", how, DOCUMENTS);
        cr_assert_eq(json_parse(&record, line, length, how, &err), THEA_OK, "%s", err.message);
        s.tokens[n] = json_int_or(record, "tokens", -1);
        s.perplexity[n] = json_number_or(record, "perplexity", NAN);
        json_free(record);
        line += length + (line[length] == '\n');
    }
    cr_assert_eq(n, DOCUMENTS, "%s: %zu documents\n%s", how, n, buf_text(&r->err));
    return s;
}

static void expect_equal(const struct scores *got, const struct scores *want, const char *how)
{
    for (size_t i = 0; i < DOCUMENTS; i++) {
        double off = fabs(got->perplexity[i] - want->perplexity[i]) / want->perplexity[i];
        cr_assert_eq(got->tokens[i], want->tokens[i], "%s: document %zu has %lld tokens", how, i,
                     (long long)got->tokens[i]);
        cr_expect(off <= 1e-5, "%s: document %zu: perplexity %.9g, not %.9g (off by %.2g)", how, i,
                  got->perplexity[i], want->perplexity[i], off);
    }
}

/* One pipe of `parts` layer stages; part p ends before block ends[p]. */
static struct scores by_pipe(const struct model *m, const int *ends, int parts, int chunk, int threads)
{
    struct buf command = {0};
    struct run_result r;
    buf_printf(&command, "thea load --format tokens tests/goldens/ids/%s.jsonl", m->name);
    for (int p = 0; p < parts; p++) {
        buf_printf(&command, " | thea layers -m %s --blocks %d-%d --chunk %d --threads %d", m->path,
                   p == 0 ? 0 : ends[p - 1], (p == parts - 1 ? m->blocks : ends[p]) - 1, chunk, threads);
    }
    buf_add_text(&command, " | thea score | thea write --format jsonl");
    run_shell(&r, NULL, RUN_LIMIT_S, "%s", buf_text(&command));
    struct scores s = read_scores(&r, buf_text(&command));
    run_result_fini(&r);
    buf_fini(&command);
    return s;
}

static struct scores by_yaml(const struct model *m, int split, int chunk, int threads)
{
    char how[128];
    struct run_result r;
    char *dir = run_temp_dir();
    run_shell(&r, NULL, RUN_LIMIT_S,
              "cat >%s/ids.yaml <<'END'\n"
              "name: ids\nmodel: %s/%s\nstages:\n"
              "  load:   {kind: load, format: tokens, paths: [%s/tests/goldens/ids/%s.jsonl]}\n"
              "  layers: {kind: layers, from: load, split: %d, chunk: %d, threads: %d}\n"
              "  score:  {kind: score, from: layers}\n"
              "  write:  {kind: write, from: score, format: jsonl}\n"
              "END\nthea run %s/ids.yaml -q --run-dir %s/run",
              dir, run_source_dir(), m->path, run_source_dir(), m->name, split, chunk, threads, dir, dir);
    snprintf(how, sizeof how, "%s as YAML, split %d, chunk %d, threads %d", m->name, split, chunk, threads);
    struct scores s = read_scores(&r, how);
    run_result_fini(&r);
    free(dir);
    return s;
}

ParameterizedTestParameters(invariance, every_cut_of_a_model_gives_the_same_scores)
{
    return cr_make_param_array(struct model, models, sizeof models / sizeof *models);
}

ParameterizedTest(struct model *m, invariance, every_cut_of_a_model_gives_the_same_scores,
                  .timeout = 5 * RUN_LIMIT_S)
{
    static const int chunks[] = {1, 7, 64, 4096};
    char how[128];
    int thirds[] = {(m->blocks + 2) / 3, (2 * m->blocks + 2) / 3}, half[] = {m->blocks / 2}, each[PARTS_MAX];
    struct scores want = by_pipe(m, NULL, 1, 512, 1);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        for (int parts = 1; parts <= 2; parts++) {
            struct scores got = by_pipe(m, half, parts, chunks[i], 1);
            snprintf(how, sizeof how, "%s in %d parts, chunk %d", m->name, parts, chunks[i]);
            expect_equal(&got, &want, how);
        }
    }
    struct scores got = by_pipe(m, thirds, 3, 64, 2);
    snprintf(how, sizeof how, "%s in 3 parts, chunk 64, two threads", m->name);
    expect_equal(&got, &want, how);
    for (int i = 0; i < m->blocks - 1; i++) each[i] = i + 1;
    got = by_pipe(m, each, m->blocks, 512, 1);
    snprintf(how, sizeof how, "%s, a part for each block", m->name);
    expect_equal(&got, &want, how);
}

ParameterizedTestParameters(invariance, a_yaml_pipeline_scores_as_the_shell_pipe_does)
{
    return cr_make_param_array(struct model, models, sizeof models / sizeof *models);
}

ParameterizedTest(struct model *m, invariance, a_yaml_pipeline_scores_as_the_shell_pipe_does,
                  .timeout = 5 * RUN_LIMIT_S)
{
    static const struct {
        int chunk, threads;
    } runs[] = {{512, 1}, {7, 1}, {64, 2}, {1, 1}};
    struct scores want = by_pipe(m, NULL, 1, 512, 1);
    for (int i = 0; i < 4; i++) {
        int split = i == 3 ? m->blocks : i + 1;
        char how[128];
        struct scores got = by_yaml(m, split, runs[i].chunk, runs[i].threads);
        snprintf(how, sizeof how, "%s, split %d, chunk %d", m->name, split, runs[i].chunk);
        expect_equal(&got, &want, how);
    }
}
