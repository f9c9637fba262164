/* Environment variables in the values of a YAML tree: see yaml_expand in yaml.h. */
#include "graph/control/yaml.h"

#include <stdlib.h>
#include <string.h>

static bool is_name(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool letter =
            (text[i] >= 'A' && text[i] <= 'Z') || (text[i] >= 'a' && text[i] <= 'z') || text[i] == '_';
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (!letter && !(digit && i > 0)) return false;
    }
    return n > 0;
}

/* The place of text[at, at + n) within a scalar; exact for scalars without escapes that stand on one line. */
static struct diag_place part_place(const struct yaml_node *node, size_t at, size_t n)
{
    struct diag_place place = node->place;
    size_t before = 0, inside = 0;
    for (size_t i = 0; i < at + n; i++)
        if (((unsigned char)node->text[i] & 0xC0) != 0x80) *(i < at ? &before : &inside) += 1;
    before += node->quoted;
    if (before + inside > place.length) return place;
    place.column += before;
    place.length = inside;
    return place;
}

/* Replace the ${…} at text[at]; returns where it ends, or 0 after a mistake. */
static size_t expand_one(struct diag_list *diags, const struct yaml_node *node, size_t at, struct buf *out)
{
    const char *name = node->text + at + 2, *close = strchr(name, '}');
    if (close == NULL) {
        diag_add(diags, "E010", part_place(node, at, 2), "write ${NAME} or ${NAME:-default}; $$ is a dollar",
                 "'${' without '}'");
        return 0;
    }
    const char *colon = memmem(name, (size_t)(close - name), ":-", 2);
    size_t n = (size_t)((colon != NULL ? colon : close) - name),
           whole = (size_t)(close + 1 - (node->text + at));
    if (!is_name(name, n)) {
        diag_add(diags, "E010", part_place(node, at, whole),
                 "write ${NAME} or ${NAME:-default}; $$ is a dollar",
                 "'%.*s' is not the name of an environment variable", (int)n, name);
        return 0;
    }
    char *key = strndup(name, n);
    if (key == NULL) abort(); /* out of memory */
    const char *value = getenv(key);
    if (value == NULL && colon == NULL) {
        struct buf details = {0};
        buf_printf(&details, "set it, or give a default: ${%s:-value}", key);
        diag_add(diags, "E009", part_place(node, at, whole), buf_text(&details),
                 "environment variable '%s' is not set", key);
        buf_fini(&details);
    } else if (value != NULL && (value[0] != '\0' || colon == NULL)) {
        buf_add_text(out, value);
    } else if (colon != NULL) {
        buf_add(out, colon + 2, (size_t)(close - colon - 2));
    }
    bool known = value != NULL || colon != NULL;
    free(key);
    return known ? at + whole : 0;
}

static void expand_scalar(struct diag_list *diags, struct yaml_node *node)
{
    struct buf out = {0};
    if (strchr(node->text, '$') == NULL) return;
    for (size_t i = 0; node->text[i] != '\0' && !node->broken;) {
        if (node->text[i] == '$' && node->text[i + 1] == '$') {
            buf_add_char(&out, '$');
            i += 2;
        } else if (node->text[i] == '$' && node->text[i + 1] == '{') {
            node->expanded = true;
            i = expand_one(diags, node, i, &out);
            node->broken = i == 0;
        } else {
            buf_add_char(&out, node->text[i++]);
        }
    }
    free(node->text);
    node->text = buf_take(&out);
}

void yaml_expand(struct yaml_node *node, struct diag_list *diags)
{
    if (node->sort == YAML_IS_SCALAR) expand_scalar(diags, node);
    for (size_t i = 0; i < node->count; i++) yaml_expand(node->items[i], diags);
}
