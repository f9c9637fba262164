/* The supervisor over small programs of the system: no stage, no model. Each test hands over a plan made by
 * hand. */
#include "graph/control/supervise.h"
#include "graph/json.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES_MAX = 8 };

struct fixture {
    char dir[64];
    struct rundir run;
    struct plan plan;
    struct plan_process processes[PROCESSES_MAX];
    char *argv[PROCESSES_MAX][5];
    char *scripts[PROCESSES_MAX];
    size_t script_count;
    struct supervise_options options;
    struct supervise_result result;
    struct thea_err err;
};

static void init_fixture(struct fixture *f)
{
    *f = (struct fixture){0};
    signal(SIGINT, SIG_DFL); /* a shell's background job has it ignored, and so would the supervisor */
    strcpy(f->dir, "/tmp/thea-supervise-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    char runs[128];
    snprintf(runs, sizeof runs, "%s/runs", f->dir);
    setenv("THEA_RUNS", runs, 1);
    cr_assert_eq(rundir_create(&f->run, NULL, "small", &f->err), THEA_OK, "%s", f->err.message);
    f->plan.processes = f->processes;
    f->options = (struct supervise_options){.run = &f->run,
                                            .quiet = true,
                                            .stdout_fd = STDOUT_FILENO,
                                            .stdin_fd = -1,
                                            .drain_timeout_ns = 30000000000u,
                                            .label = "small"};
}

static void fini_fixture(struct fixture *f)
{
    char command[128];
    supervise_result_fini(&f->result);
    for (size_t i = 0; i < f->script_count; i++) free(f->scripts[i]);
    rundir_close(&f->run);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    cr_expect_eq(system(command), 0);
}

typedef enum { SOURCE, MIDDLE, SINK } place;

/* A process that runs a shell script. */
static struct plan_process *add(struct fixture *f, char *name, place where, char *script)
{
    size_t i = f->plan.process_count++;
    char **argv = f->argv[i];
    argv[0] = (char *)"/bin/sh", argv[1] = (char *)"-c", argv[2] = script, argv[3] = name;
    f->processes[i] = (struct plan_process){
        .name = name, .stage = i, .argv = argv, .source = where == SOURCE, .sink = where == SINK};
    return &f->processes[i];
}

static void run(struct fixture *f)
{
    cr_assert_eq(supervise_run(&f->result, &f->plan, &f->options, &f->err), THEA_OK, "%s", f->err.message);
}

static char *read_file(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
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

static void expect_holds(const char *text, const char *part)
{
    cr_expect_not_null(strstr(text, part), "'%s' is not in:\n%s", part, text);
}

static bool is_gone(pid_t pid)
{
    return kill(pid, 0) != 0 && errno == ESRCH;
}

/* A number that a script wrote to a file of the fixture's directory (it runs there: see CD). */
static pid_t read_pid(struct fixture *f, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    pid_t pid = (pid_t)strtol(read_file(path), NULL, 10);
    cr_assert_gt(pid, 1);
    return pid;
}

/* The script, run in the fixture's directory; it lives as long as that. */
static char *in_dir(struct fixture *f, const char *script)
{
    char **text = &f->scripts[f->script_count++];
    cr_assert_gt(asprintf(text, "cd %s; %s", f->dir, script), 0);
    return *text;
}

/* --- success --- */

Test(supervise, ends_with_status_0_when_all_processes_do)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"load", SOURCE, (char *)"exit 0");
    add(&f, (char *)"write", SINK, (char *)"exit 0");
    run(&f);
    cr_expect_eq(f.result.exit_status, 0);
    cr_expect_eq(f.result.rc, THEA_OK);
    cr_expect_eq(f.result.first_failed, SIZE_MAX);
    cr_expect_str_eq(f.result.report, "");
    cr_expect_eq(f.result.process_count, 2);
    cr_expect_gt(f.result.processes[0].peak_rss_bytes, 0);
    fini_fixture(&f);
}

