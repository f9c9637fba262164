/* main() of every stage program: command line, --help and --describe, then open, loop, close. exit status as
 * sysexits(3). */
#include "graph/wire/stage_io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static volatile sig_atomic_t draining;
static char program[64]; /* "layers/1", "thea-layers": for messages */

static void on_sigterm(int signal)
{
    (void)signal;
    draining = 1;
}

/* Weights are mapped: a model file that is cut short while we read it is a bus error, and not our bug. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    static const char text[] =
        ": error: a file that is being read was cut short or could not be read: did the model change?\n";
    (void)context;
    if (info->si_code != BUS_ADRERR) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    (void)!write(STDERR_FILENO, program, strlen(program)); /* nobody is left to tell that it failed */
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(THEA_EIO);
}

/* The first SIGTERM of a supervisor asks sources to end; a second one ends anyone. By hand signals do what
 * they always do. */
static void handle_signals(const struct stage *st)
{
    struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGBUS, &bus, NULL);
    if (st->command.parent == 0) return;
    struct sigaction action = {.sa_handler = on_sigterm, .sa_flags = SA_RESETHAND};
    if (st->ops->inputs != NULL) action.sa_flags |= SA_RESTART;
    sigaction(SIGTERM, &action, NULL);
}

/* Before anything else: whoever is started by a supervisor dies with it. It may have died before prctl was
 * called, hence the comparison. */
static bool parent_lives(int argc, char *const *argv)
{
    const char *pid = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--parent") == 0 && i + 1 < argc) pid = argv[i + 1];
        if (strncmp(argv[i], "--parent=", 9) == 0) pid = argv[i] + 9;
    }
    if (pid == NULL) return true;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return false;
    return getppid() == (pid_t)strtol(pid, NULL, 10);
}

static void init_log(const struct stage *st)
{
    const struct stage_command *c = &st->command;
    snprintf(program, sizeof program, c->name != NULL ? "%s" : "thea-%s",
             c->name != NULL ? c->name : st->ops->kind);
    thea_log_init(program);
    thea_log_set_color(c->color);
    if (c->loudness != 0)
        thea_log_set_level(c->loudness < 0    ? THEA_LOG_ERROR
                           : c->loudness == 1 ? THEA_LOG_INFO
                                              : THEA_LOG_DEBUG);
}

static int print_stdout(const char *text)
{
    bool good = fputs(text, stdout) >= 0 && fflush(stdout) == 0;
    return good || errno == EPIPE ? 0 : thea_exit_status(THEA_EIO);
}

static thea_rc run(struct stage *st, struct status_page *page, struct thea_err *err)
{
    static struct stage_io io;
    st->on_terminal = st->out_count == 0 && isatty(STDOUT_FILENO);
    st->draining = &draining;
    thea_rc rc = stage_io_check(st, err);
    if (rc == THEA_OK) rc = stage_control_open(st, err);
    if (rc == THEA_OK) rc = stage_open(st, page, err);
    if (rc == THEA_OK) rc = stage_io_open(&io, st, err);
    if (rc == THEA_OK) rc = stage_loop(st, &io, err);
    /* After a failure the links end with the process: peers see them close all the same, and nobody is waited
     * for. */
    if (rc == THEA_OK) stage_io_abort(&io);
    return rc;
}

/* What a neighbour's loss means to whoever started us: bytes that end too early, or nobody there. */
static thea_rc exit_code_of(thea_rc rc)
{
    return rc == THEA_ECLOSED ? THEA_EFRAME : rc == THEA_ETIMEOUT ? THEA_ESERVICE : rc;
}

/* *set_aside: a sink has met documents that failed; all else is done. */
static thea_rc run_with_page(struct stage *st, bool *set_aside, struct thea_err *err)
{
    struct status_page *page = NULL;
    thea_rc rc = status_map(&page, st->command.status_fd, err);
    if (rc != THEA_OK) {
        stage_fini(st);
        return rc;
    }
    atomic_store(&page->started_ns, status_now_ns());
    stage_trace_open(st);
    rc = exit_code_of(run(st, page, err));
    err->rc = rc;
    if (rc != THEA_OK) atomic_store(&page->exit_rc, (int32_t)rc);
    atomic_store(&page->state, rc == THEA_OK ? STATUS_DONE : STATUS_FAILED);
    *set_aside = st->ops->outputs == NULL && atomic_load(&page->failed) > 0;
    stage_fini(st);
    if (rc == THEA_OK) status_unmap(page); /* links that are still open count on it */
    return rc;
}

static int describe(struct stage *st)
{
    char *text = stage_describe_print(st);
    struct buf line = {0};
    buf_printf(&line, "%s\n", text);
    int status = print_stdout(buf_text(&line));
    buf_fini(&line);
    free(text);
    return status;
}

static int fail(struct stage *st, const struct thea_err *err)
{
    stage_fini(st);
    return thea_log_failure(err);
}

int stage_main(int argc, char **argv, const struct stage_ops *ops)
{
    static struct stage st;
    struct thea_err err = {0};
    int status = 0;
    if (!parent_lives(argc, argv)) return thea_exit_status(THEA_ESOFTWARE);
    thea_rc rc = stage_init(&st, ops, argc, argv, &err);
    init_log(&st);
    handle_signals(&st);
    if (rc != THEA_OK) return fail(&st, &err);
    if (st.command.help || st.command.version) {
        if (st.command.help)
            stage_help_print(&st, stdout);
        else
            printf("thea-%s %s\n", ops->kind, THEA_VERSION);
        stage_fini(&st);
        return print_stdout("");
    }
    rc = st.command.describe ? THEA_OK : stage_ports_connect(&st, &err);
    if (rc == THEA_OK) rc = stage_describe_call(&st, &err);
    if (rc == THEA_OK && st.command.describe) {
        status = describe(&st);
        stage_fini(&st);
        return status;
    }
    if (rc == THEA_OK) rc = stage_ports_emit(&st, &err);
    if (rc != THEA_OK) return fail(&st, &err);
    bool set_aside = false;
    rc = run_with_page(&st, &set_aside, &err);
    return rc == THEA_OK ? set_aside : thea_log_failure(&err);
}
