/* See serve_request.h. */
#include "bin/thea/support/serve_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool serve_error_set(struct serve_error *e, int status, const char *param, const char *code, const char *fmt,
                     ...)
{
    va_list args;
    *e = (struct serve_error){.status = status,
                              .type = status == 429   ? "rate_limit_error"
                                      : status >= 500 ? "server_error"
                                                      : "invalid_request_error",
                              .param = param,
                              .code = code};
    va_start(args, fmt);
    vsnprintf(e->message, sizeof e->message, fmt, args);
    va_end(args);
    return false;
}

/* --- the members of a body --- */

static bool check_model(const struct serve_model *m, const struct json_node *body, struct serve_error *e)
{
    const struct json_node *node = json_member(body, "model");
    const char *name = json_text(node, NULL);
    if (node == NULL)
        return serve_error_set(e, 400, "model", NULL, "you must provide a model parameter: '%s'", m->name);
    if (name == NULL)
        return serve_error_set(e, 400, "model", NULL, "model: a string expected, not %s",
                               json_kind_name(json_kind(node)));
    if (strcmp(name, m->name) == 0) return true;
    for (size_t i = 0; m->aliases[i] != NULL; i++)
        if (strcmp(name, m->aliases[i]) == 0) return true;
    return serve_error_set(e, 404, "model", "model_not_found",
                           "the model '%.200s' is not served here; it is '%.200s'", name, m->name);
}

static bool read_format(struct serve_request *r, struct serve_error *e)
{
    const struct json_node *node = json_member(r->body, "encoding_format");
    const char *text = json_text(node, NULL);
    if (json_kind(node) == JSON_NULL_) return true;
    r->base64 = text != NULL && strcmp(text, "base64") == 0;
    if (r->base64 || (text != NULL && strcmp(text, "float") == 0)) return true;
    return serve_error_set(e, 400, "encoding_format", NULL, "encoding_format is 'float' or 'base64'");
}

/* A vector's beginning is no vector of this model: only models trained for that have shorter ones. */
static bool check_dimensions(const struct serve_model *m, const struct json_node *body, struct serve_error *e)
{
    const struct json_node *node = json_member(body, "dimensions");
    if (json_kind(node) == JSON_NULL_) return true;
    if (json_kind(node) == JSON_INT_ && json_int(node) == (int64_t)m->dimensions) return true;
    return serve_error_set(e, 400, "dimensions", NULL,
                           "dimensions: this model's vectors have %zu numbers, no other count",
                           m->dimensions);
}

/* --- inputs --- */

static bool check_length(struct serve_request *r, const struct serve_model *m, size_t tokens,
                         struct serve_error *e)
{
    if (tokens > m->length && !m->truncates)
        return serve_error_set(e, 400, "input", "context_length_exceeded",
                               "this model's maximum context length is %zu tokens, the input has %zu",
                               m->length, tokens);
    r->tokens += tokens < m->length ? tokens : m->length;
    return true;
}

static bool take_text(struct serve_request *r, const struct serve_model *m, const struct json_node *node,
                      struct serve_error *e)
{
    size_t len;
    struct token_list list = {0};
    struct thea_err err = {0};
    const char *text = json_text(node, &len);
    if (len == 0) return serve_error_set(e, 400, "input", NULL, "input cannot be an empty string");
    if (memchr(text, '\0', len) != NULL) return serve_error_set(e, 400, "input", NULL, "input holds U+0000");
    struct buf whole = {0};
    buf_add_text(&whole, m->prompt);
    buf_add(&whole, text, len);
    thea_rc rc = tokenizer_encode(m->tokenizer, whole.data, whole.len, m->special, &list, &err);
    buf_fini(&whole);
    bool good = rc == THEA_OK ? check_length(r, m, list.count, e)
                              : serve_error_set(e, 400, "input", NULL, "input: %s", thea_err_message(&err));
    token_list_fini(&list);
    return good;
}

