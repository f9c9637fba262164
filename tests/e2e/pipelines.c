/* Every file in pipelines/ runs, found by its name; and typed as a shell pipe it gives the same. Stages'
 * failures, as their users see them. */
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL "models/thea-mini"
#define FILES "README.md graph/err.c graph/buf.c"

/* How each pipeline is tried; a new file in pipelines/ without a line here fails the test. */
static const struct trial {
    const char *name, *arguments, *expected;
} trials[] = {
    {"score", "--set write.format=jsonl " FILES, "\"bits_per_byte\": "},
    {"embed", FILES, "\"embedding\": ["},
    {"index", "-o $THEA_RUNS/index " FILES " && thea index $THEA_RUNS/index --list --json",
     "{\"id\": \"graph/err.c\", "},
    {"generate", "--set load.text='The pipeline' --set sample.greedy=true --set sample.max_tokens=8", " "},
};

static char *scratch;

static void enter(void)
{
    scratch = run_temp_dir();
    setenv("THEA_RUNS", scratch, 1);
    unsetenv("THEA_MODEL");
}

static void leave(void)
{
    free(scratch);
}

TestSuite(pipelines, .init = enter, .fini = leave);

static void run_trial(const char *name)
{
    struct run_result r;
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++) {
        if (strcmp(trials[i].name, name) != 0) continue;
        run_shell(&r, NULL, RUN_LIMIT_S, "thea check pipelines/%s.yaml && thea run -q %s %s", name, name,
                  trials[i].arguments);
        cr_assert_eq(r.status, 0, "%s: %s", name, buf_text(&r.err));
        cr_assert_not_null(strstr(buf_text(&r.out), trials[i].expected), "%s: %s", name, buf_text(&r.out));
        run_result_fini(&r);
        return;
    }
    cr_assert_fail("pipelines/%s.yaml is not tried here", name);
}

Test(pipelines, every_file_is_right_and_runs, .timeout = 5 * RUN_LIMIT_S)
{
    char path[4096];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/pipelines", run_source_dir());
    DIR *d = opendir(path);
    cr_assert_not_null(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        char *ending = strstr(e->d_name, ".yaml");
        if (ending == NULL) continue;
        *ending = '\0';
        run_trial(e->d_name);
        count++;
    }
    closedir(d);
    cr_assert_geq(count, sizeof trials / sizeof trials[0], "a pipeline is gone");
}

/* --- YAML equals pipe --- */

static struct json_node *line_of(const char **rest)
{
    struct json_node *node = NULL;
    struct thea_err err = {0};
    const char *end = strchr(*rest, '\n');
    if (end == NULL) return NULL;
    cr_assert_eq(json_parse(&node, *rest, (size_t)(end - *rest), "result", &err), THEA_OK, "%s", err.message);
    *rest = end + 1;
    return node;
}

static void expect_close(const struct json_node *a, const struct json_node *b, double relative,
                         const char *what)
{
    double x = json_number(a), y = json_number(b);
    cr_assert(fabs(x - y) <= relative * fabs(x), "%s: %.9g and %.9g", what, x, y);
}

static void expect_same_scores(const struct json_node *a, const struct json_node *b)
{
    static const char *const exact[] = {"id", "tokens", "bytes"};
    for (size_t i = 0; i < 3; i++) {
        char *x = json_print(json_member(a, exact[i]), 0, 0), *y = json_print(json_member(b, exact[i]), 0, 0);
        cr_assert_str_eq(x, y);
        free(x);
        free(y);
    }
    expect_close(json_member(a, "bits_per_byte"), json_member(b, "bits_per_byte"), 1e-5,
                 json_text_or(a, "id", ""));
    expect_close(json_member(a, "perplexity"), json_member(b, "perplexity"), 1e-5, json_text_or(a, "id", ""));
    cr_assert_eq(json_count(json_member(a, "top")), 10);
    for (size_t i = 0; i < 10; i++)
        expect_close(json_path(json_item(json_member(a, "top"), i), "bits_per_byte"),
                     json_path(json_item(json_member(b, "top"), i), "bits_per_byte"), 1e-4, "a line");
}

Test(pipelines, scores_of_yaml_and_of_a_shell_pipe_are_equal, .timeout = 5 * RUN_LIMIT_S)
{
    struct run_result yaml, typed;
    run_shell(&yaml, NULL, RUN_LIMIT_S, "thea run -q score --set write.format=jsonl " FILES);
    run_shell(&typed, NULL, RUN_LIMIT_S,
              "thea load " FILES " | thea tokenize -m " MODEL " | thea layers -m " MODEL
              " --blocks 0-2 --chunk 64 | "
              "thea layers -m " MODEL " --blocks 3- | thea score --top 10 | thea write");
    cr_assert_eq(yaml.status, 0, "%s", buf_text(&yaml.err));
    cr_assert_eq(typed.status, 0, "%s", buf_text(&typed.err));
    cr_assert_str_empty(buf_text(&typed.err), "a pipe that succeeds says nothing");
    const char *a = buf_text(&yaml.out), *b = buf_text(&typed.out);
    for (int i = 0; i < 3; i++) {
        struct json_node *x = line_of(&a), *y = line_of(&b);
        cr_assert(x != NULL && y != NULL, "%d lines", i);
        expect_same_scores(x, y);
        json_free(x);
        json_free(y);
    }
    cr_assert(*a == '\0' && *b == '\0', "three documents, three lines");
    run_result_fini(&yaml);
    run_result_fini(&typed);
}

