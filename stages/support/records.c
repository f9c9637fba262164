/* JSON Lines of documents: see records.h. */
#include "stages/support/records.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCEPTED                                                                                             \
    "\n  accepted   {\"id\": \"a\", \"text\": \"…\"} or {\"id\": \"a\", \"tokens\": [1, 2, 3]}, one a line"
#define ACCEPTED_TOKENS "\n  accepted   {\"id\": \"a\", \"tokens\": [1, 2, 3]}, one a line"

static const char *accepted(const struct records *r)
{
    return r->tokens_only ? ACCEPTED_TOKENS : ACCEPTED;
}

static thea_rc bad_record(const struct records *r, const char *what, struct thea_err *err)
{
    return thea_fail(err, THEA_EDATA, "%s:%llu: %s%s", r->name, (unsigned long long)r->line, what,
                     accepted(r));
}

/* Is there nothing to read from a pipe yet? */
static bool is_quiet(const struct records *r)
{
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    return r->pipe && poll(&p, 1, 0) <= 0;
}

static ssize_t read_some(struct records *r, char *to, size_t room)
{
    uint64_t from = r->offset + r->read.len - r->at;
    if (r->end > 0 && room > r->end - from) room = (size_t)(r->end - from);
    if (room == 0) return 0;
    if (r->read_at != NULL) return r->read_at(r->context, to, room, from);
    ssize_t n;
    do n = read(r->fd, to, room);
    while (n < 0 && errno == EINTR);
    return n;
}

/* Read more bytes behind those not used yet. AGAIN: none are there yet. */
static thea_rc fill(struct records *r, struct thea_err *err)
{
    enum { PIECE = 1 << 16 };
    if (r->at > 0) {
        buf_drop_front(&r->read, r->at);
        r->at = 0;
    }
    if (is_quiet(r)) return THEA_AGAIN;
    ssize_t n = read_some(r, buf_reserve(&r->read, PIECE), PIECE);
    if (n < 0) return thea_fail(err, THEA_EIO, "%s: %s", r->name, strerror(errno));
    if (n == 0 && r->growing) return THEA_AGAIN;
    if (n == 0) r->ended = true;
    r->read.len += (size_t)n;
    return THEA_OK;
}

/* Use up n bytes. */
static void pass(struct records *r, size_t n)
{
    r->at += n;
    r->offset += n;
    r->searched = 0;
}

/* A line of len bytes and perhaps a newline is whole. */
static thea_rc take_line(struct records *r, size_t len, bool newline)
{
    bool too_long = r->too_long || len > r->max_bytes;
    r->too_long = false;
    r->line++;
    pass(r, len + newline);
    r->whole = r->offset;
    return too_long ? THEA_EDOC : THEA_OK;
}

/* The next line, without its newline, borrowed until the next call. OK, DONE, AGAIN (not whole yet), EDOC
 * (too long, passed over) or an error. */
static thea_rc next_line(struct records *r, const char **line, size_t *len, struct thea_err *err)
{
    for (;;) {
        size_t have = r->read.len - r->at;
        *line = buf_text(&r->read) + r->at;
        const char *newline =
            have > r->searched ? memchr(*line + r->searched, '\n', have - r->searched) : NULL;
        *len = newline != NULL ? (size_t)(newline - *line) : have;
        if (newline != NULL || (r->ended && (have > 0 || r->too_long)))
            return take_line(r, *len, newline != NULL);
        if (r->ended) return THEA_DONE;
        r->searched = have;
        if (have > r->max_bytes) { /* keep nothing of it */
            r->too_long = true;
            pass(r, have);
        }
        thea_rc rc = fill(r, err);
        if (rc != THEA_OK) return rc;
    }
}

static bool is_blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (strchr(" \t\r", line[i]) == NULL || line[i] == '\0') return false;
    }
    return true;
}

static thea_rc parse(const struct records *r, const char *line, size_t len, struct json_node **node,
                     struct thea_err *err)
{
    struct thea_err bad = {0};
    if (json_parse(node, line, len, "", &bad) == THEA_OK) return THEA_OK;
    char *at = bad.message; /* ":1:20: not valid JSON: …": the line is ours to say */
    if (strncmp(at, ":1:", 3) != 0) return bad_record(r, bad.message, err);
    unsigned long column = strtoul(at + 3, &at, 10);
    at += strspn(at, ": ");
    return thea_fail(err, THEA_EDATA, "%s:%llu:%lu: %s%s", r->name, (unsigned long long)r->line, column, at,
                     accepted(r));
}

