/* Seeing inside a run: every command asks a real one. The run's corpus takes minutes, so that it is always in
 * the middle; each test ends it. */
#include "graph/json.h"
#include "tests/support/exposition.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORDS = 2000, RECORD_BYTES = 6000, START_S = RUN_LIMIT_S };

struct scene {
    char *dir;             /* everything of the test; runs are in dir/runs */
    struct json_node *top; /* the newest answer */
    struct run_child thea;
    struct run_result result;
};

static void write_corpus(const char *dir)
{
    static const char sentence[] = "A stage reads frames, does its work and sends frames on. ";
    char path[256];
    snprintf(path, sizeof path, "%s/corpus.jsonl", dir);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    for (int i = 0; i < RECORDS; i++) {
        fprintf(f, "{\"id\": \"doc-%04d\", \"text\": \"", i);
        for (size_t n = 0; n < RECORD_BYTES; n += sizeof sentence - 1) fputs(sentence, f);
        fputs("\"}\n", f);
    }
    fclose(f);
}

/* A command beside the run; its directory of runs is the test's own. */
static struct run_result thea(const struct scene *s, int status, const char *command)
{
    struct run_result r = {0};
    run_shell(&r, s->dir, RUN_LIMIT_S, "export THEA_RUNS=%s/runs; thea %s", s->dir, command);
    cr_expect_eq(r.status, status, "thea %s: status %d\n%s%s", command, r.status, buf_text(&r.out),
                 buf_text(&r.err));
    return r;
}

static bool is_working(void *context)
{
    struct run_result r = {0};
    run_shell(&r, ((struct scene *)context)->dir, RUN_LIMIT_S,
              "export THEA_RUNS=$PWD/runs; thea ps --json | grep -q '\"tokens\": [1-9]'");
    bool working = r.status == 0;
    run_result_fini(&r);
    return working;
}

static void setup(struct scene *s, const char *options)
{
    *s = (struct scene){.dir = run_temp_dir()};
    write_corpus(s->dir);
    run_start(&s->thea, s->dir,
              "export THEA_RUNS=$PWD/runs; exec thea run score corpus.jsonl -o out.jsonl %s", options);
    cr_assert(run_until(is_working, s, START_S), "the run did not begin to work");
}

static void end_run(struct scene *s)
{
    kill(s->thea.pid, SIGKILL); /* its processes follow it */
    run_wait(&s->thea, RUN_LIMIT_S, &s->result);
    run_result_fini(&s->result);
}

static void teardown(struct scene *s)
{
    end_run(s);
    json_free(s->top);
    free(s->dir);
}

static struct json_node *json_of(const struct buf *text)
{
    struct json_node *out = NULL;
    struct thea_err err;
    size_t line = strcspn(buf_text(text), "\n");
    cr_assert_eq(json_parse(&out, buf_text(text), line, "output", &err), THEA_OK, "%s\n%s", err.message,
                 buf_text(text));
    return out;
}

static const struct json_node *process(const struct json_node *top, const char *name)
{
    const struct json_node *list = json_member(top, "processes");
    for (size_t i = 0; i < json_count(list); i++)
        if (strcmp(json_text_or(json_item(list, i), "name", ""), name) == 0) return json_item(list, i);
    cr_assert(false, "no process %s", name);
    return NULL;
}

static void expect_in(const struct buf *text, const char *part)
{
    cr_expect_not_null(strstr(buf_text(text), part), "no '%s' in:\n%s", part, buf_text(text));
}

/* In a second: on a machine with other work it may have none in which a chunk gets done. */
static bool is_at_work(void *context)
{
    struct scene *s = context;
    struct run_result r = thea(s, 0, "top --once --json");
    double busiest = 0;
    json_free(s->top);
    s->top = json_of(&r.out);
    run_result_fini(&r);
    for (size_t i = 0; i < json_count(json_member(s->top, "processes")); i++) {
        double busy = json_number_or(json_item(json_member(s->top, "processes"), i), "busy", -1);
        cr_expect(busy >= 0 && busy <= 1, "%g", busy);
        if (busy > busiest) busiest = busy;
    }
    const struct json_node *layers = process(s->top, "layers/0");
    return busiest > 0.2 && json_number_or(layers, "tokens_per_s", 0) > 0 &&
           json_number_or(layers, "p99_s", 0) > 0;
}

