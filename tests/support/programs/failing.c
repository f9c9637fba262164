/* Tests that fail, in every way a test can, while a run that they started is under way: tests/e2e/leftovers.c
 * looks for what they leave. THEA_TEST_DIR is where they run. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { START_S = RUN_LIMIT_S };

static bool is_working(void *context)
{
    (void)context;
    struct stat st;
    return stat("kept", &st) == 0 && st.st_size > 0;
}

/* A run of many documents, in the background of a shell. */
static pid_t start(void)
{
    struct run_child c;
    const char *dir = getenv("THEA_TEST_DIR");
    cr_assert(dir != NULL && chdir(dir) == 0, "THEA_TEST_DIR is not set");
    run_start(&c, dir,
              "export THEA_RUNS=$PWD/runs THEA_STAGE_PATH=%s/tests; printf 'stages:\\n"
              "  count: {kind: count, documents: 1000000}\\n  slow: {kind: slow, from: count, delay: 5ms}\\n"
              "  keep: {kind: keep, from: slow, output: kept}\\n' > p.yaml; "
              "thea run p.yaml --run-dir \"$PWD/run\" & echo $! > pid.new; mv pid.new pid; wait",
              run_bin_dir());
    cr_assert(run_until(is_working, NULL, START_S), "the run does not work");
    FILE *f = fopen("pid", "r");
    int pid = 0;
    cr_assert(f != NULL && fscanf(f, "%d", &pid) == 1);
    fclose(f);
    return pid;
}

Test(failing, assertion)
{
    start();
    cr_assert_fail();
}

Test(failing, assertion_while_the_run_is_stopped)
{
    cr_assert_eq(kill(start(), SIGSTOP), 0);
    cr_assert_fail();
}

Test(failing, crash)
{
    start();
    abort();
}

Test(failing, kill)
{
    start();
    raise(SIGKILL);
}

Test(failing, end)
{
    start();
    _exit(3);
}
