/* thea serve, spoken to over real sockets: every answer is the pipeline's own, whoever else is asking, in the
 * forms that OpenAI's interface has; and so are refusals. */
#include "graph/json.h"
#include "tests/e2e/server.h"

#include <pthread.h>
#include <time.h>

enum { TEXTS = 48, CLIENTS = 64, BUSY_S = 3 };

/* --- what the pipeline says --- */

static char *texts[TEXTS], *vectors[TEXTS]; /* "[…]", as printed */

static void make_texts(void)
{
    for (int i = 0; i < TEXTS; i++) {
        struct buf text = {0};
        for (int k = 0; k <= i % 7; k++)
            buf_printf(&text, "%sdocument %d says %d", k > 0 ? ", and " : "", i, k * i);
        texts[i] = buf_take(&text);
    }
}

/* The vectors of `thea run embed`, and all the texts in one file of records. */
static void ask_the_pipeline(void)
{
    char *dir = run_temp_dir(), path[256];
    struct run_result r;
    snprintf(path, sizeof path, "%s/in.jsonl", dir);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    for (int i = 0; i < TEXTS; i++) fprintf(file, "{\"id\": \"%d\", \"text\": \"%s\"}\n", i, texts[i]);
    fclose(file);
    run_shell(&r, NULL, RUN_LIMIT_S, "thea run embed %s --run-dir %s/run -q --set write.format=jsonl", path,
              dir);
    cr_assert_eq(r.status, 0, "%s", buf_text(&r.err));
    const char *at = buf_text(&r.out);
    for (int i = 0; i < TEXTS; i++) {
        const char *begin_at = strchr(at, '['), *end_at = begin_at != NULL ? strchr(begin_at, ']') : NULL;
        cr_assert_not_null(end_at, "line %d: %s", i, at);
        vectors[i] = strndup(begin_at, (size_t)(end_at + 1 - begin_at));
        at = end_at + 1;
    }
    run_result_fini(&r);
    free(dir);
}

/* Does a reply hold just these texts' vectors, in this order? */
static bool is_right(const struct web_reply *r, const int *which, size_t n)
{
    const char *at = buf_text(&r->body);
    for (size_t i = 0; i < n; i++) {
        char key[64];
        snprintf(key, sizeof key, "\"index\": %zu, \"embedding\": ", i);
        at = strstr(at, key);
        if (r->status != 200 || at == NULL) return false;
        at += strlen(key);
        if (strncmp(at, vectors[which[i]], strlen(vectors[which[i]])) != 0) return false;
    }
    return strstr(at, "\"index\"") == NULL;
}

static void add_body(struct buf *body, const int *which, size_t n)
{
    buf_add_text(body, "{\"model\": \"thea-mini\", \"input\": ");
    if (n != 1) buf_add_char(body, '[');
    for (size_t i = 0; i < n; i++) buf_printf(body, "%s\"%s\"", i > 0 ? ", " : "", texts[which[i]]);
    buf_add_text(body, n != 1 ? "]}" : "}");
}

/* --- many clients --- */

