/* Starting a process of a plan: posix_spawn, its own process group, nothing inherited but stdin, stdout,
 * stderr and its status page. Invariant: a child starts with default signal handling and an empty mask,
 * whatever ours are. */
#include "graph/control/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

struct descriptors {
    int in, out, error, status, control;
}; /* what becomes 0, 1, 2, SUPERVISOR_STATUS_FD and SUPERVISOR_CONTROL_FD; -1: /dev/null */

bool supervisor_reads_stdin(const struct plan_process *process)
{
    if (!process->source) return false;
    for (size_t i = 1; process->argv[i] != NULL; i++)
        if (strcmp(process->argv[i], "-") == 0) return true;
    return false;
}

/* The only source may read our standard input without saying so (`load` without operands): a file or pipe
 * does no harm to one that does not. A terminal we would have to read ourselves, so it is for those alone
 * that ask for it. */
static bool gets_stdin(const struct supervisor *s, const struct child *c)
{
    if (supervisor_reads_stdin(c->process)) return true;
    if (!c->process->source || isatty(s->o->stdin_fd) == 1) return false;
    size_t sources = 0;
    for (size_t i = 0; i < s->count; i++) sources += s->plan->processes[i].source;
    return sources == 1;
}

static size_t count_texts(char *const *texts)
{
    size_t n = 0;
    while (texts != NULL && texts[n] != NULL) n++;
    return n;
}

static char **allocate_texts(size_t n)
{
    char **texts = calloc(n + 1, sizeof *texts);
    if (texts == NULL) abort();
    return texts;
}

/* The plan's command line and what only a supervisor gives. The array is ours, its texts are borrowed. */
static char **make_argv(const struct plan_process *process, char *const *extra, size_t extra_count)
{
    size_t n = count_texts(process->argv);
    char **argv = allocate_texts(n + extra_count);
    memcpy(argv, process->argv, n * sizeof *argv);
    memcpy(argv + n, extra, extra_count * sizeof *argv);
    return argv;
}

static bool same_key(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");
    return strncmp(a, b, n + 1) == 0;
}

/* Our environment with the plan's additions in place of what they name. The array is ours, its texts are
 * borrowed. */
static char **make_env(char *const *additions)
{
    size_t more = count_texts(additions), n = 0;
    char **env = allocate_texts(count_texts(environ) + more);
    for (char **e = environ; *e != NULL; e++) {
        bool replaced = false;
        for (size_t i = 0; i < more; i++) replaced = replaced || same_key(additions[i], *e);
        if (!replaced) env[n++] = *e;
    }
    for (size_t i = 0; i < more; i++) env[n++] = additions[i];
    return env;
}

/* Order matters: each target is filled only after whatever held that number as a source has been copied: 0 to
 * 2 come first and theirs are above, the last two's are above all (see lift). */
static int add_descriptors(posix_spawn_file_actions_t *actions, const struct descriptors *fds)
{
    const int sources[] = {fds->in, fds->out, fds->error, fds->status, fds->control};
    for (int target = 0; target <= SUPERVISOR_CONTROL_FD; target++) {
        int rc = sources[target] >= 0
                     ? posix_spawn_file_actions_adddup2(actions, sources[target], target)
                     : posix_spawn_file_actions_addopen(actions, target, "/dev/null", O_RDWR, 0);
        if (rc != 0) return rc;
    }
    return posix_spawn_file_actions_addclosefrom_np(actions, SUPERVISOR_CONTROL_FD + 1);
}

static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawnattr_setsigmask(attributes, &none);
    if (rc == 0) rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (rc == 0) rc = posix_spawnattr_setpgroup(attributes, 0);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attributes,
                                      POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return rc;
}

/* Move a descriptor out of the way of the targets. */
static thea_rc lift(int *fd, struct thea_err *err)
{
    int high = fcntl(*fd, F_DUPFD_CLOEXEC, SUPERVISOR_CONTROL_FD + 1);
    if (high < 0) return thea_fail(err, THEA_EOS, "cannot copy a descriptor: %s", strerror(errno));
    close(*fd);
    *fd = high;
    return THEA_OK;
}

