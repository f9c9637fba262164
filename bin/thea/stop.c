/* thea stop: end a run, in order or at once, and wait for its end. */
#include "bin/thea/support/command.h"
#include "graph/control/run_socket.h"
#include "graph/control/runs.h"

#include <poll.h>

/* The socket closes when all processes of the run are gone. */
static void wait_end(const struct runs_entry *e)
{
    struct json_node *message;
    while (channel_receive(e->channel, &message, NULL) == THEA_AGAIN) {
        struct pollfd p = {.fd = channel_fd(e->channel), .events = POLLIN};
        poll(&p, 1, -1);
    }
}

static int run(const struct command_args *args)
{
    struct thea_err err;
    struct runs_entry e;
    struct json_node *question = json_new_map(), *answer = NULL;
    json_put(question, "ask", json_new_string("stop"));
    json_put(question, "now", json_new_bool(command_flag(args, "now", false)));
    thea_rc rc = runs_find_live(&e, args->operands[0], &err);
    if (rc != THEA_OK) {
        json_free(question);
        return thea_log_failure(&err);
    }
    rc = run_socket_ask(&answer, e.channel, question, RUNS_ANSWER_MS, &err);
    if (rc == THEA_OK) wait_end(&e);
    json_free(answer);
    runs_entry_fini(&e);
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}

static const struct command_option options[] = {
    {"now", 0, VALUE_BOOL, NULL, "do not finish what is in flight (a resume does it again)", NULL},
    {0},
};
static const char *const examples[] = {"thea stop   the only live run, once what is in flight is finished",
                                       "thea stop score --now   at once; thea run --resume goes on", NULL};

const struct command command_stop = {
    .name = "stop",
    .operands = "[RUN]",
    .summary = "end a run: what is in flight is finished first",
    .description =
        "As the first Ctrl-C in the run's terminal: sources start nothing more, documents in flight are\n"
        "finished and written. Returns when the run has ended. It can be resumed.",
    .options = options,
    .examples = examples,
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
