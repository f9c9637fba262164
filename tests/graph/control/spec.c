/* Pipelines that are right: what the spec holds; overrides and their precedence; mistakes of the command
 * line. Wrong files: bad.c. */
#include "graph/control/spec.h"

#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void use_test_kinds(void)
{
    setenv("THEA_STAGE_PATH", THEA_SOURCE_DIR "/tests/support/kinds", 1);
    unsetenv("THEA_MODEL");
    unsetenv("THEA_THREADS");
}

TestSuite(spec, .init = use_test_kinds);

static const char score_file[] =
    "name: score\n"
    "doc: Bits per byte\n"
    "model: mini\n"
    "defaults: {threads: 2}\n"
    "stages:\n"
    "  load:     {kind: load, paths: [\"../docs/**/*.md\", \"/abs/*.md\"], exclude: a.md}\n"
    "  tokenize: {kind: tokenize, from: load, special: false, threads: 1}\n"
    "  layers:   {kind: layers, from: tokenize, split: 2, chunk: 512, env: {A: \"x y\"}}\n"
    "  score:    {kind: score, from: layers, top: 10}\n"
    "  write:    {kind: write, from: score, output: out.jsonl}\n";

static struct spec *parse_with(const char *text, const struct spec_overrides *o)
{
    struct diag_list *diags = diag_list_new();
    struct thea_err err = {0};
    struct spec *spec = NULL;
    thea_rc rc = spec_parse(&spec, text, strlen(text), "/home/ann/pipelines/score.yaml", 1, o, diags, &err);
    struct buf said = {0};
    diag_print_text(diags, &said, false);
    cr_assert_eq(rc, THEA_OK, "%s\n%s", err.message, buf_text(&said));
    buf_fini(&said);
    diag_list_free(diags);
    return spec;
}

static void expect_cli_error(const char *text, const struct spec_overrides *o, thea_rc want,
                             const char *message)
{
    struct diag_list *diags = diag_list_new();
    struct thea_err err = {0};
    struct spec *spec = NULL;
    thea_rc rc = spec_parse(&spec, text, strlen(text), "/home/ann/score.yaml", 1, o, diags, &err);
    cr_expect_eq(rc, want, "%d: %s", rc, err.message);
    cr_expect_eq(strncmp(err.message, message, strlen(message)), 0, "said: %s\nwant: %s", err.message,
                 message);
    cr_expect_eq(diag_count(diags), 0, "mistakes of the command line are no mistakes of the file");
    diag_list_free(diags);
}

static const struct spec_option *option(const struct spec *s, const char *stage, const char *name)
{
    for (size_t i = 0; i < s->stage_count; i++)
        for (size_t k = 0; strcmp(s->stages[i].name, stage) == 0 && k < s->stages[i].option_count; k++)
            if (strcmp(s->stages[i].options[k].name, name) == 0) return &s->stages[i].options[k];
    return NULL;
}

Test(spec, a_pipeline_becomes_stages_with_typed_options_in_file_order)
{
    struct spec *s = parse_with(score_file, NULL);
    cr_expect_str_eq(s->name, "score");
    cr_expect_str_eq(s->doc, "Bits per byte");
    cr_assert_eq(s->stage_count, 5);
    cr_expect_str_eq(s->stages[2].name, "layers");
    cr_expect_eq(s->stages[2].split, 2);
    cr_expect_eq(s->stages[2].threads, 2, "from defaults");
    cr_expect_eq(s->stages[1].threads, 1, "the stage's own");
    cr_expect_str_eq(s->stages[2].env[0], "A=x y");
    cr_expect_str_eq(s->stages[2].model, "/models/mini", "as the program resolved it");
    cr_expect_null(s->stages[0].model);
    cr_expect(s->stages[0].source && !s->stages[0].sink);
    cr_expect(s->stages[4].sink && !s->stages[4].source);
    cr_expect_str_eq(option(s, "layers", "chunk")->values[0], "512");
    cr_expect_str_eq(option(s, "tokenize", "special")->values[0], "false");
    cr_expect_null(option(s, "layers", "dtype"), "only what was given");
    cr_expect_eq(s->stages[3].place.line, 9);
    spec_free(s);
}

