/* Cutting spans where something matches: the Split, Digits, Punctuation … pre-tokenizers. */
#ifndef TEXT_SPLIT_H
#define TEXT_SPLIT_H

#include "text/pretokenize.h"
#include "text/regex.h"

typedef enum {
    SPLIT_ISOLATED,
    SPLIT_REMOVED,
    SPLIT_CONTIGUOUS,
    SPLIT_WITH_PREVIOUS,
    SPLIT_WITH_NEXT
} split_behavior;
typedef enum { SPLIT_BY_REGEX, SPLIT_BY_SCAN, SPLIT_BY_STRING, SPLIT_BY_CLASS, SPLIT_BY_BERT } split_matcher;

struct split {
    split_matcher matcher;
    split_behavior behavior;
    bool invert;
    struct regex *regex;
    scan_fn scan;
    struct buf string;
    int char_class; /* UNICODE_… */
};

struct span_list {
    struct word_span *at;
    size_t count, cap;
};
void span_list_add(struct span_list *list, size_t start, size_t end);
void span_list_fini(struct span_list *list);

void split_fini(struct split *s);
/* Append to out the parts of text[start, end), empty ones left out. */
THEA_CHECK thea_rc split_apply(struct split *s, const char *text, size_t start, size_t end,
                               struct span_list *out, struct thea_err *err);

#endif
