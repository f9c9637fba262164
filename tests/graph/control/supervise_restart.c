/* Runs that go on after a death: the supervisor over shell scripts that speak the control channel (descriptor
 * 4). Each test hands over a plan and a spec made by hand. */
#include "graph/control/supervise.h"
#include "graph/json.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROCESSES_MAX = 4 };

TestSuite(supervise_restart, .timeout = 120); /* rather than hang with a run that does not end */

struct fixture {
    char dir[64];
    struct rundir run;
    struct spec spec;
    struct plan plan;
    struct spec_stage stages[PROCESSES_MAX];
    struct plan_process processes[PROCESSES_MAX];
    char *argv[PROCESSES_MAX][5];
    struct supervise_options options;
    struct supervise_result result;
    struct thea_err err;
};

static void init_fixture(struct fixture *f)
{
    *f = (struct fixture){0};
    strcpy(f->dir, "/tmp/thea-restart-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    char runs[128];
    snprintf(runs, sizeof runs, "%s/runs", f->dir);
    setenv("THEA_RUNS", runs, 1);
    cr_assert_eq(rundir_create(&f->run, NULL, "small", &f->err), THEA_OK, "%s", f->err.message);
    f->spec.stages = f->stages;
    f->spec.name = (char *)"small";
    f->plan.spec = &f->spec;
    f->plan.processes = f->processes;
    f->options = (struct supervise_options){.run = &f->run,
                                            .quiet = true,
                                            .stdout_fd = STDERR_FILENO,
                                            .stdin_fd = -1,
                                            .drain_timeout_ns = 30000000000u,
                                            .backoff_ns = 1000000,
                                            .label = "small"};
}

static void fini_fixture(struct fixture *f)
{
    char command[128];
    supervise_result_fini(&f->result);
    for (size_t i = 0; i < f->plan.process_count; i++) free(f->argv[i][2]);
    rundir_close(&f->run);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    cr_expect_eq(system(command), 0);
}

typedef enum { SOURCE, MIDDLE, SINK } place;

/* What every script may use: say WORD-AND-MORE, `first`: is it the process's first start? `obey`: write down
 * what the supervisor says, until it says finish; for each line the function `on` is called with it. */
static const char library[] = "say() { echo \"{\\\"did\\\": $*}\" >&4; }; "
                              "first() { case \"$args\" in *'--incarnation 1 '*) true;; *) false;; esac; }; "
                              "on() { :; }; "
                              "obey() { while read -r line <&4; do echo \"$line\" >&2; on \"$line\"; "
                              "case \"$line\" in *'\"finish\"'*) exit 0;; esac; done; }; "
                              "args=\"$* \"; echo \"args $*\" >&2; ";

/* A stage whose one process runs a script; its name is what the log is called. */
static struct spec_stage *add(struct fixture *f, const char *name, place where, const char *script)
{
    size_t i = f->plan.process_count++;
    char **argv = f->argv[i];
    argv[0] = (char *)"/bin/sh", argv[1] = (char *)"-c", argv[3] = (char *)(uintptr_t)name;
    cr_assert_gt(asprintf(&argv[2], "cd %s; %s %s", f->dir, library, script), 0);
    f->processes[i] = (struct plan_process){
        .name = argv[3], .stage = i, .argv = argv, .source = where == SOURCE, .sink = where == SINK};
    f->stages[i] =
        (struct spec_stage){.name = argv[3], .tries = 3, .source = where == SOURCE, .sink = where == SINK};
    f->spec.stage_count = f->plan.process_count;
    return &f->stages[i];
}

static void run(struct fixture *f)
{
    cr_assert_eq(supervise_run(&f->result, &f->plan, &f->options, &f->err), THEA_OK, "%s", f->err.message);
}

static char *read_file(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");
    if (file == NULL) return strcpy(text, "");
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static char *read_log(struct fixture *f, const char *process)
{
    char *path = rundir_log_path(&f->run, process), *text = read_file(path);
    free(path);
    return text;
}

static char *read_of_run(struct fixture *f, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->run.path, name);
    return read_file(path);
}

static void expect_holds(const char *text, const char *part)
{
    cr_expect_not_null(strstr(text, part), "'%s' is not in:\n%s", part, text);
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++) n++;
    return n;
}

