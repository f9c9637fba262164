/* Running a pipeline: see launch.h. Nothing is started, and no run directory made, before the file is known
 * to be right. */
#include "bin/thea/support/launch.h"
#include "bin/thea/support/detach.h"
#include "graph/control/runs.h"
#include "graph/control/supervise.h"
#include "graph/fault.h"
#include "graph/json.h"

#include <errno.h>
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
        .progress_line =
            !l->detach && l->progress == LAUNCH_PROGRESS_AUTO && isatty(STDERR_FILENO) == 1 && !clash,
        .progress_plain = l->progress == LAUNCH_PROGRESS_PLAIN,
        .stdout_fd = STDOUT_FILENO,
        .stdin_fd = l->detach && isatty(STDIN_FILENO) == 1 ? -1 : STDIN_FILENO,
        .drain_timeout_ns = DRAIN_TIMEOUT_NS,
        .label = spec->name,
        .metrics = l->metrics,
        .resumed = l->resume != NULL,
    };
}

/* --- afterwards --- */

static void print_end(const struct launch *l, const struct supervise_result *r, const struct plan *plan,
                      const char *json)
{
    struct buf text = {0};
    if (r->report[0] != '\0') thea_error("%s", r->report);
    if (l->report || (l->summary && !l->quiet && isatty(STDERR_FILENO) == 1))
        supervise_print_times(r, plan, &text);
    if (l->report_json) buf_printf(&text, "%s\n", json);
    if (l->summary && !l->quiet && r->first_failed == SIZE_MAX) { /* else the report has told it */
        supervise_print_summary(r, plan, &text);
        if (r->resume != NULL) buf_printf(&text, "; %s", r->resume);
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

/* Run it to its end, in the background if asked: then the parent only waits until it has begun. */
static int supervise(const struct launch *l, struct rundir *run, const struct plan *plan,
                     struct json_node *record)
{
    struct thea_err err;
    struct supervise_result result = {0};
    struct detach detached = {.ready = -1};
    int status = 0;
    if (l->detach && detach_run(&detached, run, &status)) {
        json_free(record);
        return status;
    }
    thea_rc rc = record != NULL ? rundir_record_again(run, plan, record, &err)
                                : rundir_record(run, plan, l->argc, l->argv, &err);
    struct supervise_options options = make_options(l, run, plan->spec);
    options.started = l->detach ? detach_ready : NULL;
    options.started_context = &detached;
    if (rc == THEA_OK) thea_info("run directory %s", run->path);
    thea_fault("run.recorded");
    if (rc == THEA_OK) rc = supervise_run(&result, plan, &options, &err);
    status = rc == THEA_OK ? conclude(l, run, &result, plan) : thea_log_failure(&err);
    supervise_result_fini(&result);
    return status;
}

static int run_plan(const struct launch *l, const struct plan *plan, const struct spec *spec)
{
    struct thea_err err;
    struct rundir run;
    if (rundir_create(&run, l->run_dir, spec->name, &err) != THEA_OK) return thea_log_failure(&err);
    int status = supervise(l, &run, plan, NULL);
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

/* --- going on --- */

/* Operands and outputs of the first start are relative to where it was. */
static thea_rc enter_directory(const struct json_node *record, struct thea_err *err)
{
    const char *cwd = json_text_or(record, "cwd", NULL);
    if (cwd == NULL || chdir(cwd) == 0) return THEA_OK;
    return thea_fail(err, THEA_ENOINPUT, "cannot enter %s, where the run was started: %s", cwd,
                     strerror(errno));
}

static int resume_run(const struct launch *l, struct rundir *run)
{
    struct thea_err err = {0};
    struct launch as_before = *l;
    struct json_node *record = NULL;
    struct spec *spec = NULL;
    struct plan *plan = NULL;
    struct buf file = {0};
    bool scaled = false;
    int status;
    buf_printf(&file, "%s/pipeline.yaml", run->path);
    as_before.pipeline = file.data;
    thea_rc rc = rundir_read_record(&record, run, &err);
    if (rc == THEA_OK && !l->mixed) rc = rundir_check_same(record, &err);
    if (rc == THEA_OK) rc = enter_directory(record, &err);
    if (rc == THEA_OK) rc = load_spec(&spec, &as_before, &err);
    if (rc == THEA_OK) rc = rundir_read_replicas(spec, &scaled, run, &err);
    if (rc == THEA_OK) rc = plan_make(&plan, spec, &err);
    if (rc == THEA_OK) rc = rundir_thaw(plan, record, scaled, &err);
    if (rc == THEA_OK) {
        status = supervise(l, run, plan, record);
    } else {
        json_free(record);
        status = thea_log_failure(&err);
    }
    plan_free(plan);
    if (spec != NULL) spec_free(spec);
    buf_fini(&file);
    return status;
}

int launch_resume(const struct launch *l)
{
    struct thea_err err = {0};
    struct runs_entry found = {0};
    struct rundir run;
    thea_rc rc = runs_find(&found, l->resume, &err);
    if (rc == THEA_OK) rc = rundir_open(&run, found.path, &err);
    runs_entry_fini(&found);
    if (rc != THEA_OK) return thea_log_failure(&err);
    int status = 0;
    if (!rundir_is_done(&run))
        status = resume_run(l, &run);
    else if (!l->quiet)
        fprintf(stderr, "%s is done: there is nothing to go on with\n", run.name);
    rundir_close(&run);
    return status;
}
