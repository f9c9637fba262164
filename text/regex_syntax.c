/* Patterns in Oniguruma's Ruby syntax, spelled for PCRE2 (UTF | UCP | MULTILINE). What differs:
 *   \s  White_Space, without U+180E, which PCRE2 counts in          \w  Alphabetic, M, Nd, Pc; PCRE2's is L,
 * N, _ \h  a hexadecimal digit; PCRE2's is horizontal space            {,n} up to n times; literal in PCRE2
 *   \uHHHH  a code point; PCRE2 has \x{HHHH} alone
 *   \p{Han}  the script; PCRE2's is the script extensions           (?m:…) dot matches newline; refused, as
 * are &&, [a[b]], {n,m}+
 */
#include "text/regex.h"

#include <ctype.h>
#include <string.h>

#define SPACES                                                                                               \
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define WORDS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

struct reader {
    const char *s;
    size_t len, at;
    bool in_class;
    size_t class_at; /* where the class's first item is */
    struct buf *out;
    struct thea_err *err;
};

static thea_rc refuse(const struct reader *r, const char *what)
{
    return thea_fail(r->err, THEA_EDATA, "regex: %s at byte %zu is not supported", what, r->at);
}

/* \p{Name}: long names are scripts first, as in the reference. */
static thea_rc property(struct reader *r)
{
    static const char *const not_scripts[] = {"Alphabetic", "Uppercase", "Lowercase", "White_Space",
                                              "Emoji",      "Any",       "Assigned",  "Extended_Pictographic",
                                              NULL};
    const char *close = memchr(r->s + r->at, '}', r->len - r->at);
    size_t name = r->at + 3;
    if (close == NULL || (size_t)(close - r->s) < name) return refuse(r, "an unfinished \\p{");
    size_t n = (size_t)(close - r->s) - name;
    bool plain = n <= 2 || r->s[name] == '^';
    for (size_t i = 0; not_scripts[i] != NULL && !plain; i++)
        plain = strlen(not_scripts[i]) == n && memcmp(not_scripts[i], r->s + name, n) == 0;
    static const char *const categories[][2] = {
        {"Letter", "L"},         {"Number", "N"},    {"Punctuation", "P"}, {"Punct", "P"},  {"Symbol", "S"},
        {"Mark", "M"},           {"Separator", "Z"}, {"Digit", "Nd"},      {"Upper", "Lu"}, {"Lower", "Ll"},
        {"Alpha", "Alphabetic"}, {"Space", NULL},    {"Word", NULL}};
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++) {
        if (strlen(categories[i][0]) != n || memcmp(categories[i][0], r->s + name, n) != 0) continue;
        if (categories[i][1] == NULL) return refuse(r, "this \\p{…}");
        buf_printf(r->out, "\\%c{%s}", r->s[r->at + 1], categories[i][1]);
        r->at = (size_t)(close - r->s) + 1;
        return THEA_OK;
    }
    buf_printf(r->out, "\\%c{%s%.*s}", r->s[r->at + 1], plain ? "" : "sc:", (int)n, r->s + name);
    r->at = (size_t)(close - r->s) + 1;
    return THEA_OK;
}

static void set(struct reader *r, const char *items, bool negated)
{
    if (r->in_class)
        buf_add_text(r->out, items);
    else
        buf_printf(r->out, "[%s%s]", negated ? "^" : "", items);
    r->at += 2;
}

/* \uHHHH */
static thea_rc code_point(struct reader *r)
{
    size_t n = 0;
    while (n < 4 && r->at + 2 + n < r->len && isxdigit((unsigned char)r->s[r->at + 2 + n])) n++;
    if (n < 4) return refuse(r, "\\u without four hexadecimal digits");
    buf_printf(r->out, "\\x{%.4s}", r->s + r->at + 2);
    r->at += 6;
    return THEA_OK;
}

