/* Run directories: made, locked, refused, pruned. */
#include "graph/control/rundir.h"
#include "graph/json.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[64];

static void make_base(void)
{
    strcpy(base, "/tmp/thea-rundir-XXXXXX");
    cr_assert_not_null(mkdtemp(base));
    setenv("THEA_RUNS", base, 1);
}

static void remove_base(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", base);
    cr_expect_eq(system(command), 0);
}

TestSuite(rundir, .init = make_base, .fini = remove_base);

static char *below(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", base, name);
    return path;
}

static void expect_fails(const char *dir, thea_rc rc, const char *part)
{
    struct rundir r;
    struct thea_err err = {0};
    cr_expect_eq(rundir_create(&r, dir, "p", &err), rc, "%s", err.message);
    cr_expect_not_null(strstr(err.message, part), "'%s' is not in: %s", part, err.message);
}

Test(rundir, has_the_pipelines_name_and_the_time_and_is_its_owners_alone)
{
    struct rundir r;
    struct stat st;
    int date, clock;
    cr_assert_eq(rundir_create(&r, NULL, "score", NULL), THEA_OK);
    cr_expect_eq(sscanf(r.name, "score-%8d-%6d", &date, &clock), 2, "%s", r.name);
    cr_expect_eq(stat(r.path, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0700);
    rundir_close(&r);
}

Test(rundir, of_the_same_second_get_different_names)
{
    struct rundir r[3];
    for (int i = 0; i < 3; i++) cr_assert_eq(rundir_create(&r[i], NULL, "score", NULL), THEA_OK);
    cr_expect_str_neq(r[0].path, r[1].path);
    cr_expect_str_neq(r[1].path, r[2].path);
    for (int i = 0; i < 3; i++) rundir_close(&r[i]);
}

Test(rundir, logs_are_named_after_processes_without_slashes)
{
    struct rundir r;
    int fd;
    cr_assert_eq(rundir_create(&r, NULL, "score", NULL), THEA_OK);
    char *path = rundir_log_path(&r, "layers/1:0");
    cr_expect_not_null(strstr(path, "/logs/layers.p1.r0.log"), "%s", path);
    cr_expect_eq(rundir_open_log(&fd, &r, "layers/1:0", NULL), THEA_OK);
    cr_expect_eq(access(path, F_OK), 0);
    close(fd);
    free(path);
    rundir_close(&r);
}

Test(rundir, record_holds_the_command_and_every_processs_command_line)
{
    struct rundir r;
    char *load[] = {(char *)"/bin/thea-load", (char *)"--name", (char *)"load", NULL},
         *env[] = {(char *)"A=b", NULL};
    char *command[] = {(char *)"thea", (char *)"run", (char *)"x.yaml", NULL};
    struct plan_process process = {.name = (char *)"load", .argv = load, .env = env};
    struct plan plan = {.run = 0xabc, .processes = &process, .process_count = 1};
    struct json_node *record;
    cr_assert_eq(rundir_create(&r, below("here"), "p", NULL), THEA_OK);
    cr_assert_eq(rundir_record(&r, &plan, 3, command, NULL), THEA_OK);
    cr_assert_eq(json_read_file(&record, below("here/run.json"), 1 << 20, NULL), THEA_OK);
    cr_expect_str_eq(json_text_or(record, "run", ""), "0000000000000abc");
    cr_expect_str_eq(json_text(json_item(json_member(record, "command"), 2), NULL), "x.yaml");
    const struct json_node *one = json_item(json_member(record, "processes"), 0);
    cr_expect_eq(json_count(json_member(one, "argv")), 3);
    cr_expect_str_eq(json_text(json_item(json_member(one, "env"), 0), NULL), "A=b");
    cr_expect_neq(access(below("here/run.json.new"), F_OK), 0, "a temporary file is left");
    json_free(record);
    rundir_close(&r);
}

Test(rundir, that_is_live_is_busy)
{
    struct rundir r;
    cr_assert_eq(rundir_create(&r, below("live"), "p", NULL), THEA_OK);
    expect_fails(below("live"), THEA_EBUSY, "a run is going on");
    rundir_close(&r);
}

Test(rundir, that_holds_an_ended_run_is_refused_with_a_hint)
{
    struct rundir r;
    cr_assert_eq(rundir_create(&r, below("ended"), "p", NULL), THEA_OK);
    cr_assert_eq(rundir_write(&r, "run.json", "{}", 2, NULL), THEA_OK);
    rundir_close(&r);
    expect_fails(below("ended"), THEA_EUSAGE, "remove that one first");
}

Test(rundir, that_is_somebodys_full_directory_is_refused_and_left_as_it_was)
{
    cr_assert_eq(mkdir(below("mine"), 0700), 0);
    cr_assert_eq(mkdir(below("mine/notes"), 0700), 0);
    expect_fails(below("mine"), THEA_EUSAGE, "is not empty");
    cr_expect_neq(access(below("mine/lock"), F_OK), 0);
    cr_expect_eq(access(below("mine/notes"), F_OK), 0);
}

Test(rundir, that_cannot_be_made_says_what_to_set)
{
    FILE *f = fopen(below("file"), "w");
    cr_assert_not_null(f);
    fclose(f);
    setenv("THEA_RUNS", below("file"), 1);
    expect_fails(NULL, THEA_ECREATE, "set THEA_RUNS");
    expect_fails(below("file/x"), THEA_ECREATE, "cannot make the run directory");
    unsetenv("THEA_RUNS");
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    expect_fails(NULL, THEA_ECREATE, "neither THEA_RUNS, XDG_STATE_HOME nor HOME is set");
}

static void make_old(const char *name, const char *report)
{
    struct rundir r;
    cr_assert_eq(rundir_create(&r, below(name), "p", NULL), THEA_OK);
    cr_assert_eq(rundir_write(&r, "run.json", "{}", 2, NULL), THEA_OK);
    if (report != NULL) cr_assert_eq(rundir_write(&r, "report.json", report, strlen(report), NULL), THEA_OK);
    rundir_close(&r);
}

Test(rundir, keeps_the_newest_20_completed_runs_and_every_one_that_was_broken_off)
{
    struct rundir r;
    char name[32];
    for (int i = 0; i < 25; i++) {
        snprintf(name, sizeof name, "old-%02d", i);
        make_old(name, "{\"completed\": true}");
        struct timespec times[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};
        snprintf(name, sizeof name, "old-%02d/report.json", i);
        cr_assert_eq(utimensat(AT_FDCWD, below(name), times, 0), 0);
    }
    make_old("failed", "{\"completed\": false}");
    make_old("killed", NULL);
    cr_assert_eq(mkdir(below("foreign"), 0700), 0);
    cr_assert_eq(rundir_create(&r, NULL, "p", NULL), THEA_OK);
    cr_expect_neq(access(below("old-04"), F_OK), 0);
    cr_expect_eq(access(below("old-05"), F_OK), 0);
    cr_expect_eq(access(below("old-24"), F_OK), 0);
    cr_expect_eq(access(below("failed"), F_OK), 0);
    cr_expect_eq(access(below("killed"), F_OK), 0);
    cr_expect_eq(access(below("foreign"), F_OK), 0);
    rundir_close(&r);
}
