/* Faults that a run lives through: whatever is killed, however often, the output is the one of a run that
 * nobody disturbed, byte for byte, and nothing is left behind.
 *
 * THEA_FAULTS=200 kills so often, over 500 documents; THEA_FAULTS_SEED=n kills others at other times. */
#include "graph/json.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    FEW = 8,
    FEW_DOCUMENTS = 80,
    MANY_DOCUMENTS = 500,
    START_S = RUN_LIMIT_S,
    END_S = RUN_LIMIT_S,
    PROCESSES_MAX = 16
};

struct scene {
    char *dir;
    uint64_t random; /* state */
    size_t documents, kills, left;
    struct run_child thea;
    bool running;
    char id[24]; /* of the newest start */
};

static uint64_t draw(struct scene *s, uint64_t below)
{
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    return (s->random >> 33) % below;
}

static uint64_t from_environment(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 10) : fallback;
}

static char *path_in(const struct scene *s, const char *name)
{
    static char path[4][256];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", s->dir, name);
    return out;
}

static struct buf read_whole(const struct scene *s, const char *name)
{
    struct buf text = {0};
    FILE *f = fopen(path_in(s, name), "r");
    buf_reserve(&text, 1);
    text.data[0] = '\0';
    if (f == NULL) return text;
    for (size_t n; (n = fread(buf_reserve(&text, 65536), 1, 65536, f)) > 0;) text.len += n;
    buf_add(&text, "", 0);
    buf_reserve(&text, 1);
    text.data[text.len] = '\0';
    fclose(f);
    return text;
}

/* --- the corpus, and what comes of it undisturbed --- */

static void write_corpus(struct scene *s)
{
    static const char *const words[] = {"stage", "frame", "link", "reads", "sends",
                                        "waits", "the",   "of",   "in",    "order"};
    FILE *f = fopen(path_in(s, "docs.jsonl"), "w");
    cr_assert_not_null(f);
    for (size_t i = 0; i < s->documents; i++) {
        fprintf(f, "{\"id\": \"doc-%zu\", \"text\": \"", i);
        for (uint64_t n = 40 + draw(s, 500 / RUN_SLOWER); n > 0; n--) fprintf(f, "%s ", words[draw(s, 10)]);
        fputs("\"}\n", f);
    }
    fclose(f);
}

static void prepare(struct scene *s)
{
    *s = (struct scene){.dir = run_temp_dir(), .kills = from_environment("THEA_FAULTS", FEW)};
    s->random = from_environment("THEA_FAULTS_SEED", 7);
    s->documents = s->kills > FEW ? MANY_DOCUMENTS : FEW_DOCUMENTS;
    s->left = s->kills;
    write_corpus(s);
    struct run_result r;
    run_shell(&r, s->dir, END_S, "thea run score docs.jsonl --run-dir calm -o calm.jsonl");
    cr_assert_eq(r.status, 0, "%s", buf_text(&r.err));
    run_result_fini(&r);
}

/* --- starting --- */

static bool is_recorded(void *context)
{
    struct scene *s = context;
    struct json_node *record = NULL;
    if (json_read_file(&record, path_in(s, "run/run.json"), 1 << 20, NULL) != THEA_OK) return false;
    const char *id = json_text_or(record, "run", "");
    bool new = strcmp(id, s->id) != 0;
    snprintf(s->id, sizeof s->id, "%s", id);
    json_free(record);
    return new;
}

static void start(struct scene *s, const char *what)
{
    run_start(&s->thea, s->dir, "exec env TMPDIR=%s thea run %s 2>>err", s->dir, what);
    s->running = true;
    cr_assert(run_until(is_recorded, s, START_S), "%s did not start:\n%s", what, read_whole(s, "err").data);
}

/* --- looking --- */

static bool has_ended(const struct scene *s)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)s->thea.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

static size_t list_children(pid_t pid, pid_t *out)
{
    char path[64];
    size_t n = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "r");
    if (f == NULL) return 0;
    while (n < PROCESSES_MAX && fscanf(f, "%d", &out[n]) == 1) n++;
    fclose(f);
    return n;
}

