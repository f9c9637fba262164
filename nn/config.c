/* Checked reading of config.json: see config.h. */
#include "nn/config.h"

#include <math.h>
#include <stdio.h>

void config_fail(struct config *c, const char *key, const char *fmt, ...)
{
    if (c->rc != THEA_OK) return;
    char what[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    c->rc = thea_fail(c->err, THEA_EDATA, "%s: %s: %s", c->path, key, what);
}

const struct json_node *config_get(const struct config *c, const char *key)
{
    const struct json_node *node = json_member(c->map, key);
    return json_kind(node) == JSON_NULL_ ? NULL : node;
}

size_t config_size(struct config *c, const char *key, size_t min, size_t max, size_t fallback)
{
    const struct json_node *node = config_get(c, key);
    if (node == NULL) {
        if (fallback == CONFIG_REQUIRED)
            config_fail(c, key, "missing; expected an integer of %zu to %zu", min, max);
        return fallback == CONFIG_REQUIRED ? min : fallback;
    }
    if (json_kind(node) != JSON_INT_) {
        config_fail(c, key, "expected an integer of %zu to %zu, found %s", min, max,
                    json_kind_name(json_kind(node)));
        return min;
    }
    int64_t v = json_int(node);
    if (v < 0 || (uint64_t)v < min || (uint64_t)v > max) {
        config_fail(c, key, "%lld is impossible; expected %zu to %zu", (long long)v, min, max);
        return min;
    }
    return (size_t)v;
}

double config_number(struct config *c, const char *key, double above, double fallback)
{
    const struct json_node *node = config_get(c, key);
    if (node == NULL) return fallback;
    json_kind_t kind = json_kind(node);
    if (kind != JSON_INT_ && kind != JSON_NUMBER_) {
        config_fail(c, key, "expected a number, found %s", json_kind_name(kind));
        return fallback;
    }
    double v = json_number(node);
    if (!isfinite(v) || v <= above) {
        config_fail(c, key, "%g is impossible; expected more than %g", v, above);
        return fallback;
    }
    return v;
}

bool config_bool(struct config *c, const char *key, bool fallback)
{
    const struct json_node *node = config_get(c, key);
    if (node == NULL) return fallback;
    if (json_kind(node) != JSON_BOOL_) {
        config_fail(c, key, "expected true or false, found %s", json_kind_name(json_kind(node)));
        return fallback;
    }
    return json_bool(node);
}

int config_token(struct config *c, const char *key, size_t vocab)
{
    const struct json_node *node = config_get(c, key);
    if (json_kind(node) == JSON_LIST_) node = json_item(node, 0);
    if (node == NULL) return -1;
    if (json_kind(node) != JSON_INT_) {
        config_fail(c, key, "expected a token id, found %s", json_kind_name(json_kind(node)));
        return -1;
    }
    int64_t v = json_int(node);
    if (v >= (int64_t)vocab)
        config_fail(c, key, "token %lld is not in the vocabulary of %zu", (long long)v, vocab);
    return v < 0 ? -1 : (int)v;
}