Test(supervise, gives_a_process_its_own_group_default_signals_and_only_its_own_descriptors)
{
    struct fixture f;
    init_fixture(&f);
    signal(SIGUSR1, SIG_IGN);
    int leak = open("/dev/null", O_RDONLY); /* not close-on-exec: as a careless caller would leave it */
    leak = fcntl(leak, F_DUPFD, 5);         /* beyond what a child gets */
    cr_assert_geq(leak, 5);
    add(&f, (char *)"group", SOURCE, (char *)"echo \"group $(ps -o pgid= -p $$) self $$\" >&2");
    add(&f, (char *)"signals", SOURCE, (char *)"exec grep -hE 'Sig(Blk|Ign)' /proc/self/status >&2");
    add(&f, (char *)"files", SOURCE, (char *)"exec sh -c 'ls -l /proc/$$/fd | grep -o \"[0-9]* -> .*\"' >&2");
    run(&f);
    close(leak);
    int group = 0, self = 0;
    cr_expect_eq(sscanf(read_log(&f, "group"), "group %d self %d", &group, &self), 2);
    cr_expect_eq(group, self);
    unsigned long long blocked = 1, ignored = ~0ull, of_libc = 3ull << 31; /* 32 and 33 are nobody's to set */
    cr_expect_eq(sscanf(read_log(&f, "signals"), "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    cr_expect_eq(blocked, 0);
    cr_expect_eq(ignored & ~of_libc, 0, "%llx", ignored);
    char *files = read_log(&f, "files"), number[16];
    snprintf(number, sizeof number, "\n%d -> /dev/null", leak);
    expect_holds(files, "0 -> /dev/null\n");
    expect_holds(files, "\n3 -> /memfd:thea-status");
    expect_holds(files, "\n4 -> socket:");
    cr_expect_null(strstr(files, number), "%s", files);
    fini_fixture(&f);
}

Test(supervise, adds_the_options_that_only_a_supervisor_gives_and_the_plans_environment)
{
    struct fixture f;
    init_fixture(&f);
    setenv("OPENBLAS_NUM_THREADS", "8", 1);
    char *env[] = {(char *)"OPENBLAS_NUM_THREADS=1", NULL};
    add(&f, (char *)"look", SOURCE, (char *)"echo \"$@\" >&2; echo threads $OPENBLAS_NUM_THREADS >&2")->env =
        env;
    run(&f);
    char wanted[256], *log = read_log(&f, "look");
    snprintf(wanted, sizeof wanted,
             "--parent %d --status 3 --control 4 --incarnation 1 --epoch 1 --run-dir %s\nthreads 1\n",
             (int)getpid(), f.run.path);
    cr_expect_str_eq(log, wanted);
    fini_fixture(&f);
}

Test(supervise, gives_stdout_to_sinks_alone)
{
    struct fixture f;
    init_fixture(&f);
    int ends[2];
    char got[64] = "";
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    f.options.stdout_fd = ends[1];
    add(&f, (char *)"load", SOURCE, (char *)"echo from load");
    add(&f, (char *)"write", SINK, (char *)"echo from write");
    run(&f);
    close(ends[1]);
    cr_expect_eq(read(ends[0], got, sizeof got - 1), (ssize_t)strlen("from write\n"));
    cr_expect_str_eq(got, "from write\n");
    close(ends[0]);
    fini_fixture(&f);
}

Test(supervise, hands_standard_input_to_the_source_that_reads_it)
{
    struct fixture f;
    init_fixture(&f);
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(write(ends[1], "hello\n", 6), 6);
    close(ends[1]);
    f.options.stdin_fd = ends[0];
    struct plan_process *p = add(&f, (char *)"load", SOURCE, (char *)"cat >&2");
    p->argv[3] = (char *)"-";
    run(&f);
    cr_expect_str_eq(read_log(&f, "load"), "hello\n");
    close(ends[0]);
    fini_fixture(&f);
}

Test(supervise, pumps_a_terminal_to_the_source_that_reads_it)
{
    struct fixture f;
    init_fixture(&f);
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    cr_assert_geq(terminal, 0);
    cr_assert_eq(write(master, "typed\n\004", 7), 7); /* a line and ^D */
    f.options.stdin_fd = terminal;
    struct plan_process *p =
        add(&f, (char *)"load", SOURCE, (char *)"test -t 0 && echo terminal >&2; cat >&2");
    p->argv[3] = (char *)"-";
    run(&f);
    cr_expect_str_eq(read_log(&f, "load"), "typed\n");
    close(terminal);
    close(master);
    fini_fixture(&f);
}

Test(supervise, keeps_the_whole_stderr_of_a_process_in_its_log)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"layers/1", MIDDLE,
        (char *)"i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; printf end >&2");
    run(&f);
    char *log = read_log(&f, "layers/1");
    expect_holds(log, "line 0\n");
    expect_holds(log, "line 2999\nend");
    fini_fixture(&f);
}

