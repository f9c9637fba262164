/* thea pause: hold a run. */
#include "bin/thea/support/ask.h"
#include "bin/thea/support/command.h"

static int run(const struct command_args *args)
{
    struct json_node *question = ask_question("pause");
    return ask_run(args->operands[0], &question, 1);
}

static const struct command_option options[] = {{0}};
static const char *const examples[] = {"thea pause   the only live run; thea resume lets it go on", NULL};

const struct command command_pause = {
    .name = "pause",
    .operands = "[RUN]",
    .summary = "hold a run: its sources start no document",
    .description =
        "What is in flight is finished. The processes stay, with their models in memory: thea resume goes\n"
        "on at once.",
    .options = options,
    .examples = examples,
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
