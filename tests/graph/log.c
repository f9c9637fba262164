/* The log: levels, prefix, colours, one write a line. */
#include "graph/log.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int saved = -1, captured[2];

static void capture(void)
{
    unsetenv("THEA_LOG");
    unsetenv("NO_COLOR");
    cr_assert_eq(pipe(captured), 0);
    saved = dup(STDERR_FILENO);
    dup2(captured[1], STDERR_FILENO);
    close(captured[1]);
    thea_log_init("test");
}

static const char *said(void)
{
    static char text[8192];
    dup2(saved, STDERR_FILENO); /* closes the pipe's last writing end */
    ssize_t n = read(captured[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

Test(log, warnings_show_and_information_does_not)
{
    capture();
    thea_info("hidden");
    thea_warning("%d lines", 3);
    cr_assert_str_eq(said(), "test: warning: 3 lines\n");
}

Test(log, quiet_leaves_errors_alone)
{
    capture();
    thea_log_set_level(THEA_LOG_ERROR);
    thea_warning("hidden");
    thea_error("shown");
    cr_assert_str_eq(said(), "test: error: shown\n");
}

Test(log, verbose_shows_all)
{
    capture();
    thea_log_set_level(THEA_LOG_DEBUG);
    thea_info("a");
    thea_debug("b");
    cr_assert_str_eq(said(), "test: info: a\ntest: debug: b\n");
}

Test(log, the_environment_sets_the_level)
{
    capture();
    setenv("THEA_LOG", "debug", 1);
    thea_log_init("test");
    thea_debug("b");
    cr_assert_str_eq(said(), "test: debug: b\n");
}

Test(log, colours_only_where_wanted)
{
    capture();
    thea_error("plain");
    thea_log_set_color(THEA_COLOR_ALWAYS);
    thea_error("red");
    const char *text = said();
    cr_assert_eq(strncmp(text, "test: error: plain\n", 19), 0);
    cr_assert(strstr(text, "\033[1;31m") != NULL, "%s", text);
    thea_log_set_color(THEA_COLOR_NEVER);
    cr_assert_not(thea_log_colors(STDERR_FILENO));
}

Test(log, a_line_that_is_too_long_still_ends)
{
    capture();
    char longer[10000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    thea_error("%s", longer);
    const char *text = said();
    cr_assert_eq(text[strlen(text) - 1], '\n');
    cr_assert_leq(strlen(text), 4096);
}

Test(log, a_failure_is_logged_and_gives_its_status)
{
    capture();
    struct thea_err err = {0};
    thea_fail(&err, THEA_ENOINPUT, "no such thing\n  looked in  here");
    cr_assert_eq(thea_log_failure(&err), 66);
    cr_assert_str_eq(said(), "test: error: no such thing\n  looked in  here\n");
}
