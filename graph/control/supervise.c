/* The supervisor: starts a plan's processes, watches them, ends them. See supervise.h.
 *
 * One thread, one poll(2): signals come by a pipe that their handler fills, the children's stderr by pipes.
 * Phases only go forward: RUNNING -> DRAINING (first SIGINT) -> FAILING (a stage failed; the others may end
 * by themselves) -> TERMINATING (SIGTERM) -> KILLING. Invariant: when supervise_run returns, every process
 * that it started, with its group, is dead and reaped. */
#include "graph/control/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    FIXED_POLLS = 4
}; /* signals, the terminal's input, the pipe it goes to, commands; then each child's stderr */

/* --- start and end --- */

/* dup2 in the children counts on 0, 1 and 2 being taken here. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) return;
}

static thea_rc init(struct supervisor *s, const struct plan *plan, const struct supervise_options *o,
                    struct thea_err *err)
{
    *s = (struct supervisor){.plan = plan,
                             .o = o,
                             .count = plan->process_count,
                             .signal_fd = -1,
                             .failed = SUPERVISOR_NONE,
                             .pump = {.from = -1, .to = -1},
                             .started_ns = status_now_ns()};
    s->children = calloc(s->count + 1, sizeof *s->children);
    if (s->children == NULL) abort();
    for (size_t i = 0; i < s->count; i++)
        s->children[i] = (struct child){.process = &plan->processes[i], .stderr_fd = -1, .log_fd = -1};
    fill_standard_descriptors();
    supervisor_adopt_strays(s);
    return supervisor_watch_signals(s, err);
}

static void fini(struct supervisor *s)
{
    supervise_socket_close(s->socket);
    supervisor_close_stdin(s);
    for (size_t i = 0; i < s->count; i++) {
        supervisor_close_stderr(s, &s->children[i]);
        if (s->children[i].page != NULL) status_unmap(s->children[i].page);
    }
    free(s->children);
    supervisor_unwatch_signals(s);
    if (s->adopts) prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static thea_rc check_plan(const struct plan *plan, struct thea_err *err)
{
    const char *reader = NULL;
    for (size_t i = 0; i < plan->process_count; i++) {
        const struct plan_process *p = &plan->processes[i];
        if (!supervisor_reads_stdin(p)) continue;
        if (reader != NULL)
            return thea_fail(err, THEA_EUSAGE,
                             "stages %s and %s both read standard input (\"-\"): only one can", reader,
                             p->name);
        reader = p->name;
    }
    return THEA_OK;
}

/* Sinks first, so that readers are there when their writers come; links would wait for each other anyway. */
static thea_rc start_all(struct supervisor *s, struct thea_err *err)
{
    for (size_t i = s->count; i-- > 0;) {
        thea_rc rc = supervisor_spawn(s, &s->children[i], err);
        if (rc != THEA_OK) return rc;
        s->alive++;
    }
    return THEA_OK;
}

static void kill_all(struct supervisor *s)
{
    supervisor_signal_all(s, SIGKILL);
    while (s->alive > 0) {
        siginfo_t info;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) != 0 && errno != EINTR) return;
        supervisor_reap(s);
    }
}

/* All of our own are reaped: what is left below us is strays, and what they leave. */
static void bury_strays(struct supervisor *s)
{
    while (s->adopts) {
        supervisor_kill_strays(s);
        if (waitpid(-1, NULL, 0) < 0 && errno != EINTR) return;
    }
}

/* --- the loop --- */

static void on_signals(struct supervisor *s)
{
    char signals[64];
    ssize_t n = read(s->signal_fd, signals, sizeof signals);
    supervisor_reap(s);
    for (ssize_t i = 0; i < n; i++) {
        switch (signals[i]) {
        case SIGCHLD: break;
        case SIGTSTP: supervisor_stop(s); break;
        case SIGCONT: supervisor_signal_all(s, SIGCONT); break;
        default: supervisor_interrupt(s, signals[i], status_now_ns()); break;
        }
    }
}

static int poll_timeout_ms(const struct supervisor *s, uint64_t now_ns)
{
    uint64_t due = supervisor_progress_due(s);
    if (s->deadline_ns != 0 && (due == 0 || s->deadline_ns < due)) due = s->deadline_ns;
    if (due == 0) return -1;
    if (due <= now_ns) return 0;
    uint64_t ms = (due - now_ns + SUPERVISOR_NS_PER_MS - 1) / SUPERVISOR_NS_PER_MS;
    return ms > 60000 ? 60000 : (int)ms;
}

