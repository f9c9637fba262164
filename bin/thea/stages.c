/* thea stages: what kinds there are; one kind's ports and options; the same for editors and for the docs. */
#include "bin/thea/support/command.h"
#include "bin/thea/support/tables.h"
#include "graph/control/kinds.h"

#include <stdio.h>
#include <stdlib.h>

static void add_json_line(struct buf *out, const struct json_node *table, int indent)
{
    char *text = json_print(table, indent, 0);
    buf_printf(out, "%s\n", text);
    free(text);
}

static int print_one(const char *kind, bool json, struct buf *out)
{
    struct thea_err err = {0};
    char *program = NULL;
    const struct json_node *table = NULL;
    thea_rc rc = kind_find(&program, kind, ".", &err);
    if (rc == THEA_ENOINPUT) err.rc = rc = THEA_EUSAGE; /* an unknown kind is a wrong command line */
    if (rc == THEA_OK) rc = kind_describe(&table, program, NULL, &err);
    free(program);
    if (rc != THEA_OK) return thea_log_failure(&err);
    if (json)
        add_json_line(out, table, 0);
    else
        tables_print_kind(table, out);
    return 0;
}

static void print_all(const struct command_args *args, bool json, struct buf *out)
{
    struct tables t;
    tables_load(&t);
    if (command_flag(args, "schema", false)) {
        struct json_node *schema = tables_schema(&t);
        add_json_line(out, schema, 2);
        json_free(schema);
    } else if (command_flag(args, "markdown", false)) {
        tables_print_markdown(&t, out);
    } else if (json) {
        for (size_t i = 0; i < t.count; i++) add_json_line(out, t.tables[i], 0);
    } else {
        tables_print_list(&t, out);
    }
    tables_free(&t);
}

static int run_stages(const struct command_args *args)
{
    struct buf out = {0};
    int status = 0;
    bool json = command_flag(args, "json", false);
    if (args->operand_count > 0)
        status = print_one(args->operands[0], json, &out);
    else
        print_all(args, json, &out);
    fputs(buf_text(&out), stdout);
    buf_fini(&out);
    return status;
}

static const struct command_option options[] = {
    {"json", 0, VALUE_BOOL, NULL, "the tables as JSON, one kind a line", NULL},
    {"schema", 0, VALUE_BOOL, NULL, "the JSON Schema of pipeline files, for editors", NULL},
    {"markdown", 0, VALUE_BOOL, NULL, NULL, NULL}, /* the reference of docs/pipelines.md: docs/update */
    {0},
};

static const char *const examples[] = {
    "thea stages                 the kinds",
    "thea stages layers          ports with dtype and shape, options with type, default and meaning",
    "thea stages --schema        for the YAML plugin of an editor",
    NULL,
};

const struct command command_stages = {
    .name = "stages",
    .operands = "[KIND]",
    .summary = "kinds of stages, their ports and options",
    .description =
        "A kind is a program thea-KIND in THEA_STAGE_PATH, beside thea, or in its libexec folder. What is "
        "printed is\n"
        "what the program says of itself (thea-KIND --describe), so kinds of your own are shown as well.",
    .options = options,
    .examples = examples,
    .min_operands = 0,
    .max_operands = 1,
    .run = run_stages,
};
