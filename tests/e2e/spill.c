/* Stages whose input may wait on disk: a burst is taken while its reader is slow, what is on disk is bounded,
 * and a kill in the middle changes nothing of what comes out. */
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DOCUMENTS = 300,
    FRAMES = 4,
    VALUES = 2000,
    SMALL = 64 << 10,
    SENT = DOCUMENTS * FRAMES,
    LIMIT_S = RUN_LIMIT_S
};

TestSuite(spill, .timeout = 5 * RUN_LIMIT_S);

struct scene {
    char *dir;
    struct run_child thea;
    struct json_node *top; /* the newest answer */
    int64_t sent;
};

/* `slow` is held at its first frame until it is let go, or killed. */
static void start(struct scene *s, const char *spill)
{
    struct run_result r;
    *s = (struct scene){.dir = run_temp_dir()};
    run_shell(&r, s->dir, RUN_LIMIT_S,
              "printf 'stages:\\n"
              "  count: {kind: count, documents: %d, frames: %d, values: %d, in_flight: %d}\\n"
              "  slow: {kind: slow, from: count, hold: %s, spill: %s}\\n"
              "  keep: {kind: keep, from: slow, output: kept}\\n' > p.yaml",
              DOCUMENTS, FRAMES, VALUES, DOCUMENTS, s->dir, spill);
    cr_assert_eq(r.status, 0);
    run_result_fini(&r);
    run_start(&s->thea, s->dir, "export THEA_RUNS=$PWD/runs THEA_STAGE_PATH=%s/tests; exec thea run p.yaml",
              run_bin_dir());
}

static const struct json_node *named(const struct json_node *list, const char *key, const char *name)
{
    for (size_t i = 0; i < json_count(list); i++)
        if (strcmp(json_text_or(json_item(list, i), key, ""), name) == 0) return json_item(list, i);
    return NULL;
}

static int64_t figure(const struct scene *s, const char *process, const char *key)
{
    return json_int_or(named(json_member(s->top, "processes"), "name", process), key, -1);
}

static int64_t link_figure(const struct scene *s, const char *key)
{
    return json_int_or(named(json_member(s->top, "links"), "to", "slow"), key, -1);
}

static bool look(struct scene *s)
{
    struct run_result r;
    json_free(s->top);
    s->top = NULL;
    run_shell(&r, s->dir, RUN_LIMIT_S, "export THEA_RUNS=$PWD/runs; thea top --once --json --interval 10ms");
    if (r.status == 0)
        cr_assert_eq(json_parse(&s->top, buf_text(&r.out), strcspn(buf_text(&r.out), "\n"), "top", NULL),
                     THEA_OK);
    run_result_fini(&r);
    return s->top != NULL;
}

static bool all_is_sent(void *context)
{
    struct scene *s = context;
    return look(s) && figure(s, "count", "frames_total") >= SENT;
}

static bool disk_fills(void *context)
{
    struct scene *s = context;
    return look(s) && figure(s, "slow", "spilled_bytes") > SMALL / 2;
}

/* Nothing was sent since the last look. */
static bool is_held_back(void *context)
{
    struct scene *s = context;
    int64_t before = s->sent;
    s->sent = look(s) ? figure(s, "count", "frames_total") : -1;
    return s->sent > 0 && s->sent == before;
}

static void expect_all_kept(struct scene *s)
{
    struct run_result r;
    int status = run_wait(&s->thea, LIMIT_S, &r);
    cr_expect_eq(status, 0, "status %d\n%s", status, buf_text(&r.err));
    run_result_fini(&r);
    run_shell(
        &r, s->dir, RUN_LIMIT_S,
        "sort -n kept > got; i=0; while [ $i -lt %d ]; do echo \"$i %d %g\"; i=$((i + 1)); done | cmp - got",
        DOCUMENTS, FRAMES, (double)FRAMES * VALUES * (FRAMES * VALUES - 1) / 2);
    cr_expect_eq(r.status, 0, "%s%s", buf_text(&r.out), buf_text(&r.err));
    run_result_fini(&r);
    json_free(s->top);
    free(s->dir);
}

Test(spill, a_source_is_done_early_and_a_kill_of_the_slow_reader_changes_nothing)
{
    struct scene s;
    start(&s, "64MiB");
    cr_assert(run_until(all_is_sent, &s, LIMIT_S), "the source is held back");
    cr_expect_eq(json_int_or(s.top, "documents", -1), 0);
    cr_expect_gt(figure(&s, "slow", "spilled_bytes"), 100 * VALUES * 4);
    cr_expect_gt(link_figure(&s, "queue"), 100);
    cr_expect_eq(link_figure(&s, "spill"), 64 << 20);
    cr_assert_eq(kill((pid_t)figure(&s, "slow", "pid"), SIGKILL), 0);
    expect_all_kept(&s);
}

Test(spill, a_small_one_holds_the_source_back_when_it_is_full)
{
    struct scene s;
    start(&s, "64KiB");
    struct run_result r;
    cr_assert(run_until(disk_fills, &s, LIMIT_S), "nothing is put on disk");
    cr_assert(run_until(is_held_back, &s, LIMIT_S), "the source is not held back");
    cr_expect_leq(figure(&s, "slow", "spilled_bytes"), SMALL);
    int64_t on_disk = (SMALL / (VALUES * 4) + 1) * (FRAMES + 1) / FRAMES, window = 8;
    int64_t ahead = link_figure(&s, "queue") + link_figure(&s, "in_flight");
    cr_expect_leq(ahead, window + on_disk + 2 * window /* in the link: it may be counted at both ends */,
                  "%ld frames are ahead of their reader", (long)ahead);
    run_shell(&r, s.dir, LIMIT_S, "touch go");
    run_result_fini(&r);
    expect_all_kept(&s);
}

Test(spill, a_plan_says_it_and_pasted_commands_obey_it)
{
    struct run_result r;
    char *dir = run_temp_dir();
    run_shell(&r, dir, LIMIT_S,
              "export THEA_STAGE_PATH=%s/tests; printf 'stages:\\n  count: {kind: count, documents: 20}\\n"
              "  slow: {kind: slow, from: count, spill: 1MiB}\\n"
              "  keep: {kind: keep, from: slow, output: kept, spill: 512KiB}\\n' > p.yaml; "
              "thea plan p.yaml > commands; cat commands; sed -n ':a;/\\\\$/{N;ba};/^thea/s/$/ \\&/p' "
              "commands > all; echo wait >> all; TMPDIR=$PWD sh all; wc -l < kept; ls -A",
              run_bin_dir());
    cr_expect_eq(r.status, 0, "%s", buf_text(&r.err));
    cr_expect_not_null(strstr(buf_text(&r.out), "--spill 1MiB"), "%s", buf_text(&r.out));
    cr_expect_not_null(strstr(buf_text(&r.out), "--spill 512KiB"), "%s", buf_text(&r.out));
    cr_expect_not_null(strstr(buf_text(&r.out), "\n20\nall\ncommands\nkept\np.yaml\n"), "%s%s",
                       buf_text(&r.out), buf_text(&r.err));
    run_result_fini(&r);
    free(dir);
}
