/* A stage's keys: the kind's own options, and the full table that they lead to. Those of every stage are in
 * spec_common.c. */
#include "graph/control/spec_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct later {
    const char *key, *since;
} later_keys[] = {{"recompute", "0.4"}, {"gemm", "0.5"}, {"kv", "0.5"}, {NULL, NULL}};
/* Options that one kind has and people look for elsewhere. */
static const struct elsewhere {
    const char *key, *kind;
} elsewhere[] = {{"isolate", "exec"}, {"command", "exec"}, {"follow", "load"},    {"listen", "load"},
                 {"order", "write"},  {"rotate", "write"}, {"append", "write"},   {"pad", "layers"},
                 {"chunk", "layers"}, {"pooling", "pool"}, {"normalize", "pool"}, {NULL, NULL}};
/* Keys that people know from other tools. */
static const struct slip {
    const char *wrong, *right;
} slips[] = {{"input", "from"},
             {"inputs", "from"},
             {"source", "from"},
             {"needs", "from"},
             {"after", "from"},
             {"depends_on", "from"},
             {"environment", "env"},
             {"type", "kind"},
             {"uses", "kind"},
             {"workers", "threads"},
             {"loop", "feedback"},
             {"queue_size", "window"},
             {"buffer", "window"},
             {"files", "paths"},
             {"path", "paths"},
             {"file", "output"},
             {"chunk_size", "chunk"},
             {"instances", "replicas"},
             {"copies", "replicas"},
             {"retries", "tries"},
             {"attempts", "tries"},
             {"timeout", "deadline"},
             {"memory_limit", "memory"},
             {"restart_policy", "restart"},
             {"concurrency", "in_flight"},
             {NULL, NULL}};

static bool among(const char *word, const char *const *list)
{
    while (*list != NULL && strcmp(*list, word) != 0) list++;
    return *list != NULL;
}

/* --- unknown keys --- */

