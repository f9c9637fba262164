/* Ends of processes: reaping them with their groups, and finding the one that failed first.
 *
 * One stage's death takes its neighbours along: they exit with "peer lost" within milliseconds, sometimes
 * before the kernel has finished burying the first. So deaths are weighed, not only ordered: see is_better.
 */
#include "graph/control/supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct child *find_child(struct supervisor *s, pid_t pid)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->children[i].pid == pid && !s->children[i].ended) return &s->children[i];
    return NULL;
}

static thea_rc page_rc(const struct child *c)
{
    if (atomic_load(&c->page->state) != STATUS_FAILED) return THEA_OK;
    return (thea_rc)atomic_load(&c->page->exit_rc);
}

/* A stage that did its work but met documents that it could not do: told by status 1, no failure of the
 * stage. */
static bool only_documents_failed(const struct child *c)
{
    return c->exit_status == 1 && atomic_load(&c->page->state) == STATUS_DONE;
}

bool supervisor_child_failed(const struct child *c)
{
    if (!c->ended || c->stopped_by_us) return false;
    if (c->signal != 0) return !(c->asked && c->signal == SIGTERM);
    return c->exit_status != 0 && !only_documents_failed(c);
}

bool supervisor_lost_peer(const struct child *c)
{
    if (c->signal != 0) return false;
    thea_rc rc = page_rc(c);
    return c->exit_status == THEA_EFRAME || rc == THEA_EFRAME || rc == THEA_ECLOSED || rc == THEA_ETIMEOUT;
}

/* 0: killed by a signal; 1: an error of its own; 2: it lost a peer, which is what the death of another looks
 * like. */
static int blame(const struct child *c)
{
    if (c->signal != 0) return 0;
    return supervisor_lost_peer(c) ? 2 : 1;
}

/* Is c, which died later, the likelier cause than the one we have? */
static bool is_better(const struct supervisor *s, const struct child *c)
{
    int old = blame(&s->children[s->failed]), new = blame(c);
    bool same_time = c->ended_ns - s->failed_ns <= SUPERVISOR_SAME_TIME_MS * SUPERVISOR_NS_PER_MS;
    return new < old && (old == 2 || same_time);
}

void supervisor_note_failure(struct supervisor *s, struct child *c)
{
    size_t index = (size_t)(c - s->children);
    if (s->failed != SUPERVISOR_NONE) {
        if (is_better(s, c)) s->failed = index;
        return;
    }
    s->failed = index;
    s->failed_ns = c->ended ? c->ended_ns : status_now_ns();
    if (s->phase < SUPERVISOR_FAILING)
        supervisor_enter(s, SUPERVISOR_FAILING, s->failed_ns + SUPERVISOR_GRACE_MS * SUPERVISOR_NS_PER_MS);
}

static void print_too_big(const struct child *c, struct buf *out)
{
    char has[16], may[16];
    buf_printf(out, "was killed for its memory: %s of its own, its limit is %s",
               value_format_bytes(has, c->health.too_many_bytes),
               value_format_bytes(may, c->health.limit_bytes));
}

void supervisor_print_death(const struct child *c, struct buf *out)
{
    if (c->killed_for == SUPERVISOR_HUNG)
        buf_add_text(out, "made no progress for its deadline and was killed");
    else if (c->killed_for == SUPERVISOR_TOO_BIG)
        print_too_big(c, out);
    else if (c->killed_for == SUPERVISOR_OURS && c->health.stopped_ns != 0)
        buf_add_text(out, "was stopped by a signal for its deadline and was killed");
    else if (c->signal != 0)
        buf_printf(out, "was killed by SIG%s",
                   sigabbrev_np(c->signal) != NULL ? sigabbrev_np(c->signal) : "?");
    else if (c->exit_status == 0)
        buf_add_text(out, "ended before it was told to");
    else
        buf_printf(out, "failed with status %d", c->exit_status);
}

