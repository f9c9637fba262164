/* See bpe.h. A word is looked for in the cache; else cut into its first symbols (bytes, characters, fallback
 * bytes, unknowns) and merged. */
#include "text/bpe.h"

#include "text/bpe_load.h"
#include "text/bytelevel.h"
#include "text/merge.h"
#include "text/token_list.h"
#include "text/utf8.h"
#include "text/word_cache.h"

#include <stdlib.h>
#include <string.h>

struct bpe {
    const struct vocab *vocab;
    struct bpe_config is;
    struct word_cache cache;
    struct merge_word word;
    struct buf spelled;
};

thea_rc bpe_new(struct bpe **out, const struct place *p, struct vocab *v, bool bytelevel,
                struct thea_err *err)
{
    struct bpe *m = calloc(1, sizeof *m);
    if (m == NULL) abort();
    m->vocab = v;
    m->is.bytelevel = bytelevel;
    thea_rc rc = bpe_load(&m->is, p, v, err);
    if (rc == THEA_OK) {
        word_cache_init(&m->cache);
        *out = m;
    } else {
        bpe_free(m);
    }
    return rc;
}

void bpe_free(struct bpe *m)
{
    if (m == NULL) return;
    merge_table_fini(&m->is.merges);
    merge_word_fini(&m->word);
    buf_fini(&m->spelled);
    word_cache_fini(&m->cache);
    free(m);
}

/* --- words to symbols --- */

struct unknown {
    bool pending;
    uint32_t end;
};

static void end_unknown(struct bpe *m, struct unknown *u)
{
    if (u->pending) merge_word_add(&m->word, m->is.unk, u->end);
    u->pending = false;
}

static void add_unknown(struct bpe *m, struct unknown *u, uint32_t end)
{
    if (m->is.unk < 0) return;
    if (!m->is.fuse_unk) end_unknown(m, u);
    *u = (struct unknown){true, end};
}

static void first_bytes(struct bpe *m, const char *text, size_t len)
{
    struct unknown u = {0};
    for (size_t i = 0; i < len; i++) {
        int32_t id = m->is.byte_ids[(unsigned char)text[i]];
        if (id < 0) {
            add_unknown(m, &u, (uint32_t)i + 1);
            continue;
        }
        end_unknown(m, &u);
        merge_word_add(&m->word, id, (uint32_t)i + 1);
    }
    end_unknown(m, &u);
}

static bool fall_back(struct bpe *m, const char *text, size_t start, size_t end)
{
    for (size_t i = start; i < end; i++)
        if (m->is.byte_ids[(unsigned char)text[i]] < 0) return false;
    for (size_t i = start; i < end; i++)
        merge_word_add(&m->word, m->is.byte_ids[(unsigned char)text[i]], (uint32_t)i + 1);
    return true;
}

static void first_characters(struct bpe *m, const char *text, size_t len)
{
    struct unknown u = {0};
    for (size_t i = 0, end; i < len; i = end) {
        end = i + utf8_length(text[i]);
        int32_t id = vocab_find(m->vocab, text + i, end - i);
        if (id >= 0 && m->vocab->entries[id].model) {
            end_unknown(m, &u);
            merge_word_add(&m->word, id, (uint32_t)end);
        } else if (!m->is.byte_fallback || !fall_back(m, text, i, end)) {
            add_unknown(m, &u, (uint32_t)end);
        }
    }
    end_unknown(m, &u);
}

/* The id of a word that is a token as it stands; -1 if it is none. */
static int32_t whole_word(struct bpe *m, const char *text, size_t len)
{
    int32_t id;
    if (m->is.bytelevel) {
        buf_clear(&m->spelled);
        bytelevel_encode(&m->spelled, text, len);
        id = vocab_find(m->vocab, m->spelled.data, m->spelled.len);
    } else {
        id = vocab_find(m->vocab, text, len);
    }
    return id >= 0 && m->vocab->entries[id].model ? id : -1;
}

/* The word's tokens into m->word. */
static void encode_word(struct bpe *m, const char *text, size_t len)
{
    m->word.count = 0;
    int32_t id = m->is.ignore_merges ? whole_word(m, text, len) : -1;
    if (id >= 0) {
        merge_word_add(&m->word, id, (uint32_t)len);
        return;
    }
    if (m->is.bytelevel)
        first_bytes(m, text, len);
    else
        first_characters(m, text, len);
    merge_apply(&m->is.merges, &m->word);
}

static void append_word(struct bpe *m, const struct mapped_view *v, size_t start, size_t end,
                        struct token_list *out)
{
    struct word_slot slot;
    if (word_cache_append(&m->cache, &slot, v, start, end, out)) return;
    encode_word(m, v->text + start, end - start);
    word_cache_put(&slot, m->word.ids, m->word.ends, m->word.count);
    for (size_t i = 0; i < m->word.count; i++)
        token_list_add(out, m->word.ids[i], mapped_end(v, start + m->word.ends[i]));
}

/* Where the next ▁ after another character is; end if there is none. */
static size_t next_mark(const char *text, size_t start, size_t end)
{
    enum { N = sizeof BPE_MARK - 1 };
    for (const char *at = text + start, *hit;
         (hit = memmem(at, (size_t)(text + end - at), BPE_MARK, N)) != NULL; at = hit + N)
        if (hit >= text + start + N ? memcmp(hit - N, BPE_MARK, N) != 0 : hit > text + start)
            return (size_t)(hit - text);
    return end;
}

void bpe_append(struct bpe *m, const struct mapped_view *v, size_t start, size_t end, struct token_list *out)
{
    if (!m->is.cut_at_marks) {
        append_word(m, v, start, end, out);
        return;
    }
    for (size_t at = start, cut; at < end; at = cut)
        append_word(m, v, at, cut = next_mark(v->text, at, end), out);
}

bool bpe_cuts_at_marks(const struct bpe *m)
{
    return m->is.cut_at_marks;
}

void bpe_forget(struct bpe *m)
{
    word_cache_forget(&m->cache);
}
