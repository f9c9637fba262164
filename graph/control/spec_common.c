/* The keys of every stage but for kind, from and feedback: one table says what they take, where they may
 * stand, and which field of the stage they fill. */
#include "graph/control/spec_internal.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
    FOR_ALL = 0,
    FOR_SOURCES = 1, /* stages without inputs alone */
    FOR_READERS = 2, /* stages with inputs alone */
    FOR_INNER = 4,   /* more than one: neither sources nor sinks */
};

static const char *const restarts[] = {"on-failure", "never", "always", NULL};
static const char *const on_errors[] = {"retry", "skip", "stop", NULL};

static const struct common {
    const char *name;
    value_type type;
    double min, max;
    const char *def, *unit;
    const char *const *choices;
    size_t offset; /* in spec_stage: an int, or for sizes and times an int64_t */
    unsigned flags;
    const char *meaning;
} commons[] = {
    {"threads", VALUE_INT, 1, 1024, "1", NULL, NULL, offsetof(struct spec_stage, threads), FOR_ALL,
     "threads of each process"},
    {"replicas", VALUE_INT, 1, 1024, "1", NULL, NULL, offsetof(struct spec_stage, replicas), FOR_INNER,
     "processes that share the documents out, of each part"},
    {"restart", VALUE_CHOICE, 0, 0, "on-failure", NULL, restarts, offsetof(struct spec_stage, restart),
     FOR_ALL, "whether a process that ends is started again"},
    {"on_error", VALUE_CHOICE, 0, 0, "retry", NULL, on_errors, offsetof(struct spec_stage, on_error), FOR_ALL,
     "a document that fails here: try it again, set it aside at once, or end the run"},
    {"tries", VALUE_INT, 1, 1000, "3", NULL, NULL, offsetof(struct spec_stage, tries), FOR_ALL,
     "times that a document may fail here before it is set aside"},
    {"memory", VALUE_SIZE, 1048576, 1e18, NULL, NULL, NULL, offsetof(struct spec_stage, memory_bytes),
     FOR_ALL, "limit of each process's own memory; mapped weights do not count"},
    {"deadline", VALUE_TIME, 1e6, 1e18, "60s", NULL, NULL, offsetof(struct spec_stage, deadline_ns), FOR_ALL,
     "without progress for this long, though there is work, a process is taken to hang"},
    {"window", VALUE_INT, 1, 4096, "8", "frames", NULL, offsetof(struct spec_stage, window), FOR_READERS,
     "frames that may wait on each incoming link"},
    {"spill", VALUE_SIZE, 65536, 1e18, NULL, NULL, NULL, offsetof(struct spec_stage, spill_bytes),
     FOR_READERS, "disk space where more may wait, for each incoming link"},
    {"in_flight", VALUE_INT, 1, 65536, "16", "documents", NULL, offsetof(struct spec_stage, in_flight),
     FOR_SOURCES, "documents of a source that may be under way"},
};
enum { COMMON_COUNT = sizeof commons / sizeof *commons };

/* --- the table for others --- */

static struct json_node *option_list;

static void forget(void) __attribute__((destructor));
static void forget(void)
{
    json_free(option_list);
}

static struct json_node *option_node(const struct common *c)
{
    struct json_node *node = json_new_map(), *flags = json_new_list();
    struct json_node *choices = c->choices != NULL ? json_new_list() : json_new_null();
    for (size_t i = 0; c->choices != NULL && c->choices[i] != NULL; i++)
        json_append(choices, json_new_string(c->choices[i]));
    json_put(node, "name", json_new_string(c->name));
    json_put(node, "type", json_new_string(value_type_name(c->type)));
    json_put(node, "default", json_new_string(c->def));
    json_put(node, "unit", json_new_string(c->unit));
    json_put(node, "min", json_new_number(c->min));
    json_put(node, "max", json_new_number(c->max));
    json_put(node, "choices", choices);
    json_put(node, "meaning", json_new_string(c->meaning));
    if (c->flags == FOR_SOURCES) json_append(flags, json_new_string("source"));
    if (c->flags == FOR_READERS) json_append(flags, json_new_string("input"));
    if (c->flags == FOR_INNER) json_append(flags, json_new_string("inner"));
    json_put(node, "flags", flags);
    return node;
}

const struct json_node *spec_common_options(void)
{
    if (option_list != NULL) return option_list;
    option_list = json_new_list();
    for (size_t i = 0; i < COMMON_COUNT; i++) json_append(option_list, option_node(&commons[i]));
    return option_list;
}

const char *const *spec_common_keys(void)
{
    static const char *const keys[] = {"deadline", "env",     "feedback", "from",     "in_flight",
                                       "kind",     "memory",  "on_error", "replicas", "restart",
                                       "spill",    "threads", "tries",    "window",   NULL};
    return keys;
}

