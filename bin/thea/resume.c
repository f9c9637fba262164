/* thea resume: let a paused run go on. */
#include "bin/thea/support/ask.h"
#include "bin/thea/support/command.h"

static int run(const struct command_args *args)
{
    struct json_node *question = ask_question("resume");
    return ask_run(args->operands[0], &question, 1);
}

static const struct command_option options[] = {{0}};
static const char *const examples[] = {"thea resume   the only live run goes on",
                                       "thea run --resume score-20261122-031012   one that was broken off",
                                       NULL};

const struct command command_resume = {
    .name = "resume",
    .operands = "[RUN]",
    .summary = "let a paused run go on",
    .description =
        "For a live run that thea pause holds. One that ended, was stopped or killed goes on with\n"
        "thea run --resume RUN.",
    .options = options,
    .examples = examples,
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
