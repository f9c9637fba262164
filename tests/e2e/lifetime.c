/* Lives and deaths of a real pipeline that is not to be repaired (restart: never): whichever process is
 * killed, and when, the run ends, says who it was, and leaves nothing. Those that are repaired: faults.c. */
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORDS = 3000, RECORD_BYTES = 8000, PROCESSES = 6, START_S = RUN_LIMIT_S, END_S = RUN_LIMIT_S };

struct scene {
    char *dir;   /* the run happens here, and all that it may leave is here */
    char id[24]; /* the run's 16 hex digits: in every command line and socket name of it */
    struct run_child thea;
    struct run_result result;
};

/* --- what there is of a run --- */

typedef void (*visitor)(pid_t pid, const char *line, size_t n, void *context);

static size_t read_proc(pid_t pid, const char *name, char *out, size_t room)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    FILE *f = fopen(path, "r");
    if (f == NULL) return 0;
    size_t n = fread(out, 1, room, f);
    fclose(f);
    return n;
}

/* Call visit for every process whose command line has the run's id; returns how many there are. */
static size_t visit_processes(const char *id, visitor visit, void *context)
{
    static char line[65536];
    size_t found = 0;
    DIR *proc = opendir("/proc");
    cr_assert_not_null(proc);
    for (const struct dirent *e = readdir(proc); e != NULL; e = readdir(proc)) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        size_t n = pid > 0 ? read_proc(pid, "cmdline", line, sizeof line) : 0;
        if (memmem(line, n, id, strlen(id)) == NULL) continue;
        found++;
        if (visit != NULL) visit(pid, line, n, context);
    }
    closedir(proc);
    return found;
}

struct wanted {
    const char *name;
    pid_t pid;
};

static void match_name(pid_t pid, const char *line, size_t n, void *context)
{
    struct wanted *w = context;
    char part[64];
    int length = snprintf(part, sizeof part, "--name%c%s", 0, w->name) + 1; /* with its final NUL */
    if (memmem(line, n, part, (size_t)length) != NULL) w->pid = pid;
}

static pid_t find_process(const struct scene *s, const char *name)
{
    struct wanted w = {.name = name};
    visit_processes(s->id, match_name, &w);
    cr_assert_gt(w.pid, 0, "no process %s", name);
    return w.pid;
}

static size_t count_sockets(const char *id)
{
    char line[512];
    size_t n = 0;
    FILE *f = fopen("/proc/net/unix", "r");
    cr_assert_not_null(f);
    while (fgets(line, sizeof line, f) != NULL) n += strstr(line, id) != NULL;
    fclose(f);
    return n;
}

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

static char *read_text(const struct scene *s, const char *name)
{
    size_t room = (size_t)size_of(s, name) + 1;
    char *text = calloc(1, room);
    FILE *f = fopen(path_in(s, name), "r");
    cr_assert(text != NULL && f != NULL, "%s", name);
    text[fread(text, 1, room - 1, f)] = '\0';
    fclose(f);
    return text;
}

/* --- start: a corpus that takes minutes, so that the run is always in the middle --- */

static void write_corpus(const struct scene *s, size_t records, size_t bytes)
{
    static const char sentence[] =
        "A stage reads frames, does its work and sends frames on; whoever waits for it waits in order. ";
    FILE *f = fopen(path_in(s, "docs.jsonl"), "w");
    cr_assert_not_null(f);
    for (size_t i = 0; i < records; i++) {
        fprintf(f, "{\"id\": \"doc-%zu\", \"text\": \"", i);
        for (size_t n = 0; n < bytes; n += sizeof sentence - 1) fputs(sentence, f);
        fputs("\"}\n", f);
    }
    fclose(f);
}

static void prepare(struct scene *s, size_t records, size_t bytes)
{
    *s = (struct scene){.dir = run_temp_dir()};
    signal(SIGINT, SIG_DFL); /* a shell's background job has it ignored, and so would thea */
    write_corpus(s, records, bytes);
}

static bool is_recorded(void *context)
{
    return size_of(context, "run/run.json") > 0;
}

static bool is_streaming(void *context)
{
    return size_of(context, "out.jsonl") > 0;
}

