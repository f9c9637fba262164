/* Fault points: this test's own program is not armed, so programs that are tell what happens. */
#include "graph/fault.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { DEADLINE_S = RUN_LIMIT_S };

/* thea-count passes the point "count.piece" once for each frame. */
static int count_with(const char *dir, const char *fault)
{
    struct run_result r;
    run_shell(&r, dir, DEADLINE_S, "THEA_FAULT=%s thea-count --documents 2 --frames 3 >/dev/null", fault);
    int status = r.status;
    run_result_fini(&r);
    return status;
}

Test(fault, without_the_variable_a_point_does_nothing)
{
    cr_assert(!fault_armed);
    thea_fault("count.piece");
}

Test(fault, the_named_passing_kills_and_no_other)
{
    cr_assert_eq(count_with(NULL, "count.piece:1"), 128 + 9);
    cr_assert_eq(count_with(NULL, "count.piece:6"), 128 + 9);
    cr_assert_eq(count_with(NULL, "count.piece:7"), 0);
    cr_assert_eq(count_with(NULL, "count.pieces:1"), 0);
    cr_assert_eq(count_with(NULL, "count.piec:1"), 0);
}

Test(fault, with_an_exclamation_mark_it_is_a_crash_and_no_kill)
{
    cr_assert_eq(count_with(NULL, "count.piece:2!"), 128 + 6);
    cr_assert_eq(count_with(NULL, "count.piece:7!"), 0);
}

Test(fault, one_of_several_is_enough)
{
    cr_assert_eq(count_with(NULL, "elsewhere:1,count.piece:2"), 128 + 9);
}

Test(fault, what_is_not_understood_kills_nobody)
{
    cr_assert_eq(count_with(NULL, "count.piece"), 0);
    cr_assert_eq(count_with(NULL, "count.piece:x"), 0);
    cr_assert_eq(count_with(NULL, "count.piece:0"), 0);
    cr_assert_eq(count_with(NULL, ",,:"), 0);
}

Test(fault, with_a_file_it_strikes_once_for_all_processes)
{
    char *dir = run_temp_dir();
    cr_assert_eq(count_with(dir, "count.piece:2:struck"), 128 + 9);
    cr_assert_eq(count_with(dir, "count.piece:2:struck"), 0);
    cr_assert_eq(count_with(dir, "count.piece:2:other,count.piece:3:more"), 128 + 9);
    free(dir);
}
