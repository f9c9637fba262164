/* Stages in several replicas: the same bytes come out, however the documents are shared out, and while their
 * number changes. Real processes, real links. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPTS = 20 };
enum { LIMIT_S = RUN_LIMIT_S, DOCUMENTS = 40, FEW_LINES = 4, MANY_LINES = RUN_SLOWER > 1 ? FEW_LINES : 9 };

static char *dir;
static struct run_result r;

#define SHELL(...) run_shell(&r, dir, LIMIT_S, __VA_ARGS__)

static void expect_status(int status)
{
    cr_assert_eq(r.status, status, "status %d, expected %d\n%s%s", r.status, status, buf_text(&r.out),
                 buf_text(&r.err));
}

static void enter(void)
{
    dir = run_temp_dir();
}

/* Documents of different lengths, from one line to ten times `lines`: more than a thousand tokens. Of so many
 * that a run works while its replicas change; it follows its inputs, so that it does not end before. */
static void write_documents(int lines)
{
    SHELL("mkdir in && i=0; while [ $i -lt %d ]; do n=$((i * 37 %% 11 * %d + 1)); "
          "tail -n +$((i * 7 + 1)) '%s/docs/architecture.md' | head -n $n > in/$(printf %%03d $i).md; i=$((i "
          "+ 1)); done",
          DOCUMENTS, lines, run_source_dir());
    expect_status(0);
    run_result_fini(&r);
}

/* And what is said of them by one process a stage: want.jsonl. */
static void put_documents(int lines)
{
    write_documents(lines);
    SHELL("thea run score -q in -o want.jsonl --set layers.split=1");
    expect_status(0);
    run_result_fini(&r);
}

static void leave(void)
{
    run_result_fini(&r);
    free(dir);
}

TestSuite(replicas, .init = enter, .fini = leave, .timeout = 5 * RUN_LIMIT_S);

static void expect_same(size_t documents)
{
    struct run_result same;
    run_shell(&same, dir, RUN_LIMIT_S, "wc -l < want.jsonl; cmp want.jsonl got.jsonl");
    cr_expect_eq(same.status, 0, "%s%s%s", buf_text(&same.out), buf_text(&same.err), buf_text(&r.err));
    cr_expect_eq(strtoul(buf_text(&same.out), NULL, 10), documents);
    run_result_fini(&same);
}

static void expect_same_file(void)
{
    expect_same(DOCUMENTS);
}

Test(replicas, of_every_inner_stage_give_the_same_file)
{
    put_documents(FEW_LINES);
    SHELL("thea run score -q in -o got.jsonl --set layers.split=1 --set defaults.replicas=3");
    expect_status(0);
    expect_same_file();
}

Test(replicas, of_each_part_of_a_split_stage_give_the_same_file)
{
    put_documents(FEW_LINES);
    SHELL("thea run score -q in -o got.jsonl --set layers.split=2 --set layers.replicas=2 --set "
          "tokenize.replicas=2 --report=json --run-dir run 2> report.json; cat report.json; ls run/logs");
    expect_status(0);
    expect_same_file();
    cr_expect_not_null(strstr(buf_text(&r.out), "layers.p1.r1.log"), "%s", buf_text(&r.out));
}

Test(replicas, typed_by_hand_from_the_plan_give_the_same_file)
{
    put_documents(FEW_LINES);
    SHELL(
        "thea plan score in -o got.jsonl --set layers.split=2 --set layers.replicas=2 --set score.replicas=2 "
        "--set write.order=completion > plan.sh && "
        "{ sed -e ':a' -e '/\\\\$/N; s/\\\\\\n//; ta' -e 's/$/ \\&/' plan.sh; echo wait; } > all.sh && "
        "sh all.sh && sort -o got.jsonl got.jsonl && sort -o want.jsonl want.jsonl");
    expect_status(0);
    cr_expect_null(strstr(buf_text(&r.err), "error"), "%s", buf_text(&r.err));
    expect_same_file();
}

Test(replicas, in_a_loop_each_get_back_the_tokens_of_their_own_documents)
{
    static const char *const sets[] = {"--set layers.replicas=3", "--set sample.replicas=2",
                                       "--set layers.replicas=2 --set layers.split=2 --set sample.replicas=2 "
                                       "--set detokenize.replicas=2 --set "
                                       "tokenize.replicas=2"};
    const char *run =
        "thea run generate -q --set load.text='[\"# One\", \"The link\", \"A frame\", \"int main\", "
        "\"static\", \"No stage\", \"| a |\", \"So\"]' --set sample.greedy=true --set "
        "sample.max_tokens=12 --set write.format=jsonl";
    SHELL("%s > want.jsonl && wc -l < want.jsonl", run);
    expect_status(0);
    cr_assert_eq(strtol(buf_text(&r.out), NULL, 10), 8);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        run_result_fini(&r);
        SHELL("%s %s > got.jsonl && sort want.jsonl > want.sorted && sort got.jsonl | diff want.sorted -",
              run, sets[i]);
        expect_status(0);
    }
}