Test(supervise, forwards_warnings_and_nothing_else)
{
    struct fixture f;
    init_fixture(&f);
    char path[128];
    f.options.quiet = false;
    snprintf(path, sizeof path, "%s/stderr", f.dir);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), old = dup(STDERR_FILENO);
    add(&f, (char *)"load", SOURCE,
        (char *)"echo 'load: info: fine' >&2; printf 'load: warning: skipped a\\033b\\n' >&2");
    dup2(file, STDERR_FILENO);
    thea_rc rc = supervise_run(&f.result, &f.plan, &f.options, &f.err);
    dup2(old, STDERR_FILENO);
    cr_assert_eq(rc, THEA_OK);
    cr_expect_str_eq(read_file(path), "load: warning: skipped a?b\n");
    close(file);
    close(old);
    fini_fixture(&f);
}

/* --- failure --- */

Test(supervise, passes_on_the_status_of_the_first_that_failed_and_names_it_with_its_last_words)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"load", SOURCE, (char *)"sleep 60");
    add(&f, (char *)"layers/0", MIDDLE,
        (char *)"for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo word $i >&2; done; exit 65");
    add(&f, (char *)"write", SINK, (char *)"sleep 60");
    run(&f);
    cr_expect_eq(f.result.exit_status, 65);
    cr_expect_eq(f.result.rc, THEA_EDATA);
    cr_expect_eq(f.result.first_failed, 1);
    expect_holds(f.result.report, "stage layers/0 (pid ");
    expect_holds(f.result.report, "failed with status 65 after ");
    expect_holds(f.result.report, "logs/layers.p0.log\n                 | word 3\n");
    expect_holds(f.result.report, "| word 12\n  because of it  load and write stopped\n");
    expect_holds(f.result.report, "written        0 documents to standard output");
    cr_expect_null(strstr(f.result.report, "| word 2\n"), "%s", f.result.report);
    cr_expect_lt(f.result.seconds, 20.0); /* not the 60 s of the others */
    fini_fixture(&f);
}

Test(supervise, gives_70_and_the_signals_name_when_a_signal_killed_a_process)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"load", SOURCE, (char *)"sleep 60");
    add(&f, (char *)"write", SINK, (char *)"kill -9 $$");
    run(&f);
    cr_expect_eq(f.result.exit_status, 70);
    cr_expect_eq(f.result.processes[1].signal, SIGKILL);
    expect_holds(f.result.report, "stage write (pid ");
    expect_holds(f.result.report, "was killed by SIGKILL after ");
    expect_holds(f.result.report, "because of it  load stopped");
    fini_fixture(&f);
}

Test(supervise, names_the_cause_and_not_a_neighbour_that_lost_its_peer_a_little_earlier)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"load", SOURCE, (char *)"sleep 60");
    char fifo[128];
    snprintf(fifo, sizeof fifo, "%s/lost", f.dir);
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    add(&f, (char *)"layers", MIDDLE, in_dir(&f, "read -r line < lost; exit 65")); /* until write has ended */
    add(&f, (char *)"write", SINK, in_dir(&f, "exec 5> lost; exit 76"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 65, "%s", f.result.report);
    expect_holds(f.result.report, "stage layers (pid ");
    expect_holds(f.result.report, "because of it  load and write stopped");
    fini_fixture(&f);
}

