/* Another number of replicas while a plan runs: what the plan is then, and who is told what in which order.
 */
#include "graph/control/plan_scale.h"

#include "graph/json.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void use_test_kinds(void)
{
    setenv("THEA_STAGE_PATH", THEA_SOURCE_DIR "/tests/support/kinds", 1);
    unsetenv("THEA_MODEL");
    unsetenv("THEA_THREADS");
}

TestSuite(plan_scale, .init = use_test_kinds);

static struct plan *make(const char *text)
{
    struct spec *spec = NULL;
    struct plan *plan = NULL;
    struct diag_list *diags = diag_list_new();
    struct thea_err err = {0};
    cr_assert_eq(spec_parse(&spec, text, strlen(text), "/p/x.yaml", 1, NULL, diags, &err), THEA_OK, "%s",
                 err.message);
    cr_assert_eq(plan_make(&plan, spec, &err), THEA_OK, "%s", err.message);
    diag_list_free(diags);
    return plan;
}

static void drop(struct plan *p)
{
    struct spec *spec = (struct spec *)(uintptr_t)p->spec;
    plan_free(p);
    spec_free(spec);
}

static struct plan *scale(const struct plan *old, const char *stage, int replicas)
{
    struct plan *new = NULL;
    struct thea_err err = {0};
    cr_assert_eq(plan_scale(&new, old, stage, replicas, &err), THEA_OK, "%s", err.message);
    return new;
}

static void add_cut(struct buf *b, const char *text)
{
    const char *at;
    for (; (at = strstr(text, "abstract://thea-")) != NULL; text = at) {
        buf_printf(b, "%.*s@", (int)(at - text), text);
        for (at += 16 + 16 + 1; *at >= '0' && *at <= '9'; at++) buf_add_char(b, *at);
    }
    buf_add_text(b, text);
}

/* The options of a process from its links on, addresses cut to their numbers. */
static void expect_links(const struct plan *p, const char *name, const char *want)
{
    struct buf b = {0};
    for (size_t i = 0; i < p->process_count; i++) {
        const struct plan_process *q = &p->processes[i];
        if (q->gone || strcmp(q->name, name) != 0) continue;
        for (size_t k = 1; q->argv[k] != NULL; k++) {
            if (strcmp(q->argv[k - 1], "--in") != 0 && strcmp(q->argv[k - 1], "--out") != 0) continue;
            buf_printf(&b, "%s%s ", b.len > 0 ? " " : "", q->argv[k - 1] + 2);
            add_cut(&b, q->argv[k]);
        }
    }
    cr_expect_str_eq(buf_text(&b), want, "%s", name);
    buf_fini(&b);
}

/* What is said in a step: "tokenize out tokens=@7 beside @2 by load", a line each. */
static void expect_step(const struct plan *old, const struct plan *new, plan_step step, const char *want)
{
    struct plan_messages m;
    struct buf b = {0};
    plan_scale_messages(&m, old, new, step);
    for (size_t i = 0; i < m.count; i++) {
        const struct json_node *say = m.items[i].message;
        buf_printf(&b, "%s: %s %s ", new->processes[m.items[i].process].name, json_text_or(say, "do", "?"),
                   json_text_or(say, "side", "?"));
        if (json_member(say, "port") != NULL) buf_printf(&b, "%s=", json_text_or(say, "port", "?"));
        add_cut(&b, json_text_or(say, "address", "?"));
        if (json_member(say, "beside") != NULL) {
            buf_add_text(&b, " beside ");
            add_cut(&b, json_text_or(say, "beside", "?"));
            buf_printf(&b, " by %s", json_text_or(say, "rule", "?"));
        }
        buf_add_text(&b, json_bool_or(say, "gone", false) ? " gone\n" : "\n");
        cr_expect_str_eq(m.items[i].link->address, json_text_or(say, "address", "?"));
    }
    cr_expect_str_eq(buf_text(&b), want);
    plan_messages_fini(&m);
    buf_fini(&b);
}

static const char chain[] =
    "model: mini\nstages:\n  load: {kind: load}\n  tokenize: {kind: tokenize, from: load}\n"
    "  layers: {kind: layers, from: tokenize}\n  write: {kind: write, from: layers.nll}\n";

