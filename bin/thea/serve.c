/* thea serve: an HTTP server in front of a pipeline that ends in vectors, as OpenAI's clients expect it. */
#include "bin/thea/support/command.h"
#include "bin/thea/support/pipeline.h"
#include "bin/thea/support/serve_inspect.h"
#include "bin/thea/support/serve_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    QUEUE_MAX = 2048,
    BODY_MAX_BYTES = 8 << 20,
    CONNECTIONS_MAX = 1024,
    REQUEST_S = 20,
    RECORD_BYTES = 4096
};
#define BODY_MOST (INT64_C(1) << 40)
#define DAY_NS    (INT64_C(86400) * 1000000000)

static const struct command_option serve_options[] = {
    PIPELINE_OPTIONS,
    {"listen", 0, VALUE_TEXT, "HOST:PORT",
     "default 127.0.0.1:8080; port 0: any free one; elsewhere: --token-file", NULL},
    {"token-file", 0, VALUE_PATH, "FILE", "its first line is the API key that clients must send", NULL},
    {"alias", 0, VALUE_TEXTS, "NAME", "another name for the model; repeatable", NULL},
    {"queue", 0, VALUE_INT, "N", "inputs that may wait (2048); more requests get 429", NULL},
    {"body-max", 0, VALUE_SIZE, "SIZE", "of a request (8MiB); larger ones get 413", NULL},
    {"timeout", 0, VALUE_TIME, "TIME", "in which a request must have come whole (20s); else 408", NULL},
    {"threads", 0, VALUE_INT, "N", "threads of each stage", NULL},
    {"run-dir", 0, VALUE_PATH, "DIR", "where the pipeline's logs and reports go: a new directory", NULL},
    {0},
};

static const char *const serve_examples[] = {
    "thea serve embed -m MODEL   then: curl http://127.0.0.1:8080/v1/embeddings -H 'Content-Type: "
    "application/json' "
    "-d '{\"model\": \"MODEL\", \"input\": \"hello\"}'",
    "thea serve embed -m MODEL --alias text-embedding-3-small   for clients that insist on a name",
    "thea serve embed --listen 0.0.0.0:8080 --token-file key.txt   for others; put TLS in front of it",
    NULL,
};

/* --- options --- */

static int64_t number_of(const struct command_args *args, const char *option, value_type type,
                         int64_t fallback)
{
    const char *text = command_value(args, option);
    struct value v;
    if (text == NULL || value_parse(&v, type, NULL, text, NULL) != THEA_OK)
        return fallback; /* checked by the table */
    return v.integer;
}

static thea_rc check_numbers(const struct command_args *args, struct thea_err *err)
{
    if (number_of(args, "queue", VALUE_INT, 1) < 1)
        return thea_fail(err, THEA_EUSAGE, "serve: --queue: 1 or more");
    int64_t body = number_of(args, "body-max", VALUE_SIZE, 1),
            timeout = number_of(args, "timeout", VALUE_TIME, 1000000000);
    if (body < 1 || body > BODY_MOST) return thea_fail(err, THEA_EUSAGE, "serve: --body-max: 1B to 1TiB");
    if (timeout < 1000000000 || timeout > DAY_NS)
        return thea_fail(err, THEA_EUSAGE, "serve: --timeout: 1s to 24h");
    return THEA_OK;
}

static thea_rc read_token(char token[SERVE_TOKEN_MAX], const char *path, struct thea_err *err)
{
    if (path == NULL) return THEA_OK;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return thea_fail(err, errno == ENOENT ? THEA_ENOINPUT : THEA_EPERM, "--token-file: %s: %s", path,
                         strerror(errno));
    if (fgets(token, SERVE_TOKEN_MAX, file) == NULL) token[0] = '\0';
    fclose(file);
    size_t n = strcspn(token, "\r\n");
    bool whole = token[n] != '\0' || n < SERVE_TOKEN_MAX - 1;
    token[n] = '\0';
    if (n == 0) return thea_fail(err, THEA_EDATA, "--token-file: %s: its first line is empty", path);
    if (!whole) return thea_fail(err, THEA_EDATA, "--token-file: %s: its first line is too long", path);
    return THEA_OK;
}

/* --- the pipeline's command line --- */

struct words {
    const char **at;
    size_t count;
    char *made[8]; /* to be freed */
    size_t made_count;
};

static void add(struct words *w, const char *word)
{
    w->at = reallocarray(w->at, w->count + 2, sizeof *w->at);
    if (w->at == NULL) abort();
    w->at[w->count++] = word;
    w->at[w->count] = NULL;
}

static void add_set(struct words *w, const char *stage, const char *rest)
{
    struct buf text = {0};
    buf_printf(&text, "%s.%s", stage, rest);
    w->made[w->made_count] = buf_take(&text);
    add(w, "--set");
    add(w, w->made[w->made_count++]);
}

static void add_sets(struct words *w, const struct command_args *args)
{
    size_t count;
    const char **sets = command_all_values(args, "set", &count);
    for (size_t i = 0; i < count; i++) {
        add(w, "--set");
        add(w, sets[i]);
    }
    free(sets);
}

/* A record is an input as it stood in a body, but for blanks between tokens, and its id. Whatever passed the
 * limit on bodies must not be left out by the source: nobody would ever hear of it. */
static int64_t record_max(const struct command_args *args)
{
    return 2 * number_of(args, "body-max", VALUE_SIZE, BODY_MAX_BYTES) + RECORD_BYTES;
}

