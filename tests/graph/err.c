/* Errors: messages, prefixes, and the exit status they lead to. */
#include "graph/err.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(err, a_failure_returns_its_code_and_keeps_its_message)
{
    struct thea_err err = {0};
    cr_assert_eq(thea_fail(&err, THEA_EDATA, "%s:%d: bad", "a.yaml", 3), THEA_EDATA);
    cr_assert_eq(err.rc, THEA_EDATA);
    cr_assert_str_eq(thea_err_message(&err), "a.yaml:3: bad");
}

Test(err, nobody_has_to_read_it)
{
    cr_assert_eq(thea_fail(NULL, THEA_EIO, "unread"), THEA_EIO);
    cr_assert_eq(thea_fail_prefix(NULL, "unread"), THEA_ESOFTWARE);
    cr_assert_str_eq(thea_err_message(NULL), "unknown error");
    cr_assert_str_eq(thea_err_message(&(struct thea_err){0}), "unknown error");
}

Test(err, a_prefix_goes_in_front)
{
    struct thea_err err = {0};
    thea_fail(&err, THEA_ENOINPUT, "no such file");
    cr_assert_eq(thea_fail_prefix(&err, "model '%s'", "x"), THEA_ENOINPUT);
    cr_assert_str_eq(err.message, "model 'x': no such file");
}

Test(err, a_message_that_does_not_fit_ends_in_dots_between_characters)
{
    struct thea_err err = {0};
    char longer[3 * sizeof err.message];
    for (size_t i = 0; i + 2 < sizeof longer; i += 2) memcpy(longer + i, "\xc3\xa9", 2); /* é */
    longer[sizeof longer - 2] = '\0';
    thea_fail(&err, THEA_EDATA, "%s", longer);
    size_t n = strlen(err.message);
    cr_assert_str_eq(err.message + n - 3, "...");
    cr_assert_eq((n - 3) % 2, 0, "cut inside a character");
    thea_fail(&err, THEA_EDATA, "x%s", longer); /* the other parity */
    n = strlen(err.message);
    cr_assert_eq((n - 4) % 2, 0, "cut inside a character");
    thea_fail_prefix(&err, "prefix");
    cr_assert_eq(strncmp(err.message, "prefix: x", 9), 0);
    cr_assert_str_eq(err.message + strlen(err.message) - 3, "...");
}

Test(err, codes_from_64_are_exit_statuses_and_flow_is_none)
{
    cr_assert_eq(thea_exit_status(THEA_OK), 0);
    cr_assert_eq(thea_exit_status(THEA_DONE), 0);
    cr_assert_eq(thea_exit_status(THEA_EUSAGE), 64);
    cr_assert_eq(thea_exit_status(THEA_ECONFIG), 78);
    cr_assert_eq(thea_exit_status(THEA_EDOC), 70);
    cr_assert_eq(thea_exit_status(THEA_AGAIN), 70);
    cr_assert_eq(thea_exit_status((thea_rc)200), 70);
}

Test(err, an_output_that_cannot_be_made_says_what_to_do_where_that_is_plain)
{
    struct thea_err err;
    cr_assert_eq(thea_fail_create(&err, "no/such/out", ENOENT), THEA_ECREATE);
    cr_assert_str_eq(err.message, "cannot create 'no/such/out': No such file or directory\n"
                                  "  try  mkdir -p 'no/such', or another name for the output");
    cr_assert_eq(thea_fail_create(&err, "/out", EACCES), THEA_ECREATE);
    cr_assert_str_eq(err.message, "cannot create '/out': Permission denied");
    cr_assert_eq(thea_fail_create(NULL, "out", ENOENT), THEA_ECREATE);
}
