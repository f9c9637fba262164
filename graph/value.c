/* Typed values as people write them: see value.h. Invariant: a number is taken only when all of its text was
 * understood. */
#include "graph/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit size_units[] = {{"B", 1},
                                         {"KiB", INT64_C(1) << 10},
                                         {"MiB", INT64_C(1) << 20},
                                         {"GiB", INT64_C(1) << 30},
                                         {"TiB", INT64_C(1) << 40},
                                         {NULL, 0}};
static const struct unit time_units[] = {{"ns", 1},
                                         {"us", 1000},
                                         {"ms", 1000000},
                                         {"s", 1000000000},
                                         {"m", INT64_C(60) * 1000000000},
                                         {"h", INT64_C(3600) * 1000000000},
                                         {NULL, 0}};

const char *value_type_name(value_type type)
{
    static const char *const names[] = {"boolean", "integer", "number", "text",  "path",  "model", "choice",
                                        "size",    "time",    "range",  "texts", "paths", "names"};
    return (size_t)type < sizeof names / sizeof *names ? names[type] : "unknown";
}

bool value_type_is_list(value_type type)
{
    return type == VALUE_TEXTS || type == VALUE_PATHS || type == VALUE_NAMES;
}

/* Digits of a whole number, "_" between digits allowed; up to the first other character, which *end gets.
 * False: none, or too large. */
static bool read_digits(int64_t *out, const char *text, const char **end)
{
    const char *p = text;
    int64_t n = 0;
    if (!isdigit((unsigned char)*p)) return false;
    for (; isdigit((unsigned char)*p) || (*p == '_' && isdigit((unsigned char)p[1])); p++) {
        if (*p == '_') continue;
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p - '0', &n)) return false;
    }
    *out = n;
    *end = p;
    return true;
}

static const struct unit *units_of(value_type type)
{
    return type == VALUE_TIME ? time_units : size_units;
}

const char *value_format_exact(char *out, value_type type, int64_t n)
{
    const struct unit *best = units_of(type), *u = best;
    for (; u->name != NULL; u++)
        if (n % u->factor == 0) best = u;
    snprintf(out, 32, "%" PRId64 "%s", n / best->factor, n == 0 ? "" : best->name);
    return out;
}

static thea_rc check_limits(const struct value_limits *limits, double n, const char *text, const char *what,
                            struct thea_err *err)
{
    if (limits == NULL || !(limits->min < limits->max) || (n >= limits->min && n <= limits->max))
        return THEA_OK;
    if (isinf(limits->max))
        return thea_fail(err, THEA_EUSAGE, "'%s' is out of range: %s of at least %.15g is accepted", text,
                         what, limits->min);
    return thea_fail(err, THEA_EUSAGE, "'%s' is out of range: %s from %.15g to %.15g is accepted", text, what,
                     limits->min, limits->max);
}

static thea_rc parse_bool(struct value *out, const char *text, struct thea_err *err)
{
    out->boolean = strcmp(text, "true") == 0;
    if (out->boolean || strcmp(text, "false") == 0) return THEA_OK;
    return thea_fail(err, THEA_EUSAGE, "'%s' is not a boolean: true or false is accepted", text);
}

static thea_rc parse_int(struct value *out, const struct value_limits *limits, const char *text,
                         struct thea_err *err)
{
    const char *end = text;
    bool negative = text[0] == '-';
    if (!read_digits(&out->integer, text + negative, &end) || *end != '\0')
        return thea_fail(err, THEA_EUSAGE, "'%s' is not an integer: a whole number such as 512 is accepted",
                         text);
    if (negative) out->integer = -out->integer;
    return check_limits(limits, (double)out->integer, text, "an integer", err);
}

static thea_rc parse_number(struct value *out, const struct value_limits *limits, const char *text,
                            struct thea_err *err)
{
    char *end = NULL;
    /* strtod would also take spaces, hexadecimal, "inf" and "nan". */
    bool plain = text[0] != '\0' && strspn(text, "0123456789+-.eE") == strlen(text);
    out->number = plain ? strtod(text, &end) : 0;
    if (!plain || *end != '\0' || !isfinite(out->number))
        return thea_fail(err, THEA_EUSAGE, "'%s' is not a number: one such as 0.8 or 1e-5 is accepted", text);
    return check_limits(limits, out->number, text, "a number", err);
}

