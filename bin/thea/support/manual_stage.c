/* Man pages of kinds, from `thea-KIND --describe`, and of the pipeline file. */
#include "bin/thea/support/manual.h"
#include "bin/thea/support/tables.h"

#include "graph/control/kinds.h"
#include "graph/control/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void option_page(struct buf *out, const struct json_node *option)
{
    char name[128];
    snprintf(name, sizeof name, "--%s", json_text_or(option, "name", ""));
    for (char *p = name; *p != '\0'; p++) *p = (char)(*p == '_' ? '-' : *p);
    buf_add_text(out, ".TP\n.B ");
    manual_roff_text(out, name);
    buf_printf(out, " \\fI%s\\fR", json_text_or(option, "type", ""));
    const char *def = json_text(json_member(option, "default"), NULL);
    if (def != NULL && def[0] != '\0') {
        buf_add_text(out, " (default ");
        manual_roff_text(out, def);
        buf_add_char(out, ')');
    }
    buf_add_char(out, '\n');
    manual_roff_text(out, json_text_or(option, "meaning", ""));
    const struct json_node *choices = json_member(option, "choices");
    for (size_t i = 0; i < json_count(choices); i++) {
        buf_add_text(out, i == 0 ? "; one of " : ", ");
        manual_roff_text(out, json_text(json_item(choices, i), NULL));
    }
    buf_add_char(out, '\n');
}

static void port_page(struct buf *out, const struct json_node *port)
{
    buf_printf(out, ".TP\n.B %s\n%s [", json_text_or(port, "name", ""), json_text_or(port, "dtype", ""));
    const struct json_node *shape = json_member(port, "shape");
    for (size_t i = 0; i < json_count(shape); i++) {
        const struct json_node *dim = json_item(shape, i);
        if (json_kind(dim) == JSON_INT_)
            buf_printf(out, "%s%lld", i == 0 ? "" : ", ", (long long)json_int(dim));
        else
            buf_printf(out, "%s%s", i == 0 ? "" : ", ",
                       json_text(dim, NULL) != NULL ? json_text(dim, NULL) : "?");
    }
    buf_add_text(out, "] ");
    manual_roff_text(out, json_text_or(port, "meaning", ""));
    buf_add_char(out, '\n');
}

static void list_section(struct buf *out, const char *title, const struct json_node *list,
                         void (*page)(struct buf *, const struct json_node *))
{
    if (json_count(list) == 0) return;
    buf_printf(out, ".SH %s\n", title);
    for (size_t i = 0; i < json_count(list); i++) page(out, json_item(list, i));
}

static void example_page(struct buf *out, const struct json_node *example)
{
    buf_add_text(out, ".nf\n");
    manual_roff_text(out, json_text(example, NULL) != NULL ? json_text(example, NULL) : "");
    buf_add_text(out, "\n.fi\n");
}

/* " [PATH...]" for a kind whose operands fill an option, as its --help says it. */
static const char *operands_of(const struct json_node *table)
{
    const struct json_node *options = json_member(table, "options");
    for (size_t i = 0; i < json_count(options); i++)
        if (tables_flag(json_item(options, i), "operands")) return " [PATH...]";
    return "";
}

