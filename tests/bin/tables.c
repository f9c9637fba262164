/* What is made from the kinds' tables: the checked-in schema and reference are those of this build; stages,
 * explain, graph, check as users see them. */
#include "graph/buf.h"
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_source(const char *name)
{
    struct buf path = {0}, text = {0};
    buf_printf(&path, "%s/%s", run_source_dir(), name);
    FILE *f = fopen(buf_text(&path), "r");
    cr_assert_not_null(f, "%s", buf_text(&path));
    for (int c; (c = getc(f)) != EOF;) buf_add_char(&text, (char)c);
    fclose(f);
    buf_fini(&path);
    return buf_take(&text);
}

static struct run_result thea(int status, const char *command)
{
    struct run_result r = {0};
    run_shell(&r, NULL, RUN_LIMIT_S, "unset THEA_MODEL THEA_THREADS; %s", command);
    cr_expect_eq(r.status, status, "%s: status %d\n%s%s", command, r.status, buf_text(&r.out),
                 buf_text(&r.err));
    return r;
}

static void expect_in(const struct buf *text, const char *part)
{
    cr_expect_not_null(strstr(buf_text(text), part), "no '%s' in:\n%s", part, buf_text(text));
}

Test(tables, the_checked_in_schema_is_that_of_the_kinds)
{
    char *want = read_source("docs/pipeline.schema.json");
    struct run_result r = thea(0, "unset THEA_STAGE_PATH; thea stages --schema");
    cr_expect(strcmp(buf_text(&r.out), want) == 0,
              "docs/pipeline.schema.json is not current: docs/update build/dev/bin/thea");
    run_result_fini(&r);
    free(want);
}

Test(tables, the_reference_in_the_docs_is_that_of_the_kinds)
{
    char *page = read_source("docs/pipelines.md"),
         *begin = strstr(page, "<!-- reference: written by docs/update -->\n\n");
    cr_assert_not_null(begin);
    begin = strchr(begin, '\n') + 2;
    char *end = strstr(begin, "\n<!-- end of the reference -->");
    cr_assert_not_null(end);
    *end = '\0';
    struct run_result r = thea(0, "unset THEA_STAGE_PATH; thea stages --markdown");
    cr_expect(strcmp(buf_text(&r.out), begin) == 0,
              "docs/pipelines.md is not current: docs/update build/dev/bin/thea");
    run_result_fini(&r);
    free(page);
}

Test(tables, the_pipelines_and_those_in_the_docs_are_right)
{
    struct run_result r = thea(0, "thea check pipelines/*.yaml docs/*.md README.md");
    expect_in(&r.out, "docs/pipelines.md: ok, 1 pipeline\n");
    expect_in(&r.out, "pipelines/score.yaml: ok, 5 stages, 6 processes\n");
    run_result_fini(&r);
}

Test(tables, the_schema_knows_every_option_and_nothing_else)
{
    struct run_result r = thea(0, "thea stages --schema");
    struct json_node *schema = NULL;
    cr_assert_eq(json_parse(&schema, buf_text(&r.out), r.out.len, "schema", NULL), THEA_OK);
    const struct json_node *layers = json_path(schema, "$defs.layers");
    cr_expect_not(json_bool(json_member(layers, "additionalProperties")));
    cr_expect(json_member(layers, "additionalProperties") != NULL);
    cr_expect_not_null(json_path(layers, "properties.chunk"));
    cr_expect_not_null(json_path(layers, "properties.feedback"));
    cr_expect_null(json_path(layers, "properties.emit"), "an option of the command line alone");
    cr_expect_null(json_path(schema, "$defs.load.properties.from"), "a source reads nothing");
    cr_expect_not_null(json_path(schema, "$defs.write.properties.from"));
    json_free(schema);
    run_result_fini(&r);
}

Test(tables, stages_lists_kinds_and_shows_one)
{
    struct run_result r = thea(0, "thea stages");
    expect_in(&r.out, "layers       blocks of a model");
    run_result_fini(&r);
    r = thea(0, "thea stages layers");
    expect_in(&r.out, "layers: blocks of a model, with the embedding, final norm and head that belong to "
                      "them\nin   tokens    i32 [n] ");
    expect_in(&r.out,
              "\nchunk          integer    512       positions in one frame (1 to 65536 positions)\n");
    run_result_fini(&r);
    r = thea(64, "thea stages layrs");
    expect_in(&r.err, "unknown kind 'layrs' (did you mean 'layers'?)");
    run_result_fini(&r);
}

Test(tables, stages_json_is_the_tables_one_a_line)
{
    struct run_result r = thea(0, "thea stages --json");
    size_t lines = 0;
    for (char *at = r.out.data, *end; (end = strchr(at, '\n')) != NULL; at = end + 1, lines++) {
        struct json_node *table = NULL;
        cr_assert_eq(json_parse(&table, at, (size_t)(end - at), "line", NULL), THEA_OK);
        cr_expect_not_null(json_member(table, "kind"));
        json_free(table);
    }
    cr_expect_geq(lines, 8);
    run_result_fini(&r);
}

Test(tables, a_kind_that_does_not_answer_is_left_out_with_a_warning)
{
    struct run_result r = thea(0, "THEA_STAGE_PATH=tests/support/kinds/broken thea stages");
    expect_in(&r.err, "warning: kind 'crash' is left out: no libfoo.so");
    expect_in(&r.out, "layers ");
    run_result_fini(&r);
}

