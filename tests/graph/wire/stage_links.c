/* Stages as processes with links between them: chains, fans, joins, loops, and how they end. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEADLINE_S = RUN_LIMIT_S };

/* Runs the script's programs side by side. bg starts one; its status goes to status.NAME; A is the beginning
 * of this test's addresses. */
static struct run_result graph_of(const char *script)
{
    static unsigned tests;
    struct run_result r;
    char *dir = run_temp_dir();
    run_shell(&r, dir, DEADLINE_S,
              "A=abstract://thea-%08x%08x\n"
              "bg() { n=$1; shift; { \"$@\" >out.$n 2>err.$n; echo $? >status.$n; } & }\n"
              "%s\nwait\nfor f in status.*; do printf '%%s %%s ' ${f#status.} $(cat $f); done; echo\n"
              "for f in out.*; do sed \"s/^/${f#out.}: /\" $f; done; cat err.* >&2",
              (unsigned)getpid(), ++tests, script);
    free(dir);
    cr_assert_neq(r.status, 124, "it hangs: %s%s", buf_text(&r.out), buf_text(&r.err));
    return r;
}

static void expect_in(const struct buf *text, const char *part)
{
    cr_assert(strstr(buf_text(text), part) != NULL, "'%s' is missing in: %s", part, buf_text(text));
}

static size_t count_in(const struct buf *text, const char *part)
{
    size_t n = 0;
    for (const char *p = buf_text(text); (p = strstr(p, part)) != NULL; p++) n++;
    return n;
}

Test(stage_links, a_chain_delivers_everything_in_order)
{
    struct run_result r = graph_of("bg c thea-show --in values=$A-2\n"
                                   "bg b thea-slow --in values=$A-1 --out values=$A-2\n"
                                   "bg a thea-count --documents 20 --frames 30 --text --out values=$A-1");
    expect_in(&r.out, "a 0 b 0 c 0 \n");
    cr_assert_eq(count_in(&r.out, "c: data"), 600);
    cr_assert_eq(count_in(&r.out, "c: end"), 20);
    expect_in(&r.out, "c: data stream 19 position 116 values=f32 [4]116..119 text=u8 [3]'29;'\nc: end stream "
                      "19 position 120\nc: finished\n");
    cr_assert_str_eq(buf_text(&r.err), "");
    run_result_fini(&r);
}

Test(stage_links, several_sources_feed_one_input)
{
    struct run_result r = graph_of("bg s thea-show --in values=$A-1 --in values=$A-2\n"
                                   "bg a thea-count --documents 5 --frames 4 --out values=$A-1\n"
                                   "bg b thea-count --documents 5 --frames 4 --source 1 --out values=$A-2");
    expect_in(&r.out, "a 0 b 0 s 0 \n");
    cr_assert_eq(count_in(&r.out, "s: data"), 40);
    cr_assert_eq(count_in(&r.out, "s: end"), 10);
    expect_in(&r.out, "end stream 1099511627780 position 16"); /* 1 << 40 | 4 */
    run_result_fini(&r);
}

Test(stage_links, one_output_feeds_several_readers_each_with_all)
{
    struct run_result r = graph_of(
        "bg a thea-count --documents 3 --frames 40 --out values=$A-1 --out values=$A-2 --out copies=$A-3\n"
        "bg x thea-show --in values=$A-1\n"
        "bg y thea-show --in values=$A-2 --window 1\n"
        "bg z thea-show --in copies=$A-3");
    expect_in(&r.out, "a 0 x 0 y 0 z 0 \n");
    cr_assert_eq(count_in(&r.out, "x: data"), 120);
    cr_assert_eq(count_in(&r.out, "y: data"), 120);
    cr_assert_eq(count_in(&r.out, "z: data"), 120);
    run_result_fini(&r);
}

