/* YAML text to a tree whose every node knows its place. yaml.c alone faces libyaml.
 *
 * Everything that surprises people is an error with a position: anchors, aliases, tags, a second document,
 * duplicate keys, tabs, nesting over YAML_DEPTH_MAX, bytes that are not UTF-8, an empty file. Scalars stay
 * text with their style: what a value means is decided by the option it is for, so `no`, `1e3` and `0x10`
 * never change by themselves. */
#ifndef GRAPH_CONTROL_YAML_H
#define GRAPH_CONTROL_YAML_H

#include "graph/control/diag.h"

enum { YAML_DEPTH_MAX = 64, YAML_TEXT_MAX = 4 << 20 };

typedef enum { YAML_IS_SCALAR, YAML_IS_LIST, YAML_IS_MAP } yaml_sort;

struct yaml_node {
    yaml_sort sort;
    struct diag_place place;  /* file is borrowed from the caller of yaml_read; line 0: from the command line,
                                 named by `file` */
    char *text;               /* a scalar's, NUL-terminated */
    bool quoted;              /* a scalar in quotes or a block scalar: text whatever it looks like */
    bool expanded;            /* something of it came from ${…} */
    bool broken;              /* a mistake in it is told already: its text means nothing */
    struct yaml_node **keys;  /* of a map: scalars */
    struct yaml_node **items; /* of a list or map */
    size_t count;
};

/* Parse; `first_line` is the number of the text's first line in its file. Mistakes go to diags; NULL when
 * nothing can be made of the text. The result is freed with yaml_node_free. */
struct yaml_node *yaml_read(const char *text, size_t len, const char *file, size_t first_line,
                            struct diag_list *diags);
void yaml_node_free(struct yaml_node *node); /* takes NULL */
/* Replace ${VAR}, ${VAR:-default} and $$ in all values (not in keys): after parsing, so that a value cannot
 * add keys. */
void yaml_expand(struct yaml_node *node, struct diag_list *diags);

struct yaml_node *yaml_new_scalar(const char *text, struct diag_place place);
struct yaml_node *yaml_new_map(struct diag_place place);
struct yaml_node *yaml_new_list(struct diag_place place);
void yaml_append(struct yaml_node *list, struct yaml_node *item); /* takes over item */
void yaml_put(struct yaml_node *map, struct yaml_node *key,
              struct yaml_node *item); /* takes over both; an item of that key is replaced and freed */

struct yaml_node *yaml_member(const struct yaml_node *map,
                              const char *key); /* NULL if none, or map is none */
struct yaml_node *yaml_member_key(const struct yaml_node *map, const char *key); /* the key's node */
bool yaml_is_null(const struct yaml_node *node); /* plain `~`, `null` or nothing; NULL too */
const char *yaml_sort_name(
    const struct yaml_node *node); /* "a list", "a map", "text", "nothing": for messages */

#endif
