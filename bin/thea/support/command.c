/* Parsing a command line against a command's table. Invariant: everything in `given` passed value_parse for
 * its type. */
#include "bin/thea/support/command.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const color_choices[] = {"auto", "always", "never", NULL};

const struct command_option command_common_options[] = {
    {"quiet", 'q', VALUE_BOOL, NULL, "errors alone", NULL},
    {"verbose", 'v', VALUE_BOOL, NULL, "say more (-vv: everything)", NULL},
    {"color", 0, VALUE_CHOICE, "WHEN", "auto (a terminal), always, never", color_choices},
    {"help", 'h', VALUE_BOOL, NULL, "this text", NULL},
    {0},
};

static const struct command_option *find_in(const struct command_option *options, const char *name,
                                            size_t len, char letter)
{
    for (const struct command_option *o = options; o != NULL && o->name != NULL; o++) {
        if (letter != 0 ? o->letter == letter : strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    }
    return NULL;
}

static const struct command_option *find_option(const struct command *c, const char *name, size_t len,
                                                char letter)
{
    const struct command_option *o = find_in(c->options, name, len, letter);
    return o != NULL ? o : find_in(command_common_options, name, len, letter);
}

static thea_rc unknown_option(const struct command *c, const char *word, struct thea_err *err)
{
    const char *names[64];
    size_t n = 0;
    for (const struct command_option *o = c->options; o != NULL && o->name != NULL && n < 50; o++)
        names[n++] = o->name;
    for (const struct command_option *o = command_common_options; o->name != NULL; o++) names[n++] = o->name;
    names[n] = NULL;
    char bare[64];
    snprintf(bare, sizeof bare, "%s", word + strspn(word, "-"));
    bare[strcspn(bare, "=")] = '\0';
    const char *near = value_nearest(bare, names);
    return thea_fail(err, THEA_EUSAGE, "%s: unknown option '%s'%s%s%s\n  thea %s --help lists its options",
                     c->name, word, near != NULL ? " (did you mean '--" : "", near != NULL ? near : "",
                     near != NULL ? "'?)" : "", c->name);
}

struct parse {
    struct command_args *args;
    char **argv;
    int argc, at;
    int verbose;
    bool help;
};

/* Apply what is everybody's; true if `o` was such an option. */
static bool apply_common(struct parse *p, const struct command_option *o, const char *value)
{
    bool on = strcmp(value, "true") == 0;
    if (o < command_common_options ||
        o >= command_common_options + sizeof command_common_options / sizeof *command_common_options)
        return false;
    if (strcmp(o->name, "help") == 0) p->help = on;
    if (strcmp(o->name, "quiet") == 0 && on) thea_log_set_level(THEA_LOG_ERROR);
    if (strcmp(o->name, "verbose") == 0 && on)
        thea_log_set_level(++p->verbose > 1 ? THEA_LOG_DEBUG : THEA_LOG_INFO);
    if (strcmp(o->name, "color") == 0) {
        thea_log_set_color(strcmp(value, "always") == 0  ? THEA_COLOR_ALWAYS
                           : strcmp(value, "never") == 0 ? THEA_COLOR_NEVER
                                                         : THEA_COLOR_AUTO);
    }
    return true;
}

static thea_rc give(struct parse *p, const struct command_option *o, const char *value, struct thea_err *err)
{
    struct command_args *args = p->args;
    struct value_limits limits = {0, 0, o->choices};
    struct value checked;
    if (value_parse(&checked, o->type, &limits, value, err) != THEA_OK) {
        return thea_fail_prefix(err, "%s: --%s", args->command->name, o->name);
    }
    if (apply_common(p, o, value) && strcmp(o->name, "quiet") != 0 && strcmp(o->name, "verbose") != 0)
        return THEA_OK;
    args->given[args->given_count++] = (struct command_given){o, value};
    return THEA_OK;
}

static thea_rc take_value(struct parse *p, const struct command_option *o, const char *shown,
                          const char **value, struct thea_err *err)
{
    if (p->at + 1 >= p->argc) {
        return thea_fail(err, THEA_EUSAGE, "%s: option '%s' needs a value: %s %s", p->args->command->name,
                         shown, shown, o->argument != NULL ? o->argument : "VALUE");
    }
    *value = p->argv[++p->at];
    return THEA_OK;
}

static thea_rc parse_long(struct parse *p, const char *word, struct thea_err *err)
{
    const struct command *c = p->args->command;
    const char *name = word + 2;
    size_t len = strcspn(name, "=");
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    const struct command_option *o = find_option(c, name, len, 0);
    if (o == NULL && strncmp(name, "no-", 3) == 0 && value == NULL) {
        o = find_option(c, name + 3, len - 3, 0);
        if (o != NULL && o->type == VALUE_BOOL) return give(p, o, "false", err);
        o = NULL;
    }
    if (o == NULL) return unknown_option(c, word, err);
    if (value == NULL && o->type == VALUE_BOOL) value = "true";
    if (value == NULL && o->argument != NULL && o->argument[0] == '[') value = o->choices[0];
    if (value == NULL) {
        thea_rc rc = take_value(p, o, word, &value, err);
        if (rc != THEA_OK) return rc;
    }
    return give(p, o, value, err);
}

/* -q, -vv, -mDIR, -m DIR */
static thea_rc parse_letters(struct parse *p, const char *word, struct thea_err *err)
{
    for (const char *at = word + 1; *at != '\0'; at++) {
        const struct command_option *o = find_option(p->args->command, NULL, 0, *at);
        if (o == NULL) return unknown_option(p->args->command, word, err);
        const char *value = "true";
        bool rest = o->type != VALUE_BOOL;
        if (rest && at[1] != '\0')
            value = at + 1;
        else if (rest) {
            thea_rc rc = take_value(p, o, word, &value, err);
            if (rc != THEA_OK) return rc;
        }
        thea_rc rc = give(p, o, value, err);
        if (rc != THEA_OK || rest) return rc;
    }
    return THEA_OK;
}

static thea_rc check_operands(const struct command_args *args, struct thea_err *err)
{
    const struct command *c = args->command;
    if (args->operand_count < c->min_operands) {
        return thea_fail(err, THEA_EUSAGE, "%s: %s is missing\n  usage  thea %s [OPTION…] %s", c->name,
                         args->operand_count == 0 ? c->operands : "an operand", c->name, c->operands);
    }
    if (args->operand_count > c->max_operands) {
        return thea_fail(err, THEA_EUSAGE, "%s: one too many: '%s'\n  usage  thea %s [OPTION…] %s", c->name,
                         args->operands[c->max_operands], c->name, c->operands != NULL ? c->operands : "");
    }
    return THEA_OK;
}

thea_rc command_parse(struct command_args *out, const struct command *command, int argc, char **argv,
                      struct thea_err *err)
{
    *out = (struct command_args){.command = command, .argc = argc, .argv = argv};
    size_t letters = 1;
    for (int i = 0; i < argc; i++) letters += strlen(argv[i]);
    out->operands = calloc((size_t)argc + 1, sizeof *out->operands);
    out->given = calloc(letters, sizeof *out->given);
    if (out->operands == NULL || out->given == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    struct parse p = {.args = out, .argv = argv, .argc = argc};
    bool options = true;
    for (p.at = 2; p.at < argc; p.at++) {
        const char *word = argv[p.at];
        thea_rc rc = THEA_OK;
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && strncmp(word, "--", 2) == 0)
            rc = parse_long(&p, word, err);
        else if (options && word[0] == '-' && word[1] != '\0')
            rc = parse_letters(&p, word, err);
        else
            out->operands[out->operand_count++] = word;
        if (rc != THEA_OK) return rc;
    }
    return p.help ? THEA_DONE : check_operands(out, err);
}

void command_args_fini(struct command_args *args)
{
    free(args->operands);
    free(args->given);
}

const char *command_value(const struct command_args *args, const char *option)
{
    const char *found = NULL;
    for (size_t i = 0; i < args->given_count; i++) {
        if (strcmp(args->given[i].option->name, option) == 0) found = args->given[i].value;
    }
    return found;
}

const char **command_all_values(const struct command_args *args, const char *option, size_t *count)
{
    const char **values = calloc(args->given_count + 1, sizeof *values);
    if (values == NULL) abort();
    *count = 0;
    for (size_t i = 0; i < args->given_count; i++) {
        if (strcmp(args->given[i].option->name, option) == 0) values[(*count)++] = args->given[i].value;
    }
    return values;
}

bool command_flag(const struct command_args *args, const char *option, bool fallback)
{
    const char *value = command_value(args, option);
    return value == NULL ? fallback : strcmp(value, "true") == 0;
}

int command_int(const struct command_args *args, const char *option, int fallback)
{
    const char *text = command_value(args, option);
    long value = text != NULL ? strtol(text, NULL, 10) : fallback;
    return value < INT_MIN ? INT_MIN : value > INT_MAX ? INT_MAX : (int)value;
}
