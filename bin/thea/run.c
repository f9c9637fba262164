/* thea run: a pipeline, from its file to its sink's output. */
#include "bin/thea/support/launch.h"

#include <stdlib.h>
#include <string.h>

static const char *const progress_choices[] = {"auto", "plain", "off", NULL};
static const char *const report_choices[] = {"text", "json", NULL};

static const struct command_option run_options[] = {
    {"model", 'm', VALUE_MODEL, "MODEL", "the pipeline's model: a name or a directory", NULL},
    {"output", 'o', VALUE_PATH, "FILE", "output of the only stage that writes; - is standard output", NULL},
    {"set", 0, VALUE_TEXT, "KEY=VALUE", "STAGE.option=value, or model=NAME; repeatable, the last wins", NULL},
    {"threads", 0, VALUE_INT, "N", "threads of each stage", NULL},
    {"run-dir", 0, VALUE_PATH, "DIR", "where logs and reports go: a new directory", NULL},
    {"report", 0, VALUE_CHOICE, "[=json]", "where the time went, also without a terminal; =json: one line",
     report_choices},
    {"metrics", 0, VALUE_TEXT, "HOST:PORT",
     "a live page and Prometheus metrics there, on loopback; port 0: any free one", NULL},
    {"progress", 0, VALUE_CHOICE, "WHEN",
     "auto: one line if stderr is a terminal; plain: a line every 10 s; off", progress_choices},
    {"detach", 'd', VALUE_BOOL, NULL, "run in the background; prints the run's name", NULL},
    {"resume", 0, VALUE_TEXT, "RUN", "go on with a run that was broken off", NULL},
    {"mixed", 0, VALUE_BOOL, NULL, "--resume also on another CPU or version of thea", NULL},
    {0},
};

static const char *const run_examples[] = {
    "thea run score notes/*.md   bits per byte of these files",
    "thea run score --set write.rows=0 --report   all rows, and where the time went",
    "thea run embed docs/ -m MODEL -o vectors.npy   one vector a document",
    "thea run --resume score-20261122-031012   go on after a crash, a reboot, Ctrl-C",
    NULL,
};

static int run_threads(const struct command_args *args, int *threads)
{
    const char *text = command_value(args, "threads");
    struct value value;
    struct value_limits limits = {1, 1024, NULL};
    struct thea_err err;
    if (text == NULL) return 0;
    if (value_parse(&value, VALUE_INT, &limits, text, &err) != THEA_OK) {
        thea_error("run: --threads: %s", thea_err_message(&err));
        return THEA_EUSAGE;
    }
    *threads = (int)value.integer;
    return 0;
}

/* A run goes on as it was begun. */
static int refuse_changes(const struct command_args *args)
{
    static const char *const fixed[] = {"model", "output", "set", "threads", "run-dir"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        if (command_value(args, fixed[i]) == NULL) continue;
        thea_error("run: --%s cannot be changed by --resume: a run goes on as it was begun", fixed[i]);
        return THEA_EUSAGE;
    }
    if (args->operand_count == 0) return 0;
    thea_error("run: --resume takes no pipeline and no inputs: a run goes on as it was begun\n"
               "  found  %s",
               args->operands[0]);
    return THEA_EUSAGE;
}

static launch_progress progress_of(const struct command_args *args)
{
    const char *word = command_value(args, "progress");
    if (word == NULL || strcmp(word, "auto") == 0) return LAUNCH_PROGRESS_AUTO;
    return strcmp(word, "plain") == 0 ? LAUNCH_PROGRESS_PLAIN : LAUNCH_PROGRESS_OFF;
}

static int run_run(const struct command_args *args)
{
    int threads = 0;
    const char *report = command_value(args, "report");
    const char *resume = command_value(args, "resume");
    if (resume == NULL && args->operand_count == 0) {
        thea_error("run: which pipeline?\n  usage  thea run [OPTION…] FILE|NAME [INPUT…]");
        return THEA_EUSAGE;
    }
    int status = resume != NULL ? refuse_changes(args) : run_threads(args, &threads);
    if (status != 0) return status;
    size_t set_count;
    const char **sets = command_all_values(args, "set", &set_count);
    struct launch launch = {
        .pipeline = resume == NULL ? args->operands[0] : NULL,
        .overrides = {.sets = sets,
                      .set_count = set_count,
                      .model = command_value(args, "model"),
                      .inputs = resume == NULL ? args->operands + 1 : NULL,
                      .input_count = resume == NULL ? args->operand_count - 1 : 0,
                      .output = command_value(args, "output"),
                      .threads = threads},
        .run_dir = command_value(args, "run-dir"),
        .metrics = command_value(args, "metrics"),
        .resume = resume,
        .mixed = command_flag(args, "mixed", false),
        .detach = command_flag(args, "detach", false),
        .progress = progress_of(args),
        .quiet = command_flag(args, "quiet", false),
        .summary = true,
        .report = report != NULL && strcmp(report, "text") == 0,
        .report_json = report != NULL && strcmp(report, "json") == 0,
        .argc = args->argc,
        .argv = args->argv,
    };
    status = resume != NULL ? launch_resume(&launch) : launch_pipeline(&launch);
    free(sets);
    return status;
}

const struct command command_run = {
    .name = "run",
    .operands = "FILE|NAME [INPUT…]",
    .summary = "run a pipeline",
    .description = "NAME is looked up as NAME.yaml in ./pipelines, THEA_PIPELINE_PATH and thea's own "
                   "pipelines. INPUTs replace the\n"
                   "`paths` of the only `load`. The first Ctrl-C ends the input and finishes what is in "
                   "flight, a second aborts.\n"
                   "A process that dies is started again; --resume goes on after an end of the whole run.\n"
                   "Logs and report.json of the run stay in its directory (--run-dir, THEA_RUNS, "
                   "~/.local/state/thea/runs).",
    .options = run_options,
    .examples = run_examples,
    .min_operands = 0,
    .max_operands = SIZE_MAX,
    .run = run_run,
};
