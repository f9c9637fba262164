/* thea serve, spoken to over real sockets: every answer is the pipeline's own, whoever else is asking; what
 * is damaged, too large, too slow or too much gets its status, and the server lives on. */
#include "graph/json.h"
#include "tests/support/run.h"
#include "tests/support/web.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TEXTS = 48, CLIENTS = 64, BUSY_S = 3, START_S = 60, END_S = 60 };

/* --- a server --- */

struct server {
    struct run_child child;
    int port;
    char err[128];
};

static bool has_begun(void *context)
{
    struct server *s = context;
    char line[4096];
    FILE *file = fopen(s->err, "re");
    while (file != NULL && s->port == 0 && fgets(line, sizeof line, file) != NULL) {
        const char *at = strstr(line, "at http://127.0.0.1:");
        if (at != NULL) s->port = atoi(at + strlen("at http://127.0.0.1:"));
    }
    if (file != NULL) fclose(file);
    return s->port > 0 || kill(s->child.pid, 0) != 0;
}

static void begin(struct server *s, const char *options)
{
    *s = (struct server){0};
    run_start(&s->child, NULL, "exec env THEA_RUNS=%s thea serve embed --listen 127.0.0.1:0 %s",
              run_temp_dir(), options);
    snprintf(s->err, sizeof s->err, "%s/err", s->child.dir);
    if (run_until(has_begun, s, START_S) && s->port > 0) return;
    struct run_result r;
    run_wait(&s->child, 0, &r);
    cr_assert_fail("no server: %s", buf_text(&r.err));
}

static void end(struct server *s)
{
    struct run_result r;
    kill(s->child.pid, SIGTERM);
    cr_expect_eq(run_wait(&s->child, END_S, &r), 128 + SIGTERM, "%d: %s", r.status, buf_text(&r.err));
    run_result_fini(&r);
}

static void expect_well(struct server *s)
{
    struct web_reply r = {0};
    web_once(s->port, "GET", "/health", NULL, NULL, &r);
    cr_expect_eq(r.status, 200, "%s", buf_text(&r.body));
    web_once(s->port, "POST", "/v1/embeddings", NULL, "{\"model\": \"thea-mini\", \"input\": \"well?\"}", &r);
    cr_expect_eq(r.status, 200, "%s", buf_text(&r.body));
    web_reply_fini(&r);
}

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
    run_shell(&r, NULL, 120, "thea run embed %s --run-dir %s/run -q --set write.format=jsonl", path, dir);
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

Test(serve, many_clients_at_once_get_what_the_pipeline_says, .timeout = 300)
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

Test(serve, forms_of_input_and_of_answers, .timeout = 120)
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

Test(serve, what_is_wrong_is_told_as_clients_expect_it, .timeout = 120)
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

/* --- rough ones --- */

/* `count` inputs of some length: work for a while. */
static char *large_body(size_t count)
{
    struct buf body = {0};
    buf_add_text(&body, "{\"model\": \"thea-mini\", \"input\": [");
    for (size_t i = 0; i < count; i++) {
        buf_printf(&body, "%s\"%zu", i > 0 ? ", " : "", i);
        for (int k = 0; k < 30 / RUN_SLOWER; k++) buf_add_text(&body, " and so on");
        buf_add_char(&body, '"');
    }
    buf_add_text(&body, "]}");
    return buf_take(&body);
}

static bool send_post(int fd, const char *body)
{
    struct buf text = {0};
    buf_printf(&text,
               "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               "Content-Length: %zu\r\n\r\n%s",
               strlen(body), body);
    bool good = web_send(fd, text.data, text.len);
    buf_fini(&text);
    return good;
}

/* Until its inputs are in the server's hands. */
static void wait_for_work(struct server *s)
{
    struct web_reply r = {0};
    do cr_assert(web_once(s->port, "GET", "/health", NULL, NULL, &r));
    while (strstr(buf_text(&r.body), "\"waiting\": 0") != NULL);
    web_reply_fini(&r);
}

