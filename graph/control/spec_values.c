/* Values of options: from YAML nodes to checked texts. The option's type decides what a scalar means; YAML's
 * own guesses play no part. */
#include "graph/control/spec_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const struct json_node *spec_table_option(const struct json_node *table, const char *name)
{
    const struct json_node *options = json_member(table, "options");
    for (size_t i = 0; i < json_count(options); i++)
        if (strcmp(json_text_or(json_item(options, i), "name", ""), name) == 0) return json_item(options, i);
    return NULL;
}

bool spec_option_flag(const struct json_node *option, const char *flag)
{
    return port_flag(option, flag);
}

value_type spec_option_type(const struct json_node *option)
{
    const char *name = json_text_or(option, "type", "text");
    for (int t = VALUE_BOOL; t <= VALUE_NAMES; t++)
        if (strcmp(value_type_name((value_type)t), name) == 0) return (value_type)t;
    return VALUE_TEXT;
}

/* ".", ".." and "//" taken out without looking at the disk, so that globs can be in it. */
char *spec_absolute(const char *path, const char *dir)
{
    struct buf in = {0}, out = {0};
    if (path[0] != '/') buf_printf(&in, "%s/", dir);
    buf_add_text(&in, path);
    char *rest = buf_take(&in), *whole = rest, *part;
    while ((part = strsep(&rest, "/")) != NULL) {
        if (part[0] == '\0' || strcmp(part, ".") == 0) continue;
        if (strcmp(part, "..") != 0) {
            buf_printf(&out, "/%s", part);
            continue;
        }
        while (out.len > 0 && out.data[--out.len] != '/') {}
        if (out.data != NULL) out.data[out.len] = '\0';
    }
    free(whole);
    if (out.len == 0) buf_add_char(&out, '/');
    return buf_take(&out);
}

/* --- what is there --- */

static const struct yaml_node *place_of(const struct yaml_node *key, const struct yaml_node *value)
{
    return yaml_is_null(value) && value->place.line > 0
               ? key
               : value; /* a value that is not there has no place of its own */
}

bool spec_scalar(struct spec_reader *r, const char *what, const struct yaml_node *key,
                 const struct yaml_node *value, const char *details)
{
    if (value->broken) return false;
    if (value->sort == YAML_IS_SCALAR && (value->quoted || value->expanded || !yaml_is_null(value)))
        return true;
    if (yaml_is_null(value))
        spec_report(r, "E022", place_of(key, value), details, "%s has no value", what);
    else
        spec_report(r, "E022", value, details, "%s takes one value, this is %s", what, yaml_sort_name(value));
    return false;
}

bool spec_integer(struct spec_reader *r, const char *what, const struct yaml_node *key,
                  const struct yaml_node *value, long min, long max, long *out)
{
    struct thea_err err = {0};
    struct value v;
    struct value_limits limits = {.min = (double)min, .max = (double)max};
    if (!spec_scalar(r, what, key, value, "an integer")) return false;
    if (value->quoted && !value->expanded) {
        spec_report(r, "E022", value, "leave the quotes out", "%s is an integer, this is text", what);
    } else if (value_parse(&v, VALUE_INT, NULL, value->text, &err) != THEA_OK) {
        spec_report(r, "E022", value, NULL, "%s: %s", what, err.message);
    } else if (value_parse(&v, VALUE_INT, &limits, value->text, &err) != THEA_OK) {
        spec_report(r, "E023", value, NULL, "%s: %s", what, err.message);
    } else {
        *out = (long)v.integer;
        return true;
    }
    return false;
}

/* --- one option --- */

struct want { /* an option's type and limits, from its table */
    value_type type;
    struct value_limits limits;
    const char **choices;
    const char *name, *where;
    char *details; /* the table's line about it */
};

static void add_unit_limits(struct buf *b, value_type type, double low, double high)
{
    char least[32], most[32];
    if (low >= high) return;
    buf_printf(b, ", %s", value_format_exact(least, type, (int64_t)low));
    if (high < 1e18)
        buf_printf(b, " to %s", value_format_exact(most, type, (int64_t)high));
    else
        buf_add_text(b, " or more");
}

static void add_limits(struct buf *b, const struct json_node *option)
{
    const struct json_node *min = json_member(option, "min"), *max = json_member(option, "max");
    double low = json_number(min), high = json_number(max);
    const char *unit = json_text_or(option, "unit", NULL);
    bool bounded = json_kind(min) != JSON_NULL_ && json_kind(max) != JSON_NULL_ && low < high;
    if (spec_option_type(option) == VALUE_SIZE || spec_option_type(option) == VALUE_TIME) {
        add_unit_limits(b, spec_option_type(option), low, high);
        return;
    }
    if (bounded && high < 9e15)
        buf_printf(b, ", %.15g to %.15g", low, high);
    else if (bounded)
        buf_printf(b, ", %.15g or more", low);
    if (unit != NULL) buf_printf(b, bounded ? " %s" : ", in %s", unit);
}

static char *option_line(const struct json_node *option)
{
    struct buf b = {0};
    const struct json_node *choices = json_member(option, "choices");
    const char *def = json_text_or(option, "default", NULL);
    buf_printf(&b, "%s: %s", json_text_or(option, "name", ""), json_text_or(option, "type", ""));
    for (size_t i = 0; i < json_count(choices); i++)
        buf_printf(&b, "%s%s", i == 0 ? " of " : "|", json_text(json_item(choices, i), NULL));
    add_limits(&b, option);
    if (def != NULL && def[0] != '\0') buf_printf(&b, ", default %s", def);
    buf_printf(&b, "; %s", json_text_or(option, "meaning", ""));
    return buf_take(&b);
}

