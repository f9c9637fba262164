/* thea check: all mistakes of pipeline files, also of those inside Markdown. */
#include "bin/thea/support/markdown.h"
#include "bin/thea/support/pipeline.h"
#include "graph/control/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct check {
    const struct spec_overrides *overrides;
    struct diag_list *diags;
    struct buf notes; /* lines about files that are well */
    int status;
};

/* 78 is the answer as soon as one file has it; else the first that is not 0. */
static void add_status(struct check *c, int status)
{
    if (c->status == 0 || status == THEA_ECONFIG) c->status = status;
}

static thea_rc count_processes(const struct spec *spec, size_t *out, struct thea_err *err)
{
    struct plan *plan = NULL;
    thea_rc rc = plan_make(&plan, spec, err);
    if (rc == THEA_OK) *out = plan->process_count;
    plan_free(plan);
    return rc;
}

static void check_yaml(struct check *c, const char *file)
{
    struct thea_err err = {0};
    struct spec *spec = NULL;
    size_t processes = 0, before = diag_count(c->diags);
    thea_rc rc = spec_load(&spec, file, c->overrides, c->diags, &err);
    if (rc == THEA_OK) rc = count_processes(spec, &processes, &err);
    if (rc == THEA_OK) {
        buf_printf(&c->notes, "%s: ok, %zu stage%s, %zu process%s\n", file, spec->stage_count,
                   spec->stage_count == 1 ? "" : "s", processes, processes == 1 ? "" : "es");
    } else {
        bool told = diag_count(c->diags) > before && (rc == THEA_ECONFIG || rc == THEA_EDATA);
        add_status(c, told ? thea_exit_status(rc) : thea_log_failure(&err));
    }
    spec_free(spec);
}

static thea_rc read_file(struct buf *out, const char *path, struct thea_err *err)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return thea_fail(err, errno == ENOENT ? THEA_ENOINPUT : THEA_EIO, "%s: %s", path, strerror(errno));
    size_t got = 0;
    do {
        got = fread(buf_reserve(out, 1 << 16), 1, 1 << 16, file);
        out->len += got;
    } while (got > 0 && out->len < (64u << 20));
    bool bad = ferror(file);
    fclose(file);
    buf_reserve(out, 0);
    out->data[out->len] = '\0';
    return bad ? thea_fail(err, THEA_EIO, "%s: %s", path, strerror(errno)) : THEA_OK;
}

static void check_markdown(struct check *c, const char *file)
{
    struct thea_err err = {0};
    struct buf text = {0};
    if (read_file(&text, file, &err) != THEA_OK) {
        add_status(c, thea_log_failure(&err));
        buf_fini(&text);
        return;
    }
    diag_source(c->diags, file, buf_text(&text), text.len);
    struct markdown_block block;
    size_t at = 0, line = 1, count = 0, bad = 0;
    while (markdown_next(&block, buf_text(&text), &at, &line)) {
        struct spec *spec = NULL;
        thea_rc rc =
            spec_parse(&spec, block.text, block.len, file, block.first_line, c->overrides, c->diags, &err);
        if (rc != THEA_OK && rc != THEA_ECONFIG && rc != THEA_EDATA) thea_log_failure(&err);
        if (rc != THEA_OK) add_status(c, thea_exit_status(rc)), bad++;
        count++;
        spec_free(spec);
    }
    if (bad == 0) buf_printf(&c->notes, "%s: ok, %zu pipeline%s\n", file, count, count == 1 ? "" : "s");
    buf_fini(&text);
}

static int run_check(const struct command_args *args)
{
    struct spec_overrides overrides;
    pipeline_overrides(&overrides, args, args->operand_count);
    struct check c = {.overrides = &overrides, .diags = diag_list_new()};
    const char *format = command_value(args, "format");
    bool json = command_flag(args, "json", false) || (format != NULL && strcmp(format, "json") == 0);
    struct buf out = {0};
    for (size_t i = 0; i < args->operand_count; i++) {
        size_t before = diag_count(c.diags);
        if (markdown_is(args->operands[i]))
            check_markdown(&c, args->operands[i]);
        else
            check_yaml(&c, args->operands[i]);
        pipeline_add_count(&c.notes, c.diags, before, args->operands[i]);
    }
    if (json)
        diag_print_json(c.diags, &out);
    else
        diag_print_text(c.diags, &out, thea_log_colors(STDOUT_FILENO));
    if (!json) buf_add_text(&out, buf_text(&c.notes));
    fputs(buf_text(&out), stdout);
    buf_fini(&out);
    buf_fini(&c.notes);
    diag_list_free(c.diags);
    pipeline_overrides_fini(&overrides);
    return c.status;
}

static const char *const formats[] = {"text", "json", NULL};

static const struct command_option options[] = {
    PIPELINE_OPTIONS,
    {"format", 0, VALUE_CHOICE, "FORM", "text, or json: one diagnostic a line", formats},
    {"json", 0, VALUE_BOOL, NULL, "short for --format json", NULL},
    {0},
};

static const char *const examples[] = {
    "thea check pipelines/*.yaml                   every mistake of each",
    "thea check README.md docs/*.md                the ```yaml pipelines in Markdown",
    "thea check score.yaml --set layers.split=3    as changed",
    "thea check --json score.yaml                  for editors: one JSON object a line",
    NULL,
};

const struct command command_check = {
    .name = "check",
    .operands = "FILE…",
    .summary = "all mistakes of pipeline files, each at its place",
    .description = "Reads pipeline files as `run` would, and starts nothing. Every mistake is told in one "
                   "go, with file,\n"
                   "line and column, the nearest valid name and what is accepted; `thea explain CODE` says "
                   "more. Markdown\n"
                   "files are searched for ```yaml blocks that have a `stages:` key. `-` is stdin. Exits 78 "
                   "on mistakes.",
    .options = options,
    .examples = examples,
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .run = run_check,
};
