/* Sources that die at every point between an input and its first frame, and inputs that come while the run is
 * going on: nothing is lost, nothing comes twice, and what came once is not asked for again. */
#include "tests/support/run.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DOCUMENTS = 40, DEADLINE_S = RUN_LIMIT_S };

static char *scratch;

/* tokenize is enough of a model to be in the way. */
static void put_pipeline(const char *name, const char *load)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.yaml", scratch, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fprintf(f,
            "model: thea-mini\n"
            "stages:\n"
            "  load:     {kind: load, %s}\n"
            "  tokenize: {kind: tokenize, from: load}\n"
            "  write:    {kind: write, from: tokenize, output: out.jsonl}\n",
            load);
    fclose(f);
}

static void enter(void)
{
    scratch = run_temp_dir();
    struct run_result r;
    run_shell(&r, scratch, DEADLINE_S,
              "mkdir in; i=0; while [ $i -lt %d ]; do echo \"text $i\" > in/$i.txt; echo '{\"id\": "
              "\"r'$i'\", \"text\": \"record\"}'; i=$((i+1)); done "
              "> in.jsonl; cp in.jsonl in/z.jsonl",
              DOCUMENTS);
    cr_assert_eq(r.status, 0);
    run_result_fini(&r);
}

static void leave(void)
{
    free(scratch);
}

TestSuite(sources, .init = enter, .fini = leave, .timeout = 5 * RUN_LIMIT_S);

static void expect_shell(const char *command)
{
    struct run_result r;
    run_shell(&r, scratch, DEADLINE_S, "%s", command);
    cr_assert_eq(r.status, 0, "%d: %s\n%s%s", r.status, command, buf_text(&r.out), buf_text(&r.err));
    run_result_fini(&r);
}

/* The point strikes at its n-th passing, once: `run` gives what it gave undisturbed. */
static void expect_survived(const char *run, const char *point, int n)
{
    char command[512];
    snprintf(command, sizeof command,
             "rm -rf run once out.jsonl; export THEA_FAULT=%s:%d:$PWD/once; %s && test -e once && cmp "
             "out.jsonl calm.jsonl",
             point, n, run);
    expect_shell(command);
}

Test(sources, files_survive_every_crash_point)
{
    static const char *const run = "thea run p.yaml --run-dir run";
    put_pipeline("p", "paths: [in]");
    expect_shell("thea run p.yaml && mv out.jsonl calm.jsonl && test $(wc -l < calm.jsonl) -eq 80");
    for (int n = 1; n < 4; n++) {
        expect_survived(run, "source.manifest", n);
        expect_survived(run, "source.numbered", n);
    }
}

Test(sources, a_pipe_survives_every_crash_point)
{
    static const char *const points[] = {"source.spool", "source.spooled", "source.manifest",
                                         "source.numbered"};
    static const char *const run = "cat in.jsonl | thea run p.yaml --run-dir run";
    put_pipeline("p", "paths: [\"-\"], format: jsonl");
    expect_shell(
        "thea run p.yaml < in.jsonl && mv out.jsonl calm.jsonl && test $(wc -l < calm.jsonl) -eq 40");
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) expect_survived(run, points[i], 1);
    expect_survived(run, "source.manifest", 2);
    expect_survived(run, "source.numbered", 2);
}

Test(sources, a_document_that_the_source_itself_dies_on_is_set_aside_and_the_others_are_written)
{
    struct run_result r;
    run_shell(&r, scratch, DEADLINE_S,
              "export THEA_STAGE_PATH=%s/tests; printf 'stages:\\n  count: {kind: count, documents: 5, "
              "poison: 4}\\n"
              "  keep: {kind: keep, from: count, output: kept}\\n' > p.yaml; for poison in 4 2; do rm -rf "
              "kept run; "
              "thea run p.yaml --set count.poison=$poison --run-dir run; echo $?; sort -n kept; done",
              run_bin_dir());
    cr_expect_str_eq(buf_text(&r.out),
                     "1\n0 1 6\n1 1 6\n2 1 6\n3 1 6\n4 aside stage count was killed by SIGABRT\n"
                     "1\n0 1 6\n1 1 6\n2 aside stage count was killed by SIGABRT\n3 1 6\n4 1 6\n");
    cr_expect_not_null(strstr(buf_text(&r.err), "set aside after 3 tries: stage count was killed by SIGABRT"),
                       "%s", buf_text(&r.err));
    run_result_fini(&r);
}

