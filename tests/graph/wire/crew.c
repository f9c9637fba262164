/* See crew.h. */
#include "tests/graph/wire/crew.h"

#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEADLINE_MS = RUN_LIMIT_S * 1000, CONTROL_FD = 3, SAME_TIME_MS = 20 };
extern char **environ;

static uint64_t now_ms(void)
{
    return status_now_ns() / 1000000;
}

/* --- members --- */

void crew_open(struct crew *c)
{
    *c = (struct crew){.dir = run_temp_dir(), .epoch = 1, .tries = 2};
}

/* A7, or the address it stands for. */
static char *expand(const char *word)
{
    static unsigned crews;
    static pid_t owner;
    if (owner != getpid()) owner = getpid(), crews++;
    struct buf out = {0};
    for (const char *p = word; *p != '\0'; p++) {
        bool address =
            p[0] == 'A' && p[1] >= '0' && p[1] <= '9' && p > word && strchr("=,:\"", p[-1]) != NULL;
        if (address)
            buf_printf(&out, "abstract://thea-%08x%08x-", (unsigned)getpid(), crews);
        else
            buf_add_char(&out, *p);
    }
    return buf_take(&out);
}

struct crew_member *crew_add(struct crew *c, const char *command)
{
    cr_assert_lt(c->count, CREW_MAX);
    struct crew_member *m = &c->members[c->count++];
    char *words = strdup(command), *rest = words;
    size_t n = 0;
    for (char *word; (word = strsep(&rest, " ")) != NULL;) {
        cr_assert_lt(n, CREW_ARGS - 10);
        if (*word != '\0') m->args[n++] = expand(word);
    }
    free(words);
    m->source = strstr(command, "--in ") == NULL;
    m->sink = strstr(command, "--out ") == NULL;
    return m;
}

struct crew_member *crew_spawn(struct crew *c, struct crew_member *m)
{
    char epoch[24], parent[24], incarnation[24], path[512], log[512], out[512];
    const char *args[CREW_ARGS];
    struct thea_err err;
    size_t n = 0;
    int theirs = -1;
    for (; m->args[n] != NULL; n++) args[n] = m->args[n];
    snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)c->epoch);
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    snprintf(incarnation, sizeof incarnation, "%u", m->incarnation++);
    const char *more[] = {"--control",     "3",         "--epoch", epoch, "--parent", parent,
                          "--incarnation", incarnation, NULL};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) args[n + i] = more[i];
    snprintf(path, sizeof path, "%s/tests/thea-%s", run_bin_dir(), args[0]);
    if (access(path, X_OK) != 0) snprintf(path, sizeof path, "%s/thea-%s", run_bin_dir(), args[0]);
    size_t number = (size_t)(m - c->members);
    snprintf(log, sizeof log, "%s/%s-%zu.log", c->dir, args[0], number);
    snprintf(out, sizeof out, "%s/%s-%zu.out", c->dir, args[0], number);
    cr_assert_eq(channel_pair(&m->channel, &theirs, &err), THEA_OK, "%s", err.message);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addchdir_np(&files, c->dir);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, out, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_addopen(&files, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&files, theirs, CONTROL_FD);
    posix_spawn_file_actions_addclosefrom_np(&files, CONTROL_FD + 1);
    cr_assert_eq(posix_spawn(&m->pid, path, &files, NULL, (char **)(uintptr_t)args, environ), 0, "%s", path);
    posix_spawn_file_actions_destroy(&files);
    close(theirs);
    m->ready = m->passed = false;
    return m;
}

void crew_start(struct crew *c)
{
    for (size_t i = c->count; i-- > 0;) crew_spawn(c, &c->members[i]);
}

void crew_kill(struct crew *c, struct crew_member *m)
{
    (void)c;
    cr_assert_gt(m->pid, 0);
    kill(m->pid, SIGKILL);
    m->doomed = true;
}

void crew_close(struct crew *c)
{
    for (size_t i = 0; i < c->count; i++) {
        struct crew_member *m = &c->members[i];
        if (m->pid > 0) {
            kill(m->pid, SIGKILL);
            waitpid(m->pid, NULL, 0);
        }
        channel_free(m->channel);
        for (size_t k = 0; m->args[k] != NULL; k++) free((char *)(uintptr_t)m->args[k]);
    }
    ranges_fini(&c->committed);
    buf_fini(&c->told);
    free(c->dir);
}

/* --- talking --- */

static void send_text(struct crew_member *m, const char *text)
{
    struct json_node *node;
    struct thea_err err;
    if (m->channel == NULL) return;
    cr_assert_eq(json_parse(&node, text, strlen(text), "test", &err), THEA_OK, "%s: %s", text, err.message);
    cr_assert_eq(channel_send(m->channel, node, &err), THEA_OK);
}

void crew_say(struct crew *c, struct crew_member *m, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *p = text; *p != '\0'; p++)
        if (*p == '\'') *p = '"';
    char *all = expand(text);
    for (size_t i = 0; i < c->count; i++)
        if (m == NULL || m == &c->members[i]) send_text(&c->members[i], all);
    free(all);
}

bool crew_heard(const struct crew *c, const char *text)
{
    return strstr(buf_text(&c->told), text) != NULL;
}

uint64_t crew_committed(const struct crew *c)
{
    return ranges_total(&c->committed);
}

static void tell_commits(struct crew *c, struct crew_member *to)
{
    struct json_node *m = json_new_map();
    struct thea_err err;
    json_put(m, "do", json_new_string("commit"));
    json_put(m, "streams", ranges_print(&c->committed));
    cr_assert_eq(channel_send(to->channel, m, &err), THEA_OK);
}

