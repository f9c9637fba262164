/* thea: finds the command, or executes the stage program, that a verb names. One name space: a verb is a
 * command or a kind. */
#include "bin/thea/support/command.h"
#include "bin/thea/support/manual.h"
#include "graph/control/kinds.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define X(name) extern const struct command command_##name;
#include "commands.inc"
#undef X

#define X(name) &command_##name,
const struct command *const commands[] = {
#include "commands.inc"
    NULL};
#undef X

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; commands[i] != NULL; i++) {
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    }
    return NULL;
}

/* A full disk is an error; a reader that had enough is not. */
static int flush_stdout(int status)
{
    struct pollfd reader = {.fd = STDOUT_FILENO};
    bool lost = ferror(stdout) != 0; /* before: then the library has thrown away what it could not write */
    int why = fflush(stdout) != 0 ? errno : EIO;
    if ((!lost && ferror(stdout) == 0) || why == EPIPE || status != 0) return status;
    if (poll(&reader, 1, 0) > 0 && (reader.revents & POLLERR) != 0) return status; /* it had enough */
    thea_error("standard output: %s", lost ? "it could not be written to its end" : strerror(why));
    return 74;
}

static int run_command(const struct command *command, int argc, char **argv)
{
    struct thea_err err = {0};
    struct command_args args = {0};
    thea_rc rc = command_parse(&args, command, argc, argv, &err);
    int status;
    if (rc == THEA_DONE) {
        struct buf text = {0};
        manual_command(&text, command);
        status = fwrite(buf_text(&text), 1, text.len, stdout) == text.len ? 0 : 74;
        buf_fini(&text);
    } else {
        status = rc == THEA_OK ? command->run(&args) : thea_log_failure(&err);
    }
    command_args_fini(&args);
    return flush_stdout(status);
}

/* Replace this process by the stage program of a kind. Returns only on failure. */
static int run_kind(const char *kind, char **argv)
{
    struct thea_err err = {0};
    char *program = NULL;
    if (kind_find(&program, kind, ".", &err) != THEA_OK) return thea_log_failure(&err);
    argv[0] = program;
    execv(program, argv);
    thea_error("%s: %s", program, strerror(errno));
    free(program);
    return 71;
}

/* A verb that is neither: the nearest of both sorts. */
static int unknown_verb(const char *verb)
{
    char **kinds = kind_list();
    size_t n = 0, k = 0;
    while (commands[n] != NULL) n++;
    while (kinds[k] != NULL) k++;
    const char **names = calloc(n + k + 1, sizeof *names);
    if (names == NULL) abort();
    for (size_t i = 0; i < n; i++) names[i] = commands[i]->name;
    for (size_t i = 0; i < k; i++) names[n + i] = kinds[i];
    const char *near = value_nearest(verb, names);
    thea_error(
        "unknown command '%s'%s%s%s\n  thea --help lists the commands, thea stages the kinds of stages", verb,
        near != NULL ? " (did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?)" : "");
    free(names);
    kind_list_free(kinds);
    return 64;
}

static bool is_kind(const char *verb)
{
    char **kinds = kind_list();
    bool found = false;
    for (size_t i = 0; kinds[i] != NULL && !found; i++) found = strcmp(kinds[i], verb) == 0;
    kind_list_free(kinds);
    return found;
}

static int print_overview(FILE *to, int status)
{
    struct buf text = {0};
    manual_overview(&text);
    fwrite(buf_text(&text), 1, text.len, to);
    buf_fini(&text);
    return flush_stdout(status);
}

int main(int argc, char **argv)
{
    thea_log_init("thea");
    if (argc < 2) return print_overview(stderr, 64);
    const char *verb = argv[1];
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) return print_overview(stdout, 0);
    if (strcmp(verb, "--version") == 0) {
        printf("thea %s\n", THEA_VERSION);
        return flush_stdout(0);
    }
    const struct command *command = find_command(verb);
    if (command != NULL)
        signal(SIGPIPE, SIG_IGN); /* a reader that had enough is told by EPIPE, and no error */
    if (command != NULL) return run_command(command, argc, argv);
    if (is_kind(verb)) return run_kind(verb, argv + 1);
    return unknown_verb(verb);
}
