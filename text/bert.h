/* BERT's basic tokenisation: the text cleaned, then words between white space and punctuation. */
#ifndef TEXT_BERT_H
#define TEXT_BERT_H

#include "text/mapped.h"
#include "text/reader.h"

struct bert_options {
    bool clean_text;    /* controls go, white space becomes a space */
    bool chinese_chars; /* spaces around ideographs */
    bool strip_accents; /* NFD without its Mn */
    bool lowercase;     /* each code point by itself: no final sigma */
};

/* A "BertNormalizer". */
THEA_CHECK thea_rc bert_options_read(struct bert_options *o, const struct place *p, struct thea_err *err);
/* Replaces out; scratch is lent. */
void bert_normalize(const struct bert_options *o, struct mapped *out, const struct mapped_view *in,
                    struct mapped *scratch);

/* A "BertPreTokenizer" as a scanner (scan.h): white space, one punctuation character, or a word. */
size_t bert_scan(const char *text, size_t len, size_t pos);
/* The piece that begins so is white space: no word. */
bool bert_is_gap(const char *text, size_t pos);

#endif
