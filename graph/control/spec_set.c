/* What the command line adds to a pipeline, put into its tree as nodes without a line: the same checks then
 * see them, and name them. */
#include "graph/control/spec_internal.h"

#include <stdlib.h>
#include <string.h>

/* A place for nodes of the command line: its `file` is what the user typed. */
static struct diag_place label_place(struct spec_reader *r, char *label)
{
    r->labels = spec_must(realloc(r->labels, (r->label_count + 1) * sizeof(char *)));
    r->labels[r->label_count++] = label;
    return (struct diag_place){.file = label};
}

static void set_place(struct yaml_node *node, struct diag_place place)
{
    node->place = place;
    for (size_t i = 0; i < node->count; i++) {
        if (node->keys != NULL) node->keys[i]->place = place;
        set_place(node->items[i], place);
    }
}

/* VALUE of --set: plain text, or YAML if it begins with [, { or a quote. NULL: err says why. */
static struct yaml_node *parse_value(const char *value, const char *set, struct diag_place place,
                                     struct thea_err *err)
{
    if (value[0] == '\0' || strchr("[{\"'", value[0]) == NULL) {
        struct yaml_node *scalar = yaml_new_scalar(value, place);
        scalar->expanded = true; /* typed by hand: a quoted number is no mistake here */
        return scalar;
    }
    struct diag_list *diags = diag_list_new();
    struct yaml_node *node = yaml_read(value, strlen(value), "--set", 1, diags);
    if (diag_count(diags) > 0 || node == NULL) {
        struct buf text = {0};
        diag_print_plain(diags, 0, &text);
        (void)thea_fail(err, THEA_EUSAGE, "--set %s: %s", set, buf_text(&text));
        buf_fini(&text);
        yaml_node_free(node);
        node = NULL;
    }
    diag_list_free(diags);
    if (node != NULL) set_place(node, place);
    return node;
}

/* The map that KEY.KEY… leads to, made where it is missing. NULL: something on the way is no map. */
static struct yaml_node *descend(struct yaml_node *map, const char *key, size_t len, struct diag_place place)
{
    char *name = spec_must(strndup(key, len));
    struct yaml_node *next = yaml_member(map, name);
    if (next == NULL || yaml_is_null(next)) {
        next = yaml_new_map(place);
        yaml_put(map, yaml_new_scalar(name, place), next);
    }
    free(name);
    return next->sort == YAML_IS_MAP ? next : NULL;
}

