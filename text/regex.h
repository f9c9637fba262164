/* Regular expressions of tokenizer.json, matched as the reference's engine (Oniguruma, Ruby syntax, UTF-8)
 * matches them, by PCRE2 with its JIT. A pattern is translated where the two differ (regex_syntax.c); what
 * cannot be is refused by name. */
#ifndef TEXT_REGEX_H
#define TEXT_REGEX_H

#include "graph/buf.h"
#include <stdbool.h>

struct regex;

/* Errors: THEA_EDATA; the message says what is wrong and where in the pattern, and is to be prefixed with the
 * pattern's place. */
THEA_CHECK thea_rc regex_new(struct regex **out, const char *pattern, size_t len, struct thea_err *err);
bool regex_matches_empty(struct regex *re); /* the empty text */
void regex_free(struct regex *re);

/* Walk the matches in a valid UTF-8 text, left to right, as the reference does: an empty match right after
 * another match is none. struct regex_walk w = {0}; while ((rc = regex_next(re, text, len, &w, err)) ==
 * THEA_OK) use(w.start, w.end);      ends with THEA_DONE Errors: THEA_EDOC when the engine's limits are
 * reached. */
struct regex_walk {
    size_t start, end;
    size_t at_;
    bool matched_;
};
THEA_CHECK thea_rc regex_next(struct regex *re, const char *text, size_t len, struct regex_walk *w,
                              struct thea_err *err);

/* Oniguruma's spelling to PCRE2's. Appends to out. */
THEA_CHECK thea_rc regex_translate(struct buf *out, const char *pattern, size_t len, struct thea_err *err);

#endif
