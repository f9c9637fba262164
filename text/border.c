/* See border.h. */
#include "text/border.h"

#include "text/bpe_load.h"

#include <string.h>

/* Before white space: it belongs to no word, composes with nothing before it, and all else that a
 * BertNormalizer does, it does to each character by itself. */
static size_t gap_border(const char *text, size_t len, size_t from)
{
    while (from < len && text[from] != ' ' && text[from] != '\n' && text[from] != '\t' && text[from] != '\r')
        from++;
    return from;
}

/* Before a space after something else: it becomes a ▁ after another character, where words are cut. */
static size_t mark_border(const char *text, size_t len, size_t from)
{
    enum { N = sizeof BPE_MARK - 1 };
    for (; from < len; from++) {
        if (text[from] != ' ' || text[from - 1] == ' ') continue;
        if (from < N || memcmp(text + from - N, BPE_MARK, N) != 0) break;
    }
    return from;
}

border_fn border_of_bert(const struct normalizer *n, const struct pretokenizer *p)
{
    return normalizer_is_bert(n) && pretokenizer_is_bert(p) ? gap_border : NULL;
}

border_fn border_of_marks(const struct normalizer *n, const struct pretokenizer *p, const struct bpe *m)
{
    bool cuts = false, cuts_at_marks = m != NULL && bpe_cuts_at_marks(m);
    if (pretokenizer_is_nothing(p) && normalizer_marks_spaces(n, BPE_MARK))
        return cuts_at_marks ? mark_border : NULL;
    if (n == NULL && pretokenizer_marks_spaces(p, BPE_MARK, &cuts))
        return cuts || cuts_at_marks ? mark_border : NULL;
    return NULL;
}
