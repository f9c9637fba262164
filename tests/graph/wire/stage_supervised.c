/* Stages as processes that are supervised: they live through each other's deaths, and every document comes
 * out once. */
#include "graph/status.h"
#include "tests/graph/wire/crew.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES = 5 }; /* of each document, with four values: 0 + … + 19 = 190 */

static struct crew crew;
static struct crew_member *source, *middle, *sink;

static bool everybody_lives_again(const struct crew *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->members[i].pid == 0 || !c->members[i].ready || c->members[i].doomed) return false;
    return true;
}

static bool one_committed(const struct crew *c)
{
    return crew_committed(c) >= 1;
}

static void open_chain(const char *more_of_source, const char *more_of_middle)
{
    char text[512];
    crew_open(&crew);
    snprintf(text, sizeof text, "count --frames 5 --out values=A1 %s", more_of_source);
    source = crew_add(&crew, text);
    snprintf(text, sizeof text, "slow --in values=A1 --out values=A2 %s", more_of_middle);
    middle = crew_add(&crew, text);
    sink = crew_add(&crew, "keep --output kept --in values=A2");
}

static void expect_kept(int documents)
{
    struct buf got = {0}, wanted = {0};
    for (int i = 0; i < documents; i++) buf_printf(&wanted, "%d %d 190\n", i, FRAMES);
    crew_read(&crew, "kept", &got);
    cr_assert_str_eq(buf_text(&got), buf_text(&wanted));
    buf_fini(&got);
    buf_fini(&wanted);
}

static void expect_orderly_end(void)
{
    for (size_t i = 0; i < crew.count; i++)
        cr_assert_eq(crew.members[i].status, 0, "%s: %d", crew.members[i].args[0], crew.members[i].status);
}

static bool some_committed(const struct crew *c)
{
    return crew_committed(c) >= 3;
}

static bool all_passed(const struct crew *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (!c->members[i].passed) return false;
    return true;
}

Test(stage_supervised, a_run_without_trouble_ends_when_it_is_told_to)
{
    open_chain("--documents 30", "");
    crew_start(&crew);
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_kept(30);
    cr_assert_eq(crew.restarts, 0);
    cr_assert(crew_heard(&crew, "count {'did': 'total', 'streams': 30}"));
    cr_assert(crew_heard(&crew, "slow {'did': 'ready'}"));
    cr_assert(crew_heard(&crew, "slow {'did': 'passed', 'epoch': 1}"));
    cr_assert(crew_heard(&crew, "keep {'did': 'done', 'epoch': 1}"));
    crew_close(&crew);
}

static void kill_and_expect_all(struct crew_member **victim)
{
    open_chain("--documents 40", "--delay 200us");
    crew_start(&crew);
    crew_until(&crew, some_committed);
    crew_kill(&crew, *victim);
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_kept(40);
    cr_assert_eq(crew.restarts, 1);
    crew_close(&crew);
}

Test(stage_supervised, a_killed_source_goes_on_where_the_sink_is)
{
    kill_and_expect_all(&source);
}

Test(stage_supervised, a_killed_stage_is_replayed_through)
{
    kill_and_expect_all(&middle);
}

Test(stage_supervised, a_killed_sink_repeats_nothing_that_it_has)
{
    kill_and_expect_all(&sink);
}

static uint64_t goal;

static bool goal_reached(const struct crew *c)
{
    return crew_committed(c) >= goal || all_passed(c);
}

Test(stage_supervised, many_deaths_change_nothing)
{
    open_chain("--documents 60 --in-flight 5", "--delay 100us");
    struct crew_member *victims[] = {source, middle, sink};
    crew.stays = true;
    crew_start(&crew);
    for (size_t i = 0; i < 12; i++) {
        goal = i * 4;
        crew_until(&crew, goal_reached);
        crew_kill(&crew, victims[i % 3]);
        crew_until(&crew, everybody_lives_again);
    }
    crew.stays = false;
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_kept(60);
    cr_assert_eq(crew.restarts, 12);
    crew_close(&crew);
}