/* Names a pipeline may use for this kind, NULL-terminated; borrowed strings, free the array. */
static const char **own_options(const struct spec_draft *d)
{
    const struct json_node *options = json_member(d->plain, "options");
    const char **names = spec_must(calloc(json_count(options) + 2, sizeof(char *)));
    size_t n = 0;
    for (size_t i = 0; i < json_count(options); i++) {
        const struct json_node *o = json_item(options, i);
        const char *name = json_text_or(o, "name", "");
        if (!spec_option_flag(o, "cli_only") && !spec_option_flag(o, "hidden") &&
            strcmp(name, "split") != 0 && !spec_is_common(name))
            names[n++] = name;
    }
    bool splits =
        spec_table_option(d->plain, "split") != NULL || spec_table_option(d->plain, "blocks") != NULL;
    if (splits) names[n++] = "split";
    return names;
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char *known_keys(const char *kind, const char **own)
{
    struct buf b = {0};
    size_t n = 0;
    while (own[n] != NULL) n++;
    qsort(own, n, sizeof *own, compare_words);
    buf_printf(&b, "options of kind '%s': ", kind);
    for (size_t i = 0; i < n; i++) buf_printf(&b, "%s%s", i > 0 ? ", " : "", own[i]);
    if (n == 0) buf_add_text(&b, "none");
    buf_add_text(&b, "; every stage: ");
    for (const char *const *k = spec_common_keys(); *k != NULL; k++)
        buf_printf(&b, "%s%s", k != spec_common_keys() ? ", " : "", *k);
    return buf_take(&b);
}

static const char *guess_key(const char *word, const char **own)
{
    const char *all[128];
    size_t n = 0;
    for (const char *const *k = spec_common_keys(); *k != NULL; k++) all[n++] = *k;
    for (size_t i = 0; own[i] != NULL && n < 127; i++) all[n++] = own[i];
    all[n] = NULL;
    for (const struct slip *s = slips; s->wrong != NULL; s++)
        if (strcmp(s->wrong, word) == 0 && among(s->right, all)) return s->right;
    return value_nearest(word, all);
}

static const char *kind_that_has(const char *key)
{
    const struct elsewhere *e = elsewhere;
    while (e->key != NULL && strcmp(e->key, key) != 0) e++;
    return e->kind;
}

static void unknown_key(struct spec_reader *r, size_t stage, const struct yaml_node *key)
{
    const struct spec_draft *d = &r->drafts[stage];
    const char *name = r->spec->stages[stage].name;
    for (const struct later *l = later_keys; l->key != NULL; l++) {
        if (strcmp(l->key, key->text) != 0) continue;
        spec_report(r, "E026", key, NULL, "stage '%s': option '%s' comes with %s; this is %s", name,
                    key->text, l->since, THEA_VERSION);
        return;
    }
    if (d->plain == NULL) return; /* the kind is unknown: so are its options */
    const struct json_node *option = spec_table_option(d->plain, key->text);
    if (option != NULL && spec_option_flag(option, "cli_only")) {
        spec_report(r, "E021", key, "in a pipeline the ports that are read decide",
                    "stage '%s': '%s' is an option of the command line alone", name, key->text);
        return;
    }
    const char **own = own_options(d), *near = guess_key(key->text, own), *other = kind_that_has(key->text);
    char *details = known_keys(r->spec->stages[stage].kind, own);
    if (other != NULL && strcmp(other, r->spec->stages[stage].kind) != 0)
        spec_report(r, "E021", key, details, "stage '%s': '%s' is an option of kind '%s', not of '%s'", name,
                    key->text, other, r->spec->stages[stage].kind);
    else if (near != NULL)
        spec_report(r, "E021", key, details, "stage '%s': unknown option '%s' (did you mean '%s'?)", name,
                    key->text, near);
    else
        spec_report(r, "E021", key, details, "stage '%s': unknown option '%s'", name, key->text);
    free(details);
    free(own);
}

/* --- the kind's own --- */

void spec_add_option(struct spec_stage *st, struct spec_option option)
{
    st->options = spec_must(realloc(st->options, (st->option_count + 1) * sizeof *st->options));
    st->options[st->option_count++] = option;
}

/* A model's name, or its absolute path if it is one: "../m" and what is there beside the file (or in the
 * current directory). */
static char *model_text(const struct spec_reader *r, const struct yaml_node *node)
{
    char *path = spec_absolute(node->text, spec_from_cli(node) ? r->cwd : r->dir);
    struct stat st;
    bool is_path = node->text[0] == '.' || node->text[0] == '/' || stat(path, &st) == 0;
    if (is_path) return path;
    free(path);
    return spec_must(strdup(node->text));
}

static void read_model(struct spec_reader *r, size_t stage)
{
    struct spec_stage *st = &r->spec->stages[stage];
    struct spec_draft *d = &r->drafts[stage];
    const struct json_node *option = spec_table_option(d->plain, "model");
    if (option == NULL) return;
    const struct yaml_node *own = yaml_member(d->node, "model"),
                           *node = own != NULL ? own : yaml_member(r->root, "model");
    if (own != NULL &&
        !spec_scalar(r, "model", yaml_member_key(d->node, "model"), own, "a model's name or path"))
        return;
    const char *fallback = getenv("THEA_MODEL");
    if (node != NULL && node->sort == YAML_IS_SCALAR && !yaml_is_null(node) && !node->broken) {
        d->model = node;
        st->model = model_text(r, node);
    } else if (node == NULL && fallback != NULL && fallback[0] != '\0') {
        st->model = spec_must(strdup(fallback));
    } else if (node == NULL && spec_option_flag(option, "required")) {
        spec_report(
            r, "E025", d->key,
            "name it once for all stages: `model: thea-mini` at the top level; or -m MODEL, or THEA_MODEL",
            "stage '%s': kind '%s' needs a model", st->name, st->kind);
    }
}

static void read_split(struct spec_reader *r, size_t stage, const struct yaml_node *key,
                       const struct yaml_node *value)
{
    struct spec_stage *st = &r->spec->stages[stage];
    struct buf what = {0};
    long n = 1;
    buf_printf(&what, "stage '%s': split", st->name);
    if (value->sort == YAML_IS_SCALAR && strcmp(value->text, "auto") == 0) {
        spec_report(r, "E026", value, "give the number of processes", "%s: 'auto' comes with 0.5; this is %s",
                    buf_text(&what), THEA_VERSION);
    } else if (spec_integer(r, buf_text(&what), key, value, 1, 4096, &n)) {
        st->split = (int)n;
        r->drafts[stage].split = value;
    }
    buf_fini(&what);
}

static void read_own(struct spec_reader *r, size_t stage, const struct yaml_node *key,
                     const struct yaml_node *value)
{
    const struct json_node *plain = r->drafts[stage].plain, *option = spec_table_option(plain, key->text);
    bool mine =
        option != NULL && !spec_option_flag(option, "cli_only") && !spec_option_flag(option, "hidden");
    struct spec_option parsed;
    if (strcmp(key->text, "split") == 0) {
        if (plain != NULL) read_split(r, stage, key, value);
    } else if (!mine) {
        unknown_key(r, stage, key);
    } else if (strcmp(key->text, "model") != 0) {
        struct buf where = {0};
        buf_printf(&where, "stage '%s'", r->spec->stages[stage].name);
        if (spec_value(r, buf_text(&where), option, key, value, &parsed))
            spec_add_option(&r->spec->stages[stage], parsed);
        buf_fini(&where);
    }
}

static void check_required(struct spec_reader *r, size_t stage)
{
    const struct spec_draft *d = &r->drafts[stage];
    const struct json_node *options = json_member(d->plain, "options");
    for (size_t i = 0; i < json_count(options); i++) {
        const struct json_node *o = json_item(options, i);
        const char *name = json_text_or(o, "name", "");
        if (!spec_option_flag(o, "required") || strcmp(name, "model") == 0 ||
            yaml_member(d->node, name) != NULL)
            continue;
        struct buf details = {0};
        buf_printf(&details, "%s: %s; %s", name, json_text_or(o, "type", ""), json_text_or(o, "meaning", ""));
        spec_report(r, "E025", d->key, buf_text(&details), "stage '%s': kind '%s' needs the option '%s'",
                    r->spec->stages[stage].name, r->spec->stages[stage].kind, name);
        buf_fini(&details);
    }
}

void spec_read_options(struct spec_reader *r, size_t stage)
{
    const struct spec_draft *d = &r->drafts[stage];
    spec_read_common(r, stage);
    if (d->node->sort != YAML_IS_MAP) return;
    for (size_t i = 0; i < d->node->count; i++)
        if (!spec_is_common(d->node->keys[i]->text) && strcmp(d->node->keys[i]->text, "type") != 0)
            read_own(r, stage, d->node->keys[i], d->node->items[i]);
    if (yaml_member(d->node, "type") != NULL && yaml_member(d->node, "kind") != NULL)
        read_own(r, stage, yaml_member_key(d->node, "type"), yaml_member(d->node, "type"));
    if (d->plain == NULL) return;
    read_model(r, stage);
    check_required(r, stage);
}

/* --- the full table --- */

static void add_word(char ***words, size_t *count, char *word)
{
    *words = spec_must(realloc(*words, (*count + 2) * sizeof(char *)));
    (*words)[(*count)++] = word;
    (*words)[*count] = NULL;
}

static char *option_word(const char *prefix, const char *name, const char *value)
{
    struct buf b = {0};
    buf_printf(&b, "--%s%s", prefix, name);
    for (size_t i = 0; i < b.len; i++) b.data[i] = b.data[i] == '_' ? '-' : b.data[i];
    if (value != NULL) buf_printf(&b, "=%s", value);
    return buf_take(&b);
}

static void add_option_words(char ***words, size_t *count, const struct spec_option *o, value_type type)
{
    if (type == VALUE_BOOL) {
        add_word(words, count, option_word(strcmp(o->values[0], "true") == 0 ? "" : "no-", o->name, NULL));
        return;
    }
    struct buf joined = {0};
    for (size_t i = 0; type == VALUE_NAMES && i < o->count; i++)
        buf_printf(&joined, "%s%s", i > 0 ? "," : "", o->values[i]);
    size_t n = type == VALUE_NAMES ? 1 : o->count;
    for (size_t i = 0; i < n; i++) {
        const char *value = type == VALUE_NAMES ? buf_text(&joined) : o->values[i];
        if (value[0] == '-' && value[1] != '\0') { /* looks like an option */
            add_word(words, count, option_word("", o->name, value));
        } else {
            add_word(words, count, option_word("", o->name, NULL));
            add_word(words, count, spec_must(strdup(value)));
        }
    }
    buf_fini(&joined);
}

char **spec_command_options(const struct spec_stage *stage, size_t *first_operand)
{
    char **words = spec_must(calloc(1, sizeof(char *)));
    size_t count = 0;
    const struct spec_option *operands = NULL;
    if (stage->model != NULL) {
        add_word(&words, &count, spec_must(strdup("--model")));
        add_word(&words, &count, spec_must(strdup(stage->model)));
    }
    for (size_t i = 0; i < stage->option_count; i++) {
        const struct json_node *option = spec_table_option(stage->table, stage->options[i].name);
        if (spec_option_flag(option, "operands"))
            operands = &stage->options[i];
        else
            add_option_words(&words, &count, &stage->options[i], spec_option_type(option));
    }
    if (first_operand != NULL) *first_operand = count;
    bool dashes = false;
    for (size_t i = 0; operands != NULL && i < operands->count; i++)
        dashes = dashes || (operands->values[i][0] == '-' && operands->values[i][1] != '\0');
    if (dashes) add_word(&words, &count, spec_must(strdup("--")));
    for (size_t i = 0; operands != NULL && i < operands->count; i++)
        add_word(&words, &count, spec_must(strdup(operands->values[i])));
    return words;
}

void spec_words_free(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++) free(words[i]);
    free(words);
}

