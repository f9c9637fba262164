/* Reading tokenizer.json's objects with messages that name the place: a struct place is a node and where it
 * stands
 * ("tokenizer.json: pre_tokenizer.pretokenizers[1]"). Readers fill err and return false when the node is not
 * what they want. */
#ifndef TEXT_READER_H
#define TEXT_READER_H

#include "graph/json.h"

struct place {
    const struct json_node *node;
    const char *name;          /* borrowed: the member's key, or NULL for an item */
    size_t index;              /* of an item */
    const struct place *above; /* NULL: the file; name is its path then */
};

struct place place_member(const struct place *map, const char *key); /* node NULL if it has none */
struct place place_item(const struct place *list, size_t index);
const char *place_text(const struct place *p, char *out, size_t size); /* "tokenizer.json: model.merges[3]" */

/* THEA_EDATA, the place in front of the message. */
thea_rc place_fail(const struct place *p, struct thea_err *err, const char *fmt, ...) THEA_PRINTF(3, 4);
/* "'Foo' is not supported; supported: A, B". names: NULL-terminated. */
thea_rc place_unsupported(const struct place *p, struct thea_err *err, const char *found,
                          const char *const *names);

static inline bool place_is_null(const struct place *p)
{
    return json_kind(p->node) == JSON_NULL_;
}
/* THEA_EDATA unless the node is of that kind. */
THEA_CHECK thea_rc place_expect(const struct place *p, json_kind_t kind, struct thea_err *err);
/* A member of the map: absent or null gives the default; another kind is an error. */
THEA_CHECK thea_rc place_bool(const struct place *map, const char *key, bool fallback, bool *out,
                              struct thea_err *err);
THEA_CHECK thea_rc place_int(const struct place *map, const char *key, int64_t fallback, int64_t *out,
                             struct thea_err *err);
/* Required text; *len may be NULL (then it must not hold U+0000). */
THEA_CHECK thea_rc place_string(const struct place *map, const char *key, const char **out, size_t *len,
                                struct thea_err *err);
/* The "type" of a component. */
THEA_CHECK thea_rc place_type(const struct place *map, const char **out, struct thea_err *err);
/* "pattern": {"String": …} or {"Regex": …}. */
struct pattern_text {
    const char *text;
    size_t len;
    bool regex;
};
THEA_CHECK thea_rc place_pattern(const struct place *map, struct pattern_text *out, struct thea_err *err);

#endif
