/* Runs that were broken off go on, and runs go to the background; what stands still is noticed. */
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DOCUMENTS = 60, WORDS = 100 / RUN_SLOWER, START_S = RUN_LIMIT_S, END_S = RUN_LIMIT_S };

TestSuite(resume, .timeout = 5 * RUN_LIMIT_S);

struct scene {
    char *dir;
    struct run_child thea;
    struct run_result result;
};

static char *path_in(const struct scene *s, const char *name)
{
    static char path[4][256];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", s->dir, name);
    return out;
}

static off_t size_of(const struct scene *s, const char *name)
{
    struct stat st;
    return stat(path_in(s, name), &st) == 0 ? st.st_size : 0;
}

static void shell(struct scene *s, int status, const char *command)
{
    run_result_fini(&s->result);
    run_shell(&s->result, s->dir, END_S, "export THEA_RUNS=%s/runs; %s", s->dir, command);
    cr_assert_eq(s->result.status, status, "%s: status %d, expected %d\n%s%s", command, s->result.status,
                 status, buf_text(&s->result.out), buf_text(&s->result.err));
}

static void expect_said(const struct scene *s, const char *part)
{
    cr_expect_not_null(strstr(buf_text(&s->result.err), part), "'%s' is not in:\n%s", part,
                       buf_text(&s->result.err));
}

static void prepare(struct scene *s)
{
    *s = (struct scene){.dir = run_temp_dir()};
    FILE *f = fopen(path_in(s, "docs.jsonl"), "w");
    cr_assert_not_null(f);
    for (int i = 0; i < DOCUMENTS; i++) {
        fprintf(f, "{\"id\": \"doc-%d\", \"text\": \"", i);
        for (int n = 0; n < WORDS + i * 7 % (2 * WORDS); n++)
            fprintf(f, "%s ", n % 3 == i % 3 ? "a stage reads" : "frames");
        fputs("\"}\n", f);
    }
    fclose(f);
    signal(SIGINT, SIG_DFL);
}

static void finish(struct scene *s)
{
    run_result_fini(&s->result);
    free(s->dir);
}

static bool is_writing(void *context)
{
    return size_of(context, "out.jsonl") > 0;
}

/* A run in the middle of its work. */
static void start(struct scene *s, const char *options)
{
    run_start(&s->thea, s->dir,
              "export THEA_RUNS=%s/runs; exec thea run score docs.jsonl --run-dir run -o out.jsonl %s",
              s->dir, options);
    cr_assert(run_until(is_writing, s, START_S), "nothing was written");
}

static void end(struct scene *s, int status)
{
    run_result_fini(&s->result);
    cr_expect_eq(run_wait(&s->thea, END_S, &s->result), status, "%s", buf_text(&s->result.err));
}

static void expect_the_same(struct scene *s)
{
    shell(s, 0, "thea run score docs.jsonl --run-dir calm -o calm.jsonl && cmp calm.jsonl out.jsonl");
}

static void expect_end(const struct scene *s, const char *end)
{
    struct json_node *report = NULL;
    cr_assert_eq(json_read_file(&report, path_in(s, "run/report.json"), 1 << 24, NULL), THEA_OK);
    cr_expect_str_eq(json_text_or(report, "end", ""), end);
    json_free(report);
}

/* --- going on --- */

static void drain_and_go_on(int sig)
{
    struct scene s;
    prepare(&s);
    start(&s, "");
    cr_assert_eq(kill(s.thea.pid, sig), 0);
    end(&s, 128 + sig);
    expect_said(&s, "score: interrupted after ");
    expect_said(&s, "; go on: thea run --resume ");
    expect_end(&s, "drained");
    shell(&s, 0, "thea run --resume run");
    expect_end(&s, "done");
    expect_the_same(&s);
    finish(&s);
}

Test(resume, goes_on_with_a_run_that_SIGTERM_drained)
{
    drain_and_go_on(SIGTERM);
}
Test(resume, goes_on_with_a_run_that_SIGINT_drained)
{
    drain_and_go_on(SIGINT);
}

static pid_t find_stage(const struct scene *s, const char *name)
{
    char path[64], line[4096], wanted[64];
    int pid, found = 0, length = snprintf(wanted, sizeof wanted, "--name%c%s", 0, name) + 1;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)s->thea.pid, (int)s->thea.pid);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    while (fscanf(f, "%d", &pid) == 1) {
        snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
        FILE *c = fopen(path, "r");
        size_t n = c != NULL ? fread(line, 1, sizeof line, c) : 0;
        if (memmem(line, n, wanted, (size_t)length) != NULL) found = pid;
        if (c != NULL) fclose(c);
    }
    fclose(f);
    cr_assert_gt(found, 0, "no process %s", name);
    return found;
}

Test(resume, goes_on_with_a_run_that_a_dead_stage_ended)
{
    struct scene s;
    prepare(&s);
    start(&s, "--set score.restart=never");
    cr_assert_eq(kill(find_stage(&s, "score"), SIGKILL), 0);
    end(&s, 70);
    expect_said(&s, "thea: error: stage score (pid ");
    expect_said(&s, "; go on: thea run --resume ");
    expect_end(&s, "failed");
    shell(&s, 0, "thea run --resume run");
    expect_the_same(&s);
    finish(&s);
}

Test(resume, finds_nothing_to_do_in_a_run_that_is_done)
{
    struct scene s;
    prepare(&s);
    shell(&s, 0, "thea run score docs.jsonl -o out.jsonl && thea run --resume score-");
    expect_said(&s, "is done: there is nothing to go on with");
    expect_the_same(&s);
    finish(&s);
}

/* --- what is refused --- */