Test(spec, paths_of_a_file_are_relative_to_the_file)
{
    struct spec *s = parse_with(score_file, NULL);
    const struct spec_option *paths = option(s, "load", "paths");
    cr_assert_eq(paths->count, 2);
    cr_expect(paths->is_list);
    cr_expect_str_eq(paths->values[0], "/home/ann/docs/**/*.md");
    cr_expect_str_eq(paths->values[1], "/abs/*.md");
    cr_expect_str_eq(option(s, "write", "output")->values[0], "/home/ann/pipelines/out.jsonl");
    cr_expect_str_eq(option(s, "load", "exclude")->values[0], "a.md", "texts are no paths");
    spec_free(s);
}

Test(spec, edges_take_the_port_of_the_inputs_name_and_say_their_pattern)
{
    struct spec *s = parse_with(score_file, NULL);
    cr_assert_eq(s->edge_count, 4);
    cr_expect_str_eq(s->edges[0].from_port, "docs");
    cr_expect_str_eq(s->edges[2].from_port, "nll");
    cr_expect_str_eq(s->edges[2].to_port, "nll");
    cr_expect_str_eq(s->edges[2].pattern, "f32 [n]");
    cr_expect_str_eq(s->edges[3].to_port, "record");
    spec_free(s);
}

Test(spec, a_port_is_found_by_type_when_no_name_fits)
{
    struct spec *s =
        parse_with("model: mini\nstages:\n  load: {kind: load, format: tokens}\n  layers: {kind: layers, "
                   "from: load, feedback: sample}\n"
                   "  sample: {kind: sample, from: layers}\n  write: {kind: write, from: sample}\n",
                   NULL);
    cr_assert_eq(s->edge_count, 4);
    cr_expect_str_eq(s->edges[0].from_port, "tokens");
    cr_expect_str_eq(s->edges[2].from_port, "token");
    cr_expect_str_eq(s->edges[2].to_port, "tokens");
    cr_expect(s->edges[3].feedback, "feedback comes last");
    cr_expect_str_eq(s->edges[3].from_port, "token");
    cr_expect_str_eq(s->edges[3].to_port, "token");
    cr_expect_eq(s->edges[3].from, 2);
    cr_expect_eq(s->edges[3].to, 1);
    spec_free(s);
}

Test(spec, a_list_reads_many_stages_by_one_input_and_a_map_joins_inputs)
{
    struct spec *s =
        parse_with("model: mini\nstages:\n  a: {kind: load}\n  b: {kind: load}\n  tokenize: {kind: tokenize, "
                   "from: [a, b]}\n"
                   "  layers: {kind: layers, from: tokenize}\n  pool: {kind: pool, from: layers}\n"
                   "  join: {kind: join, from: {states: layers.final, vector: pool}}\n  write: {kind: write, "
                   "from: join}\n",
                   NULL);
    cr_assert_eq(s->edge_count, 7);
    cr_expect_str_eq(s->edges[0].to_port, "docs");
    cr_expect_str_eq(s->edges[1].to_port, "docs");
    cr_expect_eq(s->edges[1].from, 1);
    cr_expect_str_eq(s->edges[4].to_port, "states");
    cr_expect_str_eq(s->edges[4].pattern, "f32 [n, 128]");
    cr_expect_str_eq(s->edges[5].to_port, "vector");
    spec_free(s);
}

static const char supervised_file[] =
    "model: mini\n"
    "defaults: {replicas: 2, restart: never, tries: 5, memory: 1GiB, deadline: 90s, window: 4, spill: 2MiB, "
    "in_flight: 3}\n"
    "stages:\n"
    "  load:     {kind: load}\n"
    "  tokenize: {kind: tokenize, from: load, restart: always, on_error: skip, tries: 1}\n"
    "  layers:   {kind: layers, from: tokenize, replicas: 3, deadline: 250ms}\n"
    "  write:    {kind: write, from: layers.nll}\n";

