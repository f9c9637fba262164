/* Documents stream: a chunk is in every stage at the same time, a diamond with small windows does not stop,
 * an early reader stops the sources. */
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One op of the trace that THEA_TRACE asks for. */
struct op {
    char stage[32];
    int64_t begin_ns, end_ns;
};

static size_t read_trace(struct op *ops, size_t max, const char *path)
{
    FILE *file = fopen(path, "re");
    char line[1024];
    size_t n = 0;
    cr_assert_not_null(file, "no trace at %s", path);
    while (n < max && fgets(line, sizeof line, file) != NULL) {
        struct json_node *op = NULL;
        cr_assert_eq(json_parse(&op, line, strlen(line), path, NULL), THEA_OK, "%s", line);
        snprintf(ops[n].stage, sizeof ops[n].stage, "%s", json_text_or(op, "stage", ""));
        ops[n].begin_ns = json_int_or(op, "begin_ns", 0);
        ops[n].end_ns = json_int_or(op, "end_ns", 0);
        json_free(op);
        n++;
    }
    fclose(file);
    return n;
}

/* First begin and last end of a stage's ops. */
static struct op span(const struct op *ops, size_t n, const char *stage)
{
    struct op s = {.begin_ns = INT64_MAX};
    for (size_t i = 0; i < n; i++) {
        if (strcmp(ops[i].stage, stage) != 0) continue;
        if (ops[i].begin_ns < s.begin_ns) s.begin_ns = ops[i].begin_ns;
        if (ops[i].end_ns > s.end_ns) s.end_ns = ops[i].end_ns;
    }
    return s;
}

Test(streaming, frames_of_one_document_are_inside_three_layer_stages_at_the_same_time,
     .timeout = 5 * RUN_LIMIT_S)
{
    enum { OPS = 20000 };
    struct op *ops = calloc(OPS, sizeof *ops);
    struct run_result r;
    char *dir = run_temp_dir(), path[256];
    run_shell(&r, NULL, RUN_LIMIT_S,
              "for i in $(seq 60); do cat README.md; done | head -c %d >%s/long.md && THEA_TRACE=%s/trace "
              "thea run score %s/long.md --run-dir %s/run -q "
              "--set layers.split=3 --set layers.chunk=64 --set write.format=jsonl",
              60000 / RUN_SLOWER, dir, dir, dir, dir);
    cr_assert_eq(r.status, 0, "%s", buf_text(&r.err));
    snprintf(path, sizeof path, "%s/trace", dir);
    size_t n = read_trace(ops, OPS, path);
    struct op a = span(ops, n, "layers/0"), b = span(ops, n, "layers/1"), c = span(ops, n, "layers/2");
    cr_assert(a.end_ns > 0 && b.end_ns > 0 && c.end_ns > 0,
              "the trace has no ops of all three parts (%zu ops)", n);
    cr_expect_lt(c.begin_ns, a.end_ns, "the last part began only after the first had finished");
    cr_expect_lt(b.begin_ns, a.end_ns);
    run_result_fini(&r);
    free(dir);
    free(ops);
}

Test(streaming, a_diamond_with_window_2_and_64_chunks_finishes, .timeout = 5 * RUN_LIMIT_S)
{
    struct run_result r;
    char *dir = run_temp_dir();
    run_shell(&r, NULL, RUN_LIMIT_S,
              "seq -s, 3 2050 | sed 's/^/{\"id\": \"long\", \"tokens\": [/; s/$/]}/' >%s/ids.jsonl; cat "
              ">%s/diamond.yaml <<'END'\n"
              "name: diamond\nmodel: thea-mini\nstages:\n"
              "  load:   {kind: load, format: tokens, paths: [ids.jsonl]}\n"
              "  layers: {kind: layers, from: load, chunk: 32, window: 2}\n"
              "  pool:   {kind: pool, from: layers, window: 2}\n"
              "  center: {kind: %s/tests/thea-center, from: {final: layers.final, vector: pool.vector}, "
              "window: 2}\n"
              "  write:  {kind: write, from: {final: center}, format: safetensors, output: out.safetensors}\n"
              "END\nthea run %s/diamond.yaml --run-dir %s/run -q && ls -l %s/out.safetensors",
              dir, dir, run_bin_dir(), dir, dir, dir);
    cr_assert_eq(r.status, 0, "status %d\n%s", r.status, buf_text(&r.err));
    run_result_fini(&r);
    free(dir);
}

Test(streaming, a_reader_that_has_enough_stops_everything_quietly, .timeout = 5 * RUN_LIMIT_S)
{
    struct run_result r;
    run_shell(&r, NULL, RUN_LIMIT_S,
              "thea load README.md docs | thea tokenize -m thea-mini | thea layers -m thea-mini --blocks 0-2 "
              "| thea layers -m thea-mini --blocks 3- "
              "| thea score | thea write --format tsv | head -1");
    cr_assert_eq(r.status, 0);
    cr_expect_eq(r.err.len, 0, "something was said: %s", buf_text(&r.err));
    run_result_fini(&r);
}
