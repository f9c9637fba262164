/* Signals to the supervisor: a handler writes each into a pipe that the loop polls.
 *
 * Not signalfd: that wants the signals blocked in every thread, and a BLAS starts threads of its own before
 * main. */
#include "graph/control/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Where the handler writes: there is one supervisor in a process. */
static volatile sig_atomic_t signal_pipe = -1;

static void note_signal(int sig)
{
    int saved = errno;
    char byte = (char)sig;
    ssize_t ignored = write(signal_pipe, &byte, 1);
    (void)ignored; /* full: then it is read soon, and each reading looks at every child */
    errno = saved;
}

static const int watched[SUPERVISOR_SIGNALS] = {SIGCHLD, SIGINT, SIGTERM, SIGTSTP, SIGCONT, SIGPIPE};

thea_rc supervisor_watch_signals(struct supervisor *s, struct thea_err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return thea_fail(err, THEA_EOS, "cannot watch signals: %s", strerror(errno));
    s->signal_fd = ends[0];
    signal_pipe = ends[1];
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < SUPERVISOR_SIGNALS; i++) {
        sigaddset(&set, watched[i]);
        struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
        sigfillset(&action.sa_mask);
        if (watched[i] == SIGPIPE) action.sa_handler = SIG_IGN;
        sigaction(watched[i], &action, &s->old_actions[i]);
        /* A SIGINT that was ignored when we started (nohup, a script's background job) stays so; SIGCHLD must
         * not, or children vanish unseen. */
        if (s->old_actions[i].sa_handler == SIG_IGN && watched[i] != SIGCHLD)
            sigaction(watched[i], &s->old_actions[i], NULL);
    }
    sigprocmask(SIG_UNBLOCK, &set, &s->old_mask);
    return THEA_OK;
}

void supervisor_unwatch_signals(struct supervisor *s)
{
    if (s->signal_fd >= 0) {
        for (size_t i = 0; i < SUPERVISOR_SIGNALS; i++) sigaction(watched[i], &s->old_actions[i], NULL);
        sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
        close(s->signal_fd);
        close(signal_pipe);
        signal_pipe = -1;
    }
}