static bool has_all_processes(void *context)
{
    const struct scene *s = context;
    return visit_processes(s->id, NULL, NULL) == PROCESSES;
}

static void start_with(struct scene *s, const char *before, const char *input)
{
    struct json_node *record = NULL;
    run_start(&s->thea, s->dir,
              "%s exec env TMPDIR=%s thea run score %s --run-dir run -o out.jsonl --set load.restart=never "
              "--set tokenize.restart=never --set layers.restart=never --set score.restart=never "
              "--set write.restart=never 2>err",
              before, s->dir, input);
    cr_assert(run_until(is_recorded, s, START_S), "the run did not start:\n%s", read_text(s, "err"));
    cr_assert_eq(json_read_file(&record, path_in(s, "run/run.json"), 1 << 20, NULL), THEA_OK);
    snprintf(s->id, sizeof s->id, "%s", json_text_or(record, "run", ""));
    cr_assert_eq(strlen(s->id), 16);
    json_free(record);
    cr_assert(run_until(has_all_processes, s, START_S), "not all %d processes came:\n%s", PROCESSES,
              read_text(s, "err"));
}

static void start(struct scene *s)
{
    start_with(s, "", "docs.jsonl");
}

static void start_streaming(struct scene *s)
{
    prepare(s, RECORDS, RECORD_BYTES);
    start(s);
    cr_assert(run_until(is_streaming, s, START_S), "nothing was written:\n%s", read_text(s, "err"));
}

/* --- end --- */

static bool nothing_lives(void *context)
{
    const struct scene *s = context;
    return visit_processes(s->id, NULL, NULL) == 0 && count_sockets(s->id) == 0;
}

static bool is_expected(const char *name, const char *const *expected)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return true;
    for (size_t i = 0; expected[i] != NULL; i++)
        if (strcmp(name, expected[i]) == 0) return true;
    return false;
}

static void expect_only(const char *path, const char *const *expected)
{
    DIR *d = opendir(path);
    cr_assert_not_null(d, "%s", path);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        cr_expect(is_expected(e->d_name, expected), "%s/%s is left", path, e->d_name);
    closedir(d);
}

static void expect_nothing_left(struct scene *s)
{
    static const char *const top[] = {"docs.jsonl", "out.jsonl", "err", "run", NULL};
    static const char *const run[] = {"lock",     "run.json", "pipeline.yaml", "report.json", "logs", "epoch",
                                      "manifest", "spool",    "journal",       "socket",      NULL};
    static const char *const logs[] = {
        "load.log", "tokenize.log", "layers.p0.log", "layers.p1.log", "score.log", "write.log", NULL};
    cr_expect(run_until(nothing_lives, s, END_S), "%zu processes, %zu sockets are left",
              visit_processes(s->id, NULL, NULL), count_sockets(s->id));
    expect_only(s->dir, top);
    expect_only(path_in(s, "run"), run);
    expect_only(path_in(s, "run/logs"), logs);
}

static void expect_said(const struct scene *s, const char *part)
{
    char *text = read_text(s, "err");
    cr_expect_not_null(strstr(text, part), "'%s' is not in:\n%s", part, text);
    free(text);
}

/* It did not end for its limit of time. */
static void expect_not_given_up(const struct scene *s)
{
    char *text = read_text(s, "err");
    cr_expect_null(strstr(text, "not drained"), "%s", text);
    free(text);
}

static void finish(struct scene *s)
{
    run_result_fini(&s->result);
    free(s->dir);
}

/* --- the deaths --- */

static void kill_one(const char *name)
{
    struct scene s;
    char wanted[96];
    start_streaming(&s);
    pid_t pid = find_process(&s, name);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_expect_eq(run_wait(&s.thea, END_S, &s.result), 70);
    snprintf(wanted, sizeof wanted, "thea: error: stage %s (pid %d) was killed by SIGKILL after ", name,
             (int)pid);
    expect_said(&s, wanted);
    expect_said(&s, "\n  because of it  ");
    expect_said(&s, "\n  written        ");
    expect_said(&s, "/out.jsonl");
    expect_nothing_left(&s);
    finish(&s);
}