Test(spec, a_stage_has_defaults_for_replicas_restarts_and_limits)
{
    struct spec *s = parse_with(score_file, NULL);
    const struct spec_stage *st = &s->stages[2];
    cr_expect_eq(st->replicas, 1);
    cr_expect_eq(st->restart, SPEC_RESTART_ON_FAILURE);
    cr_expect_eq(st->on_error, SPEC_ON_ERROR_RETRY);
    cr_expect_eq(st->tries, 3);
    cr_expect_eq(st->memory_bytes, 0, "no limit");
    cr_expect_eq(st->deadline_ns, INT64_C(60000000000));
    cr_expect_eq(st->window, 0, "as the stage has it");
    cr_expect_eq(st->spill_bytes, 0);
    cr_expect_eq(s->stages[0].in_flight, 0, "as the stage has it");
    spec_free(s);
}

Test(spec, defaults_go_to_the_stages_that_can_have_the_key_and_set_none)
{
    struct spec *s = parse_with(supervised_file, NULL);
    const struct spec_stage *load = &s->stages[0], *tokenize = load + 1, *layers = load + 2,
                            *write = load + 3;
    cr_expect_eq(load->replicas, 1, "a source");
    cr_expect_eq(write->replicas, 1, "a sink");
    cr_expect_eq(tokenize->replicas, 2);
    cr_expect_eq(layers->replicas, 3, "its own");
    cr_expect_eq(load->restart, SPEC_RESTART_NEVER);
    cr_expect_eq(tokenize->restart, SPEC_RESTART_ALWAYS);
    cr_expect_eq(tokenize->on_error, SPEC_ON_ERROR_SKIP);
    cr_expect_eq(tokenize->tries, 1);
    cr_expect_eq(layers->tries, 5);
    cr_expect_eq(layers->deadline_ns, 250000000);
    cr_expect_eq(write->deadline_ns, INT64_C(90000000000));
    cr_expect_eq(write->memory_bytes, 1 << 30);
    cr_expect_eq(load->window, 0, "nothing comes in");
    cr_expect_eq(load->spill_bytes, 0);
    cr_expect_eq(write->window, 4);
    cr_expect_eq(write->spill_bytes, 2 << 20);
    cr_expect_eq(load->in_flight, 3);
    spec_free(s);
}

Test(spec, set_changes_keys_of_every_stage)
{
    const char *sets[] = {"tokenize.replicas=4", "layers.on-error=stop", "load.in_flight=1",
                          "defaults.deadline=2m", "write.memory=64MiB"};
    struct spec_overrides o = {.sets = sets, .set_count = 5};
    struct spec *s = parse_with(supervised_file, &o);
    cr_expect_eq(s->stages[1].replicas, 4);
    cr_expect_eq(s->stages[2].on_error, SPEC_ON_ERROR_STOP);
    cr_expect_eq(s->stages[0].in_flight, 1);
    cr_expect_eq(s->stages[0].deadline_ns, INT64_C(120000000000));
    cr_expect_eq(s->stages[3].memory_bytes, 64 << 20);
    spec_free(s);
}

Test(spec, one_replica_of_a_source_or_a_sink_may_be_said)
{
    struct spec *s = parse_with("stages: {load: {kind: load, replicas: 1}}\n", NULL);
    cr_expect_eq(s->stages[0].replicas, 1);
    spec_free(s);
}

Test(spec, a_name_is_made_from_the_files_name)
{
    struct spec *s = parse_with("stages: {load: {kind: load}}\n", NULL);
    cr_expect_str_eq(s->name, "score");
    cr_expect_null(s->doc);
    spec_free(s);
}

