/* Typed values of options, as people write them: on command lines, in --set, in pipeline files, in the
 * tables' defaults. One grammar for all four: sizes "64MiB", times "250ms", ranges "0-7", "8-", "3". */
#ifndef GRAPH_VALUE_H
#define GRAPH_VALUE_H

#include "graph/err.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum {
    VALUE_BOOL,   /* true false;                      field: bool */
    VALUE_INT,    /* 512, -1, 1_000;                  field: int64_t */
    VALUE_NUMBER, /* 0.8, 1e-5;                       field: double */
    VALUE_TEXT,   /* any text;                        field: const char * (owned by the options) */
    VALUE_PATH,  /* a file or directory, "-";        field: const char *. Relative to the file it stands in */
    VALUE_MODEL, /* a model's name or path;          field: const char * */
    VALUE_CHOICE, /* one of a list of words;          field: int (index into choices) */
    VALUE_SIZE,   /* 64MiB 4KiB 1GiB 512B 0;          field: int64_t, bytes */
    VALUE_TIME,   /* 250ms 30s 5m 2h;                 field: int64_t, nanoseconds */
    VALUE_RANGE,  /* 0-7, 8-, 3, all: inclusive, from 0; field: struct value_range */
    VALUE_TEXTS,  /* repeatable, one text each;       field: struct value_list */
    VALUE_PATHS,  /* repeatable, one path or glob each; field: struct value_list */
    VALUE_NAMES,  /* words by comma, also repeatable; field: struct value_list */
} value_type;

struct value_range {
    int64_t first, last; /* inclusive; last = INT64_MAX: open */
};
struct value_list {
    const char **items;
    size_t count;
};

/* Limits that go with a type: min and max for INT, NUMBER, SIZE (bytes), TIME (ns) when min < max; choices
 * for CHOICE and NAMES (NULL-terminated; NULL: any word). */
struct value_limits {
    double min, max;
    const char *const *choices;
};

struct value {
    value_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        const char *text;
        int choice;
        struct value_range range;
    };
};

const char *value_type_name(value_type type); /* "integer", "size", …: for help and messages */
bool value_type_is_list(
    value_type type); /* TEXTS, PATHS, NAMES: value_parse checks and returns one item in .text */

/* Parse `text` as `type`. text is borrowed by the result for TEXT, PATH, MODEL and items of lists. `limits`
 * may be NULL. Errors: THEA_EUSAGE; the message says what is accepted and, for a CHOICE, the nearest word
 * ("did you mean"); it does not name the option. */
THEA_CHECK thea_rc value_parse(struct value *out, value_type type, const struct value_limits *limits,
                               const char *text, struct thea_err *err);

/* The nearest of `names` (NULL-terminated) to `word`, or NULL if none is near: edit distance at most 2 and
 * less than half of the word, a swap counts one; a common prefix wins ties. */
const char *value_nearest(const char *word, const char *const *names);

/* A SIZE or TIME as value_parse reads it back, with the largest unit that gives a whole number: "64MiB",
 * "90s", "0". Written to `out` (at least 32 bytes). */
const char *value_format_exact(char *out, value_type type, int64_t n);
/* "5.2 GiB", "640": fixed texts for people, written to `out` (at least 16 bytes). */
const char *value_format_bytes(char *out, uint64_t bytes);
const char *value_format_count(char *out, uint64_t count);   /* 1,860,144 (at least 28 bytes) */
const char *value_format_rate(char *out, double per_second); /* 15.9k, 840, 1.2M */

#endif