Test(stage_supervised, two_that_die_together_come_again_together)
{
    open_chain("--documents 40", "--delay 100us");
    crew_start(&crew);
    crew_until(&crew, some_committed);
    crew_kill(&crew, middle);
    crew_kill(&crew, sink);
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_kept(40);
    crew_close(&crew);
}

Test(stage_supervised, who_has_passed_eof_serves_again_in_a_new_epoch)
{
    open_chain("--documents 10", "");
    crew.stays = true;
    crew_start(&crew);
    crew_until(&crew, all_passed);
    struct crew_member *victims[] = {sink, middle, source};
    for (size_t i = 0; i < 3; i++) {
        crew_kill(&crew, victims[i]);
        crew_until(&crew, everybody_lives_again);
        crew_until(&crew, all_passed);
        cr_assert_eq(crew.epoch, 2 + i);
    }
    cr_assert_eq(source->passes, 4);
    crew.stays = false;
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_kept(10);
    crew_close(&crew);
}

/* --- crash points of the sink --- */

static void expect_all_after(const char *fault)
{
    open_chain("--documents 12", "");
    char *once = NULL;
    if (asprintf(&once, "%s:%s/struck", fault, crew.dir) < 0) abort();
    setenv("THEA_FAULT", once, 1);
    crew_start(&crew);
    crew_until(&crew, NULL);
    unsetenv("THEA_FAULT");
    expect_orderly_end();
    expect_kept(12);
    cr_assert_eq(crew.restarts, 1, "%s", fault);
    free(once);
    crew_close(&crew);
}

Test(stage_supervised, every_moment_of_a_crash_gives_the_same_result)
{
    expect_all_after("keep.before_write:4");
    expect_all_after("keep.after_write:4");
    expect_all_after("keep.frame:1");
    expect_all_after("count.piece:1");
    expect_all_after("count.piece:60");
    expect_all_after("slow.frame:33");
}

/* --- documents that fail --- */

Test(stage_supervised, a_document_that_fails_once_is_tried_again)
{
    open_chain("--documents 12", "--fault edoc --at 17");
    crew_start(&crew);
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_kept(12);
    cr_assert(crew_heard(&crew,
                         "keep {'did': 'failed', 'stream': 3, 'attempt': 0, 'epoch': 1, 'stage': 'slow', "
                         "'reason': 'frame 17 is bad on demand', 'id': 'doc-3'}"),
              "%s", buf_text(&crew.told));
    crew_close(&crew);
}

Test(stage_supervised, a_document_that_always_fails_is_given_up_after_its_tries)
{
    struct buf got = {0};
    open_chain("--documents 6", "--poison 2");
    crew_start(&crew);
    crew_until(&crew, NULL);
    cr_assert_eq(source->status, 0);
    cr_assert_eq(middle->status, 0);
    cr_assert_eq(sink->status, 1, "a document is set aside: %d", sink->status);
    crew_read(&crew, "kept", &got);
    cr_assert_str_eq(buf_text(&got),
                     "0 5 190\n1 5 190\n2 aside document 2 is poison\n3 5 190\n4 5 190\n5 5 190\n");
    cr_assert(crew_heard(&crew, "'stream': 2, 'attempt': 2"));
    cr_assert(crew_heard(&crew, "keep {'did': 'aside', 'stream': 2}"));
    cr_assert_not(crew_heard(&crew, "'attempt': 3"));
    buf_fini(&got);
    crew_close(&crew);
}

/* --- pause, drain, enough --- */

static bool paused_at_seven(const struct crew *c)
{
    return crew_committed(c) >= 7;
}

Test(stage_supervised, a_pause_holds_new_documents_back_and_go_lets_them_go_on)
{
    open_chain("--documents 30 --in-flight 7", "");
    crew_spawn(&crew, source);
    crew_say(&crew, source, "{'do': 'only', 'stream': 4}"); /* 4 alone: nothing else moves while we look */
    crew_spawn(&crew, middle);                              /* now: without readers it has sent nothing */
    crew_spawn(&crew, sink);
    crew_until(&crew, one_committed);
    cr_assert(ranges_has(&crew.committed, 4));
    cr_assert_eq(crew_committed(&crew), 1);
    crew_say(&crew, source, "{'do': 'pause'}");
    crew_say(&crew, source, "{'do': 'all'}");
    crew_say(&crew, source, "{'do': 'go'}");
    crew_until(&crew, paused_at_seven);
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_kept(30);
    crew_close(&crew);
}