/* Sources and sinks of most tests: a source that only listens; a sink that is done in the epoch that the test
 * wants. */
#define LISTENS            "say '\"ready\"'; obey"
#define LISTENS_TO_THE_END "trap '' TERM; say '\"ready\"'; touch ready; obey"
#define DONE_IN(epoch)                                                                                       \
    "on() { case \"$1\" in *'\"epoch\": " epoch "}'*) say '\"done\", \"epoch\": " epoch "';; esac; }; "      \
    "say '\"ready\"'; obey"
#define DONE_AT_ONCE "say '\"ready\"'; say '\"done\", \"epoch\": 1'; obey"

/* --- deaths --- */

Test(supervise_restart, starts_what_was_killed_again_in_a_new_epoch_that_all_hear_of)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, "say '\"ready\"'; first && kill -9 $$; obey");
    add(&f, "write", SINK, DONE_IN("2"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_str_eq(f.result.end, "done");
    cr_expect_eq(f.result.restarts, 1);
    cr_expect_eq(f.result.epoch, 2);
    cr_expect_eq(f.result.processes[1].incarnation, 2);
    expect_holds(read_log(&f, "load"), "{\"do\": \"epoch\", \"epoch\": 2}\n");
    expect_holds(read_log(&f, "layers"), "--incarnation 2 --epoch 2 ");
    cr_expect_str_eq(read_of_run(&f, "epoch"), "2\n");
    fini_fixture(&f);
}

Test(supervise_restart, of_a_source_tells_it_what_is_committed)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE,
        "on() { case \"$1\" in *commit*) if first; then kill -9 $$; else touch told; fi;; esac; }; say "
        "'\"ready\"'; obey");
    add(&f, "write", SINK,
        "say '\"ready\"'; say '\"commit\", \"streams\": [[0, 4]]'; while ! [ -e told ]; do sleep 0.01; done; "
        "say '\"done\", \"epoch\": 2'; obey");
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_eq(count(read_log(&f, "load"), "{\"do\": \"commit\", \"streams\": [[0, 4]]}"), 2);
    cr_expect_eq(f.result.committed, 5);
    fini_fixture(&f);
}

Test(supervise_restart, is_not_done_where_the_stage_says_never)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, "say '\"ready\"'; kill -9 $$")->restart = SPEC_RESTART_NEVER;
    add(&f, "write", SINK, LISTENS);
    run(&f);
    cr_expect_eq(f.result.exit_status, 70);
    cr_expect_str_eq(f.result.end, "failed");
    cr_expect_eq(f.result.restarts, 0);
    expect_holds(f.result.report, "stage layers (pid ");
    fini_fixture(&f);
}

Test(supervise_restart, is_given_up_after_ten_deaths_without_a_document_and_says_how_to_go_on)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, "say '\"ready\"'; kill -9 $$");
    add(&f, "write", SINK, "say '\"ready\"'; say '\"commit\", \"stream\": 0'; obey");
    f.options.backoff_ns = 1;
    run(&f);
    cr_expect_eq(f.result.exit_status, 70);
    cr_expect_geq(f.result.restarts, 10);
    expect_holds(f.result.report, "given up       too many deaths without a document done in between");
    expect_holds(f.result.report, "go on: thea run --resume small-");
    fini_fixture(&f);
}

Test(supervise_restart, is_not_tried_where_it_cannot_help)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "write", SINK, "say '\"ready\"'; exit 74");
    run(&f);
    cr_expect_eq(f.result.exit_status, 74);
    cr_expect_eq(f.result.restarts, 0);
    fini_fixture(&f);
}

