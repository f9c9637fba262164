/* The JSON Schema of pipeline files, made from the kinds' tables: what editors complete and underline. `thea
 * check` knows more. */
#include "bin/thea/support/tables.h"

#include "graph/control/spec.h"
#include "graph/value.h"

#include <string.h>

#define NAME_PATTERN     "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
#define SIZE_PATTERN     "^(0|[0-9.]+(B|KiB|MiB|GiB|TiB))$"
#define TIME_PATTERN     "^(0|[0-9.]+(ns|us|ms|s|m|h))$"
#define RANGE_PATTERN    "^(all|[0-9]+(-[0-9]*)?)$"
#define VARIABLE_PATTERN "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}"

static struct json_node *typed(const char *type)
{
    struct json_node *node = json_new_map();
    json_put(node, "type", json_new_string(type));
    return node;
}

static struct json_node *text_like(const char *pattern)
{
    struct json_node *node = typed("string");
    json_put(node, "pattern", json_new_string(pattern));
    return node;
}

static struct json_node *either(struct json_node *a, struct json_node *b)
{
    struct json_node *node = json_new_map(), *list = json_new_list();
    json_append(list, a);
    json_append(list, b);
    json_put(node, "anyOf", list);
    return node;
}

static void describe(struct json_node *node, const char *text)
{
    json_put(node, "description", json_new_string(text));
}

/* Values may also be ${VAR}, which is text until it is replaced. */
static struct json_node *or_variable(struct json_node *node)
{
    return either(node, text_like(VARIABLE_PATTERN));
}

static struct json_node *any_scalar(void)
{
    struct json_node *node = json_new_map(), *types = json_new_list();
    const char *const names[] = {"string", "number", "boolean"};
    for (size_t i = 0; i < 3; i++) json_append(types, json_new_string(names[i]));
    json_put(node, "type", types);
    return node;
}

static struct json_node *list_of(struct json_node *item)
{
    struct json_node *node = typed("array");
    json_put(node, "items", item);
    return node;
}

static struct json_node *map_of(struct json_node *item)
{
    struct json_node *node = typed("object");
    json_put(node, "additionalProperties", item);
    return node;
}

static struct json_node *whole_number(int64_t min, int64_t max)
{
    struct json_node *node = typed("integer");
    json_put(node, "minimum", json_new_int(min));
    if (max > min) json_put(node, "maximum", json_new_int(max));
    return node;
}

/* --- one option --- */

static value_type type_of(const struct json_node *option)
{
    const char *name = json_text_or(option, "type", "text");
    for (int t = VALUE_BOOL; t <= VALUE_NAMES; t++)
        if (strcmp(value_type_name((value_type)t), name) == 0) return (value_type)t;
    return VALUE_TEXT;
}

static struct json_node *numeric(const struct json_node *option, const char *type)
{
    struct json_node *node = typed(type);
    double min = json_number_or(option, "min", 0), max = json_number_or(option, "max", 0);
    bool whole = strcmp(type, "integer") == 0;
    if (min < max) json_put(node, "minimum", whole ? json_new_int((int64_t)min) : json_new_number(min));
    if (min < max && max < 9e15)
        json_put(node, "maximum", whole ? json_new_int((int64_t)max) : json_new_number(max));
    return node;
}

static struct json_node *choice(const struct json_node *option)
{
    struct json_node *node = json_new_map();
    json_put(node, "enum", json_copy_node(json_member(option, "choices")));
    return node;
}