static void expect_whole_documents(void)
{
    struct buf got = {0};
    crew_read(&crew, "kept", &got);
    uint64_t lines = 0;
    for (const char *p = buf_text(&got); *p != '\0'; p = strchr(p, '\n') + 1, lines++) {
        unsigned long long stream = 0;
        int frames = 0, sum = 0;
        cr_assert_eq(sscanf(p, "%llu %d %d", &stream, &frames, &sum), 3);
        cr_assert(stream == lines && frames == FRAMES && sum == 190, "line %d: %.40s", (int)lines, p);
    }
    cr_assert_eq(lines, crew_committed(&crew));
    cr_assert_lt(lines, 1000000);
    buf_fini(&got);
}

Test(stage_supervised, a_drain_ends_with_whole_documents)
{
    open_chain("--documents 1000000", "--delay 100us");
    crew_start(&crew);
    crew_until(&crew, some_committed);
    crew_say(&crew, NULL, "{'do': 'drain'}");
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_whole_documents();
    crew_close(&crew);
}

Test(stage_supervised, a_sink_that_has_enough_stops_the_others_and_says_so)
{
    crew_open(&crew);
    source = crew_add(&crew, "count --documents 1000000 --frames 5 --out values=A1");
    middle = crew_add(&crew, "slow --in values=A1 --out values=A2");
    sink = crew_add(&crew, "show --limit 20 --in values=A2");
    crew_start(&crew);
    crew_until(&crew, NULL);
    expect_orderly_end();
    cr_assert(crew_heard(&crew, "show {'did': 'enough'}"));
    crew_close(&crew);
}

Test(stage_supervised, a_process_whose_supervisor_is_gone_ends)
{
    open_chain("--documents 1000000", "--delay 100us");
    crew_start(&crew);
    crew_until(&crew, some_committed);
    for (size_t i = 0; i < crew.count; i++) {
        channel_free(crew.members[i].channel);
        crew.members[i].channel = NULL;
    }
    crew.finishing = true;
    crew_until(&crew, NULL);
    for (size_t i = 0; i < crew.count; i++) cr_assert_eq(crew.members[i].status, THEA_EFRAME);
    crew_close(&crew);
}

/* --- replicas --- */

static void open_replicas(void)
{
    crew_open(&crew);
    source = crew_add(&crew, "count --documents 60 --frames 5 --out values=A1,A2");
    middle = crew_add(&crew, "slow --delay 100us --in values=A1 --out values=A3");
    crew_add(&crew, "slow --delay 300us --replica 1 --in values=A2 --out values=A4");
    sink = crew_add(&crew, "keep --output kept --in values=A3 --in values=A4");
}

Test(stage_supervised, replicas_share_the_documents_and_eof_waits_for_both)
{
    open_replicas();
    crew_start(&crew);
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_kept(60);
    crew_close(&crew);
}

Test(stage_supervised, a_replica_that_dies_loses_nothing)
{
    open_replicas();
    crew_start(&crew);
    crew_until(&crew, some_committed);
    crew_kill(&crew, middle);
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_kept(60);
    crew_close(&crew);
}

static bool is_linked(const struct crew *c)
{
    return crew_heard(c, "keep {'did': 'linked'");
}

static bool source_linked(const struct crew *c)
{
    return crew_heard(c, "count {'did': 'linked'");
}

static bool has_left(const struct crew *c)
{
    return crew_heard(c, "count {'did': 'left'") && c->members[3].passed;
}

static bool newcomer_ended(const struct crew *c)
{
    return c->members[3].pid == 0;
}

