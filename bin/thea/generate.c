/* thea generate: the front of pipelines/generate.yaml. Prints each prompt and its continuation as it comes.
 */
#include "bin/thea/support/front.h"

#include <stdlib.h>
#include <unistd.h>

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
    FRONT_OPTIONS,
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

static void collect_sets(struct front *sets, const struct command_args *args)
{
    size_t stop_count;
    const char **stops = command_all_values(args, "stop", &stop_count);
    for (size_t i = 0; sample_options[i] != NULL; i++) {
        const char *value = command_value(args, sample_options[i]);
        if (value != NULL) front_set(sets, "sample", sample_options[i], value);
    }
    if (stop_count > 0) front_set_list(sets, "sample.stop", stops, stop_count);
    if (args->operand_count > 0) front_set_list(sets, "load.text", args->operands, args->operand_count);
    front_set(sets, "detokenize", "echo", command_flag(args, "echo", true) ? "true" : "false");
    free(stops);
}

static int run_generate(const struct command_args *args)
{
    struct front sets = {0};
    if (args->operand_count == 0 && isatty(STDIN_FILENO) == 1) {
        thea_error("generate: no prompt\n  try    thea generate \"Once upon a time\"");
        return THEA_EUSAGE;
    }
    collect_sets(&sets, args);
    struct launch launch = front_launch(&sets, "generate", args);
    int status = launch_pipeline(&launch);
    front_fini(&sets);
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