Test(supervise, names_a_lost_peer_when_nothing_else_went_wrong)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"load", SOURCE, (char *)"exit 0");
    add(&f, (char *)"write", SINK, (char *)"exit 76");
    run(&f);
    cr_expect_eq(f.result.exit_status, 76);
    cr_expect_eq(f.result.first_failed, 1);
    fini_fixture(&f);
}

Test(supervise, takes_an_unknown_status_for_a_crash)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"write", SINK, (char *)"exit 3");
    run(&f);
    cr_expect_eq(f.result.exit_status, 70);
    expect_holds(f.result.report, "failed with status 3");
    fini_fixture(&f);
}

Test(supervise, ends_within_2_seconds_of_a_failure_even_those_that_ignore_SIGTERM)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"load", SOURCE,
        in_dir(&f, "trap '' TERM; touch deaf; sleep 60 & while :; do wait; done"));
    add(&f, (char *)"write", SINK, in_dir(&f, "while ! [ -e deaf ]; do sleep 0.01; done; exit 74"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 74);
    cr_expect_eq(f.result.processes[0].signal, SIGKILL);
    cr_expect_lt(f.result.seconds, 20.0); /* not the 60 s of the others */
    fini_fixture(&f);
}

Test(supervise, kills_what_a_process_leaves_behind_in_its_group)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"load", SOURCE, in_dir(&f, "sleep 60 & echo $! > left; exit 0"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 0);
    cr_expect(is_gone(read_pid(&f, "left")));
    fini_fixture(&f);
}

Test(supervise, kills_what_left_its_group_and_lost_its_parent)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"load", SOURCE,
        in_dir(&f, "setsid sh -c 'echo $$ > left.new; mv left.new left; exec sleep 60' & while ! [ -e left "
                   "]; do sleep 0.01; done; exit 0"));
    run(&f);
    cr_expect(is_gone(read_pid(&f, "left")));
    fini_fixture(&f);
}

Test(supervise, that_cannot_start_a_process_says_which_and_leaves_none_running)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"load", SOURCE, (char *)"exit 0")->argv[0] = (char *)"/nonexistent/thea-load";
    add(&f, (char *)"write", SINK, in_dir(&f, "echo $$ > left.new; mv left.new left; sleep 60"));
    cr_expect_eq(supervise_run(&f.result, &f.plan, &f.options, &f.err), THEA_EOS);
    expect_holds(f.err.message, "cannot start stage load: /nonexistent/thea-load: No such file");
    siginfo_t info;
    cr_expect_eq(waitid(P_ALL, 0, &info, WEXITED | WNOHANG), -1, "a child is left");
    fini_fixture(&f);
}

Test(supervise, refuses_two_sources_that_both_read_standard_input)
{
    struct fixture f;
    init_fixture(&f);
    add(&f, (char *)"a", SOURCE, (char *)"cat")->argv[3] = (char *)"-";
    add(&f, (char *)"b", SOURCE, (char *)"cat")->argv[3] = (char *)"-";
    cr_expect_eq(supervise_run(&f.result, &f.plan, &f.options, &f.err), THEA_EUSAGE);
    expect_holds(f.err.message, "stages a and b both read standard input");
    fini_fixture(&f);
}

/* --- signals: a thread of the test sends them when a script says that it is ready --- */

struct sender {
    const char *dir;
    const char *when[2];
    int signals[2];
};

static void *send_signals(void *context)
{
    const struct sender *s = context;
    for (int i = 0; i < 2 && s->when[i] != NULL; i++) {
        char path[160];
        snprintf(path, sizeof path, "%s/%s", s->dir, s->when[i]);
        for (int tries = 0; tries < 12000 && access(path, F_OK) != 0; tries++) poll(NULL, 0, 5);
        kill(getpid(), s->signals[i]);
    }
    return NULL;
}