Test(stage_links, a_diamond_with_a_small_window_finishes)
{
    struct run_result r =
        graph_of("bg rows thea-rows --rows 64 --columns 8 --piece 1 --out final=$A-1 --out final=$A-2\n"
                 "bg pool thea-pool --no-normalize --in final=$A-1 --out vector=$A-3 --window 2\n"
                 "bg center thea-center --in final=$A-2 --in vector=$A-3 --out centered=$A-4 --window 2\n"
                 "bg show thea-show --in centered=$A-4 --window 2");
    expect_in(&r.out, "center 0 pool 0 rows 0 show 0 \n");
    /* row i is 8i..8i+7, their mean is 252..259: the first value is 0 - 252, the last 511 - 259 */
    expect_in(&r.out, "centered=f32 [64, 8]-252..252");
    run_result_fini(&r);
}

Test(stage_links, a_reader_that_has_enough_stops_its_sources_without_an_error)
{
    struct run_result r = graph_of("bg c thea-show --limit 3 --in values=$A-2\n"
                                   "bg b thea-slow --in values=$A-1 --out values=$A-2\n"
                                   "bg a thea-count --documents 1000000 --frames 30 --out values=$A-1");
    expect_in(&r.out, "a 0 b 0 c 0 \n");
    cr_assert_eq(count_in(&r.out, "c: data"), 3);
    cr_assert_str_eq(buf_text(&r.err), "");
    run_result_fini(&r);
}

Test(stage_links, a_stage_goes_on_while_one_of_its_readers_wants_more)
{
    struct run_result r =
        graph_of("bg a thea-count --documents 10 --frames 10 --out values=$A-1 --out values=$A-2\n"
                 "bg x thea-show --limit 2 --in values=$A-1\n"
                 "bg y thea-show --in values=$A-2");
    expect_in(&r.out, "a 0 x 0 y 0 \n");
    cr_assert_eq(count_in(&r.out, "x: data"), 2);
    cr_assert_eq(count_in(&r.out, "y: data"), 100);
    run_result_fini(&r);
}

#define LOOP(source, pick)                                                                                   \
    "bg source " source " --out values=$A-1\n"                                                               \
    "bg head thea-head --in values=$A-1 --in feedback=$A-4 --out values=$A-2\n"                              \
    "bg middle thea-slow --in values=$A-2 --out values=$A-3\n"                                               \
    "bg pick " pick " --in values=$A-3 "

Test(stage_links, a_loop_turns_until_its_tail_ends_the_stream)
{
    struct run_result r =
        graph_of(LOOP("thea-count --frames 2", "thea-pick --turns 3") "--out token=$A-5 --out feedback=$A-4\n"
                                                                      "bg show thea-show --in values=$A-5");
    expect_in(&r.out, "head 0 middle 0 pick 0 show 0 source 0 \n");
    /* 0+…+7 = 28; what comes back is added: 56, 112 */
    expect_in(&r.out, "show: data stream 0 position 8 values=f32 [1]28..28 id='doc-0'\n"
                      "show: data stream 0 position 9 values=f32 [1]56..56\n"
                      "show: data stream 0 position 10 values=f32 [1]112..112\n"
                      "show: end stream 0 position");
    expect_in(&r.out, "show: finished");
    cr_assert_str_eq(buf_text(&r.err), "");
    run_result_fini(&r);
}

Test(stage_links, a_loop_takes_more_streams_than_it_admits_at_a_time)
{
    struct run_result r =
        graph_of(LOOP("thea-count --documents 50 --frames 3",
                      "thea-pick --turns 7") "--out token=$A-5 --out token=$A-4\n"
                                             "bg show thea-show --in values=$A-5 --window 1");
    expect_in(&r.out, "head 0 middle 0 pick 0 show 0 source 0 \n");
    cr_assert_eq(count_in(&r.out, "show: data"), 350);
    cr_assert_eq(count_in(&r.out, "show: end"), 50);
    run_result_fini(&r);
}

