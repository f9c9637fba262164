/* The status page as a stage writes it. */
#include "graph/wire/stage_core.h"
#include "tests/graph/wire/supervised.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct status_page page;
static struct stage st = {.page = &page};

Test(stage_status, every_link_has_a_row_however_many_came_and_went)
{
    for (uint32_t round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < STATUS_LINKS_MAX; i++) {
            struct status_link *row = stage_status_row(&st, "tokens", round * 100 + i + 1, i % 2 == 0);
            cr_assert_not_null(row);
            cr_assert_eq(row->number, round * 100 + i + 1);
            cr_assert_eq(row->outgoing, i % 2 == 0);
            cr_assert_eq(row->frames, 0, "it counts what another link did");
            row->frames = 7;
        }
        cr_assert_null(stage_status_row(&st, "tokens", 9999, false), "a row that is in use was given away");
        for (uint32_t i = 0; i < STATUS_LINKS_MAX; i++)
            stage_status_row_closed(&st, round * 100 + i + 1, i % 2 == 0);
    }
    cr_assert_eq(page.link_count, STATUS_LINKS_MAX);
}

Test(stage_status, a_link_that_comes_back_has_one_row_and_counts_on)
{
    struct status_link *row = stage_status_row(&st, "tokens", 3, true);
    row->frames = 5;
    cr_assert_neq(stage_status_row(&st, "tokens", 3, false), row,
                  "the other end of a loop to itself is another");
    stage_status_row_closed(&st, 3, true);
    cr_assert_eq(stage_status_row(&st, "tokens", 3, true), row);
    cr_assert_eq(row->frames, 5);
    cr_assert_eq(row->closed, 0);
    cr_assert_eq(page.link_count, 2);
}

enum { THEIR_STATUS = 3, THEIR_CONTROL = 4 };

static pid_t start_count(int status, int control)
{
    extern char **environ;
    char parent[16], out[64];
    pid_t pid;
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    snprintf(out, sizeof out, "values=abstract://thea-%016x-1", (unsigned)getpid());
    const char *argv[] = {"thea-count", "--out",         out, "--status", "3", "--control", "4", "--parent",
                          parent,       "--incarnation", "1", "--epoch",  "1", NULL};
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, status, THEIR_STATUS);
    posix_spawn_file_actions_adddup2(&files, control, THEIR_CONTROL);
    int failed =
        posix_spawn(&pid, THEA_BIN_DIR "/tests/thea-count", &files, NULL, (char **)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&files);
    cr_assert_eq(failed, 0);
    return pid;
}

static bool has_started(void *running)
{
    const struct status_page *p = running;
    for (int i = 0; i < 1000000; i++) /* to see it at once */
        if (p->state != STATUS_STARTING) return true;
    return false;
}

/* A supervisor takes one that runs and has not spoken for one that never will. */
Test(stage_status, who_is_running_has_told_that_it_is_ready)
{
    for (int i = 0; i < 20; i++) {
        struct status_page *running;
        struct supervised s;
        int fd = -1;
        cr_assert_eq(status_create(&running, &fd, NULL), THEA_OK);
        supervised_open(&s);
        int status = fcntl(fd, F_DUPFD_CLOEXEC, 10), control = fcntl(s.theirs, F_DUPFD_CLOEXEC, 10);
        pid_t pid = start_count(status, control);
        bool started = run_until(has_started, running, RUN_LIMIT_S);
        bool told = supervised_heard(&s, "'ready'");
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        cr_assert(started, "it does not start");
        cr_assert(told, "it runs and has not said that it is ready");
        close(status);
        close(control);
        close(s.theirs);
        close(fd);
        supervised_close(&s);
        status_unmap(running);
    }
}