/* --- while they run --- */

static size_t count_lines(void)
{
    char path[512];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/got.jsonl", dir);
    FILE *f = fopen(path, "r");
    for (int c; f != NULL && (c = getc(f)) != EOF;) n += c == '\n';
    if (f != NULL) fclose(f);
    return n;
}

static bool has_lines(void *context)
{
    return count_lines() >= *(size_t *)context;
}

static void wait_lines(size_t n)
{
    cr_assert(run_until(has_lines, &n, LIMIT_S), "%zu lines after %d s, not %zu", count_lines(), LIMIT_S, n);
}

static void start(struct run_child *child)
{
    put_documents(MANY_LINES);
    run_start(child, dir,
              "thea run score in -o got.jsonl --run-dir run --set layers.split=2 --set load.in_flight=4 "
              "--set load.follow=true");
    wait_lines(1);
}

struct saying {
    const struct run_child *child;
    const char *part;
};

static bool is_said(void *context)
{
    const struct saying *w = context;
    char path[128], line[4096];
    bool said = false;
    snprintf(path, sizeof path, "%s/err", w->child->dir);
    FILE *f = fopen(path, "r");
    while (f != NULL && !said && fgets(line, sizeof line, f) != NULL) said = strstr(line, w->part) != NULL;
    if (f != NULL) fclose(f);
    return said;
}

/* `thea scale` returns when a change has begun: the run says when it is done. */
static void wait_told(const struct run_child *child, const char *part)
{
    struct saying w = {child, part};
    cr_assert(run_until(is_said, &w, LIMIT_S), "the run does not say '%s'", part);
}

/* Until all documents are done; it waits for more. */
static void finish_after(struct run_child *child, size_t documents)
{
    run_result_fini(&r);
    wait_lines(documents);
    kill(child->pid, SIGTERM);
    cr_expect_eq(run_wait(child, LIMIT_S, &r), 128 + SIGTERM, "%s", buf_text(&r.err));
    expect_same(documents);
}

static void finish(struct run_child *child)
{
    finish_after(child, DOCUMENTS);
}

static void expect_told_in(const char *text, const char *part)
{
    cr_expect_not_null(strstr(text, part), "'%s' is not in:\n%s", part, text);
}

static void expect_told(const char *part)
{
    expect_told_in(buf_text(&r.err), part);
}

Test(replicas, can_come_and_go_while_the_run_goes_on)
{
    struct run_child child;
    start(&child);
    SHELL("thea scale run layers=3 tokenize=2");
    expect_status(0);
    wait_lines(4);
    run_result_fini(&r);
    SHELL("thea scale run layers=1");
    expect_status(0);
    wait_lines(10);
    run_result_fini(&r);
    SHELL("thea scale run tokenize=1 score=2 layers=2");
    expect_status(0);
    wait_told(&child, "stage layers has 3 replicas now\n");
    wait_told(&child, "stage tokenize has 2 replicas now\n");
    wait_told(&child, "stage layers has 1 replica now\n");
    wait_told(&child, "stage score has 2 replicas now\n");
    finish(&child);
}

Test(replicas, of_a_loop_can_come_and_go_while_it_generates)
{
    struct run_child child;
    const char *run = "thea run generate prompts --set sample.greedy=true --set sample.max_tokens=80 --set "
                      "load.in_flight=4 --set write.format=jsonl";
    SHELL("mkdir prompts && for c in a b c d e f g h i j k l m n o p q r s t; do printf $c > prompts/$c.txt; "
          "done; %s -q -o want.jsonl && wc -l < want.jsonl",
          run);
    expect_status(0);
    cr_assert_eq(strtol(buf_text(&r.out), NULL, 10), PROMPTS);
    run_start(&child, dir, "%s -o got.jsonl --run-dir run --set load.follow=true", run);
    wait_lines(1);
    run_result_fini(&r);
    SHELL("thea scale run layers=3 sample=2");
    expect_status(0);
    wait_lines(6);
    run_result_fini(&r);
    SHELL("thea scale run layers=1 sample=1");
    expect_status(0);
    wait_told(&child, "stage layers has 1 replica now\n");
    finish_after(&child, PROMPTS);
}

