/* The kind's own options: texts from the command line, the environment and the table's defaults become fields
 * of the stage's state.
 *
 * Invariant: a text stays in st->settings or st->lists as long as the stage lives, because fields point to
 * it. */
#include "graph/wire/stage_core.h"

#include <stdlib.h>
#include <string.h>

const char *const stage_no_names[] = {NULL};

char *stage_dash_name(const char *option)
{
    char *name = strdup(option);
    if (name == NULL) abort();
    for (char *p = name; *p != '\0'; p++)
        if (*p == '_') *p = '-';
    return name;
}

char stage_option_letter(const char *option)
{
    static const struct {
        const char *name;
        char letter;
    } letters[] = {{"model", 'm'}, {"output", 'o'}, {"follow", 'f'}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (strcmp(letters[i].name, option) == 0) return letters[i].letter;
    return '\0';
}

size_t stage_option_count(const struct stage_ops *ops)
{
    size_t n = 0;
    while (ops->options != NULL && ops->options[n].name != NULL) n++;
    return n;
}

void stage_options_init(struct stage *st)
{
    st->setting_count = stage_option_count(st->ops);
    st->settings = calloc(st->setting_count + 1, sizeof *st->settings);
    st->lists = calloc(st->setting_count + 1, sizeof *st->lists);
    st->state = calloc(1, st->ops->state_size + 1);
    if (st->settings == NULL || st->lists == NULL || st->state == NULL) abort();
}

static void list_free(struct value_list *list)
{
    for (size_t i = 0; i < list->count; i++) free((char *)(uintptr_t)list->items[i]);
    free(list->items);
    *list = (struct value_list){0};
}

void stage_options_fini(struct stage *st)
{
    for (size_t i = 0; i < st->setting_count; i++) {
        buf_fini(&st->settings[i].text);
        list_free(&st->lists[i]);
    }
    free(st->settings);
    free(st->lists);
    free(st->state);
}

static thea_rc fail_option(struct thea_err *err, const struct stage_option *o)
{
    char *name = stage_dash_name(o->name);
    thea_fail_prefix(err, "--%s", name);
    free(name);
    return err != NULL ? err->rc : THEA_EUSAGE;
}

static struct value_limits limits_of(const struct stage_option *o)
{
    return (struct value_limits){o->min, o->max, o->choices};
}

static void list_append(struct value_list *list, const char *text, size_t len)
{
    list->items = realloc(list->items, (list->count + 1) * sizeof *list->items);
    char *copy = strndup(text, len);
    if (list->items == NULL || copy == NULL) abort();
    list->items[list->count++] = copy;
}

/* Texts and paths: one item; names: one or more by comma. */
static thea_rc take_list(struct stage *st, size_t i, const char *text, struct thea_err *err)
{
    const struct stage_option *o = &st->ops->options[i];
    struct value_limits limits = limits_of(o);
    struct value_list *list = &st->lists[i];
    while (text != NULL) {
        const char *comma = o->type == VALUE_NAMES ? strchr(text, ',') : NULL;
        list_append(list, text, comma != NULL ? (size_t)(comma - text) : strlen(text));
        struct value v;
        thea_rc rc = value_parse(&v, o->type, &limits, list->items[list->count - 1], err);
        if (rc != THEA_OK) return fail_option(err, o);
        text = comma != NULL ? comma + 1 : NULL;
    }
    return THEA_OK;
}

thea_rc stage_option_take(struct stage *st, size_t i, const char *text, struct thea_err *err)
{
    const struct stage_option *o = &st->ops->options[i];
    struct stage_setting *s = &st->settings[i];
    bool list = value_type_is_list(o->type);
    if (list && s->text.len > 0) buf_add_char(&s->text, ',');
    if (!list) buf_clear(&s->text);
    buf_add_text(&s->text, text);
    s->given = true;
    if (list) return take_list(st, i, text, err);
    struct value v;
    struct value_limits limits = limits_of(o);
    return value_parse(&v, o->type, &limits, text, err) == THEA_OK ? THEA_OK : fail_option(err, o);
}

/* The text an option has when the command line says nothing; NULL: none. */
static const char *fallback_text(const struct stage_option *o)
{
    const char *model = o->type == VALUE_MODEL ? getenv("THEA_MODEL") : NULL;
    return model != NULL && model[0] != '\0' ? model : o->def;
}

static void store(void *field, const struct value *v)
{
    switch (v->type) {
    case VALUE_BOOL: memcpy(field, &v->boolean, sizeof v->boolean); return;
    case VALUE_INT:
    case VALUE_SIZE:
    case VALUE_TIME: memcpy(field, &v->integer, sizeof v->integer); return;
    case VALUE_NUMBER: memcpy(field, &v->number, sizeof v->number); return;
    case VALUE_CHOICE: memcpy(field, &v->choice, sizeof v->choice); return;
    case VALUE_RANGE: memcpy(field, &v->range, sizeof v->range); return;
    default: memcpy(field, &v->text, sizeof v->text);
    }
}

static thea_rc fill(struct stage *st, size_t i, struct thea_err *err)
{
    const struct stage_option *o = &st->ops->options[i];
    struct stage_setting *s = &st->settings[i];
    const char *text = s->given ? buf_text(&s->text) : fallback_text(o);
    void *field = (char *)st->state + o->offset;
    if (text == NULL) return THEA_OK;
    if (!s->given) buf_add_text(&s->text, text);
    if (value_type_is_list(o->type)) {
        thea_rc rc = s->given ? THEA_OK : take_list(st, i, text, err);
        memcpy(field, &st->lists[i], sizeof st->lists[i]);
        return rc;
    }
    struct value v;
    struct value_limits limits = limits_of(o);
    if (value_parse(&v, o->type, &limits, buf_text(&s->text), err) != THEA_OK) return fail_option(err, o);
    store(field, &v);
    return THEA_OK;
}

thea_rc stage_options_fill(struct stage *st, struct thea_err *err)
{
    for (size_t i = 0; i < st->setting_count; i++) {
        thea_rc rc = fill(st, i, err);
        if (rc != THEA_OK) return rc;
    }
    return THEA_OK;
}

const struct stage_option *stage_option_missing(const struct stage *st)
{
    for (size_t i = 0; i < st->setting_count; i++) {
        const struct stage_option *o = &st->ops->options[i];
        bool has = st->settings[i].given || fallback_text(o) != NULL;
        if ((o->flags & STAGE_REQUIRED) != 0 && !has) return o;
    }
    return NULL;
}

bool stage_option_set(const struct stage *st, const char *name)
{
    for (size_t i = 0; i < st->setting_count; i++)
        if (strcmp(st->ops->options[i].name, name) == 0) return st->settings[i].given;
    return false;
}
