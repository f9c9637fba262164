/* thea help: the manual page of a command, a kind or the pipeline file; through man(1) on a terminal. */
#include "bin/thea/support/manual.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The page of a topic as roff. */
static thea_rc page(struct buf *out, const char *topic, struct thea_err *err)
{
    if (topic != NULL && strncmp(topic, "thea-", 5) == 0) topic += 5; /* as pages refer to each other */
    if (topic == NULL || strcmp(topic, "thea") == 0) return manual_man_overview(out), THEA_OK;
    if (strcmp(topic, "pipeline") == 0) return manual_man_pipeline(out), THEA_OK;
    for (size_t i = 0; commands[i] != NULL; i++) {
        if (strcmp(commands[i]->name, topic) == 0) return manual_man_page(out, commands[i]), THEA_OK;
    }
    thea_rc rc = manual_man_kind(out, topic, err);
    if (rc != THEA_ENOINPUT) return rc;
    return thea_fail(err, THEA_EUSAGE,
                     "help: no page about '%s'\n  there are: pipeline, the commands (thea --help) and the "
                     "kinds (thea stages)",
                     topic);
}

/* Show roff with man(1): false if it cannot. */
static bool show(const struct buf *roff)
{
    FILE *man = popen("man -l - 2>/dev/null", "w"); // NOLINT(cert-env33-c): a fixed command
    if (man == NULL) return false;
    fwrite(buf_text(roff), 1, roff->len, man);
    return pclose(man) == 0;
}

static int run(const struct command_args *args)
{
    struct thea_err err = {0};
    struct buf text = {0};
    const char *topic = args->operand_count > 0 ? args->operands[0] : NULL;
    thea_rc rc = page(&text, topic, &err);
    bool roff = command_flag(args, "roff", false);
    if (rc == THEA_OK && (roff || !show(&text))) fwrite(buf_text(&text), 1, text.len, stdout);
    buf_fini(&text);
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}

static const struct command_option options[] = {
    {"roff", 0, VALUE_BOOL, NULL, "print the page's source, for man(1)", NULL}, {0}};
static const char *const examples[] = {"thea help run   the page of a command",
                                       "thea help layers   of a kind of stage",
                                       "thea help pipeline   of the pipeline file", NULL};

const struct command command_help = {
    .name = "help",
    .operands = "[TOPIC]",
    .summary = "the manual page of a command, a kind of stage, or the pipeline file",
    .options = options,
    .examples = examples,
    .max_operands = 1,
    .run = run,
};
