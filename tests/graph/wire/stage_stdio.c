/* Stages in shell pipes: real programs, stdin and stdout. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEADLINE_S = RUN_LIMIT_S };

/* dash has no PIPESTATUS: each part writes its status into a file of the working directory. */
static struct run_result pipe_of(const char *command)
{
    struct run_result r;
    char *dir = run_temp_dir();
    run_shell(&r, dir, DEADLINE_S,
              "s() { \"$@\"; echo \"$1 $?\" >>status; }\n%s\nsort status 2>/dev/null | tr '\\n' ' '",
              command);
    free(dir);
    return r;
}

static void expect_in(const struct buf *text, const char *part)
{
    cr_assert(strstr(buf_text(text), part) != NULL, "'%s' is missing in: %s", part, buf_text(text));
}

Test(stage_stdio, frames_go_through_a_pipe_in_order_with_their_ends)
{
    struct run_result r = pipe_of("s thea-count --documents 2 --frames 2 --text | s thea-slow | s thea-show");
    cr_assert_str_eq(buf_text(&r.out),
                     "data stream 0 position 0 values=f32 [4]0..3 text=u8 [2]'0;' id='doc-0'\n"
                     "data stream 0 position 4 values=f32 [4]4..7 text=u8 [2]'1;'\n"
                     "end stream 0 position 8\n"
                     "data stream 1 position 0 values=f32 [4]0..3 text=u8 [2]'0;' id='doc-1'\n"
                     "data stream 1 position 4 values=f32 [4]4..7 text=u8 [2]'1;'\n"
                     "end stream 1 position 8\n"
                     "finished\n"
                     "thea-count 0 thea-show 0 thea-slow 0 ");
    cr_assert_str_eq(buf_text(&r.err), "", "a stage in a pipe says nothing on success");
    run_result_fini(&r);
}

Test(stage_stdio, a_source_of_nothing_ends_well)
{
    struct run_result r = pipe_of("s thea-count --documents 0 | s thea-slow | s thea-show");
    cr_assert_str_eq(buf_text(&r.out), "finished\nthea-count 0 thea-show 0 thea-slow 0 ");
    run_result_fini(&r);
}

Test(stage_stdio, a_reader_that_has_enough_ends_all_quietly)
{
    struct run_result r =
        pipe_of("s thea-count --documents 100000 --frames 100 | s thea-slow | s thea-show --limit 2");
    expect_in(&r.out, "position 4");
    expect_in(&r.out, "thea-count 0 thea-show 0 thea-slow 0 ");
    cr_assert_null(strstr(buf_text(&r.out), "finished"), "finish() must not be called after stage_enough");
    cr_assert_str_eq(buf_text(&r.err), "");
    run_result_fini(&r);
}

Test(stage_stdio, head_at_the_end_of_a_pipe_is_quiet)
{
    struct run_result r =
        pipe_of("s thea-count --documents 100000 --frames 100 | s thea-slow | head -c 100 >/dev/null");
    cr_assert_str_eq(buf_text(&r.out), "thea-count 0 thea-slow 0 ");
    cr_assert_str_eq(buf_text(&r.err), "");
    run_result_fini(&r);
}

Test(stage_stdio, emitted_ports_share_a_frame_and_each_finds_its_reader)
{
    struct run_result r = pipe_of("s thea-count --emit values,copies | s thea-slow | s thea-show");
    /* slow takes `values`; `copies` and the rest pass. */
    expect_in(&r.out, "data stream 0 position 0 values=f32 [4]0..3 copies=f32 [4]0..3 id='doc-0'");
    run_result_fini(&r);
    r = pipe_of("s thea-count --emit copies | s thea-show");
    expect_in(&r.out, "data stream 0 position 0 copies=f32 [4]0..3 id='doc-0'");
    run_result_fini(&r);
}

Test(stage_stdio, a_join_reads_both_its_inputs_from_one_pipe)
{
    struct run_result r =
        pipe_of("s thea-rows --rows 3 --columns 2 --emit final,vector | s thea-center | s thea-show");
    /* final = 0 1 / 2 3 / 4 5, vector = 2 3 */
    expect_in(&r.out, "centered=f32 [3, 2]-2..2");
    expect_in(&r.out, "thea-center 0 thea-rows 0 thea-show 0 ");
    run_result_fini(&r);
}

Test(stage_stdio, a_frame_that_fits_no_input_names_what_came_and_what_is_read)
{
    struct run_result r = pipe_of("s thea-count --emit copies | s thea-slow | s thea-show");
    expect_in(&r.err, "thea-slow: error: slow reads values, this is copies");
    expect_in(&r.out, "thea-slow 76");
    run_result_fini(&r);
}

Test(stage_stdio, a_stage_that_dies_before_its_eof_is_told_by_the_next_one)
{
    struct run_result r = pipe_of("s thea-count --frames 5 | s thea-slow --fault exit --at 2 | s thea-show");
    expect_in(&r.err, "the stage before died");
    expect_in(&r.out, "thea-show 76");
    expect_in(&r.out, "thea-slow 3");
    run_result_fini(&r);
}

Test(stage_stdio, a_bad_document_is_an_error_frame_and_the_next_is_good)
{
    struct run_result r =
        pipe_of("s thea-count --documents 2 --frames 3 | s thea-slow --fault edoc --at 1 | s thea-show");
    expect_in(&r.out, "error stream 0 position 8 error='frame 1 is bad on demand'");
    expect_in(&r.out, "data stream 1 position 8");
    expect_in(&r.out, "thea-count 0 thea-show 1 thea-slow 0 ");
    run_result_fini(&r);
}