/* The node that a message of the program is about: the value of an option it names, else the stage's kind. */
static const struct yaml_node *blamed(const struct spec_draft *d, const char *message)
{
    for (size_t i = 0; i < d->node->count; i++) {
        const char *key = d->node->keys[i]->text;
        char *word = option_word("", key, NULL);
        struct buf quoted = {0};
        buf_printf(&quoted, "'%s'", key);
        bool named = strstr(message, word) != NULL || strstr(message, buf_text(&quoted)) != NULL;
        free(word);
        buf_fini(&quoted);
        if (named && !spec_is_common(key)) return d->node->items[i];
    }
    const struct yaml_node *kind = yaml_member(d->node, "kind");
    return kind != NULL ? kind : d->key;
}

/* A model that is missing or bad is told once, at the line that names it, however many stages use it. */
static bool model_told(const struct spec_reader *r, size_t stage)
{
    for (size_t i = 0; i < stage; i++)
        if (r->drafts[i].model != NULL && r->drafts[i].model == r->drafts[stage].model && r->drafts[i].failed)
            return true;
    return false;
}

static void describe_failed(struct spec_reader *r, size_t stage, thea_rc rc, char *message)
{
    const struct spec_draft *d = &r->drafts[stage];
    const char *name = r->spec->stages[stage].name;
    bool of_model = d->model != NULL && (rc == THEA_ENOINPUT || rc == THEA_EDATA);
    if (of_model && model_told(r, stage)) return;
    char *details = strchr(message, '\n');
    if (details != NULL) *details++ = '\0';
    char *lines = details != NULL ? spec_must(strdup(details)) : NULL;
    for (char *from = lines, *to = lines; lines != NULL; from++) { /* the printer indents again */
        if ((from == lines || from[-1] == '\n') && from[0] == ' ' && from[1] == ' ') from += 2;
        if ((*to++ = *from) == '\0') break;
    }
    struct buf text = {0};
    bool of_environment =
        d->model == NULL && r->spec->stages[stage].model != NULL && (rc == THEA_ENOINPUT || rc == THEA_EDATA);
    if (of_environment) buf_add_text(&text, "THEA_MODEL: ");
    if (of_model || of_environment)
        buf_add_text(&text, message);
    else
        buf_printf(&text, "stage '%s': %s", name, message);
    const char *code = !of_model && !of_environment ? "E046" : rc == THEA_EDATA ? "E048" : "E047";
    spec_report_rc(r, of_model ? rc : THEA_EUSAGE, code, of_model ? d->model : blamed(d, message), lines,
                   buf_text(&text));
    buf_fini(&text);
    free(lines);
}

void spec_describe(struct spec_reader *r, size_t stage)
{
    struct spec_stage *st = &r->spec->stages[stage];
    struct spec_draft *d = &r->drafts[stage];
    if (d->plain == NULL) return;
    st->table = d->plain;
    char **words = spec_command_options(st, NULL);
    struct thea_err err = {0};
    thea_rc rc = kind_describe(&d->table, st->program, (const char *const *)words, &err);
    spec_words_free(words);
    if (rc != THEA_OK) {
        describe_failed(r, stage, rc, err.message);
        d->failed = true;
        d->table = d->plain; /* its ports are known, if not their widths */
        return;
    }
    st->table = d->table;
    st->source = json_count(port_list(d->table, false)) == 0;
    st->sink = json_count(port_list(d->table, true)) == 0;
    const char *resolved = json_text(json_path(d->table, "resolved.model"), NULL);
    if (resolved == NULL || st->model == NULL) return;
    free(st->model);
    st->model = spec_must(strdup(resolved));
}