Test(tables, explain_prints_a_page_or_all_codes)
{
    struct run_result r = thea(0, "thea explain E061");
    expect_in(&r.out, "E061: the types differ\n");
    run_result_fini(&r);
    r = thea(0, "thea explain e21");
    expect_in(&r.out, "E021: an unknown option of a stage\n");
    run_result_fini(&r);
    r = thea(0, "thea explain");
    expect_in(&r.out, "\nE066  a cycle\n");
    run_result_fini(&r);
    r = thea(64, "thea explain E999");
    expect_in(&r.err, "no code 'E999'");
    run_result_fini(&r);
}

Test(tables, graph_draws_stages_edges_and_feedback)
{
    struct run_result r = thea(0, "thea graph score");
    expect_in(&r.out, "\"layers\" [label=\"layers\\n2 parts\", peripheries=2];");
    expect_in(&r.out, "\"layers\" -> \"score\" [label=\"nll\\nf32 [n]\"];");
    run_result_fini(&r);
    r = thea(0, "thea graph generate --format mermaid");
    expect_in(&r.out, "flowchart LR\n");
    expect_in(&r.out, "  s3 -.->|\"token<br>i32 [1]\"| s2\n");
    run_result_fini(&r);
    r = thea(64, "thea graph score --format svg");
    expect_in(&r.err, "dot, mermaid");
    run_result_fini(&r);
    r = thea(66, "thea graph scroe");
    expect_in(&r.err, "no pipeline 'scroe' (did you mean 'score'?)");
    run_result_fini(&r);
}

/* --- check, beyond the wrong files of tests/goldens/pipelines --- */

Test(check, markdown_has_its_own_line_numbers)
{
    struct run_result r = thea(
        78, "cd $(mktemp -d) && printf '# T\\n\\n```yaml\\nnot: a pipeline\\n```\\n~~~~yaml\\nstages:\\n  "
            "load: {kind: load, pahts: x}\\n~~~~\\n' > a.md && thea check a.md; s=$?; rm -r $PWD; exit $s");
    expect_in(&r.out, "a.md:8:22: error[E021]: stage 'load': unknown option 'pahts' (did you mean "
                      "'paths'?)\n  8 |   load: {kind: load, pahts: x}\n");
    expect_in(&r.out, "1 error in a.md (thea explain E021)\n");
    run_result_fini(&r);
}

Test(check, stdin_is_a_dash_and_several_files_are_all_checked)
{
    struct run_result r =
        thea(78, "echo 'stages: {a: {kind: nope}}' | thea check pipelines/score.yaml - pipelines/embed.yaml");
    expect_in(&r.out, "-:1:20: error[E045]: stage 'a': unknown kind 'nope'\n");
    expect_in(&r.out, "pipelines/embed.yaml: ok");
    run_result_fini(&r);
}

Test(check, a_missing_file_is_66_and_a_wrong_set_64)
{
    struct run_result r = thea(66, "thea check nowhere.yaml");
    expect_in(&r.err, "nowhere.yaml: No such file or directory");
    run_result_fini(&r);
    r = thea(64, "thea check pipelines/score.yaml --set layers.chunk=x");
    expect_in(&r.err, "--set layers.chunk=x: stage 'layers': chunk: 'x' is not an integer");
    run_result_fini(&r);
    r = thea(66, "thea check pipelines/score.yaml -m nowhere");
    expect_in(&r.err, "model 'nowhere' is not on this machine");
    run_result_fini(&r);
}

Test(check, json_is_one_diagnostic_a_line)
{
    struct run_result r = thea(78, "printf 'stages:\\n  a: {kind: load, zzz: 1}\\n' | thea check --json -");
    struct json_node *node = NULL;
    cr_assert_eq(json_parse(&node, buf_text(&r.out), r.out.len - 1, "line", NULL), THEA_OK, "%s",
                 buf_text(&r.out));
    cr_expect_str_eq(json_text_or(node, "code", ""), "E021");
    cr_expect_eq(json_int(json_path(node, "range.start.line")), 1);
    json_free(node);
    run_result_fini(&r);
}

/* --- plan --- */

Test(plan, its_lines_pasted_into_shells_run_the_pipeline)
{
    struct run_result planned =
        thea(0, "thea plan score --set load.paths=docs/architecture.md --set write.format=jsonl");
    struct run_result r = {0};
    struct buf script = {0};
    for (const char *at = buf_text(&planned.out); *at != '\0';
         at++) { /* each command in the background, as if in a terminal of its own */
        bool ends = *at == '\n' && at > planned.out.data && at[-1] != '\\';
        if (ends && script.len > 0) buf_add_text(&script, " &");
        buf_add_char(&script, *at);
    }
    buf_add_text(&script, "wait\n");
    char *commands = strchr(script.data, '\n') + 1; /* after the comment */
    setenv("THEA_TEST_SCRIPT", commands, 1);
    run_shell(&r, NULL, RUN_LIMIT_S, "eval \"$THEA_TEST_SCRIPT\"");
    cr_expect_eq(r.status, 0, "%s", buf_text(&r.err));
    expect_in(&r.out, "{\"id\": \"docs/architecture.md\", ");
    cr_expect_eq(r.err.len, 0, "%s", buf_text(&r.err));
    run_result_fini(&r);
    run_result_fini(&planned);
    buf_fini(&script);
}

Test(tables, doctor_says_whether_tensors_can_be_read_in_place)
{
    struct run_result r = thea(0, "thea doctor --json");
    struct json_node *items = NULL;
    const char *found = NULL;
    cr_assert_eq(json_parse(&items, buf_text(&r.out), r.out.len, "doctor", NULL), THEA_OK);
    for (size_t i = 0; i < json_count(items); i++)
        if (strcmp(json_text_or(json_item(items, i), "what", ""), "regions") == 0)
            found = json_text_or(json_item(items, i), "found", "");
    cr_assert_not_null(found);
    cr_expect_str_eq(found, "tensors are read in place by the next stage");
    json_free(items);
    run_result_fini(&r);
}