static thea_rc no_such_stage(const struct yaml_node *stages, const char *set, const char *name, size_t len,
                             struct thea_err *err)
{
    const char **names = spec_must(calloc(stages != NULL ? stages->count + 1 : 1, sizeof(char *)));
    char *word = spec_must(strndup(name, len));
    struct buf near = {0}, list = {0};
    for (size_t i = 0; stages != NULL && i < stages->count; i++) {
        names[i] = stages->keys[i]->text;
        buf_printf(&list, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    spec_add_nearest(&near, word, names);
    (void)thea_fail(err, THEA_EUSAGE, "--set %s: no stage '%s'%s\n  stages: %s", set, word, buf_text(&near),
                    buf_text(&list));
    buf_fini(&near);
    buf_fini(&list);
    free(word);
    free(names);
    return THEA_EUSAGE;
}

/* The map that holds the last key of "STAGE.env.KEY=…", and that key's beginning in *last. */
static thea_rc find_target(struct spec_reader *r, const char *set, size_t len, struct diag_place place,
                           struct yaml_node **map, const char **last, struct thea_err *err)
{
    const char *dot = memchr(set, '.', len);
    *last = set;
    *map = r->root;
    if (dot == NULL) return THEA_OK;
    size_t n = (size_t)(dot - set);
    struct yaml_node *stages = yaml_member(r->root, "stages");
    bool top = (n == 8 && memcmp(set, "defaults", n) == 0) || (n == 3 && memcmp(set, "env", n) == 0);
    if (!top) {
        char *name = spec_must(strndup(set, n));
        bool known = yaml_member(stages, name) != NULL;
        free(name);
        if (!known) return no_such_stage(stages, set, set, n, err);
        *map = stages;
    }
    while (dot != NULL && *map != NULL) {
        *map = descend(*map, *last, (size_t)(dot - *last), place);
        *last = dot + 1;
        dot = memchr(*last, '.', len - (size_t)(*last - set));
    }
    return *map != NULL
               ? THEA_OK
               : thea_fail(err, THEA_EUSAGE,
                           "--set %s: what stands before the last '.' is no map in this pipeline", set);
}

static thea_rc apply_set(struct spec_reader *r, const char *set, struct thea_err *err)
{
    const char *equals = strchr(set, '='), *last = NULL;
    if (equals == NULL || equals == set)
        return thea_fail(err, THEA_EUSAGE, "--set %s: write STAGE.option=value, or model=NAME", set);
    struct buf label = {0};
    buf_printf(&label, "--set %s", set);
    struct diag_place place = label_place(r, buf_take(&label));
    struct yaml_node *map = NULL;
    thea_rc rc = find_target(r, set, (size_t)(equals - set), place, &map, &last, err);
    if (rc != THEA_OK) return rc;
    char *key = spec_must(strndup(last, (size_t)(equals - last)));
    for (char *c = key; *c != '\0'; c++)
        *c =
            *c == '-' && map != r->root && strchr(set, '.') != NULL ? '_' : *c; /* --set load.max-bytes too */
    if (strcmp(key, "stages") == 0 && map == r->root)
        rc = thea_fail(err, THEA_EUSAGE, "--set %s: stages are set by option: --set STAGE.option=value", set);
    struct yaml_node *value = rc == THEA_OK ? parse_value(equals + 1, set, place, err) : NULL;
    if (value != NULL) yaml_put(map, yaml_new_scalar(key, place), value);
    free(key);
    return value != NULL ? THEA_OK : THEA_EUSAGE;
}

thea_rc spec_apply_sets(struct spec_reader *r, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    for (size_t i = 0; i < r->overrides->set_count && rc == THEA_OK; i++)
        rc = apply_set(r, r->overrides->sets[i], err);
    return rc;
}

/* --- -m, inputs, -o --- */

static struct yaml_node *stage_map(struct spec_reader *r, size_t stage)
{
    return yaml_member(yaml_member(r->root, "stages"), r->spec->stages[stage].name);
}

static const struct json_node *operands_option(const struct json_node *table)
{
    const struct json_node *options = json_member(table, "options");
    for (size_t i = 0; i < json_count(options); i++)
        if (spec_option_flag(json_item(options, i), "operands")) return json_item(options, i);
    return NULL;
}

static bool takes_operands(const struct json_node *table)
{
    return json_count(port_list(table, false)) == 0 && operands_option(table) != NULL;
}

static bool takes_output(const struct json_node *table)
{
    return spec_table_option(table, "output") != NULL;
}

/* The only stage for which `fits` holds. */
static thea_rc only_stage(const struct spec_reader *r, bool (*fits)(const struct json_node *),
                          const char *what, const char *option, size_t *out, struct thea_err *err)
{
    struct buf names = {0};
    size_t count = 0;
    for (size_t i = 0; i < r->spec->stage_count; i++) {
        if (r->drafts[i].plain == NULL || !fits(r->drafts[i].plain)) continue;
        *out = i;
        buf_printf(&names, "%s%s", count++ > 0 ? ", " : "", r->spec->stages[i].name);
    }
    thea_rc rc = THEA_OK;
    if (count == 0) rc = thea_fail(err, THEA_EUSAGE, "no stage of this pipeline takes %s", what);
    if (count > 1)
        rc = thea_fail(err, THEA_EUSAGE, "several stages take %s: %s\n  say which: --set STAGE.%s=…", what,
                       buf_text(&names), option);
    buf_fini(&names);
    return rc;
}

static thea_rc apply_inputs(struct spec_reader *r, struct thea_err *err)
{
    size_t stage = 0;
    thea_rc rc = only_stage(r, takes_operands, "inputs", "paths", &stage, err);
    if (rc != THEA_OK) return rc;
    struct diag_place place = label_place(r, spec_must(strdup("inputs of the command line")));
    struct yaml_node *list = yaml_new_list(place);
    for (size_t i = 0; i < r->overrides->input_count; i++) {
        yaml_append(list, yaml_new_scalar(r->overrides->inputs[i], place));
        list->items[i]->expanded = true;
    }
    yaml_put(stage_map(r, stage),
             yaml_new_scalar(json_text_or(operands_option(r->drafts[stage].plain), "name", "paths"), place),
             list);
    return THEA_OK;
}

static thea_rc apply_output(struct spec_reader *r, struct thea_err *err)
{
    size_t stage = 0;
    thea_rc rc = only_stage(r, takes_output, "an output", "output", &stage, err);
    if (rc != THEA_OK) return rc;
    struct diag_place place = label_place(r, spec_must(strdup("-o")));
    yaml_put(stage_map(r, stage), yaml_new_scalar("output", place),
             yaml_new_scalar(r->overrides->output, place));
    return THEA_OK;
}

static thea_rc apply_model(struct spec_reader *r, struct thea_err *err)
{
    bool used = r->spec->stage_count == 0;
    for (size_t i = 0; i < r->spec->stage_count; i++)
        used = used || r->drafts[i].plain == NULL ||
               (spec_table_option(r->drafts[i].plain, "model") != NULL &&
                yaml_member(r->drafts[i].node, "model") == NULL);
    if (!used)
        return thea_fail(
            err, THEA_EUSAGE,
            "-m %s: no stage takes the pipeline's model\n  a stage that names its own: --set STAGE.model=…",
            r->overrides->model);
    struct buf label = {0};
    buf_printf(&label, "-m %s", r->overrides->model);
    struct diag_place place = label_place(r, buf_take(&label));
    yaml_put(r->root, yaml_new_scalar("model", place), yaml_new_scalar(r->overrides->model, place));
    return THEA_OK;
}

thea_rc spec_apply_operands(struct spec_reader *r, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    if (r->overrides->model != NULL) rc = apply_model(r, err);
    if (rc == THEA_OK && r->overrides->input_count > 0) rc = apply_inputs(r, err);
    if (rc == THEA_OK && r->overrides->output != NULL) rc = apply_output(r, err);
    return rc;
}
