/* Reading the top level and the stages' names and kinds. */
#include "graph/control/spec_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *const top_keys[] = {"name", "doc", "model", "env", "defaults", "stages", NULL};
static const struct later {
    const char *key, *since;
} later_top[] = {{"train", "0.4"}, {NULL, NULL}};
static const char *const reserved_top[] = {"host", "tests", NULL};
static const struct slip {
    const char *wrong, *right;
} top_slips[] = {{"nodes", "stages"},
                 {"steps", "stages"},
                 {"pipeline", "stages"},
                 {"description", "doc"},
                 {"title", "name"},
                 {"environment", "env"},
                 {NULL, NULL}};

const char *const *spec_top_keys(void)
{
    return top_keys;
}

static bool among(const char *word, const char *const *list)
{
    while (*list != NULL && strcmp(*list, word) != 0) list++;
    return *list != NULL;
}

bool spec_good_name(const char *name)
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    static const char rest[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    return strspn(name, first) > 0 && name[strspn(name, rest)] == '\0' && strlen(name) <= 64;
}

static bool check_name(struct spec_reader *r, const struct yaml_node *at, const char *what, const char *name)
{
    if (spec_good_name(name)) return true;
    spec_report(
        r, "E040", at,
        "a name has letters, digits, '_' and '-', begins with a letter or digit, and is at most 64 long",
        "%s cannot be named '%s'", what, name);
    return false;
}

/* --- top level --- */

static void unknown_top(struct spec_reader *r, const struct yaml_node *key)
{
    for (const struct later *l = later_top; l->key != NULL; l++)
        if (strcmp(l->key, key->text) == 0) {
            spec_report(r, "E026", key, NULL, "key '%s' comes with %s; this is %s", key->text, l->since,
                        THEA_VERSION);
            return;
        }
    if (among(key->text, reserved_top)) {
        spec_report(r, "E027", key, "the name is kept for later versions", "key '%s' is reserved", key->text);
        return;
    }
    struct buf message = {0};
    buf_printf(&message, "unknown key '%s'", key->text);
    const struct slip *s = top_slips;
    while (s->wrong != NULL && strcmp(s->wrong, key->text) != 0) s++;
    if (s->wrong != NULL)
        buf_printf(&message, " (did you mean '%s'?)", s->right);
    else
        spec_add_nearest(&message, key->text, top_keys);
    spec_report(r, "E020", key, "keys of a pipeline file: defaults, doc, env, model, name, stages", "%s",
                buf_text(&message));
    buf_fini(&message);
}

static char *default_name(const struct spec *s)
{
    const char *slash = strrchr(s->file, '/'), *base = slash != NULL ? slash + 1 : s->file;
    char *name = spec_must(strdup(base));
    char *dot = strchr(name, '.');
    if (dot != NULL) *dot = '\0';
    if (spec_good_name(name)) return name;
    free(name);
    return spec_must(strdup("pipeline"));
}

void spec_read_top(struct spec_reader *r)
{
    struct spec *s = r->spec;
    for (size_t i = 0; i < r->root->count; i++)
        if (!among(r->root->keys[i]->text, top_keys)) unknown_top(r, r->root->keys[i]);
    const struct yaml_node *name = yaml_member(r->root, "name"), *doc = yaml_member(r->root, "doc"),
                           *model = yaml_member(r->root, "model");
    if (name != NULL && spec_scalar(r, "name", yaml_member_key(r->root, "name"), name, NULL) &&
        check_name(r, name, "a pipeline", name->text))
        s->name = spec_must(strdup(name->text));
    if (s->name == NULL) s->name = default_name(s);
    if (doc != NULL && spec_scalar(r, "doc", yaml_member_key(r->root, "doc"), doc, NULL))
        s->doc = spec_must(strdup(doc->text));
    if (model != NULL)
        (void)spec_scalar(r, "model", yaml_member_key(r->root, "model"), model,
                          "a model's name or path, such as thea-mini");
    spec_check_defaults(r);
}

/* --- stages --- */

