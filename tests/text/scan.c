/* The hand-written scanners against PCRE2, over random texts and over every code point. */
#include "text/scan.h"

#include "tests/text/support.h"
#include "text/regex.h"
#include "text/unicode.h"
#include "text/utf8.h"

#include <string.h>

static uint64_t state = 88172645463325252u;

static uint32_t random_below(uint32_t n)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 32) % n;
}

/* Pieces that the patterns distinguish, and some that look as if. */
static const char *const pieces[] = {
    "a",
    "Z",
    "abc",
    "\xC3\xA9",
    "e\xCC\x81",
    "\xE6\x97\xA5\xE6\x9C\xAC",
    "\xC7\x85",
    "\xCA\xB0",
    "\xD7\x90",
    "1",
    "23",
    "4567",
    "\xC2\xB2",
    "\xD9\xA3",
    "\xE2\x85\xA0",
    "\xE2\x91\xA0",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\n\n",
    "\v",
    "\f",
    "\xC2\x85",
    "\xC2\xA0",
    "\xE1\xA0\x8E",
    "\xE2\x80\x83",
    "\xE2\x80\xA8",
    "\xE3\x80\x80",
    "\xE2\x80\x8B",
    "\xEF\xBB\xBF",
    "'",
    "'s",
    "'S",
    "'\xC5\xBF",
    "'t",
    "'re",
    "'RE",
    "'rE",
    "'ve",
    "'vE",
    "'m",
    "'ll",
    "'LL",
    "'lL",
    "'d",
    "'D",
    "'r",
    "'x",
    "''s",
    "\xE2\x80\x99s",
    "!",
    "...",
    "_",
    "-",
    "$",
    "\xF0\x9F\x98\x80",
    "\x01",
    "\x7F",
};
enum { PIECES = sizeof pieces / sizeof *pieces };

/* Letters and numbers of a newer Unicode than PCRE2's: it cannot judge those. */
static bool newer[0x110000];

static void find_newer(void)
{
    struct regex *re = NULL;
    struct thea_err err = {0};
    size_t count = 0;
    cr_assert_eq(regex_new(&re, "\\p{Cn}", 6, &err), THEA_OK, "%s", err.message);
    for (uint32_t code = 1; code < 0x110000; code++) {
        char text[UTF8_MAX];
        struct regex_walk w = {0};
        if ((code >= 0xD800 && code <= 0xDFFF) || !unicode_is(code, UNICODE_LETTER | UNICODE_NUMBER))
            continue;
        newer[code] = regex_next(re, text, utf8_put(text, code), &w, &err) == THEA_OK;
        count += newer[code];
    }
    cr_assert_lt(count, 20000, "too many letters that PCRE2 does not know: %zu", count);
    regex_free(re);
}

static void random_text(struct buf *text)
{
    buf_clear(text);
    for (uint32_t n = 1 + random_below(20); n > 0; n--) {
        uint32_t code = random_below(0x110000);
        if (random_below(8) > 0)
            buf_add_text(text, pieces[random_below(PIECES)]);
        else if ((code < 0xD800 || code > 0xDFFF) && !newer[code])
            utf8_add(text, code == 0 ? 'q' : code);
    }
}

static void compare(const struct scan_pattern *p, struct regex *re, const struct buf *text)
{
    struct regex_walk w = {0};
    struct thea_err err = {0};
    size_t at = 0;
    thea_rc rc;
    while ((rc = regex_next(re, buf_text(text), text->len, &w, &err)) == THEA_OK) {
        cr_assert_eq(w.start, at, "the pattern leaves a gap at %zu of '%s'", at, text->data);
        size_t end = p->scan(text->data, text->len, at);
        cr_assert_eq(end, w.end, "%s\nin '%s' (%zu bytes): from %zu to %zu, the scanner says %zu", p->pattern,
                     text->data, text->len, at, w.end, end);
        at = end;
    }
    cr_assert_eq(rc, THEA_DONE, "%s", err.message);
    cr_assert_eq(at, text->len);
}

static void each_scanner(void (*check)(const struct scan_pattern *p, struct regex *re))
{
    unicode_init();
    find_newer();
    for (const struct scan_pattern *p = scan_patterns; p->pattern != NULL; p++) {
        struct regex *re = NULL;
        struct thea_err err = {0};
        cr_assert_eq(regex_new(&re, p->pattern, strlen(p->pattern), &err), THEA_OK, "%s", err.message);
        check(p, re);
        regex_free(re);
    }
}

static void random_texts(const struct scan_pattern *p, struct regex *re)
{
    struct buf text = {0};
    for (int i = 0; i < 40000; i++) {
        random_text(&text);
        if (text.len > 0) compare(p, re, &text);
    }
    buf_fini(&text);
}

/* Each code point after a letter and before one, after a space, alone at the end. */
static void every_code_point(const struct scan_pattern *p, struct regex *re)
{
    struct buf text = {0};
    for (uint32_t first = 0; first < 0x110000; first += 64) {
        buf_clear(&text);
        for (uint32_t code = first; code < first + 64; code++) {
            if ((code >= 0xD800 && code <= 0xDFFF) || newer[code]) continue;
            buf_add_text(&text, "b");
            utf8_add(&text, code);
            buf_add_text(&text, "a ");
            utf8_add(&text, code);
            buf_add_text(&text, "1");
            utf8_add(&text, code);
        }
        if (text.len > 0) compare(p, re, &text);
    }
    buf_fini(&text);
}

Test(scan, finds_the_pieces_of_its_pattern_in_random_texts)
{
    each_scanner(random_texts);
}

Test(scan, knows_every_code_point_as_its_pattern_does)
{
    each_scanner(every_code_point);
}

Test(scan, is_found_only_for_the_exact_pattern)
{
    for (const struct scan_pattern *p = scan_patterns; p->pattern != NULL; p++) {
        size_t n = strlen(p->pattern);
        cr_assert_eq(scan_find(p->pattern, n), p->scan);
        cr_assert_null(scan_find(p->pattern, n - 1));
        cr_assert_null(scan_find(p->pattern + 1, n - 1));
    }
    cr_assert_null(scan_find("", 0));
}
