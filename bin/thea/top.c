/* thea top: a live table of a run's processes. */
#include "bin/thea/support/command.h"
#include "graph/control/run_rates.h"
#include "graph/control/runs.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { INTERVAL_MS = 1000, WIDTH_MAX = 4096 };

struct top {
    struct runs_entry run;
    bool json, once, screen; /* screen: redraw on a terminal */
    int interval_ms;
    struct json_node *before;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

static size_t width(const struct top *t)
{
    struct winsize size;
    if (!t->screen || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return WIDTH_MAX;
    return size.ws_col;
}

/* False: nobody reads us any more. */
static bool show(const struct top *t, const struct json_node *now)
{
    struct buf text = {0};
    if (t->screen) buf_add_text(&text, "\033[H\033[2J");
    if (t->json) {
        struct json_node *figures = run_top_json(t->before, now);
        char *line = json_print(figures, 0, 9);
        buf_printf(&text, "%s\n", line);
        free(line);
        json_free(figures);
    } else {
        run_print_top(t->before, now, width(t), &text);
        if (!t->screen && !t->once) buf_add_char(&text, '\n');
    }
    bool good = fwrite(buf_text(&text), 1, text.len, stdout) == text.len && fflush(stdout) == 0;
    buf_fini(&text);
    return good;
}

/* Let time pass; the run's end is seen at once. False: it ended, or we are told to. */
static bool wait_interval(const struct top *t)
{
    struct pollfd p = {.fd = channel_fd(t->run.channel), .events = POLLIN};
    int ready = poll(&p, 1, t->interval_ms);
    return ready == 0 || (ready < 0 && errno == EINTR && !interrupted);
}

static thea_rc watch(struct top *t, struct thea_err *err)
{
    thea_rc rc = runs_ask(&t->before, &t->run, "status", err);
    while (rc == THEA_OK && wait_interval(t)) {
        struct json_node *now = NULL;
        rc = runs_ask(&now, &t->run, "status", err);
        if (rc != THEA_OK) break;
        bool wanted = show(t, now);
        json_free(t->before);
        t->before = now;
        if (t->once || !wanted) break;
    }
    if (rc == THEA_ESERVICE) rc = THEA_OK; /* it ended while we looked on */
    json_free(t->before);
    return rc;
}

static int run(const struct command_args *args)
{
    struct thea_err err;
    struct top t = {.json = command_flag(args, "json", false),
                    .once = command_flag(args, "once", false),
                    .interval_ms = INTERVAL_MS};
    const char *interval = command_value(args, "interval");
    struct value value;
    struct value_limits limits = {1e7, 3.6e12, NULL}; /* ns */
    if (interval != NULL && value_parse(&value, VALUE_TIME, &limits, interval, &err) != THEA_OK) {
        thea_error("top: --interval: %s", thea_err_message(&err));
        return THEA_EUSAGE;
    }
    if (interval != NULL) t.interval_ms = (int)(value.integer / 1000000);
    t.screen = !t.json && !t.once && isatty(STDOUT_FILENO) == 1;
    if (runs_find_live(&t.run, args->operands[0], &err) != THEA_OK) return thea_log_failure(&err);
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    thea_rc rc = watch(&t, &err);
    runs_entry_fini(&t.run);
    return rc == THEA_OK ? 0 : thea_log_failure(&err);
}

static const struct command_option options[] = {
    {"once", 0, VALUE_BOOL, NULL, "print it once, and end", NULL},
    {"interval", 0, VALUE_TIME, "TIME", "between two tables, and what rates are taken over: 1s", NULL},
    {"json", 0, VALUE_BOOL, NULL, "one JSON object a time (JSON Lines)", NULL},
    {0},
};
static const char *const examples[] = {"thea top   the only live run, until Ctrl-C or its end",
                                       "thea top score --once --json   figures for a program", NULL};

const struct command command_top = {
    .name = "top",
    .operands = "[RUN]",
    .summary = "watch a run: what each of its processes does",
    .description = "A line for each process: frames and tokens a second; the shares of time it computes "
                   "(busy), waits for\n"
                   "input (starved), waits for the next stage (blocked); frames that wait at its inputs, and "
                   "those under "
                   "way of\n"
                   "what its window allows; tensor bytes that were copied on its links; memory; the time of "
                   "an operation: "
                   "half\n"
                   "are below P50, 99 % below P99. <- is the bottleneck.",
    .options = options,
    .examples = examples,
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