static thea_rc read_id(const struct records *r, struct record *out, struct thea_err *err)
{
    const struct json_node *id = json_member(out->node, "id");
    size_t len = 0;
    const char *text = json_text(id, &len);
    int n = 0;
    if (text != NULL && (len == 0 || strlen(text) != len))
        return bad_record(r, "the id must not be empty or hold U+0000", err);
    if (text != NULL)
        n = asprintf(&out->id, "%s", text);
    else if (id == NULL)
        n = asprintf(&out->id, "%s:%llu", r->name, (unsigned long long)r->line);
    else if (json_kind(id) == JSON_INT_)
        n = asprintf(&out->id, "%lld", (long long)json_int(id));
    else
        return bad_record(r, "the id must be a string or an integer", err);
    if (n < 0) abort();
    return THEA_OK;
}

static thea_rc read_tokens(const struct records *r, struct record *out, const struct json_node *list,
                           struct thea_err *err)
{
    char what[160];
    if (json_kind(list) != JSON_LIST_) {
        snprintf(what, sizeof what, "tokens must be a list of integers, this is %s",
                 json_kind_name(json_kind(list)));
        return bad_record(r, what, err);
    }
    out->count = json_count(list);
    out->ids = calloc(out->count + 1, sizeof *out->ids);
    if (out->ids == NULL) abort();
    for (size_t i = 0; i < out->count; i++) {
        const struct json_node *item = json_item(list, i);
        int64_t id = json_int(item);
        if (json_kind(item) != JSON_INT_ || id < 0 || id > INT32_MAX) {
            snprintf(what, sizeof what, "token %zu must be an integer from 0 to 2147483647", i);
            return bad_record(r, what, err);
        }
        out->ids[i] = (int32_t)id;
    }
    return THEA_OK;
}

static thea_rc read_record(const struct records *r, struct record *out, struct thea_err *err)
{
    if (json_kind(out->node) != JSON_MAP_) {
        char what[64];
        snprintf(what, sizeof what, "a line must be a map, this is %s", json_kind_name(json_kind(out->node)));
        return bad_record(r, what, err);
    }
    thea_rc rc = read_id(r, out, err);
    if (rc != THEA_OK) return rc;
    const struct json_node *text = json_member(out->node, "text"), *tokens = json_member(out->node, "tokens");
    if (tokens != NULL && (r->tokens_only || text == NULL)) return read_tokens(r, out, tokens, err);
    if (tokens != NULL) return bad_record(r, "text and tokens: only one of them", err);
    if (r->tokens_only) return bad_record(r, "no tokens", err);
    if (text == NULL) return bad_record(r, "neither text nor tokens", err);
    out->text = json_text(text, &out->text_len);
    return out->text != NULL ? THEA_OK : bad_record(r, "text must be a string", err);
}

/* The next line that is not blank. */
static thea_rc next_filled(struct records *r, const char **line, size_t *len, struct thea_err *err)
{
    thea_rc rc;
    do rc = next_line(r, line, len, err);
    while (rc == THEA_OK && is_blank(*line, *len));
    return rc;
}

thea_rc records_skip(struct records *r, struct thea_err *err)
{
    const char *line;
    size_t len;
    return next_filled(r, &line, &len, err);
}

thea_rc records_next(struct records *r, struct record *out, struct thea_err *err)
{
    *out = (struct record){0};
    const char *line = NULL;
    size_t len = 0;
    thea_rc rc = next_filled(r, &line, &len, err);
    if (rc != THEA_OK) return rc;
    if (r->line == 1 && len >= 3 &&
        memcmp(line, "\xEF\xBB\xBF", 3) == 0) { /* a byte order mark, as Windows' editors write */
        line += 3;
        len -= 3;
    }
    rc = parse(r, line, len, &out->node, err);
    if (rc == THEA_OK) rc = read_record(r, out, err);
    if (rc != THEA_OK) record_fini(out);
    return rc;
}

void records_fini(struct records *r)
{
    buf_fini(&r->read);
}

void record_fini(struct record *record)
{
    free(record->id);
    free(record->ids);
    json_free(record->node);
    *record = (struct record){0};
}