Test(stage_stdio, a_failing_stage_exits_with_its_own_status_and_message)
{
    struct run_result r = pipe_of("s thea-count --documents 1000 --frames 3 | s thea-slow --fault edata --at "
                                  "1 --name mine | s thea-show");
    expect_in(&r.err, "mine: error: failed on demand at frame 1");
    expect_in(&r.out, "thea-slow 65");
    expect_in(&r.out, "thea-count 0"); /* it only sees a reader that left */
    run_result_fini(&r);
}

Test(stage_stdio, a_mapped_file_that_is_cut_short_is_an_input_error_not_a_crash)
{
    struct run_result r =
        pipe_of("s thea-count | s thea-slow --fault bus --name layers/1 | s thea-show >/dev/null");
    expect_in(&r.err, "layers/1: error: a file that is being read was cut short");
    expect_in(&r.out, "thea-slow 74");
    run_result_fini(&r);
}

/* --- damaged stdin --- */

static void expect_damaged(const char *damage, const char *says)
{
    struct run_result r;
    char *dir = run_temp_dir();
    run_shell(&r, dir, DEADLINE_S, "thea-count --documents 2 --frames 2 >good; %s; thea-show <bad >/dev/null",
              damage);
    cr_assert_eq(r.status, 76, "%s: status %d, %s", damage, r.status, buf_text(&r.err));
    expect_in(&r.err, says);
    run_result_fini(&r);
    free(dir);
}

Test(stage_stdio, damaged_input_is_refused_with_its_own_message)
{
    expect_damaged(": >bad", "input is empty");
    expect_damaged("echo hello there >bad", "not a stream of frames");
    expect_damaged("head -c 4 good >bad", "not a stream of frames");
    expect_damaged("{ printf 'THEA\\002\\0\\0\\0'; tail -c +9 good; } >bad", "version 2");
    expect_damaged("head -c 100 good >bad", "ended inside frame 0");
    expect_damaged("head -c 12 good >bad", "inside the length");
    expect_damaged("{ head -c 8 good; printf '\\377\\377\\377\\377\\377\\377\\377\\377'; } >bad", "claims");
    expect_damaged("{ head -c 8 good; printf '\\0\\0\\0\\0\\0\\0\\0\\0'; } >bad", "claims 0 bytes");
    expect_damaged("{ head -c 8 good; printf '\\100\\0\\0\\0\\0\\0\\0\\0'; head -c 64 /dev/zero; } >bad",
                   "frame 0");
}

/* --- terminals and refusals --- */

static void expect_refusal(const char *command, const char *says)
{
    struct run_result r;
    run_shell(&r, NULL, DEADLINE_S, "%s", command);
    cr_assert_eq(r.status, 64, "%s: status %d: %s%s", command, r.status, buf_text(&r.out), buf_text(&r.err));
    struct buf all = {0};
    buf_printf(&all, "%s%s", buf_text(&r.out), buf_text(&r.err));
    expect_in(&all, says);
    buf_fini(&all);
    run_result_fini(&r);
}

Test(stage_stdio, frames_do_not_go_to_a_terminal)
{
    expect_refusal("script -qec 'thea-count' /dev/null",
                   "prints frames, which are for the next stage and not for a terminal");
    expect_refusal("script -qec 'thea-count' /dev/null", "thea count ... | thea write");
}

Test(stage_stdio, frames_do_not_come_from_a_terminal)
{
    expect_refusal("script -qec 'thea-show' /dev/null", "its stdin is a terminal");
}

Test(stage_stdio, a_sampler_refuses_to_run_without_its_way_back)
{
    expect_refusal("thea-pick </dev/null >/dev/null", "--out feedback=ADDRESS");
    expect_refusal("thea-pick --out token=abstract://thea-5c1e77a09b3d2f18-1 </dev/null",
                   "--out feedback=ADDRESS");
}

/* --- help and describe --- */

Test(stage_stdio, help_fits_a_terminal_and_shows_every_option)
{
    struct run_result r;
    run_shell(&r, NULL, DEADLINE_S, "thea-count --help");
    cr_assert_eq(r.status, 0);
    size_t lines = 0;
    for (const char *p = buf_text(&r.out); *p != '\0'; p++) lines += *p == '\n';
    cr_assert_leq(lines, 40);
    expect_in(&r.out, "--documents integer");
    expect_in(&r.out, "values    f32 [n]");
    run_result_fini(&r);
}

Test(stage_stdio, every_kind_has_help_of_forty_lines_at_most_and_describes_itself)
{
    struct run_result r;
    run_shell(&r, NULL, DEADLINE_S,
              "n=0; for program in %s/thea-* %s/tests/thea-*; do\n"
              "  n=$((n + 1)); lines=$($program --help | wc -l)\n"
              "  [ $lines -gt 5 ] && [ $lines -le 40 ] || echo \"$program: $lines lines of help\"\n"
              "  $program --describe | grep -q '\"kind\": ' || echo \"$program: no description\"\n"
              "done; [ $n -gt 6 ] || echo only $n kinds",
              run_bin_dir(), run_bin_dir());
    cr_assert_str_eq(buf_text(&r.out), "");
    cr_assert_str_eq(buf_text(&r.err), "");
    run_result_fini(&r);
}

Test(stage_stdio, describe_is_one_json_object_with_the_values_given)
{
    struct run_result r;
    run_shell(&r, NULL, DEADLINE_S, "thea-count --describe --frames 7");
    cr_assert_eq(r.status, 0);
    expect_in(&r.out, "\"kind\": \"count\"");
    expect_in(&r.out, "\"value\": \"7\"");
    expect_in(&r.out, "\"default\": \"1\"");
    run_result_fini(&r);
    run_shell(&r, NULL, DEADLINE_S, "thea-count --describe --frames x");
    cr_assert_eq(r.status, 64);
    cr_assert_str_eq(buf_text(&r.out), "");
    run_result_fini(&r);
}