Test(observe, ps_and_top_show_what_a_run_does)
{
    struct scene s;
    setup(&s, "");
    struct run_result r = thea(&s, 0, "ps");
    expect_in(&r.out, "RUN");
    expect_in(&r.out, "running");
    run_result_fini(&r);
    cr_assert(run_until(is_at_work, &s, RUN_LIMIT_S), "nobody works");
    cr_expect_str_eq(json_text_or(s.top, "state", ""), "running");
    cr_expect_gt(json_number_or(process(s.top, "layers/0"), "rss_bytes", 0), 1 << 20);
    cr_expect_eq(json_int_or(process(s.top, "layers/0"), "window", 0), 8);
    r = thea(&s, 0, "top --once");
    expect_in(&r.out, "PROCESS");
    expect_in(&r.out, "layers/1");
    expect_in(&r.out, "  <-\n");
    run_result_fini(&r);
    teardown(&s);
}

/* What a command beside the run has printed, and what is to be in it. */
struct said {
    const struct run_child *child;
    const char *parts[4];
};

static bool is_said(void *context)
{
    const struct said *w = context;
    static char text[1 << 20];
    char path[128];
    snprintf(path, sizeof path, "%s/out", w->child->dir);
    FILE *f = fopen(path, "r");
    if (f == NULL) return false;
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    for (size_t i = 0; i < 4 && w->parts[i] != NULL; i++)
        if (strstr(text, w->parts[i]) == NULL) return false;
    return true;
}

static bool has_restarted(void *context)
{
    struct run_result r = {0};
    run_shell(
        &r, ((struct scene *)context)->dir, RUN_LIMIT_S,
        "export THEA_RUNS=$PWD/runs; thea top --once --interval 20ms | grep '^layers/0 .* restarted 1'");
    bool yes = r.status == 0;
    run_result_fini(&r);
    return yes;
}

Test(observe, a_process_that_was_killed_is_shown_as_restarted_and_its_tap_goes_on)
{
    struct scene s;
    setup(&s, "");
    struct run_child tap;
    run_start(&tap, s.dir, "export THEA_RUNS=$PWD/runs; exec thea tap layers/0 --limit 100000");
    struct run_result r = thea(&s, 0, "top --once --json --interval 20ms");
    struct json_node *top = json_of(&r.out);
    kill((pid_t)json_int_or(process(top, "layers/0"), "pid", 0), SIGKILL);
    json_free(top);
    run_result_fini(&r);
    cr_assert(run_until(has_restarted, &s, RUN_LIMIT_S), "it was not");
    r = thea(&s, 0, "top --once --json --interval 20ms");
    top = json_of(&r.out);
    cr_expect_eq(json_int_or(top, "epoch", 0), 2);
    const struct json_node *layers = process(top, "layers/0");
    cr_expect_leq(json_int_or(layers, "in_flight", 99), json_int_or(layers, "window", 0));
    json_free(top);
    run_result_fini(&r);
    r = thea(&s, 0, "tap layers/0 --limit 2"); /* of the new process */
    run_result_fini(&r);
    struct said tapped = {&tap, {"layers/0 ->  "}};
    cr_assert(run_until(is_said, &tapped, RUN_LIMIT_S), "nothing was tapped");
    end_run(&s);
    cr_expect_eq(run_wait(&tap, RUN_LIMIT_S, &r), 0, "%s", buf_text(&r.err));
    run_result_fini(&r);
    free(s.dir);
}

Test(observe, a_run_is_found_wherever_its_directory_is)
{
    struct scene s;
    setup(&s, "--run-dir elsewhere/mine");
    static const char *const ways[] = {"top --once", "top --once mine", "top --once mi",
                                       "top --once ./elsewhere/mine"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct run_result r = thea(&s, 0, ways[i]);
        expect_in(&r.out, "mine  running");
        run_result_fini(&r);
    }
    struct run_result r = thea(&s, 69, "top nobody");
    expect_in(&r.err, "no run 'nobody'; there are\n  mine  live");
    run_result_fini(&r);
    end_run(&s);
    r = thea(&s, 69, "top ./elsewhere/mine");
    expect_in(&r.err, "the run mine has ended");
    expect_in(&r.err, "thea run --resume");
    run_result_fini(&r);
    free(s.dir);
}