Test(stage_links, the_head_of_a_loop_admits_sixteen_streams_at_a_time)
{
    /* A stream is open in the head from its first op to its second end, the one that comes back. */
    struct run_result r = graph_of("export THEA_TRACE=$PWD/trace\n" LOOP(
        "thea-count --documents 60 --frames 1",
        "thea-pick --turns 200") "--out token=$A-5 --out feedback=$A-4\nbg show thea-show --in values=$A-5 "
                                 ">/dev/null\nwait\n"
                                 "rm out.show; grep '\"stage\": \"head\"' trace | awk -F'[:,]' '\n"
                                 "!seen[$6]++ { open++; if (open > most) most = open }\n"
                                 "/\"end\"/ && ++ends[$6] == 2 { open-- }\n"
                                 "END { print (most > 16 ? \"too many\" : most > 1 ? \"several\" : \"one\"), "
                                 "\"left\", open }' >out.open");
    expect_in(&r.out, "head 0 middle 0 pick 0 show 0 source 0 \n");
    expect_in(&r.out, "open: several left 0\n");
    run_result_fini(&r);
}

Test(stage_links, a_loop_whose_reader_has_enough_stops)
{
    struct run_result r =
        graph_of(LOOP("thea-count --documents 100000 --frames 3",
                      "thea-pick --turns 1000000") "--out token=$A-5 --out feedback=$A-4\n"
                                                   "bg show thea-show --limit 20 --in values=$A-5");
    expect_in(&r.out, "head 0 middle 0 pick 0 show 0 source 0 \n");
    cr_assert_str_eq(buf_text(&r.err), "");
    run_result_fini(&r);
}

Test(stage_links, a_document_that_fails_inside_a_loop_ends_it_and_the_others_go_on)
{
    struct run_result r =
        graph_of("bg source thea-count --documents 5 --frames 2 --out values=$A-1\n"
                 "bg head thea-head --in values=$A-1 --in feedback=$A-4 --out values=$A-2\n"
                 "bg middle thea-slow --fault edoc --at 3 --in values=$A-2 --out values=$A-3\n"
                 "bg pick thea-pick --turns 4 --in values=$A-3 --out token=$A-5 --out feedback=$A-4\n"
                 "bg show thea-show --in values=$A-5");
    expect_in(&r.out, "head 0 middle 0 pick 0 show 1 source 0 \n");
    cr_assert_eq(count_in(&r.out, "show: error"), 1);
    cr_assert_eq(count_in(&r.out, "show: end"), 4);
    run_result_fini(&r);
}

Test(stage_links, a_pipe_with_a_feedback_link_beside_it_works)
{
    struct run_result r;
    run_shell(&r, NULL, DEADLINE_S,
              "A=abstract://thea-%016x-1; thea-count --documents 3 --frames 2 | thea-head --in feedback=$A | "
              "thea-pick --turns 2 --out feedback=$A | thea-show",
              (unsigned)getpid() + 0x10000000u);
    cr_assert_eq(r.status, 0, "%s", buf_text(&r.err));
    cr_assert_eq(count_in(&r.out, "data stream"), 6, "%s", buf_text(&r.out));
    expect_in(&r.out, "finished");
    run_result_fini(&r);
}

Test(stage_links, a_pipe_may_go_on_in_a_link)
{
    struct run_result r = graph_of("thea-count --documents 3 --frames 5 | thea-slow --out values=$A-1 &\n"
                                   "bg show thea-show --in values=$A-1");
    expect_in(&r.out, "show 0 \n");
    cr_assert_eq(count_in(&r.out, "show: data"), 15);
    run_result_fini(&r);
}

Test(stage_links, a_killed_neighbour_is_named_and_ends_the_others)
{
    struct run_result r = graph_of("bg c thea-show --name sink --in values=$A-2\n"
                                   "bg b thea-slow --fault kill --at 5 --in values=$A-1 --out values=$A-2\n"
                                   "bg a thea-count --name source --documents 1000000 --out values=$A-1");
    expect_in(&r.out, "b 137");
    expect_in(&r.out, "a 76");
    expect_in(&r.out, "c 76");
    expect_in(&r.err, "sink: error: ");
    expect_in(&r.err, "source: error: ");
    expect_in(&r.err, "values");
    run_result_fini(&r);
}

