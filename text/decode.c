/* See decode.h. A step gets tokens in pieces: `end` says that the token ends with this piece. ByteLevel and
 * Fuse make one token of all, which then stays open until the flush. Pieces between steps are whole
 * characters. */
#include "text/decode.h"

#include "text/bytelevel.h"
#include "text/decode_cleanup.h"
#include "text/decode_steps.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

struct decoder {
    struct decode_step steps[DECODE_STEPS_MAX];
    size_t count;
};

struct at_step {
    struct buf token; /* of an open token that must be whole first */
    struct buf held;  /* bytes of broken or unfinished characters; the tail that may begin a pattern; a run of
                         byte tokens */
    size_t tokens;    /* ended so far */
    size_t stripped;  /* characters taken off the open token */
    bool begun;       /* the open token has a character that stays */
};

struct decoder_state {
    struct decoder *decoder;
    struct at_step at[DECODE_STEPS_MAX];
    struct buf *out;
    struct thea_err *err;
};

static thea_rc step(struct decoder_state *s, size_t i, const char *piece, size_t len, bool end);

/* ByteLevel: all tokens' bytes, read as UTF-8. */
static thea_rc bytelevel(struct decoder_state *s, size_t i, const char *token, size_t len)
{
    struct buf *held = &s->at[i].held, text = {0};
    if (!bytelevel_decode(held, token, len)) buf_add(held, token, len);
    buf_drop_front(held, utf8_add_lossy(&text, held->data, held->len, false));
    thea_rc rc = text.len > 0 ? step(s, i + 1, text.data, text.len, false) : THEA_OK;
    buf_fini(&text);
    return rc;
}

