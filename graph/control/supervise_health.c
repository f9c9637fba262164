/* Processes that live in name alone: stuck in an op, stopped, or grown over their limit of memory.
 *
 * A process hangs when it has input and room for its output and yet its counter of progress stands still for
 * its deadline. It is killed then, as one that crashed; its neighbours never judge. */
#include "graph/control/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { LATE_MS = 5000 }; /* so late are we only if we were stopped ourselves */

/* The number behind `key` in a file of /proc with a key on each line; 0: there is none. */
static uint64_t read_number(const char *path, const char *key)
{
    char line[256];
    uint64_t found = 0;
    size_t n = strlen(key);
    FILE *f = fopen(path, "re");
    if (f == NULL) return 0;
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, key, n) == 0) found = strtoull(line + n, NULL, 10);
    fclose(f);
    return found;
}

uint64_t supervisor_oom_kills(void)
{
    return read_number("/proc/vmstat", "oom_kill ");
}

void supervisor_kill(struct child *c, supervisor_cause cause)
{
    if (c->pid <= 0 || c->ended) return;
    if (c->killed_for == SUPERVISOR_NOT_KILLED) c->killed_for = cause;
    kill(-c->pid, SIGKILL);
}

/* Its own memory: not the weights it has mapped, nor the regions of others. */
static uint64_t own_bytes(const struct child *c)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)c->pid);
    return read_number(path, "RssAnon:") * 1024 + atomic_load(&c->page->pool_bytes);
}

static void check_memory(struct supervisor *s, struct child *c)
{
    int64_t limit = supervisor_stage(s, c)->memory_bytes;
    uint64_t own = limit > 0 ? own_bytes(c) : 0;
    if (limit <= 0 || own <= (uint64_t)limit) return;
    c->health.too_many_bytes = own;
    c->health.limit_bytes = (uint64_t)limit;
    supervisor_kill(c, SUPERVISOR_TOO_BIG);
}

static void tell_stopped(struct supervisor *s, struct child *c, uint64_t deadline_ns)
{
    struct buf text = {0};
    if (c->health.stop_told) return;
    c->health.stop_told = true;
    buf_printf(&text, "thea: warning: stage %s (pid %d) was stopped by a signal", c->process->name,
               (int)c->pid);
    if (deadline_ns > 0)
        buf_printf(&text, ": if it does not go on within %g s it is killed", (double)deadline_ns / 1e9);
    if (!s->o->quiet) supervisor_tell(s, text.data);
    buf_fini(&text);
}

static void check_progress(struct supervisor *s, struct child *c, uint64_t now_ns)
{
    struct child_health *h = &c->health;
    uint64_t deadline_ns = (uint64_t)supervisor_stage(s, c)->deadline_ns,
             progress = atomic_load(&c->page->progress);
    bool works = atomic_load(&c->page->has_input) != 0 && atomic_load(&c->page->has_credit) != 0;
    if (progress != h->progress || !works) h->moved_ns = now_ns;
    h->progress = progress;
    if (h->stopped_ns != 0) tell_stopped(s, c, deadline_ns);
    if (deadline_ns == 0) return;
    if (h->stopped_ns != 0 && now_ns - h->stopped_ns > deadline_ns)
        supervisor_kill(c, SUPERVISOR_OURS); /* whoever stopped it: not a document */
    else if (h->stopped_ns == 0 && now_ns - h->moved_ns > deadline_ns)
        supervisor_kill(c, SUPERVISOR_HUNG);
}

void supervisor_health_restart(struct supervisor *s, uint64_t now_ns)
{
    for (size_t i = 0; i < s->count; i++) {
        struct child_health *h = &s->children[i].health;
        h->moved_ns = now_ns;
        if (h->stopped_ns != 0) h->stopped_ns = now_ns;
    }
    s->checked_ns = now_ns;
}

uint64_t supervisor_health_due(const struct supervisor *s)
{
    if (s->plan->spec == NULL || s->phase > SUPERVISOR_DRAINING) return 0;
    return s->checked_ns + SUPERVISOR_HEALTH_MS * SUPERVISOR_NS_PER_MS;
}

void supervisor_health(struct supervisor *s, uint64_t now_ns)
{
    uint64_t due = supervisor_health_due(s);
    if (due == 0 || now_ns < due) return;
    if (now_ns - s->checked_ns > LATE_MS * SUPERVISOR_NS_PER_MS) supervisor_health_restart(s, now_ns);
    s->checked_ns = now_ns;
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        if (c->pid <= 0 || c->ended) continue;
        check_memory(s, c);
        check_progress(s, c, now_ns);
    }
    supervisor_suspects_expire(s, now_ns);
}

void supervisor_note_stops(struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        siginfo_t info = {0};
        if (c->pid <= 0 || c->ended) continue;
        while (waitid(P_PID, (id_t)c->pid, &info, WSTOPPED | WCONTINUED | WNOHANG) == 0 && info.si_pid != 0) {
            bool stopped = info.si_code == CLD_STOPPED;
            c->health.stopped_ns = stopped ? status_now_ns() : 0;
            c->health.moved_ns = status_now_ns();
            c->health.stop_told = false;
            info = (siginfo_t){0};
        }
    }
}