Test(supervise_restart, is_not_tried_with_a_process_that_failed_before_it_was_ready)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "write", SINK, "exit 70");
    run(&f);
    cr_expect_eq(f.result.exit_status, 70);
    cr_expect_eq(f.result.restarts, 0);
    fini_fixture(&f);
}

Test(supervise_restart, is_done_with_a_process_that_ends_before_it_is_told_to)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, "say '\"ready\"'; first && exit 0; obey");
    add(&f, "write", SINK, DONE_IN("2"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_eq(f.result.processes[1].incarnation, 2);
    fini_fixture(&f);
}

Test(supervise_restart, that_may_not_be_ends_the_run_at_a_process_that_leaves_too_early)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, "say '\"ready\"'; exit 0")->restart = SPEC_RESTART_NEVER;
    add(&f, "write", SINK, LISTENS);
    run(&f);
    cr_expect_eq(f.result.exit_status, 70);
    expect_holds(f.result.report, "ended before it was told to");
    fini_fixture(&f);
}

Test(supervise_restart, of_a_sink_that_cannot_take_back_ends_the_run)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "write", SINK, "say '\"ready\", \"final\": true'; say '\"commit\", \"stream\": 0'; kill -9 $$");
    run(&f);
    cr_expect_eq(f.result.exit_status, 70);
    cr_expect_null(strstr(f.result.report, "--resume"), "%s", f.result.report);
    fini_fixture(&f);
}

static void write_page(struct fixture *f, const char *name, const struct status_page *page)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(page, sizeof *page, 1, file), 1);
    fclose(file);
}
#define PUT(name) "dd if=" name " of=/proc/self/fd/3 conv=notrunc status=none; "
#define PUT_PAGE  PUT("page")

static struct status_page make_page(void)
{
    return (struct status_page){.magic = STATUS_MAGIC, .version = STATUS_VERSION, .state = STATUS_RUNNING};
}

Test(supervise_restart, is_not_tried_in_a_run_one_of_whose_processes_does_not_speak)
{
    struct fixture f;
    init_fixture(&f);
    struct status_page page = make_page();
    write_page(&f, "page", &page);
    add(&f, "load", SOURCE, PUT_PAGE "touch mute; sleep 60");
    add(&f, "write", SINK, "say '\"ready\"'; while ! [ -e mute ]; do sleep 0.01; done; kill -9 $$");
    run(&f);
    cr_expect_eq(f.result.exit_status, 70);
    cr_expect_eq(f.result.restarts, 0);
    expect_holds(f.result.report, "stage write (pid ");
    cr_expect_lt(f.result.seconds, 20.0);
    fini_fixture(&f);
}

Test(supervise_restart, is_over_once_all_sinks_are_done_and_a_death_then_is_no_failure)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, "on() { case \"$1\" in *finish*) kill -9 $$;; esac; }; say '\"ready\"'; obey");
    add(&f, "write", SINK, DONE_AT_ONCE);
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_str_eq(f.result.end, "done");
    fini_fixture(&f);
}

/* --- commits --- */

Test(supervise_restart, tells_a_source_of_a_commit_when_every_sink_has_it)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, "on() { case \"$1\" in *commit*) touch told;; esac; }; say '\"ready\"'; obey");
    add(&f, "a", SINK,
        "say '\"ready\"'; say '\"commit\", \"streams\": [[0, 9]]'; say '\"done\", \"epoch\": 1'; obey");
    add(&f, "b", SINK,
        "say '\"ready\"'; say '\"commit\", \"streams\": [[3, 3], [5, 20]]'; while ! [ -e told ]; do sleep "
        "0.01; done; "
        "say '\"done\", \"epoch\": 1'; obey");
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_eq(f.result.committed, 6);
    char *log = read_log(&f, "load");
    expect_holds(log, "{\"do\": \"commit\", \"streams\": [[3, 3], [5, 9]]}\n");
    cr_expect_eq(count(log, "\"commit\""), 1);
    fini_fixture(&f);
}

