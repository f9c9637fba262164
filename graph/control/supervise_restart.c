/* Going on after a death: fabric.md section 6.
 *
 * Deaths are collected for a moment; then the epoch is raised, on disk before anyone hears of it, everybody
 * is told, and the dead are started again after their back-off. Sources send again what is not committed;
 * whatever belongs to an older epoch is dropped by who gets it.
 *
 * A run is only repaired if all its processes know the vocabulary: one that ends when its neighbour does
 * would end again and again. */
#include "graph/control/supervisor.h"

#include <stdlib.h>
#include <string.h>

const struct spec_stage *supervisor_stage(const struct supervisor *s, const struct child *c)
{
    static const struct spec_stage plain = {
        .restart = SPEC_RESTART_NEVER, .on_error = SPEC_ON_ERROR_RETRY, .tries = SPEC_TRIES};
    return s->plan->spec != NULL ? &s->plan->spec->stages[c->process->stage] : &plain;
}

/* --- who comes again --- */

/* What starting again cannot mend: a command line, a file that is missing, a full disk, a permission. */
static bool is_permanent(const struct child *c)
{
    if (c->signal != 0) return false;
    switch (c->exit_status) {
    case THEA_EUSAGE:
    case THEA_ENOINPUT:
    case THEA_ECREATE:
    case THEA_EIO:
    case THEA_EPERM:
    case THEA_ECONFIG: return true;
    default: return false;
    }
}

bool supervisor_restarts(const struct supervisor *s, const struct child *c)
{
    if (s->phase > SUPERVISOR_DRAINING || c->stopped_by_us || c->control.final) return false;
    if (c->asked && c->signal == SIGTERM) return false; /* it ended because we asked it to */
    spec_restart wanted = supervisor_stage(s, c)->restart;
    if (wanted == SPEC_RESTART_NEVER) return false;
    if (wanted == SPEC_RESTART_ON_FAILURE && is_permanent(c)) return false;
    if (!c->control.speaks)
        return c->signal != 0 && supervisor_child_failed(c); /* it did not even get ready */
    return supervisor_child_failed(c) || supervisor_left_early(s, c);
}

/* One that speaks stays until FINISH: without it there is no replay, and its neighbours wait for ever. */
bool supervisor_left_early(const struct supervisor *s, const struct child *c)
{
    return c->control.speaks && c->signal == 0 && s->phase < SUPERVISOR_FINISHING && !c->stopped_by_us;
}

/* Somebody runs without having said that it knows what an epoch is. A stage says so first, and then its page
 * that it runs: what is heard after a look at the page is there, or never comes. */
static const struct child *find_mute(struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        uint32_t state = atomic_load(&c->page->state);
        if (c->stopped_by_us) continue; /* it is not to come again */
        if (!c->control.speaks && state != STATUS_STARTING) supervisor_hear(s, c);
        if (!c->control.speaks && !c->waits && (c->ended || state != STATUS_STARTING)) return c;
    }
    return NULL;
}

bool supervisor_any_waits(const struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->children[i].waits) return true;
    return false;
}

static struct child *first_fallen(struct supervisor *s)
{
    struct child *first = NULL;
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        if (!c->waits || c->restart_ns != 0) continue;
        bool better = first == NULL || (supervisor_lost_peer(first) && !supervisor_lost_peer(c));
        if (better) first = c;
    }
    return first;
}

/* --- after a death --- */

void supervisor_mourn(struct supervisor *s, struct child *c, uint64_t now_ns)
{
    c->waits = true;
    c->restart_ns = 0;
    if (s->recover_ns == 0) s->recover_ns = now_ns + SUPERVISOR_SAME_TIME_MS * SUPERVISOR_NS_PER_MS;
}

static void give_up(struct supervisor *s, struct child *c, const char *why)
{
    s->why = why;
    for (size_t i = 0; i < s->count; i++) s->children[i].waits = false;
    supervisor_note_failure(s, c);
}