struct value_limits spec_option_limits(const struct json_node *option, const char ***choices)
{
    const struct json_node *list = json_member(option, "choices");
    *choices = spec_must(calloc(json_count(list) + 1, sizeof(char *)));
    for (size_t i = 0; i < json_count(list); i++) (*choices)[i] = json_text(json_item(list, i), NULL);
    return (struct value_limits){json_number_or(option, "min", 0), json_number_or(option, "max", 0),
                                 json_count(list) > 0 ? *choices : NULL};
}

static struct want want_of(const struct json_node *option, const char *where)
{
    struct want w = {.type = spec_option_type(option),
                     .name = json_text_or(option, "name", ""),
                     .where = where,
                     .details = option_line(option)};
    w.limits = spec_option_limits(option, &w.choices);
    return w;
}

static void want_fini(struct want *w)
{
    free(w->choices);
    free(w->details);
}

static bool is_text_type(value_type type)
{
    return type == VALUE_TEXT || type == VALUE_PATH || type == VALUE_MODEL || type == VALUE_CHOICE ||
           value_type_is_list(type) || type == VALUE_RANGE || type == VALUE_SIZE || type == VALUE_TIME;
}

/* Yes and no of older YAML, and a quoted number: what people most often mean. */
static const char *type_hint(const struct want *w, const struct yaml_node *value)
{
    static const char *const words[] = {"yes", "no", "on", "off", "True", "False", "TRUE", "FALSE", NULL};
    for (size_t i = 0; w->type == VALUE_BOOL && words[i] != NULL; i++)
        if (strcmp(value->text, words[i]) == 0) return "only true and false are booleans here";
    return w->details;
}

static bool check_text(struct spec_reader *r, const struct want *w, const struct yaml_node *value)
{
    struct thea_err err = {0};
    struct value v;
    bool choice = w->type == VALUE_CHOICE || (w->type == VALUE_NAMES && w->limits.choices != NULL);
    if (value->quoted && !value->expanded && !is_text_type(w->type)) {
        spec_report(r, "E022", value, w->details, "%s: %s takes %s %s, this is text: leave the quotes out",
                    w->where, w->name, w->type == VALUE_INT ? "an" : "a", value_type_name(w->type));
        return false;
    }
    if (!choice && value_parse(&v, w->type, NULL, value->text, &err) != THEA_OK) {
        spec_report(r, "E022", value, type_hint(w, value), "%s: %s: %s", w->where, w->name, err.message);
        return false;
    }
    if (value_parse(&v, w->type, &w->limits, value->text, &err) == THEA_OK) return true;
    spec_report(r, choice ? "E024" : "E023", value, w->details, "%s: %s: %s", w->where, w->name, err.message);
    return false;
}

static char *copy_text(const struct spec_reader *r, const struct want *w, const struct yaml_node *value)
{
    bool path = (w->type == VALUE_PATH || w->type == VALUE_PATHS) && strcmp(value->text, "-") != 0;
    return path ? spec_absolute(value->text, spec_from_cli(value) ? r->cwd : r->dir)
                : spec_must(strdup(value->text));
}

static void add_value(struct spec_option *out, char *text)
{
    out->values = spec_must(realloc(out->values, (out->count + 1) * sizeof(char *)));
    out->values[out->count++] = text;
}

/* One scalar; words by comma are several values of a list of names. */
static bool take_scalar(struct spec_reader *r, const struct want *w, const struct yaml_node *key,
                        const struct yaml_node *value, struct spec_option *out)
{
    struct buf what = {0};
    buf_printf(&what, "%s: %s", w->where, w->name);
    bool good = spec_scalar(r, buf_text(&what), key, value, w->details);
    if (good && (w->type == VALUE_PATH || w->type == VALUE_PATHS) && value->text[0] == '\0') {
        spec_report(r, "E028", value, w->details, "%s: the path is empty", buf_text(&what));
        good = false;
    }
    buf_fini(&what);
    if (!good) return false;
    if (w->type != VALUE_NAMES || strchr(value->text, ',') == NULL) {
        if (!check_text(r, w, value)) return false;
        add_value(out, copy_text(r, w, value));
        return true;
    }
    char *copy = spec_must(strdup(value->text)), *rest = copy, *word;
    while (good && (word = strsep(&rest, ",")) != NULL) {
        struct yaml_node one = *value;
        one.text = word + strspn(word, " ");
        good = check_text(r, w, &one);
        if (good) add_value(out, spec_must(strdup(one.text)));
    }
    free(copy);
    return good;
}

void spec_option_fini(struct spec_option *o)
{
    for (size_t i = 0; i < o->count; i++) free(o->values[i]);
    free(o->values);
    *o = (struct spec_option){0};
}

bool spec_value(struct spec_reader *r, const char *where, const struct json_node *option,
                const struct yaml_node *key, const struct yaml_node *value, struct spec_option *out)
{
    struct want w = want_of(option, where);
    *out = (struct spec_option){.name = w.name, .is_list = value_type_is_list(w.type)};
    bool good = true;
    if (value->sort == YAML_IS_LIST && out->is_list) {
        for (size_t i = 0; i < value->count; i++)
            good = take_scalar(r, &w, key, value->items[i], out) && good;
    } else {
        good = take_scalar(r, &w, key, value, out);
    }
    want_fini(&w);
    if (!good) spec_option_fini(out);
    return good;
}