/* What the user sets comes after what we do, but for the ends: those must be ours. */
static void make_words(struct words *w, const struct command_args *args, const struct serve_found *f)
{
    char line_max[64];
    static const char *const passed[] = {"model", "threads", "run-dir"};
    snprintf(line_max, sizeof line_max, "max_bytes=%lldB", (long long)record_max(args));
    add(w, "thea");
    add(w, "run");
    add_set(w, f->source, "in_flight=256");
    add_sets(w, args);
    add_set(w, f->source, "format=jsonl");
    add_set(w, f->source, line_max);
    add_set(w, f->sink, "output=-");
    add_set(w, f->sink, "format=jsonl");
    add_set(w, f->sink, "order=completion");
    add_set(w, f->sink, "failures=true");
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        static const char *const options[] = {"--model", "--threads", "--run-dir"};
        if (command_value(args, passed[i]) == NULL) continue;
        add(w, options[i]);
        add(w, command_value(args, passed[i]));
    }
    add(w, "--progress");
    add(w, "off");
    if (command_flag(args, "quiet", false)) add(w, "--quiet");
    add(w, "--");
    add(w, args->operands[0]);
    add(w, "-");
}

static void words_fini(struct words *w)
{
    for (size_t i = 0; i < w->made_count; i++) free(w->made[i]);
    free((void *)(uintptr_t)w->at);
}

static thea_rc start_pipeline(struct serve *s, const struct command_args *args, const struct serve_found *f,
                              struct thea_err *err)
{
    struct words words = {0};
    make_words(&words, args, f);
    thea_rc rc = serve_pipe_start(&s->pipe, words.at, err);
    words_fini(&words);
    return rc;
}

/* --- the server --- */

static thea_rc open_http(struct serve *s, const struct command_args *args, struct thea_err *err)
{
    const char *address = command_value(args, "listen");
    struct http_options o = {
        .address = address != NULL ? address : "127.0.0.1:8080",
        .routes = serve_routes,
        .context = s,
        .body_max_bytes = (size_t)number_of(args, "body-max", VALUE_SIZE, BODY_MAX_BYTES),
        .any_address = s->token[0] != '\0',
        .connections_max = CONNECTIONS_MAX,
        .request_timeout_s =
            (int)(number_of(args, "timeout", VALUE_TIME, REQUEST_S * INT64_C(1000000000)) / 1000000000),
        .refuse = serve_refuse,
        .done = serve_log,
    };
    if (!o.any_address && !http_is_loopback(o.address))
        return thea_fail(err, THEA_EPERM,
                         "serve: %s is not on loopback: anybody could use it there\n"
                         "  needed  --token-file FILE, with the API key that clients must send",
                         o.address);
    return http_open(&s->http, &o, err);
}

static int serve_found(struct serve *s, const struct command_args *args, const struct serve_found *found)
{
    struct thea_err err = {0};
    int status;
    thea_rc rc = check_numbers(args, &err);
    s->queue_max = (size_t)number_of(args, "queue", VALUE_INT, QUEUE_MAX);
    s->quiet = command_flag(args, "quiet", false);
    if (rc == THEA_OK) rc = read_token(s->token, command_value(args, "token-file"), &err);
    if (rc == THEA_OK) rc = open_http(s, args, &err);
    if (rc == THEA_OK) rc = start_pipeline(s, args, found, &err);
    status = rc == THEA_OK ? serve_loop(s) : thea_log_failure(&err);
    serve_jobs_fini(&s->jobs);
    http_close(s->http);
    serve_pipe_fini(&s->pipe);
    return status;
}

/* Names that clients may say, besides the model's own: as it was named on the command line, and aliases. */
static const char **collect_aliases(const struct command_args *args, const char *own)
{
    size_t count;
    const char **names = command_all_values(args, "alias", &count), *model = command_value(args, "model");
    if (model == NULL || strcmp(model, own) == 0 || strchr("/.~", model[0]) != NULL) return names;
    names = reallocarray(names, count + 2, sizeof *names);
    if (names == NULL) abort();
    names[count] = model;
    names[count + 1] = NULL;
    return names;
}

static int run_serve(const struct command_args *args)
{
    struct spec_overrides overrides;
    struct spec *spec = NULL;
    struct serve_found found = {0};
    struct thea_err err = {0};
    pipeline_overrides(&overrides, args, 1);
    int status = pipeline_load(&spec, args->operands[0], &overrides);
    if (status == 0) {
        struct serve s = {
            .label = spec->name, .model = &found.model, .pipe = {.in = -1, .out = -1, .end = -1}};
        if (serve_inspect(&found, spec, &err) == THEA_OK) {
            const char **aliases = collect_aliases(args, found.name);
            found.model.name = found.name;
            found.model.aliases = aliases;
            status = serve_found(&s, args, &found);
            free((void *)(uintptr_t)aliases);
        } else {
            status = thea_log_failure(&err);
        }
    }
    serve_found_fini(&found);
    pipeline_overrides_fini(&overrides);
    if (spec != NULL) spec_free(spec);
    return status;
}

const struct command command_serve = {
    .name = "serve",
    .operands = "FILE|NAME",
    .summary = "an HTTP server for embeddings, as OpenAI's clients expect it",
    .description = "Runs the pipeline, which must end in vectors (as `embed` does), and answers POST "
                   "/v1/embeddings, GET\n"
                   "/v1/models and /health. Requests of all clients go through it together. SIGTERM and "
                   "Ctrl-C: what is there is\n"
                   "answered, then it ends. A line on stderr for each request; -q: none.",
    .options = serve_options,
    .examples = serve_examples,
    .min_operands = 1,
    .max_operands = 1,
    .run = run_serve,
};
