/* What the server answers: see serve_loop.h. */
#include "bin/thea/support/serve_loop.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { RETRY_S = 1, QUEUE_BYTES_MAX = 64 << 20 };

static void refuse(struct http_reply *reply, int status, const char *code, const char *text)
{
    struct serve_error e;
    serve_error_set(&e, status, NULL, code, "%s", text);
    serve_error_reply(&e, reply);
}

/* The whole of both is compared, whatever differs. */
static bool same_secret(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned differ = n != m;
    for (size_t i = 0; i < m; i++) differ |= (unsigned char)a[n > 0 ? i % n : 0] ^ (unsigned char)b[i];
    return differ == 0;
}

static bool is_allowed(const struct serve *s, const struct http_request *r, struct http_reply *reply)
{
    static const char scheme[] = "Bearer ";
    const char *given = http_header(r, "Authorization");
    if (s->token[0] == '\0') return true;
    if (given != NULL && strncasecmp(given, scheme, sizeof scheme - 1) == 0 &&
        same_secret(s->token, given + sizeof scheme - 1))
        return true;
    refuse(reply, 401, "invalid_api_key",
           given == NULL ? "no API key: send Authorization: Bearer KEY" : "the API key is not right");
    return false;
}

static void send_inputs(struct serve *s, const struct serve_job *job, const struct serve_request *r)
{
    struct buf lines = {0};
    char id[64];
    for (size_t i = 0; i < r->count; i++) {
        serve_jobs_id(&s->jobs, job, i, id);
        serve_request_line(r, i, id, &lines);
    }
    serve_pipe_send(&s->pipe, lines.data, lines.len);
    buf_fini(&lines);
}

/* A request larger than the queue is let in alone. */
static bool has_room(const struct serve *s, size_t count, size_t bytes)
{
    if (s->jobs.open == 0) return true;
    return s->jobs.inputs + count <= s->queue_max && s->jobs.bytes + bytes <= QUEUE_BYTES_MAX;
}

static void refuse_for_now(struct http_reply *reply)
{
    refuse(reply, 429, "queue_full", "too many inputs wait already: try again");
    reply->retry_after_s = RETRY_S;
}

static void post_embeddings(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct serve *s = context;
    struct serve_request r = {0};
    struct serve_error e;
    if (!is_allowed(s, request, reply)) return;
    if (s->draining) {
        refuse(reply, 503, "shutting_down", "the server is shutting down");
        reply->close = true;
        return;
    }
    if (!s->ready) {
        refuse(reply, 503, "starting", "the server is starting");
        reply->retry_after_s = RETRY_S;
        return;
    }
    if (!has_room(s, 1, request->body_len)) { /* before the work of reading it */
        refuse_for_now(reply);
        return;
    }
    if (!serve_request_parse(&r, s->model, request->body, request->body_len, &e)) {
        serve_error_reply(&e, reply);
    } else if (!has_room(s, r.count, request->body_len)) {
        refuse_for_now(reply);
    } else {
        send_inputs(s, serve_jobs_add(&s->jobs, http_hold(request), &r, request->body_len), &r);
    }
    serve_request_fini(&r);
}

static void get_models(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct serve *s = context;
    if (is_allowed(s, request, reply)) serve_models(s->model, reply);
}

static void get_model(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct serve *s = context;
    if (is_allowed(s, request, reply))
        serve_model_one(s->model, request->path + strlen("/v1/models/"), reply);
}

static void get_health(void *context, const struct http_request *request, struct http_reply *reply)
{
    const struct serve *s = context;
    const char *state = s->draining ? "draining" : s->ready ? "ok" : "starting";
    (void)request;
    reply->status = s->ready && !s->draining ? 200 : 503;
    reply->type = "application/json";
    buf_printf(&reply->body, "{\"status\": \"%s\", \"waiting\": %zu}\n", state, s->jobs.inputs);
}

const struct http_route serve_routes[] = {
    {"POST", "/v1/embeddings", post_embeddings},
    {"GET", "/v1/models", get_models},
    {"GET", "/v1/models/", get_model},
    {"GET", "/health", get_health},
    {0},
};

/* A path is the client's, and was decoded: what stands between blanks stays one word. */
static void add_word(struct buf *out, const char *text)
{
    size_t at = out->len;
    buf_add_printable(out, text);
    for (; at < out->len; at++)
        if (out->data[at] == ' ') out->data[at] = '?';
}

/* 2026-11-22T13:05:09Z 127.0.0.1:40123 POST /v1/embeddings 200 1834 B 12.3 ms 2 inputs, 57 tokens */
void serve_log(void *context, const struct http_done *d)
{
    const struct serve *s = context;
    struct buf line = {0};
    struct tm at;
    char when[32], status[16];
    time_t now = time(NULL);
    if (s->quiet) return;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &at));
    snprintf(status, sizeof status, "%d", d->status);
    buf_printf(&line, "%s %s ", when, d->client);
    add_word(&line, d->method);
    buf_add_char(&line, ' ');
    add_word(&line, d->path);
    buf_printf(&line, " %s %zu B %.1f ms%s%s\n", d->status > 0 ? status : "gone", d->body_bytes,
               (double)d->taken_ns / 1e6, d->note[0] != '\0' ? " " : "", d->note);
    fputs(line.data, stderr);
    buf_fini(&line);
}