Test(serve, damaged_oversized_and_slow_requests_get_their_status, .timeout = 120)
{
    struct server s;
    struct web_reply r = {0};
    char *large = large_body(60);
    begin(&s, "--body-max 4KiB --timeout 1s");
    cr_assert_gt(strlen(large), 4096);
    web_once(s.port, "POST", "/v1/embeddings", NULL, large, &r);
    cr_expect_eq(r.status, 413, "%s", buf_text(&r.body));
    cr_expect_not_null(strstr(buf_text(&r.body), "\"error\""), "%s", buf_text(&r.body));
    int fd = web_connect(s.port);
    cr_assert(web_send(fd, "\x16\x03\x01 what\r\n\r\n\r\n", 15));
    web_read(fd, &r, 30);
    cr_expect_eq(r.status, 400, "%s", buf_text(&r.head));
    close(fd);
    static const char *const slow[] = {
        "POST /v1/emb",
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{\"model\""};
    for (size_t i = 0; i < 2; i++) {
        fd = web_connect(s.port);
        cr_assert(web_send(fd, slow[i], strlen(slow[i])));
        web_read(fd, &r, 30);
        cr_expect_eq(r.status, 408, "%s", buf_text(&r.head));
        cr_expect_not_null(strstr(buf_text(&r.body), "\"error\""), "%s", buf_text(&r.body));
        close(fd);
    }
    expect_well(&s);
    free(large);
    web_reply_fini(&r);
    end(&s);
}

/* The source behind the server has a limit of its own on documents (16 MiB), which is not in the way. */
Test(serve, an_input_as_large_as_a_body_may_be_is_answered, .timeout = 180)
{
    struct server s;
    struct web_reply r = {0};
    struct buf body = {0};
    begin(&s, "-m " THEA_SOURCE_DIR "/tests/goldens/bert-tiny --body-max 32MiB");
    buf_add_text(&body, "{\"model\": \"bert-tiny\", \"input\": \"");
    while (body.len < 17 << 20) buf_add_text(&body, "and so on for a long, long time ");
    buf_add_text(&body, "\"}");
    int fd = web_connect(s.port);
    cr_assert(send_post(fd, body.data));
    cr_assert(web_read(fd, &r, 120), "no answer");
    cr_expect_eq(r.status, 200, "%d %.500s", r.status, buf_text(&r.body));
    close(fd);
    buf_fini(&body);
    web_reply_fini(&r);
    end(&s);
}

/* A line in the log is one line, whatever a client calls its method and its path. */
Test(serve, a_request_does_not_steer_the_terminal_that_shows_the_log, .timeout = 120)
{
    struct server s;
    struct web_reply r = {0};
    char line[4096];
    bool logged = false;
    static const char evil[] = "G\033[2JET /a%1b%5b%32J%c2%9b%0a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    begin(&s, "");
    int fd = web_connect(s.port);
    cr_assert(web_send(fd, evil, sizeof evil - 1));
    web_read(fd, &r, 30);
    close(fd);
    expect_well(&s);
    FILE *log = fopen(s.err, "re");
    cr_assert_not_null(log);
    while (fgets(line, sizeof line, log) != NULL) {
        cr_expect(strchr(line, '\033') == NULL && strstr(line, "\xc2\x9b") == NULL, "%s", line);
        logged = logged || strstr(line, "?[2JET /a?[2J?? ") != NULL;
    }
    fclose(log);
    cr_expect(logged || r.status == 400, "%d", r.status); /* or the library refuses such a method */
    web_reply_fini(&r);
    end(&s);
}

Test(serve, more_than_the_queue_holds_is_told_to_try_again, .timeout = 180)
{
    struct server s;
    struct web_reply r = {0};
    char *large = large_body(400);
    begin(&s, "--queue 10");
    int first = web_connect(s.port), gone = web_connect(s.port);
    cr_assert(send_post(first, large)); /* alone it is let in, whatever its size */
    wait_for_work(&s);
    web_once(s.port, "POST", "/v1/embeddings", NULL, "{\"model\": \"thea-mini\", \"input\": \"x\"}", &r);
    cr_expect_eq(r.status, 429, "%d %s", r.status, buf_text(&r.body));
    cr_expect_not_null(strcasestr(buf_text(&r.head), "\r\nRetry-After: 1\r\n"), "%s", buf_text(&r.head));
    cr_expect_not_null(strstr(buf_text(&r.body), "rate_limit_error"), "%s", buf_text(&r.body));
    cr_assert(web_read(first, &r, 120), "no answer");
    cr_expect_eq(r.status, 200);
    cr_expect_not_null(strstr(buf_text(&r.body), "\"index\": 399"));
    close(first);
    cr_assert(send_post(gone, large));
    close(gone); /* nobody waits for it; the others do not notice */
    web_once(s.port, "GET", "/health", NULL, NULL, &r);
    cr_expect_eq(r.status, 200);
    free(large);
    web_reply_fini(&r);
    end(&s);
}

Test(serve, a_client_that_goes_away_takes_no_other_with_it, .timeout = 180)
{
    struct server s;
    char *large = large_body(100);
    begin(&s, "");
    for (int i = 0; i < 8; i++) {
        int fd = web_connect(s.port);
        cr_assert(send_post(fd, large));
        close(fd);
    }
    expect_well(&s);
    free(large);
    end(&s);
}

/* --- keys, signals, faults --- */

Test(serve, a_key_is_asked_for_where_there_is_one, .timeout = 120)
{
    struct server s;
    struct web_reply r = {0};
    char options[256], *dir = run_temp_dir();
    static const char body[] = "{\"model\": \"thea-mini\", \"input\": \"x\"}";
    snprintf(options, sizeof options, "%s/key", dir);
    FILE *file = fopen(options, "w");
    cr_assert(file != NULL && fputs("sk-secret\n", file) >= 0 && fclose(file) == 0);
    snprintf(options, sizeof options, "--token-file %s/key", dir);
    begin(&s, options);
    static const char *const wrong[] = {"",
                                        "Authorization: Bearer sk-secre\r\n",
                                        "Authorization: Bearer sk-secrets\r\n",
                                        "Authorization: Bearer \r\n",
                                        "Authorization: Basic sk-secret\r\n",
                                        "Authorization: Bearer sk-Secret\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        web_once(s.port, "POST", "/v1/embeddings", wrong[i], body, &r);
        cr_expect_eq(r.status, 401, "'%s': %d", wrong[i], r.status);
        cr_expect_not_null(strstr(buf_text(&r.body), "invalid_api_key"), "%s", buf_text(&r.body));
        cr_expect_not_null(strstr(buf_text(&r.body), "\"type\": \"invalid_request_error\""), "%s",
                           buf_text(&r.body));
    }
    web_once(s.port, "GET", "/v1/models", NULL, NULL, &r);
    cr_expect_eq(r.status, 401);
    web_once(s.port, "GET", "/health", NULL, NULL, &r);
    cr_expect_eq(r.status, 200);
    web_once(s.port, "POST", "/v1/embeddings", "Authorization: Bearer sk-secret\r\n", body, &r);
    cr_expect_eq(r.status, 200, "%s", buf_text(&r.body));
    web_reply_fini(&r);
    free(dir);
    end(&s);
}

Test(serve, what_cannot_be_served_is_refused_with_its_status, .timeout = 120)
{
    static const struct {
        const char *command;
        int status;
        const char *says;
    } cases[] = {
        {"thea serve embed --listen 0.0.0.0:0", 77, "is not on loopback: anybody could use it there"},
        {"thea serve embed --token-file /nonexistent/key", 66, "/nonexistent/key"},
        {"thea serve embed --listen here:http", 64, "is no port"},
        {"thea serve embed --queue 0", 64, "--queue"},
        {"thea serve score", 64, "does not end in vectors"},
        {"thea serve generate", 64, "does not end in vectors"},
        {"thea serve nothing-of-this-name", 66, "nothing-of-this-name"},
        {"thea serve embed -m /nonexistent/model", 66, "/nonexistent/model"},
        {"thea serve", 64, "usage"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct run_result r;
        run_shell(&r, NULL, 60, "THEA_RUNS=%s %s", run_temp_dir(), cases[i].command);
        cr_expect_eq(r.status, cases[i].status, "%s: %d: %s", cases[i].command, r.status, buf_text(&r.err));
        cr_expect_not_null(strstr(buf_text(&r.err), cases[i].says), "%s: %s", cases[i].command,
                           buf_text(&r.err));
        run_result_fini(&r);
    }
}

Test(serve, a_port_in_use_is_told, .timeout = 120)
{
    struct server s;
    struct run_result r;
    begin(&s, "");
    run_shell(&r, NULL, 60, "THEA_RUNS=%s thea serve embed --listen 127.0.0.1:%d", run_temp_dir(), s.port);
    cr_expect_eq(r.status, 75, "%s", buf_text(&r.err));
    run_result_fini(&r);
    end(&s);
}

Test(serve, a_signal_lets_what_is_there_be_answered, .timeout = 180)
{
    struct server s;
    struct run_result ended;
    struct web_reply r = {0};
    char *large = large_body(200);
    begin(&s, "");
    int fd = web_connect(s.port), idle = web_connect(s.port);
    cr_assert(web_ask(idle, "GET", "/health", NULL, NULL, &r));
    cr_assert(send_post(fd, large));
    wait_for_work(&s);
    kill(s.child.pid, SIGTERM);
    cr_assert(web_read(fd, &r, 120), "no answer");
    cr_expect_eq(r.status, 200, "%s", buf_text(&r.body));
    cr_expect_not_null(strstr(buf_text(&r.body), "\"index\": 199"));
    close(fd);
    close(idle);
    cr_expect_eq(run_wait(&s.child, END_S, &ended), 128 + SIGTERM, "%d: %s", ended.status,
                 buf_text(&ended.err));
    cr_expect_eq(web_connect(s.port), -1, "it still listens");
    run_result_fini(&ended);
    web_reply_fini(&r);
    free(large);
}

/* The first process below `pid` whose command line begins with `name`. */
static pid_t process_below(pid_t pid, const char *name)
{
    struct run_result r;
    run_shell(&r, NULL, 30,
              "below() { for p in $(cat /proc/$1/task/*/children); do tr '\\0' ' ' </proc/$p/cmdline | grep "
              "-q '%s' "
              "&& echo $p && exit; below $p; done; }; below %d",
              name, (int)pid);
    pid_t found = (pid_t)atoi(buf_text(&r.out));
    run_result_fini(&r);
    return found;
}

Test(serve, a_stage_that_dies_is_started_again_and_all_is_answered, .timeout = 180)
{
    struct server s;
    struct web_reply r = {0};
    char *large = large_body(200);
    begin(&s, "");
    int fd = web_connect(s.port);
    cr_assert(send_post(fd, large));
    pid_t layers = process_below(s.child.pid, "thea-layers");
    cr_assert_gt(layers, 0, "no process of layers");
    cr_assert_eq(kill(layers, SIGKILL), 0);
    cr_assert(web_read(fd, &r, 120), "no answer");
    cr_expect_eq(r.status, 200, "%s", buf_text(&r.body));
    cr_expect_not_null(strstr(buf_text(&r.body), "\"index\": 199"));
    close(fd);
    expect_well(&s);
    free(large);
    web_reply_fini(&r);
    end(&s);
}

Test(serve, without_its_pipeline_it_ends, .timeout = 120)
{
    struct server s;
    struct run_result ended;
    begin(&s, "");
    pid_t supervisor = process_below(s.child.pid, "thea run");
    cr_assert_gt(supervisor, 0, "no supervisor");
    cr_assert_eq(kill(supervisor, SIGKILL), 0);
    cr_expect_eq(run_wait(&s.child, END_S, &ended), 69, "%d: %s", ended.status, buf_text(&ended.err));
    cr_expect_not_null(strstr(buf_text(&ended.err), "the pipeline 'embed' has ended with status 137"), "%s",
                       buf_text(&ended.err));
    run_result_fini(&ended);
}