static void fill_polls(const struct supervisor *s, struct pollfd *polls)
{
    bool waiting = s->pump.start < s->pump.end;
    polls[0] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
    polls[1] = (struct pollfd){.fd = waiting ? -1 : s->pump.from, .events = POLLIN};
    polls[2] = (struct pollfd){.fd = s->pump.to, .events = waiting ? POLLOUT : 0};
    polls[3] = (struct pollfd){.fd = supervise_socket_fd(s->socket), .events = POLLIN};
    for (size_t i = 0; i < s->count; i++)
        polls[FIXED_POLLS + i] = (struct pollfd){.fd = s->children[i].stderr_fd, .events = POLLIN};
}

static void watch(struct supervisor *s)
{
    struct pollfd *polls = calloc(FIXED_POLLS + s->count, sizeof *polls);
    if (polls == NULL) abort();
    while (s->alive > 0) {
        fill_polls(s, polls);
        int ready = poll(polls, FIXED_POLLS + s->count, poll_timeout_ms(s, status_now_ns()));
        for (size_t i = 0; ready > 0 && i < s->count; i++)
            if (polls[FIXED_POLLS + i].revents != 0) supervisor_pump_stderr(s, &s->children[i]);
        if (ready > 0 && (polls[1].revents != 0 || polls[2].revents != 0))
            supervisor_pump_stdin(s, polls[1].revents != 0, (polls[2].revents & POLLOUT) != 0);
        if (ready > 0 && (polls[2].revents & POLLERR) != 0)
            supervisor_close_stdin(s); /* the source is gone */
        if (ready > 0 && polls[0].revents != 0) on_signals(s);
        if (ready > 0 && polls[3].revents != 0) supervise_socket_handle(s->socket);
        uint64_t now_ns = status_now_ns();
        supervisor_deadline(s, now_ns);
        supervisor_progress(s, now_ns);
    }
    supervisor_progress_erase(s);
    free(polls);
}

/* --- the result --- */

static void copy_processes(struct supervise_result *out, const struct supervisor *s)
{
    out->processes = calloc(s->count + 1, sizeof *out->processes);
    if (out->processes == NULL) abort();
    out->process_count = s->count;
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        struct supervise_process *p = &out->processes[i];
        *p = (struct supervise_process){.name = c->process->name,
                                        .pid = (int)c->pid,
                                        .exit_status = c->exit_status,
                                        .signal = c->signal,
                                        .peak_rss_bytes = c->peak_rss_bytes,
                                        .seconds = (double)(c->ended_ns - c->started_ns) / 1e9};
        memcpy(&p->status, c->page, sizeof p->status);
    }
}

static bool any_document_failed(const struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        if (c->exit_status == 1 || (c->process->sink && atomic_load(&c->page->failed) > 0)) return true;
    }
    return false;
}

static int failed_status(const struct child *c)
{
    return c->signal == 0 && c->exit_status >= THEA_EUSAGE && c->exit_status <= THEA_ECONFIG ? c->exit_status
                                                                                             : THEA_ESOFTWARE;
}

static void conclude(struct supervise_result *out, const struct supervisor *s)
{
    struct buf report = {0};
    *out = (struct supervise_result){.first_failed = s->failed,
                                     .seconds = (double)(status_now_ns() - s->started_ns) / 1e9};
    copy_processes(out, s);
    if (s->failed != SUPERVISOR_NONE) {
        out->exit_status = failed_status(&s->children[s->failed]);
        supervisor_report_crash(s, &report);
    } else if (s->interrupted == 0 && supervisor_reconcile(out, s->plan, &report) > 0) {
        out->exit_status = THEA_ESOFTWARE;
    } else if (any_document_failed(s)) {
        out->exit_status = 1;
    }
    out->rc = out->exit_status >= THEA_EUSAGE ? (thea_rc)out->exit_status : THEA_OK;
    if (s->interrupted != 0) out->exit_status = 128 + s->interrupted;
    out->report = buf_take(&report);
}

thea_rc supervise_run(struct supervise_result *out, const struct plan *plan,
                      const struct supervise_options *o, struct thea_err *err)
{
    struct supervisor s;
    *out = (struct supervise_result){.first_failed = SUPERVISOR_NONE};
    thea_rc rc = check_plan(plan, err);
    if (rc != THEA_OK) return rc;
    rc = init(&s, plan, o, err);
    if (rc == THEA_OK) rc = start_all(&s, err);
    if (rc == THEA_OK) rc = supervise_socket_open(&s.socket, &s, err);
    if (rc == THEA_OK)
        watch(&s);
    else
        kill_all(&s);
    bury_strays(&s);
    if (rc == THEA_OK) conclude(out, &s);
    fini(&s);
    return rc;
}

void supervise_result_fini(struct supervise_result *r)
{
    free(r->processes);
    free(r->report);
    *r = (struct supervise_result){.first_failed = SUPERVISOR_NONE};
}