Test(spec, lists_take_one_value_and_names_take_commas)
{
    struct spec *s =
        parse_with("model: mini\nstages:\n  load: {kind: load, paths: a.md}\n  t: {kind: tokenize, from: "
                   "load}\n  write: {kind: write, from: t, columns: \"id, bytes\"}\n",
                   NULL);
    cr_expect_eq(option(s, "load", "paths")->count, 1);
    cr_assert_eq(option(s, "write", "columns")->count, 2);
    cr_expect_str_eq(option(s, "write", "columns")->values[1], "bytes");
    spec_free(s);
}

Test(spec, a_quoted_number_from_a_variable_is_a_number)
{
    setenv("THEA_TEST_TOP", "7", 1);
    struct spec *s =
        parse_with("model: mini\nstages:\n  load: {kind: load}\n  t: {kind: tokenize, from: load}\n  l: "
                   "{kind: layers, from: t}\n  s: {kind: score, from: l, top: \"${THEA_TEST_TOP}\"}\n",
                   NULL);
    cr_expect_str_eq(option(s, "s", "top")->values[0], "7");
    spec_free(s);
}

/* --- what the command line adds --- */

Test(spec, set_changes_adds_and_wins_over_the_file_and_the_last_wins)
{
    const char *sets[] = {"layers.chunk=64", "layers.chunk=128", "layers.split=3", "score.top=0",
                          "load.paths=*.c",  "write.env.B=1",    "name=other",     "load.max-bytes=1MiB"};
    struct spec_overrides o = {.sets = sets, .set_count = 8};
    struct spec *s = parse_with(score_file, &o);
    cr_expect_str_eq(option(s, "layers", "chunk")->values[0], "128");
    cr_expect_eq(s->stages[2].split, 3);
    cr_expect_str_eq(option(s, "score", "top")->values[0], "0");
    cr_expect_str_eq(option(s, "load", "max_bytes")->values[0], "1MiB");
    cr_expect_str_eq(s->stages[4].env[0], "B=1");
    cr_expect_str_eq(s->name, "other");
    char *cwd = getcwd(NULL, 0);
    struct buf want = {0};
    buf_printf(&want, "%s/*.c", cwd);
    cr_assert_eq(option(s, "load", "paths")->count, 1, "a value is replaced, not added to");
    cr_expect_str_eq(option(s, "load", "paths")->values[0], buf_text(&want),
                     "relative to the current directory");
    buf_fini(&want);
    free(cwd);
    spec_free(s);
}

Test(spec, set_reads_yaml_only_after_a_bracket_brace_or_quote)
{
    const char *sets[] = {"load.paths=[\"/a b\", /c]", "load.exclude=*.md: x", "write.output='/tmp/o'"};
    struct spec_overrides o = {.sets = sets, .set_count = 3};
    struct spec *s = parse_with(score_file, &o);
    cr_assert_eq(option(s, "load", "paths")->count, 2);
    cr_expect_str_eq(option(s, "load", "paths")->values[0], "/a b");
    cr_expect_str_eq(option(s, "load", "exclude")->values[0], "*.md: x");
    cr_expect_str_eq(option(s, "write", "output")->values[0], "/tmp/o");
    spec_free(s);
}

Test(spec, model_inputs_output_and_threads_of_the_command_line_win_over_set)
{
    const char *sets[] = {"model=nowhere", "write.output=/x", "layers.threads=3"},
               *inputs[] = {"/n/a.md", "-"};
    struct spec_overrides o = {.sets = sets,
                               .set_count = 3,
                               .model = "wide",
                               .inputs = inputs,
                               .input_count = 2,
                               .output = "-",
                               .threads = 5};
    struct spec *s = parse_with(score_file, &o);
    cr_expect_str_eq(s->stages[2].model, "/models/wide");
    cr_assert_eq(option(s, "load", "paths")->count, 2);
    cr_expect_str_eq(option(s, "load", "paths")->values[0], "/n/a.md");
    cr_expect_str_eq(option(s, "load", "paths")->values[1], "-");
    cr_expect_str_eq(option(s, "write", "output")->values[0], "-");
    for (size_t i = 0; i < s->stage_count; i++) cr_expect_eq(s->stages[i].threads, 5);
    spec_free(s);
}