Test(observe, several_live_runs_are_listed_and_must_be_told_apart)
{
    struct scene s;
    struct run_child other;
    setup(&s, "--run-dir one");
    run_start(&other, s.dir,
              "export THEA_RUNS=$PWD/runs; exec thea run score corpus.jsonl -o other.jsonl --run-dir two");
    struct run_result r = {0};
    run_shell(&r, s.dir, RUN_LIMIT_S,
              "export THEA_RUNS=$PWD/runs; until thea ps | grep -q '^two '; do :; done");
    cr_assert_eq(r.status, 0);
    run_result_fini(&r);
    r = thea(&s, 64, "stop");
    expect_in(&r.err, "several runs are live; which?");
    expect_in(&r.err, "one  live");
    expect_in(&r.err, "two  live");
    run_result_fini(&r);
    r = thea(&s, 0, "stop two --now");
    run_result_fini(&r);
    r = thea(&s, 0, "top --once"); /* one is left */
    run_result_fini(&r);
    kill(other.pid, SIGKILL);
    run_wait(&other, RUN_LIMIT_S, &r);
    run_result_fini(&r);
    teardown(&s);
}

Test(observe, stop_ends_a_run_in_order_and_returns_when_it_has_ended)
{
    struct scene s;
    setup(&s, "--run-dir run");
    struct run_result r = thea(&s, 0, "stop && test -s run/report.json && flock -n run/lock true");
    cr_expect_eq(r.out.len, 0);
    run_result_fini(&r);
    char path[256];
    snprintf(path, sizeof path, "%s/run/socket", s.dir);
    cr_expect_neq(access(path, F_OK), 0, "the run's socket is still there");
    int status = run_wait(&s.thea, RUN_LIMIT_S, &s.result);
    cr_expect_eq(status, 143, "status %d\n%s", status, buf_text(&s.result.err));
    run_result_fini(&s.result);
    r = thea(&s, 69, "stop ./run");
    expect_in(&r.err, "the run run has ended");
    run_result_fini(&r);
    free(s.dir);
}

Test(observe, logs_are_printed_with_their_process_and_by_stage)
{
    struct scene s;
    setup(&s, "--run-dir run");
    FILE *f;
    char path[256];
    static const char *const logs[] = {"layers.p0", "layers.p1", "score"};
    for (size_t i = 0; i < 3; i++) { /* as if the stage had said it */
        snprintf(path, sizeof path, "%s/run/logs/%s.log", s.dir, logs[i]);
        f = fopen(path, "a");
        cr_assert_not_null(f);
        fprintf(f, "a word of %s\n", logs[i]);
        fclose(f);
    }
    struct run_result r = thea(&s, 0, "logs");
    expect_in(&r.out, "layers/1 | a word of layers.p1\n");
    expect_in(&r.out, "score | a word of score\n");
    run_result_fini(&r);
    r = thea(&s, 0, "logs run layers");
    expect_in(&r.out, "layers/0 | a word of layers.p0\n");
    cr_expect_null(strstr(buf_text(&r.out), "score"));
    run_result_fini(&r);
    r = thea(&s, 0, "logs layers/0"); /* of the only live run */
    cr_expect_str_eq(buf_text(&r.out), "a word of layers.p0\n");
    run_result_fini(&r);
    r = thea(&s, 66, "logs run layer");
    expect_in(&r.err, "no log of a stage or process 'layer'");
    expect_in(&r.err, "layers/0");
    run_result_fini(&r);
    end_run(&s);
    r = thea(&s, 0, "logs ./run score"); /* it has ended: -f would, too */
    cr_expect_str_eq(buf_text(&r.out), "a word of score\n");
    run_result_fini(&r);
    free(s.dir);
}