bool spec_is_common(const char *key)
{
    const char *const *k = spec_common_keys();
    while (*k != NULL && strcmp(*k, key) != 0) k++;
    return *k != NULL;
}

/* --- env --- */

static void add_env(struct spec_stage *st, const char *key, const char *value)
{
    size_t n = 0, key_len = strlen(key);
    struct buf b = {0};
    buf_printf(&b, "%s=%s", key, value);
    while (st->env != NULL && st->env[n] != NULL) {
        if (strncmp(st->env[n], key, key_len) == 0 && st->env[n][key_len] == '=') {
            free(st->env[n]);
            st->env[n] = buf_take(&b);
            return;
        }
        n++;
    }
    st->env = spec_must(realloc(st->env, (n + 2) * sizeof(char *)));
    st->env[n] = buf_take(&b);
    st->env[n + 1] = NULL;
}

static bool good_variable(const char *name)
{
    static const char rest[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    return name[0] != '\0' && !(name[0] >= '0' && name[0] <= '9') && name[strspn(name, rest)] == '\0';
}

/* Read one env map into the stage; its mistakes are told if `check` (maps that all stages share are checked
 * with the first). */
static void read_env(struct spec_reader *r, struct spec_stage *st, const char *what,
                     const struct yaml_node *env, bool check)
{
    if (env == NULL || yaml_is_null(env) || env->broken) return;
    if (env->sort != YAML_IS_MAP) {
        if (check)
            spec_report(r, "E022", env, "such as `env: {OMP_NUM_THREADS: 1}`",
                        "%s is a map of variables, this is %s", what, yaml_sort_name(env));
        return;
    }
    for (size_t i = 0; i < env->count; i++) {
        const struct yaml_node *name = env->keys[i], *value = env->items[i];
        bool ours = strncmp(name->text, "THEA_", 5) == 0, loader = strncmp(name->text, "LD_", 3) == 0;
        if (check && (ours || loader))
            spec_report(r, "E029", name,
                        ours ? "what THEA_ variables set has options of its own"
                             : "LD_ variables change what program runs",
                        "%s: variable '%s' cannot be set", what, name->text);
        else if (check && !good_variable(name->text))
            spec_report(r, "E029", name, "letters, digits and '_', not beginning with a digit",
                        "%s: '%s' is no name of a variable", what, name->text);
        else if (check && (value->sort != YAML_IS_SCALAR) && !value->broken)
            spec_report(r, "E022", value, NULL, "%s: %s takes one value, this is %s", what, name->text,
                        yaml_sort_name(value));
        else if (value->sort == YAML_IS_SCALAR)
            add_env(st, name->text, value->text);
    }
}

/* --- values --- */

/* A text that is known to be good, or is told elsewhere to be bad, into the stage's field. */
static void store(struct spec_stage *st, const struct common *c, const char *text)
{
    struct value v;
    struct value_limits limits = {c->min, c->max, c->choices};
    char *field = (char *)st + c->offset;
    if (value_parse(&v, c->type, &limits, text, NULL) != THEA_OK) return;
    if (c->type == VALUE_SIZE || c->type == VALUE_TIME)
        *(int64_t *)(void *)field = v.integer;
    else
        *(int *)(void *)field = c->type == VALUE_CHOICE ? v.choice : (int)v.integer;
}

static bool check_value(struct spec_reader *r, const char *where, size_t common, const struct yaml_node *map)
{
    const char *name = commons[common].name;
    struct spec_option parsed;
    bool good = spec_value(r, where, json_item(spec_common_options(), common), yaml_member_key(map, name),
                           yaml_member(map, name), &parsed);
    spec_option_fini(&parsed);
    return good;
}

/* May the stage have the key at all? Its kind is asked; of an unknown kind nothing is known. */
static bool applies(const struct common *c, const struct json_node *table)
{
    bool source = json_count(port_list(table, false)) == 0, sink = json_count(port_list(table, true)) == 0;
    if (c->flags == FOR_SOURCES) return source;
    if (c->flags == FOR_READERS) return !source;
    return c->flags != FOR_INNER || (!source && !sink);
}

static void read_value(struct spec_reader *r, size_t stage, size_t common, const char *where)
{
    const struct common *c = &commons[common];
    const struct spec_draft *d = &r->drafts[stage];
    struct spec_stage *st = &r->spec->stages[stage];
    const struct yaml_node *own = yaml_member(d->node, c->name),
                           *shared = yaml_member(yaml_member(r->root, "defaults"), c->name);
    if (own != NULL) {
        if (check_value(r, where, common, d->node)) store(st, c, own->text);
    } else if (shared != NULL && shared->sort == YAML_IS_SCALAR && d->plain != NULL && applies(c, d->plain)) {
        store(st, c, shared->text);
    }
}

/* Has the stage itself the default of this one? */
static bool is_the_stages(size_t offset)
{
    return offset == offsetof(struct spec_stage, window) || offset == offsetof(struct spec_stage, in_flight);
}

void spec_read_common(struct spec_reader *r, size_t stage)
{
    struct spec_stage *st = &r->spec->stages[stage];
    const struct spec_draft *d = &r->drafts[stage];
    const char *threads = getenv("THEA_THREADS");
    struct buf where = {0};
    for (size_t i = 0; i < COMMON_COUNT; i++)
        if (commons[i].def != NULL && !is_the_stages(commons[i].offset))
            store(st, &commons[i], commons[i].def);
    if (threads != NULL) store(st, &commons[0], threads);
    buf_printf(&where, "stage '%s'", st->name);
    for (size_t i = 0; i < COMMON_COUNT; i++) read_value(r, stage, i, buf_text(&where));
    if (r->overrides->threads > 0) st->threads = r->overrides->threads;
    const struct yaml_node *defaults = yaml_member(r->root, "defaults");
    read_env(r, st, "env", yaml_member(r->root, "env"), stage == 0);
    read_env(r, st, "defaults: env", yaml_member(defaults, "env"), stage == 0);
    buf_add_text(&where, ": env");
    read_env(r, st, buf_text(&where), yaml_member(d->node, "env"), true);
    buf_fini(&where);
}

/* --- where keys may stand --- */

static void unknown_default(struct spec_reader *r, const struct yaml_node *key)
{
    const char *names[COMMON_COUNT + 2];
    struct buf message = {0}, list = {0};
    size_t n = 0;
    for (const char *const *k = spec_common_keys(); *k != NULL; k++) {
        if (strcmp(*k, "kind") == 0 || strcmp(*k, "from") == 0 || strcmp(*k, "feedback") == 0) continue;
        buf_printf(&list, "%s%s", n > 0 ? ", " : "keys of defaults: ", *k);
        names[n++] = *k;
    }
    names[n] = NULL;
    buf_printf(&message, "'defaults': unknown key '%s'", key->text);
    spec_add_nearest(&message, key->text, names);
    spec_report(r, "E020", key, buf_text(&list), "%s", buf_text(&message));
    buf_fini(&message);
    buf_fini(&list);
}

void spec_check_defaults(struct spec_reader *r)
{
    const struct yaml_node *defaults = yaml_member(r->root, "defaults");
    if (yaml_is_null(defaults)) return;
    if (defaults->sort != YAML_IS_MAP) {
        spec_report(r, "E022", defaults, "such as `defaults: {threads: 2}`",
                    "'defaults' is a map, this is %s", yaml_sort_name(defaults));
        return;
    }
    for (size_t i = 0; i < defaults->count; i++) {
        const char *key = defaults->keys[i]->text;
        size_t c = 0;
        while (c < COMMON_COUNT && strcmp(commons[c].name, key) != 0) c++;
        if (c < COMMON_COUNT)
            (void)check_value(r, "defaults", c, defaults);
        else if (strcmp(key, "env") != 0)
            unknown_default(r, defaults->keys[i]);
    }
}

static void report_place(struct spec_reader *r, size_t stage, const struct common *c)
{
    const struct spec_stage *st = &r->spec->stages[stage];
    const struct yaml_node *key = yaml_member_key(r->drafts[stage].node, c->name);
    if (c->flags == FOR_SOURCES)
        spec_report(r, "E085", key, "sources have it: kinds that read from no stage, such as load",
                    "stage '%s': '%s' is no key of kind '%s', which has inputs", st->name, c->name, st->kind);
    else
        spec_report(r, "E085", key, "it is about links that come in; set it on the stage that reads",
                    "stage '%s': '%s' is no key of kind '%s', which has no inputs", st->name, c->name,
                    st->kind);
}

static void report_replicas(struct spec_reader *r, size_t stage)
{
    const struct spec_stage *st = &r->spec->stages[stage];
    spec_report(r, "E084", yaml_member(r->drafts[stage].node, "replicas"),
                st->source ? "each would read all of its inputs; stages of their own, with paths of their "
                             "own, share them out"
                           : "one process alone writes an output and knows what is in it",
                "stage '%s': a %s has one replica, not %d", st->name, st->source ? "source" : "sink",
                st->replicas);
}

void spec_check_common(struct spec_reader *r)
{
    for (size_t i = 0; i < r->spec->stage_count; i++) {
        const struct spec_draft *d = &r->drafts[i];
        if (d->plain == NULL || d->node->sort != YAML_IS_MAP) continue;
        for (size_t c = 0; c < COMMON_COUNT; c++) {
            if (yaml_member(d->node, commons[c].name) == NULL || applies(&commons[c], d->plain)) continue;
            if (commons[c].flags != FOR_INNER)
                report_place(r, i, &commons[c]);
            else if (r->spec->stages[i].replicas > 1)
                report_replicas(r, i);
        }
    }
}
