/* The supervisor: starts a plan's processes, watches them, ends them. See supervise.h.
 *
 * One thread, one poll(2): signals come by a pipe that their handler fills, the children's stderr by pipes. (Not by signalfd: that wants the
 * signals blocked in every thread, and a BLAS starts threads of its own before main.) Phases only go forward:
 * RUNNING -> DRAINING (first SIGINT) -> FAILING (a stage failed; the others may end by themselves) -> TERMINATING (SIGTERM) -> KILLING.
 * Invariant: when supervise_run returns, every process that it started, with its group, is dead and reaped. */
#include "graph/control/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIXED_POLLS = 3 }; /* signals, the terminal's input, the pipe it goes to; then each child's stderr */

void supervisor_enter(struct supervisor *s, supervisor_phase phase, uint64_t deadline_ns)
{
    s->phase = phase;
    s->deadline_ns = deadline_ns;
}

/* --- start and end --- */

/* dup2 in the children counts on 0, 1 and 2 being taken here. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) return;
}

static volatile sig_atomic_t signal_pipe = -1; /* where the handler writes: there is one supervisor in a process */

static void note_signal(int sig)
{
    int saved = errno;
    char byte = (char)sig;
    ssize_t ignored = write(signal_pipe, &byte, 1); /* full: then it is read soon, and each reading looks at everything */
    (void)ignored;
    errno = saved;
}

static const int watched[SUPERVISOR_SIGNALS] = {SIGCHLD, SIGINT, SIGTERM, SIGTSTP, SIGCONT, SIGPIPE};

static thea_rc init_signals(struct supervisor *s, struct thea_err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return thea_fail(err, THEA_EOS, "cannot watch signals: %s", strerror(errno));
    s->signal_fd = ends[0];
    signal_pipe = ends[1];
    for (size_t i = 0; i < SUPERVISOR_SIGNALS; i++) {
        struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
        sigfillset(&action.sa_mask);
        if (watched[i] == SIGPIPE) action.sa_handler = SIG_IGN;
        sigaction(watched[i], &action, &s->old_actions[i]);
        /* A SIGINT that was ignored when we started (nohup, a script's background job) stays so; SIGCHLD must not, or children vanish unseen. */
        if (s->old_actions[i].sa_handler == SIG_IGN && watched[i] != SIGCHLD) sigaction(watched[i], &s->old_actions[i], NULL);
    }
    return THEA_OK;
}

