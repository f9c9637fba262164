/* The one file that faces PCRE2: see regex.h. */
#include "text/regex.h"

#include "text/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

enum { JIT_STACK_START = 64 << 10, JIT_STACK_MAX = 16 << 20, PATTERN_MAX = 64 << 10 };

struct regex {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static thea_rc compile(struct regex *re, const struct buf *pattern, struct thea_err *err)
{
    int number;
    PCRE2_SIZE at;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL) abort();
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    re->code = pcre2_compile((PCRE2_SPTR)buf_text(pattern), pattern->len,
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &number, &at, context);
    pcre2_compile_context_free(context);
    if (re->code != NULL) return THEA_OK;
    PCRE2_UCHAR message[160];
    pcre2_get_error_message(number, message, sizeof message);
    return thea_fail(err, THEA_EDATA, "regex: %s (at byte %zu of '%.200s')", (const char *)message,
                     (size_t)at, buf_text(pattern));
}

thea_rc regex_new(struct regex **out, const char *pattern, size_t len, struct thea_err *err)
{
    struct regex *re = calloc(1, sizeof *re);
    struct buf translated = {0};
    if (re == NULL) abort();
    thea_rc rc = len > PATTERN_MAX ? thea_fail(err, THEA_EDATA, "regex: longer than %d bytes", PATTERN_MAX)
                                   : regex_translate(&translated, pattern, len, err);
    if (rc == THEA_OK) rc = compile(re, &translated, err);
    buf_fini(&translated);
    if (rc != THEA_OK) {
        regex_free(re);
        return rc;
    }
    re->match = pcre2_match_data_create(1, NULL);
    re->context = pcre2_match_context_create(NULL);
    if (re->match == NULL || re->context == NULL) abort();
    if (pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE) == 0) { /* else it runs interpreted */
        re->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
        pcre2_jit_stack_assign(re->context, NULL, re->stack);
    }
    *out = re;
    return THEA_OK;
}

void regex_free(struct regex *re)
{
    if (re == NULL) return;
    pcre2_jit_stack_free(re->stack);
    pcre2_match_context_free(re->context);
    pcre2_match_data_free(re->match);
    pcre2_code_free(re->code);
    free(re);
}

/* One search from `from`. THEA_DONE: no match. */
static thea_rc search(struct regex *re, const char *text, size_t len, size_t from, struct thea_err *err)
{
    int rc = pcre2_match(re->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, re->match, re->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its stack on the heap */
        rc = pcre2_match(re->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, re->match,
                         re->context);
    if (rc >= 0) return THEA_OK;
    if (rc == PCRE2_ERROR_NOMATCH) return THEA_DONE;
    PCRE2_UCHAR message[160];
    pcre2_get_error_message(rc, message, sizeof message);
    return thea_fail(err, THEA_EDOC, "the tokenizer's regex gave up at byte %zu of a piece of text: %s", from,
                     (const char *)message);
}

thea_rc regex_next(struct regex *re, const char *text, size_t len, struct regex_walk *w, struct thea_err *err)
{
    while (w->at_ <= len) {
        thea_rc rc = search(re, text, len, w->at_, err);
        if (rc != THEA_OK) return rc;
        const PCRE2_SIZE *found = pcre2_get_ovector_pointer(re->match);
        size_t start = found[0], end = found[1];
        if (start > end) start = end; /* \K is refused; a lookahead cannot do it then. For safety */
        if (start == end && w->matched_ && w->end == end) {
            w->at_ = end < len ? end + utf8_length(text[end]) : len + 1;
            continue;
        }
        w->start = start, w->end = end, w->at_ = end, w->matched_ = true;
        return THEA_OK;
    }
    return THEA_DONE;
}

bool regex_matches_empty(struct regex *re)
{
    return search(re, "", 0, 0, NULL) == THEA_OK;
}
