/* Wrong pipelines: each file of tests/goldens/pipelines/bad is checked by the program as a user would, and
 * what it says and its status must be what stands beside it, to the letter. tests/goldens/pipelines/update
 * writes them anew. */
#include "graph/control/diag.h"

#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BAD THEA_SOURCE_DIR "/tests/goldens/pipelines/bad"

static int is_yaml(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return dot != NULL && strcmp(dot, ".yaml") == 0;
}

/* The text of a golden file; free it. */
static char *golden(const char *name)
{
    char *path = run_golden(name);
    struct buf b = {0};
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    for (int c; (c = getc(f)) != EOF;) buf_add_char(&b, (char)c);
    fclose(f);
    free(path);
    return buf_take(&b);
}

/* Replace each `from` by `to`. */
static char *replaced(const char *text, const char *from, const char *to)
{
    struct buf b = {0};
    for (const char *at; (at = strstr(text, from)) != NULL; text = at + strlen(from)) {
        buf_add(&b, text, (size_t)(at - text));
        buf_add_text(&b, to);
    }
    buf_add_text(&b, text);
    return buf_take(&b);
}

/* A copy of thea in a folder without stage programs, so that the only kinds are those of the tests. */
static char *lone_thea(void)
{
    char *dir = run_temp_dir();
    struct run_result r = {0};
    run_shell(&r, NULL, RUN_LIMIT_S, "cp '%s/thea' '%s/thea'", run_bin_dir(), dir);
    cr_assert_eq(r.status, 0, "%s", buf_text(&r.err));
    run_result_fini(&r);
    return dir;
}

static char *check(const char *tool, const char *name)
{
    struct run_result r = {0};
    struct buf b = {0};
    run_shell(&r, BAD, RUN_LIMIT_S,
              "env -u THEA_MODEL -u THEA_THREADS THEA_STAGE_PATH='%s/tests/support/kinds' '%s/thea' check "
              "--color never '%s' 2>&1",
              run_source_dir(), tool, name);
    char *clean = replaced(buf_text(&r.out), run_source_dir(), "SOURCE");
    buf_printf(&b, "%sstatus %d\n", clean, r.status);
    free(clean);
    run_result_fini(&r);
    return buf_take(&b);
}

static void check_codes(const char *said)
{
    for (const char *at = said; (at = strstr(at, ": error[")) != NULL; at += 8) {
        char code[5] = {0};
        memcpy(code, at + 8, 4);
        cr_expect_not_null(diag_explain(code), "no page for %s", code);
    }
}

Test(bad, every_wrong_pipeline_gets_its_own_clear_message_and_status, .timeout = 300)
{
    struct dirent **files = NULL;
    int n = scandir(BAD, &files, is_yaml, alphasort);
    cr_assert_geq(n, 40, "the wrong pipelines are in " BAD);
    char *tool = lone_thea();
    for (int i = 0; i < n; i++) {
        struct buf name = {0};
        buf_printf(&name, "pipelines/bad/%.*s.txt", (int)(strlen(files[i]->d_name) - 5), files[i]->d_name);
        char *said = check(tool, files[i]->d_name), *want = golden(buf_text(&name));
        cr_expect_str_eq(said, want, "%s\n--- said\n%s--- expected\n%s", files[i]->d_name, said, want);
        check_codes(said);
        free(said);
        free(want);
        buf_fini(&name);
        free(files[i]);
    }
    free(files);
    free(tool);
}
