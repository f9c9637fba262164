/* Answers of `thea serve`: see serve_request.h. Vectors stay the text that the pipeline printed (nine digits,
 * which give each f32 back), or become the base64 of their bytes. */
#include "bin/thea/support/serve_request.h"

#include <stdlib.h>
#include <string.h>

static void put_json(struct http_reply *reply, struct json_node *node)
{
    char *text = json_print(node, 0, 0);
    reply->type = "application/json";
    buf_printf(&reply->body, "%s\n", text);
    free(text);
    json_free(node);
}

/* --- errors --- */

void serve_error_reply(const struct serve_error *e, struct http_reply *reply)
{
    struct json_node *outer = json_new_map(), *inner = json_new_map();
    json_put(inner, "message", json_new_string(e->message));
    json_put(inner, "type", json_new_string(e->type));
    json_put(inner, "param", json_new_string(e->param));
    json_put(inner, "code", json_new_string(e->code));
    json_put(outer, "error", inner);
    reply->status = e->status;
    put_json(reply, outer);
}

void serve_refuse(void *context, int status, const char *text, struct http_reply *reply)
{
    struct serve_error e;
    (void)context;
    serve_error_set(&e, status, NULL, status == 404 ? "unknown_url" : NULL, "%s", text);
    serve_error_reply(&e, reply);
}

/* --- embeddings --- */

static void add_base64(struct buf *out, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *to = buf_reserve(out, 4 * ((n + 2) / 3));
    for (size_t i = 0; i < n; i += 3, to += 4) {
        uint32_t b1 = i + 1 < n ? bytes[i + 1] : 0, b2 = i + 2 < n ? bytes[i + 2] : 0,
                 word = (uint32_t)bytes[i] << 16 | b1 << 8 | b2;
        to[0] = digits[word >> 18];
        to[1] = digits[word >> 12 & 63];
        to[2] = i + 1 < n ? digits[word >> 6 & 63] : '=';
        to[3] = i + 2 < n ? digits[word & 63] : '=';
    }
    out->len += 4 * ((n + 2) / 3);
    out->data[out->len] = '\0';
}

/* "[0.1, -2e-05]" to little-endian f32. */
static void add_floats(struct buf *bytes, const char *vector)
{
    char *end;
    for (const char *at = vector + 1; *at != ']' && *at != '\0'; at = *end == ',' ? end + 1 : end) {
        union {
            float number;
            uint32_t bits;
        } value = {.number = strtof(at, &end)};
        if (end == at) return;
        unsigned char four[] = {(unsigned char)value.bits, (unsigned char)(value.bits >> 8),
                                (unsigned char)(value.bits >> 16), (unsigned char)(value.bits >> 24)};
        buf_add(bytes, four, sizeof four);
    }
}

static void add_vector(struct buf *out, const char *vector, bool base64)
{
    struct buf bytes = {0};
    if (!base64) {
        buf_add_text(out, vector);
        return;
    }
    add_floats(&bytes, vector);
    buf_add_char(out, '"');
    add_base64(out, (const unsigned char *)bytes.data, bytes.len);
    buf_add_char(out, '"');
    buf_fini(&bytes);
}

void serve_answer(const struct serve_model *m, char *const *vectors, size_t count, bool base64, size_t tokens,
                  struct http_reply *reply)
{
    struct json_node *name = json_new_string(m->name);
    char *quoted = json_print(name, 0, 0);
    struct buf *out = &reply->body;
    buf_add_text(out, "{\"object\": \"list\", \"data\": [");
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s{\"object\": \"embedding\", \"index\": %zu, \"embedding\": ", i > 0 ? ", " : "",
                   i);
        add_vector(out, vectors[i], base64);
        buf_add_char(out, '}');
    }
    buf_printf(out, "], \"model\": %s, \"usage\": {\"prompt_tokens\": %zu, \"total_tokens\": %zu}}\n", quoted,
               tokens, tokens);
    reply->status = 200;
    reply->type = "application/json";
    free(quoted);
    json_free(name);
}

/* --- models --- */

static struct json_node *model_object(const char *name)
{
    struct json_node *map = json_new_map();
    json_put(map, "id", json_new_string(name));
    json_put(map, "object", json_new_string("model"));
    json_put(map, "created", json_new_int(0));
    json_put(map, "owned_by", json_new_string("thea"));
    return map;
}

void serve_models(const struct serve_model *m, struct http_reply *reply)
{
    struct json_node *map = json_new_map(), *list = json_new_list();
    json_append(list, model_object(m->name));
    for (size_t i = 0; m->aliases[i] != NULL; i++) json_append(list, model_object(m->aliases[i]));
    json_put(map, "object", json_new_string("list"));
    json_put(map, "data", list);
    put_json(reply, map);
}

void serve_model_one(const struct serve_model *m, const char *name, struct http_reply *reply)
{
    struct serve_error e;
    bool known = strcmp(name, m->name) == 0;
    for (size_t i = 0; m->aliases[i] != NULL; i++) known = known || strcmp(name, m->aliases[i]) == 0;
    if (known) {
        put_json(reply, model_object(name));
        return;
    }
    serve_error_set(&e, 404, "model", "model_not_found",
                    "the model '%.200s' is not served here; it is '%.200s'", name, m->name);
    serve_error_reply(&e, reply);
}
