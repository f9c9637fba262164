/* A foreign command as a child: see command.h. setpriv and unshare (util-linux) do what posix_spawn cannot:
 * the signal at our death, and namespaces. */
#include "stages/support/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10, WORDS_MAX = 16 };

/* --- start --- */

static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all); /* what we ignore (SIGPIPE) is not to be ignored by commands */
    int rc = posix_spawnattr_setsigmask(attributes, &none);
    if (rc == 0) rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (rc == 0) rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return rc;
}

static size_t count(char *const *texts)
{
    size_t n = 0;
    while (texts[n] != NULL) n++;
    return n;
}

/* Our environment, the additions last: programs take the first of a name, so ours of the same name are left
 * out. */
static char **make_env(const char *const *additions)
{
    size_t own = count(environ), more = additions != NULL ? count((char *const *)(uintptr_t)additions) : 0,
           n = 0;
    char **env = calloc(own + more + 1, sizeof *env);
    if (env == NULL) abort();
    for (size_t i = 0; i < own; i++) {
        bool replaced = false;
        for (size_t k = 0; k < more && !replaced; k++)
            replaced = strncmp(environ[i], additions[k], strcspn(additions[k], "=") + 1) == 0;
        if (!replaced) env[n++] = environ[i];
    }
    for (size_t i = 0; i < more; i++) env[n++] = (char *)(uintptr_t)additions[i];
    return env;
}

static void make_argv(const char **argv, const char *text, bool isolate)
{
    static const char *const dies_with_us[] = {"setpriv", "--pdeathsig", "KILL", "--"};
    static const char *const isolated[] = {"unshare",      "--user", "--map-current-user", "--pid", "--fork",
                                           "--kill-child", "--"};
    size_t n = 0;
    for (size_t i = 0; i < sizeof dies_with_us / sizeof *dies_with_us; i++) argv[n++] = dies_with_us[i];
    for (size_t i = 0; isolate && i < sizeof isolated / sizeof *isolated; i++) argv[n++] = isolated[i];
    argv[n++] = "/bin/sh";
    argv[n++] = "-c";
    argv[n++] = text;
    argv[n] = NULL;
}

static int spawn(pid_t *pid, const char *text, bool isolate, const char *const *additions, int in, int out)
{
    const char *argv[WORDS_MAX];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char **env = make_env(additions);
    make_argv(argv, text, isolate);
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0) goto out;
    rc = posix_spawnattr_init(&attributes);
    if (rc != 0) goto out_actions;
    rc = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    if (rc == 0) rc = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (rc == 0) rc = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    if (rc == 0) rc = set_attributes(&attributes);
    if (rc == 0) rc = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv, env);
    posix_spawnattr_destroy(&attributes);
out_actions:
    posix_spawn_file_actions_destroy(&actions);
out:
    free(env);
    return rc;
}

static void close_end(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

thea_rc command_start(struct command *c, const char *text, bool isolate, const char *const *env,
                      struct thea_err *err)
{
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    *c = (struct command){.in = -1, .out = -1};
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
        close_end(&to[0]), close_end(&to[1]);
        return thea_fail(err, THEA_EOS, "cannot make a pipe: %s", strerror(errno));
    }
    int failed = spawn(&c->pid, text, isolate, env, to[0], from[1]);
    close(to[0]), close(from[1]);
    c->in = to[1];
    c->out = from[0];
    fcntl(c->in, F_SETFL, O_NONBLOCK);
    fcntl(c->out, F_SETFL, O_NONBLOCK);
    if (failed == 0) return THEA_OK;
    c->pid = 0;
    command_kill(c);
    return thea_fail(err, THEA_EOS, "cannot start setpriv (of util-linux), which starts the command: %s",
                     strerror(failed));
}

/* --- talk --- */

/* Some of the input; a command that reads no more of it is no error. */
static void write_some(struct command *c, const char *input, size_t n, size_t *sent)
{
    ssize_t k = write(c->in, input + *sent, n - *sent);
    if (k > 0) *sent += (size_t)k;
    if (k < 0 && errno != EAGAIN && errno != EINTR) *sent = n, close_end(&c->in);
}

/* OK: something came; DONE: its end; AGAIN. */
static thea_rc read_some(struct command *c, struct buf *out)
{
    ssize_t k = read(c->out, buf_reserve(out, READ_BYTES), READ_BYTES);
    if (k < 0) return errno == EAGAIN || errno == EINTR ? THEA_AGAIN : THEA_DONE;
    out->len += (size_t)k;
    if (out->data != NULL) out->data[out->len] = '\0';
    return k > 0 ? THEA_OK : THEA_DONE;
}

/* The first line of c->rest goes to out; false if none is whole. */
static bool take_line(struct command *c, struct buf *out)
{
    char *newline = c->rest.len > 0 ? memchr(c->rest.data, '\n', c->rest.len) : NULL;
    if (newline == NULL) return false;
    size_t n = (size_t)(newline - c->rest.data);
    buf_add(out, c->rest.data, n > 0 && newline[-1] == '\r' ? n - 1 : n);
    buf_drop_front(&c->rest, n + 1);
    return true;
}

thea_rc command_exchange(struct command *c, const char *input, size_t n, command_until until,
                         size_t max_bytes, struct buf *out, struct thea_err *err)
{
    bool line = until == COMMAND_UNTIL_LINE;
    struct buf *to = line ? &c->rest : out;
    for (size_t sent = 0;;) {
        if (sent == n && !line) close_end(&c->in);
        if (sent == n && line && take_line(c, out)) return THEA_OK;
        if (to->len > max_bytes)
            return thea_fail(err, THEA_EDATA, "the command printed more than %zu bytes for one document",
                             max_bytes);
        struct pollfd ends[] = {{.fd = sent < n ? c->in : -1, .events = POLLOUT},
                                {.fd = c->out, .events = POLLIN}};
        if (poll(ends, 2, -1) < 0 && errno != EINTR)
            return thea_fail(err, THEA_EIO, "cannot wait for the command: %s", strerror(errno));
        if (ends[0].revents != 0) write_some(c, input, n, &sent);
        thea_rc rc = ends[1].revents != 0 ? read_some(c, to) : THEA_AGAIN;
        if (rc != THEA_DONE) continue;
        if (!line) return THEA_OK;
        return take_line(c, out) ? THEA_OK
                                 : thea_fail(err, THEA_ECLOSED, "the command ended without an answer");
    }
}

/* --- end --- */

thea_rc command_finish(struct command *c, struct thea_err *err)
{
    int status = 0;
    close_end(&c->in);
    close_end(&c->out);
    if (c->pid == 0) return THEA_OK;
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {}
    c->pid = 0;
    if (WIFSIGNALED(status))
        return thea_fail(err, THEA_EDATA, "the command was killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
    if (WEXITSTATUS(status) == 127)
        return thea_fail(err, THEA_EDATA, "the command was not found (status 127)");
    if (WEXITSTATUS(status) != 0)
        return thea_fail(err, THEA_EDATA, "the command ended with status %d", WEXITSTATUS(status));
    return THEA_OK;
}

void command_kill(struct command *c)
{
    if (c->pid > 0) kill(c->pid, SIGKILL);
    (void)!command_finish(c, NULL);
    buf_fini(&c->rest);
}
