/* Run programs and read what they say: see run.h. Invariants: no process of a run is left when its result is
 * there, nor are its files; and none is left when the test's process is gone, whose failed assertions,
 * crashes and timeouts run nothing of this. So every run has a guard. */
#include "tests/support/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void give_up(const char *what)
{
    fprintf(stderr, "tests/support/run: %s: %s\n", what, strerror(errno));
    abort();
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

const char *run_source_dir(void)
{
    return THEA_SOURCE_DIR;
}

const char *run_bin_dir(void)
{
    return THEA_BIN_DIR;
}

/* --- temporary directories --- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_dir(char *out, size_t size)
{
    const char *base = getenv("TMPDIR");
    int n = snprintf(out, size, "%s/thea-test-XXXXXX", base != NULL && base[0] != '\0' ? base : "/tmp");
    if (n < 0 || (size_t)n >= size || mkdtemp(out) == NULL) give_up("temporary directory");
}

static struct {
    char **paths;
    size_t count;
    pid_t owner;
} temp_dirs;

static void remove_temp_dirs(void)
{
    if (temp_dirs.owner != getpid()) return; /* a forked child */
    for (size_t i = 0; i < temp_dirs.count; i++) {
        remove_tree(temp_dirs.paths[i]);
        free(temp_dirs.paths[i]);
    }
    free(temp_dirs.paths);
    temp_dirs.paths = NULL;
    temp_dirs.count = 0;
}

char *run_temp_dir(void)
{
    char path[4096];
    make_dir(path, sizeof path);
    if (temp_dirs.owner != getpid()) {
        temp_dirs.owner = getpid();
        temp_dirs.count = 0;
        temp_dirs.paths = NULL;
        atexit(remove_temp_dirs);
    }
    temp_dirs.paths = realloc(temp_dirs.paths, (temp_dirs.count + 1) * sizeof *temp_dirs.paths);
    if (temp_dirs.paths == NULL) give_up("memory");
    temp_dirs.paths[temp_dirs.count++] = strdup(path);
    return strdup(path);
}

/* --- starting --- */

/* The environment with the build's programs first in PATH; free it and its first item. */
static char **test_environment(void)
{
    size_t n = 0, kept = 1;
    while (environ[n] != NULL) n++;
    char **env = calloc(n + 2, sizeof *env);
    struct buf path = {0};
    if (env == NULL) give_up("memory");
    buf_printf(&path, "PATH=%s:%s/tests:%s", run_bin_dir(), run_bin_dir(), getenv("PATH"));
    env[0] = buf_take(&path);
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "PATH=", 5) != 0) env[kept++] = environ[i];
    return env;
}

/* A process in the group `group` (0: one of its own, whose number is its pid), its signals as at a login. */
static pid_t spawn(const char *command, posix_spawn_file_actions_t *files, pid_t group)
{
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)command, NULL};
    char **env = test_environment();
    pid_t pid;
    posix_spawnattr_t attr;
    sigset_t defaults, none;
    sigfillset(&defaults);
    sigemptyset(&none);
    posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attr, group);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setsigmask(&attr, &none);
    errno = posix_spawn(&pid, "/bin/sh", files, &attr, argv, env);
    if (errno != 0) give_up(command);
    posix_spawnattr_destroy(&attr);
    free(env[0]);
    free(env);
    return pid;
}

/* A pipe whose writing end only the test's process has: it ends when that process does. */
static int lifeline(void)
{
    static int ends[2];
    static pid_t owner;
    if (owner != getpid() && pipe2(ends, O_CLOEXEC) != 0) give_up("pipe");
    owner = getpid();
    return ends[0];
}

/* The first of a new process group: it waits for the lifeline's end and kills the group. The kernel sends
 * SIGHUP to a group that has lost its last parent and has a stopped process. */
static pid_t start_guard(void)
{
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, lifeline(), STDIN_FILENO);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid = spawn("trap '' HUP; read -r line; kill -KILL 0", &files, 0);
    posix_spawn_file_actions_destroy(&files);
    return pid;
}

static void start(struct run_child *c, const char *dir, const char *command)
{
    char out[128], err[128];
    make_dir(c->dir, sizeof c->dir);
    snprintf(out, sizeof out, "%s/out", c->dir);
    snprintf(err, sizeof err, "%s/err", c->dir);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_addchdir_np(&files, dir != NULL ? dir : run_source_dir());
    c->group = start_guard();
    c->pid = spawn(command, &files, c->group);
    posix_spawn_file_actions_destroy(&files);
}

static char *format(const char *fmt, va_list args)
{
    char *text;
    if (vasprintf(&text, fmt, args) < 0) give_up("memory");
    return text;
}

void run_start(struct run_child *c, const char *dir, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *command = format(fmt, args);
    va_end(args);
    start(c, dir, command);
    free(command);
}

/* --- waiting --- */

static void read_file(struct buf *out, const char *dir, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;
    if (fd < 0) give_up(path);
    do {
        n = read(fd, buf_reserve(out, 1 << 16), 1 << 16);
        out->len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    buf_reserve(out, 1);
    out->data[out->len] = '\0';
    close(fd);
}

/* True: it ended. */
static bool wait_until(pid_t pid, double deadline)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0) give_up("pidfd_open");
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int got;
    do {
        double left = deadline - now();
        got = poll(&p, 1, left > 0 ? (int)(left * 1000) + 1 : 0);
    } while (got < 0 && errno == EINTR);
    close(fd);
    return got > 0;
}

int run_wait(struct run_child *c, double deadline_s, struct run_result *r)
{
    double begin = now();
    int status = 0;
    bool ended = wait_until(c->pid, begin + deadline_s);
    kill(-c->group, SIGKILL); /* the shell's children too, before the group's number can be used again */
    if (waitpid(c->pid, &status, 0) != c->pid || waitpid(c->group, NULL, 0) != c->group) give_up("waitpid");
    *r = (struct run_result){.seconds = now() - begin};
    r->status = !ended ? 124 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    read_file(&r->out, c->dir, "out");
    read_file(&r->err, c->dir, "err");
    remove_tree(c->dir);
    return r->status;
}

void run_shell(struct run_result *r, const char *dir, double deadline_s, const char *fmt, ...)
{
    struct run_child child;
    va_list args;
    va_start(args, fmt);
    char *command = format(fmt, args);
    va_end(args);
    start(&child, dir, command);
    run_wait(&child, deadline_s, r);
    free(command);
}

void run_result_fini(struct run_result *r)
{
    buf_fini(&r->out);
    buf_fini(&r->err);
}

size_t run_count_processes(const char *part)
{
    static char line[65536];
    size_t found = 0;
    DIR *proc = opendir("/proc");
    if (proc == NULL) give_up("/proc");
    for (const struct dirent *e = readdir(proc); e != NULL; e = readdir(proc)) {
        char path[300];
        if (strtol(e->d_name, NULL, 10) <= 0) continue;
        snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
        FILE *f = fopen(path, "r");
        size_t n = f != NULL ? fread(line, 1, sizeof line, f) : 0;
        found += memmem(line, n, part, strlen(part)) != NULL;
        if (f != NULL) fclose(f);
    }
    closedir(proc);
    return found;
}

bool run_until(bool (*condition)(void *context), void *context, double deadline_s)
{
    const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    double end = now() + deadline_s;
    while (!condition(context)) {
        if (now() > end) return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

char *run_golden(const char *name)
{
    char *path;
    if (asprintf(&path, "%s/tests/goldens/%s", run_source_dir(), name) < 0) give_up("memory");
    if (access(path, R_OK) != 0) give_up(path);
    return path;
}