Test(supervise_restart, waits_no_longer_for_the_commits_of_a_sink_that_has_enough)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "a", SINK,
        "say '\"ready\"'; say '\"commit\", \"streams\": [[0, 9]]'; say '\"done\", \"epoch\": 1'; obey");
    add(&f, "b", SINK, "say '\"ready\"'; say '\"commit\", \"stream\": 0'; say '\"enough\"'; obey");
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_eq(f.result.committed, 10);
    fini_fixture(&f);
}

Test(supervise_restart, passes_a_sources_total_on_to_sinks_those_too_that_come_later)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, "say '\"ready\"'; say '\"total\", \"streams\": 12'; obey");
    add(&f, "write", SINK,
        "on() { case \"$1\" in *total*) if first; then kill -9 $$; else say '\"done\", \"epoch\": 2'; fi;; "
        "esac; }; "
        "say '\"ready\"'; obey");
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_eq(count(read_log(&f, "write"), "{\"do\": \"total\", \"source\": 0, \"streams\": 12}"), 2);
    fini_fixture(&f);
}

Test(supervise_restart, passes_over_what_makes_no_sense)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, "say '\"commit\", \"stream\": 0'; say '\"nonsense\"'; " LISTENS);
    add(&f, "write", SINK,
        "say '\"commit\", \"streams\": [[9, 1]]'; say '\"commit\", \"streams\": \"all\"'; say '\"failed\"'; "
        "say '\"held\", \"stream\": -1'; say '\"link_down\", \"link\": 77'; " DONE_AT_ONCE);
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_eq(f.result.committed, 0);
    fini_fixture(&f);
}

Test(supervise_restart, takes_bytes_that_are_no_message_for_the_end_of_a_process)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, "say '\"ready\"'; first && echo 'no JSON' >&4; obey");
    add(&f, "write", SINK, DONE_IN("2"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_eq(f.result.processes[1].incarnation, 2);
    fini_fixture(&f);
}

Test(supervise_restart, holds_the_sources_of_a_resumed_run_until_the_sinks_have_read_their_journals)
{
    struct fixture f;
    init_fixture(&f);
    f.options.resumed = true;
    add(&f, "load", SOURCE, "on() { case \"$1\" in *go*) touch go;; esac; }; say '\"ready\"'; obey");
    add(&f, "write", SINK,
        "say '\"commit\", \"streams\": [[0, 6]]'; say '\"ready\"'; while ! [ -e go ]; do sleep 0.01; done; "
        "say '\"done\", \"epoch\": 1'; obey");
    run(&f);
    char *log = read_log(&f, "load"), *pause = strstr(log, "\"pause\""), *commit = strstr(log, "[[0, 6]]"),
         *go = strstr(log, "\"go\"");
    cr_expect(pause != NULL && commit != NULL && go != NULL && pause < commit && commit < go, "%s", log);
    fini_fixture(&f);
}

/* --- documents that fail --- */

#define FAILED(stream, attempt)                                                                              \
    "say '\"failed\", \"stream\": " stream ", \"attempt\": " attempt                                         \
    ", \"stage\": \"layers\", \"reason\": \"bad\"'; "

Test(supervise_restart, retries_a_document_that_failed_and_sets_it_aside_after_its_tries)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, LISTENS);
    add(&f, "write", SINK,
        "say '\"ready\"'; " FAILED("4", "0") FAILED("4", "0") FAILED("4", "1")
            FAILED("4", "2") "say '\"commit\", \"streams\": [[0, 3]]'; say '\"aside\", \"stream\": 4'; say "
                             "'\"done\", \"epoch\": 1'; obey");
    run(&f);
    cr_expect_eq(f.result.exit_status, 1);
    cr_expect_eq(f.result.aside, 1);
    cr_expect_eq(f.result.committed, 5);
    char *log = read_log(&f, "load");
    expect_holds(log, "{\"do\": \"retry\", \"stream\": 4, \"attempt\": 1}\n");
    expect_holds(log, "{\"do\": \"retry\", \"stream\": 4, \"attempt\": 2}\n");
    expect_holds(log,
                 "{\"do\": \"aside\", \"stream\": 4, \"attempt\": 3, \"tries\": 3, \"reason\": \"bad\"}\n");
    cr_expect_eq(count(read_of_run(&f, "tries"), "\"stream\": 4"), 3);
    struct buf text = {0};
    supervise_print_summary(&f.result, &f.plan, &text);
    expect_holds(text.data, "small: 4 documents, 1 set aside in ");
    buf_fini(&text);
    fini_fixture(&f);
}