/* The other thread takes signals like any: as those of a BLAS do. */
static void run_with_signals(struct fixture *f, struct sender *sender)
{
    pthread_t thread;
    sender->dir = f->dir;
    cr_assert_eq(pthread_create(&thread, NULL, send_signals, sender), 0);
    run(f);
    pthread_join(thread, NULL);
}

Test(supervise, sees_every_end_though_another_thread_could_take_the_signal)
{
    struct fixture f;
    init_fixture(&f);
    struct sender sender = {.when = {"ended"}, .signals = {SIGCONT}};
    add(&f, (char *)"load", SOURCE, (char *)"exit 0");
    add(&f, (char *)"write", SINK, in_dir(&f, "touch ended; exit 0"));
    run_with_signals(&f, &sender);
    cr_expect_eq(f.result.exit_status, 0);
    fini_fixture(&f);
}

Test(supervise, drains_at_the_first_SIGINT_by_ending_the_sources_alone)
{
    struct fixture f;
    init_fixture(&f);
    struct sender sender = {.when = {"ready"}, .signals = {SIGINT}};
    add(&f, (char *)"load", SOURCE,
        in_dir(&f, "trap 'echo drained >&2; touch drained; exit 0' TERM; touch ready; while :; do sleep "
                   "0.01; done"));
    add(&f, (char *)"write", SINK,
        in_dir(&f, "trap 'exit 9' TERM; while ! [ -e drained ]; do sleep 0.01; done; echo whole >&2"));
    run_with_signals(&f, &sender);
    cr_expect_eq(f.result.exit_status, 130);
    cr_expect_eq(f.result.first_failed, SIZE_MAX, "%s", f.result.report);
    cr_expect_str_eq(read_log(&f, "write"), "whole\n");
    expect_holds(read_log(&f, "load"), "drained\n");
    fini_fixture(&f);
}

Test(supervise, gives_143_after_SIGTERM_and_takes_a_source_that_dies_of_it_for_ended)
{
    struct fixture f;
    init_fixture(&f);
    struct sender sender = {.when = {"ready"}, .signals = {SIGTERM}};
    add(&f, (char *)"load", SOURCE, in_dir(&f, "touch ready; exec sleep 60"));
    run_with_signals(&f, &sender);
    cr_expect_eq(f.result.exit_status, 143);
    cr_expect_eq(f.result.first_failed, SIZE_MAX);
    fini_fixture(&f);
}

Test(supervise, waits_for_nobody_behind_a_source_that_died_of_SIGTERM)
{
    struct fixture f;
    init_fixture(&f);
    struct sender sender = {.when = {"ready"}, .signals = {SIGINT}};
    add(&f, (char *)"load", SOURCE, in_dir(&f, "touch ready; exec sleep 60"));
    add(&f, (char *)"write", SINK, (char *)"trap 'exit 76' TERM; while :; do sleep 0.01; done");
    run_with_signals(&f, &sender);
    cr_expect_eq(f.result.exit_status, 130);
    cr_expect_eq(f.result.first_failed, SIZE_MAX, "%s", f.result.report);
    cr_expect_lt(f.result.seconds, 20.0); /* not the 30 s of draining */
    fini_fixture(&f);
}

Test(supervise, aborts_at_the_second_SIGINT_within_2_seconds)
{
    struct fixture f;
    init_fixture(&f);
    struct sender sender = {.when = {"ready", "asked"}, .signals = {SIGINT, SIGINT}};
    add(&f, (char *)"load", SOURCE,
        in_dir(&f, "trap 'touch asked' TERM; touch ready; while :; do sleep 0.01; done"));
    run_with_signals(&f, &sender);
    cr_expect_eq(f.result.exit_status, 130);
    cr_expect_eq(f.result.processes[0].signal, SIGKILL);
    cr_expect_lt(f.result.seconds, 20.0);
    fini_fixture(&f);
}