/* ByteFallback: a run of <0xXX> is one text, or U+FFFD for each of its bytes. */
static thea_rc end_run(struct decoder_state *s, size_t i)
{
    struct buf run = s->at[i].held;
    size_t bad;
    thea_rc rc = THEA_OK;
    s->at[i].held = (struct buf){0};
    if (run.len > 0 && utf8_valid(run.data, run.len, &bad))
        rc = step(s, i + 1, run.data, run.len, true);
    else
        for (size_t k = 0; k < run.len && rc == THEA_OK; k++) rc = step(s, i + 1, "\xEF\xBF\xBD", 3, true);
    buf_fini(&run);
    return rc;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static thea_rc byte_fallback(struct decoder_state *s, size_t i, const char *token, size_t len)
{
    if (len == 6 && memcmp(token, "<0x", 3) == 0 && token[5] == '>' && hex(token[3]) >= 0 &&
        hex(token[4]) >= 0) {
        buf_add_char(&s->at[i].held, (char)(hex(token[3]) << 4 | hex(token[4])));
        return THEA_OK;
    }
    thea_rc rc = end_run(s, i);
    return rc != THEA_OK ? rc : step(s, i + 1, token, len, true);
}

static size_t strip_front(struct at_step *at, const struct decode_step *d, const char *piece, size_t len)
{
    size_t from = 0;
    while (!at->begun && from < len) {
        bool same = len - from >= d->text.len && memcmp(piece + from, d->text.data, d->text.len) == 0;
        if (!same || at->stripped == d->start) {
            at->begun = true;
            break;
        }
        from += d->text.len;
        at->stripped++;
    }
    return from;
}

/* Strip: up to `start` characters off the front, up to `stop` off the back (then tokens come whole). */
static thea_rc strip(struct decoder_state *s, size_t i, const char *piece, size_t len, bool end)
{
    const struct decode_step *d = &s->decoder->steps[i];
    struct at_step *at = &s->at[i];
    size_t from = strip_front(at, d, piece, len), stop = len;
    for (size_t n = 0; n < d->stop && stop >= from + d->text.len &&
                       memcmp(piece + stop - d->text.len, d->text.data, d->text.len) == 0;
         n++)
        stop -= d->text.len;
    if (end) at->stripped = 0, at->begun = false;
    return step(s, i + 1, piece + from, stop - from, end);
}

/* Bytes at the end of `held` that may be the beginning of the pattern. */
static size_t unfinished(const struct buf *held, const struct buf *pattern)
{
    size_t n = pattern->len - 1 < held->len ? pattern->len - 1 : held->len;
    while (n > 0 && memcmp(held->data + held->len - n, pattern->data, n) != 0) n--;
    return n;
}

static thea_rc replace(struct decoder_state *s, size_t i, const char *piece, size_t len, bool end)
{
    const struct decode_step *d = &s->decoder->steps[i];
    struct buf *held = &s->at[i].held, made = {0};
    const char *hit;
    size_t done = 0;
    buf_add(held, piece, len);
    while ((hit = memmem(held->data + done, held->len - done, d->text.data, d->text.len)) != NULL) {
        buf_add(&made, held->data + done, (size_t)(hit - held->data) - done);
        buf_add(&made, d->content.data, d->content.len);
        done = (size_t)(hit - held->data) + d->text.len;
    }
    buf_drop_front(held, done);
    size_t keep = end ? 0 : unfinished(held, &d->text), take = held->len - keep;
    buf_add(&made, held->data, take);
    buf_drop_front(held, take);
    thea_rc rc = step(s, i + 1, buf_text(&made), made.len, end);
    buf_fini(&made);
    return rc;
}

static thea_rc replace_regex(struct decoder_state *s, size_t i, const char *token, size_t len)
{
    const struct decode_step *d = &s->decoder->steps[i];
    struct regex_walk w = {0};
    struct buf made = {0};
    size_t done = 0;
    thea_rc rc;
    while ((rc = regex_next(d->regex, token, len, &w, s->err)) == THEA_OK) {
        buf_add(&made, token + done, w.start - done);
        buf_add(&made, d->content.data, d->content.len);
        done = w.end;
    }
    buf_add(&made, token + done, len - done);
    if (rc == THEA_DONE) rc = step(s, i + 1, buf_text(&made), made.len, true);
    buf_fini(&made);
    return rc;
}

static thea_rc metaspace(struct decoder_state *s, size_t i, const char *piece, size_t len, bool end)
{
    const struct decode_step *d = &s->decoder->steps[i];
    bool first = s->at[i].tokens == 0 && d->drop_first;
    struct buf made = {0};
    for (size_t k = 0; k < len;) {
        size_t n = utf8_length(piece[k]);
        if (n != d->text.len || memcmp(piece + k, d->text.data, n) != 0)
            buf_add(&made, piece + k, n);
        else if (!first)
            buf_add_char(&made, ' ');
        k += n;
    }
    s->at[i].tokens += end;
    thea_rc rc = step(s, i + 1, buf_text(&made), made.len, end);
    buf_fini(&made);
    return rc;
}

static thea_rc join(struct decoder_state *s, size_t i, const char *token, size_t len)
{
    thea_rc rc = s->at[i].tokens++ > 0 ? step(s, i + 1, " ", 1, false) : THEA_OK;
    return rc != THEA_OK ? rc : step(s, i + 1, token, len, true);
}

/* WordPiece: what continues a word is joined to it, what begins one has a space before; tidied token by
 * token. */
static thea_rc wordpiece(struct decoder_state *s, size_t i, const char *token, size_t len)
{
    const struct decode_step *d = &s->decoder->steps[i];
    struct buf made = {0};
    if (s->at[i].tokens++ == 0) {
        buf_add(&made, token, len);
    } else if (len >= d->text.len && memcmp(token, buf_text(&d->text), d->text.len) == 0) {
        buf_add(&made, token + d->text.len, len - d->text.len);
    } else {
        buf_add_char(&made, ' ');
        buf_add(&made, token, len);
    }
    if (d->cleanup) decode_cleanup(&made);
    thea_rc rc = step(s, i + 1, buf_text(&made), made.len, true);
    buf_fini(&made);
    return rc;
}

static thea_rc with_token(struct decoder_state *s, size_t i, const char *token, size_t len)
{
    switch (s->decoder->steps[i].kind) {
    case DECODE_BYTELEVEL: return bytelevel(s, i, token, len);
    case DECODE_BYTE_FALLBACK: return byte_fallback(s, i, token, len);
    case DECODE_REPLACE_REGEX: return replace_regex(s, i, token, len);
    case DECODE_JOIN: return join(s, i, token, len);
    case DECODE_WORDPIECE: return wordpiece(s, i, token, len);
    default: return strip(s, i, token, len, true);
    }
}

/* Steps that look at whole tokens: an open one is gathered. */
static thea_rc gather(struct decoder_state *s, size_t i, const char *piece, size_t len, bool end)
{
    struct buf token = s->at[i].token;
    if (end && token.len == 0) return with_token(s, i, piece, len);
    buf_add(&token, piece, len);
    s->at[i].token = end ? (struct buf){0} : token;
    if (!end) return THEA_OK;
    thea_rc rc = with_token(s, i, token.data, token.len);
    buf_fini(&token);
    return rc;
}

static thea_rc step(struct decoder_state *s, size_t i, const char *piece, size_t len, bool end)
{
    if (i == s->decoder->count) {
        buf_add(s->out, piece, len);
        return THEA_OK;
    }
    const struct decode_step *d = &s->decoder->steps[i];
    switch (d->kind) {
    case DECODE_FUSE: return step(s, i + 1, piece, len, false);
    case DECODE_REPLACE: return replace(s, i, piece, len, end);
    case DECODE_METASPACE: return metaspace(s, i, piece, len, end);
    case DECODE_STRIP: return d->stop == 0 ? strip(s, i, piece, len, end) : gather(s, i, piece, len, end);
    default: return gather(s, i, piece, len, end);
    }
}

static thea_rc flush_step(struct decoder_state *s, size_t i)
{
    struct buf text = {0};
    thea_rc rc = THEA_OK;
    switch (s->decoder->steps[i].kind) {
    case DECODE_FUSE: return step(s, i + 1, "", 0, true);
    case DECODE_BYTE_FALLBACK: return end_run(s, i);
    case DECODE_BYTELEVEL:
        utf8_add_lossy(&text, buf_text(&s->at[i].held), s->at[i].held.len, true);
        rc = step(s, i + 1, buf_text(&text), text.len, true);
        buf_fini(&text);
        break;
    default: break;
    }
    return rc;
}

thea_rc decoder_push(struct decoder_state *s, const char *token, size_t len, struct buf *out,
                     struct thea_err *err)
{
    s->out = out, s->err = err;
    return step(s, 0, token, len, true);
}

static void reset(struct decoder_state *s)
{
    for (size_t i = 0; i < s->decoder->count; i++) {
        buf_fini(&s->at[i].token);
        buf_fini(&s->at[i].held);
        s->at[i] = (struct at_step){0};
    }
}

thea_rc decoder_flush(struct decoder_state *s, struct buf *out, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    s->out = out, s->err = err;
    for (size_t i = 0; i < s->decoder->count && rc == THEA_OK; i++) rc = flush_step(s, i);
    reset(s);
    return rc;
}

struct decoder_state *decoder_state_new(struct decoder *d)
{
    struct decoder_state *s = calloc(1, sizeof *s);
    if (s == NULL) abort();
    s->decoder = d;
    return s;
}

void decoder_state_free(struct decoder_state *s)
{
    if (s == NULL) return;
    reset(s);
    free(s);
}

thea_rc decoder_new(struct decoder **out, const struct place *p, struct thea_err *err)
{
    struct decoder *d = calloc(1, sizeof *d);
    if (d == NULL) abort();
    thea_rc rc = THEA_OK;
    if (place_is_null(p))
        d->steps[d->count++].kind = DECODE_JOIN;
    else
        rc = decode_steps_read(d->steps, &d->count, p, err);
    if (rc != THEA_OK)
        decoder_free(d);
    else
        *out = d;
    return rc;
}

void decoder_free(struct decoder *d)
{
    if (d == NULL) return;
    for (size_t i = 0; i < d->count; i++) decode_step_fini(&d->steps[i]);
    free(d);
}
