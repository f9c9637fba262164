/* The supervisor: starts a plan's processes, watches them, ends them. See supervise.h.
 *
 * One thread, one poll(2): signals come by a pipe that their handler fills, the children's stderr by pipes,
 * what they say by their control channels. Phases only go forward: RUNNING -> DRAINING (first SIGINT) ->
 * FINISHING (every sink is done) -> FAILING (a stage failed for good; the others may end by themselves) ->
 * TERMINATING (SIGTERM) -> KILLING. Invariant: when supervise_run returns, every process that it started,
 * with its group, is dead and reaped. */
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
}; /* signals, the terminal's input, the pipe it goes to, commands; then each child's stderr, and its channel
    */

/* --- start and end --- */

/* dup2 in the children counts on 0, 1 and 2 being taken here. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) return;
}

/* The plan's number of a source: ids of its streams begin with it. */
static uint64_t source_number(const struct plan_process *p)
{
    for (size_t i = 1; p->argv[i] != NULL && p->argv[i + 1] != NULL; i++)
        if (strcmp(p->argv[i], "--source") == 0) return strtoull(p->argv[i + 1], NULL, 10);
    return 0;
}

void supervisor_init_child(struct child *c, const struct plan_process *process)
{
    *c = (struct child){.process = process, .stderr_fd = -1, .log_fd = -1};
    c->control.total = UINT64_MAX;
    if (process->source) c->control.source = source_number(process);
}

/* One more than any start of the run before, and on disk before anyone hears of it. */
static thea_rc begin_epoch(struct supervisor *s, struct thea_err *err)
{
    thea_rc rc = rundir_read_epoch(&s->epoch, s->o->run, err);
    if (rc == THEA_OK) rc = rundir_write_epoch(s->o->run, ++s->epoch, err);
    if (rc == THEA_OK && s->o->resumed) rc = supervisor_read_tries(s, err);
    s->holding = s->o->resumed;
    s->oom_kills = supervisor_oom_kills();
    s->checked_ns = s->started_ns;
    return rc;
}

static thea_rc init(struct supervisor *s, const struct plan *plan, const struct supervise_options *o,
                    struct thea_err *err)
{
    *s = (struct supervisor){.plan = plan,
                             .o = o,
                             .count = plan->process_count,
                             .signal_fd = -1,
                             .failed = SUPERVISOR_NONE,
                             .pump = {.from = -1, .to = -1, .given = -1},
                             .started_ns = status_now_ns()};
    s->room = s->count + SUPERVISOR_SPARE;
    s->children = calloc(s->room, sizeof *s->children);
    if (s->children == NULL) abort();
    for (size_t i = 0; i < s->count; i++) supervisor_init_child(&s->children[i], &plan->processes[i]);
    fill_standard_descriptors();
    supervisor_adopt_strays(s);
    thea_rc rc = supervisor_watch_signals(s, err);
    return rc == THEA_OK ? begin_epoch(s, err) : rc;
}

static void fini(struct supervisor *s)
{
    supervise_socket_close(s->socket);
    supervisor_forget_stdin(s);
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        supervisor_close_stderr(s, c);
        supervisor_control_close(c);
        ranges_fini(&c->control.committed);
        ranges_fini(&c->control.owed);
        status_unmap(c->page);
    }
    free(s->children);
    ranges_fini(&s->committed);
    ranges_fini(&s->aside);
    supervisor_poison_fini(s);
    supervisor_scale_fini(s);
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
        supervisor_brief(s, &s->children[i]);
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
    supervisor_note_stops(s);
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

static void sooner(uint64_t *due_ns, uint64_t other_ns)
{
    if (other_ns != 0 && (*due_ns == 0 || other_ns < *due_ns)) *due_ns = other_ns;
}

static int poll_timeout_ms(const struct supervisor *s, uint64_t now_ns)
{
    uint64_t due = supervisor_progress_due(s);
    sooner(&due, s->deadline_ns);
    sooner(&due, supervisor_recover_due(s));
    sooner(&due, supervisor_health_due(s));
    sooner(&due, supervisor_scale_due(s));
    sooner(&due, supervisor_news_due(s));
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
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        const struct channel *channel = c->control.channel;
        polls[FIXED_POLLS + 2 * i] = (struct pollfd){.fd = c->stderr_fd, .events = POLLIN};
        polls[FIXED_POLLS + 2 * i + 1] =
            (struct pollfd){.fd = channel != NULL ? channel_fd(channel) : -1,
                            .events = channel != NULL ? channel_events(channel) : 0};
    }
}

/* What was there when we looked; `count` children were. */
static void serve(struct supervisor *s, const struct pollfd *polls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (polls[FIXED_POLLS + 2 * i].revents != 0) supervisor_pump_stderr(s, &s->children[i]);
        if (polls[FIXED_POLLS + 2 * i + 1].revents != 0) supervisor_hear(s, &s->children[i]);
    }
    if (polls[1].revents != 0 || polls[2].revents != 0)
        supervisor_pump_stdin(s, polls[1].revents != 0, (polls[2].revents & POLLOUT) != 0);
    if ((polls[2].revents & POLLERR) != 0) supervisor_close_stdin(s); /* the source is gone */
    if (polls[0].revents != 0) on_signals(s);
    if (polls[3].revents != 0) supervise_socket_handle(s->socket);
}

static void watch(struct supervisor *s)
{
    struct pollfd *polls = calloc(FIXED_POLLS + 2 * s->room, sizeof *polls);
    if (polls == NULL) abort();
    while (s->alive > 0 || supervisor_any_waits(s)) {
        size_t count = s->count;
        fill_polls(s, polls);
        int ready = poll(polls, FIXED_POLLS + 2 * count, poll_timeout_ms(s, status_now_ns()));
        if (ready > 0) serve(s, polls, count);
        uint64_t now_ns = status_now_ns();
        supervisor_deadline(s, now_ns);
        supervisor_news(s, now_ns);
        supervisor_recover(s, now_ns);
        supervisor_scale_step(s, now_ns);
        supervisor_health(s, now_ns);
        supervisor_tell_commits(s);
        supervisor_finish(s, now_ns);
        supervisor_progress(s, now_ns);
    }
    supervisor_progress_erase(s);
    free(polls);
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
    if (rc == THEA_OK && o->started != NULL) o->started(o->started_context);
    if (rc == THEA_OK)
        watch(&s);
    else
        kill_all(&s);
    bury_strays(&s);
    if (rc == THEA_OK) supervisor_conclude(out, &s);
    fini(&s);
    return rc;
}
