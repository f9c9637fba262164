/* M2-BERT as its users run it: the reference's embeddings from token ids, padded as the model was trained,
 * the same bits however the model is cut. Real processes. */
#include "graph/json.h"
#include "nn/weights/safetensors.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TINY "tests/goldens/m2bert-tiny"

enum { WIDTH = 32, CONTEXT = 64, DEADLINE_S = RUN_LIMIT_S };

static char *scratch;
static size_t lengths[8]; /* of the documents written last */

static void enter(void)
{
    scratch = run_temp_dir();
    setenv("SCRATCH", scratch, 1);
}

static void leave(void)
{
    free(scratch);
}

TestSuite(m2bert, .init = enter, .fini = leave);

static struct weight_file recorded;

static const struct weight *find(const char *name)
{
    struct thea_err err;
    char *path = run_golden("m2bert-tiny/golden.safetensors");
    if (recorded.count == 0) cr_assert(safetensors_open(&recorded, path, &err) == THEA_OK, "%s", err.message);
    free(path);
    for (size_t i = 0; i < recorded.count; i++)
        if (strcmp(recorded.tensors[i].name, name) == 0) return &recorded.tensors[i];
    cr_assert(false, "no tensor %s", name);
    return NULL;
}

/* The recorded ids of a case, a document a line, without the pads at their ends. */
static void write_documents(const char *ids)
{
    char path[300];
    const struct weight *w = find(ids);
    snprintf(path, sizeof path, "%s/ids.jsonl", scratch);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    for (size_t d = 0; d < w->shape[0]; d++) {
        const int64_t *tokens = (const int64_t *)w->data + d * w->shape[1];
        size_t n = w->shape[1];
        while (n > 1 && tokens[n - 1] == 0) n--;
        lengths[d] = n;
        fprintf(f, "{\"id\": \"doc-%zu\", \"tokens\": [%lld", d, (long long)tokens[0]);
        for (size_t i = 1; i < n; i++) fprintf(f, ", %lld", (long long)tokens[i]);
        fputs("]}\n", f);
    }
    fclose(f);
}

static struct run_result run(const char *command)
{
    struct run_result r;
    run_shell(&r, NULL, DEADLINE_S, "%s", command);
    cr_assert_eq(r.status, 0, "%s\n%s", command, buf_text(&r.err));
    return r;
}

/* Each line's embedding is near the recorded one, and says where it was padded. */
static void expect_recorded(const struct run_result *r, const char *name, bool padded)
{
    const struct weight *w = find(name);
    const float *want = w->data;
    const char *line = buf_text(&r->out);
    size_t docs = 0;
    for (; *line != '\0'; docs++) {
        size_t length = strcspn(line, "\n");
        struct json_node *record = NULL;
        struct thea_err err;
        cr_assert(docs < w->shape[0] && json_parse(&record, line, length, "line", &err) == THEA_OK);
        const struct json_node *embedding = json_member(record, "embedding");
        cr_assert(json_count(embedding) == WIDTH, "%.*s", (int)length, line);
        for (size_t i = 0; i < WIDTH; i++) {
            double d = fabs(json_number(json_item(embedding, i)) - (double)want[docs * WIDTH + i]);
            cr_assert(d <= 3e-4, "document %zu, element %zu is off by %g", docs, i, d);
        }
        int64_t to = padded && lengths[docs] < CONTEXT ? CONTEXT : -1;
        cr_expect(json_int_or(record, "padded_to", -1) == to, "%.*s", (int)length, line);
        json_free(record);
        line += length + (line[length] == '\n');
    }
    cr_expect(docs == w->shape[0], "%zu documents", docs);
}

#define LOAD    "thea load --format tokens $SCRATCH/ids.jsonl"
#define ANSWERS " | thea pool -m " TINY " | thea write"

Test(m2bert, documents_are_filled_up_to_the_models_length)
{
    write_documents("input_ids");
    struct run_result r = run(LOAD " | thea layers -m " TINY ANSWERS);
    expect_recorded(&r, "embedding", true);
    run_result_fini(&r);
}

Test(m2bert, embeddings_without_padding_are_the_references)
{
    static const char *const cases[][2] = {{"short.input_ids", "short.embedding"},
                                           {"one.input_ids", "one.embedding"},
                                           {"two.input_ids", "two.embedding"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_documents(cases[i][0]);
        struct run_result r = run(LOAD " | thea layers --pad none -m " TINY ANSWERS);
        expect_recorded(&r, cases[i][1], false);
        run_result_fini(&r);
    }
}

Test(m2bert, bits_do_not_depend_on_parts_chunks_batches_threads_or_memory_for_filters)
{
    static const char *const ways[] = {
        LOAD " | thea layers -m " TINY " --batch 1 --chunk 5 --threads 3" ANSWERS,
        LOAD " | thea layers -m " TINY " --filter-memory 0" ANSWERS,
        LOAD " | thea layers -m " TINY " --blocks 0 --filter-memory 0 | thea layers -m " TINY
             " --blocks 1- --chunk 7 --threads 2" ANSWERS,
        LOAD " | thea layers -m " TINY " --blocks 0-1 --chunk 64 | thea layers -m " TINY
             " --blocks 2 --filter-memory 4KiB" ANSWERS,
    };
    write_documents("input_ids");
    struct run_result want = run(LOAD " | thea layers -m " TINY ANSWERS);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct run_result r = run(ways[i]);
        cr_expect(strcmp(buf_text(&r.out), buf_text(&want.out)) == 0, "%s\ngives other vectors", ways[i]);
        run_result_fini(&r);
    }
    run_result_fini(&want);
}

Test(m2bert, a_limit_that_makes_filters_again_for_each_batch_is_told_once_with_a_better_one)
{
    static const char *const told[] = {" --filter-memory 4KiB --batch 1", " --filter-memory 4KiB",
                                       " --filter-memory 0 --batch 1", " --batch 1"};
    write_documents("input_ids");
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        struct run_result r;
        run_shell(&r, NULL, DEADLINE_S, LOAD " | thea layers -m " TINY "%s" ANSWERS, told[i]);
        cr_expect(r.status == 0, "%s", buf_text(&r.err));
        const char *first = strstr(buf_text(&r.err), "cannot keep the filters");
        cr_expect((first != NULL) == (i == 0), "%s: %s", told[i], buf_text(&r.err));
        cr_expect(first == NULL || strstr(first, "try  filter_memory: 64MiB") != NULL, "%s", first);
        cr_expect(first == NULL || strstr(first + 1, "cannot keep") == NULL, "once: %s", first);
        run_result_fini(&r);
    }
}

static void expect_refused(const char *command, const char *why)
{
    struct run_result r;
    run_shell(&r, NULL, DEADLINE_S, "%s", command);
    cr_expect(r.status != 0 && strstr(buf_text(&r.err), why) != NULL, "%s\nstatus %d: %s", command, r.status,
              buf_text(&r.err));
    run_result_fini(&r);
}

Test(m2bert, refuses_what_it_cannot_do_by_name)
{
    write_documents("input_ids");
    expect_refused(LOAD " | thea layers --filter-memory lots -m " TINY, "filter");
    expect_refused(LOAD " | thea layers --filter-memory -1 -m " TINY, "filter");
    expect_refused(LOAD " | thea layers --emit nll -m " TINY, "nll");
    expect_refused(LOAD " | thea layers --blocks 3 -m " TINY, "0-2");
    expect_refused(LOAD " | thea layers --pad 65 -m " TINY, "64");
}
