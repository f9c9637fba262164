/* The front: see tokenizer.h. A text is cut at added tokens, the rest normalized, cut again at those that are
 * found in normalized text, then into words, then into tokens; every piece knows its way back to the
 * document. */
#include "text/bert.h"
#include "text/token_list.h"
#include "text/tokenizer_internal.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

static const int64_t text_bytes_max = (int64_t)1 << 31;

size_t tokenizer_vocab_size(const struct tokenizer *t)
{
    return t->vocab.size;
}

int32_t tokenizer_id(const struct tokenizer *t, const char *token)
{
    return vocab_find(&t->vocab, token, strlen(token));
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->vocab.size && t->vocab.entries[id].special;
}

int32_t tokenizer_closing(const struct tokenizer *t)
{
    const struct id_list *after = &t->template.after;
    return after->count > 0 ? after->at[after->count - 1] : -1;
}

bool tokenizer_is_cased(const struct tokenizer *t)
{
    return normalizer_is_cased_bert(t->normalizer);
}

void tokenizer_forget_words(struct tokenizer *t)
{
    if (t->bpe != NULL)
        bpe_forget(t->bpe);
    else
        wordpiece_forget(t->wordpiece);
}

void tokenizer_use_regex(struct tokenizer *t)
{
    pretokenizer_use_regex(t->pretokenizer);
    t->scan = NULL;
}

void tokenizer_use_parts(struct tokenizer *t, size_t bytes)
{
    t->part = bytes > 0 ? bytes : SIZE_MAX;
}

/* --- encoding --- */

static inline void append_word(struct tokenizer *t, const struct mapped_view *v, size_t start, size_t end,
                               struct token_list *out)
{
    if (t->bpe != NULL)
        bpe_append(t->bpe, v, start, end, out);
    else
        wordpiece_append(t->wordpiece, v, start, end, out);
}

/* The scanner's words from `at` on, until they are `most` bytes; returns where the next one begins. */
static size_t encode_scanned(struct tokenizer *t, const struct mapped_view *v, size_t at, size_t most,
                             struct token_list *out)
{
    for (size_t from = at, end; at < v->len && at - from < most; at = end) {
        end = t->scan(v->text, v->len, at);
        if (!t->skip_gaps || !bert_is_gap(v->text, at)) append_word(t, v, at, end, out);
    }
    return at;
}

/* Plain text without added tokens, normalized. */
static thea_rc encode_words(struct tokenizer *t, const struct mapped_view *v, struct token_list *out,
                            struct thea_err *err)
{
    const struct word_span *words;
    struct mapped_view text;
    size_t count;
    if (t->scan != NULL) {
        encode_scanned(t, v, 0, SIZE_MAX, out);
        return THEA_OK;
    }
    thea_rc rc = pretokenizer_apply(t->pretokenizer, v, &text, &words, &count, err);
    for (size_t i = 0; rc == THEA_OK && i < count; i++)
        append_word(t, &text, words[i].start, words[i].end, out);
    return rc;
}

static thea_rc encode_part(struct tokenizer *t, const struct mapped_view *part, bool goes_on,
                           struct token_list *out, struct thea_err *err)
{
    struct mapped_view v;
    struct added_walk w = {0};
    thea_rc rc = normalizer_apply(t->normalizer, part, goes_on, &v, err);
    while (rc == THEA_OK && added_next(&t->normalized, v.text, v.len, &w)) {
        struct mapped_view plain = mapped_part(&v, w.start, w.end - w.start);
        if (w.id >= 0)
            token_list_add(out, w.id, mapped_end(&v, w.end));
        else
            rc = encode_words(t, &plain, out, err);
    }
    return rc;
}

/* The next part, from *at on, of a piece between added tokens; *at is then behind it. */
static thea_rc encode_next_part(struct tokenizer *t, const struct mapped_view *piece, size_t *at,
                                struct token_list *out, struct thea_err *err)
{
    size_t from = *at;
    if (t->scan != NULL && t->normalizer == NULL && t->normalized.count == 0) {
        *at = encode_scanned(t, piece, from, t->part, out);
        return THEA_OK;
    }
    bool cut = t->border != NULL && piece->len - from > t->part;
    *at = cut ? t->border(piece->text, piece->len, from + t->part) : piece->len;
    struct mapped_view part = mapped_part(piece, from, *at - from);
    return encode_part(t, &part, from > 0, out, err);
}

/* Tokens that swallow spaces can overlap the token after them; offsets never go back. */
static void make_monotone(struct token_walk *w, struct token_list *list, size_t first)
{
    for (size_t i = first; i < list->count; i++) {
        if (list->ends[i] < w->end_) list->ends[i] = w->end_;
        w->end_ = list->ends[i];
    }
}

