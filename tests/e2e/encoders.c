/* Encoders, as their users run them: vectors of a pretrained model from ids and from text, the same bits
 * however documents are ordered, batched, cut and shared out, and whoever dies. Real processes, real links.
 */
#include "graph/json.h"
#include "nn/weights/safetensors.h"
#include "tests/support/models.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TINY "tests/goldens/bert-tiny"

enum { TINY_WORDS = 800, M2_WORDS = 64, DOCUMENTS = 60, TEXTS = 40, WIDTH = 384, DEADLINE_S = RUN_LIMIT_S };

static char *scratch;

static void enter(void)
{
    scratch = run_temp_dir();
    setenv("THEA_RUNS", scratch, 1);
    setenv("SCRATCH", scratch, 1);
    unsetenv("THEA_MODEL");
}

static void leave(void)
{
    free(scratch);
}

TestSuite(encoders, .init = enter, .fini = leave);

static FILE *create(const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    return f;
}

/* Document i: 1 to 100 tokens (cut to 64). */
static void write_document(FILE *f, size_t i, size_t vocabulary)
{
    size_t n = 1 + i * i * 7 % 100;
    fprintf(f, "{\"id\": \"doc-%02zu\", \"tokens\": [2", i);
    for (size_t t = 1; t < n; t++) fprintf(f, ", %zu", (i * 131 + t * t * 17 + t) % vocabulary);
    fputs("]}\n", f);
}

/* The same documents, in an order that `step` makes (it divides nothing of 60). */
static void write_documents(const char *name, size_t step, size_t vocabulary)
{
    FILE *f = create(name);
    for (size_t i = 0; i < DOCUMENTS; i++) write_document(f, i * step % DOCUMENTS, vocabulary);
    fclose(f);
}

/* --- the same bits --- */

/* What `command` prints, its lines sorted: by id, as every line begins with it. */
static struct buf sorted(const char *command)
{
    struct run_result r;
    run_shell(&r, NULL, DEADLINE_S, "{ %s; } | sort", command);
    cr_assert_eq(r.status, 0, "%s\n%s", command, buf_text(&r.err));
    buf_fini(&r.err);
    return r.out;
}

static void expect_same(const char *command, const struct buf *want)
{
    struct buf got = sorted(command);
    cr_expect(got.len == want->len && memcmp(buf_text(&got), buf_text(want), got.len) == 0,
              "%s\ngives other vectors", command);
    buf_fini(&got);
}

static size_t count_lines(const struct buf *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->len; i++) n += b->data[i] == '\n';
    return n;
}

static struct buf one_by_one(void)
{
    struct buf want = sorted("thea load --format tokens $SCRATCH/a.jsonl | thea layers -m " TINY
                             " --batch 1 | thea pool -m " TINY " | thea write --format jsonl");
    cr_assert_eq(count_lines(&want), DOCUMENTS);
    return want;
}

Test(encoders, a_vector_has_the_same_bits_whatever_its_batch_mates, .timeout = 5 * RUN_LIMIT_S)
{
    static const char *const orders[] = {"a", "b", "c"}, *const batches[] = {"16", "100", "700", "4096"};
    write_documents("a.jsonl", 1, TINY_WORDS);
    write_documents("b.jsonl", 59, TINY_WORDS);
    write_documents("c.jsonl", 7, TINY_WORDS);
    struct buf want = one_by_one();
    for (size_t o = 0; o < 3; o++) {
        for (size_t b = 0; b < 4; b++) {
            char command[400];
            snprintf(command, sizeof command,
                     "thea load --format tokens $SCRATCH/%s.jsonl | thea layers -m " TINY
                     " --batch %s --threads %zu | thea pool -m " TINY " | thea write --format jsonl",
                     orders[o], batches[b], 1 + (o + b) % 3);
            expect_same(command, &want);
        }
    }
    buf_fini(&want);
}

Test(encoders, a_vector_has_the_same_bits_however_the_model_is_cut, .timeout = 5 * RUN_LIMIT_S)
{
    write_documents("a.jsonl", 1, TINY_WORDS);
    struct buf want = one_by_one();
    expect_same("thea load --format tokens $SCRATCH/a.jsonl | thea layers -m " TINY
                " --blocks 0 --batch 300 --chunk 7 | thea layers -m " TINY
                " --blocks 1 | thea layers -m " TINY " --blocks 2 --batch 50 | thea pool -m " TINY
                " | thea write --format jsonl",
                &want);
    buf_fini(&want);
}

