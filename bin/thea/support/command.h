/* Commands: one file each, one table each; thea.c finds the command of a verb. The table also makes --help,
 * the man page and the completion. */
#ifndef BIN_THEA_COMMAND_H
#define BIN_THEA_COMMAND_H

#include "graph/err.h"
#include "graph/log.h"
#include "graph/value.h"

struct command_option {
    const char *name;     /* long name without dashes: "max-tokens" */
    char letter;          /* 'm', or 0 */
    value_type type;      /* VALUE_BOOL takes no value (--name, --no-name) */
    const char *argument; /* "DIR", for help; NULL for VALUE_BOOL; "[=json]": may be left out, then it is the
                             first choice */
    const char *meaning;  /* NULL: for this tree's own tools, not offered to people */
    const char *const *choices; /* VALUE_CHOICE */
};

struct command_args { /* parsed against the table */
    const struct command *command;
    const char **operands; /* NULL-terminated */
    size_t operand_count;
    struct command_given {
        const struct command_option *option;
        const char *value;
    } * given; /* in order; VALUE_BOOL: "true"/"false" */
    size_t given_count;
    int argc;
    char **argv; /* the whole command line, "thea" first */
};

struct command {
    const char *name;
    const char *operands;    /* "FILE|NAME [INPUT…]", for the usage line */
    const char *summary;     /* one line */
    const char *description; /* for help and the man page: a paragraph or two, no line over 100 columns */
    const struct command_option
        *options;                /* ended by {0}; --help, --quiet, --verbose, --color are everybody's */
    const char *const *examples; /* ended by NULL: "command   what it does" */
    size_t min_operands, max_operands;
    int (*run)(const struct command_args *args); /* returns the exit status */
};

/* The last value given for an option, or NULL; whether a boolean is on. */
const char *command_value(const struct command_args *args, const char *option);
/* All values of a repeatable option, ended by NULL, borrowed from args; free() the list. */
const char **command_all_values(const struct command_args *args, const char *option, size_t *count);
bool command_flag(const struct command_args *args, const char *option, bool fallback);
/* The value of an integer option (the table has checked it); one beyond int is INT_MIN or INT_MAX. */
int command_int(const struct command_args *args, const char *option, int fallback);

/* Parse argv[2…] against the table: GNU long options in any order, --opt=V, --no-BOOL, short letters, "--"
 * ends them; -q, -v and --color are applied to the log. Errors: THEA_EUSAGE with the nearest option.
 * THEA_DONE: --help was asked for (nothing is printed here). */
THEA_CHECK thea_rc command_parse(struct command_args *out, const struct command *command, int argc,
                                 char **argv, struct thea_err *err);
void command_args_fini(struct command_args *args);

/* The options that every command has, ended by {0}. */
extern const struct command_option command_common_options[];

/* Every command, sorted by name, NULL-terminated (made by the build from the folder's files: X.c defines
 * command_X). */
extern const struct command *const commands[];

#endif