Test(lifetime, killing_load_ends_the_run_and_names_it)
{
    kill_one("load");
}
Test(lifetime, killing_tokenize_ends_the_run_and_names_it)
{
    kill_one("tokenize");
}
Test(lifetime, killing_the_first_part_of_layers_ends_the_run_and_names_it)
{
    kill_one("layers/0");
}
Test(lifetime, killing_the_last_part_of_layers_ends_the_run_and_names_it)
{
    kill_one("layers/1");
}
Test(lifetime, killing_score_ends_the_run_and_names_it)
{
    kill_one("score");
}
Test(lifetime, killing_write_ends_the_run_and_names_it)
{
    kill_one("write");
}

static void kill_supervisor(const char *stopped)
{
    struct scene s;
    start_streaming(&s);
    if (stopped != NULL) cr_assert_eq(kill(find_process(&s, stopped), SIGSTOP), 0);
    cr_assert_eq(kill(s.thea.pid, SIGKILL), 0);
    cr_expect_eq(run_wait(&s.thea, END_S, &s.result), 128 + SIGKILL);
    expect_nothing_left(&s);
    finish(&s);
}

Test(lifetime, killing_the_supervisor_takes_every_process_along)
{
    kill_supervisor(NULL);
}
Test(lifetime, killing_the_supervisor_takes_a_stopped_process_along_too)
{
    kill_supervisor("score");
}

/* --- Ctrl-C --- */

/* Every line is whole JSON and the documents are the first ones, in order, without a gap. Returns how many.
 */
static size_t check_lines(const struct scene *s)
{
    char *text = read_text(s, "out.jsonl"), id[32];
    size_t n = 0;
    for (char *at = text; *at != '\0'; n++) {
        struct json_node *line = NULL;
        size_t length = strcspn(at, "\n");
        cr_assert_eq(at[length], '\n', "the last line is cut: %s", at);
        cr_assert_eq(json_parse(&line, at, length, "a line", NULL), THEA_OK, "%.*s", (int)length, at);
        snprintf(id, sizeof id, "doc-%zu", n);
        cr_expect_str_eq(json_text_or(line, "id", ""), id);
        cr_expect_gt(json_number_or(line, "bits_per_byte", 0), 0);
        json_free(line);
        at += length + 1;
    }
    free(text);
    return n;
}

static void drain(int sig)
{
    struct scene s;
    start_streaming(&s);
    cr_assert_eq(kill(s.thea.pid, sig), 0);
    cr_expect_eq(run_wait(&s.thea, START_S, &s.result), 128 + sig);
    size_t documents = check_lines(&s);
    cr_expect(documents > 0 && documents < RECORDS, "%zu documents", documents);
    expect_said(&s, "score: interrupted after ");
    expect_nothing_left(&s);
    finish(&s);
}

Test(lifetime, one_SIGINT_drains_and_writes_whole_what_was_in_flight)
{
    drain(SIGINT);
}
Test(lifetime, one_SIGTERM_drains_too)
{
    drain(SIGTERM);
}

Test(lifetime, one_SIGINT_ends_a_run_whose_input_never_does)
{
    struct scene s;
    prepare(&s, 0, 0);
    start_with(&s, "mkfifo docs; exec 3<>docs; echo some text >&3; exec <docs; rm docs;", "-");
    cr_assert_eq(kill(s.thea.pid, SIGINT), 0);
    cr_expect_eq(run_wait(&s.thea, END_S, &s.result), 130);
    expect_said(&s, "score: interrupted after 0 documents");
    expect_not_given_up(&s);
    expect_nothing_left(&s);
    finish(&s);
}

static bool is_ending(void *context)
{
    char *text = read_text(context, "err");
    bool ending = strstr(text, "thea: ending:") != NULL;
    free(text);
    return ending;
}

Test(lifetime, a_second_SIGINT_ends_the_run_though_a_long_document_is_in_flight)
{
    struct scene s;
    prepare(&s, 1, 12 << 20); /* minutes of work: the drain is still on when the second comes */
    start(&s);
    cr_assert_eq(kill(s.thea.pid, SIGINT), 0);
    cr_assert(run_until(is_ending, &s, START_S));
    cr_assert_eq(kill(s.thea.pid, SIGINT), 0);
    cr_expect_eq(run_wait(&s.thea, END_S, &s.result), 130);
    cr_expect_eq(size_of(&s, "out.jsonl"), 0);
    expect_not_given_up(&s);
    expect_nothing_left(&s);
    finish(&s);
}