Test(observe, a_followed_log_ends_with_its_run)
{
    struct scene s;
    struct run_child follower;
    struct run_result r = {0};
    setup(&s, "--run-dir run");
    run_start(&follower, s.dir, "export THEA_RUNS=$PWD/runs; exec thea logs -f run score");
    char path[256];
    snprintf(path, sizeof path, "%s/run/logs/score.log", s.dir);
    FILE *f = fopen(path, "a");
    cr_assert_not_null(f);
    fputs("the last word\n", f);
    fclose(f);
    kill(s.thea.pid, SIGKILL);
    cr_expect_eq(run_wait(&follower, RUN_LIMIT_S, &r), 0, "%s", buf_text(&r.err));
    cr_expect_str_eq(buf_text(&r.out), "the last word\n");
    run_result_fini(&r);
    teardown(&s);
}

Test(observe, a_stopped_supervisor_is_silent_and_not_ended)
{
    struct scene s;
    setup(&s, "");
    kill(s.thea.pid, SIGSTOP);
    struct run_result r = thea(&s, 0, "ps");
    expect_in(&r.out, "silent");
    run_result_fini(&r);
    r = thea(&s, 69, "stop score");
    expect_in(&r.err, "does not answer");
    expect_in(&r.err, "SIGCONT");
    run_result_fini(&r);
    kill(s.thea.pid, SIGCONT);
    r = thea(&s, 0, "top --once");
    run_result_fini(&r);
    teardown(&s);
}

Test(observe, no_run_is_status_69_and_wrong_words_are_64)
{
    struct scene s = {.dir = run_temp_dir()};
    static const char *const none[] = {"top", "stop", "pause", "resume", "scale layers=2", "top x", "logs"};
    static const char *const wrong[] = {"scale",   "scale layers=0", "scale layers",    "scale x =3",
                                        "top a b", "ps x",           "top --interval 5"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        struct run_result r = thea(&s, 69, none[i]);
        expect_in(&r.err, "no run");
        run_result_fini(&r);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct run_result r = thea(&s, 64, wrong[i]);
        run_result_fini(&r);
    }
    struct run_result r = thea(&s, 0, "ps");
    cr_expect_eq(r.out.len, 0);
    expect_in(&r.err, "no run is live");
    run_result_fini(&r);
    free(s.dir);
}

/* --- over HTTP --- */

/* GET by bash alone; the reply without its head. */
static struct run_result get(const struct scene *s, const char *path, const char *status)
{
    struct run_result r = {0};
    run_shell(
        &r, s->dir, RUN_LIMIT_S,
        "bash -c 'exec 3<>\"/dev/tcp/127.0.0.1/$(grep -o \"127.0.0.1:[0-9]*\" \"$1\" | head -n 1 | cut -d : "
        "-f 2)\"; "
        "printf \"GET %%s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n\" \"$2\" >&3; "
        "read -r version status rest <&3; [ \"$status\" = \"$3\" ] || { echo \"$status\" >&2; exit 9; }; "
        "while read -r line <&3; do [ \"$line\" = $(printf \"\\r\") ] && break; done; cat <&3' "
        "get %s/err '%s' %s",
        s->thea.dir, path, status);
    cr_expect_eq(r.status, 0, "%s: status %d\n%s", path, r.status, buf_text(&r.err));
    return r;
}

Test(observe, metrics_of_a_run_are_what_prometheus_reads)
{
    struct scene s;
    struct exposition e;
    char why[256];
    double value = 0;
    setup(&s, "--metrics 127.0.0.1:0");
    struct run_result r = get(&s, "/metrics", "200");
    cr_assert(exposition_parse(&e, buf_text(&r.out), why), "%s", why);
    cr_expect(
        exposition_find(&e, "thea_stage_tokens_total{stage=\"tokenize\",part=\"0\",replica=\"0\"}", &value));
    cr_expect_gt(value, 0);
    cr_expect(exposition_find(
        &e, "thea_process_resident_memory_bytes{stage=\"write\",part=\"0\",replica=\"0\"}", &value));
    cr_expect_gt(value, 1 << 20);
    cr_expect(exposition_find(&e,
                              "thea_link_window_frames{from=\"load\",from_port=\"docs\",to=\"tokenize\","
                              "to_port=\"docs\"}",
                              &value));
    cr_expect_eq(value, 8);
    exposition_fini(&e);
    run_result_fini(&r);
    teardown(&s);
}

