/* Documents over a network: see load_impl.h. Everything becomes a line of JSON in the spool, and from there
 * on it is a record as in a file. What a sender was told is accepted (HTTP 200) is on disk; what came over a
 * bare TCP connection is safe from when it is in the spool, of which TCP tells nothing.
 *
 * HTTP is served on a thread of its own, so that a sender hears at once when the spool is full; all it
 * touches is the feed. */
#include "stages/support/load_impl.h"

#include "graph/http.h"
#include "graph/log.h"
#include "stages/support/chars.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_S = 10 };

/* --- TCP --- */

static thea_rc add_line(struct load *l, struct json_node *record, struct thea_err *err)
{
    char *text = json_print(record, 0, 0);
    struct buf line = {0};
    buf_printf(&line, "%s\n", text);
    free(text);
    json_free(record);
    pthread_mutex_lock(&l->net.lock);
    thea_rc rc = spool_append(&l->net.spool, line.data, line.len, err);
    pthread_mutex_unlock(&l->net.lock);
    buf_fini(&line);
    return rc;
}

static struct json_node *text_record(const char *text, size_t len)
{
    struct json_node *record = json_new_map();
    json_put(record, "text", json_new_text(text, len));
    return record;
}

static void on_line(void *context, const char *line, size_t len)
{
    struct stage *st = context;
    struct load *l = stage_state(st);
    struct thea_err err = {0};
    struct json_node *record = NULL;
    bool records = l->format == FORMAT_JSONL || l->format == FORMAT_TOKENS;
    if (len > 0 && line[len - 1] == '\r') len--;
    if (len == 0) return;
    if (chars_valid(line, len, NULL) < len) {
        load_leave_out(st, l, "a line over tcp", "not UTF-8");
    } else if (records && json_parse(&record, line, len, "", &err) != THEA_OK) {
        load_leave_out(st, l, "a line over tcp", "not JSON");
    } else {
        if (!records) record = text_record(line, len);
        if (add_line(l, record, &err) != THEA_OK) l->listen_failed = err;
    }
}

static void on_too_long(void *context)
{
    struct load *l = stage_state(context);
    char limit[TEXT_READER_LIMIT], reason[64];
    snprintf(reason, sizeof reason, "over %s", text_reader_limit(limit, (uint64_t)l->max_bytes));
    load_leave_out(context, l, "a line over tcp", reason);
}

static bool is_full(void *context)
{
    struct load *l = stage_state(context);
    return load_feed_full(&l->net);
}

static const struct listen_events tcp_events = {on_line, on_too_long, is_full};

/* --- HTTP --- */

static void answer(struct http_reply *reply, int status, const char *text)
{
    reply->status = status;
    reply->type = "text/plain; charset=utf-8";
    buf_printf(&reply->body, "%s\n", text);
}

/* A body in memory, read as records. */
static ssize_t read_body(void *context, void *to, size_t room, uint64_t offset)
{
    const struct http_request *r = context;
    size_t left = r->body_len - (size_t)offset;
    if (room > left) room = left;
    memcpy(to, r->body + offset, room);
    return (ssize_t)room;
}

/* Records as they will be in the spool, one a line. Errors: THEA_EDATA with the line. */
static thea_rc take_records(const struct load *l, const struct http_request *r, struct buf *lines,
                            size_t *count, struct thea_err *err)
{
    struct records in = {.fd = -1,
                         .name = "body",
                         .tokens_only = l->format == FORMAT_TOKENS,
                         .max_bytes = (uint64_t)l->max_bytes,
                         .read_at = read_body,
                         .context = (void *)(uintptr_t)r};
    struct record record;
    thea_rc rc;
    while ((rc = records_next(&in, &record, err)) == THEA_OK) {
        char *text = json_print(record.node, 0, 0);
        buf_printf(lines, "%s\n", text);
        free(text);
        record_fini(&record);
        ++*count;
    }
    records_fini(&in);
    if (rc == THEA_EDOC)
        return thea_fail(err, THEA_EDATA, "body:%llu: too long", (unsigned long long)in.line);
    return rc == THEA_DONE ? THEA_OK : rc;
}

/* One JSON value may stand on several lines. */
static thea_rc take_json(const struct load *l, const struct http_request *r, struct buf *lines, size_t *count,
                         struct thea_err *err)
{
    struct json_node *node = NULL;
    thea_rc rc = json_parse(&node, r->body, r->body_len, "body", err);
    if (rc != THEA_OK) return rc;
    char *text = json_print(node, 0, 0);
    json_free(node);
    rc = take_records(l, &(struct http_request){.body = text, .body_len = strlen(text)}, lines, count, err);
    free(text);
    return rc;
}

