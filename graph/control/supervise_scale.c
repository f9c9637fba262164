/* More or fewer replicas of a stage while the run goes on: docs/architecture.md, "Replicas". One change at a
 * time; the others wait for their turn.
 *
 * Up: the new processes start, and who hears from them is told (PREPARE); once all have obeyed, who sends to
 * them is (FEED). Down: who sends to those that go gives them no new streams (LEAVE); once they have passed
 * eof on, all links to them are closed and they end (CLOSE). The plan is the new one from PREPARE on, or from
 * CLOSE on: by it a process is started again that dies in between.
 *
 * A new process that cannot be started, or dies before it is ready, takes its whole change back.
 *
 * Invariant: a step begins when all that was said in the one before was obeyed, or its hearer died and was
 * started again by a plan that says the same. */
#include "graph/control/supervisor.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static size_t index_of(const struct supervisor *s, const struct child *c)
{
    return (size_t)(c - s->children);
}

/* --- the plans --- */

static void keep_plan(struct supervisor_scale *sc, struct plan *plan)
{
    sc->plans = reallocarray(sc->plans, sc->plan_count + 1, sizeof *sc->plans);
    if (sc->plans == NULL) abort();
    sc->plans[sc->plan_count++] = plan;
}

static void use_plan(struct supervisor *s, const struct plan *plan)
{
    s->plan = plan;
    for (size_t i = 0; i < s->count; i++) s->children[i].process = &plan->processes[i];
}

/* Once a change is done nobody looks into the plans before it. */
static void forget_plans(struct supervisor *s)
{
    struct supervisor_scale *sc = &s->scale;
    size_t kept = 0;
    for (size_t i = 0; i < sc->plan_count; i++)
        if (sc->plans[i] == s->plan)
            sc->plans[kept++] = sc->plans[i];
        else
            plan_free(sc->plans[i]);
    sc->plan_count = kept;
    sc->old = sc->new = NULL;
}

struct plan *supervisor_scale_take_plan(struct supervisor *s)
{
    struct supervisor_scale *sc = &s->scale;
    for (size_t i = 0; i < sc->plan_count; i++) {
        if (sc->plans[i] != s->plan) continue;
        struct plan *last = sc->plans[i];
        sc->plans[i] = sc->plans[--sc->plan_count];
        return last;
    }
    return NULL;
}

static bool is_new(const struct supervisor_scale *sc, size_t process)
{
    return plan_scale_is_new(sc->old, sc->new, process);
}

static bool is_leaving(const struct supervisor_scale *sc, size_t process)
{
    return plan_scale_is_leaving(sc->old, sc->new, process);
}

/* --- what is said, and whether it was obeyed --- */

static void forget_said(struct supervisor_scale *sc)
{
    plan_messages_fini(&sc->said);
    free(sc->heard);
    sc->heard = NULL;
}

static void say_again(struct supervisor *s, size_t i)
{
    const struct plan_message *m = &s->scale.said.items[i];
    struct child *c = &s->children[m->process];
    s->scale.heard[i] = (struct supervisor_heard){.incarnation = c->incarnation};
    supervisor_say(s, c, json_copy_node(m->message));
}

static void say_step(struct supervisor *s, plan_step step)
{
    struct supervisor_scale *sc = &s->scale;
    forget_said(sc);
    plan_scale_messages(&sc->said, sc->old, sc->new, step);
    sc->heard = calloc(sc->said.count + 1, sizeof *sc->heard);
    if (sc->heard == NULL) abort();
    sc->step = step;
    for (size_t i = 0; i < sc->said.count; i++) say_again(s, i);
}

bool supervisor_hear_linked(struct supervisor *s, struct child *c, const struct json_node *m)
{
    struct supervisor_scale *sc = &s->scale;
    const char *address = json_text(json_member(m, "address"), NULL);
    for (size_t i = 0; address != NULL && i < sc->said.count; i++)
        if (sc->said.items[i].process == index_of(s, c) &&
            strcmp(sc->said.items[i].link->address, address) == 0)
            sc->heard[i].obeyed = true;
    return address != NULL;
}

