/* A plan as shell text: pasted into terminals, it is the pipeline. */
#include "graph/control/plan.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLAN_WIDTH = 96 };

/* A word as the shell reads it back: plain, or in single quotes. */
static void quote(struct buf *out, const char *word)
{
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";
    if (word[0] != '\0' && word[strspn(word, safe)] == '\0') {
        buf_add_text(out, word);
        return;
    }
    buf_add_char(out, '\'');
    for (const char *c = word; *c != '\0'; c++) {
        if (*c == '\'')
            buf_add_text(out, "'\\''");
        else
            buf_add_char(out, *c);
    }
    buf_add_char(out, '\'');
}

/* The program's name if PATH leads to it, else its path. */
static const char *short_program(const char *program)
{
    const char *name = strrchr(program, '/') + 1, *path = getenv("PATH");
    char *list = strdup(path != NULL ? path : ""), *rest = list, *folder;
    bool found = false, first = true;
    if (list == NULL) abort();
    while (first && (folder = strsep(&rest, ":")) != NULL) {
        struct buf b = {0};
        char real[PATH_MAX];
        buf_printf(&b, "%s/%s", folder[0] != '\0' ? folder : ".", name);
        if (access(buf_text(&b), X_OK) == 0)
            first = false, found = realpath(buf_text(&b), real) != NULL && strcmp(real, program) == 0;
        buf_fini(&b);
    }
    free(list);
    return found ? name : program;
}

static void print_word(struct buf *out, const char *text, size_t *column)
{
    size_t len = 0;
    for (const char *c = text; *c != '\0'; c++) len += ((unsigned char)*c & 0xC0) != 0x80;
    if (*column > 0 && *column + 1 + len > PLAN_WIDTH) {
        buf_add_text(out, " \\\n  ");
        *column = 2;
    } else if (*column > 0) {
        buf_add_char(out, ' ');
        *column += 1;
    }
    buf_add_text(out, text);
    *column += len;
}

/* Options that take a value stay on its line. */
static bool takes_next(char *const *argv, size_t i)
{
    return strncmp(argv[i], "--", 2) == 0 && argv[i][2] != '\0' && strchr(argv[i], '=') == NULL &&
           argv[i + 1] != NULL && strncmp(argv[i + 1], "--", 2) != 0;
}

static void print_process(const struct plan_process *p, struct buf *out)
{
    size_t column = 0;
    struct buf word = {0};
    for (size_t i = 0; p->env[i] != NULL; i++) {
        if (strcmp(p->env[i], "OPENBLAS_NUM_THREADS=1") == 0) continue;
        const char *equals = strchr(p->env[i], '=');
        buf_clear(&word);
        buf_add(&word, p->env[i], (size_t)(equals + 1 - p->env[i]));
        quote(&word, equals + 1);
        print_word(out, buf_text(&word), &column);
    }
    for (size_t i = 0; p->argv[i] != NULL; i++) {
        buf_clear(&word);
        quote(&word, i == 0 ? short_program(p->argv[0]) : p->argv[i]);
        if (i > 0 && takes_next(p->argv, i)) buf_add_char(&word, ' '), quote(&word, p->argv[++i]);
        print_word(out, buf_text(&word), &column);
    }
    buf_add_char(out, '\n');
    buf_fini(&word);
}

void plan_print_shell(const struct plan *p, struct buf *out)
{
    buf_printf(out, "# %s: %zu process%s", p->spec->name, p->process_count,
               p->process_count == 1 ? "" : "es");
    for (size_t i = 0; i < p->spec->stage_count; i++) {
        const struct spec_stage *st = &p->spec->stages[i];
        if (st->split > 1) buf_printf(out, ", %s in %d parts", st->name, st->split);
        if (p->replicas[i] > 1)
            buf_printf(out, "%s%s %d replicas", st->split > 1 ? " of" : ", ", st->split > 1 ? "" : st->name,
                       p->replicas[i]);
    }
    buf_add_text(out,
                 p->process_count == 1 ? ".\n" : ". Type each into a terminal of its own, in any order.\n");
    for (size_t i = 0; i < p->process_count; i++) print_process(&p->processes[i], out);
}