/* The first sink speaks for all: tests have one that commits. */
static void hear_commit(struct crew *c, const struct json_node *m)
{
    struct thea_err err;
    const struct json_node *one = json_member(m, "stream");
    if (one != NULL)
        ranges_add(&c->committed, (uint64_t)json_int(one), (uint64_t)json_int(one));
    else
        cr_assert_eq(ranges_read(&c->committed, json_member(m, "streams"), &err), THEA_OK);
    for (size_t i = 0; i < c->count; i++)
        if (c->members[i].source && c->members[i].channel != NULL) tell_commits(c, &c->members[i]);
}

static void hear_failed(struct crew *c, const struct json_node *m)
{
    long long stream = json_int_or(m, "stream", -1), attempt = json_int_or(m, "attempt", 0) + 1;
    for (size_t i = 0; i < c->count; i++) {
        struct crew_member *source = &c->members[i];
        if (!source->source) continue;
        if (attempt <= (long long)c->tries)
            crew_say(c, source, "{'do': 'retry', 'stream': %lld, 'attempt': %lld}", stream, attempt);
        else
            crew_say(c, source,
                     "{'do': 'aside', 'stream': %lld, 'attempt': %lld, 'tries': %lld, 'reason': '%s'}",
                     stream, attempt, attempt, json_text_or(m, "reason", ""));
    }
}

static void hear_one(struct crew *c, struct crew_member *from, const struct json_node *m)
{
    const char *did = json_text_or(m, "did", "");
    char *line = json_print(m, 0, 0);
    for (char *p = line; *p != '\0'; p++)
        if (*p == '"') *p = '\'';
    buf_printf(&c->told, "%s %s\n", from->args[0], line);
    free(line);
    if (strcmp(did, "commit") == 0 || strcmp(did, "aside") == 0) hear_commit(c, m);
    if (strcmp(did, "failed") == 0) hear_failed(c, m);
    if (strcmp(did, "ready") == 0) from->ready = true;
    bool passed = strcmp(did, "done") == 0 || strcmp(did, "passed") == 0;
    if (strcmp(did, "enough") == 0) from->passed = true;
    if (passed && (uint64_t)json_int_or(m, "epoch", 0) == c->epoch) {
        from->passed = true;
        from->passes++;
    }
}

static void hear(struct crew *c, struct crew_member *m)
{
    struct json_node *node;
    struct thea_err err;
    thea_rc rc;
    while (m->channel != NULL && (rc = channel_receive(m->channel, &node, &err)) == THEA_OK) {
        hear_one(c, m, node);
        json_free(node);
    }
}

/* --- supervising --- */

static void reap(struct crew *c)
{
    for (size_t i = 0; i < c->count; i++) {
        struct crew_member *m = &c->members[i];
        int status;
        if (m->pid == 0 || waitpid(m->pid, &status, WNOHANG) != m->pid) continue;
        hear(c, m); /* its last words */
        m->pid = 0;
        m->doomed = false;
        m->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        channel_free(m->channel);
        m->channel = NULL;
    }
}

static bool any_dead(const struct crew *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->members[i].pid == 0 && !c->members[i].leaves) return true;
    return false;
}

static void print_logs(const struct crew *c)
{
    char command[1024];
    fprintf(stderr, "%s", buf_text(&c->told));
    snprintf(command, sizeof command, "cat %s/*.log >&2", c->dir);
    (void)!system(command);
}

/* The living hear of it before the dead come again, and in no order. */
static void recover(struct crew *c)
{
    c->epoch++;
    crew_say(c, NULL, "{'do': 'epoch', 'epoch': %llu}", (unsigned long long)c->epoch);
    for (size_t i = 0; i < c->count; i++) {
        struct crew_member *m = &c->members[i];
        m->passed = false;
        if (m->pid != 0 || m->leaves) continue;
        c->restarts++;
        if (m->status < 128) print_logs(c);
        cr_assert_geq(m->status, 128, "%s ended with %d by itself", m->args[0], m->status);
        crew_spawn(c, m);
        if (m->source) tell_commits(c, m);
    }
}

static bool all_ended(const struct crew *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->members[i].pid != 0) return false;
    return true;
}

static void finish(struct crew *c)
{
    if (c->finishing || c->stays) return;
    for (size_t i = 0; i < c->count; i++)
        if (c->members[i].sink && !c->members[i].passed) return;
    c->finishing = true;
    crew_say(c, NULL, "{'do': 'finish'}");
}

static void wait_for_words(const struct crew *c)
{
    struct pollfd fds[CREW_MAX];
    nfds_t n = 0;
    for (size_t i = 0; i < c->count; i++)
        if (c->members[i].channel != NULL)
            fds[n++] = (struct pollfd){.fd = channel_fd(c->members[i].channel), .events = POLLIN};
    (void)poll(fds, n, 5);
}

void crew_until(struct crew *c, bool (*condition)(const struct crew *c))
{
    uint64_t end_ms = now_ms() + DEADLINE_MS;
    while (condition != NULL ? !condition(c) : !all_ended(c)) {
        if (now_ms() > end_ms) print_logs(c);
        cr_assert_leq(now_ms(), end_ms, "it hangs");
        for (size_t i = 0; i < c->count; i++) hear(c, &c->members[i]);
        reap(c);
        if (condition != NULL && condition(c)) return;
        if (any_dead(c) && !c->finishing) recover(c);
        finish(c);
        wait_for_words(c);
    }
}

/* --- results --- */

void crew_read(const struct crew *c, const char *file, struct buf *out)
{
    struct run_result r;
    run_shell(&r, c->dir, RUN_LIMIT_S, "sort -n %s", file);
    buf_add_text(out, buf_text(&r.out));
    run_result_fini(&r);
}