Test(pipelines, vectors_of_yaml_and_of_a_shell_pipe_are_equal_and_of_length_1, .timeout = 5 * RUN_LIMIT_S)
{
    struct run_result yaml, typed;
    run_shell(&yaml, NULL, RUN_LIMIT_S, "thea run -q embed " FILES);
    run_shell(&typed, NULL, RUN_LIMIT_S,
              "thea load " FILES " | thea tokenize -m " MODEL " | thea layers -m " MODEL
              " --emit final --chunk 100 | thea pool | thea write");
    cr_assert_eq(typed.status, 0, "%s", buf_text(&typed.err));
    const char *a = buf_text(&yaml.out), *b = buf_text(&typed.out);
    for (int i = 0; i < 3; i++) {
        struct json_node *x = line_of(&a), *y = line_of(&b);
        const struct json_node *u = json_member(x, "embedding"), *v = json_member(y, "embedding");
        double length = 0;
        cr_assert_eq(json_count(u), 128);
        for (size_t k = 0; k < 128; k++) {
            cr_assert_float_eq(json_number(json_item(u, k)), json_number(json_item(v, k)), 1e-5);
            length += json_number(json_item(u, k)) * json_number(json_item(u, k));
        }
        cr_assert_float_eq(length, 1, 1e-5);
        json_free(x);
        json_free(y);
    }
    run_result_fini(&yaml);
    run_result_fini(&typed);
}

/* --- what a user meets --- */

static void expect_run(int status, const char *out, const char *err, const char *command)
{
    struct run_result r;
    run_shell(&r, NULL, RUN_LIMIT_S, "%s", command);
    cr_assert_eq(r.status, status, "%s: status %d: %s", command, r.status, buf_text(&r.err));
    if (out != NULL) cr_assert_not_null(strstr(buf_text(&r.out), out), "%s: %s", command, buf_text(&r.out));
    if (err != NULL) cr_assert_not_null(strstr(buf_text(&r.err), err), "%s: %s", command, buf_text(&r.err));
    run_result_fini(&r);
}

Test(pipelines, token_ids_go_in_and_logits_come_out, .timeout = 5 * RUN_LIMIT_S)
{
    char command[4096];
    snprintf(command, sizeof command,
             "cd %s && echo '{\"id\": \"a\", \"tokens\": [1, 2, 3]}' > ids.jsonl && thea load --format "
             "tokens ids.jsonl | thea layers -m %s/" MODEL
             " --emit logits | thea write --format safetensors -o out.safetensors && head -c 200 "
             "out.safetensors | tr -d '\\0'",
             scratch, run_source_dir());
    expect_run(0, "{\"a.logits\": {\"dtype\": \"F32\", \"shape\": [3, 4096], \"data_offsets\": [0, 49152]}}",
               NULL, command);
}

Test(pipelines, texts_become_tokens_and_text_again, .timeout = 5 * RUN_LIMIT_S)
{
    expect_run(0, "{\"id\": \"a\", \"text\": \"The pipeline\\nreads é 🌲.\"}", NULL,
               "printf '{\"id\": \"a\", \"text\": \"The pipeline\\\\nreads é 🌲.\"}\\n' | thea load --format "
               "jsonl - | thea tokenize -m " MODEL " --no-special | thea detokenize -m " MODEL
               " | thea write --format jsonl");
}

Test(pipelines, a_missing_file_is_status_66_in_a_pipe_and_in_a_run, .timeout = 5 * RUN_LIMIT_S)
{
    expect_run(66, NULL, "'nowhere.md': No such file", "thea load nowhere.md > /dev/null");
    expect_run(66, NULL, "no file matches", "thea run -q score 'nowhere/*.md'");
}

Test(pipelines, a_document_that_cannot_be_embedded_is_named_and_the_run_ends_with_1,
     .timeout = 5 * RUN_LIMIT_S)
{
    char command[4096];
    snprintf(command, sizeof command,
             "echo '{\"id\": \"none\", \"tokens\": []}' > %s/i.jsonl && echo '{\"id\": \"some\", \"tokens\": "
             "[5]}' >> %s/i.jsonl && "
             "thea load --format tokens %s/i.jsonl | thea layers -m " MODEL
             " --emit final | thea pool | thea write",
             scratch, scratch, scratch);
    expect_run(1, "{\"id\": \"some\"", "none: an empty document has no vector", command);
}

Test(pipelines, a_full_disk_is_status_74, .timeout = 5 * RUN_LIMIT_S)
{
    expect_run(74, NULL, "cannot write '/dev/full': No space left on device",
               "thea load LICENSE | thea write --format text -o /dev/full");
}

Test(pipelines, a_directory_that_is_not_there_is_status_73, .timeout = 5 * RUN_LIMIT_S)
{
    expect_run(73, NULL, "cannot create", "thea load LICENSE | thea write -o /nowhere/at/all.jsonl");
}

Test(pipelines, a_sampler_outside_a_loop_refuses_to_run, .timeout = 5 * RUN_LIMIT_S)
{
    expect_run(64, NULL, "loop", "thea load --format tokens /dev/null | thea sample > /dev/null");
}