/* A source that died of our asking, before it could say eof: nobody behind it will end in order, so nobody is
 * to blame for that. */
static void give_up_draining(struct supervisor *s, uint64_t now_ns)
{
    for (size_t i = 0; i < s->count; i++) s->children[i].stopped_by_us |= !s->children[i].ended;
    if (s->phase == SUPERVISOR_DRAINING)
        supervisor_enter(s, SUPERVISOR_FAILING, now_ns + SUPERVISOR_GRACE_MS * SUPERVISOR_NS_PER_MS);
}

/* All is done and written: whoever dies on the way out has nothing to spoil. */
static void die_finished(struct supervisor *s, struct child *c)
{
    uint64_t deadline_ns = c->ended_ns + SUPERVISOR_LAST_MS * SUPERVISOR_NS_PER_MS;
    c->stopped_by_us = true;
    if (deadline_ns < s->deadline_ns) s->deadline_ns = deadline_ns; /* its neighbours wait for it in vain */
}

static void judge_end(struct supervisor *s, struct child *c)
{
    if (supervisor_scale_lost(s, c)) return;
    if (supervisor_restarts(s, c))
        supervisor_mourn(s, c, c->ended_ns);
    else if (s->phase == SUPERVISOR_FINISHING && supervisor_child_failed(c))
        die_finished(s, c);
    else if (supervisor_child_failed(c) || supervisor_left_early(s, c))
        supervisor_note_failure(s, c);
    else if (c->asked && c->signal == SIGTERM)
        give_up_draining(s, c->ended_ns);
}

static void note_end(struct supervisor *s, struct child *c, int status, const struct rusage *usage)
{
    c->ended = true;
    c->ended_ns = status_now_ns();
    c->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    c->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    uint64_t rss_bytes = (uint64_t)usage->ru_maxrss * 1024;
    if (rss_bytes > c->peak_rss_bytes) c->peak_rss_bytes = rss_bytes;
    s->alive--;
    supervisor_hear(s, c); /* what it said before it died counts */
    supervisor_control_close(c);
    supervisor_pump_stderr(s, c);
    supervisor_close_stderr(s, c);
    judge_end(s, c);
    if (!c->waits && supervisor_reads_stdin(c->process)) supervisor_forget_stdin(s);
}

void supervisor_reap(struct supervisor *s)
{
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) break;
        struct child *c = find_child(s, info.si_pid);
        if (c != NULL) kill(-c->pid, SIGKILL); /* before the reaping frees the group's number */
        int status;
        struct rusage usage;
        if (wait4(info.si_pid, &status, 0, &usage) < 0) break;
        if (c != NULL) note_end(s, c, status, &usage);
    }
    supervisor_kill_strays(s);
}

/* Visit our living child processes; a kernel that does not list them gives none. */
static size_t visit_children(struct supervisor *s, void (*visit)(struct supervisor *s, pid_t pid))
{
    char path[64], line[32];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    if (f == NULL) return 0;
    size_t n = 0;
    for (; fscanf(f, "%31s", line) == 1; n++)
        if (visit != NULL) visit(s, (pid_t)strtol(line, NULL, 10));
    fclose(f);
    return n;
}

void supervisor_adopt_strays(struct supervisor *s)
{
    /* A shell that executed us in its place may have left us children of its own (`sleep 9 & exec thea run
     * ...`): then we cannot tell. */
    s->adopts = visit_children(s, NULL) == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
}

static void kill_stray(struct supervisor *s, pid_t pid)
{
    if (pid > 0 && find_child(s, pid) == NULL) kill(pid, SIGKILL);
}

/* What left its group and lost its parent is re-parented to us. It belongs to nobody any more. */
void supervisor_kill_strays(struct supervisor *s)
{
    if (s->adopts) visit_children(s, kill_stray);
}

void supervisor_signal_all(struct supervisor *s, int sig)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->children[i].pid > 0 && !s->children[i].ended) kill(-s->children[i].pid, sig);
}
