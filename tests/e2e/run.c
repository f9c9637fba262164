/* `thea run` and `thea generate` from the outside: what they print where, their statuses, what stays in the
 * run directory. */
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_S = RUN_LIMIT_S };

static char *dir;
static struct run_result r;

static void enter(void)
{
    dir = run_temp_dir();
    char runs[256];
    snprintf(runs, sizeof runs, "%s/runs", dir);
    setenv("THEA_RUNS", runs, 1);
    r = (struct run_result){0};
}

static void leave(void)
{
    run_result_fini(&r);
    free(dir);
}

TestSuite(run, .init = enter, .fini = leave);
TestSuite(generate, .init = enter, .fini = leave);

static const char *out(void)
{
    return buf_text(&r.out);
}
static const char *err(void)
{
    return buf_text(&r.err);
}

static void expect_status(int status)
{
    cr_assert_eq(r.status, status, "status %d, expected %d\n%s%s", r.status, status, out(), err());
}

static void expect_in(const char *text, const char *part)
{
    cr_expect_not_null(strstr(text, part), "'%s' is not in:\n%s", part, text);
}

static void expect_not_in(const char *text, const char *part)
{
    cr_expect_null(strstr(text, part), "'%s' is in:\n%s", part, text);
}

#define SHELL(...) run_shell(&r, dir, LIMIT_S, __VA_ARGS__)
#define TWO_FILES  "echo 'One file about stages and frames.' > a.md; echo 'Another one, about links.' > b.md; "

static struct json_node *read_json(const char *name)
{
    struct json_node *node = NULL;
    struct thea_err e;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    cr_assert_eq(json_read_file(&node, path, 1 << 22, &e), THEA_OK, "%s", e.message);
    return node;
}

/* --- run --- */

Test(run, writes_the_result_on_stdout_and_a_summary_on_stderr)
{
    SHELL(TWO_FILES "thea run score a.md b.md");
    expect_status(0);
    expect_in(out(), "\"id\":");
    expect_in(out(), "a.md");
    expect_in(out(), "b.md");
    expect_in(err(), "score: 2 documents, ");
    expect_in(err(), " tokens/s");
    expect_not_in(err(), "starved"); /* the table is for terminals and --report */
}

Test(run, says_nothing_on_stderr_when_quiet)
{
    SHELL(TWO_FILES "thea run -q score a.md b.md >/dev/null");
    expect_status(0);
    cr_expect_str_eq(err(), "");
}

Test(run, writes_to_a_file_and_keeps_logs_reports_and_the_resolved_pipeline_in_its_directory)
{
    SHELL(TWO_FILES "thea run score a.md b.md -o out.jsonl --run-dir here && cat out.jsonl && ls here "
                    "here/logs && ls -ld here | cut -c1-10");
    expect_status(0);
    expect_in(out(), "a.md");
    expect_in(out(), "\nlogs\n");
    expect_in(out(), "pipeline.yaml\nreport.json\nrun.json\n");
    expect_in(out(), "here:\nepoch\n");
    expect_in(out(), "layers.p0.log\nlayers.p1.log\nload.log\n");
    expect_in(out(), "drwx------");
    struct json_node *report = read_json("here/report.json");
    cr_expect(json_bool_or(report, "completed", false));
    cr_expect_eq(json_int_or(report, "documents", 0), 2);
    const struct json_node *links = json_member(report, "links");
    cr_expect_eq(json_count(links), 5);
    for (size_t i = 0; i < json_count(links); i++) {
        const struct json_node *sent = json_path(json_item(links, i), "sent.frames");
        cr_expect_gt(json_int(sent), 0);
        cr_expect_eq(json_int(sent), json_int(json_path(json_item(links, i), "received.frames")));
    }
    json_free(report);
    struct json_node *record = read_json("here/run.json");
    cr_expect_str_eq(json_text(json_path(record, "stages.layers.options.chunk.from"), NULL), "given");
    json_free(record);
}

Test(run, the_resolved_pipeline_in_the_run_directory_runs_again_with_the_same_result)
{
    SHELL(
        TWO_FILES
        "thea run -q score a.md b.md --run-dir here > first && thea run -q here/pipeline.yaml | cmp - first");
    expect_status(0);
}

Test(run, reads_standard_input_as_a_document)
{
    SHELL("echo 'Text from a pipe.' | thea run score -");
    expect_status(0);
    expect_in(err(), "score: 1 document, ");
}

Test(run, takes_values_for_options_from_the_command_line)
{
    SHELL(TWO_FILES
          "thea run -q score a.md b.md --set write.format=tsv --set layers.split=1 --set layers.chunk=3");
    expect_status(0);
    expect_in(out(), "\t");
    expect_not_in(out(), "{");
}

Test(run, tells_where_the_time_went_when_asked)
{
    SHELL(TWO_FILES "thea run score a.md b.md --report");
    expect_status(0);
    expect_in(err(), "stage     processes  busy  starved  blocked  peak RSS   starved: waits for input\n");
    expect_in(err(), "layers            2");
    expect_in(err(), "<- the bottleneck");
}

