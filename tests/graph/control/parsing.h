/* What the tests of specs share: pipelines of the kinds in tests/support/kinds, read as a file's text. */
#ifndef TESTS_GRAPH_CONTROL_PARSING_H
#define TESTS_GRAPH_CONTROL_PARSING_H

#include "graph/control/spec.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((unused)) static void use_test_kinds(void)
{
    setenv("THEA_STAGE_PATH", THEA_SOURCE_DIR "/tests/support/kinds", 1);
    unsetenv("THEA_MODEL");
    unsetenv("THEA_THREADS");
}

__attribute__((unused)) static const char score_file[] =
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

__attribute__((unused)) static struct spec *parse_with(const char *text, const struct spec_overrides *o)
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

__attribute__((unused)) static void expect_cli_error(const char *text, const struct spec_overrides *o,
                                                     thea_rc want, const char *message)
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

__attribute__((unused)) static const struct spec_option *option(const struct spec *s, const char *stage,
                                                                const char *name)
{
    for (size_t i = 0; i < s->stage_count; i++)
        for (size_t k = 0; strcmp(s->stages[i].name, stage) == 0 && k < s->stages[i].option_count; k++)
            if (strcmp(s->stages[i].options[k].name, name) == 0) return &s->stages[i].options[k];
    return NULL;
}

#endif