static void add_stage(struct spec_reader *r, const struct yaml_node *key, const struct yaml_node *node)
{
    struct spec *s = r->spec;
    s->stages = spec_must(realloc(s->stages, (s->stage_count + 1) * sizeof *s->stages));
    r->drafts = spec_must(realloc(r->drafts, (s->stage_count + 1) * sizeof *r->drafts));
    s->stages[s->stage_count] =
        (struct spec_stage){.name = spec_must(strdup(key->text)), .place = key->place, .split = 1};
    s->stages[s->stage_count].place.file = spec_must(strdup(key->place.file));
    r->drafts[s->stage_count++] = (struct spec_draft){.key = key, .node = node};
}

/* Find the program of a kind and ask for its table. `why` gets the error's first line, its other lines become
 * details. */
static void find_kind(struct spec_reader *r, size_t stage, const struct yaml_node *kind)
{
    struct spec_stage *st = &r->spec->stages[stage];
    struct thea_err err = {0};
    const char *code = "E045";
    thea_rc rc = kind_find(&st->program, kind->text, spec_from_cli(kind) ? r->cwd : r->dir, &err);
    if (rc == THEA_OK) {
        code = "E046";
        rc = kind_describe(&r->drafts[stage].plain, st->program, NULL, &err);
    }
    if (rc == THEA_OK) return;
    char *details = strchr(err.message, '\n');
    if (details != NULL) *details++ = '\0', details += strspn(details, " ");
    spec_report(r, code, kind, details, "stage '%s': %s", st->name, err.message);
}

static void read_kind(struct spec_reader *r, size_t stage)
{
    struct spec_stage *st = &r->spec->stages[stage];
    const struct spec_draft *d = &r->drafts[stage];
    const struct yaml_node *kind = yaml_member(d->node, "kind"), *type = yaml_member_key(d->node, "type");
    if (kind == NULL) {
        const struct yaml_node *key = type != NULL ? type : d->key;
        const char *hint =
            type != NULL ? "the key is `kind`" : "such as `kind: layers`; thea stages lists the kinds";
        spec_report(r, "E044", key, hint, "stage '%s' has no kind", st->name);
        return;
    }
    if (!spec_scalar(r, "kind", yaml_member_key(d->node, "kind"), kind,
                     "the name of a stage program; thea stages lists them"))
        return;
    st->kind = spec_must(strdup(kind->text));
    find_kind(r, stage, kind);
}

static void read_stage(struct spec_reader *r, const struct yaml_node *key, const struct yaml_node *node)
{
    if (among(key->text, top_keys) || among(key->text, reserved_top) || strcmp(key->text, "train") == 0) {
        spec_report(r, "E042", key, "choose another name",
                    "a stage cannot be named '%s': it is a key of the top level", key->text);
    } else {
        (void)check_name(r, key, "a stage", key->text);
    }
    add_stage(r, key, node);
    if (node->sort == YAML_IS_MAP) {
        read_kind(r, r->spec->stage_count - 1);
    } else if (!node->broken) {
        spec_report(r, "E022", yaml_is_null(node) ? key : node, "such as `{kind: layers, from: tokenize}`",
                    "stage '%s' is a map of options, this is %s", key->text, yaml_sort_name(node));
    }
}

void spec_read_stages(struct spec_reader *r)
{
    const struct yaml_node *stages = yaml_member(r->root, "stages"),
                           *key = yaml_member_key(r->root, "stages");
    if (stages == NULL) {
        struct yaml_node top = {.place = r->root->place};
        spec_report(
            r, "E043", r->root->count > 0 ? r->root->keys[0] : &top,
            "such as `stages: {load: {kind: load, paths: [\"*.md\"]}, write: {kind: write, from: load}}`",
            "the pipeline has no 'stages'");
    } else if (stages->sort != YAML_IS_MAP) {
        if (!stages->broken)
            spec_report(r, "E043", yaml_is_null(stages) ? key : stages,
                        "each stage is a key: `layers: {kind: layers, from: tokenize}`",
                        "'stages' is a map of stages by name, this is %s", yaml_sort_name(stages));
    } else {
        if (stages->count == 0) spec_report(r, "E043", key, NULL, "the pipeline has no stages");
        for (size_t i = 0; i < stages->count; i++) read_stage(r, stages->keys[i], stages->items[i]);
    }
}

size_t spec_find_stage(const struct spec *s, const char *name, size_t len)
{
    for (size_t i = 0; i < s->stage_count; i++)
        if (strlen(s->stages[i].name) == len && memcmp(s->stages[i].name, name, len) == 0) return i;
    return SIZE_MAX;
}
