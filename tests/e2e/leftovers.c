/* A test that fails leaves none of the processes that it started: the next one would share its cores with
 * them, for ever. Real tests fail here, in a Criterion program of their own
 * (tests/support/programs/failing.c). */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { END_S = RUN_LIMIT_S, DEADLINE_S = RUN_LIMIT_S };

static bool nothing_lives(void *dir)
{
    return run_count_processes(dir) == 0;
}

static void expect_none_left(const char *test)
{
    struct run_result r;
    char *dir = run_temp_dir();
    run_shell(&r, NULL, DEADLINE_S,
              "unset BXFI_MAP; export THEA_TEST_DIR=%s TMPDIR=%s; exec failing --filter failing/%s", dir, dir,
              test); /* BXFI_MAP: Criterion would take it for one of the processes of ours */
    cr_expect_eq(r.status, 1, "%d: %s", r.status, buf_text(&r.err));
    run_result_fini(&r);
    cr_expect(run_until(nothing_lives, dir, END_S), "%zu processes are left", run_count_processes(dir));
    run_shell(&r, dir, DEADLINE_S, "test -s kept && test -e run/run.json"); /* there was a run */
    cr_expect_eq(r.status, 0);
    run_result_fini(&r);
    free(dir);
}

TestSuite(leftovers, .timeout = 5 * RUN_LIMIT_S);

Test(leftovers, of_a_failed_assertion_are_none)
{
    expect_none_left("assertion");
}
Test(leftovers, of_a_failed_assertion_while_the_run_is_stopped_are_none)
{
    expect_none_left("assertion_while_the_run_is_stopped");
}
Test(leftovers, of_a_crash_are_none)
{
    expect_none_left("crash");
}
Test(leftovers, of_a_kill_as_by_a_timeout_are_none)
{
    expect_none_left("kill");
}
Test(leftovers, of_an_exit_are_none)
{
    expect_none_left("end");
}