Test(supervise_restart, sets_a_document_aside_at_once_where_on_error_is_skip)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, LISTENS)->on_error = SPEC_ON_ERROR_SKIP;
    add(&f, "write", SINK,
        "say '\"ready\"'; " FAILED("4",
                                   "0") "say '\"aside\", \"stream\": 4'; say '\"done\", \"epoch\": 1'; obey");
    run(&f);
    expect_holds(read_log(&f, "load"), "{\"do\": \"aside\", \"stream\": 4, \"attempt\": 1, \"tries\": 1, ");
    cr_expect_eq(f.result.exit_status, 1);
    fini_fixture(&f);
}

Test(supervise_restart, ends_the_run_at_a_document_that_fails_where_on_error_is_stop)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, LISTENS)->on_error = SPEC_ON_ERROR_STOP;
    add(&f, "write", SINK, "say '\"ready\"'; say '\"commit\", \"stream\": 0'; " FAILED("4", "0") "obey");
    run(&f);
    cr_expect_eq(f.result.exit_status, 65);
    cr_expect_str_eq(f.result.end, "failed");
    expect_holds(f.result.report, "stage layers failed on a document, and its on_error is stop\n  bad");
    expect_holds(f.result.report, "go on: thea run --resume ");
    fini_fixture(&f);
}

/* --- deaths that a document may have to do with --- */

static struct status_page page_working_on(uint64_t stream, uint64_t other)
{
    struct status_page page = make_page();
    page.work_streams[0] = stream + 1;
    page.work_streams[1] = other + 1;
    return page;
}