Test(stage_supervised, a_replica_comes_and_goes_while_the_run_goes_on)
{
    crew_open(&crew);
    source = crew_add(&crew, "count --documents 1000000 --frames 5 --out values=A1");
    middle = crew_add(&crew, "slow --delay 100us --in values=A1 --out values=A3");
    sink = crew_add(&crew, "keep --output kept --in values=A3");
    crew_start(&crew);
    crew_until(&crew, some_committed);
    crew_say(&crew, sink, "{'do': 'link_add', 'side': 'in', 'port': 'values', 'address': 'A4'}");
    crew_until(&crew, is_linked);
    struct crew_member *newcomer =
        crew_add(&crew, "slow --delay 100us --replica 1 --in values=A2 --out values=A4");
    crew_spawn(&crew, newcomer);
    crew_say(&crew, source,
             "{'do': 'link_add', 'side': 'out', 'port': 'values', 'address': 'A2', 'beside': 'A1'}");
    crew_until(&crew, source_linked);
    goal = crew_committed(&crew) + 100;
    crew_until(&crew, goal_reached);
    crew_say(&crew, source, "{'do': 'link_drop', 'side': 'out', 'address': 'A2'}");
    crew_until(&crew, has_left);
    crew_say(&crew, source, "{'do': 'link_drop', 'side': 'out', 'address': 'A2', 'gone': true}");
    crew_say(&crew, sink, "{'do': 'link_drop', 'side': 'in', 'address': 'A4', 'gone': true}");
    newcomer->leaves = true;
    crew_say(&crew, newcomer, "{'do': 'finish'}");
    crew_until(&crew, newcomer_ended);
    cr_assert_eq(newcomer->status, 0);
    crew_say(&crew, NULL, "{'do': 'drain'}");
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_whole_documents();
    crew_close(&crew);
}

/* --- loops --- */

static void open_loop(void)
{
    crew_open(&crew);
    source = crew_add(&crew, "count --documents 40 --frames 2 --out values=A1");
    crew_add(&crew, "head --in values=A1 --in feedback=A4 --out values=A2");
    middle = crew_add(&crew, "slow --delay 50us --in values=A2 --out values=A3");
    crew_add(&crew, "pick --turns 4 --in values=A3 --out token=A5 --out feedback=A4");
    sink = crew_add(&crew, "keep --output kept --in values=A5");
}

static void expect_loop(void)
{
    struct buf got = {0}, wanted = {0};
    for (int i = 0; i < 40; i++) buf_printf(&wanted, "%d 4 420\n", i); /* 28 + 56 + 112 + 224 */
    crew_read(&crew, "kept", &got);
    cr_assert_str_eq(buf_text(&got), buf_text(&wanted));
    buf_fini(&got);
    buf_fini(&wanted);
}

Test(stage_supervised, a_loop_comes_to_its_end)
{
    open_loop();
    crew_start(&crew);
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_loop();
    crew_close(&crew);
}

static void kill_in_loop(size_t victim)
{
    open_loop();
    crew_start(&crew);
    crew_until(&crew, some_committed);
    crew_kill(&crew, &crew.members[victim]);
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_loop();
    cr_assert_eq(crew.restarts, 1);
    crew_close(&crew);
}

Test(stage_supervised, a_death_anywhere_in_a_loop_is_replayed)
{
    for (size_t i = 0; i < 5; i++) kill_in_loop(i);
}

Test(stage_supervised, what_goes_back_goes_to_the_head_that_it_came_from)
{
    crew_open(&crew);
    source = crew_add(&crew, "count --documents 40 --frames 2 --out values=A1,A2");
    crew_add(&crew, "head --replica 0 --in values=A1 --in feedback=A5 --out values=A3");
    crew_add(&crew, "head --replica 1 --in values=A2 --in feedback=A6 --out values=A4");
    crew_add(&crew, "pick --turns 4 --in values=A3 --in values=A4 --out token=A7 --out feedback=A5,A6");
    sink = crew_add(&crew, "keep --output kept --in values=A7");
    crew_start(&crew);
    crew_until(&crew, some_committed);
    crew_kill(&crew, &crew.members[2]);
    crew_until(&crew, NULL);
    expect_orderly_end();
    expect_loop();
    crew_close(&crew);
}
