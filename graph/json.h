/* JSON, over jansson: parse foreign text, walk it, build our own. Strings may hold U+0000 (their length is
 * given).
 *
 * A node returned by json_parse, json_read_file or json_new_* is owned by the caller (json_free); a node
 * found inside another is borrowed from it. Duplicate keys and nesting over 64 are errors. */
#ifndef GRAPH_JSON_H
#define GRAPH_JSON_H

#include "graph/err.h"
#include <stdbool.h>
#include <stdint.h>

struct json_node; /* opaque */

typedef enum {
    JSON_NULL_,
    JSON_BOOL_,
    JSON_INT_,
    JSON_NUMBER_,
    JSON_TEXT_,
    JSON_LIST_,
    JSON_MAP_
} json_kind_t;

/* what: how to name the text in errors, as "config.json". Errors: THEA_EDATA with line and column. */
THEA_CHECK thea_rc json_parse(struct json_node **out, const char *text, size_t len, const char *what,
                              struct thea_err *err);
/* Errors also: THEA_ENOINPUT, THEA_EIO, and THEA_EDATA for a file over max_bytes. */
THEA_CHECK thea_rc json_read_file(struct json_node **out, const char *path, size_t max_bytes,
                                  struct thea_err *err);
void json_free(struct json_node *node);

json_kind_t json_kind(const struct json_node *node); /* of NULL: JSON_NULL_ */
const char *json_kind_name(json_kind_t kind);        /* "a list", "a string", …: for messages */
size_t json_count(const struct json_node *node);     /* of a list or map, else 0 */
const struct json_node *json_item(const struct json_node *list, size_t i);         /* NULL if none */
const struct json_node *json_member(const struct json_node *map, const char *key); /* NULL if none */
const struct json_node *json_path(const struct json_node *map,
                                  const char *dotted); /* "a.b.c"; NULL if none */

/* Text of a string node; NULL if it is none. *len (may be NULL) in bytes. */
const char *json_text(const struct json_node *node, size_t *len);
/* Plain readers with a default, for optional values of the expected kind (anything else gives the default).
 */
const char *json_text_or(const struct json_node *map, const char *key, const char *fallback);
int64_t json_int_or(const struct json_node *map, const char *key, int64_t fallback);
double json_number_or(const struct json_node *map, const char *key, double fallback); /* integers too */
bool json_bool_or(const struct json_node *map, const char *key, bool fallback);
int64_t json_int(const struct json_node *node); /* 0 if not an integer */
double json_number(const struct json_node *node);
bool json_bool(const struct json_node *node);

/* Visit the members of a map in the order of the text:
 *   for (struct json_iter it = json_iter(map); json_next(&it);) use(it.key, it.value); */
struct json_iter {
    const char *key;
    size_t key_len;
    const struct json_node *value;
    const struct json_node *map_;
    void *at_;
    bool started_;
};
struct json_iter json_iter(const struct json_node *map);
bool json_next(struct json_iter *it);

/* Building. json_put and json_append take over `child`. Running out of memory aborts. Invalid UTF-8 becomes
 * U+FFFD. */
struct json_node *json_new_map(void);
struct json_node *json_new_list(void);
struct json_node *json_new_text(const char *text, size_t len);
struct json_node *json_new_string(const char *text); /* NULL gives null */
struct json_node *json_new_int(int64_t value);
struct json_node *json_new_number(double value); /* NaN and infinities become null */
struct json_node *json_new_bool(bool value);
struct json_node *json_new_null(void);
struct json_node *json_copy_node(const struct json_node *node); /* deep */
void json_put(struct json_node *map, const char *key, struct json_node *child);
void json_append(struct json_node *list, struct json_node *child);

/* As text, on one line (indent 0) or indented; numbers with `digits` significant digits (0: 17). free() the
 * result. */
char *json_print(const struct json_node *node, int indent, int digits);

#endif