static void fini_signals(struct supervisor *s)
{
    if (s->signal_fd >= 0) {
        for (size_t i = 0; i < SUPERVISOR_SIGNALS; i++) sigaction(watched[i], &s->old_actions[i], NULL);
        close(s->signal_fd);
        close(signal_pipe);
        signal_pipe = -1;
    }
    if (s->adopts) prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static thea_rc init(struct supervisor *s, const struct plan *plan, const struct supervise_options *o, struct thea_err *err)
{
    *s = (struct supervisor){.plan = plan, .o = o, .count = plan->process_count, .signal_fd = -1, .failed = SUPERVISOR_NONE,
                             .pump = {.from = -1, .to = -1}, .started_ns = status_now_ns()};
    s->children = calloc(s->count + 1, sizeof *s->children);
    if (s->children == NULL) abort();
    for (size_t i = 0; i < s->count; i++)
        s->children[i] = (struct child){.process = &plan->processes[i], .stderr_fd = -1, .log_fd = -1};
    fill_standard_descriptors();
    supervisor_adopt_strays(s);
    return init_signals(s, err);
}

static void fini(struct supervisor *s)
{
    supervisor_close_stdin(s);
    for (size_t i = 0; i < s->count; i++) {
        supervisor_close_stderr(s, &s->children[i]);
        if (s->children[i].page != NULL) status_unmap(s->children[i].page);
    }
    free(s->children);
    fini_signals(s);
}

static thea_rc check_plan(const struct plan *plan, struct thea_err *err)
{
    const char *reader = NULL;
    for (size_t i = 0; i < plan->process_count; i++) {
        const struct plan_process *p = &plan->processes[i];
        if (!supervisor_reads_stdin(p)) continue;
        if (reader != NULL)
            return thea_fail(err, THEA_EUSAGE, "stages %s and %s both read standard input (\"-\"): only one can", reader, p->name);
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

/* --- phases --- */

static void terminate(struct supervisor *s, uint64_t now_ns, uint64_t patience_ms)
{
    for (size_t i = 0; i < s->count; i++) s->children[i].stopped_by_us |= !s->children[i].ended;
    supervisor_signal_all(s, SIGTERM);
    supervisor_signal_all(s, SIGCONT); /* a stopped process would never see it */
    supervisor_close_stdin(s);
    supervisor_enter(s, SUPERVISOR_TERMINATING, now_ns + patience_ms * SUPERVISOR_NS_PER_MS);
}

static void drain(struct supervisor *s, uint64_t now_ns)
{
    if (!s->o->quiet) supervisor_tell(s, "thea: ending: what is in flight is finished first (once more to abort)");
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        if (!c->process->source || c->ended) continue;
        c->asked = true;
        kill(-c->pid, SIGTERM);
    }
    supervisor_close_stdin(s);
    supervisor_enter(s, SUPERVISOR_DRAINING, now_ns + s->o->drain_timeout_ns);
}

static void on_interrupt(struct supervisor *s, int sig, uint64_t now_ns)
{
    bool first = s->interrupted == 0;
    if (first) s->interrupted = sig;
    if (first && s->phase == SUPERVISOR_RUNNING) drain(s, now_ns);
    else if (!first && s->phase < SUPERVISOR_TERMINATING) terminate(s, now_ns, SUPERVISOR_ABORT_MS);
}

static void tell_busy(struct supervisor *s)
{
    struct buf text = {0};
    char work[256];
    buf_printf(&text, "thea: warning: not drained after %g s, ending what is still busy:", (double)s->o->drain_timeout_ns / 1e9);
    for (size_t i = 0; i < s->count; i++) {
        if (s->children[i].ended) continue;
        status_get_work(s->children[i].page, work, sizeof work);
        buf_printf(&text, "\n  %s (%s)", s->children[i].process->name, work[0] != '\0' ? work : "no document");
    }
    supervisor_tell(s, text.data);
    buf_fini(&text);
}

static void on_deadline(struct supervisor *s, uint64_t now_ns)
{
    if (s->deadline_ns == 0 || now_ns < s->deadline_ns) return;
    switch (s->phase) {
    case SUPERVISOR_RUNNING: break;
    case SUPERVISOR_DRAINING:
        tell_busy(s);
        terminate(s, now_ns, SUPERVISOR_ABORT_MS);
        break;
    case SUPERVISOR_FAILING: terminate(s, now_ns, SUPERVISOR_TERM_MS); break;
    case SUPERVISOR_TERMINATING:
    case SUPERVISOR_KILLING:
        supervisor_signal_all(s, SIGKILL);
        supervisor_enter(s, SUPERVISOR_KILLING, now_ns + 1000 * SUPERVISOR_NS_PER_MS);
        break;
    }
}

/* --- the loop --- */

static void stop_ourselves(struct supervisor *s)
{
    uint64_t before = status_now_ns();
    supervisor_progress_erase(s);
    supervisor_signal_all(s, SIGTSTP);
    raise(SIGSTOP);
    supervisor_signal_all(s, SIGCONT);
    if (s->deadline_ns != 0) s->deadline_ns += status_now_ns() - before;
}

static void on_signals(struct supervisor *s)
{
    char signals[64];
    ssize_t n = read(s->signal_fd, signals, sizeof signals);
    supervisor_reap(s);
    for (ssize_t i = 0; i < n; i++) {
        switch (signals[i]) {
        case SIGCHLD: break;
        case SIGTSTP: stop_ourselves(s); break;
        case SIGCONT: supervisor_signal_all(s, SIGCONT); break;
        default: on_interrupt(s, signals[i], status_now_ns()); break;
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
    for (size_t i = 0; i < s->count; i++) polls[FIXED_POLLS + i] = (struct pollfd){.fd = s->children[i].stderr_fd, .events = POLLIN};
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
        if (ready > 0 && (polls[2].revents & POLLERR) != 0) supervisor_close_stdin(s); /* the source is gone */
        if (ready > 0 && polls[0].revents != 0) on_signals(s);
        uint64_t now_ns = status_now_ns();
        on_deadline(s, now_ns);
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
        *p = (struct supervise_process){.name = c->process->name, .pid = (int)c->pid, .exit_status = c->exit_status,
                                        .signal = c->signal, .peak_rss_bytes = c->peak_rss_bytes,
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
    return c->signal == 0 && c->exit_status >= THEA_EUSAGE && c->exit_status <= THEA_ECONFIG ? c->exit_status : THEA_ESOFTWARE;
}

static void conclude(struct supervise_result *out, const struct supervisor *s)
{
    struct buf report = {0};
    *out = (struct supervise_result){.first_failed = s->failed, .seconds = (double)(status_now_ns() - s->started_ns) / 1e9};
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

thea_rc supervise_run(struct supervise_result *out, const struct plan *plan, const struct supervise_options *o, struct thea_err *err)
{
    struct supervisor s;
    *out = (struct supervise_result){.first_failed = SUPERVISOR_NONE};
    thea_rc rc = check_plan(plan, err);
    if (rc != THEA_OK) return rc;
    rc = init(&s, plan, o, err);
    if (rc == THEA_OK) rc = start_all(&s, err);
    if (rc == THEA_OK) watch(&s);
    else kill_all(&s);
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