Test(spec, the_environment_holds_defaults_only)
{
    setenv("THEA_MODEL", "wide", 1);
    setenv("THEA_THREADS", "4", 1);
    struct spec *s = parse_with(score_file, NULL);
    cr_expect_str_eq(s->stages[2].model, "/models/mini", "the file names its model");
    cr_expect_eq(s->stages[2].threads, 2, "and its threads");
    spec_free(s);
    s = parse_with("stages:\n  load: {kind: load}\n  t: {kind: tokenize, from: load}\n", NULL);
    cr_expect_str_eq(s->stages[1].model, "/models/wide");
    cr_expect_eq(s->stages[1].threads, 4);
    spec_free(s);
}

Test(spec, mistakes_of_the_command_line_are_usage_errors_that_name_it)
{
    const struct {
        const char *set, *message;
    } cases[] = {
        {"layers.blcoks=3", "--set layers.blcoks=3: stage 'layers': unknown option 'blcoks' (did you mean "
                            "'blocks'?)\n  options of kind 'layers': blocks,"},
        {"layers.chunk=0", "--set layers.chunk=0: stage 'layers': chunk: '0' is out of range: an integer "
                           "from 1 to 65536 is accepted"},
        {"layer.chunk=1", "--set layer.chunk=1: no stage 'layer' (did you mean 'layers'?)\n  stages: load, "
                          "tokenize, layers, score, write"},
        {"load.replicas=2", "--set load.replicas=2: stage 'load': a source has one replica, not 2"},
        {"score.replicas=0", "--set score.replicas=0: stage 'score': replicas: '0' is out of range"},
        {"tokenize.in_flight=2", "--set tokenize.in_flight=2: stage 'tokenize': 'in_flight' is no key of"},
        {"chunk", "--set chunk: write STAGE.option=value, or model=NAME"},
        {"=3", "--set =3: write STAGE.option=value, or model=NAME"},
        {"modle=x", "--set modle=x: unknown key 'modle' (did you mean 'model'?)"},
        {"stages=x", "--set stages=x: stages are set by option"},
        {"load.paths=[a", "--set load.paths=[a: YAML: "},
        {"score.from=nobody", "--set score.from=nobody: stage 'score': no stage 'nobody'"},
        {"layers.env.LD_PRELOAD=x",
         "--set layers.env.LD_PRELOAD=x: stage 'layers': env: variable 'LD_PRELOAD' cannot be set"},
        {"layers.chunk.x=1", "--set layers.chunk.x=1: what stands before the last '.' is no map"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct spec_overrides o = {.sets = &cases[i].set, .set_count = 1};
        expect_cli_error(score_file, &o, THEA_EUSAGE, cases[i].message);
    }
}

Test(spec, a_missing_model_of_the_command_line_is_66_and_a_bad_one_65)
{
    expect_cli_error(score_file, &(struct spec_overrides){.model = "nowhere"}, THEA_ENOINPUT,
                     "-m nowhere: model 'nowhere' is not on this machine\n  looked in  /models");
    expect_cli_error(score_file, &(struct spec_overrides){.model = "broken"}, THEA_EDATA,
                     "-m broken: /models/broken/config.json:1:1: not valid JSON");
}

Test(spec, inputs_and_output_need_one_stage_that_takes_them)
{
    const char *input = "x.md";
    const char *two = "model: mini\nstages:\n  a: {kind: load}\n  b: {kind: load}\n  t: {kind: tokenize, "
                      "from: [a, b]}\n  w: {kind: write, from: t}\n  v: {kind: write, from: t}\n";
    expect_cli_error(two, &(struct spec_overrides){.inputs = &input, .input_count = 1}, THEA_EUSAGE,
                     "several stages take inputs: a, b\n  say which: --set STAGE.paths=");
    expect_cli_error(two, &(struct spec_overrides){.output = "o"}, THEA_EUSAGE,
                     "several stages take an output: w, v\n  say which: --set STAGE.output=");
    expect_cli_error("stages: {load: {kind: load}}\n", &(struct spec_overrides){.output = "o"}, THEA_EUSAGE,
                     "no stage of this pipeline takes an output");
    expect_cli_error("stages: {load: {kind: load}}\n", &(struct spec_overrides){.model = "mini"}, THEA_EUSAGE,
                     "-m mini: no stage takes the pipeline's model");
}

/* --- finding and printing --- */

Test(spec, a_name_is_looked_up_in_the_folders_of_pipelines)
{
    char *dir = run_temp_dir(), *path = NULL;
    struct buf b = {0};
    buf_printf(&b, "%s/mine.yaml", dir);
    FILE *f = fopen(buf_text(&b), "w");
    cr_assert_not_null(f);
    fclose(f);
    setenv("THEA_PIPELINE_PATH", dir, 1);
    cr_assert_eq(spec_find(&path, "mine", NULL), THEA_OK);
    cr_expect_str_eq(path, buf_text(&b));
    free(path);
    struct thea_err err = {0};
    cr_expect_eq(spec_find(&path, "mien", &err), THEA_ENOINPUT);
    cr_expect_not_null(strstr(err.message, "no pipeline 'mien' (did you mean 'mine'?)"), "%s", err.message);
    cr_expect_eq(spec_find(&path, "./nothing.yaml", &err), THEA_ENOINPUT);
    cr_expect_not_null(strstr(err.message, "./nothing.yaml: No such file"), "%s", err.message);
    buf_fini(&b);
    free(dir);
}

static char *print(const struct spec *s)
{
    struct buf b = {0};
    spec_print(s, &b);
    return buf_take(&b);
}

Test(spec, keys_of_every_stage_are_printed_where_they_differ_from_the_default)
{
    struct spec *s = parse_with(supervised_file, NULL);
    char *first = print(s);
    cr_expect_not_null(strstr(first, "  layers:\n    kind: layers\n    from: {tokens: tokenize.tokens}\n    "
                                     "model: \"/models/mini\"\n    threads: 1\n    replicas: 3\n    "
                                     "restart: never\n    tries: 5\n    memory: 1GiB\n    deadline: "
                                     "250ms\n    window: 4\n    spill: 2MiB\n  write:\n"),
                       "%s", first);
    cr_expect_not_null(strstr(first, "restart: always\n    on_error: skip\n    tries: 1\n"), "%s", first);
    cr_expect_not_null(strstr(first, "    in_flight: 3\n"), "%s", first);
    spec_free(s);
    s = parse_with(first, NULL);
    char *second = print(s);
    cr_expect_str_eq(first, second);
    spec_free(s);
    s = parse_with(score_file, NULL);
    free(first);
    first = print(s);
    cr_expect_null(strstr(first, "restart"), "a default is not printed");
    spec_free(s);
    free(first);
    free(second);
}

/* --- rows --- */

/* What `rows` of `layers` is, with these options of it and these readers; "": nobody said and nobody decided.
 */
static void expect_rows(const char *options, const char *readers, const char *want)
{
    struct buf text = {0};
    buf_printf(&text,
               "model: mini\nstages:\n  load: {kind: load}\n  tokenize: {kind: tokenize, from: load}\n"
               "  layers: {kind: layers, from: tokenize%s}\n%s",
               options, readers);
    struct spec *s = parse_with(buf_text(&text), NULL);
    const struct spec_option *rows = option(s, "layers", "rows");
    cr_expect_str_eq(rows != NULL ? rows->values[0] : "", want, "%s", buf_text(&text));
    cr_expect(rows == NULL || rows->count == 1);
    spec_free(s);
    buf_fini(&text);
}

#define CLS    "  pool: {kind: pool, from: layers.final, pooling: cls}\n"
#define MEAN   "  pool: {kind: pool, from: layers.final, pooling: mean}\n"
#define SILENT "  pool: {kind: pool, from: layers.final}\n"
#define WRITE  "  write: {kind: write, from: pool}\n"

Test(spec, a_stage_gives_the_first_row_alone_where_all_that_read_it_read_no_more)
{
    expect_rows("", CLS WRITE, "first");
    expect_rows(", split: 2", CLS WRITE, "first");
    expect_rows("",
                CLS "  two: {kind: pool, from: layers.final, pooling: cls}\n" WRITE
                    "  out: {kind: write, from: two}\n",
                "first");
    expect_rows(", rows: all", CLS WRITE, "all");
    expect_rows(", rows: first", SILENT WRITE, "first");
}

Test(spec, a_stage_gives_every_row_to_who_may_need_them)
{
    expect_rows("", MEAN WRITE, "");
    expect_rows("", SILENT WRITE, "");
    expect_rows("", CLS WRITE "  states: {kind: write, from: layers.final}\n", "");
    expect_rows("", CLS WRITE "  score: {kind: score, from: layers}\n  out: {kind: write, from: score}\n",
                "");
    expect_rows("", "  score: {kind: score, from: layers}\n  out: {kind: write, from: score}\n", "");
}

Test(spec, the_command_lines_pooling_decides_which_rows_are_given)
{
    static const char text[] =
        "model: mini\nstages:\n  load: {kind: load}\n  tokenize: {kind: tokenize, from: load}\n"
        "  layers: {kind: layers, from: tokenize}\n" CLS WRITE;
    struct spec_overrides o = {.sets = (const char *const[]){"pool.pooling=mean"}, .set_count = 1};
    struct spec *s = parse_with(text, &o);
    cr_expect_null(option(s, "layers", "rows"));
    spec_free(s);
    o = (struct spec_overrides){.sets = (const char *const[]){"pool.pooling=mean", "layers.rows=first"},
                                .set_count = 2};
    expect_cli_error(text, &o, THEA_EUSAGE,
                     "--set layers.rows=first: stage 'pool' needs every row of 'layers.final', and 'rows: "
                     "first' gives the first of each stream alone");
}

Test(spec, a_spec_printed_and_read_again_is_the_same)
{
    const char *text =
        "name: odd\ndoc: \"a \\\"quote\\\" and $$5\"\nmodel: mini\nenv: {X: 'a: b'}\nstages:\n  load: {kind: "
        "load, paths: ['a b', \"c'd\"]}\n"
        "  more: {kind: load, format: tokens}\n  tokenize: {kind: tokenize, from: load, special: false}\n"
        "  layers: {kind: layers, from: [tokenize, more.tokens], split: 3, feedback: sample, window: 4}\n  "
        "sample: {kind: sample, from: layers, temperature: 1e-1, stop: ['x', \"\\n\"]}\n"
        "  pool: {kind: pool, from: layers}\n  join: {kind: join, from: {vector: pool, states: "
        "layers.final}}\n  write: {kind: write, from: {final: join}}\n";
    struct spec *s = parse_with(text, NULL);
    char *first = print(s);
    spec_free(s);
    s = parse_with(first, NULL);
    char *second = print(s);
    cr_expect_str_eq(first, second);
    cr_expect_not_null(strstr(first, "doc: \"a \\\"quote\\\" and $$5\""), "%s", first);
    cr_expect_not_null(
        strstr(first, "    from: [tokenize.tokens, more.tokens]\n    feedback: sample.token\n"), "%s", first);
    cr_expect_not_null(strstr(first, "model: \"/models/mini\""), "%s", first);
    spec_free(s);
    free(first);
    free(second);
}