static int start(const struct supervisor *s, struct child *c, const struct descriptors *fds)
{
    char words[6][16] = {"--parent", "--status", "--control", "--incarnation", "--epoch", "--run-dir"};
    char numbers[5][24];
    snprintf(numbers[0], sizeof numbers[0], "%d", (int)getpid());
    snprintf(numbers[1], sizeof numbers[1], "%d", SUPERVISOR_STATUS_FD);
    snprintf(numbers[2], sizeof numbers[2], "%d", SUPERVISOR_CONTROL_FD);
    snprintf(numbers[3], sizeof numbers[3], "%u", (unsigned)c->incarnation);
    snprintf(numbers[4], sizeof numbers[4], "%llu", (unsigned long long)s->epoch);
    char *extra[] = {words[0], numbers[0], words[1], numbers[1], words[2], numbers[2],
                     words[3], numbers[3], words[4], numbers[4], words[5], s->o->run->path};
    char **argv = make_argv(c->process, extra, sizeof extra / sizeof *extra),
         **env = make_env(c->process->env);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0) goto out;
    rc = posix_spawnattr_init(&attributes);
    if (rc != 0) goto out_actions;
    rc = add_descriptors(&actions, fds);
    if (rc == 0) rc = set_attributes(&attributes);
    if (rc == 0) rc = posix_spawn(&c->pid, argv[0], &actions, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
out_actions:
    posix_spawn_file_actions_destroy(&actions);
out:
    free(argv);
    free(env);
    return rc;
}

/* What the source that reads "-" gets: ours as it is, or, if it is a terminal, the end of a pipe that we
 * fill. -1: /dev/null. */
static thea_rc open_stdin(int *fd, struct supervisor *s, const struct child *c, struct thea_err *err)
{
    int in = s->o->stdin_fd, ends[2];
    *fd = -1;
    if (in < 0 || !gets_stdin(s, c)) return THEA_OK;
    *fd = in;
    if (isatty(in) != 1) return THEA_OK;
    if (s->pump.given < 0) {
        if (pipe2(ends, O_CLOEXEC) != 0)
            return thea_fail(err, THEA_EOS, "cannot make a pipe: %s", strerror(errno));
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
        s->pump = (struct stdin_pump){.from = in, .to = ends[1], .given = ends[0]};
    }
    *fd = s->pump.given; /* kept: a source that is started again reads on where the old one stopped */
    return THEA_OK;
}

/* The counters of a process go on through its incarnations; documents do not: a sink counts its journal's. */
static void inherit(struct status_page *page, const struct status_page *old)
{
    const _Atomic uint64_t *from[] = {&old->progress,   &old->frames_in,  &old->frames_out,
                                      &old->tokens,     &old->bytes,      &old->busy_ns,
                                      &old->starved_ns, &old->blocked_ns, &old->copied_bytes};
    _Atomic uint64_t *to[] = {&page->progress,   &page->frames_in,  &page->frames_out,
                              &page->tokens,     &page->bytes,      &page->busy_ns,
                              &page->starved_ns, &page->blocked_ns, &page->copied_bytes};
    for (size_t i = 0; i < sizeof to / sizeof *to; i++) atomic_store(to[i], atomic_load(from[i]));
}

static thea_rc open_page(struct child *c, int *fd, struct thea_err *err)
{
    struct status_page *page = NULL;
    thea_rc rc = status_create(&page, fd, err);
    if (rc != THEA_OK) return rc;
    if (c->page != NULL) inherit(page, c->page);
    status_unmap(c->page);
    c->page = page;
    return lift(fd, err);
}

/* All that the last incarnation was. */
static void begin_incarnation(struct child *c)
{
    c->incarnation++;
    c->ended = c->asked = false;
    c->exit_status = c->signal = 0;
    c->killed_for = SUPERVISOR_NOT_KILLED;
    c->health = (struct child_health){.moved_ns = status_now_ns()};
    c->started_ns = status_now_ns();
}

thea_rc supervisor_spawn(struct supervisor *s, struct child *c, struct thea_err *err)
{
    struct descriptors fds = {-1, -1, -1, -1, -1};
    int ends[2] = {-1, -1};
    supervisor_close_stderr(s, c);
    thea_rc rc = rundir_open_log(&c->log_fd, s->o->run, c->process->name, err);
    if (rc == THEA_OK) rc = open_page(c, &fds.status, err);
    if (rc == THEA_OK) rc = supervisor_control_open(c, &fds.control, err);
    if (rc == THEA_OK) rc = lift(&fds.control, err);
    if (rc == THEA_OK) rc = open_stdin(&fds.in, s, c, err);
    if (rc != THEA_OK) goto out;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        rc = thea_fail(err, THEA_EOS, "cannot make a pipe: %s", strerror(errno));
        goto out;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fds.error = ends[1];
    fds.out = c->process->sink ? s->o->stdout_fd : -1;
    begin_incarnation(c);
    int failed = start(s, c, &fds);
    if (failed != 0) {
        c->pid = 0;
        c->ended = true;
        close(ends[0]);
        rc = thea_fail(err, THEA_EOS, "cannot start stage %s: %s: %s", c->process->name, c->process->argv[0],
                       strerror(failed));
        goto out;
    }
    c->stderr_fd = ends[0];
out:
    if (ends[1] >= 0) close(ends[1]);
    if (fds.status >= 0) close(fds.status);
    if (fds.control >= 0) close(fds.control);
    return rc;
}