static void write_pipeline(const char *layers)
{
    FILE *f = create("encode.yaml");
    fprintf(f,
            "name: encode\nmodel: %s/" TINY "\nstages:\n"
            "  load:   {kind: load, paths: [a.jsonl], format: tokens}\n"
            "  layers: {kind: layers, from: load%s}\n"
            "  pool:   {kind: pool, from: layers.final}\n"
            "  write:  {kind: write, from: pool, output: out.jsonl}\n",
            run_source_dir(), layers);
    fclose(f);
}

Test(encoders, a_run_gives_the_same_bits_with_parts_replicas_and_deaths, .timeout = 5 * RUN_LIMIT_S)
{
    static const char *const ways[] = {"", ", split: 3", ", replicas: 3, batch: 200",
                                       ", split: 2, replicas: 2"};
    static const char *const faults[] = {"", "THEA_FAULT=stage.batch:2:$SCRATCH/once "};
    write_documents("a.jsonl", 1, TINY_WORDS);
    struct buf want = one_by_one();
    for (size_t w = 0; w < 4; w++) {
        write_pipeline(ways[w]);
        for (size_t f = 0; f < 2; f++) {
            char command[500];
            snprintf(
                command, sizeof command,
                "(cd $SCRATCH && rm -rf out.jsonl once run && %sthea run -q encode.yaml --run-dir run >&2 && "
                "%s cat out.jsonl)",
                faults[f], f == 1 ? "test -e once &&" : "");
            expect_same(command, &want);
        }
    }
    buf_fini(&want);
}

/* --- a pretrained model --- */

static void read_vector(float *out, const char *line, size_t len)
{
    struct json_node *record;
    struct thea_err err;
    cr_assert(json_parse(&record, line, len, "record", &err) == THEA_OK, "%s", err.message);
    const struct json_node *v = json_member(record, "embedding");
    cr_assert_eq(json_count(v), WIDTH);
    for (size_t c = 0; c < WIDTH; c++) out[c] = (float)json_number(json_item(v, c));
    json_free(record);
}

static void expect_recorded(const struct buf *lines)
{
    struct weight_file file;
    struct thea_err err;
    char *golden = run_golden("minilm/golden.safetensors");
    const char *at = lines->data;
    cr_assert(safetensors_open(&file, golden, &err) == THEA_OK, "%s", err.message);
    cr_assert_eq(count_lines(lines), TEXTS);
    for (size_t i = 0; i < file.count; i++) {
        if (strcmp(file.tensors[i].name, "embeddings") != 0) continue;
        const float *want = file.tensors[i].data;
        for (size_t n = 0; n < TEXTS; n++, at += strcspn(at, "\n") + 1) {
            float got[WIDTH];
            double worst = 0;
            read_vector(got, at, strcspn(at, "\n"));
            for (size_t c = 0; c < WIDTH; c++)
                worst = fmax(worst, fabs((double)got[c] - (double)want[n * WIDTH + c]));
            cr_expect(worst <= 4e-6, "text %zu is off by %.2e", n, worst);
        }
    }
    weight_file_close(&file);
    free(golden);
}

/* cases.jsonl has texts and ids in one: as documents of either. */
static void write_cases(void)
{
    char *path = run_golden("minilm/cases.jsonl"), *line = NULL;
    size_t room = 0, n = 0;
    FILE *from = fopen(path, "r"), *texts = create("texts.jsonl"), *ids = create("ids.jsonl");
    cr_assert_not_null(from);
    for (ssize_t len; (len = getline(&line, &room, from)) > 0; n++) {
        struct json_node *node;
        cr_assert(json_parse(&node, line, (size_t)len, path, NULL) == THEA_OK);
        char *text = json_print(json_member(node, "text"), 0, 0),
             *list = json_print(json_member(node, "ids"), 0, 0);
        fprintf(texts, "{\"id\": \"%02zu\", \"text\": %s}\n", n, text);
        fprintf(ids, "{\"id\": \"%02zu\", \"tokens\": %s}\n", n, list);
        free(text);
        free(list);
        json_free(node);
    }
    fclose(from);
    fclose(texts);
    fclose(ids);
    free(line);
    free(path);
}

Test(encoders, texts_and_ids_become_the_recorded_vectors_of_minilm, .timeout = 5 * RUN_LIMIT_S)
{
    char *dir = models_find("minilm-l6-v2"), command[600];
    static const char *const sources[] = {"--format tokens $SCRATCH/ids.jsonl",
                                          "--format jsonl $SCRATCH/texts.jsonl | thea tokenize -m $MODEL"};
    write_cases();
    setenv("MODEL", dir, 1);
    for (size_t i = 0; i < 2; i++) {
        snprintf(command, sizeof command,
                 "thea load %s | thea layers -m $MODEL --pad none | thea pool -m $MODEL | thea write "
                 "--format jsonl",
                 sources[i]);
        struct buf lines = sorted(command);
        expect_recorded(&lines);
        cr_expect_eq(strstr(buf_text(&lines), "\"truncated_from\": 506") != NULL, i == 1,
                     "the last text has 506 tokens");
        buf_fini(&lines);
    }
    free(dir);
}

