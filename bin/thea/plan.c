/* thea plan: the command line of every process, as shell text that runs the pipeline when it is pasted. */
#include "graph/control/plan.h"

#include "bin/thea/support/pipeline.h"

#include <stdio.h>

static int run_plan(const struct command_args *args)
{
    struct spec_overrides overrides;
    struct thea_err err = {0};
    struct spec *spec = NULL;
    struct plan *plan = NULL;
    struct buf out = {0};
    pipeline_overrides(&overrides, args, 1);
    int status = pipeline_load(&spec, args->operands[0], &overrides);
    if (status == 0 && plan_make(&plan, spec, &err) != THEA_OK) status = thea_log_failure(&err);
    if (status == 0) {
        plan_print_shell(plan, &out);
        fputs(buf_text(&out), stdout);
    }
    buf_fini(&out);
    plan_free(plan);
    spec_free(spec);
    pipeline_overrides_fini(&overrides);
    return status;
}

static const struct command_option options[] = {
    PIPELINE_OPTIONS,
    {"output", 'o', VALUE_PATH, "FILE", "`output` of the only stage that has one", NULL},
    {"threads", 0, VALUE_INT, "N", "threads of every stage", NULL},
    {0},
};

static const char *const examples[] = {
    "thea plan score                            the processes of pipelines/score.yaml",
    "thea plan score --set layers.split=4       cut in four, blocks shared out by cost",
    "thea plan score ~/notes -m DIR             other inputs, another model",
    NULL,
};

const struct command command_plan = {
    .name = "plan",
    .operands = "FILE|NAME [INPUT…]",
    .summary = "every process's command line, as shell",
    .description =
        "Prints what `run` would start: one command line a process, with the addresses of its links. Type "
        "each into\n"
        "a terminal of its own, in any order, and the pipeline runs. Each call makes new addresses.",
    .options = options,
    .examples = examples,
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .run = run_plan,
};
