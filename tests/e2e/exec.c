/* exec in a pipeline: a foreign command among real processes, its failures, its log, its death. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* A pipeline with one foreign command between load and write, over three small documents. */
static char *make_pipeline(const char *exec)
{
    char *dir = run_temp_dir();
    struct run_result r;
    run_shell(&r, dir, RUN_LIMIT_S,
              "printf one >a.txt; printf 'two\\n' >b.txt; printf three >c.txt\n"
              "cat >p.yaml <<'END'\nname: p\nstages:\n  load: {kind: load, paths: [\"*.txt\"]}\n  exec: "
              "{kind: exec, from: load, "
              "restart: never, %s}\n  write: {kind: write, from: exec, format: jsonl}\nEND\n",
              exec);
    cr_assert_eq(r.status, 0, "%s", buf_text(&r.err));
    run_result_fini(&r);
    return dir;
}

static void expect(const char *exec, int status, const char *out, const char *message)
{
    struct run_result r;
    char *dir = make_pipeline(exec);
    run_shell(&r, dir, RUN_LIMIT_S, "thea run p.yaml --run-dir run");
    cr_expect_eq(r.status, status, "%s: %d: %s", exec, r.status, buf_text(&r.err));
    cr_expect_str_eq(buf_text(&r.out), out);
    cr_expect(strstr(buf_text(&r.err), message) != NULL, "%s: %s", exec, buf_text(&r.err));
    run_result_fini(&r);
    free(dir);
}

Test(exec, a_command_stands_between_two_stages)
{
    expect("command: tr a-z A-Z", 0,
           "{\"id\": \"a.txt\", \"text\": \"ONE\"}\n{\"id\": \"b.txt\", \"text\": \"TWO\\n\"}\n{\"id\": "
           "\"c.txt\", \"text\": \"THREE\"}\n",
           "3 documents");
}

Test(exec, one_command_serves_all_documents)
{
    expect("per: run, reads: json, prints: json, command: 'n=0; while read -r l; do n=$((n+1)); echo "
           "\"{\\\"n\\\": $n}\"; done'",
           0, "{\"id\": \"a.txt\", \"n\": 1}\n{\"id\": \"b.txt\", \"n\": 2}\n{\"id\": \"c.txt\", \"n\": 3}\n",
           "3 documents");
}

Test(exec, what_it_says_on_stderr_is_in_the_log_and_in_the_report)
{
    struct run_result r;
    char *dir = make_pipeline("per: run, command: 'read -r l; echo cannot go on >&2; exit 9'");
    run_shell(&r, dir, RUN_LIMIT_S,
              "thea run p.yaml --run-dir run; s=$?; grep -c 'cannot go on' run/logs/exec.log; exit $s");
    cr_expect_eq(r.status, 70, "%d: %s", r.status, buf_text(&r.err));
    cr_expect(strstr(buf_text(&r.out), "1\n") != NULL, "%s", buf_text(&r.out));
    cr_expect(strstr(buf_text(&r.err), "cannot go on") != NULL, "%s", buf_text(&r.err));
    cr_expect(strstr(buf_text(&r.err), "ended with status 9") != NULL, "%s", buf_text(&r.err));
    run_result_fini(&r);
    free(dir);
}

Test(exec, a_killed_run_leaves_no_command_behind)
{
    struct run_result r;
    char *dir = make_pipeline("command: 'echo $$ >>pids; exec sleep 1000'");
    run_shell(
        &r, dir, RUN_LIMIT_S,
        "thea run p.yaml -q --run-dir run & run=$!\nwhile ! [ -s pids ]; do :; done\nkill -9 $run; wait "
        "$run\n"
        "for i in $(seq 3000); do kill -0 $(head -1 pids) 2>/dev/null || exit 0; sleep 0.02; done; exit 1");
    cr_expect_eq(r.status, 0, "the command outlived its run: %s", buf_text(&r.err));
    run_result_fini(&r);
    free(dir);
}

/* The document that every start of the command dies of is set aside after three tries; the others are done.
 */
Test(exec, a_document_on_which_the_command_always_dies_is_set_aside)
{
    struct run_result r;
    char *dir = make_pipeline(
        "per: run, reads: json, prints: json, command: 'while read -r l; do case $l in *two*) kill "
        "-SEGV $$$$;; esac; echo {}; done'");
    run_shell(&r, dir, RUN_LIMIT_S,
              "sed -i 's/restart: never, //; s/format: jsonl/output: out.jsonl/' p.yaml; thea run p.yaml "
              "--run-dir run; s=$?; cat out.jsonl; cat run/tries; exit $s");
    cr_expect_eq(r.status, 1, "%d: %s", r.status, buf_text(&r.err));
    cr_expect(strstr(buf_text(&r.out), "{\"id\": \"a.txt\"}\n{\"id\": \"c.txt\"}\n") != NULL, "%s",
              buf_text(&r.out));
    cr_expect(strstr(buf_text(&r.out), "\"tries\": 3") != NULL, "%s", buf_text(&r.out));
    cr_expect(strstr(buf_text(&r.err), "b.txt") != NULL, "%s", buf_text(&r.err));
    run_result_fini(&r);
    free(dir);
}