/* A process that was started again: the plan in force told it, but for LEAVE, which is not in the plan yet.
 */
static bool all_obeyed(struct supervisor *s)
{
    struct supervisor_scale *sc = &s->scale;
    bool all = true;
    for (size_t i = 0; i < sc->said.count; i++) {
        const struct child *c = &s->children[sc->said.items[i].process];
        bool anew = c->incarnation != sc->heard[i].incarnation;
        if (c->waits || c->ended) {
            all = all && !c->waits;
        } else if (anew && sc->step == PLAN_STEP_LEAVE) {
            say_again(s, i);
            all = false;
        } else {
            all = all && (anew || sc->heard[i].obeyed);
        }
    }
    return all;
}

/* --- up --- */

/* It could not be started: it is there, but as one that is gone. */
static void bury(struct supervisor *s, struct child *c)
{
    c->stopped_by_us = true;
    if (c->page == NULL && status_map(&c->page, -1, NULL) != THEA_OK) abort();
    if (c->pid > 0 && !c->ended)
        kill(-c->pid, SIGKILL);
    else
        c->ended = true;
    (void)s;
}

/* In the place of one that left: what that one did is no longer its. */
static void come_back(struct child *c)
{
    c->stopped_by_us = c->ended = c->waits = false;
    c->pid = 0;
    c->deaths = 0;
}

static thea_rc start_new(struct supervisor *s, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    for (size_t i = 0; i < s->plan->process_count; i++) {
        if (!is_new(&s->scale, i)) continue;
        struct child *c = &s->children[i];
        if (i == s->count) {
            supervisor_init_child(c, &s->plan->processes[i]);
            s->count++;
        }
        come_back(c);
        if (rc == THEA_OK) rc = supervisor_spawn(s, c, err);
        if (rc == THEA_OK)
            s->alive++, supervisor_brief(s, c);
        else
            bury(s, c);
    }
    return rc;
}

/* Who listens for the new ones does so no more. Nobody ever sent on these links, so there is no eof to wait
 * for. */
static void say_undone(struct supervisor *s, const struct plan *back)
{
    struct plan_messages undone;
    plan_scale_messages(&undone, s->plan, back, PLAN_STEP_CLOSE);
    for (size_t i = 0; i < undone.count; i++) {
        json_put(undone.items[i].message, "never", json_new_bool(true));
        supervisor_say(s, &s->children[undone.items[i].process], json_copy_node(undone.items[i].message));
    }
    plan_messages_fini(&undone);
}

/* Back to as many as there were; the new ones are no more. */
static void undo(struct supervisor *s, const struct thea_err *why)
{
    struct supervisor_scale *sc = &s->scale;
    struct plan *back = NULL;
    struct thea_err err;
    struct buf text = {0};
    const char *stage = s->plan->spec->stages[sc->stage].name;
    if (plan_scale(&back, s->plan, stage, sc->old->replicas[sc->stage], &err) != THEA_OK) abort();
    for (size_t i = 0; i < s->count; i++)
        if (is_new(sc, i)) bury(s, &s->children[i]);
    if (sc->said.count > 0) say_undone(s, back);
    forget_said(sc);
    keep_plan(sc, back);
    use_plan(s, back);
    buf_printf(&text, "thea: warning: stage %s keeps %d replica%s: %s", stage, back->replicas[sc->stage],
               back->replicas[sc->stage] == 1 ? "" : "s", thea_err_message(why));
    supervisor_tell(s, text.data);
    buf_fini(&text);
    forget_plans(s);
}

bool supervisor_scale_lost(struct supervisor *s, struct child *c)
{
    struct supervisor_scale *sc = &s->scale;
    if (sc->new == NULL || s->phase > SUPERVISOR_DRAINING || sc->step != PLAN_STEP_PREPARE) return false;
    if (!is_new(sc, index_of(s, c)) || c->control.ready) return false;
    c->stopped_by_us = true; /* no failure of the run's */
    if (sc->lost == NULL) sc->lost = c;
    return true;
}

