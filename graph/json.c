/* JSON over jansson: see json.h. This is the only file that includes jansson. A struct json_node is a json_t.
 */
#include "graph/json.h"

#include "graph/buf.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_DEPTH_MAX = 64 };

static json_t *inner(const struct json_node *node)
{
    return (json_t *)(uintptr_t)node;
}

static struct json_node *outer(json_t *value)
{
    if (value == NULL) abort(); /* out of memory */
    return (struct json_node *)value;
}

static int depth_of(const json_t *value, int limit)
{
    int deepest = 0;
    if (limit == 0) return 1;
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            int d = depth_of(json_array_get(value, i), limit - 1);
            deepest = d > deepest ? d : deepest;
        }
    } else if (json_is_object(value)) {
        const char *key;
        json_t *child;
        json_object_foreach((json_t *)(uintptr_t)value, key, child)
        {
            int d = depth_of(child, limit - 1);
            deepest = d > deepest ? d : deepest;
        }
    }
    return deepest + 1;
}

thea_rc json_parse(struct json_node **out, const char *text, size_t len, const char *what,
                   struct thea_err *err)
{
    json_error_t bad;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &bad);
    if (value == NULL)
        return thea_fail(err, THEA_EDATA, "%s:%d:%d: not valid JSON: %s", what, bad.line, bad.column,
                         bad.text);
    if (depth_of(value, JSON_DEPTH_MAX + 1) > JSON_DEPTH_MAX) {
        json_decref(value);
        return thea_fail(err, THEA_EDATA, "%s: nested deeper than %d levels", what, JSON_DEPTH_MAX);
    }
    *out = outer(value);
    return THEA_OK;
}

thea_rc json_read_file(struct json_node **out, const char *path, size_t max_bytes, struct thea_err *err)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return thea_fail(err, errno == ENOENT ? THEA_ENOINPUT : THEA_EIO, "%s: %s", path, strerror(errno));
    struct buf text = {0};
    thea_rc rc = THEA_OK;
    size_t got = 0;
    do {
        got = fread(buf_reserve(&text, 1 << 16), 1, 1 << 16, file);
        text.len += got;
    } while (got > 0 && text.len <= max_bytes);
    if (ferror(file))
        rc = thea_fail(err, THEA_EIO, "%s: %s", path, strerror(errno));
    else if (text.len > max_bytes)
        rc = thea_fail(err, THEA_EDATA, "%s: larger than %zu bytes", path, max_bytes);
    else
        rc = json_parse(out, buf_text(&text), text.len, path, err);
    buf_fini(&text);
    fclose(file);
    return rc;
}

void json_free(struct json_node *node)
{
    json_decref(inner(node));
}

json_kind_t json_kind(const struct json_node *node)
{
    if (node == NULL) return JSON_NULL_;
    switch (json_typeof(inner(node))) {
    case JSON_OBJECT: return JSON_MAP_;
    case JSON_ARRAY: return JSON_LIST_;
    case JSON_STRING: return JSON_TEXT_;
    case JSON_INTEGER: return JSON_INT_;
    case JSON_REAL: return JSON_NUMBER_;
    case JSON_TRUE:
    case JSON_FALSE: return JSON_BOOL_;
    case JSON_NULL: break;
    }
    return JSON_NULL_;
}

const char *json_kind_name(json_kind_t kind)
{
    static const char *const names[] = {"null",     "a boolean", "an integer", "a number",
                                        "a string", "a list",    "a map"};
    return names[kind];
}

size_t json_count(const struct json_node *node)
{
    json_kind_t kind = json_kind(node);
    if (kind == JSON_LIST_) return json_array_size(inner(node));
    return kind == JSON_MAP_ ? json_object_size(inner(node)) : 0;
}

const struct json_node *json_item(const struct json_node *list, size_t i)
{
    return (const struct json_node *)json_array_get(inner(list), i);
}

const struct json_node *json_member(const struct json_node *map, const char *key)
{
    return (const struct json_node *)json_object_get(inner(map), key);
}

const struct json_node *json_path(const struct json_node *map, const char *dotted)
{
    char key[128];
    while (map != NULL && *dotted != '\0') {
        size_t n = strcspn(dotted, ".");
        if (n >= sizeof key) return NULL;
        memcpy(key, dotted, n);
        key[n] = '\0';
        map = json_member(map, key);
        dotted += n + (dotted[n] == '.');
    }
    return map;
}

const char *json_text(const struct json_node *node, size_t *len)
{
    if (node == NULL || !json_is_string(inner(node))) return NULL;
    if (len != NULL) *len = json_string_length(inner(node));
    return json_string_value(inner(node));
}