Test(resume, is_refused_while_the_run_is_live)
{
    struct scene s;
    prepare(&s);
    start(&s, "");
    shell(&s, 0, "thea pause run"); /* or it may have ended before we look */
    shell(&s, 75, "thea run --resume run");
    expect_said(&s, "a run is going on in ");
    shell(&s, 0, "thea resume run");
    end(&s, 0);
    finish(&s);
}

Test(resume, is_refused_on_another_CPU_unless_told)
{
    struct scene s;
    prepare(&s);
    start(&s, "");
    cr_assert_eq(kill(s.thea.pid, SIGKILL), 0);
    end(&s, 128 + SIGKILL);
    shell(&s, 0, "sed -i 's/\"features\": \\[/&\"amx_tile_9\", /' run/run.json");
    shell(&s, 64, "thea run --resume run");
    expect_said(&s, "CPU then   amx_tile_9 ");
    expect_said(&s, "go on all the same: --mixed");
    shell(&s, 0, "thea run --resume run --mixed");
    expect_the_same(&s);
    finish(&s);
}

Test(resume, lets_nothing_be_changed)
{
    struct scene s;
    prepare(&s);
    shell(&s, 0, "thea run score docs.jsonl -o out.jsonl --run-dir run");
    shell(&s, 64, "thea run --resume run other.jsonl");
    expect_said(&s, "--resume takes no pipeline and no inputs");
    shell(&s, 64, "thea run --resume run --set layers.chunk=7");
    expect_said(&s, "--set cannot be changed by --resume");
    finish(&s);
}

Test(resume, says_what_a_directory_without_a_run_lacks)
{
    struct scene s;
    prepare(&s);
    shell(&s, 69, "mkdir empty; thea run --resume ./empty");
    shell(&s, 69, "thea run --resume nothing-of-that-name");
    expect_said(&s, "nothing-of-that-name");
    finish(&s);
}

/* --- in the background --- */

/* The report is written, and then the summary said. */
static bool is_over(void *context)
{
    char text[4096] = "";
    FILE *f = fopen(path_in(context, "run/logs/supervisor.log"), "r");
    if (f == NULL) return false;
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return size_of(context, "run/report.json") > 0 && strstr(text, "score: 60 documents") != NULL;
}

Test(resume, of_a_run_in_the_background_is_not_needed_when_its_terminal_goes)
{
    struct scene s;
    prepare(&s);
    shell(&s, 0, "setsid -w thea run -d score docs.jsonl -o out.jsonl --run-dir run");
    cr_expect_not_null(strstr(buf_text(&s.result.out), "/run\n"), "%s", buf_text(&s.result.out));
    cr_expect_eq(s.result.err.len, 0, "%s", buf_text(&s.result.err));
    cr_assert(run_until(is_over, &s, END_S), "the run in the background does not end");
    expect_end(&s, "done");
    expect_the_same(&s);
    finish(&s);
}

Test(resume, of_a_run_that_cannot_begin_in_the_background_is_told_to_who_started_it)
{
    struct scene s;
    prepare(&s);
    shell(&s, 75, "mkdir run; exec 9>run/lock; flock 9; thea run -d score docs.jsonl --run-dir run");
    expect_said(&s, "a run is going on in ");
    finish(&s);
}

/* --- standing still --- */

Test(resume, is_not_needed_when_a_stage_is_stopped_for_its_deadline)
{
    struct scene s;
    prepare(&s);
    start(&s, "--set layers.deadline=5s"); /* nobody else is as slow as that, whatever the machine does */
    cr_assert_eq(kill(find_stage(&s, "layers/1"), SIGSTOP), 0);
    end(&s, 0);
    expect_said(&s, "was stopped by a signal: if it does not go on within 5 s it is killed");
    expect_said(&s, "was stopped by a signal for its deadline and was killed: starting it again");
    cr_expect_neq(access(path_in(&s, "run/tries"), F_OK), 0);
    expect_the_same(&s);
    finish(&s);
}
/* --- an op that hangs --- */

Test(resume, an_op_that_hangs_is_killed_at_its_deadline_and_the_run_goes_on)
{
    struct scene s = {.dir = run_temp_dir()};
    char command[1024];
    snprintf(command, sizeof command,
             "export THEA_STAGE_PATH=%s/tests; printf 'stages:\\n  count: {kind: count, documents: 6}\\n"
             "  slow: {kind: slow, from: count, fault: hang, at: 3, deadline: 1s}\\n"
             "  keep: {kind: keep, from: slow, output: kept}\\n' > p.yaml; thea run p.yaml && sort -n kept",
             run_bin_dir());
    shell(&s, 0, command);
    cr_expect_str_eq(buf_text(&s.result.out), "0 1 6\n1 1 6\n2 1 6\n3 1 6\n4 1 6\n5 1 6\n");
    expect_said(&s, "stage slow (pid ");
    expect_said(&s, "made no progress for its deadline and was killed: starting it again (epoch 2)");
    finish(&s);
}

Test(resume, a_document_on_which_an_op_hangs_every_time_is_set_aside)
{
    struct scene s = {.dir = run_temp_dir()};
    char command[1024];
    snprintf(command, sizeof command,
             "export THEA_STAGE_PATH=%s/tests; printf 'stages:\\n  count: {kind: count, documents: 2}\\n"
             "  slow: {kind: slow, from: count, fault: hang, at: 0, deadline: 500ms, tries: 2}\\n"
             "  keep: {kind: keep, from: slow, output: kept}\\n' > p.yaml; thea run p.yaml; e=$?; sort -n "
             "kept; exit $e",
             run_bin_dir());
    shell(&s, 1, command);
    expect_said(&s, "set aside after 2 tries: stage slow made no progress for its deadline and was killed");
    finish(&s);
}