static struct json_node *value_schema(const struct json_node *option)
{
    switch (type_of(option)) {
    case VALUE_BOOL: return or_variable(typed("boolean"));
    case VALUE_INT: return or_variable(numeric(option, "integer"));
    case VALUE_NUMBER: return or_variable(numeric(option, "number"));
    case VALUE_CHOICE: return or_variable(choice(option));
    case VALUE_SIZE: return either(text_like(SIZE_PATTERN "|" VARIABLE_PATTERN), whole_number(0, 0));
    case VALUE_TIME: return either(text_like(TIME_PATTERN "|" VARIABLE_PATTERN), whole_number(0, 0));
    case VALUE_RANGE: return either(text_like(RANGE_PATTERN "|" VARIABLE_PATTERN), whole_number(0, 0));
    case VALUE_NAMES:
    case VALUE_TEXTS:
    case VALUE_PATHS: return either(any_scalar(), list_of(any_scalar()));
    case VALUE_TEXT:
    case VALUE_PATH:
    case VALUE_MODEL: break;
    }
    return any_scalar();
}

static struct json_node *option_schema(const struct json_node *option)
{
    struct json_node *node = value_schema(option);
    const char *def = json_text_or(option, "default", NULL);
    describe(node, json_text_or(option, "meaning", ""));
    if (def != NULL && def[0] != '\0') json_put(node, "default", json_new_string(def));
    return node;
}

/* --- one stage --- */

static struct json_node *from_schema(void)
{
    struct json_node *node = either(typed("string"), list_of(typed("string")));
    struct json_node *all = either(node, map_of(typed("string")));
    describe(all, "stage, stage.port, a list of them, or {input: stage.port}");
    return all;
}

static struct json_node *env_schema(void)
{
    struct json_node *node = map_of(any_scalar()),
                     *names = text_like("^(?!THEA_|LD_)[A-Za-z_][A-Za-z0-9_]*$");
    json_put(node, "propertyNames", names);
    describe(node, "environment variables; THEA_ and LD_ are refused");
    return node;
}

/* May a kind have a key of every stage? */
static bool may_have(const struct json_node *option, const struct json_node *table)
{
    bool reads = json_count(json_member(table, "inputs")) > 0,
         writes = json_count(json_member(table, "outputs")) > 0;
    if (tables_flag(option, "source")) return !reads;
    if (tables_flag(option, "input")) return reads;
    return !tables_flag(option, "inner") || (reads && writes);
}

/* The keys of every stage; table NULL: of `defaults`. */
static void add_shared(struct json_node *properties, const struct json_node *table)
{
    const struct json_node *options = spec_common_options();
    for (size_t i = 0; i < json_count(options); i++) {
        const struct json_node *o = json_item(options, i);
        if (table == NULL || may_have(o, table))
            json_put(properties, json_text_or(o, "name", ""), option_schema(o));
    }
    json_put(properties, "env", env_schema());
}

static bool has_inputs(const struct json_node *table)
{
    return json_count(json_member(table, "inputs")) > 0;
}

static bool takes_feedback(const struct json_node *table)
{
    const struct json_node *inputs = json_member(table, "inputs");
    for (size_t i = 0; i < json_count(inputs); i++)
        if (tables_flag(json_item(inputs, i), "feedback")) return true;
    return false;
}

static bool has_option(const struct json_node *table, const char *name)
{
    const struct json_node *options = json_member(table, "options");
    for (size_t i = 0; i < json_count(options); i++)
        if (strcmp(json_text_or(json_item(options, i), "name", ""), name) == 0) return true;
    return false;
}

static struct json_node *kind_schema(const char *name, const struct json_node *table)
{
    struct json_node *node = typed("object"), *properties = json_new_map(), *kind = json_new_map();
    const struct json_node *options = json_member(table, "options");
    json_put(kind, "const", json_new_string(name));
    describe(kind, json_text_or(table, "summary", ""));
    json_put(properties, "kind", kind);
    if (has_inputs(table)) json_put(properties, "from", from_schema());
    if (takes_feedback(table)) {
        struct json_node *feedback = typed("string");
        describe(feedback, "the stage whose output comes back");
        json_put(properties, "feedback", feedback);
    }
    if (has_option(table, "blocks")) {
        struct json_node *split = or_variable(whole_number(1, 4096));
        describe(split, "cut into this many processes, blocks shared out by cost");
        json_put(properties, "split", split);
    }
    add_shared(properties, table);
    for (size_t i = 0; i < json_count(options); i++) {
        const struct json_node *o = json_item(options, i);
        if (tables_flag(o, "cli_only") || tables_flag(o, "hidden")) continue;
        json_put(properties, json_text_or(o, "name", ""), option_schema(o));
    }
    json_put(node, "properties", properties);
    json_put(node, "additionalProperties", json_new_bool(false));
    return node;
}