Test(run, gives_its_report_as_one_line_of_json)
{
    SHELL(
        TWO_FILES
        "thea run score a.md b.md --report=json 2>&1 >/dev/null | grep '^{' > line.json; wc -l < line.json");
    expect_status(0);
    expect_in(out(), "1\n");
    struct json_node *report = read_json("line.json");
    cr_expect_gt(json_int_or(report, "tokens", 0), 0);
    cr_expect_eq(json_count(json_member(report, "processes")), 6);
    json_free(report);
}

Test(run, names_skipped_files_in_a_warning_and_in_the_summary)
{
    SHELL(TWO_FILES "printf 'bad \\377 byte' > c.md; thea run score a.md b.md c.md >/dev/null");
    expect_status(0);
    expect_in(err(), "warning:");
    expect_in(err(), "c.md");
    expect_in(err(), "score: 2 documents, 1 skipped (");
}

Test(run, of_a_wrong_pipeline_shows_every_mistake_and_starts_nothing)
{
    SHELL("printf 'stages:\\n  load: {kind: load, pathz: [x]}\\n  write: {kind: wrte, from: load}\\n' > "
          "w.yaml; thea run w.yaml; s=$?; [ -e runs ] && echo made; exit $s");
    expect_status(78);
    expect_in(err(), "w.yaml:2:22: error[");
    expect_in(err(), "did you mean 'paths'?");
    expect_in(err(), "w.yaml:3:");
    cr_expect_str_eq(out(), "");
}

Test(run, of_an_unknown_pipeline_names_the_nearest)
{
    SHELL("thea run scroe a.md");
    expect_status(66);
    expect_in(err(), "score");
}

Test(run, without_a_pipeline_says_how_it_is_called)
{
    SHELL("thea run");
    expect_status(64);
    expect_in(err(), "thea run [OPTION");
}

Test(run, of_inputs_that_are_missing_fails_and_names_the_stage_and_the_file)
{
    SHELL("thea run score missing.md");
    expect_status(66);
    expect_in(err(), "stage load (pid ");
    expect_in(err(), "missing.md");
}

Test(run, with_a_directory_that_holds_a_run_is_refused_with_a_hint)
{
    SHELL(TWO_FILES
          "thea run -q score a.md --run-dir here >/dev/null && thea run -q score a.md --run-dir here");
    expect_status(64);
    expect_in(err(), "holds a run that has ended");
    expect_in(err(), "go on with it: thea run --resume ");
    expect_in(err(), "rm -r ");
}

Test(run, with_no_place_for_its_directory_says_what_to_set)
{
    SHELL(TWO_FILES "THEA_RUNS=a.md/x thea run score a.md");
    expect_status(73);
    expect_in(err(), "set THEA_RUNS");
}

Test(run, with_a_wrong_number_of_threads_is_refused)
{
    SHELL(TWO_FILES "thea run score a.md --threads 0");
    expect_status(64);
    expect_in(err(), "--threads");
}

/* --- generate --- */

Test(generate, prints_the_prompt_and_its_continuation)
{
    SHELL("thea generate --greedy --max-tokens 12 'The pipeline reads'");
    expect_status(0);
    cr_expect_eq(strncmp(out(), "The pipeline reads", 18), 0, "%s", out());
    cr_expect_gt(strlen(out()), 24, "%s", out());
    cr_expect_str_eq(err(), "");
}

Test(generate, prints_the_continuation_alone_without_echo)
{
    SHELL("thea generate --greedy --max-tokens 12 'The pipeline reads' > with; thea generate --no-echo "
          "--greedy --max-tokens 12 'The pipeline reads' > without;"
          "printf 'The pipeline reads' | cat - without | cmp - with");
    expect_status(0);
}

Test(generate, takes_standard_input_as_the_prompt)
{
    SHELL("printf 'The pipeline reads' | thea generate --greedy --max-tokens 12 > piped; thea generate "
          "--greedy --max-tokens 12 'The pipeline reads' | cmp - piped");
    expect_status(0);
}

Test(generate, takes_a_prompt_for_what_it_is_whatever_characters_it_has)
{
    SHELL("thea generate --greedy --max-tokens 2 '[\"a\", ${HOME} $$ {b: \\n}'");
    expect_status(0);
    expect_in(out(), "[\"a\", ${HOME} $$ {b: \\n}");
}

Test(generate, repeats_itself_with_the_same_seed)
{
    SHELL("for i in 1 2; do thea generate --seed 7 --temperature 1 --max-tokens 20 'A frame' > $i; done; cmp "
          "1 2");
    expect_status(0);
}

Test(generate, without_a_prompt_on_a_terminal_says_how_it_is_called)
{
    SHELL("script -qec 'thea generate' /dev/null </dev/null");
    expect_status(64);
    expect_in(out(), "no prompt");
}

Test(generate, with_a_wrong_value_names_the_option)
{
    SHELL("thea generate --top-k many x");
    expect_status(64);
    expect_in(err(), "--top-k");
}

Test(generate, with_an_unknown_model_says_where_it_looked)
{
    SHELL("thea generate -m no-such-model x");
    cr_expect(r.status == 66 || r.status == 78, "%d", r.status);
    expect_in(err(), "no-such-model");
}