static thea_rc check_unit_limits(const struct value_limits *limits, value_type type, int64_t n,
                                 const char *text, const char *what, struct thea_err *err)
{
    char low[32], high[32];
    if (limits == NULL || !(limits->min < limits->max) ||
        ((double)n >= limits->min && (double)n <= limits->max))
        return THEA_OK;
    value_format_exact(low, type, (int64_t)limits->min);
    if (limits->max >= 1e18 || isinf(limits->max))
        return thea_fail(err, THEA_EUSAGE, "'%s' is out of range: %s of at least %s is accepted", text, what,
                         low);
    value_format_exact(high, type, (int64_t)limits->max);
    return thea_fail(err, THEA_EUSAGE, "'%s' is out of range: %s from %s to %s is accepted", text, what, low,
                     high);
}

/* "64MiB", "2.5s": a number and its unit. Zero needs none. */
static thea_rc parse_with_unit(struct value *out, value_type type, const struct value_limits *limits,
                               const char *text, const char *what, const char *accepted, const char *example,
                               struct thea_err *err)
{
    const struct unit *units = units_of(type);
    size_t digits = strspn(text, "0123456789.");
    char *end = NULL;
    double n = digits > 0 ? strtod(text, &end) : 0;
    if (digits == 0 || end != text + digits)
        return thea_fail(err, THEA_EUSAGE, "'%s' is not %s: a number with its unit is accepted (%s)", text,
                         what, accepted);
    if (*end == '\0' && n != 0)
        return thea_fail(err, THEA_EUSAGE, "'%s' has no unit: did you mean '%s%s'? (%s)", text, text, example,
                         accepted);
    const struct unit *u = units;
    while (u->name != NULL && strcmp(end, u->name) != 0) u++;
    if (*end != '\0' && u->name == NULL)
        return thea_fail(err, THEA_EUSAGE, "'%s': unknown unit '%s' (%s)", text, end, accepted);
    double scaled = *end != '\0' ? n * (double)u->factor : 0;
    if (scaled >= 9.2e18) return thea_fail(err, THEA_EUSAGE, "'%s' is too large", text);
    out->integer = (int64_t)(scaled + 0.5);
    return check_unit_limits(limits, type, out->integer, text, what, err);
}

static thea_rc parse_range(struct value *out, const char *text, struct thea_err *err)
{
    struct value_range *r = &out->range;
    const char *p = text;
    *r = (struct value_range){0, INT64_MAX};
    if (strcmp(text, "all") == 0) return THEA_OK;
    bool good = read_digits(&r->first, p, &p);
    if (good && *p == '\0')
        r->last = r->first;
    else if (good && p[0] == '-' && p[1] != '\0')
        good = read_digits(&r->last, p + 1, &p) && *p == '\0';
    else if (good)
        good = strcmp(p, "-") == 0;
    if (!good)
        return thea_fail(err, THEA_EUSAGE,
                         "'%s' is not a range: 0-7, 8-, 3 or all is accepted (from 0, the last one included)",
                         text);
    if (r->last < r->first)
        return thea_fail(err, THEA_EUSAGE, "'%s' is an empty range: its end is before its beginning", text);
    return THEA_OK;
}

static void list_words(char *out, size_t size, const char *const *words)
{
    size_t at = 0;
    out[0] = '\0';
    for (; *words != NULL && at < size; words++) {
        int n = snprintf(out + at, size - at, "%s%s", at > 0 ? ", " : "", *words);
        at += n > 0 ? (size_t)n : 0;
    }
}

static thea_rc find_choice(int *out, const struct value_limits *limits, const char *text,
                           struct thea_err *err)
{
    const char *const *choices = limits->choices;
    for (int i = 0; choices[i] != NULL; i++) {
        *out = i;
        if (strcmp(choices[i], text) == 0) return THEA_OK;
    }
    char accepted[512];
    list_words(accepted, sizeof accepted, choices);
    const char *near = value_nearest(text, choices);
    if (near != NULL)
        return thea_fail(err, THEA_EUSAGE, "'%s' is not accepted (did you mean '%s'?): one of %s", text, near,
                         accepted);
    return thea_fail(err, THEA_EUSAGE, "'%s' is not accepted: one of %s", text, accepted);
}