/* --- M2-BERT, whose answer depends on its padding --- */

#define M2 "tests/goldens/m2bert-tiny"
enum { M2_WIDTH = 32, M2_LENGTH = 64 };

static const struct weight *recorded(const struct weight_file *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
    cr_assert(false, "m2bert-tiny: no %s", name);
    return NULL;
}

static int64_t integer_at(const struct weight *w, size_t i)
{
    int64_t n;
    memcpy(&n, (const char *)w->data + 8 * i, sizeof n);
    return n;
}

/* The real tokens of row `row` of a case. */
static void write_row(FILE *f, const struct weight_file *file, const char *ids, const char *mask, size_t row,
                      const char *id)
{
    const struct weight *tokens = recorded(file, ids), *real = recorded(file, mask);
    size_t width = tokens->shape[1];
    fprintf(f, "{\"id\": \"%s\", \"tokens\": [", id);
    for (size_t i = 0; i < width && integer_at(real, row * width + i) == 1; i++)
        fprintf(f, "%s%lld", i > 0 ? ", " : "", (long long)integer_at(tokens, row * width + i));
    fputs("]}\n", f);
}

static void expect_line(const char *line, const float *want, int64_t padded_to)
{
    struct json_node *record;
    struct thea_err err;
    cr_assert(json_parse(&record, line, strcspn(line, "\n"), "record", &err) == THEA_OK, "%s", err.message);
    const struct json_node *v = json_member(record, "embedding");
    double worst = 0;
    cr_assert_eq(json_count(v), M2_WIDTH);
    for (size_t c = 0; c < M2_WIDTH; c++)
        worst = fmax(worst, fabs(json_number(json_item(v, c)) - (double)want[c]));
    cr_expect(worst <= 3e-4, "off by %.2e: %s", worst, line);
    cr_expect_eq(json_int_or(record, "padded_to", -1), padded_to, "%s", line);
    json_free(record);
}

Test(encoders, m2_bert_is_filled_up_to_its_length_unless_told_otherwise, .timeout = 5 * RUN_LIMIT_S)
{
    static const char *const pads[] = {"", " --pad max", " --pad 64"};
    struct weight_file file;
    struct thea_err err;
    char *golden = run_golden("m2bert-tiny/golden.safetensors"), command[400];
    FILE *full = create("full.jsonl"), *one = create("short.jsonl");
    cr_assert(safetensors_open(&file, golden, &err) == THEA_OK, "%s", err.message);
    write_row(full, &file, "input_ids", "attention_mask", 0, "0");
    write_row(full, &file, "input_ids", "attention_mask", 1, "1");
    write_row(one, &file, "short.input_ids", "short.attention_mask", 0, "0");
    fclose(full);
    fclose(one);
    const float *want = recorded(&file, "embedding")->data;
    for (size_t i = 0; i < 3; i++) {
        snprintf(command, sizeof command,
                 "thea load --format tokens $SCRATCH/full.jsonl | thea layers -m " M2 "%s | thea pool -m " M2
                 " | thea write --format jsonl",
                 pads[i]);
        struct buf lines = sorted(command);
        cr_assert_eq(count_lines(&lines), 2);
        expect_line(lines.data, want, -1);
        expect_line(lines.data + strcspn(lines.data, "\n") + 1, want + M2_WIDTH, M2_LENGTH);
        buf_fini(&lines);
    }
    struct buf line = sorted("thea load --format tokens $SCRATCH/short.jsonl | thea layers -m " M2
                             " --pad none | thea pool -m " M2 " | thea write --format jsonl");
    expect_line(line.data, recorded(&file, "short.embedding")->data, -1);
    buf_fini(&line);
    weight_file_close(&file);
    free(golden);
}

/* --- cutting --- */

/* `words` words, of which each is one token, and the vector that their text has, made without [CLS] and
 * [SEP]. */
static struct buf vector_of_words(const char *name, size_t words)
{
    char command[400];
    FILE *f = create(name);
    for (size_t i = 0; i < words; i++) fputs(i % 3 == 0 ? "the " : i % 3 == 1 ? "of " : "and ", f);
    fclose(f);
    snprintf(command, sizeof command,
             "thea load $SCRATCH/%s | thea tokenize -m " TINY " --no-special | thea layers -m " TINY
             " | thea pool -m " TINY " | thea write --format jsonl | sed 's/.*\\[//; s/].*//'",
             name);
    return sorted(command);
}