struct growth {
    struct scene *scene;
    off_t before;
};

static off_t output_size(const struct scene *s)
{
    struct stat st;
    return stat(path_in(s, "run.jsonl"), &st) == 0 ? st.st_size : 0;
}

static bool has_grown_or_ended(void *context)
{
    const struct growth *g = context;
    return output_size(g->scene) > g->before || has_ended(g->scene);
}

static size_t count_lines_with(const char *path, const char *part)
{
    char line[4096];
    size_t n = 0;
    FILE *f = fopen(path, "r");
    if (f == NULL) return 0;
    while (fgets(line, sizeof line, f) != NULL) n += strstr(line, part) != NULL;
    fclose(f);
    return n;
}

static bool nothing_lives(void *context)
{
    const struct scene *s = context;
    return run_count_processes(s->id) == 0 && count_lines_with("/proc/net/unix", s->id) == 0;
}

/* --- killing --- */

static void pause_a_while(struct scene *s, uint64_t below_ms)
{
    struct timespec t = {.tv_nsec = (long)draw(s, below_ms) * 1000000};
    nanosleep(&t, NULL); /* the moment of a kill is random; nothing is expected of it */
}

/* One of the stages, or now and then the supervisor itself; then all must go and the run goes on by --resume.
 */
static void kill_one(struct scene *s)
{
    pid_t children[PROCESSES_MAX];
    size_t n = list_children(s->thea.pid, children);
    uint64_t which = draw(s, n + 1);
    if (has_ended(s)) return;
    s->left -= s->left > 0;
    if (which < n) {
        kill(children[which], SIGKILL);
        return;
    }
    struct run_result r;
    cr_assert_eq(kill(s->thea.pid, SIGKILL), 0);
    cr_assert_eq(run_wait(&s->thea, END_S, &r), 128 + SIGKILL);
    run_result_fini(&r);
    cr_expect(run_until(nothing_lives, s, START_S), "%zu processes outlive the supervisor",
              run_count_processes(s->id));
    start(s, "--resume run");
}

/* Until it is done. Bursts, and then some work: so it gets on. */
static void disturb(struct scene *s)
{
    while (s->left > 0 && !has_ended(s)) {
        for (uint64_t burst = 1 + draw(s, 3); burst > 0 && s->left > 0 && !has_ended(s); burst--) {
            pause_a_while(s, 300);
            kill_one(s);
        }
        struct growth growth = {s, output_size(s)};
        cr_assert(run_until(has_grown_or_ended, &growth, END_S), "nothing more comes:\n%s",
                  read_whole(s, "err").data);
    }
}

static void expect_the_same(struct scene *s)
{
    struct run_result r;
    struct buf calm = read_whole(s, "calm.jsonl"), got, errors = read_whole(s, "err");
    cr_expect_eq(run_wait(&s->thea, END_S, &r), 0, "%s", errors.data);
    run_result_fini(&r);
    got = read_whole(s, "run.jsonl");
    cr_expect(calm.len == got.len && memcmp(calm.data, got.data, got.len) == 0,
              "the output differs: %zu bytes, expected %zu\n%s", got.len, calm.len, errors.data);
    cr_expect_neq(access(path_in(s, "run/tries"), F_OK), 0, "a kill from outside was blamed on a document");
    cr_expect(run_until(nothing_lives, s, START_S), "processes or sockets are left");
    buf_fini(&calm);
    buf_fini(&got);
    buf_fini(&errors);
}

Test(faults, the_output_is_the_same_whatever_is_killed_and_when, .timeout = 3600)
{
    struct scene s;
    prepare(&s);
    while (s.left > 0) {
        struct run_result r;
        run_shell(&r, s.dir, START_S, "rm -rf run run.jsonl err");
        run_result_fini(&r);
        start(&s, "score docs.jsonl --run-dir run -o run.jsonl");
        disturb(&s);
        expect_the_same(&s);
    }
    free(s.dir);
}
