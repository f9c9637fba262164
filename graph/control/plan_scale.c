/* Another number of replicas for a stage of a plan: see plan_scale.h. */
#include "graph/control/plan_scale.h"

#include "graph/control/plan_internal.h"

#include <stdlib.h>
#include <string.h>

enum { REPLICAS_MAX = 1024 };

/* --- the copy --- */

static void *copied(const void *items, size_t count, size_t size)
{
    void *copy = spec_must(calloc(count + 1, size));
    return count > 0 ? memcpy(copy, items, count * size) : copy;
}

static struct plan *copy_plan(const struct plan *old)
{
    struct plan *p = copied(old, 1, sizeof *p);
    p->processes = copied(old->processes, old->process_count, sizeof *p->processes);
    p->links = copied(old->links, old->link_count, sizeof *p->links);
    p->replicas = copied(old->replicas, old->spec->stage_count, sizeof *p->replicas);
    for (size_t i = 0; i < p->process_count; i++) {
        p->processes[i].name = spec_must(strdup(p->processes[i].name));
        p->processes[i].argv = p->processes[i].env = NULL;
    }
    for (size_t i = 0; i < p->link_count; i++) p->links[i].address = spec_must(strdup(p->links[i].address));
    return p;
}

/* --- more, or fewer --- */

/* The place of one that is gone; SIZE_MAX: there never was one. */
static size_t find_gone(const struct plan *p, size_t stage, size_t part, size_t replica)
{
    for (size_t i = 0; i < p->process_count; i++) {
        const struct plan_process *q = &p->processes[i];
        if (q->stage == stage && q->part == part && q->replica == replica && q->gone) return i;
    }
    return SIZE_MAX;
}

static void add_replica(struct plan *p, size_t stage, size_t replica)
{
    size_t parts = (size_t)p->spec->stages[stage].split;
    for (size_t part = 0; part < parts; part++) {
        struct plan_process like = p->processes[plan_process_at(p, stage, part, 0)];
        size_t place = find_gone(p, stage, part, replica);
        if (place != SIZE_MAX)
            p->processes[place].gone = false;
        else
            plan_add_process(p, stage, part, replica, &like);
    }
    plan_add_links(p, NULL);
}

static void drop_replica(struct plan *p, size_t stage, size_t replica)
{
    for (size_t part = 0; part < (size_t)p->spec->stages[stage].split; part++) {
        size_t gone = plan_process_at(p, stage, part, replica);
        p->processes[gone].gone = true;
        for (size_t i = 0; i < p->link_count; i++)
            if (p->links[i].from == gone || p->links[i].to == gone) p->links[i].gone = true;
    }
}