Test(plan_scale, up_adds_processes_and_links_after_the_old_ones_which_stay_as_they_are)
{
    struct plan *old = make(chain), *new = scale(old, "tokenize", 3);
    cr_assert_eq(new->process_count, 6);
    for (size_t i = 0; i < old->process_count; i++)
        cr_expect_str_eq(new->processes[i].name, old->processes[i].name);
    for (size_t i = 0; i < old->link_count; i++) {
        cr_expect_str_eq(new->links[i].address, old->links[i].address);
        cr_expect_eq(new->links[i].number, old->links[i].number);
    }
    cr_expect_str_eq(new->processes[4].name, "tokenize:1");
    cr_expect_eq(new->processes[5].replica, 2);
    expect_links(new, "load", "out docs=@1,@4,@6");
    expect_links(new, "tokenize", "in docs=@1 out tokens=@2");
    expect_links(new, "tokenize:1", "in docs=@4 out tokens=@5");
    expect_links(new, "layers", "in tokens=@2 in tokens=@5 in tokens=@7 out nll=@3");
    expect_links(old, "load", "out docs=@1");
    cr_expect_eq(new->replicas[1], 3);
    cr_expect_eq(old->replicas[1], 1);
    plan_free(old);
    drop(new);
}

Test(plan_scale, going_up_who_hears_from_a_new_replica_is_told_before_who_sends_to_it)
{
    struct plan *old = make(chain), *new = scale(old, "tokenize", 2);
    expect_step(old, new, PLAN_STEP_PREPARE, "layers: link_add in tokens=@5\n");
    expect_step(old, new, PLAN_STEP_FEED, "load: link_add out docs=@4 beside @1 by load\n");
    expect_step(old, new, PLAN_STEP_LEAVE, "");
    expect_step(old, new, PLAN_STEP_CLOSE, "");
    cr_expect_not(plan_scale_needs_epoch(old, new));
    plan_free(old);
    drop(new);
}

Test(plan_scale, going_down_the_last_replicas_leave)
{
    struct plan *one = make(chain), *three = scale(one, "tokenize", 3), *old = scale(three, "layers", 2),
                *new = scale(old, "tokenize", 1);
    expect_step(old, new, PLAN_STEP_LEAVE, "load: link_drop out @4\nload: link_drop out @6\n");
    expect_step(
        old, new, PLAN_STEP_CLOSE,
        "load: link_drop out @4 gone\nlayers: link_drop in @5 gone\nload: link_drop out @6 gone\nlayers: "
        "link_drop in @7 gone\nlayers:1: link_drop in @9 gone\nlayers:1: link_drop in @10 gone\n");
    expect_step(old, new, PLAN_STEP_FEED, "");
    expect_links(new, "load", "out docs=@1");
    expect_links(new, "layers:1", "in tokens=@8 out nll=@11");
    cr_expect(new->processes[4].gone &&new->processes[5].gone && !new->processes[6].gone);
    cr_expect_not(old->processes[4].gone);
    plan_free(one), plan_free(three), plan_free(old);
    drop(new);
}

Test(plan_scale, up_again_takes_the_places_of_those_that_are_gone)
{
    struct plan *one = make(chain), *two = scale(one, "tokenize", 2), *again = scale(two, "tokenize", 1),
                *new = scale(again, "tokenize", 2);
    cr_expect_eq(new->process_count, two->process_count);
    cr_expect_eq(new->link_count, two->link_count);
    cr_expect(plan_scale_is_new(again, new, 4) && again->processes[4].gone && !new->processes[4].gone);
    cr_expect_not(plan_scale_is_new(again, new, 0));
    expect_links(new, "load", "out docs=@1,@4");
    expect_step(again, new, PLAN_STEP_PREPARE, "layers: link_add in tokens=@5\n");
    expect_step(again, new, PLAN_STEP_FEED, "load: link_add out docs=@4 beside @1 by load\n");
    expect_step(again, new, PLAN_STEP_CLOSE, "");
    plan_free(one), plan_free(two), plan_free(again);
    drop(new);
}