static thea_rc parse_name(struct value *out, const struct value_limits *limits, const char *text,
                          struct thea_err *err)
{
    int ignored;
    out->text = text;
    if (text[0] == '\0') return thea_fail(err, THEA_EUSAGE, "a name is empty");
    return limits != NULL && limits->choices != NULL ? find_choice(&ignored, limits, text, err) : THEA_OK;
}

static thea_rc parse_path(struct value *out, value_type type, const char *text, struct thea_err *err)
{
    out->text = text;
    if (text[0] != '\0') return THEA_OK;
    return thea_fail(err, THEA_EUSAGE, "the %s is empty", type == VALUE_MODEL ? "model" : "path");
}

thea_rc value_parse(struct value *out, value_type type, const struct value_limits *limits, const char *text,
                    struct thea_err *err)
{
    *out = (struct value){.type = type};
    switch (type) {
    case VALUE_BOOL: return parse_bool(out, text, err);
    case VALUE_INT: return parse_int(out, limits, text, err);
    case VALUE_NUMBER: return parse_number(out, limits, text, err);
    case VALUE_CHOICE: return find_choice(&out->choice, limits, text, err);
    case VALUE_SIZE:
        return parse_with_unit(out, VALUE_SIZE, limits, text, "a size", "B, KiB, MiB, GiB, TiB", "MiB", err);
    case VALUE_TIME: return parse_with_unit(out, VALUE_TIME, limits, text, "a time", "ms, s, m, h", "s", err);
    case VALUE_RANGE: return parse_range(out, text, err);
    case VALUE_NAMES: return parse_name(out, limits, text, err);
    case VALUE_PATH:
    case VALUE_MODEL:
    case VALUE_PATHS: return parse_path(out, type, text, err);
    case VALUE_TEXT:
    case VALUE_TEXTS: out->text = text; return THEA_OK;
    }
    return thea_fail(err, THEA_ESOFTWARE, "unknown type of value %d", (int)type);
}

/* Edit distance with swaps of neighbours as one edit; both at most NEAR_MAX bytes. */
enum { NEAR_MAX = 63 };

static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t d[3][NEAR_MAX + 1];
    for (size_t j = 0; j <= nb; j++) d[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *row = d[i % 3];
        const size_t *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best) best = up[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return d[na % 3][nb];
}

static size_t common_prefix(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] != '\0' && a[n] == b[n]) n++;
    return n;
}

const char *value_nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t best_distance = 3, best_prefix = 0, n = strlen(word);
    if (n == 0 || n > NEAR_MAX) return NULL;
    for (; *names != NULL; names++) {
        size_t m = strlen(*names);
        if (m > NEAR_MAX) continue;
        size_t distance = edit_distance(word, n, *names, m);
        size_t prefix = common_prefix(word, *names);
        if (distance > 2 || distance * 2 >= n) continue;
        if (distance > best_distance || (distance == best_distance && prefix <= best_prefix)) continue;
        best = *names;
        best_distance = distance;
        best_prefix = prefix;
    }
    return best;
}

const char *value_format_bytes(char *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t u = 0;
    double n = (double)bytes;
    for (; n >= 1023.95 && u + 1 < sizeof units / sizeof *units; u++) n /= 1024;
    if (u == 0)
        snprintf(out, 16, "%" PRIu64 " B", bytes);
    else
        snprintf(out, 16, n < 10 ? "%.1f %s" : "%.0f %s", n, units[u]);
    return out;
}

const char *value_format_count(char *out, uint64_t count)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, count);
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

const char *value_format_rate(char *out, double per_second)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    size_t u = 0;
    for (; per_second >= 999.5 && u + 1 < sizeof units / sizeof *units; u++) per_second /= 1000;
    if (u == 0)
        snprintf(out, 16, per_second < 10 && per_second != floor(per_second) ? "%.1f" : "%.0f", per_second);
    else
        snprintf(out, 16, per_second < 99.95 ? "%.1f%s" : "%.0f%s", per_second, units[u]);
    return out;
}