static void undo_lost(struct supervisor *s)
{
    struct thea_err err;
    struct buf why = {0};
    buf_printf(&why, "%s (pid %d) ", s->scale.lost->process->name, (int)s->scale.lost->pid);
    supervisor_print_death(s->scale.lost, &why);
    buf_add_text(&why, " before it was ready");
    (void)thea_fail(&err, THEA_ESOFTWARE, "%s", buf_text(&why));
    s->scale.lost = NULL;
    undo(s, &err);
    buf_fini(&why);
}

static void begin_up(struct supervisor *s)
{
    struct thea_err err;
    use_plan(s, s->scale.new);
    if (start_new(s, &err) == THEA_OK)
        say_step(s, PLAN_STEP_PREPARE);
    else
        undo(s, &err);
}

static bool all_ready(const struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (is_new(&s->scale, i) && !s->children[i].control.ready && !s->children[i].ended) return false;
    return true;
}

/* --- down --- */

static bool all_passed(const struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        if (is_leaving(&s->scale, i) && !c->ended && c->control.passed_epoch != s->epoch) return false;
    }
    return true;
}

static void close_down(struct supervisor *s, uint64_t now_ns)
{
    use_plan(s, s->scale.new);
    for (size_t i = 0; i < s->count; i++) {
        if (!is_leaving(&s->scale, i)) continue;
        s->children[i].stopped_by_us = true; /* its end is no failure, and it does not come again */
        s->children[i].waits = false;
        supervisor_say(s, &s->children[i], supervisor_word("finish"));
    }
    say_step(s, PLAN_STEP_CLOSE);
    s->scale.deadline_ns = now_ns + SUPERVISOR_FINISH_MS * SUPERVISOR_NS_PER_MS;
}

static bool all_ended(struct supervisor *s, uint64_t now_ns)
{
    bool all = true;
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        if (!is_leaving(&s->scale, i) || c->ended) continue;
        if (now_ns >= s->scale.deadline_ns) kill(-c->pid, SIGKILL);
        all = false;
    }
    return all;
}

/* --- step by step --- */

/* A resume goes on with as many. */
static void write_down(struct supervisor *s)
{
    struct thea_err err;
    struct json_node *map = json_new_map();
    for (size_t i = 0; i < s->plan->spec->stage_count; i++)
        if (!s->plan->spec->stages[i].source && !s->plan->spec->stages[i].sink)
            json_put(map, s->plan->spec->stages[i].name, json_new_int(s->plan->replicas[i]));
    char *text = json_print(map, 0, 0);
    if (rundir_write(s->o->run, "replicas", text, strlen(text), &err) != THEA_OK)
        supervisor_tell(s, thea_err_message(&err));
    free(text);
    json_free(map);
}

static void finish_change(struct supervisor *s)
{
    struct supervisor_scale *sc = &s->scale;
    struct buf text = {0};
    int replicas = sc->new->replicas[sc->stage];
    forget_said(sc);
    forget_plans(s);
    write_down(s);
    buf_printf(&text, "thea: stage %s has %d replica%s now", s->plan->spec->stages[sc->stage].name, replicas,
               replicas == 1 ? "" : "s");
    if (!s->o->quiet) supervisor_tell(s, text.data);
    buf_fini(&text);
}

/* The choice of a join changes with the epoch, which must not come before all have heard. True: not yet. */
static bool must_raise(struct supervisor *s)
{
    struct supervisor_scale *sc = &s->scale;
    if (sc->raised || !plan_scale_needs_epoch(sc->old, sc->new)) return false;
    sc->raised = supervisor_raise_epoch(s);
    return sc->step == PLAN_STEP_LEAVE;
}