static uint64_t backoff_ns(const struct supervisor *s, unsigned deaths)
{
    const uint64_t most = SUPERVISOR_BACKOFF_MAX_MS * SUPERVISOR_NS_PER_MS;
    uint64_t ns = s->o->backoff_ns > 0 ? s->o->backoff_ns : SUPERVISOR_BACKOFF_MS * SUPERVISOR_NS_PER_MS;
    while (deaths-- > 0 && ns < most) ns *= 2;
    return ns < most ? ns : most;
}

static void tell_restart(struct supervisor *s, const struct child *c)
{
    struct buf text = {0};
    if (s->o->quiet) return;
    buf_printf(&text, "thea: warning: stage %s (pid %d) ", c->process->name, (int)c->pid);
    supervisor_print_death(c, &text);
    buf_printf(&text, ": starting it again (epoch %llu)", (unsigned long long)s->epoch);
    supervisor_tell(s, text.data);
    buf_fini(&text);
}

bool supervisor_raise_epoch(struct supervisor *s)
{
    struct thea_err err;
    if (rundir_write_epoch(s->o->run, s->epoch + 1, &err) != THEA_OK) {
        supervisor_tell(s, thea_err_message(&err));
        return false;
    }
    s->epoch++;
    struct json_node *m = supervisor_word("epoch");
    json_put(m, "epoch", json_new_int((int64_t)s->epoch));
    supervisor_say_all(s, m);
    json_free(m);
    return true;
}

static void schedule(struct supervisor *s, uint64_t now_ns)
{
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        if (!c->waits || c->restart_ns != 0) continue;
        if (!supervisor_lost_peer(c)) tell_restart(s, c);
        supervisor_accuse(s, c);
        c->restart_ns = now_ns + backoff_ns(s, c->deaths++);
        c->control.enough = false;
        s->restarts++;
    }
}

/* Who only lost a neighbour that died is not counted; if nobody else died, that is no excuse. */
static unsigned count_fallen(const struct supervisor *s, bool lost_peers_too)
{
    unsigned n = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        n += c->waits && c->restart_ns == 0 && (lost_peers_too || !supervisor_lost_peer(c));
    }
    return n;
}

static void recover(struct supervisor *s, uint64_t now_ns)
{
    s->recover_ns = 0;
    supervisor_hear_all(s);
    struct child *first = first_fallen(s);
    if (first == NULL || s->phase > SUPERVISOR_DRAINING) return;
    const struct child *mute = find_mute(s);
    s->deaths += count_fallen(s, supervisor_lost_peer(first));
    supervisor_tell_commits(s);
    if (mute != NULL)
        give_up(s, first, NULL);
    else if (s->deaths > SUPERVISOR_DEATHS_MAX)
        give_up(s, first, "too many deaths without a document done in between");
    else if (!supervisor_raise_epoch(s))
        give_up(s, first, "the new epoch could not be written down");
    else {
        schedule(s, now_ns);
        supervisor_isolate(s, now_ns);
    }
}

static void start_again(struct supervisor *s, struct child *c, uint64_t now_ns)
{
    struct thea_err err;
    if (supervisor_spawn(s, c, &err) != THEA_OK) { /* the system is short of something: later, perhaps */
        supervisor_tell(s, thea_err_message(&err));
        if (++s->deaths > SUPERVISOR_DEATHS_MAX)
            give_up(s, c, "it cannot be started");
        else
            c->restart_ns = now_ns + backoff_ns(s, c->deaths++);
        return;
    }
    c->waits = false;
    c->restart_ns = 0;
    s->alive++;
    supervisor_brief(s, c);
    if (c->process->source && s->suspects.count > 0) supervisor_isolate(s, now_ns);
}

void supervisor_recover(struct supervisor *s, uint64_t now_ns)
{
    if (s->recover_ns != 0 && now_ns >= s->recover_ns) recover(s, now_ns);
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        if (c->waits && c->restart_ns != 0 && now_ns >= c->restart_ns && s->phase <= SUPERVISOR_DRAINING)
            start_again(s, c, now_ns);
    }
}

uint64_t supervisor_recover_due(const struct supervisor *s)
{
    uint64_t due = s->recover_ns;
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        if (c->waits && c->restart_ns != 0 && (due == 0 || c->restart_ns < due)) due = c->restart_ns;
    }
    return due;
}