static thea_rc take_text(const struct http_request *r, struct buf *lines, size_t *count, struct thea_err *err)
{
    if (chars_valid(r->body, r->body_len, NULL) < r->body_len || memchr(r->body, '\0', r->body_len) != NULL)
        return thea_fail(err, THEA_EDATA, "the body is not text: it must be UTF-8 without zero bytes");
    struct json_node *record = text_record(r->body, r->body_len);
    const char *id = http_query(r, "id");
    if (id != NULL) json_put(record, "id", json_new_string(id));
    char *text = json_print(record, 0, 0);
    buf_printf(lines, "%s\n", text);
    free(text);
    json_free(record);
    *count = 1;
    return THEA_OK;
}

static bool is_type(const char *header, const char *type)
{
    size_t n = strlen(type);
    return header != NULL && strncasecmp(header, type, n) == 0 && strchr("; ", header[n]) != NULL;
}

static bool is_json_lines(const char *type)
{
    return is_type(type, "application/x-ndjson") || is_type(type, "application/ndjson") ||
           is_type(type, "application/jsonl") || is_type(type, "application/x-jsonlines");
}

static thea_rc keep(struct load *l, const struct buf *lines, struct thea_err *err)
{
    pthread_mutex_lock(&l->net.lock);
    thea_rc rc = spool_append(&l->net.spool, lines->data, lines->len, err);
    if (rc == THEA_OK) rc = spool_sync(&l->net.spool, err);
    pthread_mutex_unlock(&l->net.lock);
    return rc;
}

static void post_documents(void *context, const struct http_request *r, struct http_reply *reply)
{
    struct load *l = stage_state(context);
    struct thea_err err = {0};
    struct buf lines = {0};
    size_t count = 0;
    const char *type = http_header(r, "Content-Type");
    bool text = is_type(type, "text/plain"), one = is_type(type, "application/json");
    if (!text && !one && !is_json_lines(type)) {
        answer(reply, 415,
               "accepted: Content-Type text/plain, application/json, application/x-ndjson (a record a line)");
        return;
    }
    if (load_feed_full(&l->net)) {
        answer(reply, 429, "the spool is full: the run is behind");
        reply->retry_after_s = RETRY_S;
        return;
    }
    thea_rc rc = text  ? take_text(r, &lines, &count, &err)
                 : one ? take_json(l, r, &lines, &count, &err)
                       : take_records(l, r, &lines, &count, &err);
    if (rc == THEA_OK && count > 0) rc = keep(l, &lines, &err);
    buf_fini(&lines);
    if (rc != THEA_OK) {
        answer(reply, rc == THEA_EDATA ? 400 : 500, thea_err_message(&err));
        return;
    }
    listen_wake(l->listener);
    reply->status = 200;
    reply->type = "application/json";
    buf_printf(&reply->body, "{\"accepted\": %zu}\n", count);
}

static const struct http_route routes[] = {{"POST", "/documents", post_documents}, {0}};

/* --- both --- */

static thea_rc open_http(struct stage *st, struct load *l, const char *address, struct thea_err *err)
{
    struct http_options o = {.address = address,
                             .routes = routes,
                             .context = st,
                             .body_max_bytes = (size_t)l->max_bytes,
                             .thread = true};
    thea_rc rc = listen_open(&l->listener, NULL, 0, &tcp_events, st, err);
    if (rc == THEA_OK) rc = http_open(&l->http, &o, err);
    if (rc == THEA_OK) thea_info("listening on %s/documents", http_url(l->http));
    return rc;
}

thea_rc load_listen_open(struct stage *st, struct load *l, struct thea_err *err)
{
    if (strncmp(l->listen, "http://", 7) == 0) return open_http(st, l, l->listen + 7, err);
    if (strncmp(l->listen, "tcp://", 6) != 0)
        return thea_fail(err, THEA_EUSAGE,
                         "cannot listen on '%s'\n  accepted   tcp://127.0.0.1:PORT, http://127.0.0.1:PORT",
                         l->listen);
    thea_rc rc = listen_open(&l->listener, l->listen + 6, (size_t)l->max_bytes, &tcp_events, st, err);
    if (rc == THEA_OK) thea_info("listening on port %d", listen_port(l->listener));
    return rc;
}

void load_listen_close(struct load *l)
{
    http_close(l->http);
    listen_close(l->listener);
}
