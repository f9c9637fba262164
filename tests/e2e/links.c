/* What links do in a run: real processes under a real supervisor. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { DOCUMENTS = 400, LIMIT_S = RUN_LIMIT_S };

TestSuite(links, .timeout = 5 * RUN_LIMIT_S);

static char *dir;

static void expect_kept(struct run_child *thea, int documents)
{
    struct run_result r, kept;
    int status = run_wait(thea, LIMIT_S, &r);
    cr_expect_eq(status, 0, "status %d\n%s", status, buf_text(&r.err));
    run_shell(&kept, dir, RUN_LIMIT_S, "sort -nu kept | wc -l; wc -l < kept");
    char want[64];
    snprintf(want, sizeof want, "%d\n%d\n", documents, documents);
    cr_expect_str_eq(buf_text(&kept.out), want, "%s", buf_text(&r.err));
    run_result_fini(&kept);
    run_result_fini(&r);
}

static size_t count_kept(void)
{
    struct run_result r;
    run_shell(&r, dir, RUN_LIMIT_S, "cat kept 2>/dev/null | wc -l");
    size_t n = strtoul(buf_text(&r.out), NULL, 10);
    run_result_fini(&r);
    return n;
}

static bool all_but_few_are_kept(void *context)
{
    (void)context;
    return count_kept() >= DOCUMENTS * 9 / 10;
}

/* One of two replicas does not come back from its first document until the other has done nearly all: few
 * wait before it. */
Test(links, a_replica_that_is_slow_gets_less_than_one_that_is_fast)
{
    struct run_result r;
    struct run_child thea;
    dir = run_temp_dir();
    run_shell(&r, dir, RUN_LIMIT_S,
              "printf 'stages:\n"
              "  count: {kind: count, documents: %d, in_flight: 16}\n"
              "  slow: {kind: slow, from: count, replicas: 2, hold: %s}\n"
              "  keep: {kind: keep, from: slow, output: kept}\n' > p.yaml",
              DOCUMENTS, dir);
    run_result_fini(&r);
    run_start(&thea, dir, "export THEA_RUNS=$PWD/runs THEA_STAGE_PATH=%s/tests; exec thea run p.yaml",
              run_bin_dir());
    bool most = run_until(all_but_few_are_kept, NULL, LIMIT_S);
    cr_expect(most, "%zu of %d documents", count_kept(), DOCUMENTS);
    run_shell(&r, dir, RUN_LIMIT_S, "touch go");
    run_result_fini(&r);
    expect_kept(&thea, DOCUMENTS);
    free(dir);
}

/* Both ends live and do not reach each other: here one listens at an address that nobody dials, as long as it
 * was not started again. */
Test(links, a_receiver_that_its_sender_does_not_reach_is_started_again)
{
    struct run_result r;
    struct run_child thea;
    dir = run_temp_dir();
    run_shell(&r, dir, RUN_LIMIT_S,
              "printf 'stages:\n"
              "  count: {kind: count, documents: 20}\n"
              "  keep: {kind: keep, from: count, output: kept}\n' > p.yaml\n"
              "mkdir kinds && cat > kinds/thea-keep <<'END' && chmod +x kinds/thea-keep\n"
              "#!/bin/sh\n"
              "case \"$*\" in *'--incarnation 1 '*)\n"
              "  for a; do\n"
              "    shift\n"
              "    set -- \"$@\" \"$(printf %%s \"$a\" | sed "
              "s,abstract://thea-[0-9a-f]*-,abstract://thea-00000000000000aa-,)\"\n"
              "  done;;\n"
              "esac\n"
              "exec %s/tests/thea-keep --reconnect 3000 \"$@\"\n"
              "END\n",
              run_bin_dir());
    cr_assert_eq(r.status, 0, "%s", buf_text(&r.err));
    run_result_fini(&r);
    run_start(&thea, dir,
              "export THEA_RUNS=$PWD/runs THEA_STAGE_PATH=$PWD/kinds:%s/tests; exec thea run p.yaml 2> err",
              run_bin_dir());
    expect_kept(&thea, 20);
    run_shell(&r, dir, RUN_LIMIT_S,
              "cat err; grep -q 'count and keep do not reach each other: keep is started again' err");
    cr_expect_eq(r.status, 0, "%s", buf_text(&r.out));
    run_result_fini(&r);
    free(dir);
}