static thea_rc no_such_stage(const struct spec *s, const char *name, struct thea_err *err)
{
    const char **names = spec_must(calloc(s->stage_count + 1, sizeof *names));
    struct buf near = {0}, list = {0};
    for (size_t i = 0; i < s->stage_count; i++) {
        names[i] = s->stages[i].name;
        buf_printf(&list, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    spec_add_nearest(&near, name, names);
    (void)thea_fail(err, THEA_EUSAGE, "no stage '%s'%s\n  stages  %s", name, buf_text(&near),
                    buf_text(&list));
    buf_fini(&near);
    buf_fini(&list);
    free(names);
    return THEA_EUSAGE;
}

static thea_rc check(const struct plan *p, size_t *stage, const char *name, int replicas,
                     struct thea_err *err)
{
    *stage = spec_find_stage(p->spec, name, strlen(name));
    if (*stage == SIZE_MAX) return no_such_stage(p->spec, name, err);
    const struct spec_stage *st = &p->spec->stages[*stage];
    if (st->source || st->sink)
        return thea_fail(err, THEA_EUSAGE, "stage '%s' is a %s: it has one replica", name,
                         st->source ? "source" : "sink");
    if (replicas < 1 || replicas > REPLICAS_MAX)
        return thea_fail(err, THEA_EUSAGE, "stage '%s': %d replicas; 1 to %d are accepted", name, replicas,
                         REPLICAS_MAX);
    return THEA_OK;
}

thea_rc plan_scale(struct plan **out, const struct plan *old, const char *name, int replicas,
                   struct thea_err *err)
{
    size_t stage = 0;
    thea_rc rc = check(old, &stage, name, replicas, err);
    if (rc != THEA_OK) return rc;
    struct plan *p = copy_plan(old);
    if (replicas > p->replicas[stage]) p->replicas[stage] = replicas; /* new ones are named by their number */
    size_t now = (size_t)old->replicas[stage], then = (size_t)replicas;
    for (size_t r = now; r < then; r++) add_replica(p, stage, r);
    for (size_t r = now; r > then; r--) drop_replica(p, stage, r - 1);
    p->replicas[stage] = replicas;
    rc = plan_check_links(p, err);
    if (rc != THEA_OK) {
        plan_free(p);
        return rc;
    }
    for (size_t i = 0; i < p->process_count; i++) plan_make_argv(p, i);
    *out = p;
    return THEA_OK;
}

/* --- who must be told --- */

bool plan_scale_is_new(const struct plan *old, const struct plan *new, size_t process)
{
    return !new->processes[process].gone && (process >= old->process_count || old->processes[process].gone);
}

bool plan_scale_is_leaving(const struct plan *old, const struct plan *new, size_t process)
{
    return process < old->process_count && new->processes[process].gone && !old->processes[process].gone;
}

/* Is it there before and after? */
static bool stays(const struct plan *old, const struct plan *new, size_t process)
{
    return process < old->process_count && !old->processes[process].gone && !new->processes[process].gone;
}

static bool comes(const struct plan *old, const struct plan *new, size_t link)
{
    return !new->links[link].gone && (link >= old->link_count || old->links[link].gone);
}

static bool goes(const struct plan *old, const struct plan *new, size_t link)
{
    return link < old->link_count && new->links[link].gone && !old->links[link].gone;
}

/* The address of a link that is in the same group before and after. */
static const char *beside(const struct plan *old, const struct plan *new, const struct plan_link *link)
{
    for (size_t i = 0; i < old->link_count; i++)
        if (!old->links[i].gone && !new->links[i].gone && plan_same_group(new, &new->links[i], link))
            return new->links[i].address;
    return NULL;
}

static void say(struct plan_messages *out, size_t process, const struct plan_link *link,
                struct json_node *message)
{
    out->items = spec_must(realloc(out->items, (out->count + 1) * sizeof *out->items));
    out->items[out->count++] = (struct plan_message){process, link, message};
}

static struct json_node *about(const char *what, const struct plan_link *link, bool outgoing)
{
    struct json_node *m = json_new_map();
    json_put(m, "do", json_new_string(what));
    json_put(m, "side", json_new_string(outgoing ? "out" : "in"));
    json_put(m, "address", json_new_string(link->address));
    return m;
}

static void say_add(struct plan_messages *out, const struct plan *old, const struct plan *new,
                    const struct plan_link *link, bool outgoing)
{
    static const char *const rules[] = {
        [PLAN_BY_LOAD] = "load", [PLAN_BY_HASH] = "hash", [PLAN_BY_ORIGIN] = "origin"};
    struct json_node *m = about("link_add", link, outgoing);
    const char *out_port = link->feedback ? "feedback" : link->from_port; /* as --out names it */
    json_put(m, "port", json_new_string(outgoing ? out_port : link->to_port));
    if (outgoing) {
        json_put(m, "beside", json_new_string(beside(old, new, link)));
        json_put(m, "rule", json_new_string(rules[plan_link_choice(new, link)]));
    }
    say(out, outgoing ? link->from : link->to, link, m);
}

static void say_close(struct plan_messages *out, const struct plan_link *link, bool outgoing)
{
    struct json_node *m = about("link_drop", link, outgoing);
    json_put(m, "gone", json_new_bool(true));
    say(out, outgoing ? link->from : link->to, link, m);
}

void plan_scale_messages(struct plan_messages *out, const struct plan *old, const struct plan *new,
                         plan_step step)
{
    *out = (struct plan_messages){0};
    for (size_t i = 0; i < new->link_count; i++) {
        const struct plan_link *link = &new->links[i];
        bool from = stays(old, new, link->from), to = stays(old, new, link->to);
        bool added = comes(old, new, i), dropped = goes(old, new, i);
        if (step == PLAN_STEP_PREPARE && added && to) say_add(out, old, new, link, false);
        if (step == PLAN_STEP_PREPARE && added && from && link->feedback) say_add(out, old, new, link, true);
        if (step == PLAN_STEP_FEED && added && from && !link->feedback) say_add(out, old, new, link, true);
        if (step == PLAN_STEP_LEAVE && dropped && from && !link->feedback)
            say(out, link->from, link, about("link_drop", link, true));
        if (step == PLAN_STEP_CLOSE && dropped && from) say_close(out, link, true);
        if (step == PLAN_STEP_CLOSE && dropped && to) say_close(out, link, false);
    }
}

void plan_messages_fini(struct plan_messages *m)
{
    for (size_t i = 0; i < m->count; i++) json_free(m->items[i].message);
    free(m->items);
    *m = (struct plan_messages){0};
}

bool plan_scale_needs_epoch(const struct plan *old, const struct plan *new)
{
    for (size_t i = 0; i < new->link_count; i++) {
        const struct plan_link *link = &new->links[i];
        bool added = comes(old, new, i);
        const struct plan *whole = added ? new : old; /* in which the link is one of its consumer's */
        if ((added || goes(old, new, i)) && stays(old, new, link->from) &&
            plan_link_choice(whole, link) == PLAN_BY_HASH)
            return true;
    }
    return false;
}