Test(observe, the_live_page_and_what_it_asks_for_are_served)
{
    struct scene s;
    setup(&s, "--metrics localhost:0 --run-dir run");
    struct run_result r = get(&s, "/", "200");
    expect_in(&r.out, "<!doctype html>");
    run_result_fini(&r);
    r = get(&s, "/page.js", "200");
    expect_in(&r.out, "/api/status");
    run_result_fini(&r);
    r = get(&s, "/page.css", "200");
    run_result_fini(&r);
    r = get(&s, "/api/status", "200");
    struct json_node *status = json_of(&r.out);
    cr_expect_str_eq(json_text_or(status, "name", ""), "run");
    cr_expect_eq(json_count(json_member(status, "processes")), 6);
    json_free(status);
    run_result_fini(&r);
    run_shell(&r, s.dir, RUN_LIMIT_S, "printf 'one\\ntwo\\nunfinished' >> run/logs/score.log");
    run_result_fini(&r);
    r = get(&s, "/api/logs?process=score&from=-1", "200");
    struct json_node *log = json_of(&r.out);
    cr_expect_str_eq(json_text_or(log, "text", ""), "one\ntwo\n");
    cr_expect_eq(json_int_or(log, "next", 0), 8);
    json_free(log);
    run_result_fini(&r);
    r = get(&s, "/api/logs?process=score&from=4", "200");
    log = json_of(&r.out);
    cr_expect_str_eq(json_text_or(log, "text", ""), "two\n");
    json_free(log);
    run_result_fini(&r);
    r = get(&s, "/api/logs?process=../run", "404");
    run_result_fini(&r);
    r = get(&s, "/api/history", "200");
    cr_expect_eq(buf_text(&r.out)[0], '[');
    run_result_fini(&r);
    r = get(&s, "/api/nothing", "404");
    run_result_fini(&r);
    teardown(&s);
}

Test(observe, an_address_for_metrics_that_cannot_be_had_ends_the_run_at_once)
{
    struct run_result r = {0};
    char *dir = run_temp_dir();
    run_shell(&r, dir, RUN_LIMIT_S,
              "export THEA_RUNS=$PWD/runs; echo text > a.txt; thea run score a.txt --metrics 0.0.0.0:0");
    cr_expect_eq(r.status, 64, "%d %s", r.status, buf_text(&r.err));
    expect_in(&r.err, "not on loopback");
    run_result_fini(&r);
    run_shell(&r, dir, RUN_LIMIT_S, "export THEA_RUNS=$PWD/runs; thea run score a.txt --metrics nowhere");
    cr_expect_eq(r.status, 64, "%d %s", r.status, buf_text(&r.err));
    run_result_fini(&r);
    free(dir);
}

/* --- holding --- */

static bool is_in_state(const struct scene *s, const char *state)
{
    struct run_result r = thea(s, 0, "top --once --json --interval 50ms");
    struct json_node *top = json_of(&r.out);
    bool yes = strcmp(json_text_or(top, "state", ""), state) == 0;
    json_free(top);
    run_result_fini(&r);
    return yes;
}

Test(observe, a_paused_run_says_so_and_goes_on)
{
    struct scene s;
    setup(&s, "");
    struct run_result r = thea(&s, 0, "pause");
    run_result_fini(&r);
    cr_expect(is_in_state(&s, "paused"));
    r = thea(&s, 0, "resume");
    run_result_fini(&r);
    cr_expect(is_in_state(&s, "running"));
    teardown(&s);
}

/* --- taps --- */

/* Which of the frames are shown, and whose first, is a matter of chance: until these are among them. */
static void expect_tapped(const struct scene *s, const char *options, struct said wanted)
{
    struct run_child tap;
    struct run_result r;
    wanted.child = &tap;
    run_start(&tap, s->dir, "export THEA_RUNS=$PWD/runs; exec thea tap %s", options);
    bool said = run_until(is_said, &wanted, RUN_LIMIT_S);
    kill(tap.pid, SIGTERM);
    run_wait(&tap, RUN_LIMIT_S, &r);
    cr_expect(said, "thea tap %s:\n%s%s", options, buf_text(&r.out), buf_text(&r.err));
    run_result_fini(&r);
}