/* A kind with a '/' is a program of the user's own: its options are not known here. */
static struct json_node *own_program(void)
{
    struct json_node *node = typed("object"), *properties = json_new_map();
    json_put(properties, "kind", text_like("/"));
    json_put(node, "properties", properties);
    return node;
}

static struct json_node *stage_schema(const struct tables *t)
{
    struct json_node *node = typed("object"), *required = json_new_list(), *all = json_new_list(),
                     *kind = json_new_map(), *properties = json_new_map(), *names = json_new_list();
    json_append(required, json_new_string("kind"));
    for (size_t i = 0; i < t->count; i++) {
        struct json_node *rule = json_new_map(), *condition = json_new_map(), *is = json_new_map(),
                         *word = json_new_map(), *reference = json_new_map(), *need = json_new_list();
        char path[128] = "#/$defs/";
        strncat(path, t->names[i], sizeof path - 16);
        json_put(word, "const", json_new_string(t->names[i]));
        json_put(is, "kind", word);
        json_put(condition, "properties", is);
        json_append(need, json_new_string("kind"));
        json_put(condition, "required", need);
        json_put(reference, "$ref", json_new_string(path));
        json_put(rule, "if", condition);
        json_put(rule, "then", reference);
        json_append(all, rule);
        json_append(names, json_new_string(t->names[i]));
    }
    json_put(kind, "enum", names);
    json_put(properties, "kind", either(kind, text_like("/")));
    json_put(node, "properties", properties);
    json_put(node, "required", required);
    json_put(node, "allOf", all);
    return node;
}

struct json_node *tables_schema(const struct tables *t)
{
    struct json_node *schema = typed("object"), *properties = json_new_map(), *definitions = json_new_map(),
                     *required = json_new_list();
    struct json_node *defaults = typed("object"), *shared = json_new_map(), *stages = map_of(stage_schema(t)),
                     *model = typed("string"), *name = text_like(NAME_PATTERN);
    json_put(schema, "$schema", json_new_string("https://json-schema.org/draft/2020-12/schema"));
    json_put(schema, "title", json_new_string("thea pipeline"));
    describe(schema,
             "A graph of stages that frames of tensors stream through. Made by `thea stages --schema`.");
    describe(name, "of the pipeline; of its runs");
    describe(model, "a model's name or path, for every stage that takes one");
    json_put(properties, "name", name);
    json_put(properties, "doc", typed("string"));
    json_put(properties, "model", model);
    json_put(properties, "env", env_schema());
    add_shared(shared, NULL);
    json_put(defaults, "properties", shared);
    json_put(defaults, "additionalProperties", json_new_bool(false));
    describe(defaults, "keys of every stage, where it sets none");
    json_put(properties, "defaults", defaults);
    json_put(stages, "minProperties", json_new_int(1));
    json_put(stages, "propertyNames", text_like(NAME_PATTERN));
    json_put(properties, "stages", stages);
    json_put(schema, "properties", properties);
    json_append(required, json_new_string("stages"));
    json_put(schema, "required", required);
    json_put(schema, "additionalProperties", json_new_bool(false));
    for (size_t i = 0; i < t->count; i++)
        json_put(definitions, t->names[i], kind_schema(t->names[i], t->tables[i]));
    json_put(definitions, "a program of one's own", own_program());
    json_put(schema, "$defs", definitions);
    return schema;
}