Test(replicas, of_a_join_get_all_that_belongs_to_a_document_also_when_their_number_changes)
{
    struct run_child child;
    write_documents(MANY_LINES);
    SHELL("{ echo 'model: %s/models/thea-mini'; echo 'stages:'; echo '  load: {kind: load, paths: [in], "
          "in_flight: 4}'; "
          "echo '  tokenize: {kind: tokenize, from: load}'; echo '  layers: {kind: layers, from: tokenize}'; "
          "echo '  pool: {kind: pool, from: layers}'; echo '  center: {kind: %s/tests/thea-center, from: "
          "{final: layers.final, vector: pool.vector}}'; echo '  again: {kind: pool, from: {final: "
          "center.centered}}'; "
          "echo '  write: {kind: write, from: again, output: got.jsonl}'; } > join.yaml && "
          "thea run -q join.yaml && mv got.jsonl want.jsonl && thea run -q join.yaml --set center.replicas=3 "
          "--set "
          "pool.replicas=2 --set layers.replicas=2",
          run_source_dir(), run_bin_dir());
    expect_status(0);
    expect_same_file();
    run_result_fini(&r);
    SHELL("rm got.jsonl");
    run_start(&child, dir, "thea run join.yaml --run-dir run --set load.follow=true");
    wait_lines(1);
    run_result_fini(&r);
    SHELL("thea scale run center=3");
    expect_status(0);
    wait_lines(8);
    run_result_fini(&r);
    SHELL("thea scale run pool=2 center=1");
    expect_status(0);
    wait_told(&child, "stage center has 1 replica now\n");
    finish(&child);
}

Test(replicas, that_cannot_be_are_refused_and_the_run_goes_on)
{
    static const struct {
        const char *change, *message;
        int status;
    } cases[] = {{"write=2", "stage 'write' is a sink: it has one replica", 64},
                 {"load=2", "stage 'load' is a source: it has one replica", 64},
                 {"layer=2", "no stage 'layer' (did you mean 'layers'?)", 64},
                 {"layers=0", "out of range", 64},
                 {"layers=40", "links", 78}};
    struct run_child child;
    start(&child);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_result_fini(&r);
        SHELL("thea scale run %s", cases[i].change);
        expect_status(cases[i].status);
        expect_told(cases[i].message);
    }
    finish(&child);
    cr_expect_null(strstr(buf_text(&r.err), " now\n"), "%s", buf_text(&r.err));
}

Test(replicas, one_that_does_not_get_ready_takes_the_change_back_and_the_run_goes_on)
{
    struct run_child child;
    put_documents(MANY_LINES);
    SHELL("cp -r '%s/models/thea-mini' model", run_source_dir());
    expect_status(0);
    run_start(&child, dir,
              "thea run score in -o got.jsonl --run-dir run -m ./model --set layers.split=2 --set "
              "load.in_flight=4 --set load.follow=true");
    wait_lines(1);
    run_result_fini(&r);
    SHELL("thea pause run; mv model moved; thea scale run layers=3; until cat run/logs/layers.p?.r[12].log | "
          "grep -q .; do sleep "
          "0.05; done; "
          "until thea top run --once --json --interval 20ms | grep -vq 'layers/0:1'; do sleep 0.05; done; mv "
          "moved model; "
          "thea scale run layers=2; thea resume run");
    expect_status(0);
    wait_told(&child, "warning: stage layers keeps 1 replica: layers/");
    wait_told(&child, "failed with status 66 before it was ready\n");
    wait_told(&child, "stage layers has 2 replicas now\n");
    finish(&child);
}

Test(replicas, are_as_many_after_a_resume_as_they_were_last)
{
    struct run_child child;
    start(&child);
    SHELL("thea pause run; thea scale run layers=3 tokenize=2; until grep -q '\"layers\": 3.*\"tokenize\": "
          "2\\|\"tokenize\": "
          "2.*\"layers\": 3' "
          "run/replicas; do sleep 0.05; done");
    expect_status(0);
    kill(child.pid, SIGKILL);
    run_result_fini(&r);
    run_wait(&child, LIMIT_S, &r);
    for (int again = 0; again < 2; again++) {
        run_start(&child, dir, "thea run --resume run");
        run_result_fini(&r);
        SHELL(
            "until thea top run --once --json --interval 20ms > top; do sleep 0.05; done; grep -o '\"name\": "
            "*\"layers/1:2\"' top && "
            "grep -o '\"name\": *\"tokenize:1\"' top");
        expect_status(0);
        if (again > 0) break;
        run_result_fini(&r);
        kill(child.pid, SIGKILL);
        run_wait(&child, LIMIT_S, &r);
    }
    finish(&child);
}

Test(replicas, one_that_is_killed_comes_again_and_the_file_is_the_same)
{
    struct run_child child;
    start(&child);
    SHELL("thea scale run layers=2 tokenize=2");
    expect_status(0);
    wait_lines(4);
    run_result_fini(&r);
    SHELL("p=$(thea top run --once --json --interval 20ms | grep -o '\"name\": *\"layers/0:1\"[^}]*' | grep "
          "-o '\"pid\": "
          "*[0-9]*' | "
          "grep -o '[0-9]*$') && kill -9 $p");
    expect_status(0);
    wait_lines(10);
    run_result_fini(&r);
    SHELL("thea scale run layers=1");
    expect_status(0);
    wait_told(&child, "stage layers/0:1");
    wait_told(&child, "killed by SIGKILL");
    finish(&child);
}
