/* Completion scripts, from the commands' tables and the kinds' --describe. What an operand may be is read off
 * its usage line: words in lower case are themselves, KIND, CODE, TOPIC, MODEL and NAME are looked up. */
#include "bin/thea/support/manual.h"
#include "graph/control/kinds.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char bash_head[] =
    "# thea completion for bash: eval \"$(thea completion bash)\"\n"
    "_thea_models() { thea models --json 2>/dev/null | sed -n 's/^{\"name\": \"\\([^\"]*\\)\".*/\\1/p'; }\n"
    "_thea_runs() { thea ps --all --json 2>/dev/null | sed -n 's/^{\"name\": \"\\([^\"]*\\)\".*/\\1/p'; }\n"
    "_thea_codes() { thea explain 2>/dev/null | cut -d ' ' -f 1; }\n"
    "_thea_pipelines() {\n"
    "  local file\n"
    "  { echo pipelines; echo \"${THEA_PIPELINE_PATH-}\" | tr : '\\n'; echo '@PREFIX@/share/thea/pipelines'; "
    "} |\n"
    "    while IFS= read -r dir; do for file in \"$dir\"/*.yaml; do [ -e \"$file\" ] && basename \"$file\" "
    ".yaml; done; done\n"
    "}\n"
    "_thea() {\n"
    "  local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} words=\"\" files=yes\n"
    "  local prev=${COMP_WORDS[COMP_CWORD-1]}\n"
    "  if [ \"$cur\" = = ]; then cur=\"\"\n"
    "  elif [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
    "  if [ \"$COMP_CWORD\" -eq 1 ]; then verb=\"\"; fi\n"
    "  case $cur in -*) prev=\"\" ;; esac\n"
    "  case \"$verb $prev\" in\n"
    "    \" \"*) files=\"\"; words=\"";

static const char bash_tail[] =
    "  esac\n"
    "  COMPREPLY=()\n"
    "  while IFS= read -r word; do COMPREPLY+=(\"$word\"); done < <(compgen -W \"$words\" -- \"$cur\")\n"
    "  [ -z \"$files\" ] || while IFS= read -r word; do COMPREPLY+=(\"$word\"); done < <(compgen -f -- "
    "\"$cur\")\n"
    "}\n"
    "complete -o filenames -F _thea thea\n";

static void add_verbs(struct buf *out, char **kinds)
{
    for (size_t i = 0; commands[i] != NULL; i++) buf_printf(out, "%s ", commands[i]->name);
    for (size_t i = 0; kinds[i] != NULL; i++) buf_printf(out, "%s ", kinds[i]);
}

/* One word of a usage line, without brackets: true if it stands for files too. */
static bool add_operand(struct buf *out, const char *word, char **kinds)
{
    if (islower((unsigned char)word[0]))
        buf_printf(out, "%s ", word);
    else if (strcmp(word, "KIND") == 0)
        for (size_t i = 0; kinds[i] != NULL; i++) buf_printf(out, "%s ", kinds[i]);
    else if (strcmp(word, "RUN") == 0)
        buf_add_text(out, "$(_thea_runs) ");
    else if (strcmp(word, "TOPIC") == 0) {
        buf_add_text(out, "pipeline ");
        add_verbs(out, kinds);
    } else if (strcmp(word, "CODE") == 0)
        buf_add_text(out, "$(_thea_codes) ");
    else {
        if (strcmp(word, "MODEL") == 0) buf_add_text(out, "$(_thea_models) ");
        if (strcmp(word, "NAME") == 0) buf_add_text(out, "$(_thea_pipelines) ");
        return true;
    }
    return false;
}

/* The first operand: "[KIND]", "FILE|NAME [INPUT…]", "bash|zsh|fish". */
static bool add_operands(struct buf *out, const char *usage, char **kinds)
{
    char first[128];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(usage, " "), usage);
    bool files = false;
    for (char *rest = first, *word; (word = strsep(&rest, "|[]")) != NULL;)
        if (word[0] != '\0') files = add_operand(out, word, kinds) || files;
    return files;
}

static void add_case(struct buf *out, const char *verb, const char *option, const char *words, bool files)
{
    buf_printf(out, "    \"%s %s\") %swords=\"%s\" ;;\n", verb, option, files ? "" : "files=\"\"; ", words);
}

/* What follows an option with choices, or with a model. */
static void command_values(struct buf *out, const struct command *c, const struct command_option *o)
{
    for (; o != NULL && o->name != NULL; o++) {
        char option[128];
        struct buf words = {0};
        snprintf(option, sizeof option, "--%s", o->name);
        for (size_t i = 0; o->choices != NULL && o->choices[i] != NULL; i++)
            buf_printf(&words, "%s ", o->choices[i]);
        if (words.len > 0) add_case(out, c->name, option, buf_text(&words), false);
        buf_fini(&words);
    }
}

static void command_cases(struct buf *out, const struct command *c, char **kinds)
{
    struct buf words = {0};
    command_values(out, c, c->options);
    command_values(out, c, command_common_options);
    buf_printf(out, "    \"%s \"*) case $cur in\n      -*) files=\"\"; words=\"", c->name);
    for (const struct command_option *o = c->options; o != NULL && o->name != NULL; o++)
        if (o->meaning != NULL) buf_printf(out, "--%s ", o->name);
    for (const struct command_option *o = command_common_options; o->name != NULL; o++)
        buf_printf(out, "--%s ", o->name);
    bool files = add_operands(&words, c->operands != NULL ? c->operands : "", kinds);
    buf_printf(out, "\" ;;\n      *) %swords=\"%s\" ;;\n      esac ;;\n", files ? "" : "files=\"\"; ",
               buf_text(&words));
    buf_fini(&words);
}

