/* See reader.h. */
#include "text/reader.h"

#include "graph/buf.h"

#include <stdio.h>
#include <string.h>

struct place place_member(const struct place *map, const char *key)
{
    return (struct place){.node = json_member(map->node, key), .name = key, .above = map};
}

struct place place_item(const struct place *list, size_t index)
{
    return (struct place){.node = json_item(list->node, index), .index = index, .above = list};
}

static void write_place(const struct place *p, struct buf *to)
{
    if (p->above == NULL) {
        buf_add_text(to, p->name);
        return;
    }
    write_place(p->above, to);
    if (p->name == NULL)
        buf_printf(to, "[%zu]", p->index);
    else
        buf_printf(to, "%s%s", p->above->above == NULL ? ": " : ".", p->name);
}

const char *place_text(const struct place *p, char *out, size_t size)
{
    struct buf text = {0};
    write_place(p, &text);
    snprintf(out, size, "%s", buf_text(&text));
    buf_fini(&text);
    return out;
}

thea_rc place_fail(const struct place *p, struct thea_err *err, const char *fmt, ...)
{
    char where[512], what[1400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return thea_fail(err, THEA_EDATA, "%s: %s", place_text(p, where, sizeof where), what);
}

thea_rc place_unsupported(const struct place *p, struct thea_err *err, const char *found,
                          const char *const *names)
{
    struct buf list = {0};
    for (size_t i = 0; names[i] != NULL; i++) buf_printf(&list, "%s%s", i == 0 ? "" : ", ", names[i]);
    thea_rc rc = place_fail(p, err, "'%.100s' is not supported; supported: %s", found, buf_text(&list));
    buf_fini(&list);
    return rc;
}

thea_rc place_expect(const struct place *p, json_kind_t kind, struct thea_err *err)
{
    if (p->node != NULL && json_kind(p->node) == kind) return THEA_OK;
    return place_fail(p, err, "%s expected, %s", json_kind_name(kind),
                      p->node == NULL ? "but it is missing" : json_kind_name(json_kind(p->node)));
}

thea_rc place_bool(const struct place *map, const char *key, bool fallback, bool *out, struct thea_err *err)
{
    struct place p = place_member(map, key);
    *out = fallback;
    if (place_is_null(&p)) return THEA_OK;
    thea_rc rc = place_expect(&p, JSON_BOOL_, err);
    if (rc == THEA_OK) *out = json_bool(p.node);
    return rc;
}

thea_rc place_int(const struct place *map, const char *key, int64_t fallback, int64_t *out,
                  struct thea_err *err)
{
    struct place p = place_member(map, key);
    *out = fallback;
    if (place_is_null(&p)) return THEA_OK;
    thea_rc rc = place_expect(&p, JSON_INT_, err);
    if (rc == THEA_OK) *out = json_int(p.node);
    return rc;
}

thea_rc place_string(const struct place *map, const char *key, const char **out, size_t *len,
                     struct thea_err *err)
{
    struct place p = place_member(map, key);
    size_t n = 0;
    thea_rc rc = place_expect(&p, JSON_TEXT_, err);
    if (rc != THEA_OK) return rc;
    *out = json_text(p.node, &n);
    if (len == NULL && strlen(*out) != n) return place_fail(&p, err, "holds U+0000");
    if (len != NULL) *len = n;
    return THEA_OK;
}

thea_rc place_type(const struct place *map, const char **out, struct thea_err *err)
{
    thea_rc rc = place_expect(map, JSON_MAP_, err);
    return rc != THEA_OK ? rc : place_string(map, "type", out, NULL, err);
}

thea_rc place_pattern(const struct place *map, struct pattern_text *out, struct thea_err *err)
{
    struct place p = place_member(map, "pattern");
    thea_rc rc = place_expect(&p, JSON_MAP_, err);
    if (rc != THEA_OK) return rc;
    out->regex = json_member(p.node, "Regex") != NULL;
    if (!out->regex && json_member(p.node, "String") == NULL)
        return place_fail(&p, err, "neither \"String\" nor \"Regex\" in it");
    return place_string(&p, out->regex ? "Regex" : "String", &out->text, &out->len, err);
}
