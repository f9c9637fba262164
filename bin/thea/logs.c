/* thea logs: what the processes of a run said on their stderr. */
#include "bin/thea/support/command.h"
#include "graph/control/run_logs.h"
#include "graph/control/runs.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 200 }; /* for new lines */

static bool print(struct run_logs *logs, bool rest)
{
    struct buf text = {0};
    bool good = true;
    while (good && run_logs_read(logs, rest, &text)) {
        good = fwrite(text.data, 1, text.len, stdout) == text.len && fflush(stdout) == 0;
        buf_clear(&text);
    }
    buf_fini(&text);
    return good;
}

/* False: the run has ended. */
static bool wait_lines(const struct runs_entry *e)
{
    struct pollfd p = {.fd = channel_fd(e->channel), .events = POLLIN};
    return poll(&p, 1, LOOK_MS) == 0;
}

/* One operand is a run, else a stage of the only live run. */
static thea_rc find(struct runs_entry *e, const char **stage, const struct command_args *args,
                    struct thea_err *err)
{
    *stage = args->operand_count > 1 ? args->operands[1] : NULL;
    thea_rc rc = runs_find(e, args->operand_count > 0 ? args->operands[0] : NULL, err);
    if (rc != THEA_ESERVICE || args->operand_count != 1) return rc;
    struct thea_err ignored;
    if (runs_find(e, NULL, &ignored) != THEA_OK) return rc;
    *stage = args->operands[0];
    return THEA_OK;
}

static int run(const struct command_args *args)
{
    struct thea_err err;
    struct runs_entry e;
    struct run_logs logs;
    const char *stage;
    if (find(&e, &stage, args, &err) != THEA_OK) return thea_log_failure(&err);
    bool follow = command_flag(args, "follow", false) && e.channel != NULL;
    thea_rc rc = run_logs_open(&logs, e.path, stage, &err);
    if (rc == THEA_OK) {
        while (follow && print(&logs, false) && wait_lines(&e)) continue;
        print(&logs, true);
        run_logs_close(&logs);
    }
    runs_entry_fini(&e);
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}

static const struct command_option options[] = {
    {"follow", 'f', VALUE_BOOL, NULL, "go on with what comes, until the run ends", NULL},
    {0},
};
static const char *const examples[] = {"thea logs -f   all processes of the only live run",
                                       "thea logs score layers   the parts and replicas of one stage", NULL};

const struct command command_logs = {
    .name = "logs",
    .operands = "[RUN] [STAGE]",
    .summary = "print the logs of a run's processes",
    .description =
        "Of a live run or of one that ended; STAGE is a stage with all its processes, or one process.\n"
        "With several logs each line begins with its process.",
    .options = options,
    .examples = examples,
    .min_operands = 0,
    .max_operands = 2,
    .run = run,
};
