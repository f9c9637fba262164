/* thea generate: the front of pipelines/generate.yaml. Prints each prompt and its continuation as it comes.
 */
#include "bin/thea/support/launch.h"
#include "graph/buf.h"
#include "graph/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const progress_choices[] = {"auto", "plain", "off", NULL};

static const struct command_option generate_options[] = {
    {"model", 'm', VALUE_MODEL, "MODEL", "a name or a directory", NULL},
    {"greedy", 0, VALUE_BOOL, NULL, "always the most likely token", NULL},
    {"temperature", 0, VALUE_NUMBER, "T", "divides the logits: lower is safer, 0 is greedy", NULL},
    {"top-k", 0, VALUE_INT, "K", "only the K most likely tokens; 0: all", NULL},
    {"top-p", 0, VALUE_NUMBER, "P", "then the fewest whose probabilities sum to P", NULL},
    {"min-p", 0, VALUE_NUMBER, "P", "then those with this share of the highest probability", NULL},
    {"repetition-penalty", 0, VALUE_NUMBER, "R", "makes tokens that were there less likely; 1: none", NULL},
    {"seed", 0, VALUE_INT, "N", "the same seed gives the same text", NULL},
    {"stop", 0, VALUE_TEXT, "TEXT", "end where the continuation has this text; repeatable", NULL},
    {"max-tokens", 0, VALUE_INT, "N", "end after this many tokens", NULL},
    {"echo", 0, VALUE_BOOL, NULL, "--no-echo: the continuation alone, without the prompt", NULL},
    {"threads", 0, VALUE_INT, "N", "threads of each stage", NULL},
    {"run-dir", 0, VALUE_PATH, "DIR", "where logs and reports go: a new or empty directory", NULL},
    {"progress", 0, VALUE_CHOICE, "WHEN", "plain: a line every 10 s", progress_choices},
    {0},
};

static const char *const generate_examples[] = {
    "thea generate \"The pipeline reads\"",
    "thea generate --greedy \"One\" \"Two\"   two prompts, always the most likely token",
    "thea generate --no-echo < prompt.txt   one prompt from standard input",
    NULL,
};

/* Options of the sample stage that are handed on as they are. */
static const char *const sample_options[] = {
    "greedy", "temperature", "top-k", "top-p", "min-p", "repetition-penalty", "seed", "max-tokens", NULL};

struct sets {
    char **items;
    size_t count;
};

static void add_set(struct sets *sets, char *text)
{
    sets->items = realloc(sets->items, (sets->count + 1) * sizeof *sets->items);
    if (sets->items == NULL) abort();
    sets->items[sets->count++] = text;
}

/* KEY=["…", "…"]: JSON strings are YAML strings, so that a prompt may hold anything. */
static void add_list(struct sets *sets, const char *key, const char *const *texts, size_t count)
{
    struct json_node *list = json_new_list();
    struct buf set = {0};
    for (size_t i = 0; i < count; i++) json_append(list, json_new_string(texts[i]));
    char *json = json_print(list, 0, 0);
    buf_printf(&set, "%s=%s", key, json);
    add_set(sets, buf_take(&set));
    free(json);
    json_free(list);
}

static void add_value(struct sets *sets, const char *stage, const char *option, const char *value)
{
    struct buf set = {0};
    buf_printf(&set, "%s.%s=%s", stage, option, value);
    for (char *c = set.data + strlen(stage); *c != '='; c++)
        if (*c == '-') *c = '_';
    add_set(sets, buf_take(&set));
}

static void collect_sets(struct sets *sets, const struct command_args *args)
{
    const char **stops = calloc(args->given_count + 1, sizeof *stops);
    size_t stop_count = 0;
    if (stops == NULL) abort();
    for (size_t i = 0; sample_options[i] != NULL; i++) {
        const char *value = command_value(args, sample_options[i]);
        if (value != NULL) add_value(sets, "sample", sample_options[i], value);
    }
    while ((stops[stop_count] = command_value_at(args, "stop", stop_count)) != NULL) stop_count++;
    if (stop_count > 0) add_list(sets, "sample.stop", stops, stop_count);
    if (args->operand_count > 0) add_list(sets, "load.text", args->operands, args->operand_count);
    add_value(sets, "detokenize", "echo", command_flag(args, "echo", true) ? "true" : "false");
    free(stops);
}

static int run_generate(const struct command_args *args)
{
    const char *threads = command_value(args, "threads"), *progress = command_value(args, "progress");
    struct sets sets = {0};
    if (args->operand_count == 0 && isatty(STDIN_FILENO) == 1) {
        thea_error("generate: no prompt\n  try    thea generate \"Once upon a time\"");
        return THEA_EUSAGE;
    }
    collect_sets(&sets, args);
    struct launch launch = {
        .pipeline = "generate",
        .overrides = {.sets = (const char *const *)sets.items,
                      .set_count = sets.count,
                      .model = command_value(args, "model"),
                      .threads = threads != NULL ? (int)strtol(threads, NULL, 10) : 0},
        .run_dir = command_value(args, "run-dir"),
        .progress =
            progress != NULL && strcmp(progress, "plain") == 0 ? LAUNCH_PROGRESS_PLAIN : LAUNCH_PROGRESS_OFF,
        .quiet = command_flag(args, "quiet", false),
        .summary = isatty(STDERR_FILENO) == 1,
        .argc = args->argc,
        .argv = args->argv,
    };
    int status = launch_pipeline(&launch);
    for (size_t i = 0; i < sets.count; i++) free(sets.items[i]);
    free(sets.items);
    return status;
}

const struct command command_generate = {
    .name = "generate",
    .operands = "[PROMPT…]",
    .summary = "continue prompts with a model",
    .description =
        "Prints each prompt and its continuation as it comes. Without a PROMPT, standard input is one. It "
        "runs the pipeline\n"
        "`generate` with these options and prompts put in: `thea plan generate` shows its processes.",
    .options = generate_options,
    .examples = generate_examples,
    .min_operands = 0,
    .max_operands = SIZE_MAX,
    .run = run_generate,
};