static bool take_tokens(struct serve_request *r, const struct serve_model *m, const struct json_node *list,
                        struct serve_error *e)
{
    size_t n = json_count(list), vocab = tokenizer_vocab_size(m->tokenizer);
    if (!m->takes_tokens)
        return serve_error_set(e, 400, "input", NULL, "this pipeline takes text alone, no token arrays");
    if (n == 0) return serve_error_set(e, 400, "input", NULL, "input cannot be an empty array");
    for (size_t i = 0; i < n; i++) {
        const struct json_node *id = json_item(list, i);
        if (json_kind(id) != JSON_INT_)
            return serve_error_set(e, 400, "input", NULL, "input: a token is an integer, not %s",
                                   json_kind_name(json_kind(id)));
        if (json_int(id) < 0 || (uint64_t)json_int(id) >= vocab)
            return serve_error_set(e, 400, "input", NULL,
                                   "input: token %lld is not in the vocabulary (ids below %zu)",
                                   (long long)json_int(id), vocab);
    }
    return check_length(r, m, n, e);
}

static bool take_input(struct serve_request *r, const struct serve_model *m, const struct json_node *node,
                       struct serve_error *e)
{
    if (json_kind(node) == JSON_TEXT_) return take_text(r, m, node, e);
    if (json_kind(node) == JSON_LIST_) return take_tokens(r, m, node, e);
    return serve_error_set(e, 400, "input", NULL, "input: a string or an array of tokens expected, not %s",
                           json_kind_name(json_kind(node)));
}

static bool is_one(const struct json_node *input)
{
    return json_kind(input) != JSON_LIST_ || json_kind(json_item(input, 0)) == JSON_INT_;
}

static bool read_inputs(struct serve_request *r, const struct serve_model *m, struct serve_error *e)
{
    const struct json_node *input = json_member(r->body, "input");
    if (input == NULL) return serve_error_set(e, 400, "input", NULL, "you must provide an input parameter");
    r->count = is_one(input) ? 1 : json_count(input);
    if (r->count == 0) return serve_error_set(e, 400, "input", NULL, "input cannot be an empty array");
    if (r->count > SERVE_INPUTS_MAX)
        return serve_error_set(e, 400, "input", NULL, "input: %zu inputs; at most %d in one request",
                               r->count, SERVE_INPUTS_MAX);
    if (is_one(input)) return take_input(r, m, input, e);
    for (size_t i = 0; i < r->count; i++)
        if (!take_input(r, m, json_item(input, i), e)) return false;
    return true;
}

bool serve_request_parse(struct serve_request *r, const struct serve_model *m, const char *body, size_t len,
                         struct serve_error *e)
{
    struct thea_err err = {0};
    *r = (struct serve_request){0};
    if (json_parse(&r->body, body, len, "body", &err) != THEA_OK)
        return serve_error_set(e, 400, NULL, NULL, "the body is no JSON: %s", thea_err_message(&err));
    if (json_kind(r->body) != JSON_MAP_)
        return serve_error_set(e, 400, NULL, NULL, "the body: an object expected, not %s",
                               json_kind_name(json_kind(r->body)));
    return check_model(m, r->body, e) && read_format(r, e) && check_dimensions(m, r->body, e) &&
           read_inputs(r, m, e);
}

void serve_request_fini(struct serve_request *r)
{
    json_free(r->body);
    r->body = NULL;
}

void serve_request_line(const struct serve_request *r, size_t i, const char *id, struct buf *out)
{
    const struct json_node *input = json_member(r->body, "input"),
                           *node = is_one(input) ? input : json_item(input, i);
    struct json_node *record = json_new_map();
    json_put(record, "id", json_new_string(id));
    json_put(record, json_kind(node) == JSON_TEXT_ ? "text" : "tokens", json_copy_node(node));
    char *text = json_print(record, 0, 0);
    buf_printf(out, "%s\n", text);
    free(text);
    json_free(record);
}