Test(stage_links, a_stage_that_fails_ends_the_others_and_says_why_itself)
{
    struct run_result r = graph_of("bg c thea-show --in values=$A-2\n"
                                   "bg b thea-slow --fault edata --at 5 --in values=$A-1 --out values=$A-2\n"
                                   "bg a thea-count --documents 1000000 --out values=$A-1");
    expect_in(&r.out, "b 65");
    expect_in(&r.err, "thea-slow: error: failed on demand at frame 5");
    cr_assert_null(strstr(buf_text(&r.out), "c: finished"), "the sink must not take it for the end");
    run_result_fini(&r);
}

static void expect_refusal(const char *command, const char *says)
{
    struct run_result r;
    run_shell(&r, NULL, DEADLINE_S, "A=abstract://thea-%016x; %s </dev/null", (unsigned)getpid(), command);
    cr_assert_eq(r.status, 64, "%s: status %d: %s", command, r.status, buf_text(&r.err));
    expect_in(&r.err, says);
    run_result_fini(&r);
}

Test(stage_links, connections_that_do_not_make_sense_are_refused_before_anything_starts)
{
    expect_refusal("thea-center --in final=$A-1 --out centered=$A-2",
                   "input 'vector' of center is not connected: --in vector=ADDRESS");
    expect_refusal("thea-show --in values=$A-1 --in copies=$A-2",
                   "exactly one of its inputs, 2 are connected");
    expect_refusal("thea-count --out values=$A-1 --emit values", "--emit is for stdout");
    expect_refusal("thea-count --out values=http://example.org", "--out values");
    expect_refusal("thea-count --out values=tcp://192.0.2.1:80", "loopback");
    expect_refusal("thea-show --in values=nonsense", "--in values");
}

Test(stage_links, a_trace_shows_every_op)
{
    struct run_result r = graph_of("export THEA_TRACE=$PWD/trace\n"
                                   "bg c thea-show --name c --in values=$A-1\n"
                                   "bg a thea-count --name a --frames 5 --out values=$A-1\n"
                                   "wait\nmv trace out.trace");
    cr_assert_eq(
        count_in(&r.out, "trace: {\"stage\": \"c\", \"kind\": \"data\", \"stream\": 0, \"position\": "), 5,
        "%s", buf_text(&r.out));
    cr_assert_eq(count_in(&r.out, "trace: {\"stage\": \"a\", \"kind\": \"source\""), 6, "%s",
                 buf_text(&r.out));
    expect_in(&r.out, "\"end_ns\": ");
    run_result_fini(&r);
}

Test(stage_links, a_supervised_stage_whose_parent_is_gone_exits_at_once)
{
    struct run_result r;
    run_shell(&r, NULL, DEADLINE_S,
              "thea-count --parent 1 --documents 3 >/dev/null"); /* its parent is the shell */
    cr_assert_eq(r.status, 70);
    run_result_fini(&r);
}

Test(stage_links, a_source_that_is_asked_to_drain_ends_its_document_and_then_itself)
{
    struct run_result r;
    char *dir = run_temp_dir();
    /* The shell is the parent; the reader begins only when the signal is on its way, so the source is still
     * in its first documents. */
    run_shell(&r, dir, DEADLINE_S,
              "mkfifo pipe\n"
              "thea-count --parent $$ --documents 100000000 --frames 3 >pipe & count=$!\n"
              "exec 3<pipe\n"
              "head -c 8 <&3 >magic\n" /* from here on it runs, and fills the pipe */
              "kill -TERM $count\n"
              "cat magic - <&3 | thea-show >shown; echo show $?\n"
              "wait $count; echo count $?; tail -n 2 shown; grep -c data shown; grep -c end shown");
    int data = 0, ends = 0;
    const char *tail = strstr(buf_text(&r.out), "finished\n");
    cr_assert_eq(strncmp(buf_text(&r.out), "show 0\ncount 0\nend stream ", 26), 0, "%s%s", buf_text(&r.out),
                 buf_text(&r.err));
    cr_assert_not_null(tail);
    cr_assert_eq(sscanf(tail + 9, "%d %d", &data, &ends), 2);
    cr_assert(ends > 0 && data == 3 * ends, "%d data frames in %d documents", data, ends);
    run_result_fini(&r);
    free(dir);
}