Test(sources, files_and_records_that_load_dies_on_are_passed_over)
{
    struct run_result r;
    put_pipeline("p", "paths: [two], tries: 2");
    run_shell(&r, scratch, DEADLINE_S,
              "mkdir two; cp in/1.txt in/2.txt two; head -n 2 in.jsonl > two/z.jsonl; "
              "THEA_FAULT=source.document:1! thea run p.yaml --run-dir run; echo $?; wc -l < out.jsonl; "
              "grep -c unread run/tries");
    cr_expect_str_eq(buf_text(&r.out), "1\n0\n8\n", "%s%s", buf_text(&r.out), buf_text(&r.err));
    cr_expect_not_null(
        strstr(buf_text(&r.err), "2.txt: set aside after 2 tries: stage load was killed by SIGABRT"), "%s",
        buf_text(&r.err));
    run_result_fini(&r);
}

Test(sources, what_a_pipe_gave_is_there_when_the_run_is_resumed_without_it)
{
    put_pipeline("p", "paths: [\"-\"], format: jsonl");
    expect_shell("thea run p.yaml < in.jsonl && mv out.jsonl calm.jsonl");
    expect_shell("cat in.jsonl | THEA_FAULT=source.numbered:2 thea run p.yaml --run-dir run --set "
                 "load.restart=never; test $? -eq 70 && "
                 "thea run --resume ./run < /dev/null && cmp out.jsonl calm.jsonl");
}

Test(sources, a_file_that_vanished_before_a_resume_is_set_aside_and_the_others_are_written)
{
    put_pipeline("p", "paths: [in]");
    expect_shell("thea run p.yaml && grep -v '\"in/7.txt\"' out.jsonl > calm.jsonl; rm out.jsonl; test $(wc "
                 "-l < calm.jsonl) -eq 79");
    expect_shell("THEA_FAULT=source.numbered:1 thea run p.yaml --run-dir run --set load.restart=never; test "
                 "$? -eq 70 && rm in/7.txt && thea run --resume ./run ; test $? -eq 1 && grep -q "
                 "'\"aside\".*has vanished' run/journal/write && cmp out.jsonl calm.jsonl");
}

Test(sources, a_file_that_changed_before_a_resume_is_taken_as_it_is_with_a_warning)
{
    put_pipeline("p", "paths: [in]");
    expect_shell("THEA_FAULT=source.numbered:1 thea run p.yaml --run-dir run --set load.restart=never; test "
                 "$? -eq 70 && echo other > in/7.txt && "
                 "thea run --resume ./run 2> said && grep -q 'in/7.txt: changed since it was found' said && "
                 "test $(wc -l < out.jsonl) -eq 80");
}

/* --- inputs that come while the run goes on --- */

struct wanted {
    const char *file;
    size_t lines;
};

static bool has_lines(void *context)
{
    const struct wanted *w = context;
    char path[512];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%s", scratch, w->file);
    FILE *f = fopen(path, "r");
    if (f == NULL) return false;
    for (int c; (c = fgetc(f)) != EOF;) n += c == '\n';
    fclose(f);
    return n >= w->lines;
}

static void wait_lines(size_t lines)
{
    struct wanted w = {"out.jsonl", lines};
    cr_assert(run_until(has_lines, &w, DEADLINE_S), "%zu lines did not come", lines);
}

static void end_run(struct run_child *c)
{
    struct run_result r;
    kill(c->pid, SIGTERM);
    int status = run_wait(c, DEADLINE_S, &r);
    cr_assert_eq(status, 143, "%d: %s", status, buf_text(&r.err));
    run_result_fini(&r);
}