const char *json_text_or(const struct json_node *map, const char *key, const char *fallback)
{
    const char *text = json_text(json_member(map, key), NULL);
    return text != NULL ? text : fallback;
}

int64_t json_int_or(const struct json_node *map, const char *key, int64_t fallback)
{
    const struct json_node *node = json_member(map, key);
    return json_kind(node) == JSON_INT_ ? json_int(node) : fallback;
}

double json_number_or(const struct json_node *map, const char *key, double fallback)
{
    const struct json_node *node = json_member(map, key);
    json_kind_t kind = json_kind(node);
    return kind == JSON_INT_ || kind == JSON_NUMBER_ ? json_number(node) : fallback;
}

bool json_bool_or(const struct json_node *map, const char *key, bool fallback)
{
    const struct json_node *node = json_member(map, key);
    return json_kind(node) == JSON_BOOL_ ? json_bool(node) : fallback;
}

int64_t json_int(const struct json_node *node)
{
    return node == NULL ? 0 : json_integer_value(inner(node));
}

double json_number(const struct json_node *node)
{
    return node == NULL ? 0 : json_number_value(inner(node));
}

bool json_bool(const struct json_node *node)
{
    return node != NULL && json_is_true(inner(node));
}

struct json_iter json_iter(const struct json_node *map)
{
    return (struct json_iter){.map_ = map};
}

bool json_next(struct json_iter *it)
{
    json_t *map = inner(it->map_);
    if (map == NULL || !json_is_object(map)) return false;
    it->at_ = it->started_ ? json_object_iter_next(map, it->at_) : json_object_iter(map);
    it->started_ = true;
    if (it->at_ == NULL) return false;
    it->key = json_object_iter_key(it->at_);
    it->key_len = strlen(it->key);
    it->value = (const struct json_node *)json_object_iter_value(it->at_);
    return true;
}

struct json_node *json_new_map(void)
{
    return outer(json_object());
}

struct json_node *json_new_list(void)
{
    return outer(json_array());
}

/* Copy text with every byte that is not part of valid UTF-8 replaced by U+FFFD. */
static void add_valid_utf8(struct buf *to, const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        size_t n = s[i] < 0x80                   ? 1
                   : s[i] >= 0xC2 && s[i] < 0xE0 ? 2
                   : s[i] >= 0xE0 && s[i] < 0xF0 ? 3
                   : s[i] >= 0xF0 && s[i] < 0xF5 ? 4
                                                 : 0;
        bool good = n > 0 && i + n <= len;
        for (size_t k = 1; good && k < n; k++) good = (s[i + k] & 0xC0) == 0x80;
        if (good && n == 3) good = !(s[i] == 0xE0 && s[i + 1] < 0xA0) && !(s[i] == 0xED && s[i + 1] >= 0xA0);
        if (good && n == 4) good = !(s[i] == 0xF0 && s[i + 1] < 0x90) && !(s[i] == 0xF4 && s[i + 1] >= 0x90);
        if (good)
            buf_add(to, text + i, n);
        else
            buf_add_text(to, "\xEF\xBF\xBD");
        i += good ? n : 1;
    }
}

struct json_node *json_new_text(const char *text, size_t len)
{
    json_t *value = json_stringn(text, len);
    if (value != NULL) return outer(value);
    struct buf valid = {0};
    add_valid_utf8(&valid, text, len);
    value = json_stringn(buf_text(&valid), valid.len);
    buf_fini(&valid);
    return outer(value);
}

struct json_node *json_new_string(const char *text)
{
    return text == NULL ? json_new_null() : json_new_text(text, strlen(text));
}

struct json_node *json_new_int(int64_t value)
{
    return outer(json_integer(value));
}

struct json_node *json_new_number(double value)
{
    return isfinite(value) ? outer(json_real(value)) : json_new_null();
}

struct json_node *json_new_bool(bool value)
{
    return outer(json_boolean(value));
}

struct json_node *json_new_null(void)
{
    return outer(json_null());
}

struct json_node *json_copy_node(const struct json_node *node)
{
    return outer(json_deep_copy(inner(node)));
}

void json_put(struct json_node *map, const char *key, struct json_node *child)
{
    if (json_object_set_new(inner(map), key, inner(child)) != 0) abort();
}

void json_append(struct json_node *list, struct json_node *child)
{
    if (json_array_append_new(inner(list), inner(child)) != 0) abort();
}

char *json_print(const struct json_node *node, int indent, int digits)
{
    size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits == 0 ? 17 : digits);
    flags |= indent > 0 ? JSON_INDENT(indent)
                        : 0; /* on one line: ", " and ": " between, as people and Python write it */
    char *text = json_dumps(inner(node), flags);
    if (text == NULL) abort();
    return text;
}
