/* Help texts and man pages from the tables. Invariant: nothing is said here that a table does not say, but
 * for the frame around it. */
#include "bin/thea/support/manual.h"

#include "graph/control/kinds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_WIDTH = 80, OPTION_COLUMN = 30, EXAMPLE_COLUMN = 42, EXAMPLE_BELOW = 6 };

/* What a word of the tables takes on a terminal: characters, not bytes. */
static int columns(const char *text)
{
    int n = 0;
    for (; *text != '\0'; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void pad(struct buf *out, int written, int width)
{
    do buf_add_char(out, ' ');
    while (++written < width);
}

/* "-m, --model MODEL" */
static void option_head(struct buf *out, const struct command_option *o)
{
    if (o->letter != 0)
        buf_printf(out, "-%c, ", o->letter);
    else
        buf_add_text(out, "    ");
    buf_printf(out, "--%s", o->name);
    if (o->argument != NULL) buf_printf(out, " %s", o->argument);
}

/* Words of `text` in lines of at most HELP_WIDTH columns, the first from column `at` on, the others from
 * `indent` on. A single newline is a space; an empty line and a line that begins with a space stay. */
static void add_wrapped(struct buf *out, const char *text, int at, int indent)
{
    bool first = true;
    while (*text != '\0') {
        size_t n = strcspn(text, " \n");
        char *word = strndup(text, n);
        if (word == NULL) abort();
        if (!first && at + 1 + columns(word) > HELP_WIDTH) {
            buf_add_char(out, '\n');
            for (at = 0; at < indent; at++) buf_add_char(out, ' ');
        } else if (!first) {
            buf_add_char(out, ' ');
            at++;
        }
        buf_add_text(out, word);
        at += columns(word);
        first = false;
        free(word);
        text += n;
        if (text[0] == '\n' && (text[1] == '\n' || text[1] == ' ')) {
            buf_add_char(out, '\n');
            at = 0;
            first = true;
            while (*++text == '\n') buf_add_char(out, '\n');
            for (; *text == ' '; text++, at++) buf_add_char(out, ' ');
            continue;
        }
        text += *text != '\0';
    }
    buf_add_char(out, '\n');
}

static void option_rows(struct buf *out, const struct command_option *options)
{
    for (const struct command_option *o = options; o != NULL && o->name != NULL; o++) {
        if (o->meaning == NULL) continue; /* for this tree's own tools */
        struct buf head = {0};
        option_head(&head, o);
        buf_printf(out, "  %s", buf_text(&head));
        int written = 2 + columns(buf_text(&head));
        pad(out, written, OPTION_COLUMN);
        add_wrapped(out, o->meaning, written < OPTION_COLUMN ? OPTION_COLUMN : written + 1, OPTION_COLUMN);
        buf_fini(&head);
    }
}

/* An example is "command   what it does": two or more spaces between. What does not fit beside the command
 * goes below it. */
static void example_row(struct buf *out, const char *example)
{
    const char *gap = strstr(example, "   ");
    int length = gap != NULL ? (int)(gap - example) : (int)strlen(example);
    buf_printf(out, "  %.*s", length, example);
    if (gap != NULL) {
        const char *text = gap + strspn(gap, " ");
        int column = 2 + length < EXAMPLE_COLUMN ? EXAMPLE_COLUMN : 2 + length + 1;
        if (column + columns(text) > HELP_WIDTH) {
            buf_add_char(out, '\n');
            column = EXAMPLE_BELOW;
            pad(out, 0, EXAMPLE_BELOW);
        } else {
            pad(out, 2 + length, EXAMPLE_COLUMN);
        }
        add_wrapped(out, text, column, column);
        return;
    }
    buf_add_char(out, '\n');
}

void manual_command(struct buf *out, const struct command *c)
{
    buf_printf(out, "thea %s: %s\n\nusage  thea %s [OPTION…] %s\n", c->name, c->summary, c->name,
               c->operands != NULL ? c->operands : "");
    if (c->description != NULL) buf_add_char(out, '\n'), add_wrapped(out, c->description, 0, 0);
    buf_add_text(out, "\noptions\n");
    option_rows(out, c->options);
    option_rows(out, command_common_options);
    if (c->examples != NULL) buf_add_text(out, "\nexamples\n");
    for (const char *const *e = c->examples; e != NULL && *e != NULL; e++) example_row(out, *e);
}

static void kind_rows(struct buf *out)
{
    char **kinds = kind_list();
    for (size_t i = 0; kinds[i] != NULL; i++) {
        const struct json_node *table = NULL;
        char *program = NULL;
        struct thea_err err;
        if (kind_find(&program, kinds[i], ".", &err) == THEA_OK &&
            kind_describe(&table, program, NULL, &err) == THEA_OK) {
            buf_printf(out, "  %-12s ", kinds[i]);
            add_wrapped(out, json_text_or(table, "summary", ""), 15, 15);
        }
        free(program);
    }
    kind_list_free(kinds);
}

void manual_overview(struct buf *out)
{
    buf_add_text(out, "thea runs neural networks as Unix processes: pipelines of stages that stream\n"
                      "long documents through a model.\n\n"
                      "usage  thea COMMAND [OPTION…] [OPERAND…]\n       thea KIND [OPTION…]           a "
                      "stage as a filter: frames in, frames out\n\n"
                      "commands\n");
    for (size_t i = 0; commands[i] != NULL; i++) {
        buf_printf(out, "  %-12s ", commands[i]->name);
        add_wrapped(out, commands[i]->summary, 15, 15);
    }
    buf_add_text(out, "\nkinds of stages\n");
    kind_rows(out);
    buf_add_text(out, "\nexamples\n  thea run score ~/notes           bits per byte of your files\n"
                      "  thea generate \"The pipeline\"     let a model write\n"
                      "  thea COMMAND --help              options and examples of each\n");
}

/* --- man pages --- */

/* Text as roff: backslashes, a leading dot or quote, and dashes are escaped. */
void manual_roff_text(struct buf *out, const char *text)
{
    bool line_start = true;
    for (; *text != '\0'; text++) {
        if (line_start && (*text == '.' || *text == '\'')) buf_add_text(out, "\\&");
        if (*text == '\\')
            buf_add_text(out, "\\e");
        else if (*text == '-')
            buf_add_text(out, "\\-");
        else
            buf_add_char(out, *text);
        line_start = *text == '\n';
    }
}

void manual_roff_head(struct buf *out, const char *title, const char *section, const char *name,
                      const char *summary)
{
    buf_printf(out, ".TH %s %s \"\" \"thea %s\" \"thea\"\n.SH NAME\n", title, section, THEA_VERSION);
    manual_roff_text(out, name);
    buf_add_text(out, " \\- ");
    manual_roff_text(out, summary);
    buf_add_char(out, '\n');
}

static void roff_options(struct buf *out, const struct command_option *options)
{
    for (const struct command_option *o = options; o != NULL && o->name != NULL; o++) {
        if (o->meaning == NULL) continue;
        struct buf head = {0};
        option_head(&head, o);
        buf_add_text(out, ".TP\n.B ");
        manual_roff_text(out, buf_text(&head) + strspn(buf_text(&head), " "));
        buf_add_char(out, '\n');
        manual_roff_text(out, o->meaning);
        buf_add_char(out, '\n');
        buf_fini(&head);
    }
}

static void roff_examples(struct buf *out, const char *const *examples)
{
    if (examples == NULL) return;
    buf_add_text(out, ".SH EXAMPLES\n.nf\n");
    for (; *examples != NULL; examples++) {
        manual_roff_text(out, *examples);
        buf_add_char(out, '\n');
    }
    buf_add_text(out, ".fi\n");
}

void manual_man_page(struct buf *out, const struct command *c)
{
    char title[64], name[64];
    snprintf(name, sizeof name, "thea-%s", c->name);
    snprintf(title, sizeof title, "THEA-%s", c->name);
    for (char *p = title; *p != '\0'; p++) *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    manual_roff_head(out, title, "1", name, c->summary);
    buf_printf(out, ".SH SYNOPSIS\n.B thea %s\n[OPTION...] ", c->name);
    manual_roff_text(out, c->operands != NULL ? c->operands : "");
    buf_add_text(out, "\n.SH DESCRIPTION\n");
    manual_roff_text(out, c->description != NULL ? c->description : c->summary);
    buf_add_text(out, "\n.SH OPTIONS\n");
    roff_options(out, c->options);
    roff_options(out, command_common_options);
    roff_examples(out, c->examples);
    buf_add_text(out, ".SH SEE ALSO\n.BR thea (1),\n.BR thea-pipeline (5)\n");
}

void manual_man_overview(struct buf *out)
{
    manual_roff_head(out, "THEA", "1", "thea", "runs neural networks as Unix processes");
    buf_add_text(out, ".SH SYNOPSIS\n.B thea\nCOMMAND [OPTION...] [OPERAND...]\n.br\n.B thea\nKIND "
                      "[OPTION...]\n.SH COMMANDS\n");
    for (size_t i = 0; commands[i] != NULL; i++) {
        buf_printf(out, ".TP\n.BR thea-%s (1)\n", commands[i]->name);
        manual_roff_text(out, commands[i]->summary);
        buf_add_char(out, '\n');
    }
    buf_add_text(out, ".SH EXIT STATUS\n"
                      ".TP\n0\ndone; also a reader that had enough\n.TP\n1\ndone, but look: documents "
                      "failed, something is lacking\n"
                      ".TP\n64\nwrong command line\n.TP\n65\nbad content of a named input\n.TP\n66\nan input "
                      "or model is missing\n"
                      ".TP\n70\na stage crashed\n.TP\n71, 73, 74\nthe system refused; cannot create the "
                      "output; read or write failed\n"
                      ".TP\n76\ndamaged frames from a peer\n.TP\n78\na mistake in a pipeline file\n.TP\n130, "
                      "143\nended by SIGINT, SIGTERM\n");
}