Test(observe, a_tap_prints_the_frames_that_pass_and_the_run_goes_on)
{
    struct scene s;
    setup(&s, "");
    expect_tapped(
        &s, "'layers*'",
        (struct said){.parts = {"layers/0 ->  data  stream ", "layers/1 ->  ", "residual   f32 ["}});
    expect_tapped(&s, "score tokenize --port docs --tensors --json",
                  (struct said){.parts = {"\"name\": \"text\""}});
    struct run_result r = thea(&s, 0, "tap score tokenize --port docs --json --limit 4");
    struct json_node *frame = json_of(&r.out);
    cr_expect_str_eq(json_text_or(frame, "process", ""), "tokenize");
    cr_expect_str_eq(json_text_or(frame, "side", ""), "in");
    json_free(frame);
    run_result_fini(&r);
    run_shell(&r, s.dir, RUN_LIMIT_S,
              "export THEA_RUNS=$PWD/runs; thea tap tokenize --json --limit 4 | grep -c '^{'");
    cr_expect_str_eq(buf_text(&r.out), "4\n");
    run_result_fini(&r);
    r = thea(&s, 64, "tap nobody");
    expect_in(&r.err, "no process matches 'nobody'");
    expect_in(&r.err, "tokenize");
    run_result_fini(&r);
    r = thea(&s, 0, "tap | head -n 1 > /dev/null; thea top --once --interval 200ms");
    expect_in(&r.out, "  running ");
    run_result_fini(&r);
    teardown(&s);
}

Test(observe, a_run_that_is_looked_at_all_the_time_gives_the_same_bytes)
{
    struct run_result r = {0};
    char *dir = run_temp_dir();
    write_corpus(dir);
    /* Documents come until all who look have seen something, however late they began. */
    run_shell(
        &r, dir, RUN_LIMIT_S,
        "export THEA_RUNS=$PWD/runs; n=%d; head -n $n corpus.jsonl > few.jsonl;"
        " thea run score few.jsonl -o seen.jsonl --metrics localhost:0 --set load.follow=true 2>err & run=$!;"
        " until thea ps | grep -q running; do sleep 0.02; done;"
        " thea tap --tensors --json > frames.jsonl & thea top --json --interval 20ms > top.jsonl & "
        " thea logs -f > logs &"
        " seen() { cat seen.jsonl 2> /dev/null | wc -l; };"
        " until [ $(seen) -eq $n ] && [ -s frames.jsonl ] && [ -s top.jsonl ]; do"
        "  [ $(seen) -lt $n ] || { n=$((n + 1)); sed -n ${n}p corpus.jsonl >> few.jsonl; }; sleep 0.05; done;"
        " kill -TERM $run; wait $run; [ $? -eq 143 ] || exit 2; wait;"
        " thea run score few.jsonl -o quiet.jsonl -q || exit 1; cmp quiet.jsonl seen.jsonl || exit 3",
        32 / RUN_SLOWER);
    cr_expect_eq(r.status, 0, "%d: %s", r.status, buf_text(&r.err));
    run_result_fini(&r);
    free(dir);
}

Test(observe, a_run_of_another_directory_is_named_when_it_is_taken_and_must_be_to_be_ended)
{
    struct scene s;
    setup(&s, "--run-dir runs/this-one");
    static const char *const changes[] = {"pause", "resume"};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char command[64];
        struct run_result r = thea(&s, 0, changes[i]);
        cr_expect_eq(r.err.len, 0, "%s", buf_text(&r.err));
        run_result_fini(&r);
        snprintf(command, sizeof command, "ps -q; cd runs; thea %s", changes[i]);
        r = thea(&s, 0, command);
        expect_in(&r.err, "taken is the only live run, this-one, which was started in ");
        expect_in(&r.err, s.dir);
        run_result_fini(&r);
    }
    struct run_result r = thea(&s, 64, "ps -q; cd runs; thea stop --now");
    expect_in(&r.err, "the only live one was not started here, but in ");
    expect_in(&r.err, "thea stop this-one");
    run_result_fini(&r);
    r = thea(&s, 0, "ps");
    expect_in(&r.out, "running");
    run_result_fini(&r);
    r = thea(&s, 0, "stop --now");
    run_result_fini(&r);
    cr_expect_gt(run_wait(&s.thea, RUN_LIMIT_S, &s.result), 128);
    run_result_fini(&s.result);
    free(s.dir);
}