struct client {
    pthread_t thread;
    int port;
    unsigned seed;
    double end;
    size_t asked, wrong;
    char said[256];
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static unsigned roll(struct client *c)
{
    return (c->seed = c->seed * 1103515245u + 12345u) >> 16;
}

static void *keep_asking(void *context)
{
    struct client *c = context;
    struct web_reply r = {0};
    int fd = web_connect(c->port);
    while (fd >= 0 && (c->asked == 0 || now() < c->end)) {
        int which[4];
        size_t n = 1 + roll(c) % 4;
        struct buf body = {0};
        for (size_t i = 0; i < n; i++) which[i] = (int)(roll(c) % TEXTS);
        add_body(&body, which, n);
        web_ask(fd, "POST", "/v1/embeddings", NULL, body.data, &r);
        buf_fini(&body);
        c->asked++;
        if (is_right(&r, which, n)) continue;
        c->wrong++;
        snprintf(c->said, sizeof c->said, "%d: %.200s", r.status, buf_text(&r.body));
        break;
    }
    if (fd >= 0) close(fd);
    web_reply_fini(&r);
    return NULL;
}

/* THEA_SERVE_SECONDS=60: by hand, for a minute. */
static double busy_seconds(void)
{
    const char *text = getenv("THEA_SERVE_SECONDS");
    return text != NULL ? atof(text) : BUSY_S;
}

Test(serve, many_clients_at_once_get_what_the_pipeline_says, .timeout = 5 * RUN_LIMIT_S)
{
    static struct client clients[CLIENTS];
    struct server s;
    size_t asked = 0, wrong = 0;
    make_texts();
    ask_the_pipeline();
    begin(&s, "");
    double end_at = now() + busy_seconds();
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.port = s.port, .seed = i * 7919 + 1, .end = end_at};
        cr_assert_eq(pthread_create(&clients[i].thread, NULL, keep_asking, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        cr_expect_gt(clients[i].asked, 0, "client %d could not connect", i);
        cr_expect_eq(clients[i].wrong, 0, "client %d: %s", i, clients[i].said);
        asked += clients[i].asked, wrong += clients[i].wrong;
    }
    cr_log_info("%zu requests of %d clients, %zu wrong", asked, CLIENTS, wrong);
    expect_well(&s);
    end(&s);
}

/* --- one client --- */

static float number_at(const unsigned char *bytes)
{
    float value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static size_t decode64(unsigned char *out, const char *text, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t bytes = 0;
    unsigned word = 0, bits = 0;
    for (size_t i = 0; i < n && text[i] != '='; i++) {
        const char *at = strchr(digits, text[i]);
        cr_assert(at != NULL && *at != '\0', "'%c' is no base64", text[i]);
        word = word << 6 | (unsigned)(at - digits);
        if ((bits += 6) < 8) continue;
        bits -= 8;
        out[bytes++] = (unsigned char)(word >> bits);
    }
    return bytes;
}

Test(serve, forms_of_input_and_of_answers, .timeout = 5 * RUN_LIMIT_S)
{
    struct server s;
    struct web_reply r = {0};
    unsigned char bytes[4096];
    begin(&s, "--alias text-embedding-3-small");
    /* the same as tokens, one by one, in lists, and as floats */
    cr_assert(
        web_once(s.port, "POST", "/v1/embeddings", NULL,
                 "{\"model\": \"text-embedding-3-small\", \"input\": [[1, 277, 84], [1, 277, 84], [1, 5]], "
                 "\"dimensions\": 128, \"user\": \"ann\"}",
                 &r));
    struct json_node *three = NULL, *one = NULL, *coded = NULL;
    cr_assert_eq(json_parse(&three, r.body.data, r.body.len, "reply", NULL), THEA_OK, "%s",
                 buf_text(&r.body));
    cr_expect_eq(json_int(json_path(three, "usage.prompt_tokens")), 8);
    cr_expect_eq(json_int(json_path(three, "usage.total_tokens")), 8);
    cr_expect_str_eq(json_text_or(three, "model", ""), "thea-mini");
    cr_expect_str_eq(json_text_or(three, "object", ""), "list");
    cr_assert_eq(json_count(json_member(three, "data")), 3);
    web_once(s.port, "POST", "/v1/embeddings", NULL, "{\"model\": \"thea-mini\", \"input\": [1, 277, 84]}",
             &r);
    cr_assert_eq(json_parse(&one, r.body.data, r.body.len, "reply", NULL), THEA_OK);
    web_once(s.port, "POST", "/v1/embeddings", NULL,
             "{\"model\": \"thea-mini\", \"input\": [1, 277, 84], \"encoding_format\": \"base64\"}", &r);
    cr_assert_eq(json_parse(&coded, r.body.data, r.body.len, "reply", NULL), THEA_OK);
    size_t len;
    const struct json_node *floats = json_member(json_item(json_member(one, "data"), 0), "embedding");
    const char *text = json_text(json_member(json_item(json_member(coded, "data"), 0), "embedding"), &len);
    cr_assert_not_null(text);
    cr_assert_eq(decode64(bytes, text, len), 4 * json_count(floats));
    for (size_t i = 0; i < json_count(floats); i++) {
        float value = (float)json_number(json_item(floats, i));
        cr_expect(value == number_at(bytes + 4 * i), "number %zu", i);
        for (size_t k = 0; k < 2; k++)
            cr_expect(value == (float)json_number(json_item(
                                   json_member(json_item(json_member(three, "data"), k), "embedding"), i)));
    }
    json_free(three), json_free(one), json_free(coded);
    web_once(s.port, "GET", "/v1/models", NULL, NULL, &r);
    cr_expect_not_null(strstr(buf_text(&r.body), "\"id\": \"thea-mini\""), "%s", buf_text(&r.body));
    web_once(s.port, "GET", "/v1/models/text-embedding-3-small", NULL, NULL, &r);
    cr_expect_eq(r.status, 200);
    web_reply_fini(&r);
    end(&s);
}

struct refusal {
    const char *body;
    int status;
    const char *param, *says;
};

Test(serve, what_is_wrong_is_told_as_clients_expect_it, .timeout = 5 * RUN_LIMIT_S)
{
    static const struct refusal refusals[] = {
        {"", 400, NULL, "the body is no JSON"},
        {"{\"model\": \"thea-mini\", \"input\": ", 400, NULL, "the body is no JSON"},
        {"[1]", 400, NULL, "an object expected, not a list"},
        {"{\"input\": \"x\"}", 400, "model", "model parameter"},
        {"{\"model\": 5, \"input\": \"x\"}", 400, "model", "a string expected"},
        {"{\"model\": \"other\", \"input\": \"x\"}", 404, "model",
         "'other' is not served here; it is 'thea-mini'"},
        {"{\"model\": \"thea-mini\"}", 400, "input", "you must provide an input"},
        {"{\"model\": \"thea-mini\", \"input\": \"\"}", 400, "input", "empty string"},
        {"{\"model\": \"thea-mini\", \"input\": []}", 400, "input", "empty array"},
        {"{\"model\": \"thea-mini\", \"input\": [[]]}", 400, "input", "empty array"},
        {"{\"model\": \"thea-mini\", \"input\": [\"a\", \"\"]}", 400, "input", "empty string"},
        {"{\"model\": \"thea-mini\", \"input\": null}", 400, "input", "not null"},
        {"{\"model\": \"thea-mini\", \"input\": {\"a\": 1}}", 400, "input", "not a map"},
        {"{\"model\": \"thea-mini\", \"input\": [1, \"a\"]}", 400, "input", "a token is an integer"},
        {"{\"model\": \"thea-mini\", \"input\": [\"a\", 1.5]}", 400, "input", "expected, not a number"},
        {"{\"model\": \"thea-mini\", \"input\": [1, 4096]}", 400, "input",
         "token 4096 is not in the vocabulary"},
        {"{\"model\": \"thea-mini\", \"input\": [[1], [-1]]}", 400, "input",
         "token -1 is not in the vocabulary"},
        {"{\"model\": \"thea-mini\", \"input\": \"x\", \"encoding_format\": \"hex\"}", 400, "encoding_format",
         "'float'"},
        {"{\"model\": \"thea-mini\", \"input\": \"x\", \"dimensions\": 64}", 400, "dimensions",
         "have 128 numbers"},
        {"{\"model\": \"thea-mini\", \"input\": \"a\\u0000b\"}", 400, "input", "U+0000"},
    };
    struct server s;
    struct web_reply r = {0};
    begin(&s, "");
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *f = &refusals[i];
        struct json_node *reply = NULL;
        web_once(s.port, "POST", "/v1/embeddings", NULL, f->body, &r);
        cr_assert_eq(r.status, f->status, "%s: %d %s", f->body, r.status, buf_text(&r.body));
        cr_assert_eq(json_parse(&reply, r.body.data, r.body.len, "reply", NULL), THEA_OK, "%s",
                     buf_text(&r.body));
        const struct json_node *error = json_member(reply, "error");
        const char *param = json_text(json_member(error, "param"), NULL);
        cr_expect_str_eq(json_text_or(error, "type", ""), "invalid_request_error");
        cr_expect(f->param == NULL ? param == NULL : param != NULL && strcmp(param, f->param) == 0, "%s: %s",
                  f->body, buf_text(&r.body));
        cr_expect_not_null(strstr(json_text_or(error, "message", ""), f->says), "%s: %s", f->body,
                           buf_text(&r.body));
        json_free(reply);
    }
    web_once(s.port, "GET", "/v1/chat/completions", NULL, NULL, &r);
    cr_expect_eq(r.status, 404);
    cr_expect_not_null(strstr(buf_text(&r.body), "\"error\""), "%s", buf_text(&r.body));
    web_once(s.port, "GET", "/v1/models/other", NULL, NULL, &r);
    cr_expect_eq(r.status, 404);
    web_once(s.port, "GET", "/v1/embeddings", NULL, NULL, &r);
    cr_expect_eq(r.status, 405);
    expect_well(&s);
    web_reply_fini(&r);
    end(&s);
}
