/* bench-m2bert_memory: peak resident memory of each process of
 *
 *   thea load --format tokens | thea layers --pad none | thea pool | thea write
 *
 * for one document of 2,048 to 32,768 tokens through M2-BERT-80M for 32,768 positions (random weights), and
 * how it grows. The figures have the weights in them, which are mapped, and the filters.
 *
 *   bench-m2bert_memory [--blocks 12] [--parts 1] [--filter-memory 1GiB] [--model DIR]
 */
#include "tests/support/m2bert_model.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { STAGES_MAX = 16, CONTEXT = 32768, ARGS = 16 };
static const size_t lengths[] = {2048, 4096, 8192, 16384, 32768};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

struct settings {
    const char *model, *filter_memory;
    size_t blocks, parts;
};

struct pipeline {
    char *argv[STAGES_MAX][ARGS]; /* NULL-terminated */
    char blocks[STAGES_MAX][32];
    size_t stages;
};

static void fail(const char *what)
{
    fprintf(stderr, "bench-m2bert_memory: %s: %s\n", what, strerror(errno));
    exit(71);
}

static void add(struct pipeline *p, const char *const *argv)
{
    size_t i = 0;
    for (; argv[i] != NULL; i++) p->argv[p->stages][i] = (char *)(uintptr_t)argv[i];
    p->stages++;
}

static struct pipeline *plan(const struct settings *s, const char *model, const char *ids)
{
    struct pipeline *p = calloc(1, sizeof *p);
    if (p == NULL) fail("memory");
    add(p, (const char *const[]){THEA_BIN_DIR "/thea", "load", "--format", "tokens", ids, NULL});
    for (size_t i = 0; i < s->parts; i++) {
        size_t first = i * s->blocks / s->parts, last = (i + 1) * s->blocks / s->parts - 1;
        snprintf(p->blocks[i], sizeof *p->blocks, "%zu-%zu", first, last);
        add(p, (const char *const[]){THEA_BIN_DIR "/thea", "layers", "-m", model, "--pad", "none",
                                     "--filter-memory", s->filter_memory, "--blocks", p->blocks[i], NULL});
    }
    add(p, (const char *const[]){THEA_BIN_DIR "/thea", "pool", "-m", model, NULL});
    add(p, (const char *const[]){THEA_BIN_DIR "/thea", "write", "--format", "jsonl", NULL});
    return p;
}

/* Start stage i reading in, writing out; both are closed here. */
static pid_t start(const struct pipeline *p, size_t i, int in, int out)
{
    pid_t pid;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    int rc = posix_spawn(&pid, p->argv[i][0], &actions, NULL, p->argv[i], environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in);
    close(out);
    if (rc == 0) return pid;
    errno = rc;
    fail(p->argv[i][0]);
    return 0;
}

/* kib [stages] = the largest resident sets. Gives the seconds that it took. */
static double run(const struct pipeline *p, long *kib)
{
    pid_t pids[STAGES_MAX];
    struct timespec begin, end;
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC), ends[2];
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (size_t i = 0; i < p->stages; i++) {
        bool last = i + 1 == p->stages;
        if (last)
            ends[1] = open("/dev/null", O_WRONLY | O_CLOEXEC);
        else if (pipe2(ends, O_CLOEXEC) != 0)
            fail("pipe");
        pids[i] = start(p, i, in, ends[1]);
        in = ends[0];
    }
    for (size_t i = 0; i < p->stages; i++) {
        int status;
        struct rusage usage;
        if (wait4(pids[i], &status, 0, &usage) < 0) fail("wait");
        if (status != 0) {
            fprintf(stderr, "bench-m2bert_memory: %s failed\n", p->argv[i][1]);
            exit(70);
        }
        kib[i] = usage.ru_maxrss;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
}

static void write_ids(const char *path, size_t n, size_t vocab)
{
    FILE *f = fopen(path, "we");
    if (f == NULL) fail(path);
    fprintf(f, "{\"id\": \"document\", \"tokens\": [101");
    for (size_t i = 1; i + 1 < n; i++) fprintf(f, ",%zu", 1000 + i * 7919 % (vocab - 1000));
    fprintf(f, ",102]}\n");
    if (fclose(f) != 0) fail(path);
}

static void measure(const struct settings *s, const char *model)
{
    char ids[] = "/tmp/thea-ids-XXXXXX";
    long kib[STAGES_MAX], before = 0;
    int fd = mkstemp(ids);
    if (fd < 0) fail(ids);
    close(fd);
    struct pipeline *p = plan(s, model, ids);
    printf("tokens\tseconds");
    for (size_t i = 0; i < p->stages; i++)
        printf("\t%s%s MiB", p->argv[i][1], p->argv[i][9] ? p->argv[i][9] : "");
    printf("\tlayers, bytes a token more\n");
    for (size_t i = 0; i < LENGTHS; i++) {
        write_ids(ids, lengths[i], 30522);
        printf("%zu\t%.1f", lengths[i], run(p, kib));
        for (size_t j = 0; j < p->stages; j++) printf("\t%.0f", (double)kib[j] / 1024);
        if (i > 0) printf("\t%.0f", (double)(kib[1] - before) * 1024 / (double)(lengths[i] - lengths[i - 1]));
        before = kib[1];
        putchar('\n');
        fflush(stdout);
    }
    unlink(ids);
    free(p);
}

int main(int argc, char **argv)
{
    struct settings s = {.filter_memory = "1GiB", .blocks = 12, .parts = 1};
    char dir[] = "/tmp/thea-bench-XXXXXX";
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--blocks") == 0) s.blocks = strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--parts") == 0) s.parts = strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--filter-memory") == 0) s.filter_memory = argv[i + 1];
        if (strcmp(argv[i], "--model") == 0) s.model = argv[i + 1];
    }
    if (s.blocks < 1 || s.parts < 1 || s.parts > s.blocks || s.parts > STAGES_MAX - 3) return 64;
    if (s.model != NULL) {
        measure(&s, s.model);
        return 0;
    }
    struct m2bert_model shape = m2bert_published(CONTEXT);
    shape.blocks = s.blocks;
    if (mkdtemp(dir) == NULL) fail(dir);
    m2bert_model_write(dir, &shape);
    measure(&s, dir);
    m2bert_model_remove(dir);
    return 0;
}
