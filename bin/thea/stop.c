/* thea stop: end a run, in order or at once, and wait for its end. */
#include "bin/thea/support/ask.h"
#include "bin/thea/support/command.h"

static int run(const struct command_args *args)
{
    struct json_node *question = ask_question("stop");
    json_put(question, "now", json_new_bool(command_flag(args, "now", false)));
    return ask_end(args->operands[0], question);
}

static const struct command_option options[] = {
    {"now", 0, VALUE_BOOL, NULL, "do not finish what is in flight (a resume does it again)", NULL},
    {0},
};
static const char *const examples[] = {
    "thea stop   the only live run, started here, once what is in flight is finished",
    "thea stop score --now   at once; thea run --resume goes on", NULL};

const struct command command_stop = {
    .name = "stop",
    .operands = "[RUN]",
    .summary = "end a run: what is in flight is finished first",
    .description =
        "As the first Ctrl-C in the run's terminal: sources start nothing more, documents in flight are\n"
        "finished and written. Returns when the run has ended. It can be resumed. Left out, RUN is the only "
        "live\n"
        "run, if it was started in this directory.",
    .options = options,
    .examples = examples,
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
