/* Runs in the background: see detach.h. The lock on the run's directory is shared by the fork, and stays with
 * the run when the command ends. */
#include "bin/thea/support/detach.h"

#include "graph/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool fail(int *status, const char *what)
{
    thea_error("run: cannot go to the background: %s: %s", what, strerror(errno));
    *status = THEA_EOS;
    return true;
}

/* The command: wait for the byte, or for the end of a run that never came so far. */
static void wait_ready(int fd, pid_t pid, const struct rundir *run, int *status)
{
    char byte;
    ssize_t n;
    do n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    close(fd);
    if (n == 1) {
        printf("%s\n", run->by_name ? run->name : run->path);
        *status = fflush(stdout) == 0 ? 0 : THEA_EIO;
        return;
    }
    int ended = 0;
    while (waitpid(pid, &ended, 0) < 0 && errno == EINTR) continue;
    *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : THEA_ESOFTWARE;
}

static bool open_files(struct detach *d, const struct rundir *run)
{
    int out = openat(run->fd, "stdout", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    d->log = openat(run->fd, "logs/supervisor.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    bool good = out >= 0 && d->log >= 0 && dup2(out, STDOUT_FILENO) >= 0;
    if (out >= 0) close(out);
    return good;
}

bool detach_run(struct detach *d, const struct rundir *run, int *status)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail(status, "pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        fail(status, "fork");
        close(ends[0]);
        close(ends[1]);
        return true;
    }
    if (pid > 0) {
        close(ends[1]);
        wait_ready(ends[0], pid, run, status);
        return true;
    }
    close(ends[0]);
    *d = (struct detach){.ready = ends[1], .log = -1};
    setsid();
    if (open_files(d, run)) return false;
    thea_error("run: cannot go to the background: %s: %s", run->path, strerror(errno));
    _exit(THEA_ECREATE);
}

void detach_ready(void *context)
{
    struct detach *d = context;
    if (d->log >= 0) {
        dup2(d->log, STDERR_FILENO);
        close(d->log);
    }
    ssize_t ignored = write(d->ready, "", 1); /* the command is gone: then nobody waits */
    (void)ignored;
    close(d->ready);
    *d = (struct detach){-1, -1};
}