Test(supervise_restart, sets_a_document_aside_on_which_a_process_crashes_every_time)
{
    struct fixture f;
    init_fixture(&f);
    struct status_page page = page_working_on(7, UINT64_MAX);
    write_page(&f, "page", &page);
    add(&f, "load", SOURCE, "on() { case \"$1\" in *aside*) touch aside;; esac; }; say '\"ready\"'; obey");
    add(&f, "layers", MIDDLE,
        "say '\"ready\"'; case \"$args\" in *'--incarnation '[123]' '*) " PUT_PAGE
        "kill -SEGV $$;; esac; obey");
    add(&f, "write", SINK,
        "say '\"ready\"'; while ! [ -e aside ]; do sleep 0.01; done; say '\"aside\", \"stream\": "
        "7'; " DONE_IN("4"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 1, "%s", f.result.report);
    cr_expect_eq(f.result.restarts, 3);
    expect_holds(read_log(&f, "load"), "{\"do\": \"aside\", \"stream\": 7, \"attempt\": 0, \"tries\": 3, "
                                       "\"reason\": \"stage layers was killed by SIGSEGV\"}");
    fini_fixture(&f);
}

Test(supervise_restart, blames_no_document_for_a_SIGKILL_from_outside)
{
    struct fixture f;
    init_fixture(&f);
    struct status_page page = page_working_on(7, UINT64_MAX);
    write_page(&f, "page", &page);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, "say '\"ready\"'; first && { " PUT_PAGE "kill -9 $$; }; obey");
    add(&f, "write", SINK, DONE_IN("2"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_str_eq(read_of_run(&f, "tries"), "");
    fini_fixture(&f);
}

Test(supervise_restart, runs_each_alone_of_several_documents_that_a_process_died_with)
{
    struct fixture f;
    init_fixture(&f);
    struct status_page page = page_working_on(7, 8);
    write_page(&f, "page", &page);
    add(&f, "load", SOURCE, "on() { case \"$1\" in *'\"all\"'*) touch all;; esac; }; say '\"ready\"'; obey");
    add(&f, "layers", MIDDLE, "say '\"ready\"'; first && { " PUT_PAGE "kill -ABRT $$; }; obey");
    add(&f, "write", SINK,
        "on() { case \"$1\" in *'\"epoch\": 2}'*) say '\"held\", \"stream\": 7, \"epoch\": 2'; "
        "say '\"commit\", \"stream\": 8'; while ! [ -e all ]; do sleep 0.01; done; say '\"done\", \"epoch\": "
        "2';; "
        "esac; }; say '\"ready\"'; obey");
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    char *log = read_log(&f, "load"), *seven = strstr(log, "{\"do\": \"only\", \"stream\": 7}"),
         *eight = strstr(log, "{\"do\": \"only\", \"stream\": 8}"), *all = strstr(log, "{\"do\": \"all\"}");
    cr_expect(seven != NULL && eight != NULL && all != NULL && seven < eight && eight < all, "%s", log);
    cr_expect_str_eq(read_of_run(&f, "tries"), "");
    fini_fixture(&f);
}

Test(supervise_restart, remembers_the_tries_of_an_earlier_start)
{
    struct fixture f;
    init_fixture(&f);
    static const char before[] = "{\"stream\": 4, \"tries\": 2, \"reason\": \"bad\", \"aside\": false}";
    cr_assert_eq(rundir_append(&f.run, "tries", before, NULL), THEA_OK);
    cr_assert_eq(rundir_append(&f.run, "tries", "{\"stream\": 4, \"tr", NULL), THEA_OK); /* cut by a crash */
    f.options.resumed = true;
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, LISTENS);
    add(&f, "write", SINK,
        "say '\"ready\"'; " FAILED("4",
                                   "0") "say '\"aside\", \"stream\": 4'; say '\"done\", \"epoch\": 1'; obey");
    run(&f);
    expect_holds(read_log(&f, "load"), "\"stream\": 4, \"attempt\": 1, \"tries\": 3, ");
    fini_fixture(&f);
}

/* --- processes that live in name alone --- */

Test(supervise_restart, kills_what_makes_no_progress_and_takes_it_for_a_try)
{
    struct fixture f;
    init_fixture(&f);
    struct status_page page = page_working_on(7, UINT64_MAX);
    page.has_input = page.has_credit = 1;
    write_page(&f, "page", &page);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, "say '\"ready\"'; first && { " PUT_PAGE "sleep 60; }; obey")->deadline_ns =
        300000000;
    add(&f, "write", SINK, DONE_IN("2"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    expect_holds(read_of_run(&f, "tries"), "stage layers made no progress for its deadline and was killed");
    cr_expect_lt(f.result.seconds, 20.0);
    fini_fixture(&f);
}

/* Beside one that hangs, so that we know that both were looked at. */
Test(supervise_restart, lets_be_what_waits_for_input)
{
    struct fixture f;
    init_fixture(&f);
    struct status_page page = make_page();
    page.has_credit = 1;
    write_page(&f, "page", &page);
    page.has_input = 1;
    write_page(&f, "hung", &page);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, "say '\"ready\"'; " PUT_PAGE "touch waits; obey")->deadline_ns = 100000000;
    add(&f, "score", MIDDLE,
        "say '\"ready\"'; while ! [ -e waits ]; do sleep 0.01; done; first && { " PUT(
            "hung") "sleep 60; }; obey")
        ->deadline_ns = 400000000;
    add(&f, "write", SINK, DONE_IN("2"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_eq(f.result.processes[1].incarnation, 1);
    cr_expect_eq(f.result.processes[2].incarnation, 2);
    fini_fixture(&f);
}

Test(supervise_restart, kills_what_was_stopped_for_its_deadline_and_blames_no_document)
{
    struct fixture f;
    init_fixture(&f);
    struct status_page page = page_working_on(7, UINT64_MAX);
    write_page(&f, "page", &page);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, "say '\"ready\"'; first && { " PUT_PAGE "kill -STOP $$; }; obey")->deadline_ns =
        300000000;
    add(&f, "write", SINK, DONE_IN("2"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    cr_expect_eq(f.result.restarts, 1);
    cr_expect_str_eq(read_of_run(&f, "tries"), "");
    fini_fixture(&f);
}

Test(supervise_restart, kills_what_grows_over_its_limit_of_memory)
{
    struct fixture f;
    init_fixture(&f);
    struct status_page page = page_working_on(7, UINT64_MAX);
    page.pool_bytes = UINT64_C(1) << 40;
    write_page(&f, "page", &page);
    add(&f, "load", SOURCE, LISTENS);
    add(&f, "layers", MIDDLE, "say '\"ready\"'; first && { " PUT_PAGE "sleep 60; }; obey")->memory_bytes =
        1 << 30;
    add(&f, "write", SINK, DONE_IN("2"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    expect_holds(read_of_run(&f, "tries"),
                 "stage layers was killed for its memory: 1.0 TiB of its own, its limit is 1.0 GiB");
    fini_fixture(&f);
}

/* --- an early end --- */

Test(supervise_restart, names_who_is_still_busy_when_it_has_drained_long_enough)
{
    struct fixture f;
    init_fixture(&f);
    char path[128];
    struct status_page page = page_working_on(7, UINT64_MAX);
    strcpy(page.work, "a.md, positions 0-511 of 9102");
    write_page(&f, "page", &page);
    f.options.quiet = false;
    f.options.drain_timeout_ns = 50000000;
    add(&f, "load", SOURCE, LISTENS_TO_THE_END);
    add(&f, "layers", MIDDLE, PUT_PAGE "say '\"ready\"'; touch busy; obey");
    add(&f, "write", SINK,
        "say '\"ready\"'; say '\"commit\", \"stream\": 0'; while ! [ -e busy -a -e ready ]; do sleep 0.01; "
        "done; "
        "kill -TERM $PPID; obey");
    snprintf(path, sizeof path, "%s/stderr", f.dir);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), old = dup(STDERR_FILENO);
    dup2(file, STDERR_FILENO);
    thea_rc rc = supervise_run(&f.result, &f.plan, &f.options, &f.err);
    dup2(old, STDERR_FILENO);
    cr_assert_eq(rc, THEA_OK);
    cr_expect_eq(f.result.exit_status, 143);
    cr_expect_str_eq(f.result.end, "drained");
    char *text = read_file(path);
    expect_holds(
        text,
        "not drained after 0.05 s, ending what is still busy:\n  layers (a.md, positions 0-511 of 9102)\n");
    cr_expect_null(strstr(text, "  write ("), "%s", text);
    expect_holds(f.result.resume, "go on: thea run --resume small-");
    close(file);
    close(old);
    fini_fixture(&f);
}

Test(supervise_restart, ends_in_order_when_it_drains)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, "load", SOURCE, LISTENS_TO_THE_END);
    add(&f, "write", SINK,
        "on() { case \"$1\" in *drain*) say '\"done\", \"epoch\": 1';; esac; }; say '\"ready\"'; "
        "while ! [ -e ready ]; do sleep 0.01; done; kill -TERM $PPID; obey");
    run(&f);
    cr_expect_eq(f.result.exit_status, 143);
    cr_expect_str_eq(f.result.end, "drained");
    cr_expect_eq(f.result.processes[0].signal, 0);
    expect_holds(read_log(&f, "load"), "{\"do\": \"drain\"}\n{\"do\": \"finish\"}\n");
    fini_fixture(&f);
}