Test(encoders, a_long_text_without_special_tokens_is_cut_to_its_front, .timeout = 5 * RUN_LIMIT_S)
{
    struct buf cut = vector_of_words("long.txt", 300), front = vector_of_words("front.txt", 64);
    cr_assert_eq(count_lines(&front), 1);
    cr_expect_str_eq(buf_text(&cut), buf_text(&front));
    buf_fini(&cut);
    buf_fini(&front);
}

/* --- what is refused, before anything runs --- */

static void expect_check(const char *layers, const char *rest, const char *part)
{
    struct run_result r;
    FILE *f = create("bad.yaml");
    fprintf(f,
            "name: bad\nmodel: %s/" TINY "\nstages:\n  load: {kind: load, paths: [a.jsonl], format: tokens}\n"
            "  layers: {kind: layers, from: load%s}\n%s  write: {kind: write, from: last}\n",
            run_source_dir(), layers, rest);
    fclose(f);
    run_shell(&r, scratch, DEADLINE_S, "thea check bad.yaml");
    cr_expect_neq(r.status, 0);
    cr_expect_not_null(strstr(buf_text(&r.out), part), "no '%s' in:\n%s", part, buf_text(&r.out));
    run_result_fini(&r);
}

Test(encoders, check_knows_what_an_encoder_gives, .timeout = 5 * RUN_LIMIT_S)
{
    expect_check("", "  last: {kind: score, from: layers}\n", "produced   layers.final");
    expect_check("", "  last: {kind: pool, from: layers.nll}\n", "stage 'layers' has no output 'nll'");
    expect_check(", pad: max", "  last: {kind: pool, from: layers}\n", "passes padding over");
    expect_check(", batch: 0", "  last: {kind: pool, from: layers}\n", "batch");
}

Test(encoders, check_knows_that_a_mean_needs_more_than_first_rows, .timeout = 5 * RUN_LIMIT_S)
{
    expect_check(", rows: first", "  last: {kind: pool, from: layers.final}\n",
                 "stage 'last' needs every row of 'layers.final', and 'rows: first' gives the first");
    expect_check(", rows: first", "  last: {kind: write, from: layers.hidden}\n", "no output 'hidden'");
}

/* --- what is pooled --- */

static void write_pooled(const char *model)
{
    FILE *f = create("pooled.yaml");
    fprintf(f,
            "name: pooled\nmodel: %s/%s\nstages:\n"
            "  load:   {kind: load, paths: [a.jsonl], format: tokens}\n"
            "  layers: {kind: layers, from: load}\n"
            "  pool:   {kind: pool, from: layers.final}\n"
            "  write:  {kind: write, from: pool}\n",
            run_source_dir(), model);
    fclose(f);
}

/* A run with this pooling and nothing said of rows gives what commands by hand give that keep all rows; and
 * does it have first rows alone leave the model? */
static void expect_pooling(const char *model, const char *pooling, bool first)
{
    char command[600];
    struct run_result r;
    write_pooled(model);
    snprintf(command, sizeof command,
             "thea load --format tokens $SCRATCH/a.jsonl | thea layers -m %s --rows all | thea pool -m %s "
             "--pooling %s | thea write --format jsonl",
             model, model, pooling);
    struct buf want = sorted(command);
    cr_assert_eq(count_lines(&want), DOCUMENTS);
    snprintf(command, sizeof command, "thea run $SCRATCH/pooled.yaml --set pool.pooling=%s", pooling);
    expect_same(command, &want);
    run_shell(&r, NULL, DEADLINE_S, "thea plan $SCRATCH/pooled.yaml --set pool.pooling=%s", pooling);
    cr_expect_eq(strstr(buf_text(&r.out), "--rows first") != NULL, first, "%s of %s:\n%s", pooling, model,
                 buf_text(&r.out));
    run_result_fini(&r);
    buf_fini(&want);
}

Test(encoders, the_pooling_that_is_asked_for_decides_which_rows_leave_the_model, .timeout = 5 * RUN_LIMIT_S)
{
    write_documents("a.jsonl", 1, TINY_WORDS);
    expect_pooling(TINY, "mean", false);
    expect_pooling(TINY, "cls", true);
    write_documents("a.jsonl", 1, M2_WORDS);
    expect_pooling(M2, "mean", false);
    expect_pooling(M2, "last", false);
    expect_pooling(M2, "pooler", true);
}
