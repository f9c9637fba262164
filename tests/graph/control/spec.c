/* Pipelines that are right: what the spec holds, finding and printing them. The command line: spec_set.c;
 * which rows: spec_rows.c; wrong files: bad.c. */
#include "tests/graph/control/parsing.h"

#include "tests/support/run.h"

TestSuite(spec, .init = use_test_kinds);

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
