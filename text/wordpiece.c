/* See wordpiece.h. A word is looked for in the cache of words; else cut from the left, the longest token each
 * time. No token of the vocabulary is longer than `longest`, so no piece of a word is looked for that is. */
#include "text/wordpiece.h"

#include "text/merge.h"
#include "text/token_list.h"
#include "text/utf8.h"
#include "text/vocab_load.h"
#include "text/word_cache.h"

#include <stdlib.h>
#include <string.h>

enum { WORD_CHARS_MAX = 1024 }; /* what max_input_chars_per_word may be: pieces are tried one by one */

struct wordpiece {
    const struct vocab *vocab;
    struct word_cache cache;
    struct merge_word word;
    struct buf prefix, key; /* key: prefix and the piece that is looked for */
    size_t longest;         /* bytes of the longest token, prefix included */
    size_t chars_max;       /* a longer word is unknown */
    int32_t unk;
};

/* --- reading --- */

static thea_rc text_or(const struct place *model, const char *key, const char *fallback, const char **text,
                       size_t *len, struct thea_err *err)
{
    struct place p = place_member(model, key);
    *text = fallback, *len = strlen(fallback);
    return place_is_null(&p) ? THEA_OK : place_string(model, key, text, len, err);
}

static thea_rc find_unknown(struct wordpiece *m, const struct place *model, struct thea_err *err)
{
    struct place p = place_member(model, "unk_token");
    const char *text;
    size_t len;
    thea_rc rc = text_or(model, "unk_token", "[UNK]", &text, &len, err);
    if (rc != THEA_OK) return rc;
    m->unk = vocab_find(m->vocab, text, len);
    if (m->unk >= 0) return THEA_OK;
    return place_fail(&p, err, "the unknown token '%.80s' is not in the vocabulary", text);
}

static thea_rc read_limits(struct wordpiece *m, const struct place *model, struct thea_err *err)
{
    struct place p = place_member(model, "max_input_chars_per_word");
    const char *prefix;
    size_t len;
    int64_t chars;
    thea_rc rc = place_int(model, "max_input_chars_per_word", 100, &chars, err);
    if (rc == THEA_OK && (chars < 1 || chars > WORD_CHARS_MAX))
        return place_fail(&p, err, "%lld; 1 to %d are accepted", (long long)chars, WORD_CHARS_MAX);
    if (rc == THEA_OK) rc = text_or(model, "continuing_subword_prefix", "##", &prefix, &len, err);
    if (rc != THEA_OK) return rc;
    m->chars_max = (size_t)chars;
    buf_add(&m->prefix, prefix, len);
    return THEA_OK;
}

thea_rc wordpiece_new(struct wordpiece **out, const struct place *p, struct vocab *v, struct thea_err *err)
{
    struct wordpiece *m = calloc(1, sizeof *m);
    if (m == NULL) abort();
    m->vocab = v;
    word_cache_init(&m->cache);
    thea_rc rc = read_limits(m, p, err);
    if (rc == THEA_OK) rc = vocab_load(v, p, err);
    if (rc == THEA_OK) rc = find_unknown(m, p, err);
    for (size_t i = 0; rc == THEA_OK && i < v->size; i++)
        if (v->entries[i].len > m->longest) m->longest = v->entries[i].len;
    if (rc == THEA_OK)
        *out = m;
    else
        wordpiece_free(m);
    return rc;
}

void wordpiece_free(struct wordpiece *m)
{
    if (m == NULL) return;
    word_cache_fini(&m->cache);
    merge_word_fini(&m->word);
    buf_fini(&m->prefix);
    buf_fini(&m->key);
    free(m);
}

void wordpiece_forget(struct wordpiece *m)
{
    word_cache_forget(&m->cache);
}

/* --- cutting --- */

static int32_t find(const struct wordpiece *m, const char *text, size_t len)
{
    int32_t id = vocab_find(m->vocab, text, len);
    return id >= 0 && m->vocab->entries[id].model ? id : -1;
}

/* The longest token that the rest of a word begins with; *len (the rest's bytes) becomes its own. */
static int32_t longest_piece(struct wordpiece *m, const char *rest, size_t *len, bool continues)
{
    size_t prefix = continues ? m->prefix.len : 0;
    if (m->longest <= prefix) return -1;
    size_t n = *len;
    if (n > m->longest - prefix) n = utf8_before(rest, m->longest - prefix + 1);
    const char *key = rest;
    if (continues) {
        m->key.len = 0;
        buf_add(&m->key, m->prefix.data, prefix);
        buf_add(&m->key, rest, n);
        key = m->key.data;
    }
    for (; n > 0; n = utf8_before(rest, n)) {
        int32_t id = find(m, key, prefix + n);
        if (id < 0) continue;
        *len = n;
        return id;
    }
    return -1;
}

/* The word's tokens into m->word. */
static void encode_word(struct wordpiece *m, const char *text, size_t len)
{
    m->word.count = 0;
    bool known = utf8_count(text, len) <= m->chars_max;
    for (size_t at = 0; known && at < len;) {
        size_t n = len - at;
        int32_t id = longest_piece(m, text + at, &n, at > 0);
        known = id >= 0;
        at += n;
        if (known) merge_word_add(&m->word, id, (uint32_t)at);
    }
    if (known) return;
    m->word.count = 0;
    merge_word_add(&m->word, m->unk, (uint32_t)len);
}

void wordpiece_append(struct wordpiece *m, const struct mapped_view *v, size_t start, size_t end,
                      struct token_list *out)
{
    struct word_slot slot;
    if (word_cache_append(&m->cache, &slot, v, start, end, out)) return;
    encode_word(m, v->text + start, end - start);
    word_cache_put(&slot, m->word.ids, m->word.ends, m->word.count);
    for (size_t i = 0; i < m->word.count; i++)
        token_list_add(out, m->word.ids[i], mapped_end(v, start + m->word.ends[i]));
}