static thea_rc begin(const struct tokenizer *t, const char *text, size_t len, bool special,
                     struct token_list *out, struct thea_err *err)
{
    size_t bad;
    if ((int64_t)len >= text_bytes_max)
        return thea_fail(err, THEA_EDOC, "a text of %zu bytes; at most %lld can be tokenized at once", len,
                         (long long)text_bytes_max - 1);
    if (!utf8_valid(text, len, &bad)) return thea_fail(err, THEA_EDOC, "not valid UTF-8 at byte %zu", bad);
    for (size_t i = 0; special && i < t->template.before.count; i++)
        token_list_add(out, t->template.before.at[i], 0);
    return THEA_OK;
}

/* An added token, or a part of the text between two. THEA_DONE: there is nothing more. */
static thea_rc step(struct tokenizer *t, const struct mapped_view *document, struct token_walk *w,
                    struct token_list *out, struct thea_err *err)
{
    struct added_walk *p = &w->piece_;
    if (!w->in_piece_) {
        if (!added_next(&t->raw, document->text, document->len, p)) return THEA_DONE;
        if (p->id >= 0) {
            token_list_add(out, p->id, (int64_t)p->end);
            return THEA_OK;
        }
        w->at_ = 0;
    }
    struct mapped_view piece = mapped_part(document, p->start, p->end - p->start);
    thea_rc rc = encode_next_part(t, &piece, &w->at_, out, err);
    w->in_piece_ = w->at_ < piece.len;
    return rc;
}

thea_rc tokenizer_encode_next(struct tokenizer *t, const char *text, size_t len, bool special,
                              struct token_walk *w, size_t enough, struct token_list *out,
                              struct thea_err *err)
{
    struct mapped_view document = {.text = text, .len = len};
    size_t first = out->count;
    thea_rc rc = w->begun_ ? THEA_OK : begin(t, text, len, special, out, err);
    w->begun_ = true;
    while (rc == THEA_OK && out->count - first < enough) rc = step(t, &document, w, out, err);
    make_monotone(w, out, first);
    if (rc == THEA_OK) return THEA_AGAIN;
    if (rc != THEA_DONE) return rc;
    for (size_t i = 0; special && i < t->template.after.count; i++)
        token_list_add(out, t->template.after.at[i], w->end_);
    return THEA_OK;
}

thea_rc tokenizer_encode(struct tokenizer *t, const char *text, size_t len, bool special,
                         struct token_list *out, struct thea_err *err)
{
    struct token_walk w = {0};
    thea_rc rc;
    out->count = 0;
    do rc = tokenizer_encode_next(t, text, len, special, &w, SIZE_MAX, out, err);
    while (rc == THEA_AGAIN);
    return rc;
}

/* --- decoding --- */

struct token_decoder {
    const struct tokenizer *tokenizer;
    struct decoder_state *state;
    bool skip_special;
};

thea_rc token_decoder_new(struct token_decoder **out, struct tokenizer *t, bool skip_special,
                          struct thea_err *err)
{
    struct token_decoder *d = calloc(1, sizeof *d);
    if (d == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    *d = (struct token_decoder){
        .tokenizer = t, .state = decoder_state_new(t->decoder), .skip_special = skip_special};
    *out = d;
    return THEA_OK;
}

void token_decoder_free(struct token_decoder *d)
{
    if (d == NULL) return;
    decoder_state_free(d->state);
    free(d);
}

thea_rc token_decoder_push(struct token_decoder *d, const int32_t *ids, size_t n, struct buf *out,
                           struct thea_err *err)
{
    const struct vocab *v = &d->tokenizer->vocab;
    thea_rc rc = THEA_OK;
    for (size_t i = 0; i < n && rc == THEA_OK; i++) {
        size_t len;
        int32_t id =
            ((const volatile int32_t *)ids)[i]; /* read once: it may lie in another process's memory */
        const char *text = vocab_said(v, id, &len);
        if (text == NULL)
            return thea_fail(err, THEA_EDOC, "token id %d is not in the vocabulary (ids below %zu)", id,
                             v->size);
        if (d->skip_special && v->entries[id].special) continue;
        rc = decoder_push(d->state, text, len, out, err);
    }
    return rc;
}

thea_rc token_decoder_flush(struct token_decoder *d, struct buf *out, struct thea_err *err)
{
    return decoder_flush(d->state, out, err);
}

thea_rc tokenizer_decode(struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                         struct buf *out, struct thea_err *err)
{
    struct token_decoder *d = NULL;
    thea_rc rc = token_decoder_new(&d, t, skip_special, err);
    if (rc == THEA_OK) rc = token_decoder_push(d, ids, n, out, err);
    if (rc == THEA_OK) rc = token_decoder_flush(d, out, err);
    token_decoder_free(d);
    return rc;
}