Test(supervise, ends_what_is_not_drained_in_time)
{
    struct fixture f;
    init_fixture(&f);
    f.options.drain_timeout_ns = 50000000;
    struct sender sender = {.when = {"ready"}, .signals = {SIGINT}};
    add(&f, (char *)"load", SOURCE, in_dir(&f, "touch ready; exec sleep 60"));
    add(&f, (char *)"write", SINK, (char *)"exec sleep 60");
    run_with_signals(&f, &sender);
    cr_expect_eq(f.result.exit_status, 130);
    cr_expect_eq(f.result.processes[1].signal, SIGTERM);
    fini_fixture(&f);
}

/* --- links: a helper writes rows into its page by its descriptor --- */

static void write_page(struct fixture *f, const char *name, const struct status_page *page)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(page, sizeof *page, 1, file), 1);
    fclose(file);
}

static void make_link(struct fixture *f, uint64_t sent, uint64_t received)
{
    static struct plan_link ln;
    struct status_page a = {.magic = STATUS_MAGIC,
                            .version = STATUS_VERSION,
                            .state = STATUS_DONE,
                            .link_count = 1,
                            .tokens = 1500,
                            .documents_total = 4};
    struct status_page b = a;
    a.links[0] = (struct status_link){.number = 7, .outgoing = 1, .frames = sent};
    b.links[0] = (struct status_link){.number = 7, .frames = received, .unwanted = 1};
    b.documents = 4;
    write_page(f, "a", &a);
    write_page(f, "b", &b);
    add(f, (char *)"load", SOURCE, in_dir(f, "dd if=a of=/proc/self/fd/3 conv=notrunc status=none"));
    add(f, (char *)"write", SINK, in_dir(f, "dd if=b of=/proc/self/fd/3 conv=notrunc status=none"));
    ln = (struct plan_link){.number = 7, .from = 0, .to = 1, .from_port = "docs", .to_port = "tokens"};
    f->plan.links = &ln;
    f->plan.link_count = 1;
}

Test(supervise, fails_a_good_run_whose_link_lost_a_frame)
{
    struct fixture f;
    init_fixture(&f);
    make_link(&f, 12, 11);
    run(&f);
    cr_expect_eq(f.result.exit_status, 70);
    expect_holds(f.result.report,
                 "load.docs to write.tokens: 12 sent, 11 received (of these 1 unwanted, 0 stale)");
    fini_fixture(&f);
}

Test(supervise, reports_a_good_run_in_text_and_json)
{
    struct fixture f;
    init_fixture(&f);
    make_link(&f, 12, 12);
    run(&f);
    cr_expect_eq(f.result.exit_status, 0, "%s", f.result.report);
    struct buf text = {0};
    supervise_print_summary(&f.result, &f.plan, &text);
    expect_holds(text.data, "run: 4 documents, 1,500 tokens in ");
    buf_clear(&text);
    supervise_print_times(&f.result, &f.plan, &text);
    expect_holds(text.data,
                 "stage  processes  busy  starved  blocked  peak RSS   starved: waits for input\n");
    struct json_node *report = supervise_report_json(&f.result, &f.plan);
    cr_expect(json_bool_or(report, "completed", false));
    cr_expect_eq(json_int_or(report, "tokens", 0), 1500);
    const struct json_node *ln = json_item(json_member(report, "links"), 0);
    cr_expect_eq(json_int(json_path(ln, "received.unwanted")), 1);
    cr_expect_eq(json_count(json_member(report, "processes")), 2);
    json_free(report);
    buf_fini(&text);
    fini_fixture(&f);
}

Test(supervise, gives_1_when_documents_failed)
{
    struct fixture f;
    init_fixture(&f);
    struct status_page page = {
        .magic = STATUS_MAGIC, .version = STATUS_VERSION, .state = STATUS_DONE, .documents = 3, .failed = 1};
    write_page(&f, "page", &page);
    add(&f, (char *)"write", SINK, in_dir(&f, "dd if=page of=/proc/self/fd/3 conv=notrunc status=none"));
    run(&f);
    cr_expect_eq(f.result.exit_status, 1);
    struct buf text = {0};
    supervise_print_summary(&f.result, &f.plan, &text);
    expect_holds(text.data, "run: 2 documents, 1 failed in ");
    buf_fini(&text);
    fini_fixture(&f);
}