Test(plan_scale, up_again_meets_replicas_that_came_in_between)
{
    struct plan *one = make(chain), *two = scale(one, "tokenize", 2), *down = scale(two, "tokenize", 1),
                *wide = scale(down, "layers", 2), *new = scale(wide, "tokenize", 2);
    cr_expect_eq(new->process_count, wide->process_count);
    cr_expect_eq(new->link_count, wide->link_count + 1); /* tokenize:1 to layers:1 */
    expect_links(new, "tokenize:1", "in docs=@4 out tokens=@5,@8");
    expect_step(wide, new, PLAN_STEP_PREPARE,
                "layers: link_add in tokens=@5\nlayers:1: link_add in tokens=@8\n");
    plan_free(one), plan_free(two), plan_free(down), plan_free(wide);
    drop(new);
}

Test(plan_scale, the_same_number_changes_nothing)
{
    struct plan *old = make(chain), *new = scale(old, "tokenize", 1);
    cr_expect_eq(new->process_count, old->process_count);
    for (plan_step step = PLAN_STEP_PREPARE; step <= PLAN_STEP_CLOSE; step++) expect_step(old, new, step, "");
    plan_free(old);
    drop(new);
}

Test(plan_scale, each_part_of_a_split_stage_gets_the_replica)
{
    struct plan *old = make(
                    "model: mini\nstages:\n  load: {kind: load, format: tokens}\n  layers: {kind: layers, "
                    "from: load, split: 2, feedback: sample}\n  sample: {kind: sample, from: layers}\n  "
                    "write: {kind: write, from: sample}\n"),
                *new = scale(old, "layers", 2);
    cr_expect_str_eq(new->processes[5].name, "layers/0:1");
    cr_expect_str_eq(new->processes[6].name, "layers/1:1");
    cr_expect_eq(new->processes[6].first_block, old->processes[2].first_block);
    expect_links(new, "layers/0:1", "in tokens=@6 in token=@11 out residual=@8,@9");
    expect_step(old, new, PLAN_STEP_PREPARE,
                "layers/1: link_add in residual=@8\nsample: link_add in next=@10\nsample: link_add out "
                "feedback=@11 beside @5 by origin\n");
    expect_step(old, new, PLAN_STEP_FEED,
                "load: link_add out tokens=@6 beside @1 by load\nlayers/0: link_add out residual=@7 beside "
                "@2 by load\n");
    plan_free(old);
    drop(new);
}

Test(plan_scale, a_join_needs_an_epoch_up_and_down)
{
    struct plan *
        one = make("model: mini\nstages:\n  load: {kind: load}\n  t: {kind: tokenize, from: load}\n  layers: "
                   "{kind: layers, from: t}\n  pool: {kind: pool, from: layers}\n  join: {kind: join, from: "
                   "{states: layers.final, vector: pool}}\n  write: {kind: write, from: join}\n"),
       *two = scale(one, "join", 2), *again = scale(two, "join", 1), *other = scale(two, "pool", 2);
    expect_step(
        one, two, PLAN_STEP_FEED,
        "layers: link_add out final=@7 beside @4 by hash\npool: link_add out vector=@8 beside @5 by hash\n");
    cr_expect(plan_scale_needs_epoch(one, two));
    cr_expect(plan_scale_needs_epoch(two, again));
    cr_expect_not(plan_scale_needs_epoch(two, other), "the join's replicas stay, pool's streams do not move");
    plan_free(one), plan_free(again), plan_free(other);
    drop(two);
}

static void expect_refused(const char *stage, int replicas, thea_rc want, const char *message)
{
    struct plan *old = make(chain), *new = NULL;
    struct thea_err err = {0};
    cr_expect_eq(plan_scale(&new, old, stage, replicas, &err), want);
    cr_expect_null(new);
    cr_expect_str_eq(err.message, message);
    drop(old);
}

Test(plan_scale, what_cannot_be_is_refused_and_the_plan_is_as_it_was)
{
    expect_refused("load", 2, THEA_EUSAGE, "stage 'load' is a source: it has one replica");
    expect_refused("write", 2, THEA_EUSAGE, "stage 'write' is a sink: it has one replica");
    expect_refused("layer", 2, THEA_EUSAGE,
                   "no stage 'layer' (did you mean 'layers'?)\n  stages  load, tokenize, layers, write");
    expect_refused("layers", 0, THEA_EUSAGE, "stage 'layers': 0 replicas; 1 to 1024 are accepted");
    expect_refused(
        "layers", 40, THEA_ECONFIG,
        "'tokenize' would have 41 links, 1 in and 40 out; a process has at most 32\n  fewer replicas "
        "of it or of the stages beside it");
}