Test(sources, files_and_lines_that_come_later_are_written_though_the_source_dies)
{
    struct run_child c;
    put_pipeline("p", "paths: [in], follow: true");
    run_start(&c, scratch, "THEA_FAULT=source.numbered:7:$PWD/once exec thea run p.yaml --run-dir run");
    wait_lines(80);
    for (int i = 0; i < 10; i++) {
        char command[160];
        snprintf(command, sizeof command,
                 "echo new > in/new-%d.txt; echo '{\"id\": \"new-%d\", \"text\": \"r\"}' >> in/z.jsonl", i,
                 i);
        expect_shell(command);
        wait_lines(80 + 2 * ((size_t)i + 1));
    }
    end_run(&c);
    expect_shell("test -e once && test $(wc -l < out.jsonl) -eq 100 && test $(cut -d, -f1 out.jsonl | sort | "
                 "uniq -d | wc -l) -eq 0");
    expect_shell("echo late > in/late.txt");
    run_start(&c, scratch, "exec thea run --resume ./run");
    wait_lines(101);
    end_run(&c);
    expect_shell("test $(wc -l < out.jsonl) -eq 101 && tail -n 1 out.jsonl | grep -q late");
}

/* A port that was free a moment ago. */
static int free_port(struct sockaddr_in *at)
{
    socklen_t len = sizeof *at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(bind(fd, (struct sockaddr *)at, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)at, &len), 0);
    close(fd);
    return ntohs(at->sin_port);
}

/* Status of a POST; 0: nobody answered. */
static int post(const struct sockaddr_in *at, int id)
{
    char text[512];
    int status = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    int n = snprintf(text, sizeof text,
                     "POST /documents?id=post-%d HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
                     "text/plain\r\nContent-Length: 8\r\nConnection: close\r\n\r\ndocument",
                     id);
    if (connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 &&
        send(fd, text, (size_t)n, MSG_NOSIGNAL) == n) {
        ssize_t got = recv(fd, text, sizeof text - 1, 0);
        text[got > 0 ? got : 0] = '\0';
        if (sscanf(text, "HTTP/1.1 %d", &status) != 1) status = 0;
    }
    close(fd);
    return status;
}

struct posting {
    struct sockaddr_in at;
    int id;
};

static bool is_taken(void *context)
{
    struct posting *p = context;
    return post(&p->at, p->id) == 200;
}

/* Documents are written in the order in which they were taken. */
static bool is_written(void *context)
{
    const struct posting *p = context;
    char path[512], line[4096], id[32];
    snprintf(path, sizeof path, "%s/out.jsonl", scratch);
    snprintf(id, sizeof id, "\"post-%d\"", p->id);
    FILE *f = fopen(path, "r");
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) found = strstr(line, id) != NULL;
    if (f != NULL) fclose(f);
    return found;
}

Test(sources, a_document_that_http_accepted_is_written_though_the_source_dies)
{
    struct run_child c;
    struct posting p;
    char load[80];
    snprintf(load, sizeof load, "listen: \"http://127.0.0.1:%d\"", free_port(&p.at));
    put_pipeline("p", load);
    run_start(&c, scratch, "THEA_FAULT=source.numbered:6:$PWD/once exec thea run p.yaml --run-dir run");
    for (p.id = 0; p.id < DOCUMENTS; p.id++) {
        cr_assert(run_until(is_taken, &p, DEADLINE_S), "document %d was not taken", p.id);
        if (p.id % 4 == 0)
            cr_assert(run_until(is_written, &p, DEADLINE_S), "document %d was not written", p.id);
    }
    p.id--;
    cr_assert(run_until(is_written, &p, DEADLINE_S));
    end_run(&c);
    /* One that was taken without an answer was sent twice: that is for its sender to know, by its id. */
    expect_shell("test -e once && test $(cut -d, -f1 out.jsonl | sort -u | wc -l) -eq 40");
}
