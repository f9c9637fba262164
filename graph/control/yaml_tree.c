/* The tree that YAML is read into, and that is made by hand for the command line: see yaml.h. */
#include "graph/control/yaml.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *memory)
{
    if (memory == NULL) abort(); /* out of memory */
    return memory;
}

static struct yaml_node *new_node(yaml_sort sort, struct diag_place place)
{
    struct yaml_node *node = must(calloc(1, sizeof *node));
    node->sort = sort;
    node->place = place;
    return node;
}

struct yaml_node *yaml_new_scalar(const char *text, struct diag_place place)
{
    struct yaml_node *node = new_node(YAML_IS_SCALAR, place);
    node->text = must(strdup(text));
    return node;
}

struct yaml_node *yaml_new_map(struct diag_place place)
{
    return new_node(YAML_IS_MAP, place);
}

struct yaml_node *yaml_new_list(struct diag_place place)
{
    return new_node(YAML_IS_LIST, place);
}

void yaml_node_free(struct yaml_node *node)
{
    if (node == NULL) return;
    for (size_t i = 0; i < node->count; i++) {
        if (node->keys != NULL) yaml_node_free(node->keys[i]);
        yaml_node_free(node->items[i]);
    }
    free(node->keys);
    free(node->items);
    free(node->text);
    free(node);
}

void yaml_append(struct yaml_node *list, struct yaml_node *item)
{
    list->items = must(realloc(list->items, (list->count + 1) * sizeof *list->items));
    list->items[list->count++] = item;
}

void yaml_put(struct yaml_node *map, struct yaml_node *key, struct yaml_node *item)
{
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->keys[i]->text, key->text) != 0) continue;
        yaml_node_free(map->keys[i]);
        yaml_node_free(map->items[i]);
        map->keys[i] = key;
        map->items[i] = item;
        return;
    }
    map->keys = must(realloc(map->keys, (map->count + 1) * sizeof *map->keys));
    map->keys[map->count] = key;
    yaml_append(map, item);
}

static size_t find_key(const struct yaml_node *map, const char *key)
{
    if (map == NULL || map->sort != YAML_IS_MAP) return SIZE_MAX;
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->keys[i]->text, key) == 0) return i;
    return SIZE_MAX;
}

struct yaml_node *yaml_member(const struct yaml_node *map, const char *key)
{
    size_t i = find_key(map, key);
    return i == SIZE_MAX ? NULL : map->items[i];
}

struct yaml_node *yaml_member_key(const struct yaml_node *map, const char *key)
{
    size_t i = find_key(map, key);
    return i == SIZE_MAX ? NULL : map->keys[i];
}

bool yaml_is_null(const struct yaml_node *node)
{
    if (node == NULL) return true;
    if (node->sort != YAML_IS_SCALAR || node->quoted) return false;
    return node->text[0] == '\0' || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0;
}

const char *yaml_sort_name(const struct yaml_node *node)
{
    if (yaml_is_null(node)) return "nothing";
    return node->sort == YAML_IS_LIST ? "a list" : node->sort == YAML_IS_MAP ? "a map" : "text";
}
