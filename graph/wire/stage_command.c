/* A stage's command line: GNU long options in any order, the kind's own and those that every stage has.
 *
 * Invariant: nothing is abbreviated and nothing is ignored; what is not understood ends in THEA_EUSAGE with
 * what is accepted. */
#include "graph/wire/stage_core.h"

#include <stdlib.h>
#include <string.h>

/* --- finding an option --- */

struct found {
    int common;
    size_t own;
    bool is_common, is_own, takes_value, negated;
};

static bool same_dashed(const char *option, const char *dashed, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (option[i] == '\0' || (option[i] == '_' ? '-' : option[i]) != dashed[i]) return false;
    return option[len] == '\0';
}

static struct found found_common(int common)
{
    return (struct found){
        .is_common = true, .common = common, .takes_value = stage_common_takes_value(common)};
}

static struct found find_long(const struct stage_ops *ops, const char *name, size_t len)
{
    int common = stage_common_find(ops, name, len);
    if (common >= 0) return found_common(common);
    bool no = len > 3 && strncmp(name, "no-", 3) == 0;
    for (size_t i = 0; i < stage_option_count(ops); i++) {
        const struct stage_option *o = &ops->options[i];
        if (same_dashed(o->name, name, len))
            return (struct found){.is_own = true, .own = i, .takes_value = o->type != VALUE_BOOL};
        if (no && o->type == VALUE_BOOL && same_dashed(o->name, name + 3, len - 3))
            return (struct found){.is_own = true, .own = i, .negated = true};
    }
    return (struct found){0};
}

static struct found find_letter(const struct stage_ops *ops, char letter)
{
    int common = stage_common_letter(letter);
    if (common >= 0) return found_common(common);
    for (size_t i = 0; i < stage_option_count(ops); i++)
        if (stage_option_letter(ops->options[i].name) == letter)
            return (struct found){
                .is_own = true, .own = i, .takes_value = ops->options[i].type != VALUE_BOOL};
    return (struct found){0};
}

static thea_rc fail_unknown(const struct stage_ops *ops, const char *given, struct thea_err *err)
{
    const char *names[128] = {NULL};
    char *owned[128];
    size_t own = 0, n;
    struct buf own_list = {0}, common_list = {0};
    for (; own < stage_option_count(ops) && own < 100; own++) {
        names[own] = owned[own] = stage_dash_name(ops->options[own].name);
        if ((ops->options[own].flags & STAGE_HIDDEN) == 0)
            buf_printf(&own_list, "%s--%s", own_list.len > 0 ? ", " : "", names[own]);
    }
    n = own;
    for (const struct stage_common *c; (c = stage_common_at(ops, n - own)) != NULL; n++) {
        names[n] = c->name;
        buf_printf(&common_list, "%s--%s", n > own ? ", " : "", c->name);
    }
    char bare[64];
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(given, "="), given);
    const char *word = bare + strspn(bare, "-");
    const char *near = value_nearest(word, names);
    const char *dashes = near != NULL ? " (did you mean '--" : "", *tail = near != NULL ? "'?)" : "";
    thea_rc rc =
        thea_fail(err, THEA_EUSAGE, "unknown option '%s'%s%s%s\n  options of %s  %s\n  every stage  %s", bare,
                  dashes, near != NULL ? near : "", tail, ops->kind,
                  own_list.len > 0 ? buf_text(&own_list) : "none", buf_text(&common_list));
    for (size_t i = 0; i < own; i++) free(owned[i]);
    buf_fini(&own_list);
    buf_fini(&common_list);
    return rc;
}

static thea_rc take_found(struct stage *st, const struct found *f, const char *text, struct thea_err *err)
{
    if (f->is_common) return stage_common_take(st, f->common, text, err);
    if (text == NULL) text = f->negated ? "false" : "true";
    return stage_option_take(st, f->own, text, err);
}

/* --- the walk --- */

struct walk {
    int argc, at;
    char *const *argv;
};

static thea_rc take_long(struct stage *st, struct walk *w, struct thea_err *err)
{
    const char *arg = w->argv[w->at], *name = arg + 2, *equals = strchr(name, '=');
    struct found f = find_long(st->ops, name, equals != NULL ? (size_t)(equals - name) : strlen(name));
    const char *text = equals != NULL ? equals + 1 : NULL;
    if (!f.is_common && !f.is_own) return fail_unknown(st->ops, arg, err);
    if (text != NULL && !f.takes_value && (f.is_common || f.negated))
        return thea_fail(err, THEA_EUSAGE, "%.*s takes no value, '%s' was given", (int)(equals - arg), arg,
                         text);
    if (text == NULL && f.takes_value) {
        if (w->at + 1 >= w->argc) return thea_fail(err, THEA_EUSAGE, "%s needs a value", arg);
        text = w->argv[++w->at];
    }
    return take_found(st, &f, text, err);
}

/* -v, -vq, -m DIR, -mDIR */
static thea_rc take_letters(struct stage *st, struct walk *w, struct thea_err *err)
{
    const char *arg = w->argv[w->at];
    for (const char *p = arg + 1; *p != '\0'; p++) {
        struct found f = find_letter(st->ops, *p);
        const char *text = NULL;
        if (!f.is_common && !f.is_own) return fail_unknown(st->ops, arg, err);
        if (f.takes_value && p[1] != '\0')
            text = p + 1;
        else if (f.takes_value && w->at + 1 < w->argc)
            text = w->argv[++w->at];
        else if (f.takes_value)
            return thea_fail(err, THEA_EUSAGE, "-%c needs a value", *p);
        thea_rc rc = take_found(st, &f, text, err);
        if (rc != THEA_OK || f.takes_value) return rc;
    }
    return THEA_OK;
}

static thea_rc take_operand(struct stage *st, const char *text, struct thea_err *err)
{
    for (size_t i = 0; i < st->setting_count; i++) {
        const struct stage_option *o = &st->ops->options[i];
        if ((o->flags & STAGE_OPERANDS) == 0) continue;
        if (st->settings[i].given && !value_type_is_list(o->type))
            return thea_fail(err, THEA_EUSAGE, "unexpected operand '%s': %s takes one, and '%s' was given",
                             text, st->ops->kind, buf_text(&st->settings[i].text));
        return stage_option_take(st, i, text, err);
    }
    return thea_fail(err, THEA_EUSAGE, "unexpected operand '%s': %s takes none, its input comes from %s",
                     text, st->ops->kind, st->ops->inputs != NULL ? "stdin or --in" : "its options");
}

thea_rc stage_command_parse(struct stage *st, int argc, char *const *argv, struct thea_err *err)
{
    struct walk w = {argc, 1, argv};
    bool options = true;
    st->command.status_fd = st->command.control_fd = -1;
    st->command.color = THEA_COLOR_AUTO;
    for (; w.at < argc; w.at++) {
        const char *arg = argv[w.at];
        thea_rc rc = THEA_OK;
        if (options && strcmp(arg, "--") == 0)
            options = false;
        else if (options && strncmp(arg, "--", 2) == 0)
            rc = take_long(st, &w, err);
        else if (options && arg[0] == '-' && arg[1] != '\0')
            rc = take_letters(st, &w, err);
        else
            rc = take_operand(st, arg, err);
        if (rc != THEA_OK) return rc;
    }
    return stage_common_threads(&st->command, err);
}

void stage_command_fini(struct stage_command *c)
{
    for (size_t i = 0; i < c->texts.count; i++) free((char *)(uintptr_t)c->texts.items[i]);
    free(c->texts.items);
    free(c->in.items);
    free(c->out.items);
}
