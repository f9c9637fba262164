/* What the command line and the environment add to a pipeline, who wins, and mistakes of theirs. */
#include "tests/graph/control/parsing.h"

#include <unistd.h>

TestSuite(spec_set, .init = use_test_kinds);

Test(spec_set, set_changes_adds_and_wins_over_the_file_and_the_last_wins)
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

Test(spec_set, set_reads_yaml_only_after_a_bracket_brace_or_quote)
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

Test(spec_set, model_inputs_output_and_threads_of_the_command_line_win_over_set)
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

Test(spec_set, the_environment_holds_defaults_only)
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

Test(spec_set, mistakes_of_the_command_line_are_usage_errors_that_name_it)
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

Test(spec_set, a_missing_model_of_the_command_line_is_66_and_a_bad_one_65)
{
    expect_cli_error(score_file, &(struct spec_overrides){.model = "nowhere"}, THEA_ENOINPUT,
                     "-m nowhere: model 'nowhere' is not on this machine\n  looked in  /models");
    expect_cli_error(score_file, &(struct spec_overrides){.model = "broken"}, THEA_EDATA,
                     "-m broken: /models/broken/config.json:1:1: not valid JSON");
}

Test(spec_set, inputs_and_output_need_one_stage_that_takes_them)
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