static void option_name(char *out, size_t size, const struct json_node *option)
{
    snprintf(out, size, "--%s", json_text_or(option, "name", ""));
    for (char *p = out; *p != '\0'; p++) *p = (char)(*p == '_' ? '-' : *p);
}

static void kind_values(struct buf *out, const char *kind, const struct json_node *option)
{
    const struct json_node *choices = json_member(option, "choices");
    struct buf words = {0};
    char name[128];
    option_name(name, sizeof name, option);
    for (size_t i = 0; i < json_count(choices); i++)
        buf_printf(&words, "%s ", json_text(json_item(choices, i), NULL));
    if (words.len > 0) add_case(out, kind, name, buf_text(&words), false);
    buf_fini(&words);
}

static const struct json_node *options_of(const char *kind)
{
    const struct json_node *table = NULL;
    char *program = NULL;
    struct thea_err err;
    bool found = kind_find(&program, kind, ".", &err) == THEA_OK &&
                 kind_describe(&table, program, NULL, &err) == THEA_OK;
    free(program);
    return found ? json_member(table, "options") : NULL;
}

static void kind_cases(struct buf *out, const char *kind)
{
    const struct json_node *options = options_of(kind);
    for (size_t i = 0; i < json_count(options); i++) kind_values(out, kind, json_item(options, i));
    buf_printf(out, "    \"%s \"*) case $cur in -*) files=\"\"; words=\"", kind);
    for (size_t i = 0; i < json_count(options); i++) {
        char name[128];
        option_name(name, sizeof name, json_item(options, i));
        buf_printf(out, "%s ", name);
    }
    buf_add_text(out, "--name --threads --in --out --describe --help\" ;; esac ;;\n");
}

/* text with @PREFIX@ replaced, in single quotes there. */
static void add_with_prefix(struct buf *out, const char *text)
{
    const char *at = strstr(text, "@PREFIX@");
    buf_printf(out, "%.*s", (int)(at - text), text);
    for (const char *p = kind_prefix(); *p != '\0'; p++)
        if (*p == '\'')
            buf_add_text(out, "'\\''");
        else
            buf_add_char(out, *p);
    buf_add_text(out, at + strlen("@PREFIX@"));
}

static void bash_script(struct buf *out, char **kinds)
{
    add_with_prefix(out, bash_head);
    add_verbs(out, kinds);
    buf_add_text(out, "--help --version\" ;;\n    *\" -m\" | *\" --model\") words=\"$(_thea_models)\" ;;\n");
    for (size_t i = 0; commands[i] != NULL; i++) command_cases(out, commands[i], kinds);
    for (size_t i = 0; kinds[i] != NULL; i++) kind_cases(out, kinds[i]);
    buf_add_text(out, bash_tail);
}

static void fish_script(struct buf *out, char **kinds)
{
    buf_add_text(out, "# thea completion for fish: thea completion fish | source\n");
    for (size_t i = 0; commands[i] != NULL; i++) {
        const struct command *c = commands[i];
        buf_printf(out, "complete -c thea -n __fish_use_subcommand -a %s -d '%s'\n", c->name, c->summary);
        for (const struct command_option *o = c->options; o != NULL && o->name != NULL; o++) {
            buf_printf(out, "complete -c thea -n '__fish_seen_subcommand_from %s' -l %s%s", c->name, o->name,
                       o->type == VALUE_BOOL ? "" : " -r");
            for (size_t k = 0; o->choices != NULL && o->choices[k] != NULL; k++)
                buf_printf(out, "%s%s", k == 0 ? " -f -a '" : " ", o->choices[k]);
            buf_add_text(out, o->choices != NULL ? "'\n" : "\n");
        }
    }
    for (size_t i = 0; kinds[i] != NULL; i++) {
        const struct json_node *options = options_of(kinds[i]);
        buf_printf(out, "complete -c thea -n __fish_use_subcommand -a %s -d stage\n", kinds[i]);
        for (size_t k = 0; k < json_count(options); k++) {
            char name[128];
            option_name(name, sizeof name, json_item(options, k));
            buf_printf(out, "complete -c thea -n '__fish_seen_subcommand_from %s' -l %s\n", kinds[i],
                       name + 2);
        }
    }
}

thea_rc manual_completion(struct buf *out, const char *shell, struct thea_err *err)
{
    static const char *const shells[] = {"bash", "zsh", "fish", NULL};
    const char *near = value_nearest(shell, shells);
    bool zsh = strcmp(shell, "zsh") == 0;
    if (!zsh && strcmp(shell, "bash") != 0 && strcmp(shell, "fish") != 0) {
        return thea_fail(
            err, THEA_EUSAGE, "completion: no script for '%s'%s%s%s; there are bash, zsh and fish", shell,
            near != NULL ? " (did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?)" : "");
    }
    char **kinds = kind_list();
    if (zsh)
        buf_add_text(out, "# thea completion for zsh: eval \"$(thea completion zsh)\"\n"
                          "autoload -U +X bashcompinit && bashcompinit\n");
    if (strcmp(shell, "fish") == 0)
        fish_script(out, kinds);
    else
        bash_script(out, kinds);
    kind_list_free(kinds);
    return THEA_OK;
}