thea_rc manual_man_kind(struct buf *out, const char *kind, struct thea_err *err)
{
    char *program = NULL;
    const struct json_node *table = NULL;
    thea_rc rc = kind_find(&program, kind, ".", err);
    if (rc == THEA_OK) rc = kind_describe(&table, program, NULL, err);
    free(program);
    if (rc != THEA_OK) return rc;
    char title[96], name[96];
    snprintf(name, sizeof name, "thea-%s", kind);
    snprintf(title, sizeof title, "%s", name);
    for (char *p = title; *p != '\0'; p++) *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    manual_roff_head(out, title, "1", name, json_text_or(table, "summary", ""));
    buf_printf(
        out,
        ".SH SYNOPSIS\n.B thea %s\n[OPTION...]%s\n.SH DESCRIPTION\nA stage: frames on stdin, frames on "
        "stdout, or over links"
        " (\\-\\-in PORT=ADDRESS, \\-\\-out PORT=ADDRESS) as \\fBthea plan\\fR prints them.\n",
        kind, operands_of(table));
    list_section(out, "INPUTS", json_member(table, "inputs"), port_page);
    list_section(out, "OUTPUTS", json_member(table, "outputs"), port_page);
    list_section(out, "OPTIONS", json_member(table, "options"), option_page);
    list_section(out, "EXAMPLES", json_member(table, "examples"), example_page);
    buf_add_text(out, ".SH SEE ALSO\n.BR thea (1),\n.BR thea-pipeline (5)\n");
    return THEA_OK;
}

/* A key of every stage, as pipeline files have it. */
static void key_page(struct buf *out, const struct json_node *option)
{
    const char *def = json_text(json_member(option, "default"), NULL);
    const struct json_node *choices = json_member(option, "choices");
    buf_add_text(out, ".TP\n.B ");
    manual_roff_text(out, json_text_or(option, "name", ""));
    if (def != NULL) {
        buf_add_text(out, " (default ");
        manual_roff_text(out, def);
        buf_add_char(out, ')');
    }
    buf_add_char(out, '\n');
    manual_roff_text(out, json_text_or(option, "meaning", ""));
    for (size_t i = 0; i < json_count(choices); i++) {
        buf_add_text(out, i == 0 ? "; one of " : ", ");
        manual_roff_text(out, json_text(json_item(choices, i), NULL));
    }
    buf_add_char(out, '\n');
}

void manual_man_pipeline(struct buf *out)
{
    manual_roff_head(out, "THEA-PIPELINE", "5", "thea-pipeline", "pipeline files of thea");
    buf_add_text(out, ".SH DESCRIPTION\nA pipeline is a YAML map with the keys \\fBname\\fR, \\fBdoc\\fR, "
                      "\\fBmodel\\fR, \\fBenv\\fR, \\fBdefaults\\fR and \\fBstages\\fR."
                      " Each stage has a name, a \\fBkind\\fR, and reads \\fBfrom\\fR other stages:\n.nf\n");
    manual_roff_text(
        out,
        "\nname: score\nmodel: thea-mini\nstages:\n  load:     {kind: load, paths: [\"docs/**/*.md\"]}\n"
        "  tokenize: {kind: tokenize, from: load}\n  layers:   {kind: layers, from: tokenize, split: 2}\n"
        "  score:    {kind: score, from: layers, top: 10}\n  write:    {kind: write, from: score}\n");
    buf_add_text(
        out, ".fi\n.SH KEYS OF EVERY STAGE\n"
             ".TP\n.B kind\nwhat runs: a kind (thea stages), or the path of a program\n"
             ".TP\n.B from\na stage, stage.port, a list of them (different streams into one input), or a map "
             "of input to stage.port (inputs of one stream)\n"
             ".TP\n.B feedback\nthe one edge that may point back: stage or stage.port\n"
             ".TP\n.B env\na map of environment variables\n"
             ".TP\n.B split\nparts to cut a stage into, for kinds that have blocks\n");
    const struct json_node *common = spec_common_options();
    for (size_t i = 0; i < json_count(common); i++) key_page(out, json_item(common, i));
    buf_add_text(
        out, ".PP\nEvery other key is an option of the kind: \\fBthea stages KIND\\fR lists them.\n"
             ".SH VALUES\nSizes are written 64MiB, times 250ms, 30s, 5m, ranges 0\\-7, 8\\-, 3. Paths are "
             "relative to the file."
             " ${VAR} and ${VAR:\\-default} stand for environment variables, $$ for a dollar.\n"
             ".SH SEE ALSO\n.BR thea\\-check (1),\n.BR thea\\-run (1),\n.BR thea\\-stages (1)\n");
}