/* --- stop and go on --- */

struct states {
    size_t stopped, all;
};

static void count_state(pid_t pid, const char *line, size_t n, void *context)
{
    struct states *states = context;
    char text[512];
    (void)line, (void)n;
    size_t length = read_proc(pid, "stat", text, sizeof text - 1);
    text[length] = '\0';
    const char *after = strrchr(text, ')');
    states->all += after != NULL;
    states->stopped += after != NULL && after[2] == 'T';
}

static struct states states_of(const struct scene *s)
{
    struct states states = {0};
    visit_processes(s->id, count_state, &states);
    count_state(s->thea.pid, NULL, 0, &states);
    return states;
}

static bool all_stopped(void *context)
{
    struct states states = states_of(context);
    return states.all == PROCESSES + 1 && states.stopped == states.all;
}

static bool none_stopped(void *context)
{
    struct states states = states_of(context);
    return states.all == PROCESSES + 1 && states.stopped == 0;
}

struct growth {
    const struct scene *scene;
    off_t before;
};

static bool has_grown(void *context)
{
    const struct growth *g = context;
    return size_of(g->scene, "out.jsonl") > g->before;
}

Test(lifetime, SIGTSTP_stops_every_process_and_SIGCONT_lets_them_go_on)
{
    struct scene s;
    start_streaming(&s);
    cr_assert_eq(kill(s.thea.pid, SIGTSTP), 0);
    cr_expect(run_until(all_stopped, &s, END_S), "not all processes stopped");
    struct growth growth = {&s, size_of(&s, "out.jsonl")};
    cr_assert_eq(kill(s.thea.pid, SIGCONT), 0);
    cr_expect(run_until(none_stopped, &s, END_S), "not all processes went on");
    cr_expect(run_until(has_grown, &growth, START_S), "nothing more was written");
    cr_assert_eq(kill(s.thea.pid, SIGINT), 0);
    cr_expect_eq(run_wait(&s.thea, START_S, &s.result), 130);
    expect_nothing_left(&s);
    finish(&s);
}

/* --- other ends --- */

Test(lifetime, a_reader_that_has_enough_is_success_and_quiet)
{
    struct scene s;
    prepare(&s, RECORDS, RECORD_BYTES);
    run_shell(&s.result, s.dir, START_S,
              "{ thea run score docs.jsonl --set write.format=jsonl --run-dir run; echo status $? >&2; } | "
              "head -n 1");
    cr_expect_eq(s.result.status, 0);
    cr_expect_not_null(strstr(buf_text(&s.result.out), "\"doc-0\""), "%s", buf_text(&s.result.out));
    cr_expect_not_null(strstr(buf_text(&s.result.err), "status 0\n"), "%s", buf_text(&s.result.err));
    cr_expect_null(strstr(buf_text(&s.result.err), "error"), "%s", buf_text(&s.result.err));
    cr_expect_null(strstr(buf_text(&s.result.err), "warning"), "%s", buf_text(&s.result.err));
    finish(&s);
}

Test(lifetime, a_stage_that_fails_is_named_with_its_last_words)
{
    struct scene s;
    prepare(&s, 5, 200);
    run_shell(&s.result, s.dir, START_S,
              "thea run score docs.jsonl --set write.format=jsonl --run-dir run >/dev/full");
    cr_expect_eq(s.result.status, 74, "%s", buf_text(&s.result.err));
    cr_expect_not_null(strstr(buf_text(&s.result.err), "thea: error: stage write (pid "), "%s",
                       buf_text(&s.result.err));
    cr_expect_not_null(strstr(buf_text(&s.result.err), "/run/logs/write.log\n                 | "), "%s",
                       buf_text(&s.result.err));
    cr_expect_not_null(strstr(buf_text(&s.result.err), "No space left"), "%s", buf_text(&s.result.err));
    finish(&s);
}