static void begin_next(struct supervisor *s)
{
    struct supervisor_scale *sc = &s->scale;
    struct supervisor_wish wish = sc->wishes[0];
    struct plan *new = NULL;
    struct thea_err err;
    memmove(sc->wishes, sc->wishes + 1, --sc->wish_count * sizeof wish);
    if (plan_scale(&new, s->plan, wish.stage, wish.replicas, &err) != THEA_OK) {
        supervisor_tell(s, thea_err_message(&err));
    } else {
        keep_plan(sc, new);
        sc->old = s->plan;
        sc->new = new;
        sc->raised = false;
        sc->deadline_ns = 0;
        sc->stage = 0;
        while (strcmp(new->spec->stages[sc->stage].name, wish.stage) != 0) sc->stage++;
        if (new->replicas[sc->stage] > sc->old->replicas[sc->stage])
            begin_up(s);
        else
            say_step(s, PLAN_STEP_LEAVE);
    }
    free(wish.stage);
}

void supervisor_scale_step(struct supervisor *s, uint64_t now_ns)
{
    struct supervisor_scale *sc = &s->scale;
    if (s->phase > SUPERVISOR_DRAINING || s->recover_ns != 0) return;
    if (sc->lost != NULL) undo_lost(s);
    if (sc->new == NULL && sc->wish_count > 0) begin_next(s);
    if (sc->new == NULL || !all_obeyed(s)) return;
    switch (sc->step) {
    case PLAN_STEP_PREPARE:
        if (all_ready(s)) say_step(s, PLAN_STEP_FEED);
        break;
    case PLAN_STEP_FEED:
        (void)must_raise(s);
        finish_change(s);
        break;
    case PLAN_STEP_LEAVE:
        if (!must_raise(s) && all_passed(s)) close_down(s, now_ns);
        break;
    case PLAN_STEP_CLOSE:
        if (all_ended(s, now_ns)) finish_change(s);
        break;
    }
}

uint64_t supervisor_scale_due(const struct supervisor *s)
{
    return s->scale.new != NULL && s->scale.step == PLAN_STEP_CLOSE ? s->scale.deadline_ns : 0;
}

/* --- the wish --- */

/* Those that the change before this one brings are waited for. */
static const struct child *find_silent(const struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        bool comes = s->scale.new != NULL &&is_new(&s->scale, i);
        if (!comes && !c->control.speaks && !c->process->gone) return c;
    }
    return NULL;
}

thea_rc supervisor_scale(struct supervisor *s, const char *stage, int replicas, struct thea_err *err)
{
    struct supervisor_scale *sc = &s->scale;
    const struct child *silent = find_silent(s);
    struct plan *new = NULL;
    if (s->phase != SUPERVISOR_RUNNING) return thea_fail(err, THEA_EBUSY, "the run is ending");
    if (silent != NULL)
        return thea_fail(err, THEA_EBUSY,
                         "stage %s is not ready yet, or its program knows nothing of replicas",
                         silent->process->name);
    thea_rc rc = plan_scale(&new, sc->new != NULL ? sc->new : s->plan, stage, replicas, err);
    if (rc != THEA_OK) return rc;
    size_t processes = new->process_count;
    plan_free(new);
    if (processes > s->room)
        return thea_fail(err, THEA_EBUSY, "the run has had %zu processes; %zu are the most", s->count,
                         s->room);
    sc->wishes = reallocarray(sc->wishes, sc->wish_count + 1, sizeof *sc->wishes);
    char *name = strdup(stage);
    if (sc->wishes == NULL || name == NULL) abort();
    sc->wishes[sc->wish_count++] = (struct supervisor_wish){name, replicas};
    return THEA_OK;
}

void supervisor_scale_fini(struct supervisor *s)
{
    struct supervisor_scale *sc = &s->scale;
    forget_said(sc);
    for (size_t i = 0; i < sc->plan_count; i++) plan_free(sc->plans[i]);
    for (size_t i = 0; i < sc->wish_count; i++) free(sc->wishes[i].stage);
    free(sc->plans);
    free(sc->wishes);
}
