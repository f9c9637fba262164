/* thea tap: frames that pass in a live run, or those on stdin, as text or JSON lines. */
#include "bin/thea/support/command.h"
#include "bin/thea/support/tap_print.h"
#include "bin/thea/support/tap_run.h"
#include "graph/wire/frame_json.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE_VALUES = 64, /* asked for where eight are printed: text is cut at 60 bytes */
    JSON_VALUES = 4096,
    JSON_VALUES_LIVE = 1024 /* a packet must hold all tensors of a frame */
};

static thea_rc read_limit(int64_t *limit, const struct command_args *args, struct thea_err *err)
{
    const char *text = command_value(args, "limit");
    struct value v = {.integer = INT64_MAX};
    struct value_limits limits = {0, 9e15, NULL};
    thea_rc rc = text == NULL ? THEA_OK : value_parse(&v, VALUE_INT, &limits, text, err);
    *limit = v.integer;
    return rc == THEA_OK ? rc : thea_fail_prefix(err, "tap: --limit");
}

static thea_rc tap_stdin(const struct command_args *args, int64_t limit, struct thea_err *err)
{
    struct frame_reader *reader = NULL;
    bool json = command_flag(args, "json", false), tensors = command_flag(args, "tensors", false);
    thea_rc rc = frame_reader_open(&reader, STDIN_FILENO, err);
    for (int64_t n = 0; rc == THEA_OK && n < limit; n++) {
        struct frame f;
        rc = frame_read(reader, &f, err);
        if (rc != THEA_OK) break;
        struct json_node *copy = frame_json(&f, !tensors ? 0 : json ? JSON_VALUES : LINE_VALUES);
        rc = tap_show(copy, json, err);
        if (rc == THEA_OK) rc = tap_flush(err);
        json_free(copy);
    }
    frame_reader_close(reader);
    return rc == THEA_DONE ? THEA_OK : rc;
}

static int run_stdin(const struct command_args *args, int64_t limit)
{
    struct thea_err err = {0};
    if (args->operand_count > 1 || command_value(args, "port") != NULL) {
        thea_error(
            "tap: frames on stdin have neither GLOB nor --port\n  usage  thea load README.md | thea tap -");
        return THEA_EUSAGE;
    }
    if (isatty(STDIN_FILENO)) {
        thea_error(
            "tap: stdin is a terminal; pipe frames into it\n  usage  thea load README.md | thea tap -");
        return THEA_EUSAGE;
    }
    return tap_stdin(args, limit, &err) == THEA_OK ? 0 : thea_log_failure(&err);
}

/* One operand is a run, else processes of the only live run. */
static thea_rc find(struct runs_entry *e, const char **glob, const struct command_args *args,
                    struct thea_err *err)
{
    struct thea_err ignored;
    *glob = args->operand_count > 1 ? args->operands[1] : "*";
    thea_rc rc = runs_find_live(e, args->operand_count > 0 ? args->operands[0] : NULL, err);
    if (rc != THEA_ESERVICE || args->operand_count != 1) return rc;
    if (runs_find_live(e, NULL, &ignored) != THEA_OK) return rc;
    *glob = args->operands[0];
    return THEA_OK;
}

static int run(const struct command_args *args)
{
    struct thea_err err = {0};
    struct runs_entry e;
    struct tap_options o = {.port = command_value(args, "port"), .json = command_flag(args, "json", false)};
    if (read_limit(&o.limit, args, &err) != THEA_OK) return thea_log_failure(&err);
    if (args->operand_count > 0 && strcmp(args->operands[0], "-") == 0) return run_stdin(args, o.limit);
    if (command_flag(args, "tensors", false)) o.values = o.json ? JSON_VALUES_LIVE : LINE_VALUES;
    if (find(&e, &o.glob, args, &err) != THEA_OK) return thea_log_failure(&err);
    thea_rc rc = tap_run(&e, &o, &err);
    runs_entry_fini(&e);
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}

static const struct command_option options[] = {
    {"port", 0, VALUE_TEXT, "PORT", "frames on this port alone, leaving or coming", NULL},
    {"limit", 0, VALUE_INT, "N", "stop after N frames", NULL},
    {"tensors", 0, VALUE_BOOL, NULL, "show values too: the first 8 (--json: 1,024; stdin: 4,096)", NULL},
    {"json", 0, VALUE_BOOL, NULL, "one JSON object a frame (JSON Lines)", NULL},
    {0},
};
static const char *const examples[] = {
    "thea tap 'layers*'   what those processes send on, in the only live run",
    "thea tap score tokenize --port docs --limit 3   what comes to tokenize",
    "thea load README.md | thea tap -   the frames of a document", NULL};

const struct command command_tap = {
    .name = "tap",
    .operands = "-|RUN [GLOB]",
    .summary = "print frames as they pass, of a live run or from stdin",
    .description =
        "Of a live run: what the processes whose names match GLOB (a stage's name: all of it) send on, and "
        "sinks\n"
        "take in. The run is not slowed: what would cost more than 0.1 % of a process's time is left out, "
        "and\n"
        "told at the end. With -: frames on stdin, as a stage writes them.",
    .options = options,
    .examples = examples,
    .min_operands = 0,
    .max_operands = 2,
    .run = run,
};
