/* Running a pipeline: see launch.h. Nothing is started, and no run directory made, before the file is known
 * to be right. */
#include "bin/thea/support/launch.h"
#include "graph/control/supervise.h"
#include "graph/json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAIN_TIMEOUT_NS ((uint64_t)30 * 1000000000)

/* --- what to run --- */

static thea_rc load_spec(struct spec **spec, const struct launch *l, struct thea_err *err)
{
    char *path = NULL;
    struct diag_list *diags = diag_list_new();
    thea_rc rc = spec_find(&path, l->pipeline, err);
    if (rc == THEA_OK) rc = spec_load(spec, path, &l->overrides, diags, err);
    if (diag_count(diags) > 0) {
        struct buf text = {0};
        diag_print_text(diags, &text, thea_log_colors(STDERR_FILENO));
        fwrite(buf_text(&text), 1, text.len, stderr);
        buf_fini(&text);
    }
    diag_list_free(diags);
    free(path);
    return rc;
}

/* --- how it looks while it runs --- */

static const struct spec_option *find_option(const struct spec_stage *stage, const char *name)
{
    for (size_t i = 0; i < stage->option_count; i++)
        if (strcmp(stage->options[i].name, name) == 0) return &stage->options[i];
    return NULL;
}

static const char *value_of(const struct spec_stage *stage, const char *name, const char *fallback)
{
    const struct spec_option *o = find_option(stage, name);
    return o != NULL && o->count > 0 ? o->values[0] : fallback;
}

static bool reads_port(const struct spec *spec, size_t stage, const char *port)
{
    for (size_t i = 0; i < spec->edge_count; i++)
        if (spec->edges[i].to == stage && strcmp(spec->edges[i].to_port, port) == 0) return true;
    return false;
}

/* Lines that a sink prints as it goes would run into the progress line; a table (of records) comes once, at
 * the end. */
static bool prints_as_it_goes(const struct spec *spec)
{
    for (size_t i = 0; i < spec->stage_count; i++) {
        const struct spec_stage *stage = &spec->stages[i];
        const char *format = value_of(stage, "format", "auto");
        bool table =
            strcmp(format, "table") == 0 || (strcmp(format, "auto") == 0 && reads_port(spec, i, "record"));
        if (stage->sink && strcmp(value_of(stage, "output", "-"), "-") == 0 && !table) return true;
    }
    return false;
}

static struct supervise_options make_options(const struct launch *l, struct rundir *run,
                                             const struct spec *spec)
{
    bool clash = isatty(STDOUT_FILENO) == 1 && prints_as_it_goes(spec);
    return (struct supervise_options){
        .run = run,
        .quiet = l->quiet,
        .progress_line = l->progress == LAUNCH_PROGRESS_AUTO && isatty(STDERR_FILENO) == 1 && !clash,
        .progress_plain = l->progress == LAUNCH_PROGRESS_PLAIN,
        .stdout_fd = STDOUT_FILENO,
        .stdin_fd = STDIN_FILENO,
        .drain_timeout_ns = DRAIN_TIMEOUT_NS,
        .label = spec->name,
        .metrics = l->metrics,
    };
}

/* --- afterwards --- */

static void print_end(const struct launch *l, const struct supervise_result *r, const struct plan *plan,
                      const char *json)
{
    struct buf text = {0};
    if (r->report[0] != '\0') thea_error("%s", r->report);
    if (l->report || (l->summary && !l->quiet && isatty(STDERR_FILENO) == 1 && r->exit_status <= 1))
        supervise_print_times(r, plan, &text);
    if (l->report_json) buf_printf(&text, "%s\n", json);
    if (l->summary && !l->quiet && r->first_failed == SIZE_MAX) { /* else the report has told it */
        supervise_print_summary(r, plan, &text);
        buf_add_char(&text, '\n');
    }
    fwrite(buf_text(&text), 1, text.len, stderr);
    buf_fini(&text);
}

static void save_report(struct rundir *run, const struct json_node *report)
{
    struct thea_err err;
    char *text = json_print(report, 2, 9);
    if (rundir_write(run, "report.json", text, strlen(text), &err) != THEA_OK)
        thea_warning("%s", thea_err_message(&err));
    free(text);
}

static int conclude(const struct launch *l, struct rundir *run, const struct supervise_result *r,
                    const struct plan *plan)
{
    struct json_node *report = supervise_report_json(r, plan);
    char *line = json_print(report, 0, 9);
    save_report(run, report);
    print_end(l, r, plan, line);
    free(line);
    json_free(report);
    return r->exit_status;
}

static int run_plan(const struct launch *l, const struct plan *plan, const struct spec *spec)
{
    struct thea_err err;
    struct rundir run;
    struct supervise_result result = {0};
    int status;
    if (rundir_create(&run, l->run_dir, spec->name, &err) != THEA_OK) return thea_log_failure(&err);
    struct supervise_options options = make_options(l, &run, spec);
    thea_rc rc = rundir_record(&run, plan, l->argc, l->argv, &err);
    if (rc == THEA_OK) thea_info("run directory %s", run.path);
    if (rc == THEA_OK) rc = supervise_run(&result, plan, &options, &err);
    status = rc == THEA_OK ? conclude(l, &run, &result, plan) : thea_log_failure(&err);
    supervise_result_fini(&result);
    rundir_close(&run);
    return status;
}

int launch_pipeline(const struct launch *l)
{
    struct thea_err err = {0};
    struct spec *spec = NULL;
    struct plan *plan = NULL;
    thea_rc rc = load_spec(&spec, l, &err);
    if (rc == THEA_OK) rc = plan_make(&plan, spec, &err);
    int status = rc == THEA_OK ? run_plan(l, plan, spec) : thea_log_failure(&err);
    if (plan != NULL) plan_free(plan);
    if (spec != NULL) spec_free(spec);
    return status;
}
