/* See serve_pipe.h. */
#include "bin/thea/support/serve_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10 };

extern char **environ;

/* A process group of its own: Ctrl-C in the terminal is for the server, which ends the pipeline when all is
 * answered. */
static void set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(attributes);
    posix_spawnattr_setflags(attributes,
                             POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(attributes, 0);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
}

static int spawn(pid_t *pid, const char *const *argv, int in, int out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    set_attributes(&attributes);
    int error =
        posix_spawn(pid, "/proc/self/exe", &actions, &attributes, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

thea_rc serve_pipe_start(struct serve_pipe *p, const char *const *argv, struct thea_err *err)
{
    int in[2], out[2];
    *p = (struct serve_pipe){.in = -1, .out = -1, .end = -1};
    if (pipe2(in, O_CLOEXEC) != 0) return thea_fail(err, THEA_EOS, "cannot make a pipe: %s", strerror(errno));
    if (pipe2(out, O_CLOEXEC) != 0) {
        close(in[0]), close(in[1]);
        return thea_fail(err, THEA_EOS, "cannot make a pipe: %s", strerror(errno));
    }
    int error = spawn(&p->pid, argv, in[0], out[1]);
    close(in[0]), close(out[1]);
    p->in = in[1], p->out = out[0];
    if (error != 0) {
        p->pid = 0;
        return thea_fail(err, THEA_EOS, "cannot start the pipeline: %s", strerror(error));
    }
    p->end = pidfd_open(p->pid, 0);
    fcntl(p->in, F_SETFL, O_NONBLOCK);
    fcntl(p->out, F_SETFL, O_NONBLOCK);
    if (p->end < 0) return thea_fail(err, THEA_EOS, "cannot watch the pipeline: %s", strerror(errno));
    return THEA_OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void reap(struct serve_pipe *p, int flags)
{
    int status = 0;
    if (p->pid <= 0 || waitpid(p->pid, &status, flags) != p->pid) return;
    p->pid = 0;
    p->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    close_fd(&p->end);
}

void serve_pipe_fini(struct serve_pipe *p)
{
    close_fd(&p->in);
    if (p->pid > 0) { /* twice: it does not drain */
        kill(p->pid, SIGTERM);
        kill(p->pid, SIGTERM);
        reap(p, 0);
    }
    close_fd(&p->out);
    close_fd(&p->end);
    buf_fini(&p->unsent);
    buf_fini(&p->unread);
}

/* --- lines in --- */

static void send_some(struct serve_pipe *p)
{
    while (p->in >= 0 && p->sent < p->unsent.len) {
        ssize_t n = write(p->in, p->unsent.data + p->sent, p->unsent.len - p->sent);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) close_fd(&p->in); /* it has ended: its status says more */
        if (n > 0) p->sent += (size_t)n;
    }
    if (p->sent == p->unsent.len || p->sent > READ_BYTES) {
        buf_drop_front(&p->unsent, p->sent);
        p->sent = 0;
    }
    if (p->closing && p->unsent.len == 0) close_fd(&p->in);
}

void serve_pipe_send(struct serve_pipe *p, const char *line, size_t len)
{
    buf_add(&p->unsent, line, len);
    send_some(p);
}

void serve_pipe_finish(struct serve_pipe *p)
{
    p->closing = true;
    send_some(p);
}

/* --- lines out --- */

static void take_lines(struct serve_pipe *p, void (*line)(void *context, char *line, size_t len),
                       void *context, size_t searched)
{
    size_t at = 0;
    for (char *end; (end = memchr(p->unread.data + searched, '\n', p->unread.len - searched)) != NULL;) {
        size_t len = (size_t)(end - p->unread.data) - at;
        *end = '\0';
        line(context, p->unread.data + at, len);
        searched = at += len + 1;
    }
    buf_drop_front(&p->unread, at);
}

static void read_some(struct serve_pipe *p, void (*line)(void *context, char *line, size_t len),
                      void *context)
{
    for (;;) {
        size_t before = p->unread.len;
        ssize_t n = read(p->out, buf_reserve(&p->unread, READ_BYTES), READ_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            close_fd(&p->out);
            return;
        }
        p->unread.len += (size_t)n;
        take_lines(p, line, context, before);
    }
}

void serve_pipe_polls(const struct serve_pipe *p, struct pollfd fds[SERVE_PIPE_POLLS])
{
    fds[0] = (struct pollfd){.fd = p->unsent.len > 0 ? p->in : -1, .events = POLLOUT};
    fds[1] = (struct pollfd){.fd = p->out, .events = POLLIN};
    fds[2] = (struct pollfd){.fd = p->end, .events = POLLIN};
}

void serve_pipe_handle(struct serve_pipe *p, void (*line)(void *context, char *line, size_t len),
                       void *context)
{
    send_some(p);
    if (p->out >= 0) read_some(p, line, context);
    reap(p, WNOHANG);
}
