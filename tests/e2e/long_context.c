/* 32,768 tokens in one document: it scores through two parts, and what each part's memory grows by is the KV
 * cache it must hold. */
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG = 32768, SHORT = 8192, PARTS = 2 };
/* thea-mini: 2 kv heads of 32, keys and values, f32, in each attention block. Blocks 2, 5 and 8 attend. */
enum { KV_BYTES_PER_BLOCK = 2 * 32 * 2 * 4 };
/* Both runs stream the same number of chunks; how full the window of 8 frames is at the peak is chance. */
enum { WINDOW_BYTES = 8 * 512 * 128 * 4 };

struct memory {
    int64_t peak[PARTS];
    int attention_blocks[PARTS];
};

static const struct json_node *process(const struct json_node *report, const char *name)
{
    const struct json_node *list = json_member(report, "processes");
    for (size_t i = 0; i < json_count(list); i++) {
        if (strcmp(json_text_or(json_item(list, i), "name", ""), name) == 0) return json_item(list, i);
    }
    cr_assert_fail("the report has no process '%s'", name);
    return NULL;
}

/* Blocks that attend among those of a part, from its command line in run.json. */
static int attention_blocks(const struct json_node *run, const char *name)
{
    const struct json_node *argv = json_member(process(run, name), "argv");
    int first = -1, last = -1, count = 0;
    for (size_t i = 0; i + 1 < json_count(argv); i++) {
        if (strcmp(json_text(json_item(argv, i), NULL), "--blocks") == 0)
            cr_assert_eq(sscanf(json_text(json_item(argv, i + 1), NULL), "%d-%d", &first, &last),
                         2); // NOLINT(cert-err34-c)
    }
    for (int block = first; block <= last; block++) count += block % 3 == 2;
    return count;
}

/* `documents` of `tokens` each, one after the other, through the two parts. */
static struct memory score(int documents, int tokens)
{
    struct run_result r;
    struct memory m;
    char *dir = run_temp_dir(), path[256];
    run_shell(
        &r, NULL, RUN_LIMIT_S,
        "awk 'BEGIN {for (d = 0; d < %d; d++) {printf \"{\\\"id\\\": \\\"long%%d\\\", \\\"tokens\\\": [1\", "
        "d; for (i = 1; i < %d; i++) "
        "printf \", %%d\", 300 + (i * 7919) %% 3000; print \"]}\"}}' >%s/ids.jsonl\n"
        "cat >%s/long.yaml <<'END'\n"
        "name: long\nmodel: thea-mini\nstages:\n  load:   {kind: load, format: tokens, paths: [ids.jsonl]}\n"
        "  layers: {kind: layers, from: load, split: 2, chunk: 512}\n  score:  {kind: score, from: layers}\n"
        "  write:  {kind: write, from: score, format: jsonl}\nEND\nthea run %s/long.yaml -q --run-dir %s/run",
        documents, tokens, dir, dir, dir, dir);
    cr_assert_eq(r.status, 0, "%s", buf_text(&r.err));
    struct json_node *record = NULL, *report = NULL, *run = NULL;
    struct thea_err err = {0};
    cr_assert_eq(json_parse(&record, buf_text(&r.out), strcspn(buf_text(&r.out), "\n"), "record", &err),
                 THEA_OK, "%s", err.message);
    cr_expect_eq(json_int_or(record, "tokens", 0), tokens);
    cr_expect_gt(json_number_or(record, "perplexity", 0), 1);
    snprintf(path, sizeof path, "%s/run/report.json", dir);
    cr_assert_eq(json_read_file(&report, path, 1 << 20, &err), THEA_OK, "%s", err.message);
    snprintf(path, sizeof path, "%s/run/run.json", dir);
    cr_assert_eq(json_read_file(&run, path, 1 << 20, &err), THEA_OK, "%s", err.message);
    for (int p = 0; p < PARTS; p++) {
        char name[24];
        snprintf(name, sizeof name, "layers/%d", p);
        m.peak[p] = json_int_or(process(report, name), "peak_rss_bytes", -1);
        m.attention_blocks[p] = attention_blocks(run, name);
        cr_assert_gt(m.peak[p], 0);
    }
    json_free(record), json_free(report), json_free(run);
    run_result_fini(&r);
    free(dir);
    return m;
}

#ifndef __SANITIZE_ADDRESS__ /* the sanitizer's own memory is in the RSS, too */
Test(long_context, memory_grows_by_the_kv_cache_alone_from_8k_to_32k_tokens, .timeout = 5 * RUN_LIMIT_S)
{
    struct memory small = score(LONG / SHORT, SHORT), large = score(1, LONG);
    for (int p = 0; p < PARTS; p++) {
        int64_t grown = large.peak[p] - small.peak[p];
        int64_t kv = (int64_t)(LONG - SHORT) * KV_BYTES_PER_BLOCK * large.attention_blocks[p];
        fprintf(
            stderr,
            "layers/%d: peak RSS %lld kB at 8k, %lld kB at 32k; the KV cache of %d blocks grew by %lld kB\n",
            p, (long long)small.peak[p] / 1024, (long long)large.peak[p] / 1024, large.attention_blocks[p],
            (long long)kv / 1024);
        cr_expect_leq(grown, kv + WINDOW_BYTES, "layers/%d grew by %lld bytes, its KV cache by %lld", p,
                      (long long)grown, (long long)kv);
    }
}
#else
/* Under the sanitizer the documents must still score. */
Test(long_context, long_documents_score, .timeout = 5 * RUN_LIMIT_S)
{
    struct memory m = score(1, SHORT);
    for (int p = 0; p < PARTS; p++) cr_expect_gt(m.peak[p], 0);
}
#endif