static thea_rc escape(struct reader *r)
{
    if (r->at + 1 == r->len) return refuse(r, "a single backslash");
    char c = r->s[r->at + 1];
    switch (c) {
    case 's': set(r, SPACES, false); return THEA_OK;
    case 'S':
        if (r->in_class)
            set(r, "\\S\\x{180e}", false);
        else
            set(r, SPACES, true);
        return THEA_OK;
    case 'w': set(r, WORDS, false); return THEA_OK;
    case 'W':
        if (r->in_class) return refuse(r, "\\W inside [ ]");
        set(r, WORDS, true);
        return THEA_OK;
    case 'h': set(r, "0-9A-Fa-f", false); return THEA_OK;
    case 'H':
        if (r->in_class) return refuse(r, "\\H inside [ ]");
        set(r, "0-9A-Fa-f", true);
        return THEA_OK;
    case 'u': return code_point(r);
    case 'p':
    case 'P':
        if (r->at + 2 < r->len && r->s[r->at + 2] == '{') return property(r);
        return refuse(r, "\\p without { }");
    case 'b':
    case 'B':
        if (!r->in_class) return refuse(r, c == 'b' ? "\\b" : "\\B");
        break;
    case 'Q':
    case 'E':
    case 'C':
    case 'K':
    case 'G':
    case 'g':
    case 'k':
    case 'y':
    case 'Y':
    case 'O':
    case 'N':
    case 'v':
    case 'V':
    case 'c':
    case 'M': return refuse(r, "this escape");
    default: break;
    }
    buf_add(r->out, r->s + r->at, 2);
    r->at += 2;
    return THEA_OK;
}

/* "{…}" that repeats: "{n}", "{n,}", "{n,m}", "{,n}". 0 if the brace is a character. */
static size_t counted(const struct reader *r)
{
    size_t i = r->at + 1, digits = 0;
    for (; i < r->len && (r->s[i] == ',' || (r->s[i] >= '0' && r->s[i] <= '9')); i++)
        digits += r->s[i] != ',';
    return i < r->len && r->s[i] == '}' && digits > 0 ? i + 1 - r->at : 0;
}

static thea_rc brace(struct reader *r)
{
    size_t n = counted(r);
    if (n == 0) {
        buf_add_text(r->out, "\\{");
        r->at++;
        return THEA_OK;
    }
    if (r->at + n < r->len && r->s[r->at + n] == '+') return refuse(r, "{n,m}+");
    buf_printf(r->out, "{%s%.*s", r->s[r->at + 1] == ',' ? "0" : "", (int)n - 1, r->s + r->at + 1);
    r->at += n;
    return THEA_OK;
}

/* (?…: only groups whose meaning is the same in both. */
static thea_rc group(struct reader *r)
{
    static const char *const known[] = {"(?:",  "(?=",  "(?!",   "(?<=",  "(?<!", "(?>",
                                        "(?i:", "(?i)", "(?-i:", "(?-i)", NULL};
    for (size_t i = 0; known[i] != NULL; i++) {
        size_t n = strlen(known[i]);
        if (r->at + n > r->len || memcmp(r->s + r->at, known[i], n) != 0) continue;
        buf_add(r->out, known[i], n);
        r->at += n;
        return THEA_OK;
    }
    return refuse(r, "this kind of (? group");
}

static bool at(const struct reader *r, const char *text)
{
    size_t n = strlen(text);
    return r->at + n <= r->len && memcmp(r->s + r->at, text, n) == 0;
}

static thea_rc class_item(struct reader *r)
{
    char c = r->s[r->at];
    if (c == '[') return refuse(r, at(r, "[:") ? "[: :]" : "[ inside [ ] (write \\[)");
    if (at(r, "&&")) return refuse(r, "&&");
    if (c == ']' && r->at > r->class_at)
        r->in_class = false;
    else if (c == ']')
        return refuse(r, "an empty [ ]");
    buf_add_char(r->out, c);
    r->at++;
    return THEA_OK;
}

static thea_rc item(struct reader *r)
{
    char c = r->s[r->at];
    if (c == '\0') return refuse(r, "U+0000");
    if (c == '\\') return escape(r);
    if (r->in_class) return class_item(r);
    if (c == '{') return brace(r);
    if (at(r, "(?")) return group(r);
    if (at(r, "(*")) return refuse(r, "(*");
    buf_add_char(r->out, c);
    r->at++;
    if (c != '[') return THEA_OK;
    r->in_class = true;
    if (r->at < r->len && r->s[r->at] == '^') {
        buf_add_char(r->out, '^');
        r->at++;
    }
    r->class_at = r->at;
    return THEA_OK;
}

thea_rc regex_translate(struct buf *out, const char *pattern, size_t len, struct thea_err *err)
{
    struct reader r = {.s = pattern, .len = len, .out = out, .err = err};
    thea_rc rc = THEA_OK;
    while (rc == THEA_OK && r.at < r.len) rc = item(&r);
    return rc;
}
