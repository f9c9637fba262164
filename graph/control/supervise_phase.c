/* The phases of a run: what each begins with and what its deadline does. They only go forward; see
 * supervise.c. */
#include "graph/control/supervisor.h"

#include <signal.h>
#include <stdio.h>

void supervisor_enter(struct supervisor *s, supervisor_phase phase, uint64_t deadline_ns)
{
    s->phase = phase;
    s->deadline_ns = deadline_ns;
}

static void terminate(struct supervisor *s, uint64_t now_ns, uint64_t patience_ms)
{
    for (size_t i = 0; i < s->count; i++) {
        s->children[i].stopped_by_us |= !s->children[i].ended;
        s->children[i].waits = false;
    }
    supervisor_signal_all(s, SIGTERM);
    supervisor_signal_all(s, SIGCONT); /* a stopped process would never see it */
    supervisor_close_stdin(s);
    supervisor_enter(s, SUPERVISOR_TERMINATING, now_ns + patience_ms * SUPERVISOR_NS_PER_MS);
}

static void drain(struct supervisor *s, uint64_t now_ns)
{
    if (!s->o->quiet)
        supervisor_tell(s, "thea: ending: what is in flight is finished first (once more to abort)");
    struct json_node *m = supervisor_word("drain");
    supervisor_say_all(s, m);
    json_free(m);
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        if (!c->process->source || c->ended || c->pid <= 0) continue;
        c->asked = true; /* also to wake it from a read: it may not hear its channel */
        kill(-c->pid, SIGTERM);
    }
    supervisor_close_stdin(s);
    s->news_ns = now_ns + SUPERVISOR_NEWS_MS * SUPERVISOR_NS_PER_MS;
    supervisor_enter(s, SUPERVISOR_DRAINING, now_ns + s->o->drain_timeout_ns);
}

void supervisor_interrupt(struct supervisor *s, int sig, uint64_t now_ns)
{
    bool first = s->interrupted == 0;
    if (first && s->phase == SUPERVISOR_FINISHING) return; /* all is done already */
    if (first) s->interrupted = sig;
    if (first && s->phase == SUPERVISOR_RUNNING)
        drain(s, now_ns);
    else if (!first && s->phase < SUPERVISOR_TERMINATING)
        terminate(s, now_ns, SUPERVISOR_ABORT_MS);
}

static bool is_busy(const struct child *c)
{
    uint64_t streams[STATUS_WORK_MAX];
    if (c->ended) return false;
    return !c->control.speaks || atomic_load(&c->page->has_input) != 0 ||
           status_get_streams(c->page, streams) > 0;
}

static void tell_busy(struct supervisor *s, const char *headline)
{
    struct buf text = {0};
    char work[256];
    buf_add_text(&text, headline);
    for (size_t i = 0; i < s->count; i++) {
        if (!is_busy(&s->children[i])) continue;
        status_get_work(s->children[i].page, work, sizeof work);
        buf_printf(&text, "\n  %s (%s)", s->children[i].process->name,
                   work[0] != '\0' ? work : "no document");
    }
    supervisor_tell(s, text.data);
    buf_fini(&text);
}

static void give_up_draining(struct supervisor *s, uint64_t now_ns)
{
    char headline[96];
    snprintf(headline, sizeof headline, "thea: warning: not drained after %g s, ending what is still busy:",
             (double)s->o->drain_timeout_ns / 1e9);
    tell_busy(s, headline);
    terminate(s, now_ns, SUPERVISOR_ABORT_MS);
}

uint64_t supervisor_news_due(const struct supervisor *s)
{
    return s->phase == SUPERVISOR_DRAINING && !s->o->quiet ? s->news_ns : 0;
}

void supervisor_news(struct supervisor *s, uint64_t now_ns)
{
    uint64_t due = supervisor_news_due(s);
    if (due == 0 || now_ns < due) return;
    s->news_ns = now_ns + SUPERVISOR_NEWS_MS * SUPERVISOR_NS_PER_MS;
    tell_busy(s, "thea: ending: still busy are");
}

void supervisor_deadline(struct supervisor *s, uint64_t now_ns)
{
    if (s->deadline_ns == 0 || now_ns < s->deadline_ns) return;
    switch (s->phase) {
    case SUPERVISOR_RUNNING: break;
    case SUPERVISOR_DRAINING: give_up_draining(s, now_ns); break;
    case SUPERVISOR_FINISHING: /* nothing is lost: who does not close in order is not waited for */
    case SUPERVISOR_FAILING: terminate(s, now_ns, SUPERVISOR_TERM_MS); break;
    case SUPERVISOR_TERMINATING:
    case SUPERVISOR_KILLING:
        supervisor_signal_all(s, SIGKILL);
        supervisor_enter(s, SUPERVISOR_KILLING, now_ns + 1000 * SUPERVISOR_NS_PER_MS);
        break;
    }
}

void supervisor_stop(struct supervisor *s)
{
    uint64_t before = status_now_ns();
    supervisor_progress_erase(s);
    supervisor_signal_all(s, SIGTSTP);
    raise(SIGSTOP);
    supervisor_signal_all(s, SIGCONT);
    if (s->deadline_ns != 0) s->deadline_ns += status_now_ns() - before;
    supervisor_health_restart(s, status_now_ns());
}
